"""Small data of the benchmarks that are published as Parquet files with pictures inside."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.drawn import draw

from visiglot.data.parquet import pyarrow

M4U_ROWS = (  # question, options, answer, colours of its pictures
    ("<image_1> What is drawn, {}?", ["a square", "a circle"], "A", ("red",)),
    ("{}: which is the blue one?", ["<image_1>", "<image_2>", "neither"], "B", ("green", "blue")),
)
MTVQA_ROWS = (  # language, id, questions and answers
    ("DE", 11, [("Was steht da?", "Bäckerei Huber"), ("Wie viel kostet es?", "2.50")]),
    ("KR", 12, [("뭐라고 쓰여 있나요?", "출구")]),
    ("DE", 13, [("Welche Linie?", "U2")]),
)

CVQA_ROWS = (  # subset, question, its translation, options, their translations
    ("('Japanese', 'Japan')", "これは何？", "What is it?", "四角 丸 棒 星", "square circle bar star"),
    ("('Japanese', 'Japan')", "何色？", "Which colour?", "赤 青 緑 黄", "red blue green yellow"),
    ("('Spanish', 'Ecuador')", "¿Qué es?", "What is it?", "sol luna cubo mar", "sun moon cube sea"),
    ("('Spanish', 'Spain')", "¿Dónde?", "Where?", "aquí allí lejos cerca", "here there far near"),
    ("('Chinese', 'Singapore')", "什么颜色？", "Which colour?", "红 蓝 绿 黄", "red blue green yellow"),
    ("('Egyptian_Arabic', 'Egypt')", "ده ايه؟", "What is it?", "مربع دايرة نجمة قمر", "square circle star moon"),
)
CVQA_REST = (  # id, label, category, colour of the picture
    ("1_0", 0, "Objects", "red"),
    ("1_1", 0, "Food", "red"),
    ("2_0", 2, "Objects", "green"),
    ("3_0", 3, "Food", "blue"),
    ("4_0", 1, "Food", "blue"),
    ("5_0", 0, "Objects", "yellow"),
)
XMMMU_ROWS = (  # id, question, options, answer, colours of its pictures
    ("validation_Art_1", "{} <image 1> shows what?", "['a square', 'a circle']", "A", ("red",)),
    (
        "validation_Math_2",
        "{}: which is <image 1>?",
        "['<image 2>', '<image 3>',\n 'no\none', 'all']",
        "B",
        ("red", "green", "blue"),
    ),
    ("validation_Math_3", "{}: how long is the side in <image 1>?", "[]", "['6.4', 'six']", ("blue",)),
)


def write_m4u(root: Path) -> Path:
    """Two fields in English, German and Chinese, the same questions in each; options as one text, as published."""
    folder = root / "m4u"
    for code in ("en", "de", "zh"):
        for field in ("science", "healthcare"):
            rows = [
                {
                    "question": question.format(f"{field} {code}"),
                    "image_files": [_picture(colour) for colour in colours],
                    "image_type": ["Photographs"],
                    "options": str(options),
                    "answer": answer,
                    "language": code,
                    "discipline": "Optical",
                    "field": field,
                    "cross_lingual": code == "de",
                }
                for question, options, answer, colours in M4U_ROWS
            ]
            write_parquet(folder / f"data/{field}_{code}-00000-of-00001.parquet", rows)
    return folder


def write_mtvqa(root: Path) -> Path:
    """German and Korean, in two shards; questions and answers as one text, as published."""
    folder = root / "mtvqa"
    rows = [
        {
            "image": _picture(("red", "green", "blue")[n]),
            "qa_pairs": str([{"question": question, "answer": answer} for question, answer in pairs]),
            "lang": language,
            "id": id,
        }
        for n, (language, id, pairs) in enumerate(MTVQA_ROWS)
    ]
    write_parquet(folder / "data/test-00000-of-00002.parquet", rows[:2])
    write_parquet(folder / "data/test-00001-of-00002.parquet", rows[2:])
    return folder


def write_cvqa(root: Path) -> Path:
    """Four languages in five subsets and two shards; here with labels, which the published file hides."""
    rows = cvqa_rows()
    folder = root / "cvqa"
    write_parquet(folder / "data/test-00000-of-00002.parquet", rows[:3])
    write_parquet(folder / "data/test-00001-of-00002.parquet", rows[3:])
    return folder


def cvqa_rows(**changes: object) -> list[dict[str, Any]]:
    """As the data set has them."""
    return [
        {
            "image": _picture(colour),
            "ID": id,
            "Subset": subset,
            "Question": f"{question} ",
            "Translated Question": translated,
            "Options": options.split(),
            "Translated Options": english.split(),
            "Label": label,
            "Category": category,
            "Image Type": "Self",
            "Image Source": "Self-open",
            "License": "CC BY-SA",
            **changes,
        }
        for (subset, question, translated, options, english), (id, label, category, colour) in zip(
            CVQA_ROWS, CVQA_REST, strict=True
        )
    ]


def write_xmmmu(root: Path) -> Path:
    """English and Hindi; Hindi's pictures are text in base64 and its file has the older name."""
    folder = root / "xmmmu"
    write_parquet(folder / "data/en-00000-of-00001.parquet", xmmmu_rows("en", _picture))
    write_parquet(
        folder / "data/translated_MMMU_val_300_with_image_Hindi.parquet",
        xmmmu_rows("hi", lambda colour: base64.b64encode(draw(colour, "square")).decode()),
    )
    return folder


def xmmmu_rows(code: str, picture: Callable[[str], object]) -> list[dict[str, Any]]:
    """As the data set has them: options as one text, up to seven pictures."""
    return [
        {
            "id": id,
            "question": question.format(code),
            "options": options,
            "explanation": "?",
            **{f"image_{n + 1}": picture(colours[n]) if n < len(colours) else None for n in range(7)},
            "img_type": "['Diagrams']",
            "answer": answer,
            "topic_difficulty": "Easy",
            "question_type": "multiple-choice" if options != "[]" else "open",
            "subfield": "Geometry",
        }
        for id, question, options, answer, colours in XMMMU_ROWS
    ]


def write_parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A file with the first row's columns."""
    pa, pq = pyarrow()
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path)


def _picture(colour: str) -> dict[str, Any]:
    """As the library `datasets` stores it."""
    return {"bytes": draw(colour, "square"), "path": f"{colour}.png"}

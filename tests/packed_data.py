"""Small data of the benchmarks that are published as Parquet files with pictures inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def write_parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A file with the first row's columns."""
    pa, pq = pyarrow()
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path)


def _picture(colour: str) -> dict[str, Any]:
    """As the library `datasets` stores it."""
    return {"bytes": draw(colour, "square"), "path": f"{colour}.png"}

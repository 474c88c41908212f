"""Small data of the benchmarks that LRM-LLaVA has in ten languages, as published and as `visiglot translate` makes it.

And words for SMPQA's charts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import matplotlib
from tests.written import write_pictures, write_text

from visiglot.benchmarks.translated import ORIGINALS, write_questions
from visiglot.data.parquet_source import ParquetSource, write_examples
from visiglot.types import Example, Provenance

MME_PICTURES = ("existence/0001.png", "existence/0002.png", "code_reasoning/0020.png", "artwork/10002.jpg")
"""The last one lies in a folder of its own, with its questions in another."""
LETTERS_OF_ALL = "abcd"
MACHINE = "tests/machine"
FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
WORDS = {
    "eng_Latn": "reward incredible reverse sunset closed twitter violin harbour mountain keyboard",
    "arb_Arab": "جائزة باب نافذة جبل موسيقى ورقة قلم سوق نهر موزة",
}


def write_mme(root: Path) -> Path:
    """Two questions about each of four pictures, of three subtasks, in the release's folders."""
    folder = root / "mme"
    for number, name in enumerate(MME_PICTURES):
        subtask, _, image = name.partition("/")
        stem = image.partition(".")[0]
        lines = [f"Is there a {thing} {number}? Please answer yes or no." for thing in ("square", "train")]
        text = f"{lines[0]}\tYes\n{lines[1]}\tNo\n"
        apart = subtask == "artwork"
        write_text(folder / subtask / ("questions_answers_YN" if apart else ".") / f"{stem}.txt", text)
        write_pictures(folder / subtask / ("images" if apart else "."), [image])
    return folder


def write_seed_bench(root: Path) -> Path:
    """Three questions about two pictures, and one about a video."""
    folder = root / "seed-bench"
    kinds = {"Scene Understanding": 1, "Instances Counting": 5, "Action Recognition": 10}
    rows = [
        {
            "answer": "ABC"[n],
            **{
                f"choice_{letter}": f"{thing} {n}"
                for letter, thing in zip(LETTERS_OF_ALL, ("one", "two", "ten", "six"))
            },
            "data_id": f"145442{n // 2}_259111",
            "data_type": "image",
            "question": f"How many things are in picture {n}?",
            "question_id": f"10166{n}",
            "question_type_id": 5 if n else 1,
        }
        for n in range(3)
    ]
    video = {**rows[0], "data_id": "94328.webm", "data_type": "video", "question_id": "v1738", "question_type_id": 10}
    write_text(folder / "SEED-Bench.json", json.dumps({"questions": [*rows, video], "question_type": kinds}))
    write_pictures(folder / "SEED-Bench-image", ["1454420_259111", "1454421_259111"])
    return folder


def write_translated(root: Path) -> None:
    """All of them in German and Russian; the originals must be there."""
    for name in ORIGINALS:
        folder = root / f"{name}-mt"
        write_questions(name, root, folder / "questions.parquet")
        source = ParquetSource(folder / "questions.parquet")
        english = [source[n] for n in range(len(source))]
        codes = ("deu_Latn", "rus_Cyrl")
        write_examples(folder / f"{name}.parquet", [*english, *(one for code in codes for one in _said(english, code))])
        counts = dict.fromkeys(("eng_Latn", *codes), len(english))
        write_text(
            folder / "translation.json", json.dumps({"settings": {"jobs": [{"name": name, "examples": counts}]}})
        )
        (folder / "questions.parquet").unlink()


def _said(english: list[Example], code: str) -> Iterator[Example]:
    """Each fact with the language before it."""
    for one in english:
        facts = {name: f"[{code}] {text}" for name, text in one.facts.items()}
        provenance = Provenance("tests", "CC0-1.0", MACHINE)
        yield replace(one, id=f"{one.id}/{code}", language=code, facts=facts, provenance=provenance)


def write_smpqa(root: Path) -> Path:
    """Words in English and Arabic, of which the first half is too common to be used, and a font of their letters."""
    folder = root / "smpqa"
    for code, text in WORDS.items():
        words = text.split()
        write_text(folder / f"words/{code}.txt", "".join(f"{word}\n" for word in ["common"] * len(words) + words))
    (folder / "fonts").mkdir()
    (folder / "fonts" / FONT.name).symlink_to(FONT)
    return folder

"""Small data of Babel-ImageNet (ImageNet's folders, names of their classes) and MVL-SIB (sentences and pictures)."""

from __future__ import annotations

import json
from pathlib import Path

from tests.written import write_pictures, write_table, write_text

CLASSES = {
    0: ("n01440764", "tench"), 1: ("n01443537", "goldfish"), 2: ("n01484850", "great_white_shark"),
    3: ("n01491361", "tiger_shark"), 134: ("n02012849", "crane"), 517: ("n03126707", "crane"),
}  # fmt: skip
NAMES = {
    "DE": ([0, 1, 2, 3, 134], ["Schleie", "Goldfisch", "Weißer Hai", "Tigerhai", "Kranich"]),
    "TH": ([1, 3], ["ปลาทอง", "ฉลามเสือ"]),
    "SH": ([0, 1], ["linjak", "zlatna ribica"]),
}
"""Serbo-Croatian is no row of the table of languages."""

PICTURES = 12
"""Of each class; more than a class gives to the questions of four names."""


def write_babel_imagenet(root: Path) -> Path:
    """Six classes, two of which share an English name, with twelve pictures each."""
    folder = root / "babel-imagenet"
    write_text(folder / "babel_imagenet-298.json", json.dumps(NAMES, ensure_ascii=False))
    index = {str(number): [name, english] for number, (name, english) in CLASSES.items()}
    write_text(folder / "imagenet_class_index.json", json.dumps(index))
    for number, (name, _) in CLASSES.items():
        files = [f"ILSVRC2012_val_{number:04}{n:04}.JPEG" for n in range(PICTURES)]
        write_pictures(folder / "val" / name, files)
    return folder


MVL_TOPICS = ("geography", "health", "science/technology", "sports", "travel")
MVL_SENTENCES = 7
"""Of each topic: one in train.tsv, one in dev.tsv, five in test.tsv."""


def write_mvl_sib(root: Path) -> Path:
    """English and Turkish, with sentences of five topics in three files, and a code that is no language's."""
    folder = root / "mvl-sib"
    for code in ("eng_Latn", "tur_Latn", "xxx_Latn"):
        rows = [
            {"index_id": 10 * place + n, "category": topic, "text": f"{code}: {topic} {n}."}
            for n in range(MVL_SENTENCES)
            for place, topic in enumerate(MVL_TOPICS)
        ]
        for part, start, end in (("train", 0, 1), ("dev", 1, 2), ("test", 2, MVL_SENTENCES)):
            own = rows[start * len(MVL_TOPICS) : end * len(MVL_TOPICS)]
            write_table(folder / f"data/sib200/{code}/{part}.tsv", own)
    topics = ("entertainment", "geography", "health", "politics", "science", "sports", "travel")
    write_pictures(folder / "data/images/sib200", [f"{topic}_{n}.jpg" for topic in topics for n in range(10)])
    return folder

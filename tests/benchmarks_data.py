"""Small data of each published benchmark, in the format in which it is published, with pictures drawn here."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

from tests.captions_data import write_chair, write_coco, write_xflickrco
from tests.classes_data import write_babel_imagenet, write_mvl_sib
from tests.lrm_data import write_mme, write_seed_bench, write_smpqa, write_translated
from tests.packed_data import write_cvqa, write_m4u, write_mtvqa, write_xmmmu
from tests.questions_data import write_m3exam, write_maxm, write_vqav2
from tests.retrieval_data import write_wit, write_xtd
from tests.written import COLOURS, encoded, write_lines, write_pictures, write_table, write_text

XGQA_QUESTIONS = {
    "en": ("Is it red?", "What is it?", "Which colour is it?", "Who is there?"),
    "de": ("Ist es rot?", "Was ist es?", "Welche Farbe hat es?", "Wer ist da?"),
    "zh": ("是红色的吗？", "这是什么？", "是什么颜色？", "谁在那里？"),
}
XGQA_ANSWERS = ("yes", "square", "red", "nobody")
XGQA_IMAGES = ("n101", "n101", "n102", "n103")

XVNLI_LABELS = ("entailment", "contradiction", "neutral", "-", "entailment", "neutral")

MARVL_CONCEPT = "12-Çay"
"""Composed here and decomposed on disk, as archives have it."""

MMMB_HINT = "Look closely."
MMMB_ROWS = (  # index, question, hint, options, answer
    (7, "Is it red?", "", ("Yes", "No"), "A"),
    (1_000_007, "Is it blue?", "", ("Yes", "No"), "B"),
    (8, "What is it?", MMMB_HINT, ("square", "circle", "bar", "star"), "C"),
    (9, "Which colour?", "", ("red", "green", "blue"), "B"),
    (1_000_009, "Which other colour?", "", ("red", "green", "blue"), "A"),
)
MMBENCH_OPTIONS = {3: ("red", "green", "blue"), 5: ("cat", "dog", "cow", "hen")}
"""Index -> options in their first order, of which the first is right."""

POPE_TASKS = ("random", "popular", "adversarial")


def write_benchmarks(root: Path) -> Path:
    """Every benchmark's folder below `root`, which is what --data names."""
    for write in WRITERS:
        write(root)
    return root


def write_xgqa(root: Path) -> Path:
    """Three languages whose files list the same questions in different orders; German has the whole test-dev too."""
    folder = root / "xgqa"
    for turn, (code, questions) in enumerate(XGQA_QUESTIONS.items()):
        rows = {
            f"20{n}": {"question": question, "imageId": image, "answer": answer, "isBalanced": True}
            for n, (question, image, answer) in enumerate(zip(questions, XGQA_IMAGES, XGQA_ANSWERS, strict=True))
        }
        items = list(rows.items())
        rows = dict(items[turn:] + items[:turn])
        write_text(folder / f"annotations/few_shot/{code}/test.json", json.dumps(rows))
    whole = {"900": {"question": "Ist es groß?", "imageId": "n103", "answer": "no"}}
    write_text(folder / "annotations/zero_shot/testdev_balanced_questions_de.json", json.dumps(whole))
    write_pictures(folder / "images", [f"{image}.jpg" for image in sorted(set(XGQA_IMAGES))])
    return folder


def write_xvnli(root: Path) -> Path:
    """English and Arabic; one row of each has no gold label."""
    folder = root / "xvnli"
    for code, statement in {"en": "There is a square {}.", "ar": "هناك مربع {}."}.items():
        rows = [
            {
                "gold_label": label,
                "sentence1": "A premise that nobody is shown.",
                "sentence2": statement.format(n),
                "captionID": f"{100 + n % 2}.jpg#0",
                "pairID": f"{100 + n % 2}.jpg#0r{n}",
                "Flikr30kID": str(100 + n % 2),
            }
            for n, label in enumerate(XVNLI_LABELS)
        ]
        write_lines(folder / f"annotations/{code}/test.jsonl", rows)
    write_pictures(folder / "images", ["100.jpg", "101.jpg"])
    return folder


def write_marvl(root: Path) -> Path:
    """Swahili, Turkish (whose concept has a letter that Unicode writes in two ways) and, for English, NLVR2."""
    folder = root / "marvl"
    for code, concept in {"sw": "81-Dawati", "tr": MARVL_CONCEPT}.items():
        rows = [
            {
                "concept": concept,
                "language": code,
                "caption": f"Kauli {n}",
                "left_img": f"12-{n + 1}.jpg",
                "right_img": f"12-{n + 2}.jpg",
                "annotator_info": {"age": 33},
                "chapter": "Food and Beverages",
                "id": f"{code}-{n}",
                "label": n % 2 == 0,
            }
            for n in range(4)
        ]
        write_lines(folder / f"marvl-annotations/marvl-{code}.jsonl", rows)
        where = folder / f"marvl-images/{code}/images" / unicodedata.normalize("NFD", concept)
        write_pictures(where, [f"12-{n}.jpg" for n in range(1, 6)])
    nlvr2 = [
        {"sentence": f"Statement {pair}{n}.", "label": "True" if n else "False", "identifier": f"test1-4-{pair}-{n}"}
        for pair in (0, 1)
        for n in (0, 1)
    ]
    write_lines(folder / "nlvr2/test1.json", nlvr2)
    write_pictures(folder / "nlvr2/images", [f"test1-4-{pair}-img{n}.png" for pair in (0, 1) for n in (0, 1)])
    return folder


def write_xm3600(root: Path) -> Path:
    """Four pictures with two captions each in five languages, but for one without a caption in Quechua."""
    folder = root / "xm3600"
    rows = []
    for n in range(4):
        key = f"{n}a{n}"
        row: dict[str, Any] = {"image/key": key, "image/locale": "de"}
        for code in ("en", "de", "th", "iw", "quz", "pt"):
            if code == "quz" and n == 2:
                continue
            captions = [f"{code} {n} first", f"{code} {n} second"]
            row[code] = {
                "caption": captions,
                "caption/tokenized": captions,
                "caption/tokenized/lowercase": captions,
            }
        rows.append(row)
    write_lines(folder / "captions.jsonl", rows)
    write_pictures(folder / "images", [f"{n}a{n}.jpg" for n in range(4)])
    return folder


def write_mmmb(root: Path) -> Path:
    """English, Chinese and Turkish: two questions with a counterpart, one without; one picture by another's index."""
    folder = root / "mmmb"
    for code, mark in {"en": "", "cn": "（图）", "tr": " (resim)"}.items():
        rows = [
            {
                "index": index,
                "question": question + mark,
                "hint": hint,
                **dict(zip("ABCD", options, strict=False)),
                "answer": answer,
                "category": "Color" if "olour" in question else "Count",
                "image": "7" if index == 1_000_007 else encoded(COLOURS[index % 3]),
            }
            for index, question, hint, options, answer in MMMB_ROWS
        ]
        write_table(folder / f"mmmb_{code}.tsv", rows)
    return folder


def write_mmbench(root: Path) -> Path:
    """English and Russian: two questions, each with all rotations of its options and the first one's picture."""
    folder = root / "mmbench"
    for code in ("en", "ru"):
        rows = []
        for index, options in MMBENCH_OPTIONS.items():
            for turn in range(len(options)):
                turned = options[turn:] + options[:turn]
                rows.append(
                    {
                        "index": index + turn * 1_000_000,
                        "question": f"{code}: which one, {index}?",
                        "hint": "",
                        **dict(zip("ABCD", turned, strict=False)),
                        "answer": "ABCD"[turned.index(options[0])],
                        "category": "object_localization",
                        "l2-category": "finegrained_perception",
                        "split": "dev",
                        "image": encoded(COLOURS[index % 3]) if not turn else str(index),
                    }
                )
        write_table(folder / f"mmbench_dev_{code}.tsv", rows)
    return folder


def write_pope(root: Path) -> Path:
    """Two pictures with two things each that are there and two that aren't, chosen in three ways."""
    folder = root / "pope"
    images = [f"COCO_val2014_{n:012}.jpg" for n in (31, 42)]
    for task in POPE_TASKS:
        rows = [
            {
                "question_id": n,
                "image": images[n // 4],
                "text": f"Is there a {'square' if n % 4 < 2 else task} {n} in the image?",
                "label": "yes" if n % 4 < 2 else "no",
            }
            for n in range(8)
        ]
        write_lines(folder / f"coco_pope_{task}.json", rows)
    write_pictures(folder / "images", images)
    return folder


WRITERS = (
    *(write_xgqa, write_xvnli, write_marvl, write_xm3600, write_mmmb, write_mmbench, write_pope),
    *(write_coco, write_chair, write_xflickrco),
    *(write_vqav2, write_maxm, write_m4u, write_mtvqa, write_m3exam),
    *(write_babel_imagenet, write_mvl_sib),
    *(write_cvqa, write_xmmmu, write_xtd, write_wit),
    *(write_mme, write_seed_bench, write_smpqa, write_translated),
)

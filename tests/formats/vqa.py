"""Questions and answers about COCO's and Visual Genome's pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.formats import Expected, Fixture, picture, replace_in, write_list

LICENCE = {
    "url": "http://creativecommons.org/licenses/by/4.0/",
    "name": "Creative Commons Attribution 4.0 International License",
}


def lines_of(path: Path, value: Any) -> None:
    """JSON with an object a line, so that an error's line can be checked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value).replace("{", "\n{"), encoding="utf-8")


def vqav2(folder: Path) -> Fixture:
    """Questions and annotations, which stand in another order; of the ten answers six are written out here."""
    questions = folder / "v2_OpenEnded_mscoco_train2014_questions.json"
    annotations = folder / "v2_mscoco_train2014_annotations.json"
    names = ("COCO_train2014_000000458752.jpg", "COCO_train2014_000000262146.jpg")
    picture(folder / "train2014", *names)
    about = {"info": {"version": "2.0", "year": 2017}, "data_type": "mscoco", "license": LICENCE}
    asked = [
        (458752, "What is this photo taken looking through?", 458752000),
        (458752, "What position is this man playing?", 458752001),
        (262146, "Is the sky blue?", 262146002),
    ]
    lines_of(
        questions,
        {
            **about,
            "task_type": "Open-Ended",
            "data_subtype": "train2014",
            "questions": [
                {"image_id": image_id, "question": question, "question_id": question_id}
                for image_id, question, question_id in asked
            ],
        },
    )

    def annotation(question_id: int, image_id: int, kind: str, majority: str, *answers: str) -> dict[str, Any]:
        return {
            "question_type": "is the" if kind == "yes/no" else "what",
            "multiple_choice_answer": majority,
            "answers": [
                {"answer": text, "answer_confidence": "yes", "answer_id": n} for n, text in enumerate(answers, start=1)
            ],
            "image_id": image_id,
            "answer_type": kind,
            "question_id": question_id,
        }

    lines_of(
        annotations,
        {
            **about,
            "data_subtype": "train2014",
            "annotations": [
                annotation(262146002, 262146, "yes/no", "yes", "yes", "yes", "no", "yes", "yes", "yes"),
                annotation(458752001, 458752, "other", "pitcher", "pitcher", "catcher", "pitcher"),
                annotation(458752000, 458752, "other", "net", "net", "netting", "mesh", "net", "net", "screen"),
            ],
        },
    )
    return Fixture(
        options={"path": str(questions), "annotations": str(annotations), "images": str(folder / "train2014")},
        expected=(
            Expected(
                "458752000",
                names[:1],
                "What is this photo taken looking through?",
                "net",
                facts={"question": "What is this photo taken looking through?", "answer": "net"},
                references=("net", "netting", "mesh", "net", "net", "screen"),
            ),
            Expected(
                "458752001",
                names[:1],
                "What position is this man playing?",
                "pitcher",
                references=("pitcher", "catcher", "pitcher"),
            ),
            Expected("262146002", names[1:], "Is the sky blue?", "yes"),
        ),
        spoil=lambda: replace_in(annotations, '"multiple_choice_answer": "pitcher"', '"multiple_choice_answer": ""'),
        spoilt=r"v2_mscoco_train2014_annotations.json, line 12, field `multiple_choice_answer`: is empty",
        lost=("458752001",),
        escape=None,
    )


def okvqa(folder: Path) -> Fixture:
    questions = folder / "OpenEnded_mscoco_train2014_questions.json"
    annotations = folder / "mscoco_train2014_annotations.json"
    picture(folder / "train2014", "COCO_train2014_000000051606.jpg", "COCO_train2014_000000081721.jpg")
    about = {"info": {"version": "1.0", "year": 2019}, "data_type": "mscoco", "license": LICENCE}
    asked = [
        (51606, "What is the hairstyle of the blond called?", 516065),
        (81721, "How old do you have to be in canada to do this?", 817215),
    ]
    lines_of(
        questions,
        {
            **about,
            "task_type": "Open-Ended",
            "data_subtype": "train2014",
            "questions": [
                {"image_id": image_id, "question": question, "question_id": question_id}
                for image_id, question, question_id in asked
            ],
        },
    )

    def annotation(question_id: int, image_id: int, *answers: tuple[str, str]) -> dict[str, Any]:
        return {
            "image_id": image_id,
            "answer_type": "other",
            "question_type": "four",
            "question_id": question_id,
            "answers": [
                {"answer_id": n, "raw_answer": raw, "answer_confidence": "yes", "answer": answer}
                for n, (answer, raw) in enumerate(answers, start=1)
            ],
            "confidence": 3,
        }

    lines_of(
        annotations,
        {
            **about,
            "data_subtype": "train2014",
            "annotations": [
                annotation(516065, 51606, ("braid", "braids"), ("pony tail", "pony tail"), ("pony tail", "ponytail")),
                annotation(817215, 81721, ("18", "18"), ("16", "16"), ("18", "18"), ("16", "sixteen")),
            ],
        },
    )
    return Fixture(
        options={"path": str(questions), "annotations": str(annotations), "images": str(folder / "train2014")},
        expected=(
            Expected(
                "516065",
                ("COCO_train2014_000000051606.jpg",),
                "What is the hairstyle of the blond called?",
                "pony tail",
                facts={"question": "What is the hairstyle of the blond called?", "answer": "pony tail"},
                references=("braid", "pony tail", "pony tail"),
            ),
            Expected(
                "817215",
                ("COCO_train2014_000000081721.jpg",),
                "How old do you have to be in canada to do this?",
                "18",
                references=("18", "16", "18", "16"),
            ),
        ),
        spoil=lambda: replace_in(questions, '"question_id": 817215', '"question_id": 817216'),
        spoilt=r"OpenEnded_mscoco_train2014_questions.json, line 6, field `question_id`: is 817216, which has no ",
        lost=("817215",),
        escape=None,
    )


def gqa(folder: Path) -> Fixture:
    """`train_balanced_questions.json`: one object, whose keys are the ids."""
    path = folder / "questions" / "train_balanced_questions.json"
    picture(folder / "images", "2354786.jpg", "n161313.jpg")

    def question(image_id: str, text: str, answer: str, full: str) -> dict[str, Any]:
        return {
            "semantic": [{"operation": "select", "dependencies": [], "argument": "sky (2486325)"}],
            "entailed": [],
            "equivalent": [],
            "question": text,
            "imageId": image_id,
            "isBalanced": True,
            "groups": {"global": None, "local": "06-sky_dark"},
            "answer": answer,
            "semanticStr": "select: sky (2486325)",
            "annotations": {"answer": {}, "question": {"2": "2486325"}, "fullAnswer": {"2": "2486325"}},
            "types": {"detailed": "verifyAttr", "semantic": "attr", "structural": "verify"},
            "fullAnswer": full,
        }

    rows = {
        "02930152": question("2354786", "Is the sky dark?", "yes", "Yes, the sky is dark."),
        "07333408": question("n161313", "What is on the white wall?", "pipe", "The pipe is on the wall."),
        "07333405": question("2354786", "Is that pipe red?", "no", "No, the pipe is white."),
    }
    path.parent.mkdir()
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(row)}" for key, row in rows.items())
    path.write_text(f"{{{lines}}}", encoding="utf-8")
    return Fixture(
        options={"path": str(path), "images": str(folder / "images")},
        expected=(
            Expected("02930152", ("2354786.jpg",), "Is the sky dark?", "yes"),
            Expected(
                "07333408",
                ("n161313.jpg",),
                "What is on the white wall?",
                "pipe",
                facts={"question": "What is on the white wall?", "answer": "pipe"},
                references=("pipe",),
            ),
            Expected("07333405", ("2354786.jpg",), "Is that pipe red?", "no"),
        ),
        spoil=lambda: replace_in(path, '"question": "What is on the white wall?"', '"question": 7'),
        spoilt=r"train_balanced_questions.json, line 2, field `question`: must be a text, found 7",
        lost=("07333408",),
        escape=lambda: replace_in(path, '"imageId": "n161313"', '"imageId": "../../n161313"'),
    )


def aokvqa(folder: Path) -> Fixture:
    path = folder / "aokvqa_v1p0_train.json"
    picture(folder / "train2017", "000000299207.jpg", "000000022048.jpg")

    def row(question_id: str, image_id: int, question: str, choices: list[str], right: int, *rationales: str) -> Any:
        return {
            "split": "train",
            "image_id": image_id,
            "question_id": question_id,
            "question": question,
            "choices": choices,
            "correct_choice_idx": right,
            "direct_answers": [
                "ride",
                "ride",
                "bus",
                "taxi",
                "travelling",
                "traffic",
                "taxi",
                "cab",
                "cab",
                "his ride",
            ],
            "difficult_direct_answer": False,
            "rationales": list(rationales),
        }

    rows = [
        row(
            "22MexNkBPpdZGX6sxbxVBH",
            299207,
            "What is the man by the bags awaiting?",
            ["skateboarder", "train", "delivery", "cab"],
            3,
            "A train would not be on the street, so a cab is the only possible answer.",
            "He has bags as if he is going someone, and he is on a road waiting for vehicle.",
            "He looks to be waiting for a paid ride to pick him up.",
        ),
        row(
            "2A5mNHG2TiESmGvHRnYRRQ",
            22048,
            "Where does this man eat pizza?",
            ["office", "cafe", "mall", "outside"],
            0,
            "Because of the desk.",
        ),
    ]
    write_list(path, rows)
    first = (("000000299207.jpg",), "What is the man by the bags awaiting?", "cab")
    facts = {
        "question": "What is the man by the bags awaiting?",
        "answer": "cab",
        "rationale": "He looks to be waiting for a paid ride to pick him up.",
        "choices": "skateboarder\ntrain\ndelivery\ncab",
    }
    return Fixture(
        options={"path": str(path), "images": str(folder / "train2017")},
        expected=(
            Expected("22MexNkBPpdZGX6sxbxVBH/0", *first, references=tuple(rows[0]["direct_answers"])),
            Expected("22MexNkBPpdZGX6sxbxVBH/1", *first),
            Expected("22MexNkBPpdZGX6sxbxVBH/2", *first, facts=facts),
            Expected("2A5mNHG2TiESmGvHRnYRRQ/0", ("000000022048.jpg",), "Where does this man eat pizza?", "office"),
        ),
        spoil=lambda: replace_in(path, '"correct_choice_idx": 0', '"correct_choice_idx": 4'),
        spoilt=r"aokvqa_v1p0_train.json, line 2, field `correct_choice_idx`: is 4, but there are 4 choices",
        lost=("2A5mNHG2TiESmGvHRnYRRQ/0",),
        escape=None,
    )


FIXTURES = {"vqav2": vqav2, "okvqa": okvqa, "gqa": gqa, "aokvqa": aokvqa}

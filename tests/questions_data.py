"""Small data of the benchmarks of questions with open answers, in the formats in which they are published."""

from __future__ import annotations

import json
from pathlib import Path

from tests.written import write_pictures, write_text

VQA_ANSWERS = {
    4580000: ("Yes.",) * 10,
    4580001: ("red", "red", "Red", "the red", "dark red", "", "blue", "blue", "pink", "maroon"),
    4590000: ("2",) * 4 + ("two",) * 3 + ("3",) * 3,
}
"""All agree; they don't, and one said nothing; numbers in digits and words."""

MAXM_PAIRS = {  # by picture: question, answers
    "en": {"a1": [("What animal is it?", ["dog", "a dog"]), ("How many?", ["2", "two"])], "b2": [("Where?", ["park"])]},
    "iw": {"a1": [("מה רואים?", ["כלב", "הכלב"])], "c3": [("כמה?", ["שתיים"])]},
    "zh": {"b2": [("这是什么？", ["狗", "小狗"])]},
}


def write_vqav2(root: Path) -> Path:
    """Three questions about two pictures; the annotations are in another order."""
    folder = root / "vqav2"
    questions = [
        {"image_id": id // 10000, "question": f"What is number {n}?", "question_id": id}
        for n, id in enumerate(VQA_ANSWERS)
    ]
    annotations = [
        {
            "question_type": "what is",
            "multiple_choice_answer": given[0],
            "answers": [
                {"answer": answer, "answer_confidence": "yes", "answer_id": n} for n, answer in enumerate(given, 1)
            ],
            "image_id": id // 10000,
            "answer_type": "other",
            "question_id": id,
        }
        for id, given in reversed(VQA_ANSWERS.items())
    ]
    head = {"info": {"year": 2014}, "data_type": "mscoco", "data_subtype": "val2014"}
    text = json.dumps({**head, "task_type": "Open-Ended", "questions": questions})
    write_text(folder / "v2_OpenEnded_mscoco_val2014_questions.json", text)
    write_text(folder / "v2_mscoco_val2014_annotations.json", json.dumps({**head, "annotations": annotations}))
    write_pictures(folder / "val2014", [f"COCO_val2014_{id:012}.jpg" for id in (458, 459)])
    return folder


def write_maxm(root: Path) -> Path:
    """English, Hebrew (called iw) and Chinese, with questions and pictures of their own."""
    folder = root / "maxm"
    for code, pictures in MAXM_PAIRS.items():
        annotations = [
            {
                "image_id": image,
                "image_url": f"https://open-images-dataset.s3.amazonaws.com/crossmodal-3600/{image}.jpg",
                "qa_pairs": [
                    {
                        "question_id": f"{image}_{n}",
                        "question": question,
                        "answers": answers[:1],
                        "processed_answers": answers,
                        "is_collection": n == 1,
                    }
                    for n, (question, answers) in enumerate(pairs)
                ],
            }
            for image, pairs in pictures.items()
        ]
        whole = {"dataset": "maxm", "version": "1.0", "split": code, "annotations": annotations}
        write_text(folder / f"maxm_v1_release/maxm_v1_{code}.json", json.dumps(whole, ensure_ascii=False))
    write_pictures(folder / "images", [f"{image}.jpg" for image in ("a1", "b2", "c3")])
    return folder


def write_m3exam(root: Path) -> Path:
    """English, whose options are numbered, with two pictures; Thai, whose options are pictures."""
    folder = root / "m3exam/data/multimodal-questions"
    common = {"need_image": "yes", "level": "mid", "subject": "science", "year": "2006"}
    english = [
        {
            "question_text": "(image)[image-1.jpg] What is drawn?",
            "background_description": ["Read the text.", "Two lines."],
            "answer_text": "2",
            "options": ["(1) a bar", "(2) a circle", "(3) nothing", "(4) a star"],
            "language": "english",
            "subject_category": "natural-science",
            **common,
        },
        {
            "question_text": "Compare (image)[image-2.jpg] with (image)[image-1.jpg].",
            "background_description": [],
            "answer_text": "1",
            "options": ["(1) equal", "(2) not equal"],
            "language": "english",
            "subject_category": "math",
            **common,
        },
    ]
    thai = [
        {
            "question_text": "ข้อใดถูกต้อง",
            "background_description": [],
            "answer_text": "B",
            "options": [f"{label}. (image)[image-{n}.jpg]" for n, label in enumerate("ABC", 1)],
            "language": "thai",
            "subject_category": "math",
            **common,
        }
    ]
    for name, rows in {"english": english, "thai": thai}.items():
        write_text(folder / f"{name}-questions-image.json", json.dumps(rows, ensure_ascii=False, indent=1))
        write_pictures(folder / f"images-{name}", [f"image-{n}.jpg" for n in (1, 2, 3)])
    return root / "m3exam"

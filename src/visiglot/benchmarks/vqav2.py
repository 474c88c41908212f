"""VQAv2: questions about COCO's photographs with the answers of ten people each (Goyal et al., 2017); English.

The test set's answers are not published, so the validation set is what is scored.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from visiglot.benchmarks.wording import asked, words
from visiglot.data.adapter import Pictures
from visiglot.data.lookup import Lookup
from visiglot.data.rows import JsonRows, Row
from visiglot.evaluate.benchmark import BENCHMARKS, Benchmark, Settings
from visiglot.evaluate.published import (
    Asked,
    Publication,
    PublishedData,
    all_rows,
    lacking,
    open_published,
    picture,
    picture_folder,
)
from visiglot.languages import ENGLISH
from visiglot.types import Example

QUESTIONS, ANSWERS = "v2_OpenEnded_mscoco_val2014_questions.json", "v2_mscoco_val2014_annotations.json"
SPLITS: dict[str, int | None] = {"val": None, "val-5000": 5000}
"""Split -> how many questions, counted from the file's beginning; the second is what mBLIP reports."""

PUBLICATION = Publication(
    home="https://visualqa.org/download.html and, for the pictures, COCO 2014's validation images",
    layout=f"{QUESTIONS}, {ANSWERS}, and val2014/COCO_val2014_<image_id, twelve digits>.jpg",
    texts=(QUESTIONS, ANSWERS),
    pictures=("val2014", "images"),
)


def load(folder: Path | None) -> PublishedData:
    folder, revision = open_published(folder, "vqav2", PUBLICATION)
    for name in (QUESTIONS, ANSWERS):
        if not (folder / name).is_file():
            raise lacking("vqav2", folder, name, PUBLICATION)
    pictures = picture_folder("vqav2", folder, PUBLICATION)
    answers = Lookup(JsonRows(folder / ANSWERS, "annotations"), lambda row: row.name("question_id"), "question_id")
    files = {split: {ENGLISH: folder / QUESTIONS} for split in SPLITS}
    return PublishedData(revision, files, lambda asked: _examples(asked, answers, pictures), PUBLICATION.home)


def _examples(wanted: Asked, answers: Lookup, pictures: Pictures) -> Iterator[Example]:
    said = words("vqav2", wanted.prompt_set, wanted.language)
    for row in islice(all_rows(JsonRows(wanted.file, "questions")), SPLITS[wanted.split]):
        id, question, image = row.name("question_id"), row.text("question"), row.integer("image_id")
        annotation = answers.find(id)
        if annotation is None:
            raise row.error("question_id", f"is {id}, which has no annotation in {answers.rows.files[0]}")
        yield Example(
            id=id,
            messages=asked(said["ask"], {**said, "question": question}),
            language=wanted.language,
            images=(picture(pictures, row, "image_id", f"COCO_val2014_{image:012}.jpg"),),
            references=tuple(_given(one) for one in annotation.rows("answers")),
            task="vqa",
            group=str(image),
            facts={"question": question, "kind": str(annotation.get("answer_type") or "")},
        )


def _given(answer: Row) -> str:
    """What one person answered, as it stands, an empty answer too: the official accuracy counts it."""
    text = answer.need("answer")
    if not isinstance(text, str):
        raise answer.error("answer", f"must be a text, found {text!r}")
    return text


BENCHMARKS.add(
    "vqav2",
    Benchmark(
        name="vqav2",
        about="Questions about photographs, against the answers of ten people; English.",
        load=load,
        splits=tuple(SPLITS),
        prompt_sets=("native", "paper"),
        metrics={"vqa": ("vqa-accuracy", "vqa-accuracy-mblip")},
        settings=Settings(max_new_tokens=32, min_new_tokens=1, beams=5, length_penalty=-1.0),
        licence="CC-BY-4.0 (questions and answers); pictures: Flickr's terms",
        citation="Goyal et al., Making the V in VQA Matter, CVPR 2017, arXiv 1612.00837",
        translation="none: English",
    ),
)

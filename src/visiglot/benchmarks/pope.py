"""POPE: is a thing in the picture? (Li et al., 2023) How often a model says yes of things that aren't there.

English only, as published. The three ways of choosing the things that aren't there are three tasks.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from visiglot.benchmarks.wording import asked, chosen, words
from visiglot.data.adapter import Pictures
from visiglot.data.rows import JsonRows
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

TASKS = ("random", "popular", "adversarial")
ANSWERS = ("yes", "no")
METRICS_OF_ALL = (
    *("pope-accuracy", "pope-f1", "pope-precision", "pope-recall", "pope-yes-ratio", "yes-no-failures"),
    *("pope-accuracy-official", "pope-f1-official", "pope-precision-official", "pope-recall-official"),
    "pope-yes-ratio-official",
)
ROOTS = ("output/coco", ".")

PUBLICATION = Publication(
    home="https://github.com/AoiDragon/POPE (output/coco) and, for the pictures, COCO 2014's validation images",
    layout="coco_pope_random.json, coco_pope_popular.json, coco_pope_adversarial.json, and images/<image>",
    texts=tuple(f"{root}/coco_pope_{task}.json" for root in ROOTS for task in TASKS),
    pictures=("images", "val2014"),
)


def load(folder: Path | None) -> PublishedData:
    folder, revision = open_published(folder, "pope", PUBLICATION)
    pictures = picture_folder("pope", folder, PUBLICATION)
    texts = next(folder / root for root in ROOTS if (folder / root / "coco_pope_random.json").is_file() or root == ".")
    for task in TASKS:
        if not (texts / f"coco_pope_{task}.json").is_file():
            raise lacking("pope", texts, f"coco_pope_{task}.json", PUBLICATION)
    return PublishedData(
        revision,
        {"test": {ENGLISH: texts}},
        lambda asked: _examples(asked, pictures),
        PUBLICATION.home,
        unit=lambda example: example.id.partition("/")[2],
    )


def _examples(wanted: Asked, pictures: Pictures) -> Iterator[Example]:
    """Lines of JSON; questions of one id are about one picture in the three files."""
    said = words("pope", wanted.prompt_set, wanted.language)
    for task in TASKS:
        for row in all_rows(JsonRows(wanted.file / f"coco_pope_{task}.json", lines=True)):
            label, image, question = row.text("label"), row.text("image"), row.text("text")
            if label not in ANSWERS:
                raise row.error("label", f"must be yes or no, found {label!r}")
            yield Example(
                id=f"{task}/{row.name('question_id')}",
                messages=asked(said["ask"], {**said, "question": question}),
                language=wanted.language,
                images=(picture(pictures, row, "image", image),),
                references=(said[label],),
                task=task,
                group=image,
                facts={"question": question, "label": label},
                choices=chosen(said, ANSWERS),
            )


BENCHMARKS.add(
    "pope",
    Benchmark(
        name="pope",
        about="Is a thing in the picture? Yes or no, of things that are there and things that aren't; English.",
        load=load,
        splits=("test",),
        prompt_sets=("native", "paper"),
        metrics=dict.fromkeys(TASKS, METRICS_OF_ALL),
        settings=Settings(max_new_tokens=64),
        chance=dict.fromkeys(TASKS, 0.5),
        licence="MIT (questions); pictures: Flickr's terms",
        citation="Li et al., Evaluating Object Hallucination in Large Vision-Language Models, EMNLP 2023, "
        "arXiv 2305.10355",
        translation="none: English",
    ),
)

"""CHAIR: how much of what a caption names isn't in the photograph (Rohrbach et al., 2018); English.

A picture is asked about twice, for a short caption and for a detailed description, since longer texts name more that
isn't there. What is in it is what COCO's boxes and its five captions say, as in the official script. mBLIP, whose
prompts and first 1,000 pictures these are, counted POPE's list of segmented objects instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from visiglot.benchmarks.coco import FILE, captions_of, split_rows
from visiglot.benchmarks.wording import asked, words
from visiglot.data.adapter import Pictures
from visiglot.data.rows import JsonRows, Row
from visiglot.errors import DataError
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

TASKS = ("short", "detailed")
SPLITS: dict[str, tuple[str, int | None]] = {"val-1000": ("val", 1000), "test": ("test", None)}
"""Split -> Karpathy's, and how many of its pictures. The first is mBLIP's, the second CHAIR's own."""

BOXES, SYNONYMS = "annotations/instances_val2014.json", "synonyms.txt"

PUBLICATION = Publication(
    home="https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip (captions), "
    "https://cocodataset.org/#download (boxes and pictures of 2014's validation), "
    "https://github.com/LisaAnne/Hallucination (data/synonyms.txt)",
    layout=f"{FILE}, {BOXES}, {SYNONYMS}, and val2014/<filename>",
    texts=(FILE, BOXES, SYNONYMS),
    pictures=("val2014",),
)


def load(folder: Path | None) -> PublishedData:
    folder, revision = open_published(folder, "chair", PUBLICATION)
    for name in PUBLICATION.texts:
        if not (folder / name).is_file():
            raise lacking("chair", folder, name, PUBLICATION)
    pictures = picture_folder("chair", folder, PUBLICATION)
    files = {split: {ENGLISH: folder / FILE} for split in SPLITS}

    def examples(wanted: Asked) -> Iterator[Example]:
        return _examples(wanted, folder, pictures)

    return PublishedData(revision, files, examples, PUBLICATION.home, unit=lambda example: example.id.partition("/")[2])


def _examples(wanted: Asked, folder: Path, pictures: Pictures) -> Iterator[Example]:
    split, count = SPLITS[wanted.split]
    rows = list(islice(split_rows(wanted.file, split), count))
    objects = objects_of(folder / BOXES, [row.integer("cocoid") for row in rows])
    for task in TASKS:
        said = words("chair", wanted.prompt_set, wanted.language)
        for row in rows:
            id = row.integer("cocoid")
            yield Example(
                id=f"{task}/{id}",
                messages=asked(said[task], said),
                language=wanted.language,
                images=(picture(pictures, row, "filename", row.text("filename")),),
                references=captions_of(row),
                task=task,
                group=str(id),
                facts={"objects": ", ".join(objects[id]), "synonyms": str(folder / SYNONYMS)},
            )


def objects_of(file: Path, images: Sequence[int]) -> Mapping[int, Sequence[str]]:
    """Picture -> names of the categories of its boxes, sorted, each once; none for a picture without a box.

    Args:
        file: `instances_*.json` of COCO.

    Raises:
        DataError: the file can't be read, or a box's category has no name.
    """
    names = {row.integer("id"): row.text("name") for row in all_rows(JsonRows(file, "categories"))}
    found: dict[int, set[str]] = {image: set() for image in images}
    for _, row in JsonRows(file, "annotations").scan():
        if isinstance(row, DataError):
            raise row
        if row.integer("image_id") in found:
            found[row.integer("image_id")].add(_category(row, names))
    return {image: sorted(categories) for image, categories in found.items()}


def _category(row: Row, names: Mapping[int, str]) -> str:
    category = row.integer("category_id")
    if category not in names:
        raise row.error("category_id", f"is {category}, which isn't among the file's categories")
    return names[category]


BENCHMARKS.add(
    "chair",
    Benchmark(
        name="chair",
        about="How much of what captions and detailed descriptions name isn't in the photograph; English.",
        load=load,
        splits=tuple(SPLITS),
        prompt_sets=("native", "paper"),
        metrics=dict.fromkeys(TASKS, ("chair-i", "chair-s")),
        settings=Settings(max_new_tokens=256, beams=5, repetition_penalty=1.5),
        facts=("objects", "synonyms"),
        licence="CC-BY-4.0 (captions and boxes); synonyms: not stated; pictures: Flickr's terms",
        citation="Rohrbach et al., Object Hallucination in Image Captioning, EMNLP 2018, arXiv 1809.02156",
        translation="none: English",
    ),
)

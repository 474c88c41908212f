"""COCO captions in English (Chen et al., 2015), the split of Karpathy and Fei-Fei (2015): 5,000 photographs each."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from visiglot.benchmarks.wording import asked, words
from visiglot.data.adapter import Pictures
from visiglot.data.rows import JsonRows, Row
from visiglot.evaluate.benchmark import BENCHMARKS, Benchmark, Settings
from visiglot.evaluate.published import Asked, Publication, all_rows, open_pictured, picture
from visiglot.languages import ENGLISH
from visiglot.types import Example

SPLITS = ("test", "val")
FILE = "dataset_coco.json"

PUBLICATION = Publication(
    home="https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip and, for the pictures, COCO "
    "2014's validation images (https://cocodataset.org/#download)",
    layout=f"{FILE}, and val2014/<filename>",
    texts=(FILE,),
    pictures=("val2014",),
)


def split_rows(file: Path, split: str) -> Iterator[Row]:
    """The rows of a split's pictures, in the order of the file. Raises DataError."""
    return (row for row in all_rows(JsonRows(file, "images")) if row.text("split") == split)


def captions_of(row: Row) -> tuple[str, ...]:
    """What people wrote of the row's picture. Raises DataError."""
    return tuple(sentence.text("raw") for sentence in row.rows("sentences"))


def _examples(wanted: Asked, pictures: Pictures) -> Iterator[Example]:
    said = words("xm3600", wanted.prompt_set, wanted.language)
    for row in split_rows(wanted.file, wanted.split):
        id = row.name("cocoid")
        yield Example(
            id=id,
            messages=asked(said["ask"], said),
            language=wanted.language,
            images=(picture(pictures, row, "filename", row.text("filename")),),
            references=captions_of(row),
            task="caption",
            group=id,
        )


BENCHMARKS.add(
    "coco",
    Benchmark(
        name="coco",
        about="Captions of photographs of everyday scenes, against five people's; English.",
        load=partial(
            open_pictured, "coco", PUBLICATION, {split: [FILE] for split in SPLITS}, {ENGLISH: "en"}, _examples
        ),
        splits=SPLITS,
        prompt_sets=("native", "paper"),
        metrics={"caption": ("cider-ptb", "bleu4-ptb", "rouge-l-ptb", "cider-visiglot", "chrf-sentence")},
        settings=Settings(max_new_tokens=50, beams=5),
        licence="CC-BY-4.0 (captions); pictures: Flickr's terms",
        citation="Chen et al., Microsoft COCO Captions, arXiv 1504.00325; Karpathy and Fei-Fei, Deep Visual-Semantic "
        "Alignments, CVPR 2015, arXiv 1412.2306",
        translation="none: English",
    ),
)

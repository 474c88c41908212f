"""COCO captions (Chen et al., 2015, arXiv 1504.00325), Flickr30k's (Young et al., 2014), and the splits of both that
Karpathy and Fei-Fei (2015) made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from visiglot.data.adapter import Origin, Pictures, Reading, adapter
from visiglot.data.lookup import Lookup
from visiglot.data.rows import JsonRows, Row
from visiglot.types import Example

LICENCE = "CC-BY-4.0"

SPLITS = {"train": ("train", "restval"), "train-only": ("train",), "val": ("val",), "test": ("test",)}
"""Parts of the Karpathy split; training takes `restval` too, as is usual."""


@adapter("coco-captions", title="COCO captions, 2014 and 2017", licence=LICENCE)
def coco_captions(origin: Origin, *, path: Path, images: Path) -> Reading:
    """One example for each caption of `captions_*.json`; `images` is the folder of the year's pictures.

    The file is an object with `images` (`id`, `file_name`) and `annotations` (`id`, `image_id`, `caption`).
    """
    pictures = Pictures(images)
    files = Lookup(JsonRows(path, "images"), lambda row: row.name("id"), "id of an image")

    def examples(row: Row) -> Sequence[Example]:
        image = files.find(row.name("image_id"))
        if image is None:
            raise row.error("image_id", f"is {row.name('image_id')}, which isn't among the file's images")
        ref = pictures.ref(row, "image_id", image.text("file_name"))
        return [origin.caption(row.name("id"), ref, row.text("caption"))]

    return Reading(JsonRows(path, "annotations"), examples)


@adapter("coco-karpathy", title="COCO captions, Karpathy split", licence=LICENCE)
def coco_karpathy(
    origin: Origin, *, path: Path, images: Path, split: Literal["train", "train-only", "val", "test"] = "train"
) -> Reading:
    """One example for each caption of `dataset_coco.json`; `images` holds `train2014` and `val2014`.

    Rows of `images` have `filepath` (the folder), `filename`, `split` and `sentences` (`raw`, `sentid`).
    """
    return _karpathy(origin, path, images, SPLITS[split])


@adapter("flickr30k", title="Flickr30k captions, Karpathy split", licence=None)
def flickr30k(origin: Origin, *, path: Path, images: Path, split: Literal["train", "val", "test"] = "train") -> Reading:
    """One example for each caption of `dataset_flickr30k.json`; `images` is Flickr30k's folder of pictures.

    Rows of `images` are as in `coco-karpathy`, but for the folder.
    """
    return _karpathy(origin, path, images, (split,))


def _karpathy(origin: Origin, path: Path, images: Path, splits: Sequence[str]) -> Reading:
    pictures = Pictures(images)

    def examples(row: Row) -> Sequence[Example]:
        if row.text("split") not in splits:
            return ()
        file = "/".join(filter(None, (row.get("filepath"), row.text("filename"))))
        ref = pictures.ref(row, "filename", file)
        sentences = row.rows("sentences")
        return [origin.caption(one.name("sentid"), ref, one.text("raw")) for one in sentences]

    return Reading(JsonRows(path, "images"), examples)

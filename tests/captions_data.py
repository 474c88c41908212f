"""Small data of the benchmarks of captions, in the formats in which they are published."""

from __future__ import annotations

import json
from pathlib import Path

from tests.written import write_lines, write_pictures, write_text

COCO_SPLITS = {301: "test", 302: "val", 303: "test", 304: "train", 305: "val", 306: "restval"}
COCO_CATEGORIES = {1: "person", 18: "dog", 44: "bottle"}
COCO_BOXES = ((302, 18), (302, 18), (302, 1), (303, 44), (304, 44))
"""(picture, category): 301 and 305 have none."""

SYNONYMS = "person, man, woman\ndog, puppy\nbottle\ncat, kitten\n"


def write_coco(root: Path) -> Path:
    """Two pictures in the test split, two in the validation split, two in others; with two captions each."""
    return _karpathy(root / "coco")


def write_chair(root: Path) -> Path:
    """The same pictures with boxes and synonyms."""
    folder = _karpathy(root / "chair")
    boxes = {
        "info": {"year": 2014},
        "images": [{"id": image, "file_name": _file(image)} for image in COCO_SPLITS],
        "annotations": [
            {"id": n, "image_id": image, "category_id": category, "iscrowd": 0, "bbox": [1.5, 2.0, 8.25, 9.0]}
            for n, (image, category) in enumerate(COCO_BOXES)
        ],
        "categories": [{"supercategory": "thing", "id": id, "name": name} for id, name in COCO_CATEGORIES.items()],
    }
    write_text(folder / "annotations/instances_val2014.json", json.dumps(boxes))
    write_text(folder / "synonyms.txt", SYNONYMS)
    return folder


def write_xflickrco(root: Path) -> Path:
    """English, German and Japanese: two pictures of Flickr30K, whose ids are texts, and two of COCO, whose are not."""
    folder = root / "xflickrco"
    names = {"1007129816": "1007129816.jpg", "109260218": "109260218.jpg", 460251: _file(460251), 357978: _file(357978)}
    for turn, code in enumerate(("en", "de", "ja")):
        rows = [
            {"sentences": [f"{code}: caption {n} of four"], "id": id, "img_path": name}
            for n, (id, name) in enumerate(names.items())
        ]
        write_lines(folder / f"annotations/{code}/test.jsonl", rows[turn:] + rows[:turn])
    write_pictures(folder / "images", list(names.values()))
    return folder


def _karpathy(folder: Path) -> Path:
    images = [
        {
            "filepath": "val2014",
            "sentids": [2 * n, 2 * n + 1],
            "filename": _file(image),
            "imgid": n,
            "split": split,
            "sentences": [
                {"tokens": [], "raw": f"A man sees thing {n}.", "imgid": n, "sentid": 2 * n},
                {"tokens": [], "raw": f"Somebody looks at thing {n}", "imgid": n, "sentid": 2 * n + 1},
            ],
            "cocoid": image,
        }
        for n, (image, split) in enumerate(COCO_SPLITS.items())
    ]
    write_text(folder / "dataset_coco.json", json.dumps({"images": images, "dataset": "coco"}))
    write_pictures(folder / "val2014", [_file(image) for image in COCO_SPLITS])
    return folder


def _file(image: int) -> str:
    return f"COCO_val2014_{image:012}.jpg"

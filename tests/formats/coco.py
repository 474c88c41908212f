"""COCO captions."""

from __future__ import annotations

import json
from pathlib import Path

from tests.formats import Expected, Fixture, picture, replace_in


def captions(folder: Path) -> Fixture:
    """`captions_train2017.json`, laid out in lines so that an error's line can be checked."""
    path = folder / "annotations" / "captions_train2017.json"
    path.parent.mkdir()
    picture(folder / "train2017", "000000000009.jpg", "000000000025.jpg")
    text = {
        "info": {"description": "COCO 2017 Dataset", "year": 2017},
        "licenses": [{"id": 1, "name": "Attribution License", "url": "http://creativecommons.org/licenses/by/2.0/"}],
        "images": [
            {"license": 1, "file_name": "000000000009.jpg", "height": 480, "width": 640, "id": 9},
            {"license": 1, "file_name": "000000000025.jpg", "height": 426, "width": 640, "id": 25},
        ],
        "annotations": [
            {"image_id": 25, "id": 61, "caption": "Two giraffes near a tree. "},
            {"image_id": 9, "id": 62, "caption": "A tray of food – fruit."},
            {"image_id": 25, "id": 63, "caption": "A giraffe in the shade."},
        ],
    }
    path.write_text(json.dumps(text, ensure_ascii=False).replace("{", "\n{"), encoding="utf-8")
    return Fixture(
        options={"path": str(path), "images": str(folder / "train2017")},
        expected=(
            Expected("61", ("000000000025.jpg",), "", "Two giraffes near a tree."),
            Expected(
                "62", ("000000000009.jpg",), "", "A tray of food – fruit.", facts={"caption": "A tray of food – fruit."}
            ),
            Expected("63", ("000000000025.jpg",), "", "A giraffe in the shade."),
        ),
        spoil=lambda: replace_in(path, '"A tray of food – fruit."', '""'),
        spoilt=r"captions_train2017.json, line 8, field `caption`: is empty",
        lost=("62",),
        escape=lambda: replace_in(path, '"file_name": "000000000009.jpg"', '"file_name": "../../etc/passwd"'),
    )


def karpathy(folder: Path) -> Fixture:
    """`dataset_coco.json` of the Karpathy split."""
    path = folder / "dataset_coco.json"
    picture(folder, "val2014/COCO_val2014_000000391895.jpg", "train2014/COCO_train2014_000000000009.jpg")

    def image(folder_name: str, number: int, split: str, *raw: str) -> dict[str, object]:
        name = f"COCO_{folder_name}_{number:012d}.jpg"
        sentences = [
            {"tokens": text.lower().rstrip(".").split(), "raw": text, "imgid": 0, "sentid": number * 10 + n}
            for n, text in enumerate(raw)
        ]
        return {
            "filepath": folder_name,
            "sentids": [one["sentid"] for one in sentences],
            "filename": name,
            "imgid": 0,
            "split": split,
            "sentences": sentences,
            "cocoid": number,
        }

    rows = [
        image("val2014", 522418, "test", "A woman cuts a cake."),
        image("val2014", 391895, "restval", "A man on a dirt bike.", "A man rides."),
        image("train2014", 9, "train", "A tray of food."),
    ]
    lines = ",\n".join(json.dumps(row) for row in rows)
    path.write_text(f'{{"images": [\n{lines}\n], "dataset": "coco"}}', encoding="utf-8")
    return Fixture(
        options={"path": str(path), "images": str(folder), "split": "train"},
        expected=(
            Expected("3918950", ("val2014/COCO_val2014_000000391895.jpg",), "", "A man on a dirt bike."),
            Expected("3918951", ("val2014/COCO_val2014_000000391895.jpg",), "", "A man rides."),
            Expected("90", ("train2014/COCO_train2014_000000000009.jpg",), "", "A tray of food."),
        ),
        spoil=lambda: replace_in(path, '"raw": "A man rides."', '"raw": null'),
        spoilt=r"dataset_coco.json, line 3, field `sentences\[1\].raw`: is missing",
        lost=("3918950", "3918951"),
        escape=lambda: replace_in(path, '"filename": "COCO_train2014_000000000009.jpg"', '"filename": "../../x.jpg"'),
    )


def flickr(folder: Path) -> Fixture:
    """`dataset_flickr30k.json` of the Karpathy split."""
    path = folder / "dataset_flickr30k.json"
    picture(folder / "images", "1000092795.jpg", "10002456.jpg")

    def image(number: int, split: str, *raw: str) -> str:
        sentences = [
            {"tokens": text.lower().rstrip(".").split(), "raw": text, "imgid": number, "sentid": number * 5 + n}
            for n, text in enumerate(raw)
        ]
        name = ("1000092795.jpg", "10002456.jpg")[number % 2]
        ids = [one["sentid"] for one in sentences]
        return json.dumps({"sentids": ids, "imgid": number, "sentences": sentences, "split": split, "filename": name})

    lines = ",\n".join(
        [
            image(0, "train", "Two young guys.", "Two friends."),
            image(1, "test", "Men at work."),
            image(3, "train", "A cat."),
        ]
    )
    path.write_text(f'{{"images": [\n{lines}\n], "dataset": "flickr30k"}}', encoding="utf-8")
    return Fixture(
        options={"path": str(path), "images": str(folder / "images")},
        expected=(
            Expected("0", ("1000092795.jpg",), "", "Two young guys."),
            Expected("1", ("1000092795.jpg",), "", "Two friends.", facts={"caption": "Two friends."}),
            Expected("15", ("10002456.jpg",), "", "A cat."),
        ),
        spoil=lambda: replace_in(path, '"raw": "Two friends."', '"raw": ""'),
        spoilt=r"dataset_flickr30k.json, line 2, field `sentences\[1\].raw`: is empty",
        lost=("0", "1"),
        escape=lambda: replace_in(path, '"train", "filename": "10002456.jpg"', '"train", "filename": "../../x.jpg"'),
    )


FIXTURES = {"coco-captions": captions, "coco-karpathy": karpathy, "flickr30k": flickr}

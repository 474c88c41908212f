"""Small data of the benchmarks that are ranked by vectors, in the format in which they are published."""

from __future__ import annotations

from pathlib import Path

from tests.written import COLOURS, encoded, write_lines, write_pictures, write_table, write_text

XTD_NAMES = tuple(f"COCO_train2014_0000000{n:05}.jpg" for n in range(61844, 61856))
"""Twelve, so that not everything is among the first ten."""
XTD_FILES = {"en": "XTD10", "it": "XTD10", "de": "MIC", "jp": "STAIR"}
WIT_ROWS = {  # language -> picture and caption of each row
    "en": [(n, f"The thing {n}") for n in range(4)] + [(2, "The thing 2, again")],
    "bg": [(0, "Нещото 0"), (3, "Нещото 3"), (5, "Нещото 5")],
}


def write_xtd(root: Path) -> Path:
    """Four languages, a caption a line, in the folders of those who collected them; line N belongs to name N."""
    folder = root / "xtd"
    write_text(folder / "XTD10/test_image_names.txt", "".join(f"{name}\n" for name in XTD_NAMES))
    for code, home in XTD_FILES.items():
        lines = [f"{code} caption {n}, {COLOURS[n % len(COLOURS)]}" for n in range(len(XTD_NAMES))]
        write_text(folder / f"{home}/test_1kcaptions_{code}.txt", "".join(f"{line}\n" for line in lines))
    write_pictures(folder / "train2014", XTD_NAMES)
    return folder


def write_wit(root: Path) -> Path:
    """English and Bulgarian, the pictures as base64 in one table; a picture has two captions in English."""
    folder = root / "iglue-wit"
    for code, rows in WIT_ROWS.items():
        write_lines(
            folder / f"annotations/test_{code}.jsonl",
            [
                {
                    "image_idx": 10 * n + 7,
                    "image_url": f"https://upload.wikimedia.org/wikipedia/commons/{n}.jpg",
                    "meta_url": f"http://commons.wikimedia.org/wiki/File:{n}.jpg",
                    "caption_reference_description": caption,
                    "language": code,
                    "page_url": f"https://{code}.wikipedia.org/wiki/{n}",
                    "wit_ix": f"wit-test_{n}",
                }
                for n, caption in rows
            ],
        )
    table = [
        {"image_url": f"https://upload.wikimedia.org/wikipedia/commons/{n}.jpg", "base64_image": encoded(colour)}
        for n, colour in enumerate(COLOURS)
    ]
    write_table(folder / "images/chosen_langs.tsv", table)
    return folder

"""XTD: captions of 1,000 photographs of COCO in eleven languages, for retrieval (Aggarwal and Kale, 2020).

Seven languages were collected for it (XTD10/); English, German and French are of MIC (Rajendran et al., 2016), Japanese
is of STAIR. Line N of each file belongs to line N of the pictures' names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from visiglot.benchmarks.pairs import METRICS, by_picture, examples_of
from visiglot.data.rows.lines import LineRows
from visiglot.evaluate.benchmark import BENCHMARKS, Benchmark
from visiglot.evaluate.published import (
    Asked,
    Publication,
    PublishedData,
    all_rows,
    files_by_language,
    lacking,
    open_published,
)
from visiglot.types import Example, ImageRef

LANGUAGES = {
    "eng_Latn": "en", "deu_Latn": "de", "fra_Latn": "fr", "ita_Latn": "it", "jpn_Jpan": "jp", "kor_Hang": "ko",
    "pol_Latn": "pl", "rus_Cyrl": "ru", "spa_Latn": "es", "tur_Latn": "tr", "zho_Hans": "zh",
}  # fmt: skip
FOLDERS = ("XTD10", "MIC", "STAIR")
"""Where a language's file may lie; the first that has it counts."""
NAMES = "XTD10/test_image_names.txt"
PICTURES = ("images", "train2014", "val2014")
"""All in the first; or each in COCO's own folder, which its name says."""

PUBLICATION = Publication(
    home="https://github.com/adobe-research/Cross-lingual-Test-Dataset-XTD10 and, for the pictures, COCO 2014's "
    "(https://cocodataset.org)",
    layout=f"{NAMES}, {', '.join(FOLDERS)} each with test_1kcaptions_<code>.txt, and the pictures in images/ or in "
    "COCO's train2014/ and val2014/",
    texts=(NAMES, *(f"{folder}/test_1kcaptions_*.txt" for folder in FOLDERS)),
    pictures=PICTURES,
)


def load(folder: Path | None) -> PublishedData:
    folder, revision = open_published(folder, "xtd", PUBLICATION)
    names = folder / NAMES
    if not names.is_file():
        raise lacking("xtd", folder, NAMES, PUBLICATION)
    homes = {name: folder / name for name in PICTURES if (folder / name).is_dir()}
    if not homes:
        raise lacking("xtd", folder, f"folder {' or '.join(PICTURES)}", PUBLICATION)
    patterns = [f"{part}/test_1kcaptions_{{code}}.txt" for part in FOLDERS]
    files = {"test": files_by_language(folder, patterns, LANGUAGES)}
    return PublishedData(
        revision, files, lambda asked: _examples(asked, names, homes), PUBLICATION.home, unit=by_picture
    )


def _examples(wanted: Asked, names: Path, homes: Mapping[str, Path]) -> Iterator[Example]:
    rows = all_rows(LineRows({"name": names, "caption": wanted.file}))
    pairs = [(_picture(row.name("name"), homes), row.text("caption").strip()) for row in rows]
    return examples_of(pairs, wanted.language)


def _picture(name: str, homes: Mapping[str, Path]) -> ImageRef:
    """By a name as COCO has it: "COCO_train2014_000000061844.jpg"."""
    file = Path(name).name
    home = homes.get(PICTURES[0]) or next((path for part, path in homes.items() if f"_{part}_" in file), None)
    return ImageRef(file, path=(home or next(iter(homes.values()))) / file)


BENCHMARKS.add(
    "xtd",
    Benchmark(
        name="xtd",
        about="Find the photograph of a caption among a thousand, and its caption.",
        load=load,
        splits=("test",),
        prompt_sets=("captions",),
        metrics=METRICS,
        facts=("candidates",),
        embeds=True,
        licence="Adobe Research Licence (non-commercial); MIC's, STAIR's and COCO's their own",
        citation="Aggarwal and Kale, Towards Zero-shot Cross-lingual Image Retrieval, arXiv 2012.05107",
        translation="people in seven languages; German and French of MIC, Japanese of STAIR, English of COCO",
    ),
)

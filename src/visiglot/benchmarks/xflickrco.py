"""xFlickr&CO: captions of photographs of Flickr30K and COCO in eight languages (Bugliarello et al., 2022; IGLUE).

2,000 pictures, half from each, with a caption each. English is IGLUE's file of the same pictures; what mBLIP calls
English here is another set, the 1,000 test pictures of Flickr30K with five captions each.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from visiglot.benchmarks.wording import asked, words
from visiglot.benchmarks.xm3600 import CAPTIONS
from visiglot.data.adapter import Pictures
from visiglot.data.rows import JsonRows
from visiglot.evaluate.benchmark import BENCHMARKS, Benchmark, Settings
from visiglot.evaluate.published import Asked, Publication, all_rows, open_pictured, picture
from visiglot.types import Example

LANGUAGES = {
    "eng_Latn": "en", "deu_Latn": "de", "ind_Latn": "id", "jpn_Jpan": "ja", "rus_Cyrl": "ru", "spa_Latn": "es",
    "tur_Latn": "tr", "zho_Hans": "zh",
}  # fmt: skip

PUBLICATION = Publication(
    home="https://github.com/e-bug/iglue (datasets/xFlickrCO) and, for the pictures, Flickr30K and COCO 2014's "
    "validation images",
    layout="annotations/<code>/test.jsonl, and images/<img_path>, those of both sets in one folder",
    texts=("annotations/*/test.jsonl",),
    pictures=("images",),
)


def _examples(wanted: Asked, pictures: Pictures) -> Iterator[Example]:
    said = words("xm3600", wanted.prompt_set, wanted.language)
    for row in all_rows(JsonRows(wanted.file)):
        id = row.name("id")
        yield Example(
            id=id,
            messages=asked(said["ask"], said),
            language=wanted.language,
            images=(picture(pictures, row, "img_path", row.text("img_path")),),
            references=row.texts("sentences"),
            task="caption",
            group=id,
        )


BENCHMARKS.add(
    "xflickrco",
    Benchmark(
        name="xflickrco",
        about="Captions of photographs in eight languages, against one person's.",
        load=partial(
            open_pictured, "xflickrco", PUBLICATION, {"test": ["annotations/{code}/test.jsonl"]}, LANGUAGES, _examples
        ),
        splits=("test",),
        prompt_sets=("native", "paper"),
        metrics={"caption": CAPTIONS},
        settings=Settings(max_new_tokens=50, beams=5),
        licence="not stated (the repository is MIT); pictures: Flickr's terms",
        citation="Bugliarello et al., IGLUE, ICML 2022, arXiv 2201.11732",
        translation="none: captions written by speakers of each language",
    ),
)

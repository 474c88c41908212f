"""MaXM: questions about Crossmodal-3600's photographs in seven languages, answered in them (Changpinyo et al., 2023).

The gold answers are the file's `processed_answers`, as in mBLIP's and Centurio's evaluation. Questions of a language
were generated from its own captions: languages share no questions, and few pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from visiglot.benchmarks.wording import asked, words
from visiglot.data.adapter import Pictures
from visiglot.data.rows import JsonRows
from visiglot.evaluate.benchmark import BENCHMARKS, Benchmark, Settings
from visiglot.evaluate.published import Asked, Publication, all_rows, open_pictured, picture
from visiglot.types import Example

LANGUAGES = {
    "eng_Latn": "en", "fra_Latn": "fr", "heb_Hebr": "iw", "hin_Deva": "hi", "ron_Latn": "ro", "tha_Thai": "th",
    "zho_Hans": "zh",
}  # fmt: skip
TEXTS = ("maxm_v1_release/maxm_v1_{code}.json", "maxm_v1_{code}.json")

PUBLICATION = Publication(
    home="https://github.com/google-research-datasets/maxm (maxm_v1_release.zip) and, for the pictures, "
    "https://google.github.io/crossmodal-3600/",
    layout="maxm_v1_<code>.json, and images/<image_id>.jpg",
    texts=tuple(text.format(code="*") for text in TEXTS),
    pictures=("images",),
)


def _examples(wanted: Asked, pictures: Pictures) -> Iterator[Example]:
    said = words("maxm", wanted.prompt_set, wanted.language)
    for row in all_rows(JsonRows(wanted.file, "annotations")):
        image = row.name("image_id")
        for pair in row.rows("qa_pairs"):
            question = pair.text("question")
            yield Example(
                id=pair.name("question_id"),
                messages=asked(said["ask"], {**said, "question": question}),
                language=wanted.language,
                images=(picture(pictures, row, "image_id", f"{image}.jpg"),),
                references=pair.texts("processed_answers"),
                task="vqa",
                group=image,
                facts={"question": question, "collection": str(pair.get("is_collection")).lower()},
            )


BENCHMARKS.add(
    "maxm",
    Benchmark(
        name="maxm",
        about="Questions about photographs in seven languages, answered in the language of the question.",
        load=partial(open_pictured, "maxm", PUBLICATION, {"test": TEXTS}, LANGUAGES, _examples),
        splits=("test",),
        prompt_sets=("native", "paper"),
        metrics={"vqa": ("maxm-match", "normalised-exact")},
        settings=Settings(max_new_tokens=32, min_new_tokens=1, beams=5, length_penalty=-1.0),
        licence="free for any purpose, by the LICENSE of its repository (questions); pictures: not stated",
        citation="Changpinyo et al., MaXM: Towards Multilingual Visual Question Answering, Findings of EMNLP 2023, "
        "arXiv 2209.05401",
        translation="made by machine from captions in each language, through English and back, and checked by people",
    ),
)

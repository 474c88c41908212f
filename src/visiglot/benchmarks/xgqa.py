"""xGQA: questions of GQA about photographs, translated by hand into seven languages (Pfeiffer et al., 2022).

The answers are English in every language, as published, and the `native` prompts ask for English in the language. So
neither the language of an answer nor the normalisation of other languages is a matter here.
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
    "eng_Latn": "en", "ben_Beng": "bn", "deu_Latn": "de", "ind_Latn": "id", "kor_Hang": "ko", "por_Latn": "pt",
    "rus_Cyrl": "ru", "zho_Hans": "zh",
}  # fmt: skip
SPLITS = {
    "test": "few_shot/{code}/test.json",
    "testdev": "zero_shot/testdev_balanced_questions_{code}.json",
}
"""`test` is the 9,666 questions of the few-shot partition, which IGLUE and mBLIP report; `testdev` is all 12,578."""

ROOTS = ("annotations", "data", ".")
"""What the folder above is called in IGLUE's and in xGQA's repository; or it is left out."""

TEXTS = {split: [f"{root}/{path}" for root in ROOTS] for split, path in SPLITS.items()}

PUBLICATION = Publication(
    home="https://github.com/e-bug/iglue (datasets/xGQA) and, for the pictures, GQA "
    "(https://cs.stanford.edu/people/dorarad/gqa/download.html)",
    layout="annotations/few_shot/<code>/test.json or annotations/zero_shot/testdev_balanced_questions_<code>.json, and "
    "images/<imageId>.jpg",
    texts=tuple(path.format(code="*") for paths in TEXTS.values() for path in paths),
    pictures=("images",),
)


def _examples(wanted: Asked, pictures: Pictures) -> Iterator[Example]:
    """The file is an object: question id -> question."""
    said = words("xgqa", wanted.prompt_set, wanted.language)
    for row in all_rows(JsonRows(wanted.file)):
        question, image = row.text("question"), row.name("imageId")
        yield Example(
            id=row.key,
            messages=asked(said["ask"], {**said, "question": question}),
            language=wanted.language,
            images=(picture(pictures, row, "imageId", f"{image}.jpg"),),
            references=(row.text("answer"),),
            task="vqa",
            group=image,
            facts={"question": question},
        )


BENCHMARKS.add(
    "xgqa",
    Benchmark(
        name="xgqa",
        about="Questions about photographs in eight languages, answered in English.",
        load=partial(open_pictured, "xgqa", PUBLICATION, TEXTS, LANGUAGES, _examples),
        splits=tuple(SPLITS),
        prompt_sets=("native", "paper"),
        metrics={"vqa": ("normalised-exact-english", "mblip-exact", "mblip-relaxed", "gqa-accuracy")},
        settings=Settings(max_new_tokens=32, min_new_tokens=1, beams=5, length_penalty=-1.0),
        licence="CC-BY-4.0 (questions); pictures: not stated",
        citation="Pfeiffer et al., xGQA: Cross-Lingual Visual Question Answering, Findings of ACL 2022, "
        "arXiv 2109.06082",
        translation="questions: people, from English; answers: left in English",
    ),
)

"""SEED-Bench: multiple-choice questions about pictures, of nine kinds (Li et al., 2024).

English only, as published; `seed-bench-mt` has them in other languages. The questions about videos, of three more
kinds, are left out. The authors' own evaluation ranks the options' texts by likelihood; here, as in LLaVA's and most
published numbers, the model names a letter.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial

from visiglot.benchmarks.wording import asked, words
from visiglot.data.adapter import Pictures
from visiglot.data.rows import JsonRows, Row
from visiglot.evaluate.benchmark import BENCHMARKS, Benchmark, Settings
from visiglot.evaluate.metrics.letters import LETTERS
from visiglot.evaluate.published import Asked, Publication, all_rows, open_pictured, picture
from visiglot.languages import ENGLISH
from visiglot.types import Example

FILE = "SEED-Bench.json"
OPTIONS = ("choice_a", "choice_b", "choice_c", "choice_d")
KINDS = {
    1: "Scene Understanding",
    2: "Instance Identity",
    3: "Instance Attributes",
    4: "Instance Location",
    5: "Instances Counting",
    6: "Spatial Relation",
    7: "Instance Interaction",
    8: "Visual Reasoning",
    9: "Text Understanding",
}
"""Of questions about pictures, by `question_type_id`, as the file's `question_type` names them."""

PUBLICATION = Publication(
    home="https://huggingface.co/datasets/AILab-CVC/SEED-Bench",
    layout=f"{FILE}, and SEED-Bench-image/<data_id> (SEED-Bench-image.zip, unpacked)",
    texts=(FILE,),
    pictures=("SEED-Bench-image",),
)


def _examples(wanted: Asked, pictures: Pictures) -> Iterator[Example]:
    said = words("seed-bench", wanted.prompt_set, wanted.language)
    for row in all_rows(JsonRows(wanted.file, at="questions")):
        if row.text("data_type") != "image":
            continue
        question, options, answer = row.text("question"), [row.name(name) for name in OPTIONS], row.text("answer")
        if answer not in LETTERS[: len(options)]:
            raise row.error("answer", f"must be one of A, B, C, D, found {answer!r}")
        listed = "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, options))
        image = row.name("data_id")
        yield Example(
            id=row.name("question_id"),
            messages=asked(said["ask"], {**said, "question": f"{question}\n{listed}"}),
            language=wanted.language,
            images=(picture(pictures, row, "data_id", image),),
            references=(answer,),
            task="choice",
            group=image,
            facts={
                "question": question,
                "options": json.dumps(options, ensure_ascii=False),
                "category": _kind(row),
            },
            choices=tuple(LETTERS[: len(options)]),
        )


def _kind(row: Row) -> str:
    number = row.integer("question_type_id")
    if number not in KINDS:
        raise row.error(
            "question_type_id", f"must be one of 1 to {len(KINDS)} where there is a picture, found {number}"
        )
    return KINDS[number]


BENCHMARKS.add(
    "seed-bench",
    Benchmark(
        name="seed-bench",
        about="Multiple-choice questions about pictures, of nine kinds; English.",
        load=partial(open_pictured, "seed-bench", PUBLICATION, {"image": [FILE]}, {ENGLISH: "en"}, _examples),
        splits=("image",),
        prompt_sets=("native", "paper"),
        metrics={"choice": ("choice-accuracy", "letter-failures", "choice-accuracy-vlmevalkit")},
        settings=Settings(max_new_tokens=16),
        chance={"choice": 1 / len(OPTIONS)},
        facts=("options", "category"),
        parts=("category",),
        licence="CC-BY-NC-4.0; pictures: Conceptual Captions'",
        citation="Li et al., SEED-Bench: Benchmarking Multimodal Large Language Models, CVPR 2024, arXiv 2307.16125",
        translation="none: English",
    ),
)

"""XVNLI: does a picture prove, refute or leave open a statement? (Bugliarello et al., 2022; IGLUE)

Of the 1,164 rows of a language 14 have no gold label ("-", the annotators disagreed). They are left out and said so.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from visiglot.benchmarks.wording import asked, chosen, words
from visiglot.data.adapter import Pictures
from visiglot.data.rows import JsonRows, Row
from visiglot.errors import Notice
from visiglot.evaluate.benchmark import BENCHMARKS, Benchmark, Settings
from visiglot.evaluate.published import Asked, Publication, all_rows, open_pictured, picture
from visiglot.types import Example

LANGUAGES = {"eng_Latn": "en", "arb_Arab": "ar", "fra_Latn": "fr", "rus_Cyrl": "ru", "spa_Latn": "es"}
LABELS = {"entailment": "yes", "contradiction": "no", "neutral": "maybe"}
"""Label -> which word is its answer."""
UNLABELLED = "-"

PUBLICATION = Publication(
    home="https://github.com/e-bug/iglue (datasets/XVNLI) and, for the pictures, Flickr30K",
    layout="annotations/<code>/test.jsonl, and images/<Flikr30kID>.jpg",
    texts=("annotations/*/test.jsonl",),
    pictures=("images",),
)


def unlabelled(file: Path) -> tuple[str, ...]:
    """`pairID` of the rows without a gold label. Raises DataError."""
    return tuple(row.text("pairID") for row in all_rows(JsonRows(file)) if _label(row) == UNLABELLED)


def _examples(wanted: Asked, pictures: Pictures) -> Iterator[Example]:
    said = words("xvnli", wanted.prompt_set, wanted.language)
    rows = list(all_rows(JsonRows(wanted.file)))
    bare = [row.text("pairID") for row in rows if _label(row) == UNLABELLED]
    if bare:
        warnings.warn(
            f"xvnli, {wanted.language}: {len(bare)} of {len(rows):,} rows have no gold label and are left out "
            f"({', '.join(bare[:3])}{', ...' if len(bare) > 3 else ''})",
            Notice,
            stacklevel=2,
        )
    for row in rows:
        label = _label(row)
        if label == UNLABELLED:
            continue
        statement, image = row.text("sentence2"), row.name("Flikr30kID")
        yield Example(
            id=row.text("pairID"),
            messages=asked(said["ask"], {**said, "statement": statement}),
            language=wanted.language,
            images=(picture(pictures, row, "Flikr30kID", f"{image}.jpg"),),
            references=(said[LABELS[label]],),
            task="entailment",
            group=image,
            facts={"statement": statement, "label": label},
            choices=chosen(said, tuple(LABELS.values())),
        )


def _label(row: Row) -> str:
    label = row.text("gold_label")
    if label not in LABELS and label != UNLABELLED:
        raise row.error("gold_label", f"must be {', '.join(LABELS)} or {UNLABELLED!r}, found {label!r}")
    return label


BENCHMARKS.add(
    "xvnli",
    Benchmark(
        name="xvnli",
        about="Does the picture prove, refute or leave open a statement? One of three words, in five languages.",
        load=partial(
            open_pictured, "xvnli", PUBLICATION, {"test": ["annotations/{code}/test.jsonl"]}, LANGUAGES, _examples
        ),
        splits=("test",),
        prompt_sets=("native", "paper"),
        metrics={"entailment": ("normalised-exact", "mblip-exact", "mblip-relaxed")},
        settings=Settings(max_new_tokens=32, min_new_tokens=1, beams=5, length_penalty=-1.0),
        chance={"entailment": 1 / 3},
        licence="not stated (the repository is MIT)",
        citation="Bugliarello et al., IGLUE, ICML 2022, arXiv 2201.11732",
        translation="statements: people, from the English of SNLI (Agić and Schluter, 2018); labels: those of English",
    ),
)

"""MaRVL: is a statement true of two photographs? (Liu et al., 2021), and in English NLVR2 (Suhr et al., 2019).

Pictures and statements of each language were chosen and written by its speakers: languages share no pictures, so a
limit can't take the same ones. Chinese has statements in both scripts, more of them in the traditional one; its code
here is that of the named set `iglue`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from visiglot.benchmarks.wording import asked, chosen, words
from visiglot.data.adapter import Pictures
from visiglot.data.rows import JsonRows, Row
from visiglot.evaluate.benchmark import BENCHMARKS, Benchmark, Settings
from visiglot.evaluate.published import (
    Asked,
    Publication,
    PublishedData,
    all_rows,
    files_by_language,
    open_published,
    picture,
    picture_folder,
)
from visiglot.languages import ENGLISH
from visiglot.types import Example, ImageRef

LANGUAGES = {"ind_Latn": "id", "swh_Latn": "sw", "tam_Taml": "ta", "tur_Latn": "tr", "zho_Hans": "zh"}
ANSWERS = {"true": "yes", "false": "no"}
TEXTS = ("marvl-annotations/marvl-{code}.jsonl", "zero_shot/annotations/marvl-{code}.jsonl")
ENGLISH_TEXTS = ("nlvr2/test1.json", "nlvr2/annotations/test.jsonl")
PICTURES, ENGLISH_PICTURES = ("marvl-images", "images"), ("nlvr2/images", "nlvr2/test1")

PUBLICATION = Publication(
    home="https://doi.org/10.5683/SP3/42VZ4P (MaRVL); https://github.com/lil-lab/nlvr (nlvr2, for English)",
    layout="marvl-annotations/marvl-<code>.jsonl and marvl-images/<code>/images/<concept>/<left_img>; for English "
    "nlvr2/test1.json and nlvr2/images/<identifier less its last number>-img0.png, -img1.png",
    texts=(*(text.format(code="*") for text in TEXTS), *ENGLISH_TEXTS),
    pictures=(*PICTURES, *ENGLISH_PICTURES),
)


def load(folder: Path | None) -> PublishedData:
    folder, revision = open_published(folder, "marvl", PUBLICATION)
    files = files_by_language(folder, TEXTS, LANGUAGES)
    own = picture_folder("marvl", folder, PUBLICATION, PICTURES) if files else None
    english = files_by_language(folder, ENGLISH_TEXTS, {ENGLISH: "en"})
    nlvr2 = picture_folder("marvl", folder, PUBLICATION, ENGLISH_PICTURES) if english else None

    def examples(wanted: Asked) -> Iterator[Example]:
        pictures = nlvr2 if wanted.language == ENGLISH else own
        assert pictures is not None
        return _nlvr2(wanted, pictures) if wanted.language == ENGLISH else _marvl(wanted, pictures)

    return PublishedData(revision, {"test": {**english, **files}}, examples, PUBLICATION.home)


def _marvl(wanted: Asked, pictures: Pictures) -> Iterator[Example]:
    for row in all_rows(JsonRows(wanted.file)):
        concept, code = row.text("concept"), row.text("language")
        left, right = (
            picture(pictures, row, name, f"{code}/images/{concept}/{row.text(name)}")
            for name in ("left_img", "right_img")
        )
        yield _example(wanted, row, row.name("id"), row.text("caption"), (left, right), concept)


def _nlvr2(wanted: Asked, pictures: Pictures) -> Iterator[Example]:
    """The identifier is split-set-pair-sentence; a set is the eight pictures that a writer saw."""
    for row in all_rows(JsonRows(wanted.file, lines=True)):
        identifier = row.text("identifier")
        pair, _, number = identifier.rpartition("-")
        if pair.count("-") != 2 or not number.isdecimal():
            raise row.error("identifier", f"must be split-set-pair-sentence, found {identifier!r}")
        left, right = (picture(pictures, row, "identifier", f"{pair}-img{n}.png") for n in (0, 1))
        yield _example(wanted, row, identifier, row.text("sentence"), (left, right), pair.rpartition("-")[0])


def _example(
    wanted: Asked, row: Row, id: str, statement: str, images: tuple[ImageRef, ImageRef], group: str
) -> Example:
    said = words("marvl", wanted.prompt_set, wanted.language)
    label = str(row.need("label")).lower()
    if label not in ANSWERS:
        raise row.error("label", f"must be true or false, found {row.get('label')!r}")
    return Example(
        id=id,
        messages=asked(said["ask"], {**said, "statement": statement}, pictures=2),
        language=wanted.language,
        images=images,
        references=(said[ANSWERS[label]],),
        task="statement",
        group=group,
        facts={"statement": statement, "label": label},
        choices=chosen(said, tuple(ANSWERS.values())),
    )


BENCHMARKS.add(
    "marvl",
    Benchmark(
        name="marvl",
        about="Is a statement true of two photographs? Yes or no, in five languages; in English it is NLVR2's test.",
        load=load,
        splits=("test",),
        prompt_sets=("native", "paper"),
        metrics={"statement": ("normalised-exact", "mblip-exact", "mblip-relaxed")},
        settings=Settings(max_new_tokens=32, min_new_tokens=1, beams=5, length_penalty=-1.0),
        chance={"statement": 0.5},
        licence="CC-BY-4.0 (statements); pictures: for non-commercial research only",
        citation="Liu et al., Visually Grounded Reasoning across Languages and Cultures, EMNLP 2021, arXiv 2109.13238; "
        "Suhr et al., NLVR2, ACL 2019, arXiv 1811.00491",
        translation="none: statements written by speakers of each language",
    ),
)

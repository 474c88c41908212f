"""Crossmodal-3600: captions of 3,600 photographs from all over the world in 36 languages (Thapliyal et al., 2022)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from visiglot.benchmarks.wording import asked, words
from visiglot.data.adapter import Pictures
from visiglot.data.rows import JsonRows, Row
from visiglot.evaluate.benchmark import BENCHMARKS, Benchmark, Settings
from visiglot.evaluate.metrics.fidelity import FIDELITY
from visiglot.evaluate.published import (
    Asked,
    Publication,
    PublishedData,
    all_rows,
    open_published,
    picture,
    picture_folder,
)
from visiglot.types import Example

LANGUAGES = {
    "arb_Arab": ("ar",), "ben_Beng": ("bn",), "ces_Latn": ("cs",), "dan_Latn": ("da",), "deu_Latn": ("de",),
    "ell_Grek": ("el",), "eng_Latn": ("en",), "spa_Latn": ("es",), "pes_Arab": ("fa",), "fin_Latn": ("fi",),
    "tgl_Latn": ("fil",), "fra_Latn": ("fr",), "heb_Hebr": ("he", "iw"), "hin_Deva": ("hi",), "hrv_Latn": ("hr",),
    "hun_Latn": ("hu",), "ind_Latn": ("id",), "ita_Latn": ("it",), "jpn_Jpan": ("ja",), "kor_Hang": ("ko",),
    "mri_Latn": ("mi",), "nld_Latn": ("nl",), "nob_Latn": ("no",), "pol_Latn": ("pl",), "por_Latn": ("pt",),
    "quz_Latn": ("quz",), "ron_Latn": ("ro",), "rus_Cyrl": ("ru",), "swe_Latn": ("sv",), "swh_Latn": ("sw",),
    "tel_Telu": ("te",), "tha_Thai": ("th",), "tur_Latn": ("tr",), "ukr_Cyrl": ("uk",), "vie_Latn": ("vi",),
    "zho_Hans": ("zh",),
}  # fmt: skip
"""FLORES code -> the file's key for the language."""

PUBLICATION = Publication(
    home="https://google.github.io/crossmodal-3600/ (captions.zip and images.tgz)",
    layout="captions.jsonl, and images/<image/key>.jpg",
    texts=("captions.jsonl",),
    pictures=("images",),
)


def load(folder: Path | None) -> PublishedData:
    folder, revision = open_published(folder, "xm3600", PUBLICATION)
    pictures = picture_folder("xm3600", folder, PUBLICATION)
    captions = folder / "captions.jsonl"
    there = {key for _, row in JsonRows(captions).scan() if isinstance(row, Row) for key in row.values}
    files = {code: captions for code, keys in LANGUAGES.items() if there.intersection(keys)}
    return PublishedData(revision, {"test": files}, lambda asked: _examples(asked, pictures), PUBLICATION.home)


def _examples(wanted: Asked, pictures: Pictures) -> Iterator[Example]:
    """A picture without a caption in the language has no example in it."""
    said = words("xm3600", wanted.prompt_set, wanted.language)
    keys = LANGUAGES[wanted.language]
    for row in all_rows(JsonRows(wanted.file)):
        own = row.get(*keys)
        if own is None:
            continue
        key = next(key for key in keys if row.get(key) is not None)
        if not isinstance(own, dict):
            raise row.error(key, f"must be an object with `caption`, found {own!r}")
        captions = Row(own, row.where, row.key, row.scanned, f"{key}.").texts("caption")
        image = row.name("image/key")
        yield Example(
            id=image,
            messages=asked(said["ask"], said),
            language=wanted.language,
            images=(picture(pictures, row, "image/key", f"{image}.jpg"),),
            references=captions,
            task="caption",
            group=image,
            facts={"region": str(row.get("image/locale") or "")},
        )


CAPTIONS = (
    "cider-visiglot", "cider-mblip", "cider-ptb", "bleu4-visiglot", "rouge-l-visiglot", "chrf", "chrf-sentence",
    *FIDELITY,
)  # fmt: skip
"""The words of papers are those of `mblip` (mBLIP's) and `ptb` (of others); the first is right in every language."""

BENCHMARKS.add(
    "xm3600",
    Benchmark(
        name="xm3600",
        about="Captions of photographs from the regions where 36 languages are spoken.",
        load=load,
        splits=("test",),
        prompt_sets=("native", "paper"),
        metrics={"caption": CAPTIONS},
        settings=Settings(max_new_tokens=50, beams=5),
        licence="CC-BY-4.0 (captions); pictures: not stated",
        citation="Thapliyal et al., Crossmodal-3600, EMNLP 2022, arXiv 2205.12522",
        translation="none: captions written by speakers of each language",
    ),
)

"""What may be used commercially: nothing that says no, nothing that says nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from visiglot.config import DataSection, SourceSection
from visiglot.data.adapter import FORMATS
from visiglot.data.licences import ENGINES, commercial, left_out, objection, permitted, section_objection
from visiglot.data.opening import open_section, rows_left_out
from visiglot.data.parquet_source import write_examples
from visiglot.data.source import SOURCES
from visiglot.errors import DataError
from visiglot.types import Example, Message, Provenance

GERMAN, SWAHILI = "deu_Latn", "swh_Latn"


@pytest.mark.parametrize(
    "licence", ["CC-BY-4.0", "cc-by-sa-3.0", "CC0-1.0", "MIT", "Apache-2.0", "BSD-3-Clause", "Unicode-3.0 AND MIT"]
)
def test_licences_that_allow_commercial_use(licence: str) -> None:
    assert commercial(licence)


@pytest.mark.parametrize(
    "licence",
    [
        "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "cc-by-nc-nd-3.0", "non-commercial", "NonCommercial use only",
        "BabelNet non-commercial", "research only", "MIT AND CC-BY-NC-4.0",
    ],
)  # fmt: skip
def test_licences_that_forbid_it(licence: str) -> None:
    assert "forbids commercial use" in str(objection(licence))


@pytest.mark.parametrize("licence", [None, "", "unknown", "Flickr terms of use", "CC-BY-ND-4.0", "MIT or so"])
def test_what_is_not_known_is_not_allowed(licence: str | None) -> None:
    assert not commercial(licence)
    assert "forbids" not in str(objection(licence))


def test_the_engine_counts_as_much_as_the_texts() -> None:
    assert not commercial("MIT", "facebook/nllb-200-distilled-1.3B")
    assert not commercial("MIT", "nllb-200-3.3B")
    assert commercial("MIT", "google/madlad400-3b-mt")
    assert "isn't known" in str(objection("MIT", "somebody/engine"))
    assert not commercial("CC-BY-NC-4.0", "google/madlad400-3b-mt")


def test_of_an_engine_that_is_in_no_table_the_licence_that_the_row_states_counts() -> None:
    assert commercial("MIT AND CC-BY-4.0", "memory ours + somebody/engine")
    assert not commercial("MIT AND CC-BY-NC-4.0", "memory ours + somebody/engine")
    assert not commercial("MIT AND unknown", "somebody/engine")
    assert not commercial("MIT AND Apache-2.0", "facebook/nllb-200-distilled-1.3B")


@pytest.mark.parametrize("engine", ENGINES)
def test_each_engine_has_a_licence_that_is_understood(engine: str) -> None:
    assert "isn't known whether" not in str(objection(ENGINES[engine]))


@pytest.mark.parametrize("name", [name for name in SOURCES.names() if name in FORMATS])
def test_a_formats_licence_is_understood(name: str) -> None:
    assert FORMATS[name].licence is None or "isn't known" not in str(objection(FORMATS[name].licence))


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("CC0", "CC0-1.0"),
        ("CC BY 4.0", "CC-BY-4.0"),
        ("cc by sa 3.0", "CC-BY-SA-3.0"),
        ("Creative Commons Attribution 4.0 International", "CC-BY-4.0"),
        ("The Apache License, Version 2.0", "Apache-2.0"),
        ("MIT license", "MIT"),
    ],
)
def test_another_spelling_is_answered_with_the_name_to_write(words: str, name: str) -> None:
    assert f"(if it is {name}, write that)" in str(objection(words))
    assert objection(name) is None


def test_of_licences_to_choose_from_one_is_to_be_written() -> None:
    assert "(write the one that you use: MIT)" in str(objection("MIT OR GPL-2.0-only"))


@pytest.mark.parametrize("words", ["CC BY", "CC-BY-ND-4.0", "CC BY 5.0", "Flickr terms of use", "GPL"])
def test_what_resembles_no_licence_is_left_without_advice(words: str) -> None:
    assert str(objection(words)).endswith("allows commercial use")


def data(*sources: SourceSection, licence: str = "commercial") -> DataSection:
    return DataSection(sources=sources, languages=(GERMAN, SWAHILI), licence=licence)  # type: ignore[arg-type]


COCO = SourceSection(type="coco-captions", options={"path": "a", "images": "b"})
LLAVA = SourceSection(type="llava", options={"path": "a", "images": "b"})


def test_sources_are_left_out_by_their_formats_licence_and_said_why() -> None:
    section = data(COCO, LLAVA)
    (out,) = left_out(section)
    assert (out.number, out.section) == (1, LLAVA)
    assert "CC-BY-NC-4.0 forbids commercial use" in out.reason
    assert permitted(section).sources == (COCO,)
    assert permitted(data(COCO, LLAVA, licence="any")).sources == (COCO, LLAVA)


def test_what_a_section_says_of_its_licence_counts_before_the_formats() -> None:
    free = SourceSection(type="llava", options={"path": "a", "images": "b", "licence": "CC-BY-4.0"})
    bound = SourceSection(type="coco-captions", options={"path": "a", "images": "b", "licence": "CC-BY-NC-4.0"})
    assert section_objection(free) is None
    assert section_objection(bound) is not None


def test_nothing_left_is_an_error_with_the_reasons() -> None:
    with pytest.raises(DataError, match=r"nothing is left .*llava: CC-BY-NC-4.0 forbids"):
        permitted(data(LLAVA))


def rows(path: Path, *provenances: Provenance | None) -> SourceSection:
    turns = (Message("user", ("q",)), Message("assistant", ("a",)))
    codes = (GERMAN, SWAHILI)
    examples = [Example(str(n), turns, codes[n % 2], provenance=p) for n, p in enumerate(provenances)]
    write_examples(path, examples)
    return SourceSection(type="parquet", options={"path": str(path)})


def test_rows_are_left_out_by_what_they_say_themselves(tmp_path: Path) -> None:
    section = rows(
        tmp_path / "a.parquet",
        Provenance("coco", "CC-BY-4.0"),
        Provenance("coco", "CC-BY-4.0", engine="facebook/nllb-200-3.3B"),
        Provenance("llava", "CC-BY-NC-4.0"),
        Provenance("coco", "CC-BY-4.0", engine="google/madlad400-3b-mt"),
        None,
    )
    source = open_section(section, data(section), [GERMAN, SWAHILI], 0)
    assert {code: list(indices) for code, indices in source.by_language.items()} == {GERMAN: [0], SWAHILI: [3]}
    assert rows_left_out(source) == {
        "translated by facebook/nllb-200-3.3B, which is CC-BY-NC-4.0": 1,
        "CC-BY-NC-4.0 forbids commercial use": 1,
        "its licence isn't stated": 1,
    }
    everything = open_section(section, data(section, licence="any"), [GERMAN, SWAHILI], 0)
    assert sum(len(indices) for indices in everything.by_language.values()) == 5
    assert not rows_left_out(everything)


def test_a_file_of_which_nothing_is_left_is_an_error(tmp_path: Path) -> None:
    section = rows(tmp_path / "a.parquet", Provenance("llava", "CC-BY-NC-4.0"))
    with pytest.raises(DataError, match="nothing is left"):
        open_section(section, data(section), [GERMAN, SWAHILI], 0)

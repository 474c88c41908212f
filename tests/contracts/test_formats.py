"""Every format of the table of sources, on files written as its authors write them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.formats import Expected, Fixture, fixtures

from visiglot.data.adapter import FORMATS
from visiglot.data.source import SOURCES, Source, build_source, option_problems
from visiglot.errors import DataError
from visiglot.images import load_image
from visiglot.languages import all_languages
from visiglot.types import Example, ImageSlot

SOURCES.names()  # fills the table
CODES = [row.code for row in all_languages()]
WRITE = fixtures()


@pytest.fixture
def fixture(request: pytest.FixtureRequest, tmp_path: Path) -> Fixture:
    folder = tmp_path / "data" / "set"
    folder.mkdir(parents=True)
    return WRITE[request.param](folder)


def opened(name: str, fixture: Fixture, **options: object) -> Source:
    return build_source(name, {**fixture.options, **options}, languages=CODES, seed=0)


def told(example: Example) -> Expected:
    def words(role: str) -> str:
        return " | ".join(message.text for message in example.messages if message.role == role)

    names = tuple(ref.name for ref in example.images)
    return Expected(example.id, names, words("user"), words("assistant"), example.language)


def test_every_format_has_a_fixture_and_every_fixture_a_format() -> None:
    assert sorted(WRITE) == sorted(FORMATS)


@pytest.mark.parametrize(("name", "fixture"), [(name, name) for name in FORMATS], indirect=["fixture"])
class TestFormat:
    def test_its_examples_are_those_that_the_file_has(self, name: str, fixture: Fixture) -> None:
        source = opened(name, fixture)
        found = [source[index] for index in range(len(source))]
        bare = [Expected(e.id, e.images, e.asked, e.answer, e.language) for e in fixture.expected]
        assert [told(example) for example in found] == bare
        for example, expected in zip(found, fixture.expected, strict=True):
            assert expected.facts.items() <= example.facts.items()
            assert expected.references is None or example.references == expected.references
        assert len({example.id for example in found}) == len(found), "ids differ"

    def test_its_examples_can_be_trained_on(self, name: str, fixture: Fixture) -> None:
        source = opened(name, fixture)
        for index in range(len(source)):
            example = source[index]
            slots = [p.index for m in example.messages for p in m.content if isinstance(p, ImageSlot)]
            assert sorted(set(slots)) == list(range(len(example.images)))
            assert all(load_image(ref).mode == "RGB" for ref in example.images)
            assert example.provenance is not None
            assert example.provenance.source == name
            assert example.provenance.licence
            assert example.task
        with pytest.raises(IndexError):
            source[len(source)]

    def test_languages_point_to_their_examples(self, name: str, fixture: Fixture) -> None:
        source = opened(name, fixture)
        by_language = {code: indices.tolist() for code, indices in source.by_language.items()}
        for code, indices in by_language.items():
            assert indices == [n for n, one in enumerate(fixture.expected) if one.language == code]
        assert sum(map(len, by_language.values())) == len(fixture.expected)

    def test_a_bad_row_is_named_by_file_line_and_field(self, name: str, fixture: Fixture) -> None:
        fixture.spoil()
        with pytest.raises(DataError, match=fixture.spoilt):
            opened(name, fixture)

    def test_bad_rows_may_be_left_out_and_are_counted(self, name: str, fixture: Fixture) -> None:
        fixture.spoil()
        source = opened(name, fixture, on_bad="skip", max_bad=1.0)
        kept = [one.id for one in fixture.expected if one.id not in fixture.lost]
        assert [source[index].id for index in range(len(source))] == kept
        assert source.bad == {"bad row": 1}  # type: ignore[attr-defined]

    def test_no_picture_lies_outside_its_root(self, name: str, fixture: Fixture) -> None:
        if fixture.escape is None:
            return
        fixture.escape()
        with pytest.raises(DataError, match="leaves"):
            opened(name, fixture)

    def test_its_options_are_closed(self, name: str, fixture: Fixture) -> None:
        assert option_problems(name, fixture.options) == []
        assert option_problems(name, {**fixture.options, "pth": "x"})[0].startswith("options.pth: no such key")

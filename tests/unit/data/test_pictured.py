"""In which languages a recipe's data have pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.drawn import drawn_recipe
from tests.unit.data.nano.conftest import tiny_data

from visiglot.data.pictured import pictured_languages
from visiglot.data.source import SOURCES
from visiglot.errors import DataError
from visiglot.types import Example

PICTURED: dict[str, Any] = {"type": "drawn", "languages": ["deu_Latn", "fra_Latn"]}
TEXT: dict[str, Any] = {"type": "drawn", "languages": ["tur_Latn"], "options": {"pictures": False, "text": True}}


def test_text_only_sources_picture_no_language() -> None:
    recipe = drawn_recipe({"steps": 2, "data": {"languages": ["eng_Latn"], "sources": [PICTURED, TEXT]}})
    assert pictured_languages(recipe) == ("deu_Latn", "fra_Latn")


def test_all_stages_count_and_the_recipes_data_only_where_a_stage_has_none() -> None:
    own = {"steps": 2, "data": {"languages": ["tur_Latn"], "sources": [PICTURED, TEXT]}}
    assert pictured_languages(drawn_recipe(own)) == ("deu_Latn", "fra_Latn")
    assert pictured_languages(drawn_recipe(own, {"steps": 2})) == ("deu_Latn", "eng_Latn", "fra_Latn")


class Rarely:
    """One row in three has a picture."""

    name = "rarely"

    def __init__(self) -> None:
        source = SOURCES.get("drawn")(languages=("deu_Latn",), seed=0, text=True)
        pictured = [source[i] for i in range(len(source)) if source[i].images]
        text = [source[i] for i in range(len(source)) if not source[i].images]
        self.rows: list[Example] = [row for two in zip(text[::2], text[1::2], pictured) for row in two]
        self.by_language = {"deu_Latn": list(range(len(self.rows)))}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Example:
        return self.rows[index]


def test_a_source_of_both_kinds_pictures_its_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES._things, "rarely", lambda *, languages, seed: Rarely())
    recipe = drawn_recipe({"steps": 2, "data": {"languages": ["deu_Latn"], "sources": [{"type": "rarely"}]}})
    assert pictured_languages(recipe) == ("deu_Latn",)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with tiny_data(tmp_path_factory) as built:
        yield built


def test_the_built_in_data_picture_no_text_only_language_whatever_is_asked_for(folder: Path) -> None:
    languages = ["eng_Latn", "deu_Latn", "swh_Latn", "tur_Latn"]

    def asked(**options: object) -> tuple[str, ...]:
        source = {"type": "nano", "options": {"folder": str(folder), **options}}
        return pictured_languages(drawn_recipe({"steps": 2, "data": {"languages": languages, "sources": [source]}}))

    assert asked(task="caption") == ("deu_Latn", "eng_Latn")
    assert asked(task="name") == asked(task="caption", as_text=True) == ()


def test_data_that_are_not_there_are_an_error(tmp_path: Path) -> None:
    source = {"type": "nano", "options": {"task": "caption", "folder": str(tmp_path)}}
    with pytest.raises(DataError, match="isn't in"):
        pictured_languages(drawn_recipe({"steps": 2, "data": {"languages": ["deu_Latn"], "sources": [source]}}))

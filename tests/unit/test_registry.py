from __future__ import annotations

import sys
import types
from importlib.metadata import EntryPoint

import pytest

from visiglot import registry as registry_module
from visiglot.errors import UnknownNameError, VisiglotError
from visiglot.registry import Registry


def test_what_was_added_is_found_under_its_name() -> None:
    table: Registry[int] = Registry("thing")
    table.add("one", 1)
    assert table.get("one") == 1
    assert "one" in table
    assert "two" not in table


def test_register_returns_the_decorated_thing() -> None:
    table: Registry[object] = Registry("thing")

    @table.register("mine")
    def mine() -> None: ...

    assert table.get("mine") is mine


def test_a_taken_name_is_refused_and_the_first_stays() -> None:
    table: Registry[str] = Registry("thing")
    table.add("name", "first")
    with pytest.raises(VisiglotError, match="already 'first'"):
        table.add("name", "second")
    assert table.get("name") == "first"


def test_the_same_thing_may_be_added_twice() -> None:
    table: Registry[str] = Registry("thing")
    assert table.add("name", "first") == table.add("name", "first")


def test_an_unknown_name_gets_the_nearest_one() -> None:
    table: Registry[int] = Registry("connector")
    table.add("qformer", 1)
    with pytest.raises(UnknownNameError) as caught:
        table.get("qfromer")
    assert caught.value.nearest == ["qformer"]
    assert "no such connector: 'qfromer'" in str(caught.value)


def test_names_are_sorted() -> None:
    table: Registry[int] = Registry("thing")
    for name in ("b", "a", "c"):
        table.add(name, 0)
    assert table.names() == ["a", "b", "c"]
    assert [name for name, _ in table.items()] == ["a", "b", "c"]


def test_modules_are_imported_at_the_first_look_up_only(monkeypatch: pytest.MonkeyPatch) -> None:
    table: Registry[int] = Registry("thing", modules=("filler_of_the_table",))
    imported: list[str] = []

    def import_module(name: str) -> types.ModuleType:
        imported.append(name)
        table.add("filled", 1)
        return sys

    monkeypatch.setattr(registry_module, "import_module", import_module)
    assert imported == []
    assert table.get("filled") == 1
    assert "filled" in table
    assert imported == ["filler_of_the_table"]


def test_a_package_joins_through_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("theirs", "math:pi", "visiglot.new_things")
    groups: list[str] = []

    def entry_points(*, group: str) -> list[EntryPoint]:
        groups.append(group)
        return [point]

    monkeypatch.setattr(registry_module, "entry_points", entry_points)
    table: Registry[float] = Registry("new thing")
    assert table.get("theirs") == pytest.approx(3.14159, abs=1e-5)
    assert groups == ["visiglot.new_things"]


def test_a_table_whose_filling_failed_is_filled_at_the_next_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    table: Registry[int] = Registry("thing", modules=("first", "second"))
    failing = [True]

    def import_module(name: str) -> types.ModuleType:
        if name == "second" and failing.pop():
            failing.append(False)
            raise ImportError("half installed")
        table.add(name, len(name))
        return sys

    monkeypatch.setattr(registry_module, "import_module", import_module)
    with pytest.raises(ImportError):
        table.get("first")
    failing[:] = [False]
    assert table.names() == ["first", "second"]


def test_an_entry_point_that_cannot_be_loaded_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("theirs", "no_such_package:thing", "visiglot.things")
    monkeypatch.setattr(registry_module, "entry_points", lambda *, group: [point])
    table: Registry[int] = Registry("thing")
    with pytest.raises(VisiglotError, match="thing 'theirs' of the package no_such_package:thing can't be loaded"):
        table.names()

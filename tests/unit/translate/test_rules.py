"""What tells the rules and models of one translation from those of another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from visiglot.errors import ModelError
from visiglot.translate import rules as rules_module
from visiglot.translate.rules import identifier_model, rules


def test_rules_are_json_and_the_same_each_time() -> None:
    assert rules() == json.loads(json.dumps(rules()))
    assert rules() == rules()
    assert rules()["py3langid"]


def test_every_table_of_rules_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = rules()["tables"]
    found = {before}
    for package, names in rules_module.TABLES.items():
        for name in names:
            others = {key: tuple(one for one in some if one != name) for key, some in rules_module.TABLES.items()}
            assert name in rules_module.TABLES[package]
            monkeypatch.setattr(rules_module, "TABLES", others)
            found.add(rules()["tables"])
            monkeypatch.undo()
    assert len(found) == 1 + sum(map(len, rules_module.TABLES.values()))


def test_a_model_of_languages_is_known_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[Any] = []
    monkeypatch.setattr(rules_module, "load_identifier", loaded.append)
    path = tmp_path / "lid.bin"
    path.write_bytes(b"one")
    first = identifier_model(path)
    assert first is not None
    assert first["path"] == str(path)
    assert identifier_model(path) == first
    path.write_bytes(b"two")
    assert identifier_model(path) != first
    assert loaded == [path] * 3, "whether it can be used is known before any work"
    assert identifier_model(None) is None


def test_a_model_of_languages_that_isnt_there_is_said_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no file"):
        identifier_model(tmp_path / "lid.bin")

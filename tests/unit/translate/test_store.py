"""Outputs on disk: found by what was asked of whom, and whole after a crash."""

from __future__ import annotations

from pathlib import Path

import pytest

from visiglot.errors import TranslationError
from visiglot.translate.engine import Output
from visiglot.translate.store import Store, store_path

EN, DE, SW = "eng_Latn", "deu_Latn", "swh_Latn"


def test_what_was_added_is_found_by_another_process_under_its_languages(tmp_path: Path) -> None:
    outputs = {
        "a dog": Output("ein Hund"),
        "cut": Output("abge", finished=False),
        "none": Output(None, engine="other", reason="refused"),
    }
    with Store(tmp_path / "below" / "store.sqlite") as store:
        store.add(outputs, EN, DE)
    with Store(tmp_path / "below" / "store.sqlite") as store:
        assert store.find(["a dog", "cut", "none", "new"], EN, DE) == outputs
        assert store.find(["a dog"], EN, SW) == {}
        assert store.find(["A dog", "a dog "], EN, DE) == {}


def test_of_two_processes_outputs_for_a_text_the_first_is_kept_and_both_get_it(tmp_path: Path) -> None:
    with Store(tmp_path / "s") as one, Store(tmp_path / "s") as other:
        assert one.add({"a dog": Output("ein Hund")}, EN, DE) == {"a dog": Output("ein Hund")}
        said = other.add({"a dog": Output("der Hund"), "a cat": Output("die Katze")}, EN, DE)
        assert said == {"a dog": Output("ein Hund"), "a cat": Output("die Katze")}
        assert one.find(["a dog", "a cat"], EN, DE) == said


def test_thousands_of_texts_are_found_at_once(tmp_path: Path) -> None:
    outputs = {f"text {n}": Output(f"{n}") for n in range(3000)}
    with Store(tmp_path / "s") as store:
        store.add(outputs, EN, DE)
        assert store.find(list(outputs), EN, DE) == outputs


def test_engines_with_other_identities_have_other_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISIGLOT_CACHE", str(tmp_path))
    assert store_path("a 1") != store_path("a 2")
    assert store_path("a 1").is_relative_to(tmp_path)


def test_a_file_that_is_no_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"no database at all" * 100)
    with pytest.raises(TranslationError, match="can't be used"):
        Store(tmp_path / "s")

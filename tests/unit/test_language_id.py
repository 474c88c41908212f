"""Which language a text is in, and which languages count as one another."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.parallel import ARTICLES, CAPTIONS

from visiglot.errors import MissingExtraError, ModelError
from visiglot.language_id import (
    _table,
    codes_of,
    confusable_with,
    covers,
    identify,
    load_identifier,
    rank,
)
from visiglot.languages import all_languages


@pytest.fixture(autouse=True)
def no_models_of_other_tests() -> Iterator[None]:
    for cached in (load_identifier, covers):
        cached.cache_clear()
    yield
    for cached in (load_identifier, covers):
        cached.cache_clear()


class FakeModel:
    """What fastText's `load_model` gives: labels and their probabilities by words of the text."""

    def __init__(self, labels: Sequence[str], answers: dict[str, list[tuple[str, float]]] | None = None) -> None:
        self.labels = labels
        self.answers = answers or {}
        self.asked: list[str] = []

    def predict(self, text: str, k: int = 1, threshold: float = 0.0) -> tuple[tuple[str, ...], list[float]]:
        assert "\n" not in text, "fastText takes one line"
        if k == -1:
            return tuple(self.labels), [0.0] * len(self.labels)
        self.asked.append(text)
        found = next((ranked for word, ranked in self.answers.items() if word in text), [])[:k]
        return tuple(label for label, _ in found), [p for _, p in found]


@pytest.fixture
def fasttext(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Puts a model into a file; the path is what it gives."""

    def put(model: Any) -> Path:
        def load_model(path: str) -> Any:
            if isinstance(model, Exception):
                raise model
            return model

        monkeypatch.setitem(sys.modules, "fasttext", SimpleNamespace(load_model=load_model))
        path = tmp_path / "lid.bin"
        path.write_bytes(b"model")
        return path

    return put


@pytest.mark.parametrize(
    "code", ["ell_Grek", "kat_Geor", "tha_Thai", "kor_Hang", "tam_Taml", "hye_Armn", "khm_Khmr", "kan_Knda"]
)
def test_a_script_of_one_language_names_it_without_a_model(code: str) -> None:
    found = identify({**ARTICLES, **CAPTIONS}[code])
    assert found.code == code
    assert found.confidence == 1.0


@pytest.mark.parametrize(
    "code", ["deu_Latn", "swh_Latn", "fin_Latn", "arb_Arab", "rus_Cyrl", "hin_Deva", "zho_Hans", "vie_Latn"]
)
def test_py3langid_tells_languages_of_one_script_apart(code: str) -> None:
    assert identify(CAPTIONS[code]).code == code


@pytest.mark.parametrize("text", ["", "12 + 7", "!!!", "ok", "<>"])
def test_what_says_nothing_of_a_language_is_undetermined(text: str) -> None:
    assert identify(text).code is None


def test_the_same_text_has_the_same_answer_after_others() -> None:
    before = identify(CAPTIONS["swh_Latn"])
    for text in CAPTIONS.values():
        identify(text)
    assert identify(CAPTIONS["swh_Latn"]) == before


def test_a_language_that_py3langid_does_not_know_is_not_ranked() -> None:
    assert rank(CAPTIONS["eng_Latn"], "ceb_Latn") is None
    assert rank(CAPTIONS["eng_Latn"], "hin_Latn") is None, "it knows Hindi in its own script only"
    assert rank(CAPTIONS["eng_Latn"], "deu_Latn") is not None


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("nob_Latn", "dan_Latn"),
        ("dan_Latn", "nno_Latn"),
        ("hrv_Latn", "bos_Latn"),
        ("hrv_Latn", "srp_Latn"),
        ("ind_Latn", "zsm_Latn"),
        ("ces_Latn", "slk_Latn"),
        ("slk_Latn", "ces_Latn"),
    ],
)
def test_a_language_agrees_with_one_that_is_confusable_with_it(text: str, target: str) -> None:
    ranking = rank(CAPTIONS[text], target)
    assert ranking is not None
    assert ranking.target > 0.5
    english = rank(CAPTIONS["eng_Latn"], target)
    assert english is not None
    assert english.target < 0.1


def test_confusable_languages_are_in_the_table_of_languages_and_agree_both_ways() -> None:
    known = {row.code[:3] for row in all_languages()}
    assert {code for group in _table()["confusable"] for code in group} <= known
    for row in all_languages():
        assert row.code[:3] in confusable_with(row.code)
        assert all(row.code[:3] in confusable_with(f"{other}_Latn") for other in confusable_with(row.code))
    assert "deu" not in confusable_with("nld_Latn")


@pytest.mark.parametrize(
    ("label", "codes"),
    [
        ("swh_Latn", ("swh_Latn",)),
        ("sw", ("swh_Latn",)),
        ("zh", ("zho_Hans", "zho_Hant")),
        ("zho_Hani", ("zho_Hans", "zho_Hant")),
        ("zho_Hant", ("zho_Hant",)),
        ("srp_Latn", ("srp_Latn",)),
        ("no", ("nob_Latn", "nno_Latn")),
        ("kaz_Cyrl", ("kaz_Cyrl",)),
        ("swh_Cyrl", ()),
        ("zxx", ()),
        ("xyz_Latn", ()),
    ],
)
def test_labels_mean_rows_of_the_table(label: str, codes: tuple[str, ...]) -> None:
    assert codes_of(label) == codes


@pytest.mark.parametrize("form", ["__label__swh_Latn", "__label__sw"])
def test_labels_of_a_users_model_may_be_codes_of_either_kind(fasttext: Any, form: str) -> None:
    model = FakeModel([form, "__label__de"], {"mbwa": [(form, 0.9), ("__label__de", 0.1)]})
    path = fasttext(model)
    assert identify("Huyu ni\n mbwa mkubwa", path).code == "swh_Latn"
    ranking = rank("Huyu ni mbwa mkubwa", "deu_Latn", path)
    assert ranking is not None
    assert (ranking.best, ranking.confidence, ranking.target) == ("swh_Latn", 0.9, pytest.approx(0.1))
    assert rank("Huyu ni mbwa mkubwa", "fra_Latn", path) is None, "the model has no label for it"


def test_a_users_model_that_says_nothing_leaves_a_text_undetermined(fasttext: Any) -> None:
    path = fasttext(FakeModel(["__label__de"], {"nan": [("__label__de", math.nan)]}))
    assert identify("nothing of this is known", path).code is None
    assert rank("nan nan nan", "deu_Latn", path) is None


def test_a_users_model_without_its_file_library_or_labels_is_refused(
    fasttext: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match="there is no file"):
        load_identifier(tmp_path / "none.bin")
    path = fasttext(FakeModel(["__label__positive", "__label__negative"]))
    with pytest.raises(ModelError, match=r"no label is a language's: negative, positive"):
        load_identifier(path)
    path = fasttext(ValueError("wrong file format"))
    with pytest.raises(ModelError, match="wrong file format"):
        load_identifier(path)
    monkeypatch.setitem(sys.modules, "fasttext", None)
    with pytest.raises(ModelError, match="pip install fasttext-predict"):
        load_identifier(path)


def test_without_py3langid_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    with pytest.raises(MissingExtraError, match=r"visiglot\[eval\]"):
        load_identifier()

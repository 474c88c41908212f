"""Is the answer in the language that was asked for?"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.parallel import ARTICLES, CAPTIONS
from tests.unit.evaluate.conftest import row

from visiglot.errors import ModelError
from visiglot.evaluate.metrics import METRICS, ScoreSettings, Statistics
from visiglot.evaluate.metrics.fidelity import FIDELITY, in_language
from visiglot.types import Prediction

SENTENCES = [(code, text) for texts in (CAPTIONS, ARTICLES) for code, text in texts.items()]
NOT_TOLD = {"cat_Latn", "spa_Latn", "bod_Tibt"}
"""py3langid isn't sure of two short captions; it knows no Tibetan, and Dzongkha has its script."""
NOT_SURE = {"cat_Latn", "dan_Latn", "hrv_Latn", "spa_Latn"}
"""Languages whose captions py3langid takes for no single language."""


@pytest.mark.parametrize(("code", "text"), SENTENCES)
def test_a_sentence_is_in_its_language_or_it_is_not_told(code: str, text: str) -> None:
    assert in_language(text, code) is (None if code in NOT_TOLD else True)


@pytest.mark.parametrize(("code", "text"), SENTENCES)
def test_a_sentence_is_in_none_of_the_other_languages(code: str, text: str) -> None:
    told = {other: in_language(text, other) for other in {**CAPTIONS, **ARTICLES} if other != code}
    assert True not in told.values()
    assert code in NOT_SURE or sum(one is None for one in told.values()) <= 4, "only what is like it isn't told"


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ("", "deu_Latn", None),
        ("12 + 7!", "tha_Thai", None),
        ("Hund", "deu_Latn", None),
        ("WC", "tha_Thai", None),
        ("OK", "hin_Deva", None),
        ("A red bicycle", "hin_Deva", False),
        ("แมว", "tha_Thai", True),
        ("แมว", "deu_Latn", False),
        ("猫", "deu_Latn", False),
        ("iPhone を持つ男性", "jpn_Jpan", None),
        ("A man looks at 公園 from the bridge", "jpn_Jpan", False),
        ("公園", "jpn_Jpan", None),
        ("两只狗在雪中玩耍", "zho_Hans", True),
        ("两只狗在雪中玩耍", "zho_Hant", False),
        ("兩隻狗在雪中玩耍", "zho_Hans", False),
        ("兩隻狗在雪中玩耍", "zho_Hant", True),
        ("Две собаки играют в снегу.", "ukr_Cyrl", False),
        ("Two dogs are playing in the snow.", "ceb_Latn", None),
    ],
)
def test_scripts_come_first_and_what_is_short_or_unknown_is_not_told(text: str, code: str, told: bool | None) -> None:
    assert in_language(text, code) is told


def german(text: str, place: int = 0, *references: str) -> Prediction:
    return row(str(place), text, *(references or ("Zwei Hunde spielen im Schnee.",)), language="deu_Latn")


def measured(name: str, *rows: Prediction) -> Statistics:
    return METRICS.get(name).measure(rows, "deu_Latn")


def test_what_is_not_told_is_neither_right_nor_wrong() -> None:
    texts = [CAPTIONS["deu_Latn"], CAPTIONS["eng_Latn"], "", "Hund"]
    found = measured("fidelity", *(german(text, place) for place, text in enumerate(texts)))
    assert found.values.tolist() == [[1, 1], [0, 1]]
    assert (found.groups, found.undetermined) == (("0", "1"), 2)


def test_the_identifier_is_measured_on_the_first_reference_of_each_row() -> None:
    rows = [
        german("", 0, CAPTIONS["deu_Latn"], CAPTIONS["eng_Latn"]),
        german("", 1, CAPTIONS["eng_Latn"], CAPTIONS["deu_Latn"]),
        german("", 2, "Hund"),
    ]
    found = measured("fidelity-references", *rows)
    assert found.values[:, 0].tolist() == [1, 0]
    assert found.undetermined == 1
    assert len(measured("fidelity-references", replace(rows[0], references=())).values) == 0


def test_scores_name_the_identifier_that_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = ("__label__deu_Latn", "__label__eng_Latn")
    model = SimpleNamespace(predict=lambda text, k=1, threshold=0.0: (labels, [0.1, 0.9]))
    monkeypatch.setitem(sys.modules, "fasttext", SimpleNamespace(load_model=lambda path: model))
    path = tmp_path / "lid.bin"
    path.write_bytes(b"model")
    for name in FIDELITY:
        plain, own = METRICS.get(name), METRICS.get(name).under(ScoreSettings(path))
        assert plain.tokenisation().endswith(f"|py3langid:{version('py3langid')}")
        assert own.tokenisation().endswith(f"|lid.bin:sha256:{hashlib.sha256(b'model').hexdigest()[:16]}")
        rows = [german(CAPTIONS["deu_Latn"])]
        assert plain.measure(rows, "deu_Latn").values[0, 0] == 1
        assert own.measure(rows, "deu_Latn").values[0, 0] == 0, "this model takes everything for English"


def test_a_model_that_is_not_there_is_said_before_anything_is_judged(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no file"):
        METRICS.get("fidelity").under(ScoreSettings(tmp_path / "none.bin"))


def test_other_metrics_know_no_settings() -> None:
    assert METRICS.get("exact").under(ScoreSettings()) is METRICS.get("exact")

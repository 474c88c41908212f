"""The rows of caption metrics: each measure with each tokenisation, from texts to values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from tests.unit.evaluate.conftest import row

from visiglot.errors import EvaluationError
from visiglot.evaluate.metrics import METRICS, Statistics
from visiglot.evaluate.metrics.captions import bleu_counts_of, ngrams_of, tokens_of
from visiglot.evaluate.segmentation import SEGMENTATIONS, Segmentation
from visiglot.types import Prediction

MEASURES = ("cider", "bleu1", "bleu2", "bleu3", "bleu4", "rouge-l")
ENGLISH = [
    row("1", "A red bus waits at the station.", "A red bus stands at the station.", "The bus waits.", group="bus"),
    row("2", "Two children fly a kite on the beach", "Children fly a kite.", group="kite"),
    row("3", "A cat sleeps on a sofa", "A cat sleeps on a sofa.", "The cat is asleep", "A sofa", group="cat"),
]


def measure(name: str, rows: Sequence[Prediction], language: str = "eng_Latn") -> Statistics:
    return METRICS.get(name).measure(rows, language)


def value(name: str, rows: Sequence[Prediction], language: str = "eng_Latn") -> float:
    return float(METRICS.get(name).reduce(measure(name, rows, language).values.sum(axis=0)))


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    for kept in (tokens_of, ngrams_of, bleu_counts_of):
        kept.cache_clear()


@pytest.fixture(params=[f"{one}-{tokens}" for one in MEASURES for tokens in ("ptb", "mblip", "visiglot")])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_measure_stands_in_the_table_with_every_tokenisation_and_names_it(name: str) -> None:
    metric, tokens = METRICS.get(name), SEGMENTATIONS.get(name.rsplit("-", 1)[1])
    assert metric.tokenisation() == tokens.signature()
    assert tokens.about in metric.about


def test_case_and_full_stop_make_no_difference_to_english_captions(name: str) -> None:
    plain = [row(one.id, (one.text or "").lower().rstrip("."), *one.references) for one in ENGLISH]
    assert value(name, plain) == pytest.approx(value(name, ENGLISH))


@pytest.mark.parametrize("odd", ["a\u2028boat", "a\nboat", "a\r\nboat", "a\x85boat", "a\u2029boat", "", "\n", "\u200b"])
def test_what_stands_in_a_caption_or_a_reference_shifts_no_other(name: str, odd: str) -> None:
    """ROUGE and BLEU see each image alone; CIDEr's frequencies are changed by the number of documents only."""
    before = measure(name, [row("0", "boat", "boat"), *ENGLISH]).values
    after = measure(name, [row("0", odd, "boat"), *ENGLISH]).values
    assert after[1:] == pytest.approx(before[1:])
    beside = measure(name, [row("0", "boat", "boat", odd), *ENGLISH]).values
    if not name.startswith("cider"):
        assert beside[1:] == pytest.approx(before[1:])
    assert len(beside) == len(before)


def test_the_value_of_rows_does_not_depend_on_their_order(name: str) -> None:
    assert value(name, ENGLISH[::-1]) == pytest.approx(value(name, ENGLISH))


def test_groups_are_the_rows_groups(name: str) -> None:
    assert measure(name, ENGLISH).groups == ("bus", "kite", "cat")


def test_ciders_statistics_are_each_images_value_with_the_whole_sets_frequencies() -> None:
    statistics = measure("cider-ptb", ENGLISH)
    assert statistics.values[:, 1].tolist() == [1.0, 1.0, 1.0]
    assert value("cider-ptb", ENGLISH) == pytest.approx(statistics.values[:, 0].mean())
    assert value("cider-ptb", ENGLISH[:1]) == 0.0


def test_bleu_is_of_summed_counts_and_no_mean_of_rows() -> None:
    metric = METRICS.get("bleu1-ptb")
    statistics = metric.measure(ENGLISH, "eng_Latn").values
    assert float(metric.reduce(statistics.sum(axis=0))) != pytest.approx(float(np.mean(metric.reduce(statistics))))


def test_japanese_without_words_has_nothing_in_common_and_with_words_it_has() -> None:
    rows = [
        row("1", "赤いバスが駅で待っている", "赤いバスが駅に止まっている", language="jpn_Jpan"),
        row("2", "猫がソファーで寝ている", "ソファーで猫が寝ている", language="jpn_Jpan"),
    ]
    assert value("cider-ptb", rows, "jpn_Jpan") == 0.0
    assert value("cider-mblip", rows, "jpn_Jpan") > 1.0
    assert value("cider-visiglot", rows, "jpn_Jpan") > 1.0


def test_a_row_without_a_reference_is_an_error(name: str) -> None:
    lonely = Prediction("7", "", "eng_Latn", "", "a cat", None, "b", "s", "p", (), "m", "h")
    with pytest.raises(EvaluationError, match="'7' has no reference"):
        measure(name, [*ENGLISH, lonely])


def test_captions_are_cut_once_for_all_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def tokenise(texts: Sequence[str], language: str) -> list[list[str]]:
        calls.append(len(texts))
        return [text.split() for text in texts]

    counting = Segmentation("ptb", "Counts.", tokenise, lambda: "counting")
    monkeypatch.setitem(SEGMENTATIONS._things, "ptb", counting)
    for one in MEASURES:
        measure(f"{one}-ptb", ENGLISH)
    assert calls == [9]

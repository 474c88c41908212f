"""Corpus BLEU, chrF and chrF++ against sacreBLEU's public functions on the same texts."""

from __future__ import annotations

import random
from itertools import zip_longest

import numpy as np
import pytest
from tests.unit.evaluate.conftest import row

from visiglot.evaluate.metrics import METRICS
from visiglot.evaluate.metrics.corpus import tokenizer_of
from visiglot.types import Prediction

sacrebleu = pytest.importorskip("sacrebleu")

CAPTIONS = {
    "eng_Latn": [
        ("A red bus waits at the station.", "A red bus stands at the bus station.", "The bus waits, full of people."),
        ("Two children fly a kite on the beach", "Two kids are flying a kite on the beach."),
        ("", "An old boat in the harbour.", "A boat!"),
        ("bread", "A loaf of bread on a board."),
    ],
    "zho_Hans": [
        ("一辆红色的公交车停在车站。", "红色公交车停在车站。", "一辆公交车停在站前"),
        ("猫在睡觉", "一只猫在沙发上睡觉"),
    ],
    "jpn_Jpan": [
        ("赤いバスが駅で待っている。", "赤いバスが駅に止まっている。"),
        ("猫", "猫がソファーで寝ている", "寝ている猫"),
    ],
    "tha_Thai": [("รถบัสสีแดงจอดที่สถานี", "รถบัสสีแดงอยู่ที่สถานี"), ("แมวนอนหลับ", "แมวนอนหลับบนโซฟา")],
    "arb_Arab": [("حافلة حمراء تنتظر في المحطة.", "حافلة حمراء في المحطة."), ("قطة نائمة", "قطة تنام على الأريكة")],
}


def rows(language: str) -> list[Prediction]:
    return [
        row(str(n), own, *others, language=language, group=f"g{n // 2}")
        for n, (own, *others) in enumerate(CAPTIONS[language])
    ]


def value(name: str, given: list[Prediction], language: str) -> float:
    metric = METRICS.get(name)
    return float(metric.reduce(metric.measure(given, language).values.sum(axis=0)))


def sacre(name: str, given: list[Prediction], language: str) -> float:
    answers = [one.text for one in given]
    streams = list(zip_longest(*(one.references for one in given)))
    if name == "bleu":
        return float(sacrebleu.BLEU(tokenize=tokenizer_of(language), force=True).corpus_score(answers, streams).score)
    return float(sacrebleu.CHRF(word_order=2 if name == "chrf++" else 0).corpus_score(answers, streams).score)


@pytest.mark.parametrize("language", list(CAPTIONS))
@pytest.mark.parametrize("name", ["bleu", "chrf", "chrf++"])
def test_corpus_values_are_sacrebleus(name: str, language: str) -> None:
    given = rows(language)
    assert value(name, given, language) == pytest.approx(sacre(name, given, language), abs=1e-9)
    assert value(name, given, language) > 0


@pytest.mark.parametrize("name", ["bleu", "chrf", "chrf++"])
def test_resampled_sums_have_the_values_that_sacrebleu_gives_the_resampled_rows(name: str) -> None:
    given, metric, pick = rows("eng_Latn"), METRICS.get(name), random.Random(0)
    drawn = [[pick.randrange(len(given)) for _ in given] for _ in range(20)] + [[2], [3], [2, 3]]
    statistics = metric.measure(given, "eng_Latn")
    sums = np.stack([statistics.values[numbers].sum(axis=0) for numbers in drawn])
    expected = [sacre(name, [given[n] for n in numbers], "eng_Latn") for numbers in drawn]
    assert metric.reduce(sums) == pytest.approx(expected, abs=1e-9)
    assert statistics.groups == ("g0", "g0", "g1", "g1")


@pytest.mark.parametrize(
    ("language", "tokenizer"),
    [("eng_Latn", "13a"), ("kor_Hang", "13a"), ("zho_Hans", "zh"), ("zho_Hant", "zh"), ("jpn_Jpan", "char"),
     ("tha_Thai", "char"), ("khm_Khmr", "char"), ("lao_Laoo", "char"), ("mya_Mymr", "char"), ("bod_Tibt", "char")],
)  # fmt: skip
def test_bleus_words_follow_from_the_language(language: str, tokenizer: str) -> None:
    assert tokenizer_of(language) == tokenizer


@pytest.mark.parametrize("name", ["bleu", "chrf", "chrf++"])
def test_line_breaks_of_any_kind_and_empty_captions_shift_nothing(name: str) -> None:
    given, metric = rows("eng_Latn"), METRICS.get(name)
    broken = [row("x", "a\u2028b\nc\x85d", "a b c d"), row("y", "", "a\u2029b"), *given]
    before = metric.measure(given, "eng_Latn").values
    assert (metric.measure(broken, "eng_Latn").values[2:] == before).all()


def test_the_tokenisation_is_sacrebleus_signature() -> None:
    scorer = sacrebleu.BLEU()
    scorer.corpus_score(["a b", "c"], [["a", "c"], ["b", None]])
    theirs = "sacrebleu:" + scorer.get_signature().format()
    assert METRICS.get("bleu").tokenisation() == theirs.replace("tok:13a", "tok:13a, zh or char by language")
    for name, words in (("chrf", 0), ("chrf++", 2)):
        scorer = sacrebleu.CHRF(word_order=words)
        scorer.corpus_score(["a b", "c"], [["a", "c"], ["b", None]])
        assert METRICS.get(name).tokenisation() == "sacrebleu:" + scorer.get_signature().format()

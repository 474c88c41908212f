"""The normalisation that each language has its own part in."""

from __future__ import annotations

import pytest
from tests.unit.evaluate.conftest import row

from visiglot.evaluate.metrics import METRICS
from visiglot.evaluate.metrics.normal import is_normalised_match, normalised
from visiglot.languages import language


@pytest.mark.parametrize(
    ("code", "one", "other"),
    [
        ("eng_Latn", "The cat.", "cat"),
        ("eng_Latn", "U.S.A.", "usa"),
        ("eng_Latn", "T-shirt", "t shirt"),
        ("eng_Latn", "it’s", "it's"),
        ("deu_Latn", "STRASSE", "die Straße"),
        ("tur_Latn", "IŞIK", "ışık"),
        ("tur_Latn", "İSTANBUL", "istanbul"),
        ("ell_Grek", "Ο ΔΡΟΜΟΣ", "δρομος"),
        ("fra_Latn", "L’homme", "homme"),
        ("por_Latn", "A mesa", "mesa"),
        ("hun_Latn", "a kutya", "kutya"),
        ("arb_Arab", "الكِتَاب", "كتاب"),
        ("arb_Arab", "٣٫٥", "3.5"),
        ("pes_Arab", "می‌خواهم", "میخواهم"),
        ("pes_Arab", "كتاب", "کتاب"),
        ("heb_Hebr", 'ארה"ב', "ארה״ב"),
        ("heb_Hebr", "כֶּלֶב", "כלב"),
        ("hin_Deva", "१२ कुत्ते।", "12 कुत्ते"),
        ("jpn_Jpan", "ＡＢＣ １２。", "abc12"),
        ("zho_Hant", "紅 色。", "紅色"),
        ("tha_Thai", "หมา ๓ ตัว", "หมา3ตัว"),
        ("uzn_Latn", "yo‘q", "yo'q"),
        ("bod_Tibt", "ཁྱི།", "ཁྱི"),
        ("kor_Hang", "고양이.", "고양이"),
    ],
)
def test_two_ways_to_write_one_answer_are_equal(code: str, one: str, other: str) -> None:
    assert normalised(one, code) == normalised(other, code) != ""


@pytest.mark.parametrize(
    ("code", "one", "other"),
    [
        ("deu_Latn", "3,5", "35"),
        ("deu_Latn", "3,5", "3.5"),
        ("eng_Latn", "a mesa", "the table"),
        ("eng_Latn", "a", "the"),  # an article alone is the answer
        ("deu_Latn", "a kutya", "kutya"),  # Hungarian's article is none in German
        ("deu_Latn", "schon", "schön"),
        ("eng_Latn", "IŞIK", "ışık"),
        ("mal_Mlym", "ന\u0d4d\u200d", "ന\u0d4d"),  # a joiner that is spelling
        ("arb_Arab", "علي", "على"),
        ("eng_Latn", "50%", "50"),
        ("arb_Arab", "الله", "له"),
    ],
)
def test_what_means_something_stays(code: str, one: str, other: str) -> None:
    assert normalised(one, code) != normalised(other, code)


@pytest.mark.parametrize("text", ["", " ", "。", "…", "''", "\u200b"])
def test_an_answer_without_a_sign_is_empty(text: str) -> None:
    assert normalised(text, "eng_Latn") == ""


@pytest.mark.parametrize("code", ["eng_Latn", "fra_Latn", "tur_Latn", "arb_Arab", "jpn_Jpan", "hin_Deva", "nld_Latn"])
def test_a_normalised_text_is_normal(code: str) -> None:
    for text in ("L'Homme et l'ami's", "'t huis 'n", "الكتاب ٣٫٥", "ÀÉ ﬁ ½", "a.b c.d.", "— 1:2 / 3/4 —", "ÌÍ İI"):
        once = normalised(text, code)
        assert normalised(once, code) == once, text


def test_every_language_of_the_table_of_articles_is_known() -> None:
    from visiglot.evaluate.metrics.normal import _table

    for kind in ("articles", "joined"):
        for code in _table(kind):
            assert language(code).code == code


def test_any_reference_counts() -> None:
    assert is_normalised_match("The Cat!", ["dog", "cat"], "eng_Latn")
    metric = METRICS.get("normalised-exact")
    statistics = metric.measure([row("1", "Der Hund.", "Hund"), row("2", "Katze", "Hund")], "deu_Latn")
    assert metric.reduce(statistics.values.sum(axis=0)) == 0.5

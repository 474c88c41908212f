"""Each reason for a rejection on both sides of its limit, and what must never be rejected."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.parallel import ARTICLES, CAPTIONS

from visiglot.errors import ConfigError, ModelError, UnknownNameError
from visiglot.languages import all_languages
from visiglot.translate.filters import REASONS, Filters

EN, DE, FR, ZH, TW, JA, AR, HI, TH, RU, KO, SW = (
    "eng_Latn",
    "deu_Latn",
    "fra_Latn",
    "zho_Hans",
    "zho_Hant",
    "jpn_Jpan",
    "arb_Arab",
    "hin_Deva",
    "tha_Thai",
    "rus_Cyrl",
    "kor_Hang",
    "swh_Latn",
)


def reason(
    original: str,
    translated: str,
    target: str,
    *,
    source: str = EN,
    only: str | None = None,
    finished: bool = True,
    sentences: tuple[int, int] = (1, 1),
    limits: Mapping[str, Mapping[str, Any]] | None = None,
) -> str | None:
    """What a translation is rejected for; `only`: by one filter."""
    filters = Filters([one for one in REASONS if only not in (None, one)], limits=limits)
    found = filters.reject(original, translated, source, target, finished=finished, sentences=sentences)
    if found is not None:
        assert found.detail
        assert "\n" not in found.detail
    return None if found is None else found.reason


# --- what must pass ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", CAPTIONS)
def test_a_caption_that_people_translated_passes_from_english_and_into_it(target: str) -> None:
    if target != EN:
        assert reason(CAPTIONS[EN], CAPTIONS[target], target) is None
        assert reason(CAPTIONS[target], CAPTIONS[EN], EN, source=target) is None


@pytest.mark.parametrize("target", ARTICLES)
def test_a_longer_text_that_people_translated_passes(target: str) -> None:
    if target != EN:
        assert reason(ARTICLES[EN], ARTICLES[target], target, sentences=(2, 2)) is None
        assert reason(ARTICLES[target], ARTICLES[EN], EN, source=target, sentences=(2, 2)) is None


@pytest.mark.parametrize("target", CAPTIONS)
@pytest.mark.parametrize(
    "text",
    [
        "42",
        "3.5",
        "12:30",
        "...",
        "pizza",
        "OK",
        "Paris",
        "New York City",
        "Bank of America",
        "iPhone 15 Pro",
        "<image>",
        "B",
    ],
)
def test_names_numbers_and_single_words_may_stay_as_they_are(text: str, target: str) -> None:
    assert reason(text, text, target, sentences=(0, 0)) is None


@pytest.mark.parametrize(
    ("original", "translated", "target"),
    [
        ("Yes.", "是。", ZH),
        ("No", "いいえ", JA),
        ("a dog", "كلب", AR),
        ("What is this?", "یہ کیا ہے؟", "urd_Arab"),
        ("red", "แดง", TH),
        ("It is a cup.", "컵이다.", KO),
        ("Barack Obama speaks at Harvard University", "Barack Obama 在 Harvard University 演讲", ZH),
        ("An Apple iPhone on a table", "アップルのiPhoneがテーブルにある", JA),
        ("Coca-Cola bottle", "Coca-Cola瓶", ZH),
        ("<image>\nWhat colour is the car?", "<image>\n车是什么颜色的？", ZH),
        ("The man wears a {colour} shirt.", "Der Mann trägt ein {colour} Hemd.", DE),
        ("a radio in a hotel restaurant", "ein Radio in einem Hotelrestaurant", DE),
        ("The Lord of the Rings", "The Lord of the Rings", DE),
        ("ha ha ha ha ha ha ha ha", "ха ха ха ха ха ха ха ха", RU),
    ],
)
def test_short_and_mixed_translations_pass(original: str, translated: str, target: str) -> None:
    assert reason(original, translated, target) is None


# --- each reason ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("translated", ["", "  \n", "...", "।"])
def test_nothing_where_there_was_something_is_empty(translated: str) -> None:
    assert reason("a dog", translated, HI) == "empty"
    assert reason("...", translated, HI) is None
    assert reason("a dog", "कु", HI, only="empty") is None


def test_an_output_that_was_stopped_is_unfinished() -> None:
    assert reason(CAPTIONS[EN], CAPTIONS[DE], DE, finished=False) == "unfinished"


@pytest.mark.parametrize(
    ("original", "translated", "target"),
    [
        ("There are 12 dogs on {place}.", "Auf {place} sind 13 Hunde.", DE),
        ("<image>\nWhat is this?", "这是什么？", ZH),
        ("The {animal} sleeps.", "Das {Tier} schläft.", DE),
    ],
)
def test_a_number_a_placeholder_or_an_image_that_is_missing_is_lost(
    original: str, translated: str, target: str
) -> None:
    assert reason(original, translated, target) == "lost placeholder"


def test_the_detail_of_a_lost_placeholder_names_it() -> None:
    found = Filters().reject("The {animal} sleeps.", "Es schläft.", EN, DE, finished=True, sentences=(1, 1))
    assert found is not None
    assert "placeholder {animal}" in found.detail


@pytest.mark.parametrize("target", [DE, ZH, AR, HI, RU])
def test_the_source_itself_is_a_copy_but_not_for_a_single_word_or_a_name(target: str) -> None:
    assert reason("a dog", "A dog.", target) == "copy"
    assert reason("two dogs in the snow", "two dogs in the snow", target) == "copy"
    assert reason("dog", "dog", target) is None
    assert reason("Rio de Janeiro", "Rio de Janeiro", target) is None
    assert reason("Two Dogs", "Two Dogs", target) is None


def test_most_of_the_source_in_its_translation_is_a_copy_beyond_the_scripts_limit() -> None:
    words = ["dogs", "cats", "birds", "fish", "cows", "sheep", "goats", "ducks", "hens", "bees"]
    for target, kept in ((DE, 8), (HI, 5)):
        other = {DE: "und", HI: "और"}[target]
        just = " ".join([*words[:kept], *[other] * (10 - kept)])
        beyond = " ".join([*words[: kept + 1], *[other] * (9 - kept)])
        assert reason(" ".join(words), just, target, only="copy") is None
        assert reason(" ".join(words), beyond, target, only="copy") == "copy"


def test_a_text_in_a_language_without_capitals_may_be_a_name_of_some_words() -> None:
    assert reason("محمد بن سلمان", "محمد بن سلمان", "pes_Arab", source=AR, only="copy") is None
    text = "يجلس رجل على مقعد في الحديقة"
    assert reason(text, text, "pes_Arab", source=AR, only="copy") == "copy"
    assert reason("東京大学", "東京大学", ZH, source=JA, only="copy") is None


def test_a_language_that_may_say_the_same_is_no_copy() -> None:
    text = "Vi har en hund og en kat i haven"
    assert reason(text, text, "nob_Latn", source="dan_Latn") is None
    assert reason(text, text, "swe_Latn", source="dan_Latn") == "copy"


@pytest.mark.parametrize(
    ("target", "own", "other", "most"),
    [
        (RU, "ж", "b", 50),
        (RU, "ж", "س", 20),
        (ZH, "狗", "b", 50),
        (ZH, "狗", "の", 20),
        (AR, "س", "ж", 20),
        (DE, "b", "ж", 20),
        (KO, "개", "犬", 80),
        (KO, "개", "の", 20),
        (JA, "の", "b", 50),
        (JA, "犬の", "개", 20),
        (HI, "क", "ক", 20),
    ],
)
def test_letters_of_another_script_are_allowed_up_to_the_limit(target: str, own: str, other: str, most: int) -> None:
    if (target, other) == (KO, "犬"):
        assert reason("x y z", f"{other} " * most + f"{own} " * (100 - most), target, only="wrong script") is None
        return
    count = 100 // len(own)
    text = [f"{own} " * count, f"{other} " * round(count * len(own) * most / (100 - most))]
    assert reason("x y z", " ".join(text), target, only="wrong script") is None
    assert reason("x y z", " ".join([*text, other]), target, only="wrong script") == "wrong script"


def test_few_letters_say_nothing_of_a_script() -> None:
    assert reason("three men", "abc", RU, only="wrong script") is None
    assert reason("three men", "abcd", RU, only="wrong script") == "wrong script"


def test_japanese_without_kana_and_korean_without_hangul_are_neither() -> None:
    assert reason("x y z", "狗" * 19, JA, only="wrong script") is None
    assert reason("x y z", "狗" * 20, JA, only="wrong script") == "wrong script"
    assert reason("x y z", "狗" * 19 + "の", JA, only="wrong script") is None
    assert reason("x y z", "狗" * 20, KO, only="wrong script") == "wrong script"


@pytest.mark.parametrize(
    ("text", "target", "rejected"),
    [
        ("这个男人正在骑马", ZH, False),
        ("这个男人正在骑马", TW, True),
        ("這個男人正在騎馬", TW, False),
        ("這個男人正在騎馬", ZH, True),
        ("一隻小山羊", ZH, False),  # one character is no evidence
        ("大山中有水和火", ZH, False),
        ("大山中有水和火", TW, False),
        ("這個人叫马云", TW, False),
    ],
)
def test_the_other_chinese_writing_is_a_wrong_script_where_it_is_certain(
    text: str, target: str, rejected: bool
) -> None:
    assert (reason("x y z", text, target, only="wrong script") == "wrong script") is rejected


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (DE, FR),
        (DE, "nld_Latn"),
        (SW, DE),
        (RU, "ukr_Cyrl"),
        (RU, "khk_Cyrl"),
        (AR, "urd_Arab"),
        (HI, "npi_Deva"),
        (HI, "mar_Deva"),
    ],
)
def test_another_language_of_the_same_script_is_wrong(target: str, said: str) -> None:
    text = {**CAPTIONS, **ARTICLES}[said]
    assert reason("x y z", text, target, only="wrong language") == "wrong language"
    assert reason("x y z", text, said, only="wrong language") is None


def test_english_in_a_language_that_the_identifier_does_not_know_is_undetermined() -> None:
    assert reason("x y z", ARTICLES[EN], "ceb_Latn", only="wrong language") is None
    assert reason("x y z", ARTICLES[EN], "hin_Latn", only="wrong language") is None


def test_a_language_is_looked_at_from_its_fewest_letters_on() -> None:
    text, letters = "Deux chiens jouent dans la neige", 27
    for fewest, found in ((letters, "wrong language"), (letters + 1, None)):
        limits = {"Latn": {"lid_letters": fewest}}
        assert reason("x y z", text, DE, only="wrong language", limits=limits) == found


def test_a_language_is_wrong_from_its_confidence_on_and_below_that_of_the_right_one() -> None:
    text = CAPTIONS[FR]
    for limits, found in (
        ({"lid_confidence": 1.0}, None),
        ({"lid_target": 0.0}, None),
        ({"lid_confidence": 0.5, "lid_target": 0.1}, "wrong language"),
    ):
        assert reason("x y z", text, DE, only="wrong language", limits={DE: limits}) == found


def test_the_names_of_the_source_are_no_evidence_of_a_language() -> None:
    names = "Charles Aznavour Juliette Gréco"
    assert reason(f"{names} sing", f"{names} singen", DE) is None


def test_confusable_languages_agree() -> None:
    for target, said in (
        ("nob_Latn", "dan_Latn"),
        ("srp_Latn", "hrv_Latn"),
        ("zsm_Latn", "ind_Latn"),
        ("slk_Latn", "ces_Latn"),
    ):
        assert reason("x y z", CAPTIONS[said], target, only="wrong language") is None


@pytest.mark.parametrize(
    ("target", "unit"),
    [(DE, "der Hund "), (ZH, "一只狗"), (JA, "犬がいる"), (AR, "كلب كبير "), (HI, "एक कुत्ता "), (TH, "สุนัขตัวหนึ่ง")],
)
def test_a_phrase_that_follows_itself_is_a_repetition(target: str, unit: str) -> None:
    assert reason("x y z", unit * 3, target, only="repetition") is None
    assert reason("x y z", unit * 4, target, only="repetition") == "repetition"


@pytest.mark.parametrize(("target", "letter", "most"), [(DE, "a", 15), (ZH, "哈", 7), (RU, "а", 15), (KO, "하", 7)])
def test_a_letter_that_follows_itself_is_a_repetition(target: str, letter: str, most: int) -> None:
    assert reason("x y z", letter * most, target, only="repetition") is None
    assert reason("x y z", letter * (most + 1), target, only="repetition") == "repetition"


def test_phrases_that_come_back_are_a_repetition_unless_they_do_in_the_source() -> None:
    one, other = "ein kleiner brauner Hund läuft im Park. ", "eine große Katze schläft auf dem alten Sofa. "
    text = one + other + one + other + one
    assert reason("x y z", text, DE, only="repetition") == "repetition"
    source = "a small brown dog runs in the park. a large cat sleeps on the old sofa. "
    assert reason(source * 2 + source[:36], text, DE, only="repetition") is None
    assert reason("x y z", one + other, DE, only="repetition") is None


def test_a_source_that_repeats_itself_may_have_a_translation_that_does() -> None:
    assert reason("very " * 6 + "big", "sehr " * 6 + "groß", DE, only="repetition") is None
    assert reason("very " * 6 + "big", "sehr " * 9 + "groß", DE, only="repetition") == "repetition"
    assert reason("Name: " + "_" * 60, "Name: " + "_" * 60, DE) is None


@pytest.mark.parametrize("target", [DE, ZH, JA, AR, HI, TH, RU, KO, "amh_Ethi", "mya_Mymr", "heb_Hebr"])
@pytest.mark.parametrize("count", [10, 60, 400])
def test_length_is_judged_by_what_the_script_needs(target: str, count: int) -> None:
    filters, original = Filters(), "a " * count
    own, english = filters.limits(target), filters.limits(EN)
    expected, slack = count * own.length / english.length, own.slack * own.length
    letter = {DE: "b", ZH: "狗", JA: "犬", AR: "س", HI: "क", TH: "ก", RU: "ж", KO: "개"}.get(target) or {
        "amh_Ethi": "ሀ",
        "mya_Mymr": "က",
        "heb_Hebr": "ש",
    }[target]
    most, least = math.floor(expected * own.spread + slack), max(math.ceil(expected / own.spread - slack), 0)
    for length, found in ((most, None), (most + 1, "length ratio"), (least, None), (least - 1, "length ratio")):
        if length >= 0:
            assert reason(original, f"{letter} " * length, target, only="length ratio") == found, length


def test_short_texts_have_wide_bounds_and_long_ones_narrow_ones() -> None:
    filters = Filters()
    wide = filters.limits(DE).slack
    assert reason("a dog", "b " * int(4 + wide), DE, only="length ratio") is None
    assert reason("a dog " * 50, "b " * int(200 * 2 + wide), DE, only="length ratio") == "length ratio"


def test_from_a_dense_script_into_a_sparse_one_more_is_expected() -> None:
    assert reason(CAPTIONS[ZH], CAPTIONS[DE], DE, source=ZH, only="length ratio") is None
    assert reason("狗" * 100, "b " * 100, DE, source=ZH, only="length ratio") == "length ratio"
    assert reason("狗" * 100, "b " * 300, DE, source=ZH, only="length ratio") is None


@pytest.mark.parametrize(("target", "letter", "length"), [(DE, "b", 1.0), (ZH, "狗", 0.28), (HI, "क", 0.9)])
def test_fewer_sentences_in_a_shorter_text_are_lost(target: str, letter: str, length: float) -> None:
    original, part = "a " * 100, f"{letter} " * int(100 * length * 0.7)
    assert reason(original, part, target, only="lost sentence", sentences=(4, 3)) is None
    assert reason(original, part, target, only="lost sentence", sentences=(4, 2)) == "lost sentence"
    assert reason(original, part, target, only="lost sentence", sentences=(2, 1)) == "lost sentence"
    assert reason(original, part, target, only="lost sentence", sentences=(1, 1)) is None


def test_sentences_that_were_joined_are_not_lost() -> None:
    joined = "Zwei Hunde spielen im Schnee, und eine Katze sieht zu."
    assert reason("Two dogs play in the snow. A cat looks on.", joined, DE, sentences=(2, 1)) is None
    alone = "Zwei Hunde spielen im Schnee."
    assert (
        reason("Two dogs play in the snow. A cat looks on from the roof.", alone, DE, sentences=(2, 1))
        == "lost sentence"
    )


def test_sentences_are_not_counted_where_their_ends_are_not_marked() -> None:
    assert reason("a " * 100, "ก" * 60, TH, only="lost sentence", sentences=(4, 1)) is None
    assert reason("ก" * 100, "b " * 60, DE, source=TH, only="lost sentence", sentences=(4, 1)) is None


# --- settings ---------------------------------------------------------------------------------------------------------


def test_every_reason_can_be_switched_off_by_its_name() -> None:
    filters = Filters(["Length-Ratio", "wrong_language", "copy"])
    assert filters.reject("a " * 400, "ja", EN, DE, finished=True, sentences=(1, 1)) is None
    assert filters.reject("a dog", "", EN, DE, finished=True, sentences=(1, 1)) is not None
    with pytest.raises(UnknownNameError, match="'lenght ratio'") as error:
        Filters(["lenght ratio"])
    assert error.value.nearest == ["length ratio"]


def test_limits_may_be_given_for_all_a_script_or_a_language_and_the_nearest_one_holds() -> None:
    filters = Filters(limits={"any": {"spread": 3}, "Latn": {"spread": 4, "slack": 5}, DE: {"spread": 5}})
    assert [filters.limits(code).spread for code in (RU, FR, DE)] == [3, 4, 5]
    assert [filters.limits(code).slack for code in (RU, FR, DE)] == [12, 5, 5]
    assert Filters().limits(DE).spread == 1.8


def test_all_that_is_wrong_with_limits_is_said_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        Filters(limits={"Latin": {"spread": 2}, "Latn": {"spred": 2, "latin": 1.5, "loop_times": "many"}})
    text = str(error.value)
    for part in ("Latin", "spred", "did you mean 'spread'", "latin", "loop_times"):
        assert part in text


def test_every_language_has_limits_and_dense_scripts_have_small_ones() -> None:
    filters = Filters()
    for row in all_languages():
        limits = filters.limits(row.code)
        assert 0.2 < limits.length < 2
    assert filters.limits(ZH).length < filters.limits(JA).length < filters.limits(HI).length
    assert filters.limits("heb_Hebr").length < filters.limits("ydd_Hebr").length


def test_a_model_that_is_missing_is_an_error_and_not_a_pass(tmp_path: Path) -> None:
    filters = Filters(lid_model=tmp_path / "none.bin")
    with pytest.raises(ModelError, match="there is no file"):
        filters.reject(ARTICLES[EN], ARTICLES["als_Latn"], EN, "als_Latn", finished=True, sentences=(2, 2))

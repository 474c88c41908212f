"""The default segmentation: words in every script."""

from __future__ import annotations

import pytest

from visiglot.evaluate.segmentation import ptb, scripts
from visiglot.languages import all_languages

SAMPLES = {
    "zho_Hans": ("一只猫坐在桌子上。", "一 只 猫 坐 在 桌 子 上"),
    "yue_Hant": ("一隻貓瞓緊覺", "一 隻 貓 瞓 緊 覺"),
    "jpn_Jpan": ("コーヒーを飲む々", "コ ー ヒ ー を 飲 む 々"),
    "tha_Thai": ("แมวนอน เสาร์ เพราะ ที่", "แม ว น อ น เสาร์ เพ ราะ ที่"),
    "lao_Laoo": ("ແມວນອນ", "ແມ ວ ນ ອ ນ"),
    "khm_Khmr": ("ឆ្មាស្ត្រី។", "ឆ្មា ស្ត្រី"),
    "mya_Mymr": ("ကြောင်တစ်ကောင်။", "ကြောင် တစ် ကောင်"),
    "shn_Mymr": ("မႅဝ်းၼင်ႈ", "မႅဝ်း ၼင်ႈ"),
    "bod_Tibt": ("བྱི་ལ་ཞིག །", "བྱི ལ ཞིག"),
    "dzo_Tibt": ("བྱི་ལི།", "བྱི ལི"),
    "hin_Deva": ("एक बिल्ली, मेज़ पर बैठी है।", "एक बिल्ली मेज़ पर बैठी है"),
    "arb_Arab": ("قطة جالسة، أليس كذلك؟", "قطة جالسة أليس كذلك"),
    "heb_Hebr": ("חתול ישן בבית־ספר", "חתול ישן בבית-ספר"),
    "amh_Ethi": ("ድመት፡ላይ።", "ድመት ላይ"),
    "kor_Hang": ("고양이가 잔다.", "고양이가 잔다"),
    "hye_Armn": ("Կատուն քնած է։", "կատուն քնած է"),
    "ell_Grek": ("Ο ΔΡΟΜΟΣ;", "ο δρομος"),
}


def words(text: str, language: str = "eng_Latn") -> list[str]:
    return scripts.tokenise([text], language)[0]


@pytest.mark.parametrize(("language", "sample"), SAMPLES.items())
def test_each_script_is_cut_at_its_own_units(language: str, sample: tuple[str, str]) -> None:
    text, expected = sample
    assert words(text, language) == [scripts.fold(word, language) for word in expected.split()]


def test_every_script_without_spaces_in_the_table_is_cut() -> None:
    whole = {}
    for language in all_languages():
        if language.segmentation != "spaces":
            name = language.native.replace(" ", "")
            whole[language.code] = len(words(name * 2, language.code)) > 1
    assert len(whole) > 10
    assert all(whole.values()), whole


def test_the_script_decides_and_not_the_language() -> None:
    mixed = "My iPhone手机 in 東京 แมว"
    assert words(mixed) == words(mixed, "zho_Hans") == words(mixed, "tha_Thai")
    assert words(mixed)[:6] == ["my", "iphone", "手", "机", "in", "東"]


def test_javanese_script_is_cut_and_javanese_in_latin_is_not() -> None:
    assert words("ꦏꦸꦕꦶꦁ", "jav_Java") == ["ꦏꦸ", "ꦕꦶꦁ"]
    assert words("kucing turu", "jav_Latn") == ["kucing", "turu"]


@pytest.mark.parametrize(
    "text",
    [
        "A man can't ride the woman's horse, but he isn't sad.",
        "They've a black-and-white T-shirt; I'm sure it's hers!",
        "A clock shows 10:30 a.m. in the U.S. (no joke)",
        "He cannot see 1,000 birds: they're gonna go...",
        "5 % of $ 3.50",
        "The dogs' bowls are “empty”.",
    ],
)
def test_plain_english_is_cut_as_by_ptb(text: str) -> None:
    brackets = set(ptb.BRACKETS.values())
    assert words(text) == [word for word in ptb.tokenise([text], "eng_Latn")[0] if word not in brackets]


def test_contractions_are_cut_in_english_only() -> None:
    assert words("it's") == ["it", "'s"]
    assert words("it's", "swh_Latn") == ["it's"]


def test_apostrophes_of_every_kind_are_one() -> None:
    forms = {tuple(words(f"п{sign}ять", "ukr_Cyrl")) for sign in "'’ʼ`´"}
    assert forms == {("п'ять",)}


def test_elision_ends_a_word_in_french() -> None:
    assert words("L’eau d'un lac", "fra_Latn") == ["l", "eau", "d", "un", "lac"]


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("tur_Latn", "IŞIK İki", "ışık iki"),
        ("azj_Latn", "İT I", "it ı"),
        ("deu_Latn", "STRASSE Straße", "strasse straße"),
        ("eng_Latn", "IN", "in"),
        ("ell_Grek", "ΟΔΟΣ ΣΟΦΟΣ", "οδος σοφος"),
        ("nld_Latn", "IJSBEER", "ijsbeer"),
    ],
)
def test_lower_case_follows_the_language(language: str, text: str, expected: str) -> None:
    assert words(text, language) == expected.split()


@pytest.mark.parametrize("digit", "3３٣۳३৩๓໓၃៣༣")
def test_digits_of_every_script_are_the_same_number(digit: str) -> None:
    assert words(f"{digit} x") == ["3", "x"]


def test_width_and_presentation_forms_are_no_other_words() -> None:
    assert words("ＡＢＣ ｺｰﾋｰ ﬁre", "jpn_Jpan") == ["abc", "コ", "ー", "ヒ", "ー", "fire"]
    assert words("ﻗﻄﺔ", "arb_Arab") == words("قطة", "arb_Arab")
    assert words("قطـــة", "arb_Arab") == words("قطة", "arb_Arab")


def test_composed_and_decomposed_words_are_the_same() -> None:
    assert words("Cafe\u0301", "fra_Latn") == words("Café", "fra_Latn") == ["café"]


def test_joiners_make_no_other_word_and_no_two_words() -> None:
    assert words("क्\u200dष", "hin_Deva") == words("क्ष", "hin_Deva")
    assert len(words("می\u200cخواهد", "pes_Arab")) == 1
    assert words("half\u00adway") == ["halfway"]


def test_a_zero_width_space_parts_words() -> None:
    assert words("red\u200bcar") == ["red", "car"]


def test_an_emoji_of_several_characters_is_one_word() -> None:
    family, thumb, flag = "👨‍👩‍👧", "👍🏽", "🇩🇪"
    assert words(f"a{family}{thumb}b {flag}❤️") == ["a", family, thumb, "b", flag, "❤"]


def test_symbols_are_words_and_punctuation_is_none() -> None:
    assert words("$5 + €3 = 50 % « ok » — … ¡no! /\\ * # @ _ '") == [
        "$",
        "5",
        "+",
        "€",
        "3",
        "=",
        "50",
        "%",
        "ok",
        "no",
    ]


def test_languages_with_a_spelling_of_their_own_are_in_the_table() -> None:
    assert {language.code for language in all_languages()} >= scripts.DOTLESS | scripts.ELIDING


def test_numbers_stay_whole_and_sentences_do_not() -> None:
    assert words("1,000.5 10:30 end.Start 3.") == ["1,000.5", "10:30", "end", "start", "3"]


def test_hebrew_abbreviations_stay_whole() -> None:
    assert words("צה״ל", "heb_Hebr") == words('צה"ל', "heb_Hebr") == ['צה"ל']


def test_signature_names_what_knows_the_characters() -> None:
    assert scripts.signature().startswith("visiglot|regex:")
    assert "|unicode:" in scripts.signature()

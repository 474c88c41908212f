"""Words as in mBLIP's evaluation of captions."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from visiglot.errors import MissingExtraError
from visiglot.evaluate.segmentation import mblip, ptb


def words(text: str, language: str) -> list[str]:
    return mblip.tokenise([text], language)[0]


def test_chinese_is_parted_into_characters_latin_words_too() -> None:
    assert words("一只猫，PC 3", "zho_Hans") == ["一", "只", "猫", "，", "p", "c", "3"]
    assert words("貓", "zho_Hant") == ["貓"]


def test_japanese_is_parted_into_the_shortest_units_of_sudachi() -> None:
    assert words("選挙管理委員会", "jpn_Jpan") == ["選挙", "管理", "委員", "会"]


def test_thai_is_parted_into_words() -> None:
    assert words("แมวกินปลา", "tha_Thai") == ["แมว", "กิน", "ปลา"]


def test_other_languages_go_to_the_ptb_tokeniser_in_nfc() -> None:
    decomposed = unicodedata.normalize("NFD", "Ein Café in Köln.")
    assert words(decomposed, "deu_Latn") == ["ein", "café", "in", "köln"]
    assert words("고양이가 잔다.", "kor_Hang") == ptb.tokenise(["고양이가 잔다."], "kor_Hang")[0]


def test_cantonese_stays_one_word_as_it_is_none_of_its_languages() -> None:
    assert words("一隻貓", "yue_Hant") == ["一隻貓"]


def test_japanese_text_longer_than_sudachi_takes_is_parted_all_the_same() -> None:
    assert len(words("猫" * 20_000, "jpn_Jpan")) == 20_000


def test_signature_names_the_dictionaries() -> None:
    assert [part.split(":")[0] for part in mblip.signature().split("|")] == ["mblip", *mblip.LIBRARIES]


@pytest.mark.parametrize(
    ("language", "package", "module", "loader"),
    [
        ("jpn_Jpan", "sudachipy", "sudachipy", mblip._sudachi),
        ("tha_Thai", "pythainlp", "pythainlp.tokenize", mblip._newmm),
    ],
)
def test_a_missing_library_is_named(
    monkeypatch: pytest.MonkeyPatch, language: str, package: str, module: str, loader: object
) -> None:
    loader.cache_clear()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=package) as error:
        words("x", language)
    assert error.value.hint == "pip install 'visiglot[words]'"

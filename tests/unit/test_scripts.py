"""Scripts of letters, words between them, and the two ways of writing Chinese."""

from __future__ import annotations

import pytest
from tests.parallel import ARTICLES, CAPTIONS

from visiglot.scripts import letters, made_of, script_of, scripts_of, variants, words_of


@pytest.mark.parametrize(("code", "text"), [*CAPTIONS.items(), *ARTICLES.items()])
def test_every_letter_of_a_sentence_is_of_its_languages_script(code: str, text: str) -> None:
    assert set(scripts_of(text)) <= set(made_of(code[4:]))


@pytest.mark.parametrize(
    ("character", "script"),
    [
        *(("é", "Latn"), ("Ｌ", "Latn"), ("ﾃ", "Kana"), ("ー", "Kana"), ("々", "Hani"), ("ঁ", None), ("ำ", "Thai")),
        *(("7", None), ("!", None), ("ʼ", None), (" ", None), ("한", "Hang"), ("ᱚ", "Olck"), ("𐴀", "Rohg")),
    ],
)
def test_a_letter_has_the_script_of_its_name(character: str, script: str | None) -> None:
    assert script_of(character) == script


def test_words_end_where_the_script_changes_but_not_at_vowel_signs_or_apostrophes() -> None:
    assert words_of("Obama在Harvard演讲") == ["Obama", "在", "Harvard", "演讲"]
    assert words_of("हिन्दी में") == ["हिन्दी", "में"]
    assert words_of("نه\u200cمی dog's l’homme well-known end.") == [
        "نه\u200cمی",
        "dog's",
        "l’homme",
        "well-known",
        "end",
    ]
    assert words_of("3.5 m, 2024!") == ["3.5", "m", "2024"]
    assert words_of("... -- _ '") == []


def test_vowel_signs_count_and_digits_do_not() -> None:
    assert letters(["हिन्दी", "12", "ab3"]) == 8


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("这个男人正在骑马", (4, 0)),
        ("這個男人正在騎馬", (0, 4)),
        ("一只小狗在公园里", (1, 0)),
        ("大山中有水", (0, 0)),
        ("着", (0, 0)),
    ],
)
def test_only_characters_of_one_writing_count_for_it(text: str, counts: tuple[int, int]) -> None:
    assert variants(text) == counts

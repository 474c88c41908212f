"""What every row of the table promises."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from visiglot.evaluate.segmentation import DEFAULT, SEGMENTATIONS, Segmentation
from visiglot.languages import Language, all_languages

AWKWARD = [
    "",
    " ",
    "\n",
    "\u2028",
    "\r\x0b\x0c\x85\u2029",
    "...",
    "\x00",
    "\ufeff",
    "\u200d\u200c\u00ad",
    "\u0301",
    "😀",
    "\U0001f1e9",
    "\ud800",
    "a\nb",
    "a\u2028b",
    "<a b",
    "'" * 50,
    "ก็",
    "་།",
    "猫\n犬",
]
LANGUAGES = ("eng_Latn", "jpn_Jpan", "tha_Thai", "zho_Hans", "mya_Mymr", "tur_Latn", "arb_Arab")


@pytest.fixture(params=["mblip", "ptb", "visiglot"])
def row(request: pytest.FixtureRequest) -> Segmentation:
    return SEGMENTATIONS.get(request.param)


def test_the_table_has_three_rows_and_a_default_among_them() -> None:
    assert SEGMENTATIONS.names() == ["mblip", "ptb", "visiglot"]
    assert DEFAULT in SEGMENTATIONS


def test_rows_go_by_their_names(row: Segmentation) -> None:
    assert SEGMENTATIONS.get(row.name) is row
    assert row.signature().split("|")[0] == row.name


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_shifts_another(row: Segmentation, language: str) -> None:
    texts = [text for awkward in AWKWARD for text in ("a cat", awkward, "the dog")]
    found = row.tokenise(texts, language)
    assert len(found) == len(texts)
    assert found[::3] == row.tokenise(["a cat"], language) * (len(texts) // 3)
    assert found[2::3] == row.tokenise(["the dog"], language) * (len(texts) // 3)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_lone_surrogate_is_no_error(row: Segmentation, language: str) -> None:
    assert len(row.tokenise(["a \ud800 b"], language)) == 1


def test_texts_are_split_one_by_one(row: Segmentation) -> None:
    texts = ["A dog's tail no.", "5 cats", "Plan A.", "The plan"]
    assert row.tokenise(texts, "eng_Latn") == [row.tokenise([text], "eng_Latn")[0] for text in texts]


def test_nothing_in_nothing_out(row: Segmentation) -> None:
    assert row.tokenise([], "eng_Latn") == []


def test_words_hold_no_space_and_no_word_is_empty(row: Segmentation) -> None:
    generator = random.Random(7)
    alphabet = [chr(code) for code in (*range(1, 0x250), *range(0x600, 0x680), *range(0xE00, 0xE5C), 0x200B, 0x4E00)]
    texts = ["".join(generator.choices(alphabet, k=40)) for _ in range(400)]
    for language in ("eng_Latn", "tha_Thai"):
        for words in row.tokenise(texts, language):
            assert all(word and word.split() == [word] for word in words)


def test_splitting_joined_words_again_changes_nothing_of_plain_captions(row: Segmentation) -> None:
    text = "A woman isn't riding the man's bicycle, but 3 dogs are running."
    words = row.tokenise([text], "eng_Latn")
    assert row.tokenise([" ".join(words[0])], "eng_Latn") == words


@pytest.mark.parametrize("language", all_languages(), ids=lambda language: language.code)
def test_the_default_takes_every_language_at_its_native_name(language: Language) -> None:
    assert SEGMENTATIONS.get(DEFAULT).tokenise([language.native], language.code)[0]


def test_listing_the_table_imports_no_dictionary() -> None:
    program = (
        "import sys; from visiglot.evaluate.segmentation import SEGMENTATIONS as s; s.names(); "
        "s.get('mblip').tokenise(['ein Hund'], 'deu_Latn'); s.get('mblip').signature(); "
        "print(sorted({'sudachipy', 'pythainlp'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[4] / "src",
    )
    assert run.stdout.strip() == "[]"

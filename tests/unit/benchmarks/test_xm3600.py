"""Crossmodal-3600 as its authors publish it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.benchmarks.conftest import Examples, Scores

from visiglot.benchmarks.wording import words
from visiglot.benchmarks.xm3600 import LANGUAGES
from visiglot.errors import EvaluationError
from visiglot.evaluate.benchmark import BENCHMARKS
from visiglot.languages import sets

MBLIP = {
    "fa": "Farsi", "te": "Telugu", "ko": "Korean", "fi": "Finnish", "fil": "Filipino", "mi": "Maori",
    "hu": "Hungarian", "id": "Indonesian", "hr": "Croatian", "fr": "French", "quz": "Quechua", "sv": "Swedish",
    "zh": "Chinese", "sw": "Swahili", "no": "Norwegian", "vi": "Vietnamese", "da": "Danish", "ja": "Japanese",
    "nl": "Dutch", "he": "Hebrew", "th": "Thai", "ru": "Russian", "it": "Italian", "hi": "Hindi", "uk": "Ukranian",
    "de": "German", "pt": "Portugese", "tr": "Turkish", "cs": "Czech", "pl": "Polish", "bn": "Bengali",
    "ar": "Arabic", "ro": "Romanian", "en": "English", "es": "Spanish", "el": "Greek",
}  # fmt: skip
"""What mBLIP's evaluation calls the languages, by the file's code."""


def test_its_languages_are_the_named_set() -> None:
    assert tuple(LANGUAGES) == sets()["xm3600"]


def test_the_papers_names_are_mblips_with_their_errors() -> None:
    for code, keys in LANGUAGES.items():
        said = words("xm3600", "paper", code)
        assert said["ask"].replace("{name}", said["name"]) == f"Caption in {MBLIP[keys[0]]}: "


def test_own_names_are_right_where_a_language_is_asked_in_english() -> None:
    said = words("xm3600", "native", "mri_Latn")
    assert said["ask"].replace("{name}", said["name"]) == "Caption in Māori:"


def test_all_captions_of_a_picture_are_references(examples: Examples) -> None:
    row = examples("xm3600", "tha_Thai")["1a1"]
    assert row.references == ("th 1 first", "th 1 second")
    assert row.images[0].name == "1a1.jpg"
    assert row.messages[0].text == "ภาพนี้แสดงอะไร ตอบเป็นประโยคเดียว"


def test_hebrew_is_found_under_its_old_code(examples: Examples) -> None:
    assert examples("xm3600", "heb_Hebr")["0a0"].references == ("iw 0 first", "iw 0 second")


def test_a_picture_without_a_caption_in_the_language_is_not_asked_about(examples: Examples) -> None:
    assert set(examples("xm3600", "quz_Latn")) == {"0a0", "1a1", "3a3"}


def test_only_languages_that_the_file_has_are_there(root: Path) -> None:
    languages = BENCHMARKS.get("xm3600").open(root).languages
    assert set(languages) == {"eng_Latn", "deu_Latn", "tha_Thai", "heb_Hebr", "quz_Latn", "por_Latn"}


def test_captions_of_another_form_are_said_with_their_place(root: Path) -> None:
    file = root / "xm3600/captions.jsonl"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace('"caption": ["de 1 first", "de 1 second"]', '"caption": "de 1"'), encoding="utf-8")
    with pytest.raises(EvaluationError, match=r"line 2, field `de.caption`: must be a list"):
        BENCHMARKS.get("xm3600").open(root).examples("deu_Latn", split="test", prompt_set="native", limit=None)


def test_every_caption_is_compared_with_all_references(scores: Scores) -> None:
    found = scores("xm3600", {"0a0": "de 0 second"}, "deu_Latn")
    assert found["caption", "chrf-sentence"].value == pytest.approx(100)
    # two pictures, of which one is answered with a reference
    assert found["caption", "cider-visiglot"].value > 0
    assert found["caption", "cider-visiglot"].tokenisation != found["caption", "cider-mblip"].tokenisation

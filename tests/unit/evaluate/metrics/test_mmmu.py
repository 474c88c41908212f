"""MMMU's letters, numbers and words (tests/golden/mmmu.json says how the goldens were made)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from tests.unit.evaluate.conftest import row

from visiglot.evaluate.metrics import METRICS
from visiglot.evaluate.metrics.mmmu import is_open_right, mmmu_letter, pangea_letter

GOLDEN = json.loads((Path(__file__).parents[3] / "golden" / "mmmu.json").read_text(encoding="utf-8"))


def test_letters_are_those_of_mmmu_and_of_pangeas_branch() -> None:
    for text, options, mmmu, pangea in GOLDEN["letters"]:
        assert mmmu_letter(text, tuple(options), "eng_Latn") == mmmu, text
        assert pangea_letter(text, tuple(options), "eng_Latn") == pangea, text


def test_numbers_and_words_are_right_where_mmmu_says_so() -> None:
    for text, references, right in GOLDEN["open"]:
        assert is_open_right(text, references) is right, (text, references)


def test_an_answer_without_a_letter_is_wrong_each_time_and_never_a_draw() -> None:
    unread = replace(row("1", "who knows", "A"), choices=("A", "B"), facts={"options": '["cat", "dog"]'})
    for name in ("mmmu-accuracy", "mmmu-accuracy-pangea", "mmmu-accuracy-strict"):
        values = METRICS.get(name).measure([unread] * 20, "eng_Latn").values
        assert values[:, 0].sum() == 0

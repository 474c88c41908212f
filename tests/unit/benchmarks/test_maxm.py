"""MaXM as its authors publish it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.benchmarks.conftest import Examples, Scores

from visiglot.errors import EvaluationError
from visiglot.evaluate.benchmark import BENCHMARKS


def test_all_processed_answers_are_right(examples: Examples) -> None:
    rows = examples("maxm")
    assert set(rows) == {"a1_0", "a1_1", "b2_0"}
    assert rows["a1_1"].references == ("2", "two")
    assert rows["a1_1"].facts == {"question": "How many?", "collection": "true"}
    assert rows["a1_1"].group == "a1"


def test_hebrew_is_found_under_its_old_code_and_asked_by_its_name(examples: Examples) -> None:
    assert examples("maxm", "heb_Hebr", "paper")["c3_0"].messages[0].text == "Question: כמה? Short answer in Hebrew:"
    assert examples("maxm", "heb_Hebr")["c3_0"].references == ("שתיים",)


def test_the_papers_chinese_has_no_script(examples: Examples) -> None:
    text = examples("maxm", "zho_Hans", "paper")["b2_0"].messages[0].text
    assert text == "Question: 这是什么？ Short answer in Chinese:"


def test_files_may_lie_without_the_folder_of_their_archive(root: Path) -> None:
    folder = root / "maxm"
    for file in (folder / "maxm_v1_release").iterdir():
        file.rename(folder / file.name)
    assert set(BENCHMARKS.get("maxm").open(root).languages) == {"eng_Latn", "heb_Hebr", "zho_Hans"}


def test_an_answer_list_of_another_kind_is_said_with_its_place(root: Path) -> None:
    file = root / "maxm/maxm_v1_release/maxm_v1_en.json"
    file.write_text(file.read_text(encoding="utf-8").replace('"processed_answers": ["2", "two"]', '"x": 1'), "utf-8")
    with pytest.raises(EvaluationError, match=r"field `qa_pairs\[1\].processed_answers`: is missing"):
        BENCHMARKS.get("maxm").open(root).examples("eng_Latn", split="test", prompt_set="native", limit=None)


def test_any_of_the_answers_counts_and_only_whole(scores: Scores) -> None:
    found = scores("maxm", {"a1_0": "A dog", "a1_1": "two dogs"})
    assert found["vqa", "maxm-match"].value == pytest.approx(2 / 3)
    assert found["vqa", "maxm-match"].n == 3
    assert scores("maxm", {"b2_0": "狗。"}, "zho_Hans")["vqa", "maxm-match"].value == 0

"""MaRVL as its Dataverse publishes it, and NLVR2 beside it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.unit.benchmarks.conftest import Examples, Scores

from visiglot.errors import EvaluationError
from visiglot.evaluate.benchmark import BENCHMARKS
from visiglot.types import ImageSlot


def test_the_left_picture_comes_first(examples: Examples) -> None:
    row = examples("marvl", "swh_Latn")["sw-1"]
    assert [image.name for image in row.images] == ["sw/images/81-Dawati/12-2.jpg", "sw/images/81-Dawati/12-3.jpg"]
    assert row.messages[0].content[:2] == (ImageSlot(0), ImageSlot(1))


def test_pictures_are_found_whose_names_are_decomposed_on_disk(examples: Examples) -> None:
    rows = examples("marvl", "tur_Latn")
    assert all(image.path is not None and image.path.is_file() for row in rows.values() for image in row.images)
    assert {row.group for row in rows.values()} == {"12-Çay"}


def test_english_is_nlvr2s_test(examples: Examples) -> None:
    rows = examples("marvl", "eng_Latn")
    assert set(rows) == {"test1-4-0-0", "test1-4-0-1", "test1-4-1-0", "test1-4-1-1"}
    row = rows["test1-4-1-0"]
    assert [image.name for image in row.images] == ["test1-4-1-img0.png", "test1-4-1-img1.png"]
    assert row.references == ("no",)
    assert {row.group for row in rows.values()} == {"test1-4"}


def test_true_and_false_are_words_of_the_language(examples: Examples) -> None:
    rows = examples("marvl", "swh_Latn")
    assert [rows[f"sw-{n}"].references for n in (0, 1)] == [("ndiyo",), ("hapana",)]
    assert rows["sw-0"].choices == ("ndiyo", "hapana")


def test_the_papers_prompt_asks_in_english_without_saying_so(examples: Examples) -> None:
    row = examples("marvl", "tur_Latn", "paper")["tr-0"]
    assert row.messages[0].text == 'Based on the two images, is it correct to say "Kauli 0"? Yes or no?'
    assert row.references == ("yes",)


def test_english_alone_or_the_others_alone_will_do(root: Path) -> None:
    shutil.rmtree(root / "marvl/nlvr2")
    assert BENCHMARKS.get("marvl").open(root).languages == ("swh_Latn", "tur_Latn")
    (root / "marvl/marvl-images").rename(root / "elsewhere")
    with pytest.raises(EvaluationError, match="has no folder marvl-images or images"):
        BENCHMARKS.get("marvl").open(root)


def test_an_identifier_of_another_kind_is_said(root: Path) -> None:
    file = root / "marvl/nlvr2/test1.json"
    file.write_text(file.read_text(encoding="utf-8").replace("test1-4-1-0", "test1-4"), encoding="utf-8")
    with pytest.raises(EvaluationError, match=r"line 3, field `identifier`: must be split-set-pair-sentence"):
        BENCHMARKS.get("marvl").open(root).examples("eng_Latn", split="test", prompt_set="native", limit=None)


def test_one_of_four_statements_is_judged_wrong(scores: Scores) -> None:
    found = scores("marvl", {"sw-0": "Ndiyo", "sw-1": "ndiyo"}, "swh_Latn")
    assert found["statement", "normalised-exact"].value == 0.75

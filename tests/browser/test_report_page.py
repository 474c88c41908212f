"""The report as a browser lays it out, made from predictions that were written by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.browser.chromium import edges, overflow, screenshot
from tests.unit.evaluate.conftest import WORDS, ToyData, row, toy_benchmark

from visiglot.evaluate.benchmark import BENCHMARKS
from visiglot.evaluate.pictures import keep_pictures
from visiglot.evaluate.predictions import prediction_path, write_predictions
from visiglot.evaluate.report import build_report
from visiglot.evaluate.score import score_predictions

pytestmark = pytest.mark.browser

TAGS = {"deu_Latn": "de", "arb_Arab": "ar", "heb_Hebr": "he", "jpn_Jpan": "ja"}


def evaluation(folder: Path, model: str) -> Path:
    """English right, the others right but for the cat; every answer ends in a mark that has no direction of its own."""
    for language, words in WORDS.items():
        rows = [
            row(thing, f"{word}!" if thing != "cat" or language == "eng_Latn" else f"{words['dog']}!", f"{word}!",
                language=language)
            for thing, word in words.items()
        ]  # fmt: skip
        rows = [replace(one, model=model) for one in rows]
        write_predictions(rows, prediction_path(folder, "toy", "english", language))
    keep_pictures(list(ToyData().examples("eng_Latn", split="test", prompt_set="english", limit=None)), folder)
    score_predictions(folder)
    return folder


@pytest.fixture(scope="module", autouse=True)
def toy() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BENCHMARKS._things, "toy", replace(toy_benchmark(), chance={"caption": 0.25}))
        yield


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, toy: None) -> Path:
    folder = evaluation(tmp_path_factory.mktemp("evaluation"), "one")
    return build_report([folder], folder).html


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, toy: None) -> Path:
    """Two models side by side."""
    folders = [evaluation(tmp_path_factory.mktemp(name), name) for name in ("one", "another")]
    return build_report(folders, tmp_path_factory.mktemp("pair")).html


def test_a_report_has_words_and_bars(page: Path, tmp_path: Path) -> None:
    shown = screenshot(page, tmp_path).astype(int)
    dark = shown.sum(-1) < 250
    assert dark.sum() > 2000, "the words are missing"
    coloured = shown.max(-1) - shown.min(-1) > 60
    longest = max(map(len, "".join("#" if pixel else " " for pixel in coloured.any(0)).split()), default=0)
    assert longest > 40, "the bars are missing"


def test_right_to_left_answers_run_from_right_to_left(page: Path, tmp_path: Path) -> None:
    found = edges(page, tmp_path)
    for language, tag in TAGS.items():
        answer = f"{WORDS[language]['sun']}!"
        first, last = found[f"{tag} {answer}"]
        assert (last < first) == (tag in ("ar", "he")), f"{tag} {answer}"


@pytest.mark.parametrize("width", [500, 900, 1600])
def test_nothing_of_a_report_of_two_models_stands_outside_its_window(pair: Path, tmp_path: Path, width: int) -> None:
    assert overflow(pair, tmp_path, width) == 0


def test_right_to_left_answers_of_two_models_run_from_right_to_left(pair: Path, tmp_path: Path) -> None:
    found = edges(pair, tmp_path)
    first, last = found[f"ar {WORDS['arb_Arab']['dog']}!"]
    assert last < first

"""The benchmarks' data as published, small, and what a scripted model scores on them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from tests.benchmarks_data import write_benchmarks
from tests.unit.evaluate.conftest import Scripted

from visiglot.errors import Notice
from visiglot.evaluate.benchmark import BENCHMARKS
from visiglot.evaluate.generate import collect_predictions
from visiglot.evaluate.score import score_predictions
from visiglot.types import Example, Score

Examples = Callable[..., dict[str, Example]]
Scores = Callable[..., dict[tuple[str, str], Score]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_benchmarks(tmp_path / "data")


@pytest.fixture
def examples(root: Path) -> Examples:
    """(benchmark, language, prompt set) -> examples by id."""

    def read(name: str, language: str = "eng_Latn", prompt_set: str = "native", split: str = "") -> dict[str, Example]:
        benchmark = BENCHMARKS.get(name)
        split = split or benchmark.splits[0]
        data = benchmark.open(root)
        return {row.id: row for row in data.examples(language, split=split, prompt_set=prompt_set, limit=None)}

    return read


@pytest.fixture
def scores(root: Path, tmp_path: Path) -> Scores:
    """(benchmark, answers by id) -> scores by (task, metric), the answers of all other ids being right."""

    def score(
        name: str, wrong: Mapping[str, str], language: str = "eng_Latn", prompt_set: str = "native"
    ) -> dict[tuple[str, str], Score]:
        out = tmp_path / "evaluation"
        collect_predictions(
            Scripted(wrong=wrong),
            BENCHMARKS.get(name),
            [language],
            out,
            resume=False,
            prompt_set=prompt_set,
            root=root,
        )
        return {(one.task, one.metric): one for one in score_predictions(out)}

    return score


@pytest.fixture(autouse=True)
def _left_out_rows_are_known() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Notice)
        yield

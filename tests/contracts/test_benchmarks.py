"""What holds for every benchmark in the table. Their data are opened only where they lie on this machine."""

from __future__ import annotations

import re

import pytest

from visiglot.errors import UnknownNameError
from visiglot.evaluate.benchmark import BENCHMARKS, Benchmark
from visiglot.evaluate.metrics import METRICS


@pytest.fixture(params=BENCHMARKS.names())
def benchmark(request: pytest.FixtureRequest) -> Benchmark:
    return BENCHMARKS.get(request.param)


def test_its_name_can_stand_in_a_file_name(benchmark: Benchmark) -> None:
    assert BENCHMARKS.get(benchmark.name) is benchmark
    for name in (benchmark.name, *benchmark.prompt_sets):
        assert re.fullmatch(r"[a-z0-9-]+", name)


def test_its_metrics_exist(benchmark: Benchmark) -> None:
    assert benchmark.metrics
    for names in benchmark.metrics.values():
        assert names
        assert all(name in METRICS for name in names)


def test_it_says_what_it_is_whose_it_is_and_who_translated_it(benchmark: Benchmark) -> None:
    assert benchmark.about.endswith(".")
    assert benchmark.licence
    assert benchmark.citation
    assert benchmark.translation


def test_chance_is_of_a_task_it_has_and_a_control_controls_something(benchmark: Benchmark) -> None:
    assert benchmark.chance.keys() <= benchmark.metrics.keys()
    assert bool(benchmark.control) == bool(benchmark.control_of)
    if benchmark.control_of:
        assert BENCHMARKS.get(benchmark.control_of).metrics == benchmark.metrics


def test_its_first_split_and_prompt_set_are_the_default(benchmark: Benchmark) -> None:
    assert benchmark.choose("split", None) == benchmark.splits[0]
    assert benchmark.choose("prompt set", None) == benchmark.prompt_sets[0]
    with pytest.raises(UnknownNameError):
        benchmark.choose("split", "tset")

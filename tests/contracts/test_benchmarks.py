"""What holds for every benchmark in the table. Their data are opened only where they lie on this machine."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.benchmarks_data import write_benchmarks

from visiglot.benchmarks import charts
from visiglot.benchmarks.translated import ABOUT
from visiglot.errors import EvaluationError, Notice, UnknownNameError
from visiglot.evaluate.benchmark import BENCHMARKS, Benchmark
from visiglot.evaluate.metrics import METRICS
from visiglot.evaluate.published import PublishedData
from visiglot.languages import language
from visiglot.types import Example

PUBLISHED = [name for name in BENCHMARKS.names() if BENCHMARKS.get(name).folder != "nano"]
"""Those whose data others published; the built-in one has tests of its own."""

MOST = 14
"""Limits that are tried one by one: more than what stands together in any fixture."""

TEXT_ONLY = ("mvl-sib-text",)
"""Controls without pictures."""


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


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_benchmarks(tmp_path_factory.mktemp("benchmarks"))


@pytest.fixture(params=PUBLISHED)
def published(request: pytest.FixtureRequest) -> Benchmark:
    return BENCHMARKS.get(request.param)


@pytest.fixture
def data(published: Benchmark, root: Path) -> PublishedData:
    opened = published.open(root)
    assert isinstance(opened, PublishedData)
    return opened


@pytest.fixture(autouse=True)
def _few_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charts, "CHARTS", 1)


@pytest.fixture(autouse=True)
def _left_out_rows_are_known() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Notice)
        yield


def every_way(benchmark: Benchmark, data: PublishedData) -> Iterator[tuple[str, str, str, list[Example]]]:
    """(split, prompt set, language, examples) of all that there are."""
    for split in benchmark.splits:
        for prompt_set in benchmark.prompt_sets:
            for code in data.languages:
                found = list(data.examples(code, split=split, prompt_set=prompt_set, limit=None))
                if found:
                    yield split, prompt_set, code, found


def test_the_languages_of_published_data_are_in_the_language_table(data: PublishedData) -> None:
    assert data.languages
    assert all(language(code).code == code for code in data.languages)


def test_every_split_and_prompt_set_gives_examples_that_can_be_scored(
    published: Benchmark, data: PublishedData
) -> None:
    found = list(every_way(published, data))
    assert {(split, prompt_set) for split, prompt_set, _, _ in found} == {
        (split, prompt_set) for split in published.splits for prompt_set in published.prompt_sets
    }
    for _, _, code, rows in found:
        assert len({row.id for row in rows}) == len(rows)
        for row in rows:
            assert row.references
            assert row.group
            assert row.language == code
            assert row.task in published.metrics
            assert set(published.facts) <= row.facts.keys()
            assert not row.choices or set(row.references) <= set(row.choices)


def test_every_published_picture_is_found_and_the_turn_is_the_users(published: Benchmark, data: PublishedData) -> None:
    for _, _, _, rows in every_way(published, data):
        for row in rows:
            assert [turn.role for turn in row.messages] == ["user"]
            assert bool(row.images) != (published.name in TEXT_ONLY)
            assert all(image.path is not None and image.path.is_file() for image in row.images)
            assert "{" not in row.messages[0].text


def test_published_examples_come_in_one_order(published: Benchmark, data: PublishedData) -> None:
    for split, prompt_set, code, rows in every_way(published, data):
        again = published.load(data_folder(data))
        assert rows == list(again.examples(code, split=split, prompt_set=prompt_set, limit=None))


def test_a_limit_takes_a_beginning_with_the_same_pictures_in_all_languages(
    published: Benchmark, data: PublishedData
) -> None:
    split, prompt_set = published.splits[0], published.prompt_sets[0]
    first: dict[frozenset[str], set[tuple[str, ...]]] = {}
    for code in data.languages:
        whole = list(data.examples(code, split=split, prompt_set=prompt_set, limit=None))
        for limit in range(1, min(len(whole), MOST) + 1):
            some = list(data.examples(code, split=split, prompt_set=prompt_set, limit=limit))
            assert some == whole[: len(some)]
            assert some
            units = [data.unit(row) for row in some]
            assert data.unit(whole[len(some) - 1]) not in {data.unit(row) for row in whole[len(some) :]}
            assert len(some) <= limit or len(set(units)) == 1
        some = list(data.examples(code, split=split, prompt_set=prompt_set, limit=3))
        first.setdefault(names_of(whole), set()).add(tuple(image.name for row in some for image in row.images))
    assert all(len(found) == 1 for found in first.values())


def test_a_byte_order_mark_and_line_ends_of_windows_change_nothing(
    published: Benchmark, data: PublishedData, tmp_path: Path
) -> None:
    """In any text file that isn't Visiglot's own."""
    other = write_benchmarks(tmp_path)
    for path in other.rglob("*"):
        if path.suffix in (".json", ".jsonl", ".tsv", ".txt") and path.name != ABOUT:
            path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    marked = published.open(other)
    assert isinstance(marked, PublishedData)
    for (_, _, _, rows), (_, _, _, others) in zip(
        every_way(published, data), every_way(published, marked), strict=True
    ):
        assert [(row.id, row.messages, row.references) for row in rows] == [
            (row.id, row.messages, row.references) for row in others
        ]


def test_the_revision_of_a_folder_follows_its_files(published: Benchmark, root: Path, tmp_path: Path) -> None:
    first = published.open(root).revision
    assert first.startswith("sha256:")
    other = write_benchmarks(tmp_path)
    assert published.open(other).revision == first
    text = next(iter(texts_of(published.open(other))))
    text.write_bytes(text.read_bytes() + b"\n")
    assert published.open(other).revision != first


def test_without_data_it_says_where_they_come_from_and_how_they_lie(published: Benchmark, tmp_path: Path) -> None:
    name = published.folder or published.name
    (tmp_path / name).mkdir()
    with pytest.raises(EvaluationError) as caught:
        published.open(tmp_path)
    assert str(tmp_path / name) in caught.value.message
    assert "https://" in (caught.value.hint or "")
    assert f"Layout of {name}/" in (caught.value.hint or "")


def texts_of(data: object) -> list[Path]:
    assert isinstance(data, PublishedData)
    paths = [path for files in data.files.values() for path in files.values()]
    return [found for path in paths for found in ([path] if path.is_file() else sorted(path.glob("*.json")))]


def data_folder(data: PublishedData) -> Path:
    """The benchmark's folder: the one below the folder of all."""
    path = texts_of(data)[0]
    return next(parent for parent in path.parents if parent.name in PUBLISHED)


def names_of(rows: list[Example]) -> frozenset[str]:
    """Of all pictures."""
    return frozenset(image.name for row in rows for image in row.images)

"""`visiglot data ls` says what can be read and with which options."""

from __future__ import annotations

import pytest
from tests.unit.cli.conftest import Run

from visiglot.data.adapter import COMMON, FORMATS
from visiglot.data.source import SOURCES, option_problems
from visiglot.errors import UnknownNameError

SOURCES.names()  # fills the table
NAMES = [*FORMATS, "nano", "parquet"]


def test_every_source_is_listed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    said = run("data", "ls").stdout
    for name in NAMES:
        assert f"\n{name} " in said


@pytest.mark.parametrize("name", NAMES)
def test_a_source_is_explained_with_every_option(run: Run, name: str) -> None:
    said = run("data", "ls", name).stdout
    assert said.splitlines()[0].strip().endswith(".")
    missing = [line.partition(":")[0].removeprefix("options.") for line in option_problems(name, {})]
    for option in missing:
        assert [line for line in said.splitlines() if line.startswith(f"  {option}: ") and line.endswith(", needed")]
    assert "Raises" not in said


@pytest.mark.parametrize("name", FORMATS)
def test_options_of_every_format_say_what_they_do(run: Run, name: str) -> None:
    own, _, common = run("data", "ls", name).stdout.partition("and those of every format:\n")
    assert own
    assert [line.strip().partition(":")[0] for line in common.splitlines()] == list(COMMON)
    assert all(line.endswith(f"; {COMMON[line.strip().partition(':')[0]]}") for line in common.splitlines())


def test_options_are_told_in_words(run: Run) -> None:
    said = run("data", "ls", "nano").stdout
    assert "  task: caption | keywords" in said
    assert "  limit_concepts: number, default None" in said
    assert "  styles: list of openmoji | " in said
    assert (
        "  split: 'train' | 'train-only' | 'val' | 'test', default 'train'" in run("data", "ls", "coco-karpathy").stdout
    )


def test_an_unknown_source_is_named_with_the_nearest(run: Run) -> None:
    with pytest.raises(UnknownNameError, match="coco-captions"):
        SOURCES.get("coco-caption")
    assert run("data", "ls", "coco-caption").exit_code == 2

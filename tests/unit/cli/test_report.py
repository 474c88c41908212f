"""`visiglot report`: what is said before anything is read."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.cli.conftest import Run


@pytest.mark.parametrize(
    ("see", "problem"),
    [
        (["Study"], "'Study' has no title and page"),
        (["=page.md"], "'=page.md' has no title and page"),
        (["Study="], "'Study=' has no title and page"),
        (["A=a.md", "A=b.md"], "the title 'A' is there twice"),
    ],
)
def test_a_page_to_see_needs_a_title_of_its_own_and_a_place(
    see: list[str], problem: str, run: Run, tmp_path: Path
) -> None:
    result = run("report", tmp_path, *(word for item in see for word in ("--see", item)))
    assert result.exit_code == 2
    assert problem in " ".join(result.stderr.split())


def test_a_folder_that_is_not_there_is_said_to_be_missing(run: Run, tmp_path: Path) -> None:
    result = run("report", tmp_path / "nope")
    assert result.exit_code == 2
    said = " ".join(result.stderr.split())
    assert "there is no folder" in said
    assert "`visiglot evaluate MODEL --out FOLDER`" in said

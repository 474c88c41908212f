"""The lines of a study, on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from studies.rows import append_row, last_plan, measured, read_rows
from visiglot.errors import EvaluationError


def cell(identity: str, **more: object) -> dict[str, object]:
    return {"kind": "cell", "identity": identity, **more}


def test_rows_come_back_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "new" / "toy.jsonl"
    assert read_rows(path) == []
    for identity in "ab":
        append_row(cell(identity, text="Tür\u2028"), path)
    assert [row["identity"] for row in read_rows(path)] == ["a", "b"]
    assert read_rows(path)[0]["text"] == "Tür\u2028"


def test_a_line_that_was_cut_short_is_passed_over_and_then_replaced(tmp_path: Path) -> None:
    path = tmp_path / "toy.jsonl"
    append_row(cell("a"), path)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(cell("b"))[:-4])
    assert [row["identity"] for row in read_rows(path)] == ["a"]
    append_row(cell("c"), path)
    assert [row["identity"] for row in read_rows(path)] == ["a", "c"]
    assert path.read_text(encoding="utf-8").count("\n") == 2


def test_a_line_that_lacks_its_end_only_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "toy.jsonl"
    path.write_text(json.dumps(cell("a")), encoding="utf-8")
    append_row(cell("b"), path)
    assert [row["identity"] for row in read_rows(path)] == ["a", "b"]


@pytest.mark.parametrize("line", ["{", "[]", '{"kind": "other"}', ""])
def test_a_broken_line_among_whole_ones_is_an_error(line: str, tmp_path: Path) -> None:
    path = tmp_path / "toy.jsonl"
    path.write_text(f"{line}\n{json.dumps(cell('a'))}\n", encoding="utf-8")
    with pytest.raises(EvaluationError, match="line 1"):
        read_rows(path)


def test_cells_of_all_studies_count_and_of_duplicates_the_first(tmp_path: Path) -> None:
    append_row(cell("a", value=1), tmp_path / "one.jsonl")
    append_row({"kind": "plan", "cells": []}, tmp_path / "one.jsonl")
    append_row(cell("a", value=2), tmp_path / "one.jsonl")
    append_row(cell("b", value=3), tmp_path / "two.jsonl")
    assert {identity: row["value"] for identity, row in measured(tmp_path).items()} == {"a": 1, "b": 3}


def test_the_last_plan_holds() -> None:
    rows = [{"kind": "plan", "cells": [1]}, cell("a"), {"kind": "plan", "cells": [2]}, cell("b")]
    assert last_plan(rows) == {"kind": "plan", "cells": [2]}
    assert last_plan([cell("a")]) is None

"""A ledger goes on after its run was cut off, as often as that happens."""

import json
from pathlib import Path

import pytest

from visiglot.data.ledger import BAD_ROW, Ledger
from visiglot.errors import DataError


def test_a_line_that_was_cut_short_is_gone_when_the_next_is_written(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    for number, torn in enumerate((b"", b'{"id": "b", "rea', '{"id": "ü'.encode()[:-1])):
        Ledger(path, 0.5).skip(f"row{number}", BAD_ROW)
        with path.open("ab") as file:
            file.write(torn)
    Ledger(path, 0.5).skip("row3", BAD_ROW)
    Ledger(path, 0.5).skip("row0", BAD_ROW)  # is there
    assert [json.loads(line)["id"] for line in path.open(encoding="utf-8")] == ["row0", "row1", "row2", "row3"]


def test_a_first_line_that_was_cut_short_is_gone_too(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_text('{"id"')
    Ledger(path, 0.5).skip("row0", BAD_ROW)
    assert json.loads(path.read_text(encoding="utf-8"))["id"] == "row0"


def test_another_file_is_no_ledger_and_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_text("3\n")
    with pytest.raises(DataError, match="is no ledger"):
        Ledger(path, 0.5)
    assert path.read_text() == "3\n"

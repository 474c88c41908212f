"""Files with a dataclass a line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pytest

from visiglot.errors import EvaluationError
from visiglot.evaluate.lines import number, read_lines, write_lines


@dataclass(frozen=True)
class Row:
    name: str
    value: float
    codes: tuple[str, ...] = ()


def read(path: Path) -> list[Row]:
    return read_lines(
        path, Row, lambda row: {"value": number(row["value"]), "codes": tuple(row["codes"])}, hint="Delete it."
    )


def test_rows_come_back_as_they_were_written_and_nan_is_null_between(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_lines([Row("línea\u2028", 0.5, ("a", "b")), Row("", math.nan)], path)
    one, other = read(path)
    assert one == Row("línea\u2028", 0.5, ("a", "b"))
    assert (other.name, math.isnan(other.value), other.codes) == ("", True, ())
    assert '"value": null' in path.read_text(encoding="utf-8")
    assert read(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize(
    "line", ["{", "3", '{"name": "a"}', '{"name": "a", "value": 1, "codes": [], "more": 1}',
             '{"name": "a", "value": "x", "codes": []}', '{"name": "a", "value": 1, "codes": 2}']
)  # fmt: skip
def test_a_line_that_is_no_such_row_is_an_error_that_says_what_to_do(line: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_lines([Row("a", 1)], path)
    path.write_text(path.read_text(encoding="utf-8") + line, encoding="utf-8")
    with pytest.raises(EvaluationError, match=r"rows\.jsonl can't be read") as caught:
        read(path)
    assert caught.value.hint == "Delete it."

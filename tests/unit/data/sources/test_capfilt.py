"""CapFilt's pictures are named by the row's position in its file, or as the row or the recipe says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from visiglot.data.rows import JsonRows, Row
from visiglot.data.rows.numbered import NumberedRows
from visiglot.data.source import Source, build_source
from visiglot.errors import DataError


def opened(path: Path, **options: Any) -> Source:
    return build_source(
        "capfilt", {"path": str(path), "images": str(path.parent), **options}, languages=["eng_Latn"], seed=0
    )


def names(source: Source) -> list[str]:
    return [source[index].images[0].name for index in range(len(source))]


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_rows_that_are_left_out_keep_their_position(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    rows = ['{"caption": "a"}', '{"caption": ""}', "5", '{"caption": "d"}', '{"caption": "e", "image": "x.png"}']
    path.write_text("\n\n".join(rows) if suffix == ".jsonl" else f"[{','.join(rows)}]", encoding="utf-8")
    source = opened(path, on_bad="skip", max_bad=1.0)
    assert names(source) == ["00000000.jpg", "00000003.jpg", "x.png"]
    assert [source[index].id for index in range(3)] == ["0", "3", "4"]
    assert source[1].facts == {"caption": "d"}


def test_a_pattern_names_files_by_any_field(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"caption": "a", "jpg": "./images/7.jpg", "image": "b.jpg"}]), encoding="utf-8")
    assert names(opened(path, file_name="{jpg}")) == ["./images/7.jpg"]
    assert names(opened(path, file_name="0/{number:09d}.jpg")) == ["0/000000000.jpg"]
    with pytest.raises(DataError, match=r"a.json, line 1, field `key`: is missing"):
        opened(path, file_name="{key}.jpg")


def test_numbered_rows_are_the_same_streamed_and_read_where_they_lie(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(f'{{"n": {n}}}\n' for n in range(300)), encoding="utf-8")
    rows = NumberedRows(JsonRows(path))
    assert list(rows.files) == [path]
    for number, (place, row) in enumerate(rows.scan()):
        again = rows.read(place)
        assert isinstance(row, Row)
        assert row.key == again.key == str(number)
        assert row.values == again.values == {"n": number}
        assert str(row.where) == str(again.where) == f"{path}, line {number + 1}"

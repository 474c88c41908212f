"""Rows of JSON files: the same streamed and read where they lie, whatever the file's size and letters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from visiglot.data.rows import JsonRows, Row
from visiglot.data.rows import base as module
from visiglot.errors import DataError

VALUES: list[dict[str, Any]] = [
    {"id": 1, "text": "ein Mädchen – 女の子 😀", "n": [1, 2]},
    {"id": 2, "text": 'with "quotes", \\ and \n a line', "deep": {"a": [{"b": "]}"}]}},
    {"id": 3, "text": "", "nothing": None},
]


def scanned(rows: JsonRows) -> list[Row]:
    found = []
    for place, row in rows.scan():
        assert isinstance(row, Row), row
        again = rows.read(place)
        assert (again.values, again.key) == (row.values, row.key)
        assert str(row.where).partition(", row ")[0] == str(again.where)
        assert row.scanned
        assert not again.scanned
        found.append(row)
    return found


@pytest.fixture(params=[7, 64, 2**22], ids=lambda size: f"{size} bytes at a time")
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(module, "CHUNK", request.param)
    return int(request.param)


@pytest.mark.parametrize("indent", [None, 2], ids=["in one line", "indented"])
@pytest.mark.parametrize("escaped", [True, False], ids=["escaped", "UTF-8"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["", "byte order mark"])
@pytest.mark.usefixtures("chunk")
class TestLayouts:
    def write(self, path: Path, value: Any, indent: int | None, escaped: bool, mark: bytes) -> Path:
        path.write_bytes(mark + json.dumps(value, indent=indent, ensure_ascii=escaped).encode())
        return path

    def test_a_list(self, tmp_path: Path, indent: int | None, escaped: bool, mark: bytes) -> None:
        path = self.write(tmp_path / "a.json", VALUES, indent, escaped, mark)
        assert [row.values for row in scanned(JsonRows(path))] == VALUES

    def test_a_list_below_a_key(self, tmp_path: Path, indent: int | None, escaped: bool, mark: bytes) -> None:
        whole = {"info": {"x": [{"id": 9}]}, "n": 12345, "other": [1, {"id": 8}], "rows": VALUES, "späte": [], "e": 1.5}
        path = self.write(tmp_path / "a.json", whole, indent, escaped, mark)
        assert [row.values for row in scanned(JsonRows(path, "rows"))] == VALUES

    def test_an_object_of_rows(self, tmp_path: Path, indent: int | None, escaped: bool, mark: bytes) -> None:
        whole = {f"ключ {n}": value for n, value in enumerate(VALUES)}
        path = self.write(tmp_path / "a.json", whole, indent, escaped, mark)
        found = scanned(JsonRows(path))
        assert {row.key: row.values for row in found} == whole

    def test_lines(self, tmp_path: Path, indent: int | None, escaped: bool, mark: bytes) -> None:
        path = tmp_path / "a.jsonl"
        lines = [json.dumps(value, ensure_ascii=escaped) for value in VALUES]
        path.write_bytes(mark + "\n\n".join(lines).encode())
        found = scanned(JsonRows(path))
        assert [row.values for row in found] == VALUES
        assert [row.where.number for row in found] == [1, 3, 5]


@pytest.mark.parametrize("text", ["[]", "{}", ' {"rows": []} ', ""], ids=str)
def test_files_without_rows_have_none_or_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / ("a.jsonl" if not text else "a.json")
    path.write_text(text)
    assert scanned(JsonRows(path, "rows" if "rows" in text else None)) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[\n{"a": 1},\n{"a": 2', "line 3: is no JSON"),
        ('[\n{"a": 1}\n{"a": 2}]', "line 3: has no comma or end of its list"),
        ('[{"a": 1}] x', "line 1: has something behind its end"),
        ("12", "line 1: must be a list or an object, found '1'"),
        ("", "must be a list or an object, found ''"),
        ('{"a" 1}', "has no key of its object here"),
        ('{"a": {}\n"b": {}}', "line 2: has no comma or end of its object"),
    ],
)
def test_a_broken_file_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"a\.json, {said}" if said.startswith("line") else said):
        list(JsonRows(path).scan())


def test_a_key_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"images": [{"id": 1}], "info": {}}')
    with pytest.raises(DataError, match="has no 'annotations'; it has images, info"):
        list(JsonRows(path, "annotations").scan())


def test_rows_that_are_no_objects_or_no_utf8_are_told_and_later_ones_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'[{"a": "b"},\n5,\n{"a": "\xff"},\n{"a": "c"}]')
    found = [row if isinstance(row, DataError) else row.values for _, row in JsonRows(path).scan()]
    assert found[0] == {"a": "b"}
    assert found[3] == {"a": "c"}
    assert "line 2: must be an object, found 5" in str(found[1])
    assert "line 3: isn't UTF-8" in str(found[2])
    lines = tmp_path / "a.jsonl"
    lines.write_bytes(b'{"a": 1}\n{"a": \n"x"\n\xff\n{"a": 2}\n')
    told = [str(row) if isinstance(row, DataError) else row.values for _, row in JsonRows(lines).scan()]
    assert told[0] == {"a": 1}
    assert told[4] == {"a": 2}
    assert [part in str(one) for part, one in zip(("is no JSON", "must be an object", "isn't UTF-8"), told[1:4])] == [
        True
    ] * 3


def test_rows_of_one_line_are_told_apart_by_number_or_key(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"n": 1}, {"n": 2}, 3]) + "\n")
    found = [row if isinstance(row, DataError) else row.where for _, row in JsonRows(path).scan()]
    assert [str(one).partition(": must")[0] for one in found] == [
        f"{path}, line 1",
        f"{path}, line 1, row 2",
        f"{path}, line 1, row 3",
    ]
    path.write_text(json.dumps({"a": {"n": 1}, "q 7": {"n": 2}}))
    assert [str(row.where) for _, row in JsonRows(path).scan() if isinstance(row, Row)][1] == f"{path}, line 1, row q 7"


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
@pytest.mark.parametrize(
    ("value", "said"),
    [
        ('"half \\ud83d here"', "has half a character"),
        ("[" * 100_000 + "]" * 100_000, "is no JSON"),
        ("1" * 5_000, "is no JSON"),
    ],
    ids=["half a character", "too deep", "too many digits"],
)
def test_hostile_rows_are_data_errors(tmp_path: Path, name: str, value: str, said: str) -> None:
    path = tmp_path / name
    row = '{"a": ' + value + "}"
    path.write_text(row if name == "a.jsonl" else f"[{row}]")
    with pytest.raises(DataError, match=f"line 1: {said}"):
        first_of(path)


def first_of(path: Path) -> Row:
    """A file's first row, or what is wrong with it."""
    (_, row) = next(JsonRows(path).scan())
    if isinstance(row, DataError):
        raise row
    return row


def test_whole_characters_of_two_escapes_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": "\\ud83d\\ude00"}')
    assert [row.values for row in scanned(JsonRows(path))] == [{"a": "😀"}]


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (b"\x1f\x8b\x08 packed", "gunzip"),
        ('[{"a": 1}]'.encode("utf-16"), "UTF-8"),
        (b'{"a": {"b": 1}}\n{"a": {"b": 2}}\n', ".jsonl"),
    ],
    ids=["packed", "UTF-16", "lines"],
)
def test_a_file_of_another_kind_than_its_name_says_is_told(tmp_path: Path, data: bytes, hint: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        list(JsonRows(path).scan())
    assert hint in str(caught.value.hint)


def test_a_file_that_changed_after_it_was_indexed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(VALUES))
    rows = JsonRows(path)
    places = [place for place, _ in rows.scan()]
    path.write_text("[]")
    with pytest.raises(DataError, match="has changed"):
        rows.read(places[1])


class TestFields:
    row = Row(
        {"t": " a ", "e": " ", "n": 3, "s": "4", "b": True, "l": ["x", ""], "o": [{"v": 5}, 6]}, where="f, line 1"
    )  # type: ignore[arg-type]

    def test_good_ones_are_given(self) -> None:
        assert self.row.text("missing", "t") == "a"
        assert (self.row.integer("n"), self.row.integer("s"), self.row.name("n")) == (3, 4, "3")
        assert self.row.language("lang", default="deu_Latn") == "deu_Latn"
        assert Row({"lang": "sw"}, self.row.where).language("lang") == "swh_Latn"

    @pytest.mark.parametrize(
        ("read", "said"),
        [
            (lambda row: row.text("x"), "field `x`: is missing"),
            (lambda row: row.text("e"), "field `e`: is empty"),
            (lambda row: row.text("n"), "field `n`: must be a text, found 3"),
            (lambda row: row.integer("b"), "field `b`: must be a whole number, found True"),
            (lambda row: row.integer("t"), "field `t`: must be a whole number"),
            (lambda row: row.texts("l"), r"field `l\[1\]`: is empty"),
            (lambda row: row.texts("n"), "field `n`: must be a list"),
            (lambda row: row.rows("o"), r"field `o\[1\]`: must be an object, found 6"),
            (lambda row: row.rows("o[0]"), "is missing"),
            (lambda row: Row({"o": [{"v": 5}]}, row.where).rows("o")[0].text("v"), r"field `o\[0\].v`: must be a text"),
            (lambda row: row.language("t"), "field `t`: no such language"),
        ],
    )
    def test_bad_ones_are_said_with_their_place(self, read: Any, said: str) -> None:
        with pytest.raises(DataError, match=f"^f, line 1, {said}" if said.startswith("field") else said):
            read(self.row)

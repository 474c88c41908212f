"""Examples through an index on disk: made once, good as long as what it follows from, there whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from visiglot.config import cache_dir
from visiglot.data import indexed
from visiglot.data.adapter import Origin, Reading
from visiglot.data.indexed import IndexedSource, open_indexed
from visiglot.data.lookup import Lookup
from visiglot.data.progress import telling
from visiglot.data.rows import JsonRows, Row
from visiglot.errors import DataError
from visiglot.types import Example, Provenance

ORIGIN = Origin(Provenance("s", "l"), "eng_Latn")
CODES = ("eng_Latn", "deu_Latn", "swh_Latn")


class Counted:
    """Reads every row's `texts` as an example each, and counts how often it was asked."""

    def __init__(self, path: Path) -> None:
        self.calls = 0
        self.reading = Reading(JsonRows(path), self.examples)

    def examples(self, row: Row) -> Sequence[Example]:
        self.calls += 1
        if row.get("skip"):
            return ()
        code = row.language("language")
        return [ORIGIN.turns(f"{row.name('id')}/{n}", (), (), language=code) for n, _ in enumerate(row.texts("texts"))]


def write(path: Path, rows: Sequence[object]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def rows_of(count: int) -> list[dict[str, object]]:
    return [
        {"id": n, "language": ("en", "de", "sw")[n % 3], "texts": ["t"] * (n % 4 + 1), "skip": n % 5 == 4}
        for n in range(count)
    ]


def opened(counted: Counted, **options: object) -> IndexedSource:
    values: dict[str, object] = {"identity": {"v": 1}, "languages": CODES, "on_bad": "error", "max_bad": 0.01}
    return open_indexed("set", counted.reading, **{**values, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("chunk", [5, 2**16])
def test_every_example_is_found_by_number_and_by_language(
    tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexed, "CHUNK", chunk)
    values = rows_of(60)
    source = opened(Counted(write(tmp_path / "a.jsonl", values)))
    ids = [f"{v['id']}/{n}" for v in values if not v["skip"] for n in range(len(v["texts"]))]  # type: ignore[arg-type]
    assert [source[index].id for index in range(len(source))] == ids
    for code, indices in source.by_language.items():
        assert indices.tolist() == [n for n in range(len(ids)) if source[n].language == code]
    assert sorted(np.concatenate(list(source.by_language.values())).tolist()) == list(range(len(ids)))


def test_a_file_is_gone_through_once_until_it_changes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", rows_of(20))
    first, again, other, changed = (Counted(path) for _ in range(4))
    opened(first)
    opened(again)
    opened(other, identity={"v": 2})
    assert (first.calls, again.calls, other.calls) == (20, 0, 20)
    write(path, rows_of(21))
    assert len(opened(changed)) == len(opened(Counted(path)))
    assert changed.calls == 21


def test_only_languages_that_were_asked_for_are_in_the_table(tmp_path: Path) -> None:
    source = opened(Counted(write(tmp_path / "a.jsonl", rows_of(20))), languages=["deu_Latn", "hin_Deva"])
    assert list(source.by_language) == ["deu_Latn"]


def test_the_first_bad_row_ends_it_and_leaves_no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISIGLOT_CACHE", str(tmp_path / "cache"))
    counted = Counted(write(tmp_path / "a.jsonl", [*rows_of(3), {"id": 9, "language": "de", "texts": [""]}]))
    with pytest.raises(DataError, match=r"a\.jsonl, line 4, field `texts\[0\]`: is empty"):
        opened(counted)
    assert list((cache_dir() / "index").iterdir()) == []


def test_bad_rows_that_are_left_out_stand_in_a_ledger(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write(
        path, [*rows_of(3), {"id": 9, "language": "xx", "texts": ["t"]}, {"id": 10, "language": "de", "texts": ["t"]}]
    )
    with path.open("a") as file:
        file.write("{no json\n")
    source = opened(Counted(path), on_bad="skip")
    assert [source[n].id for n in range(len(source))][-1] == "10/0"
    assert source.bad == {"bad row": 2}
    lines = [json.loads(line) for line in (source.folder / "bad.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["id"] for line in lines] == [f"{path}, line 4", f"{path}, line 6"]
    assert "field `language`" in lines[0]["detail"]


def test_too_many_bad_rows_end_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"id": n, "language": "de", "texts": [""]} for n in range(30)])
    with pytest.raises(DataError, match=r"more than the allowed 1\.0%"):
        opened(Counted(path), on_bad="skip", max_bad=0.01)


def test_a_set_without_examples_is_empty_and_no_error(tmp_path: Path) -> None:
    source = opened(Counted(write(tmp_path / "a.jsonl", [{"skip": True}])))
    assert len(source) == 0
    assert dict(source.by_language) == {}


def test_long_work_says_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("visiglot.data.progress.EVERY", 0.0)
    said: list[str] = []
    with telling(said.append):
        opened(Counted(write(tmp_path / "a.jsonl", rows_of(1030))))
    assert said[0].startswith(f"set: going through {tmp_path / 'a.jsonl'}: 1,024 rows, ")
    assert said[-1].startswith(f"set: going through {tmp_path / 'a.jsonl'}: 1,030 rows, ")


class TestLookup:
    def lookup(self, path: Path) -> Lookup:
        return Lookup(JsonRows(path), lambda row: row.name("id"), "id")

    def test_rows_are_found_by_their_key(self, tmp_path: Path) -> None:
        found = self.lookup(write(tmp_path / "a.jsonl", [{"id": n * 7 % 101, "n": n} for n in range(100)]))
        for n in range(100):
            row = found.find(str(n * 7 % 101))
            assert row is not None
            assert row.values["n"] == n
        assert found.find("100000") is None

    def test_keys_whose_hashes_meet_are_told_apart(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("visiglot.data.lookup._hash", lambda key: len(key))
        found = self.lookup(write(tmp_path / "a.jsonl", [{"id": n} for n in range(10)]))
        row = found.find("7")
        assert row is not None
        assert row.values == {"id": 7}
        assert found.find("x") is None

    def test_a_bad_row_ends_it(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="line 1, field `id`: is missing"):
            self.lookup(write(tmp_path / "a.jsonl", [{"n": 1}])).find("1")

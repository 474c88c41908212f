"""Examples through an index on disk: made once, good as long as what it follows from, there whole or not at all."""

from __future__ import annotations

import json
import os
import time
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
    source = opened(Counted(path), on_bad="skip", max_bad=0.5)
    assert [source[n].id for n in range(len(source))][-1] == "10/0"
    assert source.bad == {"bad row": 2}
    lines = [json.loads(line) for line in (source.folder / "bad.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["id"] for line in lines] == [f"{path}, line 4", f"{path}, line 6"]
    assert "field `language`" in lines[0]["detail"]


def test_bad_rows_of_one_line_all_stand_in_the_ledger(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"id": n, "language": "de", "texts": ["" if n % 4 else "t"]} for n in range(8)]))
    source = opened(Counted(path), on_bad="skip", max_bad=1.0)
    lines = [json.loads(line) for line in source.ledger.read_text(encoding="utf-8").splitlines()]
    assert [line["id"] for line in lines] == [f"{path}, line 1, row {n + 1}" for n in range(8) if n % 4]
    assert {line["reason"] for line in lines} == {"bad row"}
    assert all("field `texts[0]`: is empty" in line["detail"] for line in lines)


@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
def test_the_share_of_bad_rows_is_judged_of_all_wherever_they_stand(tmp_path: Path, first: bool) -> None:
    good = [{"id": n, "language": "de", "texts": ["t"]} for n in range(300)]
    bad = [{"id": -n, "language": "de", "texts": [""]} for n in range(1, 4)]
    path = write(tmp_path / "a.jsonl", [*bad, *good] if first else [*good, *bad])
    assert len(opened(Counted(path), on_bad="skip", max_bad=0.01)) == 300
    with pytest.raises(DataError, match=r"3 of 303 rows of set can't be used, more than the allowed 0\.5%; the"):
        opened(Counted(path), on_bad="skip", max_bad=0.005)


def test_a_file_of_bad_rows_is_given_up_early(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"id": n, "language": "de", "texts": [""]} for n in range(1500)])
    with pytest.raises(DataError, match="1,000 of 1,000 rows"):
        opened(Counted(path), on_bad="skip", max_bad=0.5)


def test_what_killed_builds_left_is_swept_after_a_day(tmp_path: Path) -> None:
    folder = cache_dir() / "index"
    for name, age in ((".old.partial", 2), (".new.partial", 0)):
        (folder / name).mkdir(parents=True)
        os.utime(folder / name, times=(time.time() - age * 86400,) * 2)
    opened(Counted(write(tmp_path / "a.jsonl", rows_of(3))))
    assert not (folder / ".old.partial").exists()
    assert (folder / ".new.partial").exists()
    (folder / ".new.partial").rmdir()


def test_a_set_without_examples_is_empty_and_no_error(tmp_path: Path) -> None:
    source = opened(Counted(write(tmp_path / "a.jsonl", [{"skip": True}])))
    assert len(source) == 0
    assert dict(source.by_language) == {}


def test_long_work_says_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("visiglot.data.progress.EVERY", 0.0)
    said: list[str] = []
    with telling(said.append):
        opened(Counted(write(tmp_path / "a.jsonl", rows_of(1030))))
    assert said[0].startswith(f"set: going through {tmp_path / 'a.jsonl'}: 1 rows, ")
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

    def test_a_bad_row_is_told_only_where_it_may_be_the_one_that_is_missing(self, tmp_path: Path) -> None:
        lookup = self.lookup(write(tmp_path / "a.jsonl", [{"n": 1}, {"id": 2}]))
        assert lookup.find("2") is not None
        with pytest.raises(DataError, match=r"has the id 1, and some can't be used: .*line 1, field `id`: is"):
            lookup.find("1")

    def test_rows_of_one_key_must_say_the_same(self, tmp_path: Path) -> None:
        lookup = self.lookup(write(tmp_path / "a.jsonl", [{"id": 1, "a": 1}, {"id": 1, "a": 2}, {"id": 2}, {"id": 2}]))
        assert lookup.find("2") is not None
        with pytest.raises(DataError, match=r"line 1 and .*line 2 have the same id, 1, and say different things"):
            lookup.find("1")

"""Opening what others published: what is named in revisions and errors, and what a limit may part."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from visiglot.data.adapter import Pictures
from visiglot.data.rows import Row, Where
from visiglot.errors import DataError, EvaluationError
from visiglot.evaluate.published import Asked, Publication, PublishedData, open_published, picture
from visiglot.types import Example

LOCAL = Publication("https://example.org/data", "rows.jsonl and images/<id>.jpg", ("rows.jsonl",), ("images",))
HUB = Publication("https://example.org/hub", "rows_<code>.tsv", ("rows_*.tsv",), repo="some/data", below="rows")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    (tmp_path / "rows.jsonl").write_text("{}\n", encoding="utf-8")
    (tmp_path / "images" / "1.jpg").write_bytes(b"abc")
    return tmp_path


def revision(folder: Path) -> str:
    return open_published(folder, "toy", LOCAL)[1]


def test_the_revision_is_of_texts_by_bytes_and_of_pictures_by_name_and_size(folder: Path) -> None:
    first = revision(folder)
    (folder / "notes.txt").write_text("nobody reads this", encoding="utf-8")
    (folder / "images" / "1.jpg").write_bytes(b"xyz")
    assert revision(folder) == first
    (folder / "images" / "1.jpg").write_bytes(b"abcd")
    assert revision(folder) != first
    (folder / "images" / "1.jpg").write_bytes(b"abc")
    (folder / "images" / "1.jpg").rename(folder / "images" / "2.jpg")
    assert revision(folder) != first
    (folder / "images" / "2.jpg").rename(folder / "images" / "1.jpg")
    assert revision(folder) == first
    (folder / "rows.jsonl").write_text("[]\n", encoding="utf-8")
    assert revision(folder) != first


def test_without_a_repository_a_folder_must_be_given() -> None:
    with pytest.raises(EvaluationError, match="no repository of the hub is known") as caught:
        open_published(None, "toy", LOCAL)
    assert caught.value.hint is not None
    assert "https://example.org/data" in caught.value.hint
    assert "rows.jsonl and images/<id>.jpg" in caught.value.hint


def test_from_the_hub_the_revision_is_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = tmp_path / "snapshots" / "0123abc"
    (snapshot / "rows").mkdir(parents=True)
    (snapshot / "rows" / "rows_en.tsv").write_text("index\n", encoding="utf-8")
    asked = {}

    def download(repo: str, **options: object) -> str:
        asked.update(options, repo=repo)
        return str(snapshot)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert open_published(None, "toy", HUB) == (snapshot / "rows", "some/data@0123abc")
    assert asked == {"repo": "some/data", "repo_type": "dataset", "allow_patterns": ["rows/rows_*.tsv"]}


def test_a_fetch_that_fails_says_what_else_can_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(repo: str, **options: object) -> str:
        raise ConnectionError("no route\nand much more")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    with pytest.raises(EvaluationError, match=r"some/data can't be fetched from the hub: no route\n") as caught:
        open_published(None, "toy", HUB)
    assert "rows_<code>.tsv" in str(caught.value.hint)


def test_a_name_that_unicode_writes_in_two_ways_is_found(tmp_path: Path) -> None:
    name = unicodedata.normalize("NFC", "Çay.jpg")
    (tmp_path / unicodedata.normalize("NFD", name)).write_bytes(b"picture")
    row = Row({"image": name}, Where(tmp_path, 1))
    ref = picture(Pictures(tmp_path), row, "image", name)
    assert ref.read() == b"picture"
    assert ref.name == name
    with pytest.raises(DataError, match="leaves"):
        picture(Pictures(tmp_path), row, "image", "../Çay.jpg")


def example(id: str) -> Example:
    return Example(id, (), "eng_Latn", group=id[0])


def published(*ids: str) -> PublishedData:
    def read(asked: Asked) -> Iterator[Example]:
        return map(example, ids)

    return PublishedData("1", {"test": {"eng_Latn": Path("rows")}}, read, unit=lambda one: one.group)


def ids(data: PublishedData, limit: int | None) -> list[str]:
    return [one.id for one in data.examples("eng_Latn", split="test", prompt_set="native", limit=limit)]


def test_what_belongs_together_stays_together_and_in_its_order() -> None:
    data = published("a1", "b1", "a2", "c1", "a3", "b2")
    whole = ids(data, None)
    assert sorted(whole) == ["a1", "a2", "a3", "b1", "b2", "c1"]
    assert [one for one in whole if one[0] == "a"] == ["a1", "a2", "a3"]
    assert "".join(whole)[whole.index("a1") * 2 :].startswith("a1a2a3")
    for limit in range(1, 8):
        some = ids(data, limit)
        assert some == whole[: len(some)]
        assert {one[0] for one in some}.isdisjoint({one[0] for one in whole[len(some) :]})
        assert len(some) <= limit or len({one[0] for one in some}) == 1


def test_the_order_does_not_follow_the_file() -> None:
    assert [one[0] for one in ids(published("a1", "b1", "c1"), None)] == [
        one[0] for one in ids(published("c1", "b1", "a1"), None)
    ]


def test_a_language_or_split_that_is_not_there_has_no_examples() -> None:
    data = published("a1")
    assert list(data.examples("deu_Latn", split="test", prompt_set="native", limit=None)) == []
    assert list(data.examples("eng_Latn", split="dev", prompt_set="native", limit=None)) == []

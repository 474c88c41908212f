"""Rows of tables, parallel lines, folders and shards: gone through as a stream, read again where they lie."""

from __future__ import annotations

import gzip
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from visiglot.data.rows import Row, Rows, tars
from visiglot.data.rows.folders import FolderRows
from visiglot.data.rows.lines import LineRows
from visiglot.data.rows.shards import ShardRows, files_of, unpacked
from visiglot.data.rows.tables import TableRows
from visiglot.data.rows.tars import TarRows
from visiglot.errors import DataError


def scanned(rows: Rows) -> list[Row]:
    """All rows, each of which must be the same when it is read again, but for pictures' bytes."""
    found = []
    for place, row in list(rows.scan()):
        assert isinstance(row, Row), row
        again = rows.read(place)
        texts = [{k: v for k, v in one.values.items() if not isinstance(v, bytes)} for one in (row, again)]
        assert texts[0] == texts[1]
        assert (again.key, str(again.where), again.where.offset) == (row.key, str(row.where), row.where.offset)
        assert (row.scanned, again.scanned) == (True, False)
        found.append(again)
    return found


def pack(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode()))
    return path


def tar(path: Path, *members: tuple[str, bytes], form: int = tarfile.PAX_FORMAT, mode: str = "w") -> Path:
    with tarfile.open(path, mode, format=form) as file:  # type: ignore[call-overload]
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, BytesIO(data))
    return path


class TestTables:
    text = 'id\ttext\tmore\n1\tplain\t\n\n2\t"two\nlines, ""marks"" and a\ttab"\tx\n3\t5" wide\ty\n'

    @pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
    def test_fields_in_quotation_marks_may_hold_lines_and_tabs(self, tmp_path: Path, packed: bool) -> None:
        path = tmp_path / "a.tsv"
        path.write_text(self.text)
        path = pack(tmp_path / "a.tsv.gz", self.text) if packed else path
        found = scanned(TableRows(path))
        assert [row.values for row in found] == [
            {"id": "1", "text": "plain", "more": None},
            {"id": "2", "text": 'two\nlines, "marks" and a\ttab', "more": "x"},
            {"id": "3", "text": '5" wide', "more": "y"},
        ]
        assert [str(row.where) for row in found] == [f"{path}, line {n}" for n in (2, 4, 6)]

    def test_without_a_header_the_columns_are_given(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tsv"
        path.write_text("ü\t1\n")
        assert [row.values for row in scanned(TableRows(path, ("a", "b")))] == [{"a": "ü", "b": "1"}]

    def test_rows_with_other_columns_or_letters_are_told_and_later_ones_read(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tsv"
        path.write_bytes(b"a\tb\n1\n\xff\t2\n3\t4\n")
        found = [row for _, row in TableRows(path).scan()]
        assert "a.tsv, line 2: has 1 columns, must have 2: a, b" in str(found[0])
        assert "a.tsv, line 3: isn't UTF-8" in str(found[1])
        assert isinstance(found[2], Row)

    def test_a_quotation_mark_that_is_never_closed_ends_at_a_limit(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("visiglot.data.rows.tables.MAX_FIELD", 50)
        path = tmp_path / "a.tsv"
        path.write_text('a\n"' + "x\n" * 40)
        with pytest.raises(DataError, match=r"a\.tsv, line 2: field larger than field limit"):
            list(TableRows(path).scan())

    def test_a_file_that_is_cut_short_is_named(self, tmp_path: Path) -> None:
        path = pack(tmp_path / "a.tsv.gz", self.text * 20)
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(DataError, match=r"a\.tsv\.gz can't be unpacked"):
            list(TableRows(path).scan())

    def test_a_packed_file_is_unpacked_once(self, tmp_path: Path) -> None:
        path = pack(tmp_path / "a.tsv.gz", "a\n1\n")
        first = unpacked(path)
        before = first.stat().st_mtime_ns
        assert unpacked(path) == first
        assert first.stat().st_mtime_ns == before
        assert first.read_text() == "a\n1\n"


class TestLines:
    @pytest.mark.parametrize("end", ["", "\n"])
    def test_line_n_of_each_file_belongs_together(self, tmp_path: Path, end: str) -> None:
        (tmp_path / "a.en").write_text(f"one\r\n\nthree{end}")
        pack(tmp_path / "a.de.gz", "eins\nzwei\ndrei\n")
        found = scanned(LineRows({"en": tmp_path / "a.en", "de": tmp_path / "a.de.gz"}))
        assert [dict(row.values) for row in found] == [
            {"en": "one", "de": "eins"},
            {"en": "", "de": "zwei"},
            {"en": "three", "de": "drei"},
        ]

    def test_files_with_other_numbers_of_lines_are_refused_with_both(self, tmp_path: Path) -> None:
        (tmp_path / "a.en").write_text("one\ntwo\n")
        (tmp_path / "a.de").write_text("eins\nzwei\ndrei")
        rows = LineRows({"en": tmp_path / "a.en", "de": tmp_path / "a.de"})
        with pytest.raises(DataError, match=r"a\.en has 2 lines, but .*a\.de has 3"):
            list(rows.scan())


class TestTars:
    @pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    def test_members_of_one_name_are_a_sample(self, tmp_path: Path, form: int) -> None:
        long = "d" * 80 + "/" + "k" * 90
        members = [
            ("a/1.jpg", b"first"),
            ("a/1.json", b'{"caption": "x", "n": 3}'),
            ("a/1.cls", b"7"),
            ("b/1.left.PNG", b"second" * 500),
            ("b/1.right.png", b"third"),
            ("b/1.txt", "ä".encode()),
            (f"{long}.webp", b"fourth"),
        ]
        found = scanned(TarRows(tar(tmp_path / "a.tar", *members, form=form)))
        assert [row.key for row in found] == ["a/1", "b/1", long]
        assert found[0].values == {"caption": "x", "n": 3, "jpg": b"first", "images": ["jpg"]}
        assert found[1].values["images"] == ["left.png", "right.png"]
        assert (found[1].values["left.png"], found[1].values["txt"]) == (b"second" * 500, "ä")
        assert found[2].values["webp"] == b"fourth"

    @pytest.mark.parametrize(
        ("member", "said"),
        [
            (("1.pickle", b"x"), r"sample 1, field `pickle`: is a pickle"),
            (("1.cls.pkl", b"x"), r"sample 1, field `cls.pkl`: is a pickle"),
            (("1.pyd", b"x"), r"sample 1, field `pyd`: is a pickle"),
            (("1.jpg", b"x"), r"sample 1, field `jpg`: stands there twice"),
            (("1.json", b"[]"), r"sample 1, field `json`: must be an object"),
            (("1.json", b"{"), r"sample 1, field `json`: Expecting"),
            (("1.txt", b"\xff"), r"sample 1, field `txt`: 'utf-8' codec"),
            (("1.png", b"x" * 101), r"sample 1, field `png`: has 101 bytes, the limit is 100"),
        ],
    )
    def test_a_bad_sample_is_told_and_later_ones_read(
        self, tmp_path: Path, member: tuple[str, bytes], said: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tars, "MAX_IMAGE_BYTES", 100)
        path = tar(tmp_path / "a.tar", ("1.jpg", b"x"), member, ("2.jpg", b"x"))
        first, second = (row for _, row in TarRows(path).scan())
        assert isinstance(second, Row)
        with pytest.raises(DataError, match=rf"a\.tar, {said}"):
            raise first  # type: ignore[misc]

    @pytest.mark.parametrize(("mode", "name"), [("w:gz", "gzip"), ("w:bz2", "bzip2"), ("w:xz", "xz")])
    def test_packed_shards_are_refused(self, tmp_path: Path, mode: str, name: str) -> None:
        path = tar(tmp_path / "a.tar", ("1.jpg", b"x"), mode=mode)
        with pytest.raises(DataError, match=f"is packed with {name}") as caught:
            list(TarRows(path).scan())
        assert "Unpack it first" in str(caught.value.hint)

    def test_a_shard_that_is_cut_short_or_no_tar_is_named(self, tmp_path: Path) -> None:
        path = tar(tmp_path / "a.tar", ("1.jpg", b"x" * 2000))
        path.write_bytes(path.read_bytes()[:1000])
        with pytest.raises(DataError, match=r"a\.tar can't be read as a tar file"):
            list(TarRows(path).scan())
        path.write_bytes(b"no tar at all" * 100)
        with pytest.raises(DataError, match=r"a\.tar can't be read as a tar file"):
            list(TarRows(path).scan())

    def test_links_and_folders_are_passed_over(self, tmp_path: Path) -> None:
        with tarfile.open(tmp_path / "a.tar", "w") as file:
            for kind, name in ((tarfile.SYMTYPE, "1.jpg"), (tarfile.DIRTYPE, "2"), (tarfile.LNKTYPE, "1.txt")):
                info = tarfile.TarInfo(name)
                info.type, info.linkname = kind, "/etc/passwd"
                file.addfile(info)
        assert list(TarRows(tmp_path / "a.tar").scan()) == []


class TestFolders:
    def test_pictures_are_listed_by_folder(self, tmp_path: Path) -> None:
        for name in ("b/2.JPEG", "b/1.png", "a/x.txt", "c/ü.jpg"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        found = scanned(FolderRows(tmp_path))
        assert [(row.key, row.values["pictures"]) for row in found] == [
            ("a", []),
            ("b", ["1.png", "2.JPEG"]),
            ("c", ["ü.jpg"]),
        ]

    def test_a_folder_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"the folder .*nowhere can't be read"):
            list(FolderRows(tmp_path / "nowhere").scan())


class TestShards:
    def test_rows_of_many_files_are_those_of_one(self, tmp_path: Path) -> None:
        for n in range(3):
            (tmp_path / f"{n}.tsv").write_text(f"a\n{n}x\n{n}y\n")
        rows = ShardRows([TableRows(path) for path in files_of(tmp_path, ".tsv")])
        assert [row.text("a") for row in scanned(rows)] == ["0x", "0y", "1x", "1y", "2x", "2y"]
        assert len(rows.files) == 3

    def test_a_path_may_be_a_folder_a_pattern_or_a_range(self, tmp_path: Path) -> None:
        for name in ("t-008.tar", "t-009.tar", "t-010.tar", "u.tar", "u.txt"):
            (tmp_path / name).touch()

        def names(path: Path) -> list[str]:
            return [found.name for found in files_of(path, ".tar")]

        assert names(tmp_path) == ["t-008.tar", "t-009.tar", "t-010.tar", "u.tar"]
        assert names(tmp_path / "t-*.tar") == ["t-008.tar", "t-009.tar", "t-010.tar"]
        assert names(tmp_path / "t-{009..010}.tar") == ["t-009.tar", "t-010.tar"]
        assert names(tmp_path / "{1..2}-{08..09}.tar") == ["1-08.tar", "1-09.tar", "2-08.tar", "2-09.tar"]
        assert names(tmp_path / "u.txt") == ["u.txt"]

    @pytest.mark.parametrize(
        ("name", "said"), [("", "no file that ends with .tar in"), ("x*.tar", "no file"), ("{3..1}.tar", "is empty")]
    )
    def test_a_path_without_files_is_refused(self, tmp_path: Path, name: str, said: str) -> None:
        with pytest.raises(DataError, match=said):
            files_of(tmp_path / name, ".tar")

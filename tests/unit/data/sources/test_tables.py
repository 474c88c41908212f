"""Data sets whose columns a user names: Parquet, Arrow and WebDataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.drawn import draw
from tests.formats.tables import IMAGE, tar

from visiglot.data.rows import Row, arrow
from visiglot.data.rows.arrow import ArrowRows
from visiglot.data.rows.columns import Columns
from visiglot.data.source import Source, build_source
from visiglot.errors import ConfigError, DataError, Notice
from visiglot.types import ImageSlot

RED, BLUE = draw("red", "bar"), draw("blue", "bar")
TURN = pa.struct([("role", pa.string()), ("content", pa.string())])


def write(path: Path, rows: Sequence[Mapping[str, Any]], **types: Any) -> Path:
    """A Parquet file of one row a group, or an Arrow stream of one row a batch."""
    table = pa.Table.from_pylist(list(rows), schema=pa.schema(types.items()))
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=1)
    else:
        with pa.ipc.new_stream(str(path), table.schema) as writer:
            writer.write_table(table, max_chunksize=1)
    return path


def opened(kind: str = "parquet-images", **options: object) -> Source:
    values = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
    return build_source(kind, values, languages=("eng_Latn", "deu_Latn"), seed=0)


def test_a_folder_of_save_to_disk_is_read(tmp_path: Path) -> None:
    rows = [
        {"image": {"bytes": RED, "path": None}, "text": "a"},
        {"image": {"bytes": BLUE, "path": "b.png"}, "text": "b"},
    ]
    for n in range(2):
        write(tmp_path / f"data-0000{n}-of-00002.arrow", rows, image=IMAGE, text=pa.string())
    (tmp_path / "state.json").write_text("{}")
    source = opened(path=tmp_path, caption="text")
    assert [source[n].facts["caption"] for n in range(4)] == ["a", "b", "a", "b"]
    assert [source[n].images[0].data for n in range(4)] == [RED, BLUE, RED, BLUE]
    assert [source[n].images[0].name for n in (2, 3)] == ["data-00001-of-00002:0", "b.png"]


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
class TestColumns:
    def test_a_row_may_have_several_pictures(self, tmp_path: Path, ending: str) -> None:
        rows = [{"images": [{"bytes": RED, "path": "a"}, {"bytes": BLUE, "path": None}], "q": "which?", "a": "this"}]
        path = write(tmp_path / f"t.{ending}", rows, images=pa.list_(IMAGE), q=pa.string(), a=pa.string())
        example = opened(path=path, image="images", question="q", answer="a")[0]
        assert [(ref.name, ref.data) for ref in example.images] == [("a", RED), ("t:0/1", BLUE)]
        assert example.messages[0].content == (ImageSlot(0), ImageSlot(1), "which?")

    def test_the_most_frequent_answer_is_trained_and_all_are_right(self, tmp_path: Path, ending: str) -> None:
        rows = [{"image": {"bytes": RED, "path": None}, "q": "colour?", "a": ["dark", "red", "red"], "lang": "de"}]
        types = {"q": pa.string(), "a": pa.list_(pa.string()), "lang": pa.string()}
        path = write(tmp_path / f"t.{ending}", rows, image=IMAGE, **types)
        example = opened(path=path, question="q", answer="a", language_column="lang")[0]
        assert (example.messages[-1].text, example.references) == ("red", ("dark", "red", "red"))
        assert example.language == "deu_Latn"

    def test_a_list_of_captions_is_an_example_each(self, tmp_path: Path, ending: str) -> None:
        rows = [{"image": {"bytes": RED, "path": None}, "texts": ["a", "b"], "key": 7}]
        path = write(tmp_path / f"t.{ending}", rows, image=IMAGE, texts=pa.list_(pa.string()), key=pa.int64())
        source = opened(path=path, caption="texts", id="key")
        assert [source[n].id for n in range(2)] == ["7/0", "7/1"]

    def test_messages_may_place_pictures(self, tmp_path: Path, ending: str) -> None:
        turns = [{"role": "user", "content": "This <image> is?"}, {"role": "assistant", "content": "Red."}]
        rows = [{"image": {"bytes": RED, "path": None}, "messages": turns}]
        path = write(tmp_path / f"t.{ending}", rows, image=IMAGE, messages=pa.list_(TURN))
        example = opened(path=path, conversation="messages")[0]
        assert example.messages[0].content == ("This ", ImageSlot(0), " is?")
        assert example.messages[1].text == "Red."

    def test_bytes_and_paths_may_stand_in_a_plain_column(self, tmp_path: Path, ending: str) -> None:
        (tmp_path / "p.png").write_bytes(BLUE)
        path = write(tmp_path / f"b.{ending}", [{"image": RED, "t": "x"}], image=pa.binary(), t=pa.string())
        assert opened(path=path, caption="t")[0].images[0].data == RED
        path = write(tmp_path / f"p.{ending}", [{"image": "p.png", "t": "x"}], image=pa.string(), t=pa.string())
        assert opened(path=path, caption="t", images=tmp_path)[0].images[0].read() == BLUE
        with pytest.raises(DataError, match=r"row 0, field `image`: is the path 'p.png', but .* no option `images`"):
            opened(path=path, caption="t")

    def test_a_picture_that_is_missing_is_found_when_the_file_is_opened(self, tmp_path: Path, ending: str) -> None:
        rows = [{"image": {"bytes": RED, "path": "a"}, "t": "x"}, {"image": {"bytes": None, "path": None}, "t": "y"}]
        path = write(tmp_path / f"t.{ending}", rows, image=IMAGE, t=pa.string())
        with pytest.raises(DataError, match=rf"t\.{ending}, row 1, field `image`: is (empty|missing)"):
            opened(path=path, caption="t")

    def test_no_picture_is_read_to_open_a_file(self, tmp_path: Path, ending: str) -> None:
        rows = [{"image": {"bytes": RED, "path": "a"}, "t": "x"}]
        path = write(tmp_path / f"t.{ending}", rows, image=IMAGE, t=pa.string())
        found = [row for _, row in ArrowRows((path,), ("image", "t"), "image").scan()]
        assert [row.values["image"] for row in found if isinstance(row, Row)] == [{"path": "a", "bytes": b""}]

    def test_a_column_that_is_not_there_is_named_with_those_that_are(self, tmp_path: Path, ending: str) -> None:
        path = write(tmp_path / f"t.{ending}", [{"image": RED, "t": "x"}], image=pa.binary(), t=pa.string())
        with pytest.raises(DataError, match="has no column 'text'; it has image, t"):
            opened(path=path, caption="text")

    def test_a_broken_file_is_named(self, tmp_path: Path, ending: str) -> None:
        path = tmp_path / f"t.{ending}"
        path.write_bytes(b"nothing of the kind")
        with pytest.raises(DataError, match=rf"t\.{ending} can't be read as"):
            opened(path=path, caption="t")


def test_groups_of_rows_are_kept_up_to_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow, "MAX_KEPT_BYTES", 3 * len(RED))
    rows = [{"image": {"bytes": RED, "path": "a"}, "t": str(n)} for n in range(8)]
    path = write(tmp_path / "t.parquet", rows, image=IMAGE, t=pa.string())
    source = ArrowRows((path,), ("image", "t"), "image")
    places = [place for place, _ in source.scan()]
    assert [source.read(place).values["t"] for place in (*places, *places[::-1])] == [*"01234567", *"76543210"]
    kept = source._groups._kept.values()
    assert 0 < sum(table.nbytes for table, _ in kept) <= 3 * len(RED)


def test_large_groups_of_rows_are_told_with_what_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow, "LARGE_GROUP", len(RED))
    path = write(
        tmp_path / "t.parquet", [{"image": {"bytes": RED, "path": "a"}, "t": "x"}] * 2, image=IMAGE, t=pa.string()
    )
    with pytest.warns(Notice, match=r"t\.parquet is read in groups of up to .*`visiglot data write`"):
        next(ArrowRows((path,), ("image", "t"), "image").scan())


@pytest.mark.parametrize(
    "names", [{}, {"caption": "a", "question": "b", "answer": "c"}, {"question": "b"}, {"answer": "c", "caption": "a"}]
)
def test_columns_of_one_kind_of_text_are_named(names: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="where texts are one of three kinds"):
        Columns(**names)


class TestWebDataset:
    def test_texts_may_be_fields_of_the_json_member(self, tmp_path: Path) -> None:
        about = b'{"q": "colour?", "a": "red", "lang": "German", "uid": "x9"}'
        path = tar_of(tmp_path, ("1.png", RED), ("1.json", about))
        source = opened("webdataset", path=path, question="q", answer="a", language_column="lang", id="uid")
        assert (source[0].id, source[0].language, source[0].images[0].data) == ("x9", "deu_Latn", RED)

    def test_members_of_samples_that_are_mixed_up_are_refused_with_their_order(self, tmp_path: Path) -> None:
        path = tar_of(tmp_path, ("1.png", RED), ("2.png", BLUE), ("1.txt", b"x"), ("2.txt", b"y"))
        with pytest.raises(DataError, match=r"sample 1, field `txt`: is missing\n.*must follow one another"):
            opened("webdataset", path=path)

    def test_a_caption_of_two_pictures_is_refused(self, tmp_path: Path) -> None:
        path = tar_of(tmp_path, ("1.a.png", RED), ("1.b.png", BLUE), ("1.txt", b"x"))
        with pytest.raises(DataError, match=r"sample 1, field `txt`: is the caption of 2 pictures"):
            opened("webdataset", path=path)

    def test_no_member_is_written(self, tmp_path: Path) -> None:
        path = tar_of(tmp_path, ("../../escaped.png", RED), ("../../escaped.txt", b"x"))
        before = sorted(tmp_path.parent.rglob("*escaped*"))
        source = opened("webdataset", path=path)
        assert source[0].images[0].data == RED
        assert source[0].images[0].path is None
        assert sorted(tmp_path.parent.rglob("*escaped*")) == before == []


def tar_of(folder: Path, *members: tuple[str, bytes]) -> Path:
    tar(folder / "s.tar", list(members))
    return folder / "s.tar"

"""Every row of the table of sources, and what a Parquet file of examples gives back."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from visiglot.data.parquet_source import GROUPS_KEPT, ROWS_PER_GROUP, ParquetSource, write_examples
from visiglot.data.paths import resolve_below
from visiglot.data.source import SOURCES, Source, build_source, describe
from visiglot.errors import ConfigError, DataError, UnknownNameError
from visiglot.types import Example, ImageRef, ImageSlot, Message, Provenance

GERMAN, SWAHILI, HINDI = "deu_Latn", "swh_Latn", "hin_Deva"


def examples(root: Path) -> list[Example]:
    return [
        Example(
            "full",
            (
                Message("system", ("short",)),
                Message("user", (ImageSlot(0), "Linganisha ", ImageSlot(1), "", ImageSlot(0))),
                Message("assistant", ("mbwa 🐕",)),
            ),
            SWAHILI,
            (ImageRef("bytes", data=b"\x00\xff"), ImageRef("file", path=root / "a" / "ä.png")),
            ("mbwa", "jibwa"),
            Provenance("npm:x@1", "CC0-1.0", "nllb", 0.25),
            "caption",
            "dog",
        ),
        Example("bare", (), GERMAN),
        Example("half", (Message("user", ("q",)),), GERMAN, provenance=Provenance("s", "l")),
    ]


@pytest.mark.parametrize("name", SOURCES.names())
def test_a_factory_takes_languages_and_a_seed_by_name(name: str) -> None:
    parameters = inspect.signature(SOURCES.get(name)).parameters
    for needed in ("languages", "seed"):
        assert needed in parameters
        assert parameters[needed].kind is not inspect.Parameter.POSITIONAL_ONLY
    assert inspect.Parameter.VAR_KEYWORD not in {p.kind for p in parameters.values()}, "options are closed"


def test_parquet_gives_back_every_field_of_every_example(tmp_path: Path) -> None:
    written = examples(tmp_path)
    assert write_examples(tmp_path / "set.parquet", written) == 3
    source = ParquetSource(tmp_path / "set.parquet")
    assert [source[i] for i in range(len(source))] == written
    assert isinstance(source, Source)
    assert source.name == "set"
    assert {code: rows.tolist() for code, rows in source.by_language.items()} == {GERMAN: [1, 2], SWAHILI: [0]}


def test_rows_of_many_groups_are_found_in_any_order(tmp_path: Path) -> None:
    count = ROWS_PER_GROUP * (GROUPS_KEPT + 3) + 5
    write_examples(tmp_path / "set.parquet", (Example(f"e{i}", (), GERMAN if i % 3 else SWAHILI) for i in range(count)))
    source = ParquetSource(tmp_path / "set.parquet")
    assert len(source) == count
    for i in [0, count - 1, *np.random.default_rng(0).integers(0, count, 200).tolist()]:
        assert source[i].id == f"e{i}"
    assert all(source[int(i)].language == SWAHILI for i in source.by_language[SWAHILI][:50])
    for i in (-1, count):
        with pytest.raises(IndexError):
            source[i]


def test_a_source_of_the_table_is_built_from_its_options(tmp_path: Path) -> None:
    write_examples(tmp_path / "set.parquet", examples(tmp_path), root=tmp_path)
    options = {"path": str(tmp_path / "set.parquet"), "name": "mine"}
    source = build_source("parquet", options, languages=[GERMAN, HINDI], seed=1)
    assert list(source.by_language) == [GERMAN]
    assert describe(source) == "mine: 2 examples in 1 language (deu_Latn 2 … deu_Latn 2)"
    empty = build_source("parquet", options, languages=[HINDI], seed=1)
    assert describe(empty) == "mine: 3 examples, none in the languages asked for"


def test_options_that_a_source_does_not_take_or_lacks_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        build_source("parquet", {"pth": "x", "languages": "de"}, languages=[GERMAN], seed=1)
    assert caught.value.problems == [
        "options.pth: no such key; did you mean 'path'?",
        "options.languages: no such key; known: path, root, name",
        "options.path: is missing",
    ]
    with pytest.raises(UnknownNameError, match="'parquet'"):
        build_source("parkett", {}, languages=[GERMAN], seed=1)


def test_pictures_below_another_root_are_found_from_there(tmp_path: Path) -> None:
    write_examples(tmp_path / "sets" / "set.parquet", examples(tmp_path), root=tmp_path)
    source = ParquetSource(tmp_path / "sets" / "set.parquet", root=tmp_path)
    assert source[0].images[1].path == tmp_path / "a" / "ä.png"


def test_a_picture_outside_the_root_is_not_written_and_nothing_is_left_behind(tmp_path: Path) -> None:
    outside = Example("e", (), GERMAN, (ImageRef("p", path=tmp_path / "elsewhere.png"),))
    with pytest.raises(DataError, match="isn't below"):
        write_examples(tmp_path / "sets" / "set.parquet", [outside])
    assert list((tmp_path / "sets").iterdir()) == []


@pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd", "a/../../secret.png", "link/secret.png"])
def test_no_path_of_a_file_leaves_the_root(tmp_path: Path, path: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    with pytest.raises(DataError, match="leaves"):
        resolve_below(root, path, where="set.parquet, example e")
    assert resolve_below(root, "a/./b.png", where="") == root / "a" / "b.png"


def test_files_that_hold_no_examples_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    with pytest.raises(DataError, match="there is no file"):
        ParquetSource(path)
    path.write_text("no parquet")
    with pytest.raises(DataError, match="can't be read as Parquet"):
        ParquetSource(path)
    pq.write_table(pa.table({"language": ["de"], "caption": ["x"]}), path)
    with pytest.raises(DataError, match=r"holds no examples: its columns are language, caption; missing .*: id, mess"):
        ParquetSource(path)
    pq.write_table(pa.table({"caption": ["x"]}), path)
    with pytest.raises(DataError):
        ParquetSource(path)


def test_a_disk_that_refuses_is_a_data_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="can't be written"):
        write_examples(tmp_path / "file" / "set.parquet", [])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"messages": None}, "row 1: `messages` is empty"),
        ({"references": ["a", None]}, r"row 1: `references\[1\]` is empty"),
        ({"messages": [{"role": "user", "content": None}]}, r"row 1: `messages\[0\]` is empty"),
        ({"messages": [{"role": "robot", "content": []}]}, r"`messages\[0\].role` is 'robot'"),
        ({"messages": [{"role": "user", "content": [{"text": None, "image": None}]}]}, r"content\[0\]` is empty"),
        ({"messages": [{"role": "user", "content": [{"text": None, "image": 3}]}]}, "is 3, but the row has 0 pictures"),
        ({"images": [{"name": "a", "path": None, "data": None}]}, "a name, and a path or data"),
        ({"group": None}, "`group` is empty"),
    ],
    ids=str,
)
def test_an_empty_field_is_said_with_its_row(tmp_path: Path, change: dict[str, object], said: str) -> None:
    path = tmp_path / "set.parquet"
    write_examples(path, [Example(f"{number}", (Message("user", ("q",)),), GERMAN) for number in range(3)])
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[1] |= change
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    source = ParquetSource(path)
    assert source[0].id == "0"
    with pytest.raises(DataError, match=said):
        source[1]


def test_an_empty_language_is_said_with_its_row_when_the_file_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "set.parquet"
    write_examples(path, [Example("a", (), GERMAN), Example("b", (), GERMAN)])
    table = pq.read_table(path)
    rows = [{**row, "language": row["language"] if row["id"] == "a" else None} for row in table.to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    with pytest.raises(DataError, match="row 1: `language` is empty"):
        ParquetSource(path)

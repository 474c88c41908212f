"""Pictures in the rows of Parquet files, as `datasets` writes them, and in WebDataset's shards."""

from __future__ import annotations

import json
import tarfile
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from tests.drawn import draw
from tests.formats import Expected, Fixture, picture

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def parquet(folder: Path) -> Fixture:
    """A file of two row groups with the schema that `datasets` gives to an `Image` feature."""
    path = folder / "train-00000-of-00001.parquet"
    picture(folder / "images", "b.png")
    rows = [
        {"image": {"bytes": draw("red", "circle"), "path": "a.png"}, "caption": "a red circle", "lang": "en"},
        {"image": {"bytes": None, "path": "b.png"}, "caption": "ein rotes Quadrat", "lang": "de"},
        {"image": {"bytes": draw("blue", "bar"), "path": None}, "caption": "a blue bar", "lang": "en"},
    ]

    def write() -> None:
        schema = pa.schema([("image", IMAGE), ("caption", pa.string()), ("lang", pa.string())])
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, row_group_size=2)

    def spoil() -> None:
        rows[2]["caption"] = None  # type: ignore[assignment]
        write()

    def escape() -> None:
        rows[1]["image"] = {"bytes": None, "path": "../../b.png"}
        write()

    write()
    stem = "train-00000-of-00001"
    return Fixture(
        options={
            "path": str(path),
            "images": str(folder / "images"),
            "caption": "caption",
            "language_column": "lang",
        },
        expected=(
            Expected(f"{stem}:0", ("a.png",), "", "a red circle"),
            Expected(f"{stem}:1", ("b.png",), "", "ein rotes Quadrat", "deu_Latn"),
            Expected(f"{stem}:2", (f"{stem}:2",), "", "a blue bar", facts={"caption": "a blue bar"}),
        ),
        spoil=spoil,
        spoilt=r"train-00000-of-00001.parquet, row 2, field `caption`: is missing",
        lost=(f"{stem}:2",),
        escape=escape,
    )


def tar(path: Path, members: list[tuple[str, bytes]]) -> None:
    """Write a shard."""
    with tarfile.open(path, "w") as file:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, BytesIO(data))


def webdataset(folder: Path) -> Fixture:
    """Two shards of img2dataset: picture, text and JSON of each sample follow one another."""

    def sample(key: str, colour: str, caption: str) -> list[tuple[str, bytes]]:
        about = {"caption": caption, "url": "https://a.example/x.jpg", "key": key, "status": "success", "width": 32}
        return [
            (f"{key}.jpg", draw(colour, "circle")),
            (f"{key}.json", json.dumps(about).encode()),
            (f"{key}.txt", caption.encode()),
        ]

    first = sample("000000000", "red", "a red circle") + sample("000000001", "green", "ein grüner Kreis")
    second = [*sample("000010000", "blue", "a blue circle"), ("000010001.txt", b"text alone")]
    tar(folder / "00000.tar", first)
    tar(folder / "00001.tar", second)

    def spoil() -> None:
        tar(folder / "00000.tar", [*first[:5], ("000000001.txt", b" ")])

    def expected(shard: str, key: str, caption: str) -> Expected:
        return Expected(f"{shard}/{key}", (f"{key}.jpg",), "", caption, facts={"caption": caption})

    return Fixture(
        options={"path": str(folder / "{00000..00001}.tar")},
        expected=(
            expected("00000", "000000000", "a red circle"),
            expected("00000", "000000001", "ein grüner Kreis"),
            expected("00001", "000010000", "a blue circle"),
        ),
        spoil=spoil,
        spoilt=r"00000.tar, sample 000000001, field `txt`: is empty",
        lost=("00000/000000001",),
        escape=None,
    )


FIXTURES = {"parquet-images": parquet, "webdataset": webdataset}

"""Rows of WebDataset shards: tar files in which the members of one sample follow one another.

Nothing is unpacked: members are read where they lie, and no path of a member is ever written or opened.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from visiglot.data.rows import Place, Row, Where, opened
from visiglot.errors import DataError
from visiglot.types import MAX_IMAGE_BYTES

IMAGES = ("jpg", "jpeg", "png", "webp")
"""Endings of the members that are pictures."""

REFUSED = ("pyd", "pickle", "pkl", "pth", "pt")
"""Endings of pickles, which can run code when they are read."""

MAX_TEXT_BYTES = 2**24
MAX_SAMPLE_BYTES = 2**30

_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True)
class TarRows:
    """The samples of one shard.

    A sample is a run of members with one name up to the first dot. Its row has the fields of its .json member, the
    text of "txt", and its pictures' bytes by their whole ending ("jpg", "left.png"), which are empty in a scan.
    `images` names the fields that are pictures, in the shard's order. Other members aren't looked at.

    Args:
        path: the shard.
    """

    path: Path

    @property
    def files(self) -> Sequence[Path]:
        return (self.path,)

    def scan(self) -> Iterator[tuple[Place, Row | DataError]]:
        with opened(self.path) as file:
            _refuse_packed(self.path, file)
            for sample in _samples(self.path, file):
                place = Place(sample.start, sample.end - sample.start)
                try:
                    _refuse_large(Where(self.path, sample.key, unit="sample"), place.size, MAX_SAMPLE_BYTES)
                    yield place, _row(self.path, sample, file, scanned=True)
                except DataError as error:
                    yield place, error

    def read(self, place: Place) -> Row:
        with opened(self.path) as file:
            file.seek(place.offset)
            data = BytesIO(file.read(place.size))
        found = list(_samples(self.path, data))
        if len(found) != 1:
            raise DataError(
                f"{self.path} has changed while it was read: there is no sample at byte {place.offset:,}",
                hint="Let it be while it is in use, and start again.",
            )
        return _row(self.path, found[0], data, scanned=False, base=place.offset)


@dataclass
class _Sample:
    """Members that belong together: their endings, and what the tar's headers say of them."""

    key: str
    start: int
    end: int
    members: list[tuple[str, tarfile.TarInfo]]


def _samples(path: Path, file: Any) -> Iterator[_Sample]:
    """The samples of an open shard, which is gone through header by header. Raises DataError: it's broken."""
    sample: _Sample | None = None
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # else every member that was passed is kept
                if not member.isreg() or member.issparse():
                    continue
                folder, _, name = member.name.rpartition("/")
                stem, _, ending = name.partition(".")
                key = f"{folder}/{stem}" if folder else stem
                end = member.offset_data + -(-member.size // _BLOCK) * _BLOCK
                if sample is None or sample.key != key:
                    if sample is not None:
                        yield sample
                    sample = _Sample(key, member.offset, end, [])
                sample.members.append((ending.lower(), member))
                sample.end = end
    except (tarfile.TarError, OSError) as error:
        raise DataError(
            f"{path} can't be read as a tar file: {error}", hint="Copy or fetch it again; it may be cut short."
        ) from error
    if sample is not None:
        yield sample


def _row(path: Path, sample: _Sample, file: Any, *, scanned: bool, base: int = 0) -> Row:
    where = Where(path, sample.key, unit="sample", offset=base + sample.start)
    fields: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for ending, member in sample.members:
        kind = ending.rpartition(".")[2]
        if kind in REFUSED:
            raise DataError(
                f"{where}, field `{ending}`: is a pickle, which can run code when it is read",
                hint="Write the shard's members as .json, .txt and pictures.",
            )
        if ending in values or (ending == "json" and fields):
            raise DataError(
                f"{where}, field `{ending}`: stands there twice", hint="Each sample needs a name of its own."
            )
        if kind in IMAGES:
            _refuse_large(where, member.size, MAX_IMAGE_BYTES, ending)
            values[ending] = b"" if scanned else _bytes(file, member)
        elif ending in ("txt", "json"):
            _refuse_large(where, member.size, MAX_TEXT_BYTES, ending)
            try:
                text = _bytes(file, member).decode("utf-8-sig")
                if ending == "txt":
                    values["txt"] = text
                    continue
                found = json.loads(text)
            except ValueError as error:
                raise DataError(f"{where}, field `{ending}`: {error}") from error
            if not isinstance(found, dict):
                raise DataError(f"{where}, field `json`: must be an object")
            fields = found
    images = [ending for ending in values if ending.rpartition(".")[2] in IMAGES]
    return Row({**fields, **values, "images": images}, where, sample.key, scanned)


def _bytes(file: Any, member: tarfile.TarInfo) -> bytes:
    file.seek(member.offset_data)
    data: bytes = file.read(member.size)
    return data


def _refuse_large(where: Where, size: int, limit: int, ending: str = "") -> None:
    if size > limit:
        field = f", field `{ending}`" if ending else ""
        raise DataError(f"{where}{field}: has {size:,} bytes, the limit is {limit:,}")


def _refuse_packed(path: Path, file: Any) -> None:
    start = file.read(8)
    file.seek(0)
    for mark, name in _PACKED.items():
        if start.startswith(mark):
            raise DataError(
                f"{path} is packed with {name}: samples can't be read at random from it",
                hint=f"Unpack it first, as shards of plain .tar: its pictures don't get smaller with {name} anyway.",
            )

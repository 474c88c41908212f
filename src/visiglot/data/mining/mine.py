"""Mining: captions become vectors, then each block of captions is compared with all of its language.

Work stands in FOLDER/work until it is done; a search that was stopped goes on where it was.

    plan.json           what is searched
    state.json          captions that have a vector, captions that have neighbours
    vectors.f32 [m, D]  texts.u64 [m]  pictures.u64 [m]
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visiglot.data.captions import caption_of, normal_form
from visiglot.data.hashing import hash64
from visiglot.data.mining.encoders import Encoder, build_encoder
from visiglot.data.mining.neighbours import ABOUT, FORMAT, RANKS, TABLE, Neighbours, fingerprint
from visiglot.data.mining.search import Captions, nearest
from visiglot.data.progress import Progress
from visiglot.data.source import Source
from visiglot.errors import DataError
from visiglot.files import write_text
from visiglot.types import Example, ImageRef

BLOCK = 2048
"""Captions that are encoded together, and sides of a block of comparisons: 16 MB of products, 150 MB in all."""


def mine(
    source: Source,
    encoder: str,
    folder: Path,
    *,
    ranks: Sequence[int] = RANKS,
    limit: int | None = None,
    device: str = "cpu",
    block: int = BLOCK,
) -> Neighbours:
    """Find the neighbours of a source's captions, or go on finding them.

    Each caption is compared with all of its language among those that the source has in `by_language`. Rank 1 is the
    nearest that says something else of another picture.

    Args:
        encoder: what `build_encoder` takes.
        folder: where the neighbours go.
        ranks: which of the nearest are kept.
        limit: most captions of a language that take part, spread evenly; None: all.
        device: of the encoder and the search.
        block: captions that are worked on together.

    Raises:
        DataError: the source has no captions, `folder` holds something else, or it can't be written.
        ModelError: the encoder can't be loaded.
    """
    ranks = tuple(sorted(set(ranks)))
    assert ranks
    assert ranks[0] >= 1
    parts = {code: _spread(source.by_language[code], limit) for code in sorted(source.by_language)}
    numbers = np.concatenate([np.empty(0, np.int32), *parts.values()]).astype(np.int32)
    if not len(numbers):
        raise DataError(f"source {source.name} has no examples to mine", hint="Check its options and its languages.")
    plan: dict[str, Any] = {
        "format": FORMAT,
        "source": source.name,
        "examples": len(source),
        "fingerprint": fingerprint(source),
        "encoder": encoder,
        "ranks": list(ranks),
        "languages": {code: len(part) for code, part in parts.items()},
        "block": block,
    }
    try:
        if _begun(folder, plan):
            return Neighbours(folder)
        work = _Work(source, numbers, folder, block)
        if work.encoded < len(numbers):
            work.encode(build_encoder(encoder, device=device, texts=work.texts()))
        work.search(list(plan["languages"].values()), ranks, device)
        write_text(json.dumps(plan, indent=1), folder / ABOUT, error=DataError)
        shutil.rmtree(folder / "work")
    except OSError as error:
        raise DataError(
            f"{folder} can't be written: {error.strerror or error}", hint="Make room, or name another folder."
        ) from error
    return Neighbours(folder)


def _begun(folder: Path, plan: dict[str, Any]) -> bool:
    """Whether the search is done already; if it isn't begun it is now.

    Raises:
        DataError: the folder holds another search, or something else.
    """
    path = folder / "work" / "plan.json"
    found = next((one for one in (folder / ABOUT, path) if one.is_file()), None)
    if found is None:
        if folder.exists() and (not folder.is_dir() or any(one.name != "work" for one in folder.iterdir())):
            raise DataError(f"{folder} is no folder of mined neighbours", hint="Name a new or an empty folder.")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(json.dumps(plan), path, error=DataError)
        return False
    try:
        there = dict(json.loads(found.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise DataError(f"{found} can't be read: {error}", hint="Name another folder, or remove this one.") from error
    other = [key for key in plan if there.get(key) != plan[key]]
    if other:
        raise DataError(
            f"{folder} holds another search; {other[0]} is {there.get(other[0])!r} there and {plan[other[0]]!r} here",
            hint="Name another folder, or remove this one.",
        )
    if found.name == ABOUT:
        shutil.rmtree(folder / "work", ignore_errors=True)
    return found.name == ABOUT


class _Work:
    """The files of a search that isn't done.

    Args:
        numbers: the captions' examples, by language [m].
    """

    def __init__(self, source: Source, numbers: NDArray[np.int32], folder: Path, block: int) -> None:
        self.source = source
        self.numbers = numbers
        self.folder = folder
        self.block = block
        self._state = folder / "work" / "state.json"
        state = json.loads(self._state.read_text(encoding="utf-8")) if self._state.is_file() else {}
        self.encoded: int = state.get("encoded", 0)
        self.searched: int = state.get("searched", 0)
        self.width: int = state.get("width", 0)

    def texts(self) -> Iterator[list[str]]:
        """All captions, a block at a time."""
        progress = self._progress("counting", 0)
        for first in range(0, len(self.numbers), self.block):
            some = self.numbers[first : first + self.block]
            yield [caption_of(self.source, self.source[int(number)]) for number in some]
            progress.advance(len(some))
        progress.done()

    def encode(self, encoder: Encoder) -> None:
        """Write what captions are compared by, from where it stopped."""
        self.width = encoder.width
        vectors, texts, pictures = self._arrays()
        progress = self._progress("encoding", self.encoded)
        for first in range(self.encoded, len(self.numbers), self.block):
            last = min(first + self.block, len(self.numbers))
            examples = [self.source[int(number)] for number in self.numbers[first:last]]
            captions = [caption_of(self.source, example) for example in examples]
            vectors[first:last] = encoder(captions)
            texts[first:last] = [hash64(normal_form(caption)) for caption in captions]
            pictures[first:last] = [_picture(example) for example in examples]
            for array in (vectors, texts, pictures):
                array.flush()
            self.encoded = last
            self._save()
            progress.advance(last - first)
        progress.done()

    def search(self, sizes: Sequence[int], ranks: Sequence[int], device: str) -> None:
        """Write the neighbours, from where it stopped; `sizes` are the languages' shares of the captions."""
        table = self._table(len(ranks))
        vectors, texts, pictures = self._arrays()
        same_text, same_picture = _numbered(texts), _numbered(pictures)
        progress = self._progress("comparing", self.searched)
        columns = [rank - 1 for rank in ranks]
        end = 0
        for size in sizes:
            begin, end = end, end + size
            part = Captions(vectors[begin:end], same_text[begin:end], same_picture[begin:end])
            for first in range(max(begin, self.searched), end, self.block):
                last = min(first + self.block, end)
                found = nearest(part, first - begin, last - begin, ranks[-1], block=self.block, device=device)
                at = found[:, columns]
                table[self.numbers[first:last]] = np.where(at < 0, -1, self.numbers[begin:end][at])
                table.flush()
                self.searched = last
                self._save()
                progress.advance(last - first)
        progress.done()

    def _arrays(self) -> tuple[np.memmap[Any, Any], np.memmap[Any, Any], np.memmap[Any, Any]]:
        work, m = self.folder / "work", len(self.numbers)
        return (
            _array(work / "vectors.f32", np.float32, (m, self.width), kept=self.encoded > 0),
            _array(work / "texts.u64", np.uint64, (m,), kept=self.encoded > 0),
            _array(work / "pictures.u64", np.uint64, (m,), kept=self.encoded > 0),
        )

    def _table(self, ranks: int) -> np.memmap[Any, Any]:
        table = _array(self.folder / TABLE, np.int32, (len(self.source), ranks), kept=self.searched > 0)
        if not self.searched:
            table[:] = -1
        return table

    def _save(self) -> None:
        state = {"encoded": self.encoded, "searched": self.searched, "width": self.width}
        write_text(json.dumps(state), self._state, error=DataError)

    def _progress(self, what: str, done: int) -> Progress:
        return Progress(f"{self.source.name}: {what}", "captions", len(self.numbers) - done)


def _array(path: Path, kind: Any, shape: tuple[int, ...], *, kept: bool) -> np.memmap[Any, Any]:
    """Numbers on disk, those that are there or new ones."""
    return np.memmap(path, kind, "r+" if kept else "w+", shape=shape)


def _spread(indices: NDArray[Any], limit: int | None) -> NDArray[Any]:
    """`limit` of the indices, evenly spaced."""
    if limit is None or limit >= len(indices):
        return indices
    return indices[np.arange(limit) * len(indices) // limit]


def _picture(example: Example) -> int:
    """What captions of one picture share; 0 where there is none."""
    return max(hash64("\n".join(map(_place, example.images))), 1) if example.images else 0


def _place(ref: ImageRef) -> str:
    return str(ref.path) if ref.path is not None else ref.key


def _numbered(hashes: NDArray[np.uint64]) -> NDArray[np.int32]:
    """Hashes as small numbers that are equal where they are, -1 for 0."""
    _, numbers = np.unique(hashes, return_inverse=True)
    return np.where(hashes == 0, -1, numbers).astype(np.int32)

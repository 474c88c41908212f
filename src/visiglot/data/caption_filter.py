"""mBLIP's filter of web captions: those with phrases that stand in some captions, not too many for each phrase.

The captions are gone through once. Which phrase stands in which caption is noted in a file; counting and drawing go
over that file. In memory are the phrases (16 bytes each) and the captions drawn for each so far (20 bytes each), never
all captions.

Which captions are drawn follows from the seed, the phrase and what a row says, not from the order of the rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visiglot.config import cache_dir
from visiglot.data.captions import caption_of
from visiglot.data.hashing import hash64, mixed
from visiglot.data.index_files import mapped
from visiglot.data.indexed import IndexedSource
from visiglot.data.phrases import Finder
from visiglot.data.progress import Progress
from visiglot.data.source import Source
from visiglot.errors import DataError
from visiglot.files import write_pieces
from visiglot.languages import ENGLISH
from visiglot.types import Example

BATCH = 1024
"""Captions whose phrases are found together."""

CHUNK = 2**22
"""Pairs of phrase and caption that are looked at together."""

PAIR = np.dtype([("phrase", "<u8"), ("draw", "<u8"), ("caption", "<i4")])
"""A phrase in a caption: the phrase's hash, the number that it is drawn by, the example's number."""


@dataclass(frozen=True)
class Filtered:
    """What the filter keeps.

    Args:
        captions: English captions looked at.
        phrases: different ones in them.
        kept_phrases: those in enough captions.
        numbers: the kept examples' numbers in their source, rising [n].
    """

    captions: int
    phrases: int
    kept_phrases: int
    numbers: NDArray[np.int32]


def filter_captions(
    source: Source, find: Finder, *, min_captions: int = 10, per_phrase: int = 30, seed: int = 42
) -> Filtered:
    """Keep captions of a source's English examples by their phrases.

    Args:
        find: the phrases of captions.
        min_captions: captions that a phrase must stand in to be kept.
        per_phrase: most captions that are drawn for a kept phrase; what is drawn for any phrase is kept.
        seed: of the drawing.

    Raises:
        DataError: there are no English captions, or a row or a file can't be used.
    """
    numbers = source.by_language.get(ENGLISH, np.empty(0, np.int32))
    if not len(numbers):
        raise DataError(
            f"source {source.name} has no English examples",
            hint="The filter knows English phrases only.",
        )
    try:
        cache_dir().mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".phrases-", dir=cache_dir()) as folder:
            path = Path(folder) / "pairs"
            _note_pairs(source, numbers, find, seed, path)
            pairs = mapped(path, PAIR)
            phrases, counts = _count(pairs)
            kept = phrases[counts >= min_captions]
            drawn = _draw(pairs, kept, per_phrase)
            return Filtered(len(numbers), len(phrases), len(kept), np.unique(drawn["caption"]))
    except OSError as error:
        raise DataError(
            f"the phrases of {source.name} can't be written below {cache_dir()}: {error.strerror or error}",
            hint="Free some space (20 bytes a phrase of a caption), or name another cache in VISIGLOT_CACHE.",
        ) from error


def write_kept(source: Source, numbers: Sequence[int] | NDArray[np.int32], path: Path) -> None:
    """Write examples as rows that the source `capfilt` reads: lines of JSON, or a list where `path` ends in .json.

    A row names its picture in `image`, so that it keeps it whatever becomes of its place. Where the source's own row
    holds this example alone, its plain fields (`url`) are in it too.

    Raises:
        DataError: an example hasn't one picture and a caption, or the file can't be written.
    """
    as_list = path.suffix == ".json"

    def pieces() -> Iterator[str]:
        progress = Progress(f"writing {path}", "rows", len(numbers))
        for n, number in enumerate(numbers):
            example, fields = _example_and_fields(source, int(number))
            if len(example.images) != 1:
                raise DataError(
                    f"{source.name}, example {example.id}: has {len(example.images)} pictures, a caption's row has one",
                    hint="Filter a source of pictures with captions.",
                )
            row = {**fields, "image": example.images[0].name, "caption": caption_of(source, example)}
            text = json.dumps(row)
            yield f"{',' if n else '['}\n{text}" if as_list else f"{text}\n"
            progress.advance()
        if as_list:
            yield "\n]\n" if len(numbers) else "[]\n"
        progress.done()

    write_pieces(pieces(), path, error=DataError)


def _note_pairs(source: Source, numbers: NDArray[Any], find: Finder, seed: int, path: Path) -> None:
    """Write a PAIR for each phrase of each caption."""
    progress = Progress(f"{source.name}: finding phrases", "captions", len(numbers))
    with path.open("wb") as file:
        for first in range(0, len(numbers), BATCH):
            some = [int(number) for number in numbers[first : first + BATCH]]
            captions, contents = zip(*(_caption_and_content(source, number) for number in some), strict=True)
            rows = zip(some, contents, find(captions), strict=True)
            pairs = np.array([(hash64(p), content, n) for n, content, phrases in rows for p in phrases], PAIR)
            pairs["draw"] = mixed(pairs["phrase"] ^ mixed(pairs["draw"] ^ np.uint64(hash64(str(seed)))))
            file.write(pairs.tobytes())
            progress.advance(len(some))
    progress.done()


def _caption_and_content(source: Source, number: int) -> tuple[str, int]:
    """An example's caption, and a hash of all that its row says."""
    example, fields = _example_and_fields(source, number)
    caption = caption_of(source, example)
    return caption, hash64(json.dumps([caption, fields or example.id], sort_keys=True))


def _example_and_fields(source: Source, number: int) -> tuple[Example, dict[str, Any]]:
    """An example, and the plain fields of its row where that holds no other."""
    if not isinstance(source, IndexedSource):
        return source[number], {}
    row = source.row(number)
    examples = source.reading.examples(row)
    if len(examples) != 1:
        return source[number], {}
    return examples[0], {key: value for key, value in row.values.items() if isinstance(value, str | int | float)}


def _count(pairs: NDArray[Any]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The different phrases, rising [p], and how many captions each stands in [p]."""
    phrases, counts = np.empty(0, np.uint64), np.empty(0, np.int64)
    for first in range(0, len(pairs), CHUNK):
        some, times = np.unique(pairs["phrase"][first : first + CHUNK], return_counts=True)
        phrases, where = np.unique(np.concatenate([phrases, some]), return_inverse=True)
        together = np.zeros(len(phrases), np.int64)
        np.add.at(together, where, np.concatenate([counts, times]))
        counts = together
    return phrases, counts


def _draw(pairs: NDArray[Any], kept: NDArray[np.uint64], most: int) -> NDArray[Any]:
    """For each of the `kept` phrases, which rise, its pairs with the `most` smallest numbers."""
    drawn = np.empty(0, PAIR)
    for first in range(0, len(pairs) if len(kept) else 0, CHUNK):
        some = np.asarray(pairs[first : first + CHUNK])
        at = np.searchsorted(kept, some["phrase"]).clip(max=len(kept) - 1)
        both = np.concatenate([drawn, some[kept[at] == some["phrase"]]])
        both = both[np.lexsort((both["caption"], both["draw"], both["phrase"]))]
        _, starts, sizes = np.unique(both["phrase"], return_index=True, return_counts=True)
        drawn = both[np.arange(len(both)) - np.repeat(starts, sizes) < most]
    return drawn

"""The prediction files of one benchmark while they are made, by one process or by several."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

from visiglot.errors import VisiglotError
from visiglot.evaluate.answers import picture_id
from visiglot.evaluate.pivoted import OF_ANSWER
from visiglot.evaluate.predictions import prediction_line, read_predictions, write_predictions
from visiglot.evaluate.sharing import Share
from visiglot.types import Example, Prediction

Fields = Mapping[str, object]
"""Those of a prediction that follow from its example, by name."""


def keep_finished(
    paths: Mapping[str, Path], settings_hash: str, asked: Mapping[tuple[str, str], Fields], *, resume: bool
) -> int:
    """Leave in the files what needn't be made again, also of processes that were killed.

    Args:
        asked: by language and id what today's rows say of their examples. An old row that says otherwise (its prompt
            has changed since) is dropped. Rows that aren't asked for today stay, failures among them.

    Returns:
        How many rows of other settings, or of another question, were dropped.
    """
    dropped = 0
    for code, path in paths.items():
        files = [file for file in (path, *_parts(path)) if file.exists()] if resume else []
        old = {row.id: row for file in files for row in read_predictions(file, torn=True)}
        valid = [
            row for row in old.values() if row.settings_hash == settings_hash and _is_of(row, asked.get((code, row.id)))
        ]
        kept = [row for row in valid if row.error is None or (code, row.id) not in asked]
        dropped += len(old) - len(valid)
        write_predictions(kept, path)
        for part in _parts(path):
            part.unlink()
    return dropped


def _is_of(row: Prediction, example: Fields | None) -> bool:
    """Whether a row says the same of its example as is said today; true where it isn't asked for today."""
    if example is None:
        return True
    row = replace(row, facts={name: value for name, value in row.facts.items() if name not in OF_ANSWER})
    return all(getattr(row, name) == value for name, value in example.items())


def own_share(waiting: Sequence[tuple[str, Example]], share: Share) -> list[tuple[str, Example]]:
    """This process's share: all questions about every so manieth picture, or example without one."""
    places: dict[tuple[str, ...], int] = {}
    keys = [pictures_of(example) or (example.id,) for _, example in waiting]
    for key in keys:
        places.setdefault(key, len(places))
    return [row for row, key in zip(waiting, keys, strict=True) if places[key] % share.world == share.rank]


def part_of(path: Path, share: Share) -> Path:
    """Where a process writes: the file itself when it is alone."""
    return path if share.world == 1 else path.with_name(f"{path.name}.part{share.rank}")


def append_to(path: Path) -> IO[str]:
    try:
        return path.open("a", encoding="utf-8", newline="\n")
    except OSError as error:
        raise _cannot_write(path, error) from error


def write_row(file: IO[str], prediction: Prediction, path: Path) -> None:
    try:
        file.write(prediction_line(prediction))
        file.flush()
    except OSError as error:
        raise _cannot_write(path, error) from error


def put_together(
    paths: Mapping[str, Path],
    examples: Mapping[str, Sequence[Example]],
    done: Mapping[tuple[str, str], Prediction],
) -> None:
    """Put each file in the benchmark's order, answers outside today's limit behind."""
    for code, path in paths.items():
        first = [example.id for example in examples[code]]
        asked = set(first)
        rest = sorted(id for language, id in done if language == code and id not in asked)
        write_predictions([done[code, id] for id in (*first, *rest)], path)
        for part in _parts(path):
            part.unlink()


def read_parts(path: Path) -> list[Prediction]:
    """The rows that several processes made for a file."""
    return [row for part in _parts(path) for row in read_predictions(part)]


def _parts(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{glob.escape(path.name)}.part*"))


def pictures_of(example: Example) -> tuple[str, ...]:
    return tuple(map(picture_id, example.images))


def _cannot_write(path: Path, error: OSError) -> VisiglotError:
    return VisiglotError(
        f"{path} can't be written: {error.strerror or error}",
        hint="Free some space and run the same command with --resume; what is there is kept.",
    )

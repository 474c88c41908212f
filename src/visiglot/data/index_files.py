"""Indexes on disk: kept in the cache under what they follow from, and there whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visiglot.config import cache_dir
from visiglot.data.paths import check_path
from visiglot.errors import DataError

DONE = "done"
"""The file that an index is whole with."""

PARTIAL = ".partial"
STALE = 24 * 3600
"""Seconds after which a partial index is nobody's."""


def index_folder(what: str, files: Sequence[Path], identity: Mapping[str, Any], build: Callable[[Path], None]) -> Path:
    """The folder of an index, which `build` fills the first time.

    Args:
        what: what messages call it.
        files: files and folders that it follows from, told from others by path, size and time of change.
        identity: what else it follows from; JSON.
        build: writes into the folder that it is given.

    Raises:
        DataError: a file can't be read, the index can't be written, or what `build` raises.
    """
    folder = cache_dir() / "index" / fingerprint(files, identity)
    if (folder / DONE).is_file():
        return folder
    part = folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder.parent)
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=PARTIAL, dir=folder.parent))
        build(part)
        (part / DONE).touch()
        try:
            os.replace(part, folder)
        except OSError:
            if not (folder / DONE).is_file():  # else another process was faster
                raise
    except OSError as error:
        raise DataError(
            f"the index of {what} can't be written below {folder.parent}: {error.strerror or error}",
            hint="Free some space, or name another cache in VISIGLOT_CACHE.",
        ) from error
    finally:
        if part != folder:
            shutil.rmtree(part, ignore_errors=True)
    return folder


def _sweep(folder: Path) -> None:
    """Remove what builds that were killed have left, a day later."""
    for left in folder.glob(f".*{PARTIAL}"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > STALE:
                shutil.rmtree(left, ignore_errors=True)


def mapped(path: Path, kind: Any) -> NDArray[Any]:
    """The numbers of a file as they lie on disk."""
    return np.memmap(path, kind, "r") if path.stat().st_size else np.empty(0, kind)


def fingerprint(files: Sequence[Path], identity: Mapping[str, Any] | None = None) -> str:
    """By which files are told from others, and from what they were: path, size and time of change.

    Args:
        files: files and folders.
        identity: what else is to be told apart; JSON.

    Raises:
        DataError: a file isn't there, or can't be read.
    """
    found = []
    for path in files:
        try:
            status = path.stat()
        except FileNotFoundError as error:
            raise DataError(f"there is no file {path}", hint=check_path(path)) from error
        except OSError as error:
            raise DataError(
                f"{path} can't be read: {error.strerror or error}", hint="Check its permissions and its disk."
            ) from error
        found.append([str(path.absolute()), status.st_size, status.st_mtime_ns])
    text = json.dumps({"files": found, **(identity or {})}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]

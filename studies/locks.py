"""Locks between processes, which end with the process that holds them."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator

from visiglot.config import cache_dir


@contextlib.contextmanager
def locked(name: str, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock `name` of this cache. Yields whether it is held: without `wait`, not if another process has it."""
    path = cache_dir() / "studies" / "locks" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True

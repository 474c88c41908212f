"""The process's memory: its peak, and giving back what it holds and doesn't use."""

from __future__ import annotations

import ctypes
import resource
import sys
from functools import cache


def peak_memory_mb() -> int:
    """Largest resident size of this process so far, in MB (getrusage: kB on Linux, bytes on macOS)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))


def release_memory() -> None:
    """Have the C library return free pages to the system, where it can (glibc).

    Training steps of every shape, and weights that something smaller took the place of, leave holes of every size
    between what lives, so on a CPU the process keeps growing.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> ctypes._NamedFuncPointer | None:
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)

"""A process gives back what it doesn't use, and knows its peak."""

import os
import sys
from pathlib import Path

import pytest

from visiglot.memory import peak_memory_mb, release_memory


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc can be asked")
def test_pages_between_what_lives_are_given_back() -> None:
    blocks = [bytearray(60_000) for _ in range(4000)]  # below the size that malloc maps by itself
    kept = blocks[::50]
    del blocks
    before = resident_mb()
    release_memory()
    assert before - resident_mb() > 150
    assert len(kept) == 80


def test_the_peak_is_no_smaller_than_what_is_held() -> None:
    assert peak_memory_mb() >= 30

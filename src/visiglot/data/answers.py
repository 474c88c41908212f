"""What is asked of several answers to one question."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def most_given(answers: Sequence[str]) -> str:
    """The answer that is there most often, of equals the first. There must be one."""
    return Counter(answers).most_common(1)[0][0]

"""Repetition in a text: phrases that follow one another over and over, and phrases that come back again and again."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

LONGEST_UNIT = 60
"""Characters of a phrase that `loop_in` sees following itself."""

_SIGNS = 3
"""Times as long must loops be that have no letter in them: rows of dots, dashes and digits are common."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A phrase that follows itself.

    Args:
        unit: the phrase, in lower case.
        times: how often it stands there in a row.
    """

    unit: str
    times: int


def loop_in(text: str, times: int, characters: int) -> Loop | None:
    """The longest loop of a text; None: it has none.

    Args:
        times: in a row that a phrase must be there.
        characters: that all of it together must have.
    """
    found = [
        Loop(match[1].strip() or match[1], len(match[0]) // len(match[1]))
        for match in _loops(times).finditer(f"{_folded(text)} ")
        if len(match[0]) >= characters * (1 if any(map(str.isalpha, match[1])) else _SIGNS)
    ]
    return max(found, key=lambda loop: (loop.times * len(loop.unit), loop.unit), default=None)


def repeated_share(text: str, characters: int) -> float:
    """Share, 0 to 1, of a text's stretches of so many characters, spaces not counted, that were there before."""
    plain = _folded(text).replace(" ", "")
    count = len(plain) - characters + 1
    if count < 2:
        return 0.0
    return 1 - len({plain[first : first + characters] for first in range(count)}) / count


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def _loops(times: int) -> re.Pattern[str]:
    return re.compile(rf"(.{{1,{LONGEST_UNIT}}}?)\1{{{times - 1},}}", re.DOTALL)

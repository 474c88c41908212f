"""Whether the numbers of a text are in its translation, in any script's digits and with any language's separators."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from decimal import Decimal
from functools import reduce
from operator import or_

Values = tuple[Decimal, ...]

_JOINT = r"[.,:٫٬'’\u00a0\u202f]|(?<=[٠-٩۰-۹])/(?=[٠-٩۰-۹])| (?=\d{3}(?!\d))"
_NUMBER = re.compile(rf"\d+(?:(?:{_JOINT})\d+)*")
_DIGITS = re.compile(r"\d+")
_AFTERNOON = re.compile(r"[\s\u00a0\u202f]?[pP](?:\.[\s\u00a0\u202f]?)?[mM](?![^\W_])")
_MORNING = re.compile(r"[\s\u00a0\u202f]?[aA](?:\.[\s\u00a0\u202f]?)?[mM](?![^\W_])")
"""What may follow the hour of a clock of twelve."""

_POINTS = frozenset(".,٫/")
"""What may stand before decimals."""


def lost_numbers(original: str, translated: str) -> list[str]:
    """The numbers of a text, as they stand there, that its translation doesn't have as often.

    3.5 is also 3,5 and ٣٫٥, 1,000 is also 1.000 and 1 000, 3:30 is also 15:30, 12:00 is also 12, 7 p.m. is also 19,
    5/1/2020 is also 1.5.2020. A number that became a word, or was counted in other units (2 million, 200万), is lost.
    """
    there = [_in_place(found) for found in _NUMBER.finditer(translated)]
    missing = []
    for found in _NUMBER.finditer(original):
        wanted = _in_place(found)
        same = next((one for one in there if not wanted.isdisjoint(one)), None)
        if same is None:
            missing.append(found)
        else:
            there.remove(same)
    single: Counter[Decimal] = Counter()
    for one in there:
        single += reduce(or_, map(Counter, one))
    lost = []
    for found in missing:
        parts = map(Counter, sorted(_in_place(found), key=len, reverse=True))
        needed = next((values for values in parts if values <= single), None)
        if needed is None:
            lost.append(found[0])
        else:
            single -= needed
    return lost


def _in_place(found: re.Match[str]) -> set[Values]:
    """All that a number may mean where it stands: before p.m. an hour is also twelve hours later."""
    readings = _readings(found[0])
    hours = [values for values in readings if len(values) <= 2 and values[0] == int(values[0]) and 0 < values[0] <= 12]
    if _AFTERNOON.match(found.string, found.end()):
        readings |= {(values[0] + 12, *values[1:]) for values in hours if values[0] < 12}
    elif _MORNING.match(found.string, found.end()):
        readings |= {(Decimal(0), *values[1:]) for values in hours if values[0] == 12}
    return readings


def _readings(found: str) -> set[Values]:
    """All that a number may mean: one value, or several that belong together."""
    groups = ["".join(str(unicodedata.decimal(c)) for c in group) for group in _DIGITS.findall(found)]
    values = tuple(map(Decimal, groups))
    joints = _DIGITS.split(found)[1:-1]
    if not joints:
        return {values}
    readings: set[Values] = set()
    if _are_thousands(groups, joints):
        readings.add((Decimal("".join(groups)),))
    last = joints[-1]
    if last in _POINTS and joints.count(last) == 1 and (len(joints) == 1 or _are_thousands(groups[:-1], joints[:-1])):
        readings.add((Decimal(f"{''.join(groups[:-1])}.{groups[-1]}"),))
    time = len(groups) == 2 and len(groups[1]) == 2
    if not readings or joints[0] in (":", "/", " ") or (joints[0] == "." and time):
        readings.add(values)
    if joints[0] == ":" and time and values[0] < 12:
        readings.add((values[0] + 12, values[1]))
    if joints[0] == ":" and time and not values[1]:
        readings |= {one[:1] for one in readings if len(one) == 2}
    return readings


def _are_thousands(groups: list[str], joints: list[str]) -> bool:
    """Whether groups of digits are one number: 1,234,567, and 12,34,567 as in India."""
    if not joints:
        return True
    inner = all(len(group) in (2, 3) for group in groups[1:-1])
    return (
        len(set(joints)) == 1
        and joints[0] not in (":", "/", "٫")
        and 1 <= len(groups[0]) <= 3
        and groups[0] != "0"
        and len(groups[-1]) == 3
        and inner
    )

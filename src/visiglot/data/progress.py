"""Word of long work on data, for whoever wants to show it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

EVERY = 5.0
"""Seconds between two words."""

_SAY: ContextVar[Callable[[str], None] | None] = ContextVar("say", default=None)


@contextmanager
def telling(say: Callable[[str], None]) -> Iterator[None]:
    """Within this context, long work on data tells `say` how far it is."""
    token = _SAY.set(say)
    try:
        yield
    finally:
        _SAY.reset(token)


class Progress:
    """Counts units of work; says so every few seconds, and at the end if it said so before.

    Args:
        what: begins each line.
        unit: what is counted.
        total: how many there are, where that is known; the time that is left is said then.
        about: says more, at the end of the line.
    """

    def __init__(
        self, what: str, unit: str, total: int | None = None, *, about: Callable[[], str] | None = None
    ) -> None:
        self.what = what
        self.unit = unit
        self.total = total
        self.about = about
        self.count = 0
        self._began = self._said = time.monotonic()
        self._loud = False

    def advance(self, units: int = 1) -> None:
        """Count units that are done."""
        self.count += units
        self.look()

    def look(self) -> None:
        """Say how far it is, if it's time: also between two units that take long."""
        if time.monotonic() - self._said > EVERY:
            self._loud = True
            self._say()

    def done(self) -> None:
        if self._loud:
            self._say()

    def _say(self) -> None:
        self._said = time.monotonic()
        say = _SAY.get()
        if say is not None:
            rate = self.count / max(self._said - self._began, 1e-9)
            of = f" of {self.total:,}" if self.total is not None else ""
            shown = f"{rate:,.0f}" if rate >= 10 or not rate else f"{rate:.2g}"
            more = [self.about()] if self.about is not None else []
            if self.total is not None and rate and self.count < self.total:
                more.append(f"{_spoken((self.total - self.count) / rate)} left")
            say(", ".join([f"{self.what}: {self.count:,}{of} {self.unit}, {shown} a second", *more]))


def _spoken(seconds: float) -> str:
    """A time in the unit that suits it: "40 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

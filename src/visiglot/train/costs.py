"""Losses of rows, summed by language and task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Cost:
    """Sums over rows."""

    loss: float = 0.0
    tokens: int = 0
    examples: int = 0

    def add(self, other: Cost) -> None:
        self.loss += other.loss
        self.tokens += other.tokens
        self.examples += other.examples

    @property
    def mean(self) -> float:
        """Loss of a supervised token."""
        return self.loss / self.tokens


@dataclass
class Costs:
    """What held-out examples cost.

    Args:
        cells: by (language, task).
        left_out: reason -> examples that couldn't be used.
        seconds: that it took.
    """

    cells: dict[tuple[str, str], Cost] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def add(self, language: str, task: str, cost: Cost) -> None:
        self.cells.setdefault((language, task), Cost()).add(cost)

    def overall(self) -> Cost:
        """All cells together."""
        found = Cost()
        for cost in self.cells.values():
            found.add(cost)
        return found

    def by_language(self) -> Mapping[str, Cost]:
        """FLORES-200 code -> cost, sorted."""
        return self._by(0)

    def by_task(self) -> Mapping[str, Cost]:
        """Task -> cost, sorted, without the examples of no task."""
        return {task: cost for task, cost in self._by(1).items() if task}

    def describe_left_out(self) -> str:
        """How many were left out for each reason; "" where none were."""
        return ", ".join(f"{count:,} {reason}" for reason, count in sorted(self.left_out.items()))

    def _by(self, part: int) -> dict[str, Cost]:
        found: dict[str, Cost] = {}
        for key, cost in sorted(self.cells.items()):
            found.setdefault(key[part], Cost()).add(cost)
        return dict(sorted(found.items()))

"""How numbers are written in a report's tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from visiglot.evaluate.comparisons import KINDS, Comparison
from visiglot.evaluate.means import GroupMean
from visiglot.evaluate.parts import PartScore
from visiglot.evaluate.report.numbers import Gap, ModelResult, Report, Result
from visiglot.evaluate.summary import mean_value
from visiglot.sheet import format_value
from visiglot.types import Score

NONE = "–"


def with_interval(found: Score | GroupMean | Comparison | PartScore, *, percent: bool) -> str:
    """ "41.3 % (39.0–43.5)"; the value alone where nothing is known of its spread."""
    return _spread(found.value, found.low, found.high, percent=percent)


def _spread(value: float, low: float, high: float, *, percent: bool) -> str:
    shown = format_value(value, percent=percent)
    if not (math.isfinite(low) and math.isfinite(high)):
        return shown
    ends = (format_value(end, percent=percent).removesuffix(" %") for end in (low, high))
    return f"{shown} ({(' to ' if low < 0 else '–').join(ends)})"


def gap_cell(gap: Gap, *, percent: bool) -> str:
    return _spread(gap.gap, gap.low, gap.high, percent=percent)


def compared_cell(found: Comparison, result: Result) -> str:
    """A comparison in its own unit."""
    unit = KINDS[found.kind].unit
    if unit == "percent":
        return _spread(found.value / 100, found.low / 100, found.high / 100, percent=True)
    percent = unit in ("ratio", "share") or (unit == "metric" and result.percent)
    return with_interval(found, percent=percent)


def name_of(result: Result, report: Report) -> str:
    """The benchmark with its prompt set, and the task where the benchmark has several."""
    key = result.key
    same = (other.key for other in report.results)
    tasks = {k.task for k in same if (k.benchmark, k.prompt_set) == (key.benchmark, key.prompt_set)}
    return f"{key.benchmark} ({key.prompt_set})" + (f": {key.task}" if len(tasks) > 1 else "")


def metric_of(result: Result) -> str:
    """The metric and what is done to both texts before it compares them."""
    return f"{result.key.metric}, tokenisation {result.key.tokenisation}"


def several(report: Report) -> bool:
    """Whether rows must say whose they are."""
    return len(report.models) > 1


def model_column(report: Report) -> tuple[str, ...]:
    return ("model",) if several(report) else ()


def model_cell(report: Report, model: ModelResult) -> tuple[str, ...]:
    return (model.model,) if several(report) else ()


def total(scores: Mapping[str, Score], count: str) -> str:
    """The sum over languages of `n` or `undetermined`."""
    return f"{sum(getattr(score, count) for score in scores.values()):,}"


def failed(scores: Iterable[Score]) -> str:
    """How many answers failed: "3"; "3 + ?" where answers may be lacking unseen."""
    own = list(scores)
    return f"{sum(score.missing for score in own):,}" + (" + ?" if any(score.unchecked for score in own) else "")


def mean_share(scores: Mapping[str, Score], codes: Sequence[str] | None = None) -> str:
    """The mean over languages, each counting alike, of a share; a dash where there is none."""
    chosen = [score for code, score in scores.items() if codes is None or code in codes]
    return format_value(mean_value(chosen), percent=True)


def fidelity_cell(model: ModelResult, codes: Sequence[str]) -> str:
    """The share of answers that are in the language; of references in brackets, which is what the identifier can do."""
    told = mean_share(model.fidelity, codes)
    return told if told == NONE else f"{told} ({mean_share(model.identified, codes).removesuffix(' %')})"

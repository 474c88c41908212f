"""`report.json`: the numbers of a report for programs. docs/evaluate.md has the schema."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, fields
from typing import Any

from visiglot.evaluate.report.numbers import Report
from visiglot.evaluate.summary import Key

FORMAT = 1
"""Raised when a field changes its name or meaning, not when one is added."""

_KEY = frozenset(field.name for field in fields(Key))


def report_json(report: Report) -> str:
    """The report's numbers as JSON; what wasn't measured is null. What a result measures is said once, in its `key`."""
    values = {"format": FORMAT, **asdict(report)}
    values["results"] = [{**result, **_bare(result, ("models", "differences"))} for result in values["results"]]
    return json.dumps(_finite(values), ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def _bare(result: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: _without_key(result[name]) for name in names}


def _without_key(value: Any) -> Any:
    """Scores, means and comparisons, at any depth, less what they have in common with their result; a score's language
    too, which is its name there."""
    if isinstance(value, dict):
        repeated = _KEY | {"language"} if value.keys() >= _KEY else frozenset()
        return {key: _without_key(one) for key, one in value.items() if key not in repeated}
    if isinstance(value, list | tuple):
        return [_without_key(one) for one in value]
    return value


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

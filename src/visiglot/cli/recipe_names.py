"""Names in a recipe that no table holds, found where the recipe's keys or values aren't right yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from visiglot.cli.recipe_check import Findings
from visiglot.errors import ConfigError

if TYPE_CHECKING:
    from visiglot.config import Recipe
    from visiglot.registry import Registry

EACH = "*"
"""In a path: every item of a list."""


def load_checked(name: str, overrides: Sequence[str]) -> Recipe:
    """`load_recipe`, whose error also has the names that are in no table. Raises what that raises."""
    from visiglot.config import parse_recipe, recipe_values

    values = recipe_values(name, overrides)
    try:
        return parse_recipe(values, where=f"recipe {name}")
    except ConfigError as error:
        raise ConfigError(error.where, [*error.problems, *unknown_names(values)], hint=error.hint) from None


def unknown_names(values: Mapping[str, Any]) -> list[str]:
    """What a recipe's values name that is in no table, a line each; values of another kind are passed over."""
    from visiglot.config.model import SAME

    findings = Findings()
    for pattern, table in _tables():
        for path, name in _at(values, pattern.split(".")):
            if isinstance(name, str) and name != SAME:
                findings.attempt(path, partial(table.get, name))
    return findings.lines


def _tables() -> list[tuple[str, Registry[Any]]]:
    """Where a recipe has names, and the table that each is in."""
    from visiglot.data.source import SOURCES
    from visiglot.data.tasks.table import TASKS
    from visiglot.evaluate.benchmark import BENCHMARKS
    from visiglot.models.connectors import CONNECTORS
    from visiglot.train.objectives import OBJECTIVES

    return [
        ("model.connector.type", CONNECTORS),
        ("data.sources.*.type", SOURCES),
        ("data.sources.*.task", TASKS),
        ("stages.*.data.sources.*.type", SOURCES),
        ("stages.*.data.sources.*.task", TASKS),
        ("stages.*.objective", OBJECTIVES),
        ("evaluate.benchmarks.*", BENCHMARKS),
    ]


def _at(values: Any, keys: Sequence[str], path: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted path, value) of all that lies at `keys`."""
    if not keys:
        yield path, values
        return
    first, *rest = keys
    below = f"{path}." if path else ""
    if first == EACH and isinstance(values, list):
        for number, item in enumerate(values):
            yield from _at(item, rest, f"{below}{number}")
    elif first != EACH and isinstance(values, dict) and first in values:
        yield from _at(values[first], rest, f"{below}{first}")

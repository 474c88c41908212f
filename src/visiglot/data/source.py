"""What a source of examples is, and the table of sources."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from visiglot.errors import ConfigError, nearest
from visiglot.registry import Registry
from visiglot.types import Example

Indices = NDArray[np.integer[Any]]


@runtime_checkable
class Source(Protocol):
    """Examples by number; in which order they are drawn is decided by the mixture."""

    @property
    def name(self) -> str:
        """What tables and messages call it."""

    @property
    def by_language(self) -> Mapping[str, Indices]:
        """FLORES-200 code of the answer -> numbers of its examples [n].

        Only languages that were asked for and that have examples are in it.
        """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Example: ...


SOURCES: Registry[Callable[..., Source]] = Registry(
    "source", modules=("visiglot.data.parquet_source", "visiglot.data.nano.tasks")
)
"""name -> factory(languages=..., seed=..., **options) -> Source."""


def build_source(type_: str, options: Mapping[str, Any], *, languages: Sequence[str], seed: int) -> Source:
    """Make a source of the table.

    Args:
        type_: its name in the table.
        options: what its factory takes besides.
        languages: FLORES-200 codes.
        seed: of whatever the source draws itself.

    Raises:
        UnknownNameError: no such source.
        ConfigError: options that it doesn't take, or that it needs and are missing.
        DataError: its files can't be used.
    """
    factory = SOURCES.get(type_)
    parameters = inspect.signature(factory).parameters
    own = {name: p for name, p in parameters.items() if name not in ("languages", "seed")}
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in own.values())
    problems = []
    for name in options:
        if name not in own and not open_ended:
            close = nearest(name, own)
            known = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(own) or 'none'}"
            problems.append(f"options.{name}: no such key; {known}")
    for name, parameter in own.items():
        required = parameter.default is inspect.Parameter.empty and parameter.kind is not inspect.Parameter.VAR_KEYWORD
        if required and name not in options:
            problems.append(f"options.{name}: is missing")
    if problems:
        raise ConfigError(f"source {type_}", problems)
    return factory(languages=tuple(languages), seed=seed, **options)


def describe(source: Source) -> str:
    """One line: how many examples in how many languages, the largest and the smallest."""
    counts = sorted(((len(indices), code) for code, indices in source.by_language.items()), reverse=True)
    if not counts:
        return f"{source.name}: {len(source):,} examples, none in the languages asked for"
    most, least = counts[0], counts[-1]
    return (
        f"{source.name}: {sum(count for count, _ in counts):,} examples in {len(counts)} "
        f"language{'' if len(counts) == 1 else 's'} ({most[1]} {most[0]:,} … {least[1]} {least[0]:,})"
    )

"""What a source of examples is, and the table of sources."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, get_type_hints, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, core_schema

from visiglot.errors import ConfigError, UnknownNameError, nearest
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


@runtime_checkable
class ByFact(Protocol):
    """A source whose facts may be in other languages than their examples, as answers that stay English are."""

    def by_language_of(self, fact: str) -> Mapping[str, Indices]:
        """`by_language`, by the language of a fact."""


@runtime_checkable
class HasIds(Protocol):
    """A source that can say all ids without making its examples."""

    def ids(self) -> Sequence[str]:
        """Of each example, by its number."""


@runtime_checkable
class FromFiles(Protocol):
    """A source that is read from files."""

    @property
    def files(self) -> Sequence[Path]:
        """Files and folders that its examples follow from; not those of pictures."""


@runtime_checkable
class LeavesOut(Protocol):
    """A source, or a task, that says what isn't in its `by_language` though its language was asked for."""

    @property
    def left_out(self) -> Mapping[str, int]:
        """Reason -> examples."""


SOURCES: Registry[Callable[..., Source]] = Registry(
    "source",
    modules=(
        "visiglot.data.parquet_source",
        "visiglot.data.nano.tasks",
        "visiglot.data.nano.lettered",
        "visiglot.data.sources",
    ),
)
"""name -> factory(languages=..., seed=..., **options) -> Source. Options are checked against its annotations."""


class OneOf:
    """Annotation of a factory's argument, `Annotated[str, OneOf("task", names)]`: it must be one of the names.

    Args:
        kind: what the names are called in messages.
        names: gives them, when an option is checked.
    """

    def __init__(self, kind: str, names: Callable[[], Iterable[str]]) -> None:
        self.kind = kind
        self.names = names

    def check(self, value: str) -> str:
        """`value`. Raises ValueError, as pydantic wants it, with the nearest names."""
        known = list(self.names())
        if value not in known:
            raise ValueError(str(UnknownNameError(self.kind, value, known)).replace("\n", "; "))
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))


def build_source(type_: str, options: Mapping[str, Any], *, languages: Sequence[str], seed: int) -> Source:
    """Make a source of the table.

    Args:
        type_: its name in the table.
        options: what its factory takes besides.
        languages: FLORES-200 codes.
        seed: of whatever the source draws itself.

    Raises:
        UnknownNameError: no such source.
        ConfigError: options that it doesn't take, that are of another kind, or that it needs and are missing.
        DataError: its files can't be used.
    """
    problems = option_problems(type_, options)
    if problems:
        raise ConfigError(f"source {type_}", problems)
    return SOURCES.get(type_)(languages=tuple(languages), seed=seed, **options)


def option_problems(type_: str, options: Mapping[str, Any]) -> list[str]:
    """What is wrong with the options of a source, a line each; no data is opened.

    Raises:
        UnknownNameError: no such source.
    """
    return factory_problems(SOURCES.get(type_), options, given=("languages", "seed"))


def factory_problems(
    factory: Callable[..., Any], options: Mapping[str, Any], *, given: Sequence[str], where: str = "options"
) -> list[str]:
    """What is wrong with the options of a table's factory, a line each, by its signature and annotations.

    Args:
        given: arguments that aren't options.
        where: the section that the options are in, as messages call it.
    """
    parameters = inspect.signature(factory).parameters
    own = {name: p for name, p in parameters.items() if name not in given}
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in own.values())
    kinds = get_type_hints(factory, include_extras=True)
    problems = []
    for name, value in options.items():
        if name in own:
            problems += [f"{where}.{name}{problem}" for problem in _problems(kinds.get(name, Any), value)]
        elif not open_ended:
            close = nearest(name, own)
            known = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(own) or 'none'}"
            problems.append(f"{where}.{name}: no such key; {known}")
    for name, parameter in own.items():
        required = parameter.default is inspect.Parameter.empty and parameter.kind is not inspect.Parameter.VAR_KEYWORD
        if required and name not in options:
            choice = next((one for one in getattr(kinds.get(name), "__metadata__", ()) if isinstance(one, OneOf)), None)
            problems.append(f"{where}.{name}: is missing" + (f"; one of {', '.join(choice.names())}" if choice else ""))
    return problems


def _problems(kind: Any, value: Any) -> list[str]:
    """Where below the option, and what: ": input should be a valid integer, found 'ten'"."""
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        lines = []
        for item in error.errors(include_url=False):
            where = "".join(f".{key}" for key in item["loc"] if isinstance(key, int))
            message = item["msg"].removeprefix("Value error, ")
            found = "" if item["type"] == "value_error" else f", found {item['input']!r}"
            lines.append(f"{where}: {message[:1].lower()}{message[1:]}{found}")
        return lines
    return []


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

"""What a recipe's data come to, counted before any work: who is to be translated into what, and what stages draw.

A source whose files aren't there counts with the number of examples that the recipe states.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from visiglot.config import DataSection, SourceSection
from visiglot.data.adapter import FORMATS
from visiglot.data.allocation import allocate
from visiglot.data.holdout import held, held_out
from visiglot.data.licences import LeftOut, left_out, permitted
from visiglot.data.mixture import plan_draws, refuse_empty, refuse_used_up, unique
from visiglot.data.opening import allocation_of, asked_of, awaits_translation, open_raw, rows_left_out, with_task
from visiglot.data.source import SOURCES
from visiglot.errors import DataError
from visiglot.languages import ENGLISH, language

ITS_OWN = ""
"""In place of a language: those of a source that isn't there and has languages of its own."""


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """One source of a data section.

    Args:
        name: of the source, told apart from its namesakes.
        opened: whether its files were there; otherwise `examples` is what the recipe states.
        examples: that it has in the languages asked for.
        counts: FLORES-200 code -> examples once it is translated; or ITS_OWN -> all of them.
        rows_left_out: reason -> rows that the licence leaves out, or that the task can't be set for.
        held_out: FLORES-200 code -> examples that are held out, where they are known.
    """

    name: str
    section: SourceSection
    opened: bool
    translated: bool
    examples: int
    counts: Mapping[str, int]
    rows_left_out: Mapping[str, int] = field(default_factory=dict)
    held_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class DataPlan:
    """The sources of a data section that may be used, and those that may not."""

    data: DataSection
    sources: tuple[SourcePlan, ...]
    left_out: tuple[LeftOut, ...]

    def draws(self, total: int, seed: int) -> dict[tuple[str, str], int]:
        """(name of the source, language) -> draws, 0 for what is asked of a source and isn't there."""
        left = [
            {c: n - source.held_out.get(c, held(n, self.data.holdout)) for c, n in source.counts.items()}
            for source in self.sources
        ]
        found = plan_draws(self.data, left, total, seed)
        table = {(source.name, code): 0 for source in self.sources for code in source.counts}
        return table | {(self.sources[number].name, code): count for (number, code), count in found.items()}


def plan_data(data: DataSection, seed: int) -> DataPlan:
    """Count what a data section holds.

    Args:
        seed: of the sources' own draws.

    Raises:
        DataError, ConfigError, UnknownNameError: as opening the sources does; but files may be missing of a source
            whose number of examples is stated.
    """
    allowed = permitted(data)
    found = [_plan_source(section, allowed, seed) for section in allowed.sources]
    names = unique([plan.name for plan in found])
    named = tuple(replace(plan, name=name) for name, plan in zip(names, found, strict=True))
    return DataPlan(allowed, named, tuple(left_out(data)))


def label(section: SourceSection) -> str:
    """What a source is called that isn't opened."""
    name = str(section.options.get("name") or section.type)
    return f"{name}/{section.task}" if section.task else name


def _plan_source(section: SourceSection, data: DataSection, seed: int) -> SourcePlan:
    codes = asked_of(section, data)
    waits = awaits_translation(section, data)
    try:
        raw = open_raw(section, data, tuple(dict.fromkeys([ENGLISH, *codes])) if waits else codes, seed)
        source = with_task(raw, section, [ENGLISH, *codes] if waits else codes, seed)
    except DataError:
        if section.examples is None or not missing_files(section):
            raise
        own = {_unopened_language(section, codes): section.examples}
        counts = allocate(allocation_of(section, data), section.examples, codes) if waits else own
        return SourcePlan(label(section), section, False, waits, section.examples, counts)
    refuse_empty(source.name, source, [ENGLISH, *codes] if waits else codes)
    counts = {code: len(source.by_language.get(code, ())) for code in codes}
    english = len(source.by_language.get(ENGLISH, ()))
    examples = sum(counts.values()) + (english if ENGLISH not in codes else 0) * waits
    if waits:
        shared = allocate(allocation_of(section, data), english, codes)
        counts = {code: shared[code] + (count if code != ENGLISH else 0) for code, count in counts.items()}
        return SourcePlan(source.name, section, True, True, examples, counts, rows_left_out(source))
    out = {code: len(places) for code, places in held_out(source, data.holdout).items()}
    refuse_used_up(source.name, {code: count - out.get(code, 0) for code, count in counts.items()})
    return SourcePlan(source.name, section, True, False, examples, counts, rows_left_out(source), out)


def _unopened_language(section: SourceSection, codes: Sequence[str]) -> str:
    """In which of the languages asked for a source's examples are, as far as it is known without its files."""
    if len(codes) == 1:
        return codes[0]
    format, stated = FORMATS.get(section.type), section.options.get("language")
    by_row = format is None or format.own_languages
    if section.options.get("language_column") or (by_row and not stated):
        return ITS_OWN
    code = language(str(stated)).code if stated else ENGLISH
    return code if code in codes else ITS_OWN


def missing_files(section: SourceSection) -> list[Path]:
    """The files and folders among a source's options that aren't there."""
    kinds = typing.get_type_hints(SOURCES.get(section.type), include_extras=True)
    given = [value for name, value in section.options.items() if name == "path" or _is_path(kinds.get(name))]
    texts = [text for value in given for text in ([value] if isinstance(value, str) else value or ())]
    return [path for path in (Path(text).expanduser() for text in texts) if not path.exists()]


def _is_path(kind: Any) -> bool:
    return kind is Path or any(_is_path(inside) for inside in typing.get_args(kind))

"""From a recipe's section to the source that a mixture draws from: built, with its task, within its licence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from visiglot.config import AllocationSection, DataSection, SourceSection
from visiglot.data.allocation import allocation_problems
from visiglot.data.licences import nothing_left, objection
from visiglot.data.source import LeavesOut, Source, build_source, option_problems
from visiglot.errors import ConfigError, LanguageError, UnknownNameError
from visiglot.languages import ENGLISH, resolve

ELSEWHERE = "the task's answer is in a language that isn't asked for"


@runtime_checkable
class ByRow(Protocol):
    """A source whose rows each have a licence of their own."""

    left_out: dict[str, int]
    """Reason -> rows that aren't in `by_language` because of it."""

    def permitting(self, objection: Callable[[str | None, str | None], str | None]) -> Source:
        """The source without the rows that something is said against, by their licence and their engine."""


def asked_of(section: SourceSection, data: DataSection) -> tuple[str, ...]:
    """FLORES-200 codes that are asked of a source."""
    return resolve(section.languages or data.languages)


def allocation_of(section: SourceSection, data: DataSection) -> AllocationSection:
    """By which policy a source's languages share."""
    chosen = section.allocation or data.allocation
    if chosen is None and data.english_share is not None:
        return AllocationSection(policy="english_share", english=data.english_share)
    return chosen or AllocationSection()


def open_section(section: SourceSection, data: DataSection, languages: Sequence[str], seed: int) -> Source:
    """Open a source as a stage draws from it.

    Args:
        section: the source's.
        data: the section that it is in.
        languages: FLORES-200 codes.
        seed: of what the source and its task draw themselves.

    Raises:
        UnknownNameError: no such source or task.
        ConfigError: an option is wrong.
        DataError: its files can't be used, or none of its rows may be.
    """
    return with_task(open_raw(section, data, languages, seed), section, languages, seed)


def open_raw(section: SourceSection, data: DataSection, languages: Sequence[str], seed: int) -> Source:
    """The same before its task. Raises what `open_section` does."""
    source = build_source(section.type, section.options, languages=languages, seed=seed)
    if data.licence == "commercial" and isinstance(source, ByRow):
        source = source.permitting(objection)
        reasons = rows_left_out(source)
        if reasons and not any(len(indices) for indices in source.by_language.values()):
            raise nothing_left(f"{source.name}: {reason}" for reason in reasons)
    return source


def with_task(source: Source, section: SourceSection, languages: Sequence[str], seed: int) -> Source:
    """The source with the task that its section names, if any. Raises UnknownNameError and ConfigError.

    Args:
        languages: FLORES-200 codes; examples whose answer is in another one, as those of bvqa in English may be, are
            never drawn, and count as left out.
    """
    if section.task is None:
        return source
    from visiglot.data.tasks import tasked

    found = tasked(source, section.task, section.task_options, seed)
    elsewhere = sum(len(indices) for code, indices in found.by_language.items() if code not in languages)
    if elsewhere:
        found.left_out[ELSEWHERE] = elsewhere
    return found


def rows_left_out(source: Source) -> Mapping[str, int]:
    """Reason -> rows that a source leaves out because of their licence or engine, or that its task can't be set for."""
    return source.left_out if isinstance(source, LeavesOut) else {}


def awaits_translation(section: SourceSection, data: DataSection) -> bool:
    """Whether a source's English rows are still to be translated into the languages that are asked for."""
    return section.translate and set(asked_of(section, data)) != {ENGLISH}


def refuse_untranslated(data: DataSection) -> None:
    """Raises ConfigError: a source has to be translated before anything can be drawn from it."""
    waiting = [
        f"sources.{number}: {section.type} is in English and is to be translated (`translate: true`)"
        for number, section in enumerate(data.sources)
        if awaits_translation(section, data)
    ]
    if waiting:
        raise ConfigError(
            "data",
            waiting,
            hint="Translate them first and name the result as a parquet source: `visiglot translate RECIPE` prints the "
            "lines, and `visiglot data plan` says how many go to which language.",
        )


def section_problems(section: SourceSection, data: DataSection) -> list[str]:
    """What is wrong with a source's section, a line each, below its path; no data is opened."""
    problems = []
    try:
        problems += option_problems(section.type, section.options)
    except UnknownNameError as error:
        problems.append(f"type: {_line(error)}")
    if section.task is not None:
        from visiglot.data.tasks import task_problems

        try:
            problems += task_problems(section.task, section.task_options)
        except UnknownNameError as error:
            problems.append(f"task: {_line(error)}")
    elif section.task_options:
        problems.append("task_options: there is no task to take them")
    try:
        codes = asked_of(section, data)
    except LanguageError as error:
        return [*problems, f"languages: {_line(error)}"]
    allocation = allocation_of(section, data)
    if section.allocation is not None:
        problems += [f"allocation.{problem}" for problem in allocation_problems(allocation, codes)]
    if awaits_translation(section, data) and allocation.policy == "size":
        problems.append("allocation.policy: `size` is for sources that have languages of their own")
    return problems


def _line(error: Exception) -> str:
    return str(error).replace("\n", "; ")

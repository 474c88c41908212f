"""What is to be translated: which examples of which source go into which language."""

from __future__ import annotations

import os
import re
import typing
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visiglot.config import AllocationSection, DataSection, Recipe, SourceSection
from visiglot.data.allocation import allocate, assign
from visiglot.data.index_files import fingerprint
from visiglot.data.licences import permitted
from visiglot.data.opening import allocation_of, asked_of, awaits_translation, open_raw, section_problems
from visiglot.data.planning import label
from visiglot.data.source import SOURCES, FromFiles, Source
from visiglot.errors import ConfigError, DataError, TranslationError
from visiglot.languages import ENGLISH

SHARD = 512
"""Examples that are translated, and appear on disk, together."""

Numbers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Job:
    """One source to be translated.

    Args:
        name: of its file.
        source: its examples.
        language: FLORES-200 code of those that are translated.
        translated: other language -> numbers of the examples that are translated into it.
        kept: language -> numbers of the examples in it that stay as they are.
        section: in a recipe, where it is from one.
        root: a folder that all its pictures are below.
    """

    name: str
    source: Source
    language: str
    translated: Mapping[str, Numbers]
    kept: Mapping[str, Numbers]
    section: SourceSection
    root: Path

    @property
    def counts(self) -> dict[str, int]:
        """Language -> examples that it gets."""
        codes = dict.fromkeys([*self.kept, *self.translated])
        return {code: sum(len(part.get(code, ())) for part in (self.kept, self.translated)) for code in codes}

    @property
    def ends(self) -> list[str]:
        """Ids of the first and the last example that are translated, by which another version of a source is known that
        comes from no file."""
        numbers = [number for part in self.translated.values() for number in (part[:1], part[-1:])]
        both = {int(number[0]) for number in numbers if len(number)}
        return [self.source[number].id for number in sorted({min(both), max(both)})] if both else []

    @property
    def files(self) -> str | None:
        """Fingerprint of the files that its source is read from; None: it isn't read from files.

        Raises:
            DataError: one can't be read.
        """
        return fingerprint(self.source.files) if isinstance(self.source, FromFiles) else None

    def shards(self) -> Iterator[Shard]:
        """All its shards, in the order of its file."""
        for translate, part in ((False, self.kept), (True, self.translated)):
            for code, numbers in part.items():
                for number in range(-(-len(numbers) // SHARD)):
                    yield Shard(self.name, code, translate, number, numbers[number * SHARD : (number + 1) * SHARD])


@dataclass(frozen=True, eq=False)
class Shard:
    """Examples of one job for one language.

    Args:
        translate: whether they are translated into it, or are in it already.
        number: among those of the job and language that are treated alike.
    """

    job: str
    language: str
    translate: bool
    number: int
    examples: Numbers

    @property
    def path(self) -> str:
        """Of its files, without their endings, below the folder of shards."""
        return f"{self.job}/{self.language}/{self.number:05d}{'' if self.translate else '.kept'}"


def plan_source(
    source: Source,
    section: SourceSection,
    languages: Sequence[str],
    *,
    allocation: AllocationSection,
    source_language: str = ENGLISH,
    seed: int,
    number: int = 0,
    limit: int | None = None,
    name: str | None = None,
) -> Job:
    """Share a source's examples out among languages.

    Args:
        section: by which it was opened.
        languages: FLORES-200 codes; rows that are in one of them already stay as they are.
        number: of the source among those of a recipe.
        limit: examples of each language of the source that are used at most, evenly spread; None: all.
        name: default: the source's.

    Raises:
        ConfigError: the allocation says nothing of a language.
        DataError: there is nothing to translate.
    """
    found = {code: _some(source.by_language.get(code, ()), limit) for code in {source_language, *languages}}
    indices = found[source_language]
    if not len(indices):
        has = ", ".join(code for code, own in source.by_language.items() if len(own)) or "none"
        raise DataError(
            f"source {source.name} has no examples in {source_language} to translate; it has {has}",
            hint="Name the language of its texts with --source-language, or check its options.",
        )
    counts = allocate(allocation, len(indices), languages)
    languages_of = assign(counts, len(indices), seed, number)
    places = {code: np.zeros(len(indices), dtype=np.bool_) for code in languages}
    for place in range(len(indices)):
        for code in languages_of(place):
            places[code][place] = True
    shared = {code: indices if of.all() else indices[of] for code, of in places.items() if of.any()}
    kept = {code: found[code] for code in languages if code != source_language and len(found[code])}
    if source_language in shared:
        kept = {source_language: shared.pop(source_language), **kept}
    (file,) = file_names([name or source.name])
    return Job(file, source, source_language, shared, kept, section, picture_root(section))


def plan_recipe(recipe: Recipe, *, limit: int | None = None) -> list[Job]:
    """The sources of a recipe, of all its stages, that are to be translated; each once.

    They are shared out as `visiglot data plan` says.

    Raises:
        TranslationError: none is to be translated.
        DataError, ConfigError: a source can't be opened.
    """
    chosen: list[tuple[int, SourceSection, DataSection]] = []
    for data in [recipe.data, *(stage.data for stage in recipe.stages if stage.data is not None)]:
        allowed = permitted(data)
        for number, section in enumerate(allowed.sources):
            if awaits_translation(section, allowed) and not any(_same(section, allowed, *one[1:]) for one in chosen):
                chosen.append((number, section, allowed))
    if not chosen:
        raise TranslationError(
            f"recipe {recipe.name} has no source with `translate: true`",
            hint="Set it for those whose English rows are to be translated.",
        )
    problems = [f"{label(one[1])}: {line}" for one in chosen for line in section_problems(*one[1:])]
    if problems:
        raise ConfigError(f"recipe {recipe.name}", problems)
    names = file_names([label(section) for _, section, _ in chosen])
    jobs = []
    for name, (number, section, data) in zip(names, chosen, strict=True):
        codes = asked_of(section, data)
        raw = open_raw(section, data, tuple(dict.fromkeys([ENGLISH, *codes])), recipe.train.seed)
        allocation = allocation_of(section, data)
        jobs.append(
            plan_source(
                raw,
                section,
                codes,
                allocation=allocation,
                seed=recipe.train.seed,
                number=number,
                limit=limit,
                name=name,
            )
        )
    return jobs


def picture_root(section: SourceSection) -> Path:
    """The folder that all files among a source's options are below; "/" where it has none."""
    kinds = typing.get_type_hints(SOURCES.get(section.type), include_extras=True)
    given = [value for name, value in section.options.items() if name in ("path", "root") or _is_path(kinds.get(name))]
    texts = [str(text) for value in given if value for text in (value if isinstance(value, list) else [value])]
    paths = [Path(os.path.abspath(Path(text).expanduser())) for text in texts]
    folders = [path if path.is_dir() else path.parent for path in paths]
    return Path(os.path.commonpath(folders)) if folders else Path("/")


def _same(section: SourceSection, data: DataSection, other: SourceSection, of: DataSection) -> bool:
    """Whether two sections ask for the same translations."""
    plain = {"weight": 1.0, "examples": None}
    return (
        section.model_copy(update=plain) == other.model_copy(update=plain)
        and asked_of(section, data) == asked_of(other, of)
        and allocation_of(section, data) == allocation_of(other, of)
    )


def _some(indices: Any, limit: int | None) -> Numbers:
    numbers = np.asarray(indices, dtype=np.int64)
    if limit is None or len(numbers) <= limit:
        return numbers
    return numbers[np.arange(limit) * len(numbers) // limit]


def file_names(names: Sequence[str]) -> list[str]:
    """Names of files for things of these names, without an ending. No two are the same, also where capitals and
    composition of letters don't count; those that would be are told apart by a number."""
    taken: set[str] = set()
    chosen = []
    for name in names:
        plain = found = re.sub(r"[^\w.#-]+", "-", unicodedata.normalize("NFC", name)).strip("-.") or "source"
        number = 1
        while found.casefold() in taken:
            number += 1
            found = f"{plain}#{number}"
        taken.add(found.casefold())
        chosen.append(found)
    return chosen


def _is_path(kind: Any) -> bool:
    return kind is Path or any(_is_path(inside) for inside in typing.get_args(kind))

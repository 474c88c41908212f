"""Translation memories: what people have translated comes first, and another engine does the rest."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from visiglot.data.source import OneOf, factory_problems
from visiglot.errors import ConfigError, LanguageError, Notice
from visiglot.languages import language
from visiglot.translate.engine import ENGINES, Engine, Output, Remembering, collected, portions_of
from visiglot.translate.engines.memory_files import Table
from visiglot.translate.engines.memory_index import Memory
from visiglot.translate.store import Store, store_path

EngineName = Annotated[str, OneOf("translation engine", lambda: ENGINES.names())]


class MemoryNotice(Notice):
    """What of a translation memory isn't used."""


@ENGINES.register("memory")
def memory_engine(
    path: Path,
    licence: str = "unknown",
    name: Annotated[str, Field(min_length=1)] | None = None,
    engine: EngineName | None = None,
    engine_options: dict[str, Any] | None = None,
    columns: list[str] | None = None,
    header: bool = True,
    quotes: bool = True,
) -> Engine:
    """An engine that looks texts up.

    Args:
        path: TMX 1.4 (.tmx), or a table with a column a language (.tsv); either may be packed (.gz).
        licence: of the memory.
        name: what provenance records for its texts; default: "memory" and the file's name.
        engine: does what the memory hasn't; None: such texts have no translation.
        engine_options: of that engine.
        columns: of a table: their languages in order, "-" for one to skip; None: the first line names them.
        header: of a table: whether its first line is no row.
        quotes: of a table: whether a field may stand in quotation marks, as in CSV; false: they are text.

    Raises:
        ConfigError: options that don't fit together, or that the other engine doesn't take.
        UnknownNameError: there is no such engine.
    """
    problems = []
    if not header and columns is None:
        problems.append("columns: is missing; without a header they can't be known")
    if engine is None and engine_options:
        problems.append("engine: is missing; engine_options are there")
    if engine is not None:
        problems += factory_problems(ENGINES.get(engine), engine_options or {}, given=(), where="engine_options")
    if problems:
        raise ConfigError("engine memory", problems)
    rest = None if engine is None else ENGINES.get(engine)(**(engine_options or {}))
    table = Table(None if columns is None else tuple(columns), header, quotes)
    return _Remembered(Memory(Path(path), table), name or f"memory {Path(path).name}", licence, rest)


class _Remembered:
    """A text is looked up exactly, but for Unicode's composition and white space; of several units, the first counts.

    What the other engine says is kept in its own store as well, so that a memory that grows costs no translation anew.

    Args:
        own: what the memory is called in provenance.
    """

    def __init__(self, memory: Memory, own: str, licence: str, rest: Engine | None) -> None:
        self.memory = memory
        self.own = own
        self.rest = rest
        self._told: set[str] = set()
        self.name = own if rest is None else f"{own} + {rest.name}"
        licences = [licence] if rest is None else [licence, rest.licence]
        self.licence = " AND ".join(dict.fromkeys(filter(None, licences)))

    @cached_property
    def identity(self) -> str:
        table = self.memory.table
        facts = {
            "engine": "memory",
            "name": self.own,
            "file": self.memory.about.digest,
            "table": [table.columns, table.header, table.quotes],
            "rest": None if self.rest is None else [self.rest.name, self.rest.identity],
        }
        return json.dumps(facts, sort_keys=True)

    def check(self, source: str, targets: Sequence[str]) -> None:
        texts = self.memory.about.texts
        if self.rest is not None:
            self.rest.check(source, targets)
        else:
            for code in (source, *targets):
                if code not in texts:
                    there = ", ".join(f"{known} ({language(known).name})" for known in texts)
                    raise LanguageError(
                        f"language of {self.own}",
                        code,
                        texts,
                        hint=f"It has {there or 'no texts at all'}. Another engine does the rest: engine=NAME.",
                    )
        self._notify(source, targets)

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[Output]:
        return collected(self.portions(list(dict.fromkeys(texts)), source, target), texts)

    def portions(self, texts: Sequence[str], source: str, target: str) -> Iterator[dict[str, Output]]:
        """As `Portioned` says: what the memory has, then the other engine's."""
        own = self._own(texts, source, target)
        if own:
            yield own
        missing = [text for text in texts if text not in own]
        if self.rest is None:
            yield {text: Output(None, reason=f"{self.own} doesn't have it") for text in missing}
        elif missing:
            yield from self._ask(self.rest, missing, source, target)

    def remembered(self, texts: Sequence[str], source: str, target: str) -> dict[str, Output]:
        """As `Remembering` says: what this memory has, then what one behind it has."""
        own = self._own(texts, source, target)
        if not isinstance(self.rest, Remembering):
            return own
        return own | self.rest.remembered([text for text in texts if text not in own], source, target)

    def _own(self, texts: Sequence[str], source: str, target: str) -> dict[str, Output]:
        found = ((text, self.memory.find(text, source, target)) for text in texts)
        return {text: Output(said, engine=self.own) for text, said in found if said is not None}

    def _ask(self, rest: Engine, texts: Sequence[str], source: str, target: str) -> Iterator[dict[str, Output]]:
        with Store(store_path(rest.identity)) as store:
            made = store.find(texts, source, target)
            if made:
                yield _signed(made, rest)
            missing = [text for text in texts if text not in made]
            for said in portions_of(rest, missing, source, target) if missing else ():
                yield _signed(store.add(said, source, target), rest)

    def _notify(self, source: str, targets: Sequence[str]) -> None:
        """Say once what of the memory isn't used, and what it doesn't have."""
        about = self.memory.about
        said = [f"{count:,} {reason}" for reason, count in about.left_out.items()]
        if repeated := about.repeated.get(source, 0):
            said.append(
                f"{repeated:,} texts in {language(source).name} that stood in it before: the first translation counts"
            )
        lacking = [code for code in (source, *targets) if code not in about.texts]
        if lacking:
            said.append(f"nothing in {', '.join(f'{code} ({language(code).name})' for code in lacking)}")
        notice = f"{self.own} has {'; '.join(said)}."
        if said and notice not in self._told:
            self._told.add(notice)
            warnings.warn(notice, MemoryNotice, stacklevel=3)


def _signed(outputs: dict[str, Output], engine: Engine) -> dict[str, Output]:
    return {text: replace(one, engine=one.engine or engine.name) for text, one in outputs.items()}

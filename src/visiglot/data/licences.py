"""What may be used commercially: by the licence of the texts, and by the engine that translated them.

This reads what is written beside the data; it is no legal advice, and says nothing of the pictures' own licences.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from visiglot.config import DataSection, SourceSection
from visiglot.errors import DataError

ALLOWED = (
    "CC0-1.0",
    *(f"CC-BY{alike}-{version}.0" for alike in ("", "-SA") for version in (1, 2, 3, 4)),
    *("public domain", "MIT", "ISC", "Unlicense", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "MPL-2.0"),
    *("ODC-By-1.0", "ODbL-1.0", "PDDL-1.0", "CDLA-Permissive-1.0", "CDLA-Permissive-2.0"),
    *("Unicode-3.0", "Unicode-DFS-2016", "OFL-1.1"),
)
"""SPDX identifiers of licences that allow commercial use and derived works."""

_ALLOWED = frozenset(name.lower() for name in ALLOWED)

_FORBIDDEN = re.compile(r"\bnc\b|non-?\s?commercial|\bresearch\b|\bbabelnet\b")
"""What the names of licences say that forbid it. Any other name is unknown, which counts as forbidden too."""

ENGINES = {
    "facebook/nllb-200-distilled-600M": "CC-BY-NC-4.0",
    "facebook/nllb-200-distilled-1.3B": "CC-BY-NC-4.0",
    "facebook/nllb-200-1.3B": "CC-BY-NC-4.0",
    "facebook/nllb-200-3.3B": "CC-BY-NC-4.0",
    "google/madlad400-3b-mt": "Apache-2.0",
    "google/madlad400-7b-mt": "Apache-2.0",
    "google/madlad400-10b-mt": "Apache-2.0",
    "facebook/m2m100_418M": "MIT",
    "facebook/m2m100_1.2B": "MIT",
    "Helsinki-NLP/opus-mt-en-de": "CC-BY-4.0",
    "Helsinki-NLP/opus-mt-en-fr": "Apache-2.0",
    "Helsinki-NLP/opus-mt-en-mul": "Apache-2.0",
    "Helsinki-NLP/opus-mt-en-nl": "Apache-2.0",
    "Helsinki-NLP/opus-mt-fr-en": "Apache-2.0",
    "Helsinki-NLP/opus-mt-mul-en": "Apache-2.0",
    "Helsinki-NLP/opus-mt-nl-en": "Apache-2.0",
}
"""Licences of translation engines, which their output is taken to be under. One that isn't here is unknown."""

_ENGINES = {alias: text for name, text in ENGINES.items() for alias in (name.lower(), name.lower().partition("/")[2])}

BUILT_IN = dict.fromkeys(("nano", "lettered"), "Unicode-3.0 AND MIT AND CC-BY-4.0 AND CC-BY-SA-4.0")
"""Licences of sources that are no adapter to a file format."""

BY_ROW = ("parquet",)
"""Sources whose rows each say their licence: they are opened before anything is left out."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A source that the asked-for licence leaves out, by its number in `data.sources`, and why."""

    number: int
    section: SourceSection
    reason: str


def engine_licence(engine: str) -> str | None:
    """The licence that an engine's output is taken to be under; None where it isn't known.

    Args:
        engine: as its hub calls it, with or without the owner.
    """
    return _ENGINES.get(engine.lower())


def commercial(licence: str | None, engine: str | None = None) -> bool:
    """Whether texts of this licence, translated by this engine, may be used commercially. What is unknown may not."""
    return objection(licence, engine) is None


def objection(licence: str | None, engine: str | None = None) -> str | None:
    """What speaks against commercial use; None when nothing does.

    Args:
        licence: an SPDX identifier or the words that are used for one; several joined by AND all count.
        engine: that translated the texts, as its hub calls it.
    """
    if licence is None or licence.strip().lower() in ("", "unknown"):
        return "its licence isn't stated"
    parts = re.split(r"\s+and\s+|\s*[+;]\s*", licence.strip(), flags=re.IGNORECASE)
    for part in parts:
        if _FORBIDDEN.search(part.lower()):
            return f"{part} forbids commercial use"
        if part.lower() not in _ALLOWED:
            return f"it isn't known whether {part!r} allows commercial use{_advice(part)}"
    if engine is None:
        return None
    of_engine = engine_licence(engine)
    if of_engine is None and len(parts) > 1:
        return None  # the engine's own is the last part, which is how `visiglot translate` tags its rows
    if of_engine is None:
        return f"translated by {engine}, whose licence isn't known"
    return None if commercial(of_engine) else f"translated by {engine}, which is {of_engine}"


def _advice(part: str) -> str:
    """What to write where a licence that allows it may be meant; "" where none comes to mind."""
    choices = [name for name in map(_meant, re.split(r"\s+or\s+", part, flags=re.IGNORECASE)) if name is not None]
    if not choices:
        return ""
    single = not re.search(r"\sor\s", part, flags=re.IGNORECASE)
    return f" (if it is {choices[0]}, write that)" if single else f" (write the one that you use: {choices[0]})"


def _meant(words: str) -> str | None:
    """The name of the table that only differs in what stands between, "licence" or a missing ".0"."""
    plain = _plain(words)
    return next((_PLAIN[found] for found in (_USUAL.get(plain, plain), f"{plain}0") if found in _PLAIN), None)


def _plain(words: str) -> str:
    """What names share that mean one licence: `The CC BY-SA 4.0 licence` -> `ccbysa40`."""
    text = words.lower().replace("creative commons", "cc").replace("attribution", "by").replace("sharealike", "sa")
    return re.sub(r"\b(the|licen[cs]e|version|international)\b|\bv(?=\d)|[\W_]", "", text)


_PLAIN = {_plain(name): name for name in ALLOWED}

_USUAL = {"cc0": "cc010", "apache": "apache20", "odbl": "odbl10", "odcby": "odcby10"}
"""Names without their number, where there is one only that is in use."""


def section_objection(section: SourceSection) -> str | None:
    """What speaks against using a source commercially, known without opening it.

    Raises:
        UnknownNameError: there is no such source.
    """
    from visiglot.data.adapter import FORMATS
    from visiglot.data.source import SOURCES

    SOURCES.get(section.type)  # fills FORMATS
    if section.type in BY_ROW:
        return None
    own = section.options.get("licence")
    if own is not None:
        return objection(str(own))
    format = FORMATS.get(section.type)
    return objection(BUILT_IN.get(section.type) if format is None else format.licence)


def left_out(data: DataSection) -> list[LeftOut]:
    """The sources that `data.licence` leaves out."""
    if data.licence == "any":
        return []
    found = ((number, section, section_objection(section)) for number, section in enumerate(data.sources))
    return [LeftOut(number, section, reason) for number, section, reason in found if reason is not None]


def permitted(data: DataSection) -> DataSection:
    """The same data without the sources that `data.licence` leaves out.

    Raises:
        DataError: nothing is left.
    """
    out = left_out(data)
    if not out:
        return data
    numbers = {one.number for one in out}
    kept = tuple(section for number, section in enumerate(data.sources) if number not in numbers)
    if not kept:
        raise nothing_left(f"{one.section.type}: {one.reason}" for one in out)
    return data.model_copy(update={"sources": kept})


def nothing_left(reasons: Iterable[str]) -> DataError:
    return DataError(
        f"nothing is left that may be used commercially ({'; '.join(dict.fromkeys(reasons))})",
        hint="Use data.licence=any, or name sources whose licence allows it (`licence` is an option of each).",
    )

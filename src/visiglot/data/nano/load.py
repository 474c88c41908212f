"""The data set as it is in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from visiglot.data.nano.build import CARD, FILES, nano_dir
from visiglot.data.nano.concepts import Concept
from visiglot.data.nano.names import Name
from visiglot.data.nano.settings import load_settings
from visiglot.data.parquet import read_columns
from visiglot.errors import DataError
from visiglot.types import ImageRef


@dataclass(frozen=True, slots=True)
class Picture:
    """One drawing of one concept, with where it comes from."""

    image: ImageRef
    concept: str
    style: str
    source: str
    licence: str


COUNTRY_PREFIX_SHARE = 0.9
"""Share of a language's country flags that must begin alike ("Flagge:") for the rest to count as the country."""


@dataclass(frozen=True, eq=False)
class NanoData:
    """Concepts, their pictures and their names.

    Args:
        concepts: by id, in Unicode's order.
        pictures: by style and concept id; a style may lack concepts.
        names: by language (FLORES code) and concept id; a language may lack concepts.
        words: by language: CLDR's category labels under "label:<category>", and "yes" and "no".
        sources: licence by source, of every row.
        text_only_languages: those of whose image-text pairs none is ever trained on.
    """

    concepts: Mapping[str, Concept]
    pictures: Mapping[str, Mapping[str, Picture]] = field(repr=False)
    names: Mapping[str, Mapping[str, Name]] = field(repr=False)
    words: Mapping[str, Mapping[str, str]] = field(repr=False)
    sources: Mapping[str, str]
    text_only_languages: frozenset[str]

    @property
    def languages(self) -> tuple[str, ...]:
        """FLORES codes of all languages that have names, sorted."""
        return tuple(self.names)

    @property
    def styles(self) -> tuple[str, ...]:
        return tuple(self.pictures)

    @cached_property
    def held_out(self) -> frozenset[str]:
        """Ids of the concepts no picture of which is ever trained on."""
        return frozenset(concept.id for concept in self.concepts.values() if concept.held_out)

    @cached_property
    def countries(self) -> Mapping[str, Mapping[str, str]]:
        """By language: territory by concept of the country flags; empty where the flags' names don't begin alike."""
        flags = [concept.id for concept in self.concepts.values() if concept.subgroup == "country-flag"]
        return {
            language: _countries({id: names[id].text for id in flags if id in names})
            for language, names in self.names.items()
        }


def split_flag(name: str) -> tuple[str, str] | None:
    """ "Flagge: Kenia" -> ("Flagge", "Kenia"); None for a name of another form. The colon may be full width."""
    prefix, colon, country = name.replace("：", ":").partition(":")
    if not colon or not prefix.strip() or not country.strip():
        return None
    return prefix.strip(), country.strip()


def _countries(flags: Mapping[str, str]) -> dict[str, str]:
    parts = {id: part for id, name in flags.items() if (part := split_flag(name))}
    if not parts:
        return {}
    prefix, count = Counter(prefix for prefix, _ in parts.values()).most_common(1)[0]
    if count < COUNTRY_PREFIX_SHARE * len(flags):
        return {}
    return {id: country for id, (own, country) in parts.items() if own == prefix}


def load_nano(folder: Path | None = None) -> NanoData:
    """Read the data set that `build_nano` wrote.

    Args:
        folder: where it is; default `nano_dir()`.

    Raises:
        DataError: it isn't there or can't be read.
        MissingExtraError: pyarrow isn't installed.
    """
    folder = folder or nano_dir()
    if not (folder / CARD).is_file():
        raise DataError(f"the built-in data set isn't in {folder}", hint="`visiglot data nano` fetches and builds it.")
    concepts, pictures, names, words = (_rows(folder / name) for name in FILES)
    by_style: dict[str, dict[str, Picture]] = {}
    for row in pictures:
        name = f"nano/{row['style']}/{row['concept']}"
        image = ImageRef(name, data=row["png"])
        by_style.setdefault(row["style"], {})[row["concept"]] = Picture(
            image, row["concept"], row["style"], row["source"], row["licence"]
        )
    by_language: dict[str, dict[str, Name]] = {}
    for row in names:
        by_language.setdefault(row["language"], {})[row["concept"]] = Name(
            row["name"], tuple(row["keywords"]), row["source"]
        )
    words_of: dict[str, dict[str, str]] = {language: {} for language in by_language}
    for row in words:
        words_of[row["language"]][row["key"]] = row["text"]
    return NanoData(
        concepts={row["id"]: Concept(**{key: row[key] for key in Concept.__slots__}) for row in concepts},
        pictures=by_style,
        names=by_language,
        words=words_of,
        sources={row["source"]: row["licence"] for rows in (concepts, pictures, names, words) for row in rows},
        text_only_languages=load_settings().text_only_languages & by_language.keys(),
    )


@lru_cache(maxsize=1)
def load_nano_once(folder: Path) -> NanoData:
    """`load_nano`, read once in a process: sources and benchmarks on one folder share what is in memory."""
    return load_nano(folder)


def _rows(path: Path) -> list[dict[str, Any]]:
    columns = read_columns(path)
    return [dict(zip(columns, values)) for values in zip(*columns.values())]

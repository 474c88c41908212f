"""What Unicode CLDR calls things: names, keywords and a few words, by language."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visiglot.data.nano.fetch import load_packages, read_members

VARIATION_SELECTOR = "\ufe0f"

_PLACEHOLDER = re.compile(r"^(↑↑↑|E\d+(\.\d+)?[-–]\d+)$")
"""What CLDR writes where a locale has no name: inherited, or the code of a release and a row."""


@dataclass(frozen=True, slots=True)
class Name:
    """What one language calls one emoji; NFC. `source` is the package, "npm:NAME@VERSION"."""

    text: str
    keywords: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True)
class Words:
    """CLDR's own words of a language: labels of categories by key, yes and no. NFC; a missing word isn't in it."""

    labels: Mapping[str, str]
    yes: str | None
    no: str | None


def plain(emoji: str) -> str:
    """`emoji` without the variation selector, as CLDR keys it."""
    return emoji.replace(VARIATION_SELECTOR, "")


def read_names(
    annotations: Path,
    derived: Path,
    *,
    emoji: Collection[str],
    language_of: Callable[[str], str | None],
    least: int,
) -> dict[str, dict[str, Name]]:
    """Names by language (FLORES code) and emoji (without variation selector), for languages with at least `least`.

    Args:
        annotations, derived: tarballs of cldr-annotations-full and cldr-annotations-derived-full.
        emoji: the base emoji that count, without variation selector; only these are returned.
        language_of: CLDR locale -> FLORES code, or None for a locale that isn't read (a regional variant).

    Raises:
        FetchError: a tarball can't be read.
    """
    wanted = frozenset(emoji)
    names: dict[str, dict[str, Name]] = {}
    packages = load_packages()
    for tarball, package in ((annotations, "cldr-annotations-full"), (derived, "cldr-annotations-derived-full")):
        for locale, content in _locales(tarball, "annotations.json"):
            language = language_of(locale)
            if language is None:
                continue
            rows = names.setdefault(language, {})
            for key, row in _annotations(content).items():
                key = plain(key)
                if key in wanted and key not in rows and (name := _name(key, row, packages[package].source)):
                    rows[key] = name
    return {language: rows for language, rows in sorted(names.items()) if len(rows) >= least}


def read_words(misc: Path, *, language_of: Callable[[str], str | None]) -> dict[str, Words]:
    """CLDR's category labels and yes/no by language, from the tarball of cldr-misc-full.

    A locale without words of its own repeats the root locale's, which are English: where all labels, or yes and no
    both, are English's, they are left out (for English they are kept).

    Raises:
        FetchError: the tarball can't be read.
    """
    labels: dict[str, dict[str, str]] = {}
    yes_no: dict[str, tuple[str, str]] = {}
    for locale, content in _locales(misc, "characterLabels.json"):
        if (language := language_of(locale)) is not None:
            found = content["main"][locale].get("characterLabels", {})
            labels.setdefault(language, {key: _nfc(text) for key, text in found.items()})
    for locale, content in _locales(misc, "posix.json"):
        if (language := language_of(locale)) is not None:
            messages = content["main"][locale].get("posix", {}).get("messages", {})
            if "yesstr" in messages and "nostr" in messages:
                yes_no.setdefault(language, (_first(messages["yesstr"]), _first(messages["nostr"])))
    english_labels, english_yes_no = labels.get("eng_Latn"), yes_no.get("eng_Latn")
    words: dict[str, Words] = {}
    for language in sorted(labels.keys() | yes_no.keys()):
        own = labels.get(language, {})
        answer: tuple[str | None, str | None] = yes_no.get(language, (None, None))
        if language != "eng_Latn":
            if own == english_labels:
                own = {}
            if answer == english_yes_no:
                answer = (None, None)
        words[language] = Words({key: text for key, text in sorted(own.items()) if text}, *answer)
    return words


def _locales(tarball: Path, filename: str) -> Iterator[tuple[str, Any]]:
    """(locale, parsed JSON) of every member "<folder>/<locale>/<filename>"."""
    for member, content in read_members(tarball, lambda name: name.endswith(f"/{filename}")):
        yield member.split("/")[-2], json.loads(content)


def _annotations(content: Any) -> dict[str, dict[str, list[str]]]:
    """The emoji rows of an annotations.json, whose outer key differs between the two packages."""
    (outer,) = content.values()
    rows: dict[str, dict[str, list[str]]] = outer.get("annotations", {})
    return rows


def _name(emoji: str, row: Mapping[str, list[str]], source: str) -> Name | None:
    text = _nfc(" ".join(row.get("tts", ())))
    if not text or plain(text) == emoji or _PLACEHOLDER.match(text):
        return None
    keywords = (_nfc(keyword) for keyword in row.get("default", ()))
    return Name(text, tuple(dict.fromkeys(k for k in keywords if k and not _PLACEHOLDER.match(k))), source)


def _first(text: str) -> str:
    """The word of a CLDR yes/no string, whose forms stand behind one another: "ja:j" is "ja"."""
    return _nfc(text.partition(":")[0])


def _nfc(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())

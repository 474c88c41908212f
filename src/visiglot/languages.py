"""The languages that Visiglot knows: one row each in languages.toml.

Inside, a language is its FLORES-200 code and nothing else. Whatever a user, a recipe or a data set calls it (ISO 639
codes of two or three letters, BCP-47 tags, retired codes such as "iw", English names, names in the language itself) is
turned into that code once, at the door, by `language` or `resolve`.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any, Literal

from visiglot.errors import LanguageError, Notice, nearest

ENGLISH = "eng_Latn"
"""Code of the language that prompts, sources and reports fall back on."""

SEGMENTATIONS = {
    "spaces": "words stand between spaces",
    "characters": "no spaces, and each character counts as a word, as CIDEr and BLEU are usually computed for Chinese",
    "dictionary:ja": "no spaces; words by a Japanese dictionary",
    "dictionary:km": "no spaces; words by a Khmer dictionary",
    "dictionary:lo": "no spaces; words by a Lao dictionary",
    "dictionary:my": "no spaces; words by a Burmese dictionary",
    "dictionary:th": "no spaces; words by a Thai dictionary",
    "syllables": "no spaces; syllables end in U+0F0B (tsheg), as in Tibetan",
}
"""The closed set of `Language.segmentation` and what each rule says."""

_REGION = re.compile(r"-([a-z]{2}|[0-9]{3})$")
_SCRIPT = re.compile(r"-([a-z]{4})$")


class LanguageNotice(Notice):
    """An alias was read in one of several possible ways; said once in a process."""


@dataclass(frozen=True, slots=True)
class Language:
    """A row of the table.

    Args:
        code: FLORES-200 style, `<ISO 639-3>_<ISO 15924>`; the only code used inside.
        name: English name, as used in prompts.
        native: the language's own name for itself.
        aliases: other codes and English names, as written in the table.
        script: ISO 15924, the second half of the code.
        direction: of the script.
        segmentation: a key of SEGMENTATIONS.
        tier: class of Joshi et al. 2020, 0 to 5; None where their list doesn't have the language.
        mc4_share: percent of mC4 by mBLIP's table. The rows of one mC4 language (the two of zh, the two of ku) carry
            the same number: normalise over the languages in use.
        mc4_tokens: billions of tokens in mC4, likewise.
        bcp47: for the `lang` attribute of HTML.
        cldr: CLDR locale of the emoji names.
        literals: words for native prompts and answers ("yes", "no", "caption"), only where they are certain.
    """

    code: str
    name: str
    native: str
    aliases: tuple[str, ...]
    script: str
    direction: Literal["ltr", "rtl"]
    segmentation: str
    tier: int | None
    mc4_share: float | None
    mc4_tokens: float | None
    bcp47: str
    cldr: str | None
    literals: Mapping[str, str] = field(hash=False)


@dataclass(frozen=True)
class _Table:
    """The parsed file. `index`: normalised key -> the rows it may mean (several: the key is ambiguous)."""

    rows: Mapping[str, Language]
    index: Mapping[str, tuple[str, ...]]
    notices: Mapping[str, str]
    sets: Mapping[str, tuple[str, ...]]


def all_languages() -> tuple[Language, ...]:
    """Every row, sorted by code."""
    return tuple(_table().rows.values())


def language(code_or_alias: str) -> Language:
    """The row that a code, an alias or a name means.

    Upper and lower case, "-" and "_" are the same. A region is ignored where the table doesn't know the whole tag
    ("de-AT" is "de"), and a script may be added to a bare code ("swa_Latn", "ku-Arab").

    Raises:
        LanguageError: unknown, with the nearest languages, or ambiguous, with the candidates.
    """
    table = _table()
    key, codes = _look_up(code_or_alias)
    if not codes:
        raise _unknown(code_or_alias, with_sets=False)
    if len(codes) > 1:
        error = LanguageError(
            "language", code_or_alias, codes, hint=f"It may be {_listed(codes, 'or')}: write the code."
        )
        error.message = f"{code_or_alias!r} is the name of several languages"
        raise error
    if key in table.notices:
        _notify(table.notices[key])
    return table.rows[codes[0]]


def resolve(spec: str | Iterable[str], *, all_codes: Iterable[str] | None = None) -> tuple[str, ...]:
    """The codes that a list of languages means: in its order, each once.

    Args:
        spec: codes, aliases, names and named sets, separated by commas ("de,sw", "mblip"), or an iterable of such
            strings. A leading "-" takes a language or a set out of what stands before it ("mblip,-yi").
        all_codes: what "all" means, the languages on the model's card.

    Raises:
        LanguageError: an unknown or ambiguous item, an empty list, "all" without `all_codes`, or a "-" that takes
            nothing out.
    """
    items = [item.strip() for part in ([spec] if isinstance(spec, str) else spec) for item in part.split(",")]
    chosen: dict[str, None] = {}
    for item in filter(None, items):
        if not item.startswith("-"):
            chosen.update(dict.fromkeys(_expand(item, all_codes)))
            continue
        taken = [code for code in _expand(item[1:].strip(), all_codes) if code in chosen]
        if not taken:
            raise LanguageError(
                "language to take out", item, chosen, hint=f"{item!r} must follow a set that has {item[1:].strip()!r}."
            )
        for code in taken:
            del chosen[code]
    if not chosen:
        text = ",".join(items)
        raise LanguageError("language", text, sets(), hint="The list is empty: give codes, names or a set, as 'de,sw'.")
    return tuple(chosen)


def literal(code: str, key: str) -> str:
    """The word for `key` ("yes", "no", "caption") in a language.

    Raises:
        LanguageError: the table has no such word; the hint says where to add it.
    """
    row = language(code)
    if key not in row.literals:
        raise LanguageError(
            f"literal of {row.name} ({row.code})",
            key,
            row.literals,
            hint=f"Add `{key}` to the line of {row.code} under [literals] in visiglot/languages.toml.",
        )
    return row.literals[key]


def sets() -> Mapping[str, tuple[str, ...]]:
    """The named sets: name -> codes."""
    return _table().sets


@cache
def _table() -> _Table:
    data = tomllib.loads(resources.files("visiglot").joinpath("languages.toml").read_text(encoding="utf-8"))
    right_to_left = frozenset(data["scripts"]["right_to_left"])
    rows = {
        code: _row(code, row, right_to_left, data["literals"].get(code, {}))
        for code, row in sorted(data["languages"].items())
    }
    index: dict[str, tuple[str, ...]] = {}
    for code, row in rows.items():
        for alias in (code, row.name, row.native, row.bcp47, *row.aliases):
            taken = index.setdefault(_normalised(alias), (code,))
            assert taken == (code,), f"languages.toml: {alias!r} belongs to both {taken[0]} and {code}"
    for alias, codes in data["ambiguous"].items():
        key = _normalised(alias)
        assert key not in index, f"languages.toml: {alias!r} is ambiguous and belongs to {index[key]}"
        index[key] = tuple(codes)
    notices = {_normalised(alias): notice["text"] for notice in data["notices"] for alias in notice["aliases"]}
    named = {name: tuple(codes) for name, codes in data["sets"].items()}
    return _Table(rows, index, notices, MappingProxyType(named))


def _row(code: str, row: dict[str, Any], right_to_left: frozenset[str], words: dict[str, str]) -> Language:
    script = code.partition("_")[2]
    defaults: dict[str, Any] = {"segmentation": "spaces", "tier": None, "mc4_share": None, "mc4_tokens": None}
    values = {**defaults, "cldr": None, **row, "aliases": tuple(row.get("aliases", ()))}
    return Language(
        code=code,
        script=script,
        direction="rtl" if script in right_to_left else "ltr",
        literals=MappingProxyType(words),
        **values,
    )


def _normalised(text: str) -> str:
    """The form in which keys are compared: NFC, lower case, "-" for "_", single spaces."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().replace("_", "-").split())


def _look_up(text: str) -> tuple[str, tuple[str, ...]]:
    """The key under which `text` was found and the codes it may mean; none when it's unknown."""
    table = _table()
    key = _normalised(text)
    if key in table.index:
        return key, table.index[key]
    without_region = _REGION.sub("", key)
    if without_region in table.index:
        return without_region, table.index[without_region]
    script = _SCRIPT.search(without_region)
    if script is None:
        return key, ()
    bare = without_region[: script.start()]
    codes = [code for code in table.index.get(bare, ()) if table.rows[code].script.lower() == script[1]]
    return without_region, tuple(codes)


def _expand(item: str, all_codes: Iterable[str] | None) -> tuple[str, ...]:
    """The codes of one item of a list: a set's, "all"'s, or one language's."""
    key = item.lower()
    if key in sets():
        return sets()[key]
    if key == "all":
        if all_codes is None:
            raise LanguageError(
                "language", item, sets(), hint="'all' is what a model's card lists, and no model is in play here."
            )
        return tuple(language(code).code for code in all_codes)
    if not _look_up(item)[1]:
        raise _unknown(item, with_sets=True)
    return (language(item).code,)


def _unknown(text: str, *, with_sets: bool) -> LanguageError:
    table = _table()
    known = [*table.index, *(table.sets if with_sets else ())]
    hints = []
    if near := [name for name in nearest(_normalised(text), table.sets) if with_sets]:
        hints.append("the set " + " or ".join(map(repr, near)))
    codes = dict.fromkeys(code for key in nearest(_normalised(text), table.index) for code in table.index[key])
    if codes:
        hints.append(_listed(codes, "or"))
    question = f"Did you mean {', or '.join(hints)}? " if hints else ""
    return LanguageError(
        "language or set" if with_sets else "language", text, known, hint=f"{question}`visiglot languages` lists all."
    )


def _listed(codes: Iterable[str], last: str) -> str:
    names = [f"{code} ({_table().rows[code].name})" for code in codes]
    return f" {last} ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


@cache
def _notify(text: str) -> None:
    warnings.warn(text, LanguageNotice, stacklevel=3)

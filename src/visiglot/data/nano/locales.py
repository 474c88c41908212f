"""CLDR locale -> FLORES-200 code, by the language table."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from visiglot.languages import all_languages


@cache
def locale_table() -> Mapping[str, str]:
    """The code of every CLDR locale that the language table names; regional variants aren't in it."""
    return MappingProxyType({row.cldr: row.code for row in all_languages() if row.cldr is not None})


def language_of(locale: str) -> str | None:
    """The FLORES-200 code of a CLDR locale, or None for a regional variant or a language without a row."""
    return locale_table().get(locale)

"""Languages as Wikipedia and BabelNet write them."""

from __future__ import annotations

from functools import cache

from visiglot.errors import LanguageError
from visiglot.languages import language

_OWN = {
    "als": None,  # Alemannic; elsewhere Tosk Albanian
    "ku": "kmr_Latn",
    "sh": None,  # Serbo-Croatian, of which the table has the parts
    "sr": "srp_Cyrl",
    "zh": "zho_Hans",  # both scripts are in use there
    "zh-yue": "yue_Hant",
    "be-x-old": "bel_Cyrl",
    "be-tarask": "bel_Cyrl",
}
"""Codes that mean something else there than elsewhere, or that nobody else has."""


@cache
def wiki_language(code: str) -> str | None:
    """FLORES-200 code of a Wikipedia's language code ("ku", "zh-yue") or of BabelNet's ("KU", "ZH_YUE").

    None: the table of languages doesn't have it.
    """
    key = code.strip().lower().replace("_", "-")
    if key in _OWN:
        return _OWN[key]
    try:
        return language(key).code
    except LanguageError:
        return None

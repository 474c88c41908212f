"""Noun phrases of English captions: by stop words alone, or by a parser of spaCy's where it is installed."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from importlib.resources import files
from typing import Any

from visiglot.errors import DataError, UnknownNameError

Finder = Callable[[Sequence[str]], list[frozenset[str]]]
"""Captions -> the phrases of each, in lower case."""

RAKE = "rake"
SPACY = "spacy:"

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


def phrase_finder(name: str) -> Finder:
    """What finds phrases.

    Args:
        name: "rake", or "spacy:" and the name of an installed model of spaCy's for English ("spacy:en_core_web_sm").

    Raises:
        UnknownNameError: neither of them.
        DataError: spaCy or the model isn't installed, or the model can't find English noun phrases.
    """
    if name == RAKE:
        return between_stop_words
    if name.startswith(SPACY) and name != SPACY:
        return _spacy_chunks(name.removeprefix(SPACY))
    raise UnknownNameError("finder of phrases", name, (RAKE, f"{SPACY}en_core_web_sm"))


def between_stop_words(captions: Sequence[str]) -> list[frozenset[str]]:
    """Runs of words between stop words and punctuation: RAKE's candidates (Rose et al., 2010).

    The verbs that captions are full of end a phrase too, so that these are near to noun phrases. Phrases without a
    letter are left out.
    """
    return [frozenset(_runs(caption)) for caption in captions]


def _runs(caption: str) -> list[str]:
    text = unicodedata.normalize("NFKC", caption).lower()
    runs: list[list[str]] = [[]]
    end = 0
    for match in _WORD.finditer(text):
        if text[end : match.start()].strip():
            runs.append([])
        end = match.end()
        word = match.group().replace("’", "'")
        if _stops(word, "function") or _stops(word, "verbs"):
            runs.append([])
        else:
            runs[-1].append(word)
    return [" ".join(run) for run in runs if any(map(str.isalpha, "".join(run)))]


def _stops(word: str, kind: str) -> bool:
    first, _, rest = word.partition("'")
    return word in _table()[kind] or (bool(rest) and (first in _table()[kind] or word.endswith("n't")))


@cache
def _table() -> dict[str, frozenset[str]]:
    """Kind of stop word -> the words."""
    text = files("visiglot.data").joinpath("phrases.toml").read_text(encoding="utf-8")
    return {kind: frozenset(words.split()) for kind, words in tomllib.loads(text).items()}


def _spacy_chunks(model: str) -> Finder:
    """Noun chunks less their stop words, as mBLIP's filter takes them."""
    hint = f"pip install spacy and `python -m spacy download {model}`, or use --phrases {RAKE}, which needs neither."
    try:
        nlp: Any = import_module("spacy").load(model, exclude=["ner", "lemmatizer"])
    except ModuleNotFoundError as error:
        raise DataError(f"--phrases {SPACY}{model}: spaCy isn't installed", hint=hint) from error
    except OSError as error:
        raise DataError(f"--phrases {SPACY}{model}: spaCy has no such model", hint=hint) from error
    if nlp.lang != "en" or not nlp.has_pipe("parser"):
        raise DataError(
            f"--phrases {SPACY}{model}: finds no English noun phrases: its language is {nlp.lang!r}, its pipes are "
            f"{', '.join(nlp.pipe_names) or 'none'}",
            hint=f"Use a model for English with a parser, such as {SPACY}en_core_web_sm.",
        )

    def find(captions: Sequence[str]) -> list[frozenset[str]]:
        return [frozenset(filter(None, map(_chunk, doc.noun_chunks))) for doc in nlp.pipe(captions)]

    return find


def _chunk(tokens: Any) -> str:
    """A noun chunk's words; "" where no word with a letter is left."""
    words = [token.lower_ for token in tokens if not token.is_punct and not _stops(token.lower_, "function")]
    return " ".join(words) if any(map(str.isalpha, "".join(words))) else ""

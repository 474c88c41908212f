"""Phrases of captions, with and without spaCy."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from visiglot.data.phrases import between_stop_words, phrase_finder
from visiglot.errors import DataError, UnknownNameError


@pytest.mark.parametrize(
    ("caption", "phrases"),
    [
        ("a woman in a red dress standing on the beach", {"woman", "red dress", "beach"}),
        ("A RED Dress.", {"red dress"}),
        ("old stone bridge, green river; boats", {"old stone bridge", "green river", "boats"}),
        ("it's the dog’s well-worn ball", {"dog's well-worn ball"}),
        ("two cats and two cats", {"two cats"}),
        ("a room that doesn't have windows", {"room", "windows"}),
        ("2019 - 24/7", set()),
        ("route 66", {"route 66"}),
        ("ﬁre truck\n café", {"fire truck café"}),
        ("the of and", set()),
        ("", set()),
    ],
)
def test_phrases_stand_between_stop_words_and_punctuation(caption: str, phrases: set[str]) -> None:
    assert between_stop_words([caption]) == [phrases]


def test_every_caption_gets_its_own_phrases_in_order() -> None:
    assert phrase_finder("rake")(["a cat", "", "a dog"]) == [{"cat"}, set(), {"dog"}]


@pytest.mark.parametrize("name", ["rakes", "spacy", "spacy:", ""])
def test_an_unknown_finder_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(UnknownNameError, match="finder of phrases"):
        phrase_finder(name)


def test_without_spacy_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(DataError, match=r"spaCy isn't installed\npip install spacy .*en_core_web_sm.*--phrases rake"):
        phrase_finder("spacy:en_core_web_sm")


@dataclass(frozen=True)
class Token:
    lower_: str
    is_punct: bool = False


class Parser:
    """spaCy's interface: a noun chunk is what stands between bars."""

    def __init__(self, lang: str = "en", pipes: Sequence[str] = ("tagger", "parser")) -> None:
        self.lang = lang
        self.pipe_names = list(pipes)

    def has_pipe(self, name: str) -> bool:
        return name in self.pipe_names

    def pipe(self, texts: Sequence[str]) -> Iterator[SimpleNamespace]:
        for text in texts:
            chunks = [part.split() for part in text.split("|")[1::2]]
            yield SimpleNamespace(
                noun_chunks=[[Token(word.lower(), word == ",") for word in words] for words in chunks]
            )


def install(monkeypatch: pytest.MonkeyPatch, parser: Parser | None) -> None:
    def load(model: str, exclude: Sequence[str]) -> Parser:
        if parser is None:
            raise OSError(f"[E050] Can't find model '{model}'")
        return parser

    monkeypatch.setitem(sys.modules, "spacy", SimpleNamespace(load=load))


def test_spacy_s_noun_chunks_lose_their_stop_words_only(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Parser())
    find = phrase_finder("spacy:en_core_web_sm")
    found = find(["|A big , red Dress| hangs on |the wall| of |it|", "|the sitting man| waves to |2|"])
    assert found == [{"big red dress", "wall"}, {"sitting man"}]


@pytest.mark.parametrize(
    ("parser", "problem"),
    [
        (None, "has no such model"),
        (Parser(lang="de"), "its language is 'de'"),
        (Parser(pipes=("tagger",)), "its pipes are tagger"),
    ],
    ids=["missing", "German", "no parser"],
)
def test_a_model_that_finds_no_english_phrases_is_refused(
    monkeypatch: pytest.MonkeyPatch, parser: Parser | None, problem: str
) -> None:
    install(monkeypatch, parser)
    with pytest.raises(DataError, match=problem):
        phrase_finder("spacy:some_model")

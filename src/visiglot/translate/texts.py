"""Which texts of an example are translated, and the example that has their translations instead.

Facts and turns say the same words, so one dictionary serves both. Labels (short answers, names, choices) are apart:
they are translated once for each language, whatever stands around them, so that answer and choices agree everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from visiglot.languages import ENGLISH, language
from visiglot.translate.labels import conflicting
from visiglot.types import Example, Message, Provenance

MOST_LABEL_WORDS = 4
"""Words that an answer has at most to be a label; longer ones, and those that end like sentences, are texts."""

KEPT = ("class",)
"""Facts that name things by identifiers."""

CODES = {"nlvr2": ("label", "answer"), "entailment": ("label",)}
"""Facts that a source's own tasks read as codes ("entailment"), by the task that it gives its examples."""

_CHOICE = re.compile(r"(\s*(?:\(?[A-Za-z]\)|[A-Z][.:]|\(?\d{1,2}\)|\d{1,2}\.)\s+)(?=\S)")
"""The mark of a choice: "A. ", "(b) ", "1) "."""

_ID = re.compile(r"[!-~]*[\d_][!-~]*|[A-Za-z]")
"""One word of ASCII with a digit or an underscore in it, or a single letter: an identifier or an option's."""

_SENTENCE = re.compile(r"[.!?…。！？؟।]\s*$")


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text: `words` go to the engine, what is around them stays."""

    before: str
    words: str
    after: str = ""


@dataclass(frozen=True)
class Texts:
    """What of an example is translated.

    Args:
        whole: texts that are translated as they stand, each once.
        groups: names of facts that must agree -> the labels in them; those of turns alone are under no name.
    """

    whole: tuple[str, ...]
    groups: Mapping[tuple[str, ...], tuple[str, ...]]

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The labels of all groups, each once."""
        return tuple(dict.fromkeys(label for labels in self.groups.values() for label in labels))

    def unchecked(self, labels: Mapping[str, str]) -> list[tuple[str, ...]]:
        """The groups that can't be translated: a label has no translation, or two that differ have the same one."""
        return [
            names
            for names, needed in self.groups.items()
            if not all(label in labels for label in needed) or conflicting(labels, needed)
        ]


def texts_of(example: Example) -> Texts:
    """What of an example is translated; never identifiers, numbers, marks of choices, nor what is in a language of its
    own (a fact with "<name>.language") or was there before a translation ("source.<name>")."""
    options = _options(example)
    whole: dict[str, None] = {}
    groups: dict[tuple[str, ...], tuple[str, ...]] = {}
    found: dict[str, tuple[str, ...]] = {}
    for name in _translated_facts(example):
        words = tuple(piece.words for piece in _of_fact(name, example.facts[name], options) if piece.words)
        if is_label(name, example.facts[name], options):
            found[name] = words
        else:
            whole.update(dict.fromkeys(words))
    agreeing = tuple(name for name in ("answer", "choices") if found.get(name))
    for names in [agreeing, *((name,) for name in found if name not in agreeing)]:
        labels = tuple(dict.fromkeys(label for name in names for label in found[name]))
        if labels:
            groups[names] = labels
    parts = [part for message in example.messages for part in message.content if isinstance(part, str)]
    said = dict.fromkeys(piece.words for part in parts for piece in pieces(part, options) if piece.words)
    if coded := tuple(label for label in (example.facts[name].strip() for name in _coded(example)) if label in said):
        groups[()] = coded
    as_labels = {label for labels in groups.values() for label in labels}
    return Texts(tuple(text for text in {**whole, **said} if text not in as_labels), groups)


def translated(
    example: Example,
    texts: Texts,
    whole: Mapping[str, str],
    labels: Mapping[str, str],
    target: str,
    provenance: Provenance | None,
) -> Example:
    """The example in another language; originals are the facts "source.<name>".

    Labels that can't be translated stay as they are together with those that must agree with them, and
    "<fact>.language" says in which language that is.

    Args:
        texts: of the example.
        whole: a translation of each of `texts.whole`.
        labels: translations of those of `texts.labels` that have one.
        target: FLORES-200 code.
        provenance: of the new example.
    """
    options = _options(example)
    kept = texts.unchecked(labels)
    staying = {label for names in kept for label in texts.groups[names]}
    said = {**whole, **{label: labels.get(label, label) for label in texts.labels if label not in staying}}
    facts = {}
    for name in _translated_facts(example):
        text = example.facts[name]
        facts[name] = _joined(_of_fact(name, text, options), said)
        if has_words(text):
            facts[f"source.{name}"] = text
    for names in kept:
        facts |= {f"{name}.language": example.language for name in names}
    if facts and example.language != ENGLISH:
        facts["source.language"] = example.language

    def turn(message: Message) -> Message:
        content = [_joined(pieces(p, options), said) if isinstance(p, str) else p for p in message.content]
        return Message(message.role, tuple(content))

    known = set(texts.whole) | set(texts.labels)
    return replace(
        example,
        id=f"{example.id}/{target}",
        messages=tuple(turn(message) for message in example.messages),
        language=target,
        references=tuple(
            said.get(text.strip(), text) for text in example.references if text.strip() in known or not has_words(text)
        ),
        provenance=provenance,
        facts={**example.facts, **facts},
    )


def truth_words(labels: Sequence[str], source: str, target: str) -> dict[str, str]:
    """Those of `labels` that are the source language's words for yes and no, by the table of languages."""
    one, other = language(source).literals, language(target).literals
    pairs = {one[word].casefold(): other[word] for word in ("yes", "no") if word in one and word in other}
    return {label: pairs[label.casefold()] for label in labels if label.casefold() in pairs}


def has_words(text: str) -> bool:
    """Whether there is something to translate in a text: letters, and not an identifier's alone."""
    return any(character.isalpha() for character in text) and not _ID.fullmatch(text.strip())


def is_label(name: str, text: str, options: frozenset[str] = frozenset()) -> bool:
    """Whether a fact is a label. An answer among the choices of a turn is none: it is translated as they are."""
    if name in ("label", "choices"):
        return True
    bare = [piece.words for piece in pieces(text, options) if piece.words]
    if name != "answer" or "\n" in text or any(words in options for words in bare):
        return False
    return len(text.split()) <= MOST_LABEL_WORDS and not _SENTENCE.search(text)


def pieces(text: str, options: frozenset[str] = frozenset()) -> list[Piece]:
    """A text in parts: each choice of a list on its own, the rest together. Joined they are the text.

    Args:
        options: the choices that the example's turns list, which are known by a mark even alone ("B. a dog").
    """
    lines = text.splitlines(keepends=True)
    marks = [_CHOICE.match(line) for line in lines]
    alone = len(lines) == 1 and marks[0] is not None and lines[0][marks[0].end() :].strip() in options
    if sum(mark is not None for mark in marks) < 2 and not alone:
        return [_piece(text)]
    found: list[Piece] = []
    rest = ""
    for line, mark in zip(lines, marks, strict=True):
        if mark is None:
            rest += line
            continue
        if rest:
            found.append(_piece(rest))
            rest = ""
        found.append(_piece(line[mark.end() :], mark[0]))
    return [*found, _piece(rest)] if rest else found


def _of_fact(name: str, text: str, options: frozenset[str]) -> list[Piece]:
    """The parts of a fact; the fact "choices" is a list of them, a line each, with marks or without."""
    if name != "choices":
        return pieces(text, options)
    lines = [(line, _CHOICE.match(line)) for line in text.splitlines(keepends=True)]
    return [_piece(line) if mark is None else _piece(line[mark.end() :], mark[0]) for line, mark in lines]


def _piece(text: str, mark: str = "") -> Piece:
    words = text.strip()
    if not has_words(words):
        return Piece(mark + text, "")
    start = text.index(words)
    return Piece(mark + text[:start], words, text[start + len(words) :])


def _joined(parts: Sequence[Piece], said: Mapping[str, str]) -> str:
    return "".join(f"{piece.before}{said.get(piece.words, piece.words)}{piece.after}" for piece in parts)


def _options(example: Example) -> frozenset[str]:
    """The choices that the turns list."""
    texts = (part for message in example.messages for part in message.content if isinstance(part, str))
    listed = (pieces(text) for text in texts)
    return frozenset(piece.words for parts in listed for piece in parts if piece.words and piece.before.strip())


def _translated_facts(example: Example) -> Iterator[str]:
    for name in example.facts:
        own = name.startswith("source.") or name.endswith(".language") or f"{name}.language" in example.facts
        if not own and name not in KEPT and name not in _coded(example):
            yield name


def _coded(example: Example) -> Sequence[str]:
    return [name for name in CODES.get(example.task, ()) if name in example.facts]

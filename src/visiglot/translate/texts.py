"""Which texts of an example are translated, and the example that has their translations instead.

Facts and turns say the same words, so one dictionary serves both. Labels (short answers, names, choices) are apart:
they are translated once for each language, whatever stands around them, so that answer and choices agree everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from visiglot.data.captions import normal_form
from visiglot.languages import ENGLISH, language
from visiglot.translate.kept import inline_options
from visiglot.translate.labels import conflicting
from visiglot.translate.protect import lost
from visiglot.types import Example, Message, Provenance

MOST_LABEL_WORDS = 4
"""Words that an answer has at most to be a label; longer ones, and those that end like sentences, are texts."""

CHATS = ("conversation", "instruction")
"""Tasks of examples whose turns are used as they stand: there a short answer is a turn as any other and never stays in
another language, since no prompt would say so."""

KEPT = ("class",)
"""Facts that name things by identifiers."""

CODES = {"nlvr2": ("label", "answer"), "entailment": ("label",)}
"""Facts that a source's own tasks read as codes ("entailment"), by the task that it gives its examples."""

_CHOICE = re.compile(r"(\s*(?:\(?[A-Za-z]\)|[A-Z][.:]|\(?\d{1,2}\)|\d{1,2}\.)\s+)(?=\S)")
"""The mark of a choice: "A. ", "(b) ", "1) "."""

_ID = re.compile(r"[!-~]*[\d_][!-~]*|[A-Za-z]")
"""One word of ASCII with a digit or an underscore in it, or a single letter: an identifier or an option's."""

_SENTENCE = re.compile(r"[.!?…。！？؟।]\s*$")

_OPTION_END = ",;.?!、，；。？！ \t"
"""What ends an option within a line and isn't its own."""


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
        groups: names of facts that must agree -> the labels in them; those of turns alone are under no name. No label
            is in two groups.
        same: an answer -> the choice that it is but for capitals, spaces and punctuation, whose translation it has.
    """

    whole: tuple[str, ...]
    groups: Mapping[tuple[str, ...], tuple[str, ...]]
    same: Mapping[str, str] = field(default_factory=dict)

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
    choices, listed = _choices(example), _listed(example)
    said = _turns(example.messages, listed)
    answers = _turns((one for one in example.messages if one.role == "assistant"), listed)
    facts = {name: _words(_of_fact(name, example.facts[name], listed)) for name in _translated_facts(example)}
    same = _respelled([*facts.get("answer", ()), *facts.get("label", ()), *answers], [*choices, *listed])
    found: dict[str, list[str]] = {}
    for name, words in facts.items():
        meant = [same.get(word, word) for word in words]
        chosen = name == "answer" and bool(choices.intersection(meant))
        text = chosen or (example.task in CHATS and name == "answer") or bool(listed.intersection(meant))
        if meant and (chosen or name in ("label", "choices") or (not text and is_label(name, example.facts[name]))):
            found[name] = meant
    groups = _agreeing(found)
    if coded := tuple(label for label in (example.facts[name].strip() for name in _coded(example)) if label in said):
        groups[()] = coded
    as_labels = {label for labels in groups.values() for label in labels}
    texts = dict.fromkeys([*(word for words in facts.values() for word in words), *said])
    whole = dict.fromkeys(same.get(text, text) for text in texts)
    return Texts(tuple(text for text in whole if text not in as_labels), groups, same)


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
    "<fact>.language" says in which language that is. References are translated where all of them are known; otherwise
    the answer is the only one, and "source.references" has them as they were, a line each.

    Args:
        texts: of the example.
        whole: a translation of each of `texts.whole`.
        labels: translations of those of `texts.labels` that have one.
        target: FLORES-200 code.
        provenance: of the new example.
    """
    listed = _listed(example)
    staying = {label for names in texts.unchecked(labels) for label in texts.groups[names]}
    said = {**whole, **{label: labels[label] for label in texts.labels if label not in staying}}
    said |= {text: said[choice] for text, choice in texts.same.items() if choice in said}
    facts = {}
    for name in _translated_facts(example):
        text = example.facts[name]
        parts = _of_fact(name, text, listed)
        facts[name] = _joined(parts, said)
        if has_words(text):
            facts[f"source.{name}"] = text
        if (words := _words(parts)) and said.keys().isdisjoint(words):
            facts[f"{name}.language"] = example.language
    references, all_there = _references(example, {*texts.whole, *texts.labels, *texts.same}, said)
    if not all_there:
        facts["source.references"] = "\n".join(example.references)
    if facts and example.language != ENGLISH:
        facts["source.language"] = example.language

    def turn(message: Message) -> Message:
        content = [_joined(pieces(p, listed), said) if isinstance(p, str) else p for p in message.content]
        return Message(message.role, tuple(content))

    return replace(
        example,
        id=f"{example.id}/{target}",
        messages=tuple(turn(message) for message in example.messages),
        language=target,
        references=references,
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


def is_label(name: str, text: str) -> bool:
    """Whether a fact is a label by its name and its words alone."""
    if name in ("label", "choices"):
        return True
    short = name == "answer" and "\n" not in text and len(text.split()) <= MOST_LABEL_WORDS
    return short and not _SENTENCE.search(text)


def pieces(text: str, options: frozenset[str] = frozenset()) -> list[Piece]:
    """A text in parts: each choice of a list on its own, the rest together. Joined they are the text.

    A list has a choice a line ("A. a dog"), or several in one ("(A) a dog (B) a cat").

    Args:
        options: the choices that the example lists, which are known by a mark even alone ("B. a dog").
    """
    lines = text.splitlines(keepends=True)
    marks = [_CHOICE.match(line) for line in lines]
    alone = len(lines) == 1 and marks[0] is not None and lines[0][marks[0].end() :].strip() in options
    if sum(mark is not None for mark in marks) < 2 and not alone:
        return _inline(text)
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


def _inline(text: str) -> list[Piece]:
    """A text whose options stand within its lines."""
    found: list[Piece] = []
    at = 0
    for start, words, end in inline_options(text):
        if text[at:start]:
            found.append(_piece(text[at:start]))
        bare = text[words:end].rstrip(_OPTION_END)
        piece = _piece(bare, text[start:words])
        found.append(replace(piece, after=piece.after + text[words + len(bare) : end]))
        at = end
    return [*found, _piece(text[at:])] if text[at:] or not found else found


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


def _words(parts: Iterable[Piece]) -> list[str]:
    return [piece.words for piece in parts if piece.words]


def _turns(messages: Iterable[Message], listed: frozenset[str]) -> list[str]:
    """The words of turns, each piece once."""
    texts = (part for message in messages for part in message.content if isinstance(part, str))
    return list(dict.fromkeys(word for text in texts for word in _words(pieces(text, listed))))


def _choices(example: Example) -> frozenset[str]:
    """The choices of the fact."""
    return frozenset(_words(_of_fact("choices", example.facts.get("choices", ""), frozenset())))


def _listed(example: Example) -> frozenset[str]:
    """The choices of the fact and those that the turns list."""
    texts = (part for message in example.messages for part in message.content if isinstance(part, str))
    marked = (piece for text in texts for piece in pieces(text) if piece.before.strip())
    return _choices(example) | frozenset(_words(marked))


def _respelled(texts: Iterable[str], choices: Iterable[str]) -> dict[str, str]:
    """Those of `texts` that are none of the choices but for capitals, spaces or punctuation -> that choice."""
    known = set(choices)
    by_form = {normal_form(one): one for one in sorted(known, reverse=True)}
    found = {one: by_form[form] for one in texts if one not in known and (form := normal_form(one)) in by_form}
    return {one: choice for one, choice in found.items() if not lost(one, choice)}


def _agreeing(found: Mapping[str, Sequence[str]]) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Names of facts that must agree -> their labels: answer and choices, and all that have a label in common."""
    groups: list[dict[str, Sequence[str]]] = []
    for name in sorted(found, key=lambda one: (one not in ("answer", "choices"), one)):
        joined = {name: found[name]}
        for group in list(groups):
            shared = not {*found[name]}.isdisjoint(label for labels in group.values() for label in labels)
            if shared or (name == "choices" and "answer" in group):
                groups.remove(group)
                joined = group | joined
        groups.append(joined)
    return {
        tuple(group): tuple(dict.fromkeys(label for labels in group.values() for label in labels)) for group in groups
    }


def _references(example: Example, known: set[str], said: Mapping[str, str]) -> tuple[tuple[str, ...], bool]:
    """An example's references in another language, and whether all of them are there.

    Args:
        known: texts that were to be translated.
        said: those that were.
    """
    listed = _listed(example)
    if all(known.issuperset(_words(pieces(text, listed))) for text in example.references):
        return tuple(_joined(pieces(text, listed), said) for text in example.references), True
    last = example.messages[-1:]
    answer = example.facts.get("answer") or "".join(one.text for one in last if one.role == "assistant")
    there = answer.strip() in (text.strip() for text in example.references)
    return ((_joined(pieces(answer.strip(), listed), said),) if there else ()), False


def _translated_facts(example: Example) -> Iterator[str]:
    for name in example.facts:
        own = name.startswith("source.") or name.endswith(".language") or f"{name}.language" in example.facts
        if not own and name not in KEPT and name not in _coded(example):
            yield name


def _coded(example: Example) -> Sequence[str]:
    return [name for name in CODES.get(example.task, ()) if name in example.facts]

"""What a source holds: counted by task, language and licence, with what is bad, empty or there twice."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visiglot.data.hashing import hash64
from visiglot.data.looking import Look, Looker
from visiglot.data.progress import Progress
from visiglot.data.source import Indices, Source
from visiglot.errors import DataError
from visiglot.types import Example, ImageSlot

NAMED = 20
"""Of each kind of trouble that is found, so many are named."""

CHUNK = 128
"""Examples that are read before their pictures are looked at together."""


@dataclass(frozen=True, slots=True)
class Some:
    """How many there are of something, and what the first of them are called."""

    count: int
    first: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found in the examples that were looked at.

    Args:
        looked_at: how many these were.
        tasks, languages, licences: how many of each.
        text_only: examples without a picture.
        pictures: how often a picture is shown.
        files: different pictures among these, by path, or by bytes where they have none.
        bad_pictures: reason -> different pictures that can't be shown for it.
        empty_answers: examples whose answer has no words.
        same_bytes: pictures with the same bytes as one of another path.
        same_example: examples with the same pictures and words, in the same language, as an earlier one.
        same_id: examples with the id of an earlier one.
        unusable: examples that can't be trained on, with what is wrong with each.
        unusable_numbers: their first numbers in the source, those left out whose rows can't be read.
        hints: what to do about these, each said once.
    """

    looked_at: int
    tasks: Mapping[str, int]
    languages: Mapping[str, int]
    licences: Mapping[str, int]
    text_only: int
    pictures: int
    files: int
    bad_pictures: Mapping[str, Some]
    empty_answers: Some
    same_bytes: Some
    same_example: Some
    same_id: Some
    unusable: Some
    unusable_numbers: tuple[int, ...]
    hints: tuple[str, ...]


def spread(source: Source, limit: int | None) -> NDArray[np.int64]:
    """Numbers of up to `limit` examples [n], evenly spread over each other language by language, then in order.

    Args:
        limit: None: all that are in a language that was asked for.
    """
    parts: Sequence[Indices] = list(source.by_language.values())
    ends = np.cumsum([len(part) for part in parts])
    total = int(ends[-1]) if parts else 0
    if limit is None or limit >= total:
        return np.sort(np.concatenate(parts).astype(np.int64)) if total else np.empty(0, np.int64)
    places = np.arange(limit, dtype=np.int64) * total // limit
    owner = np.searchsorted(ends, places, side="right")
    chosen = [part[places[owner == n] - (int(ends[n]) - len(part))] for n, part in enumerate(parts)]
    return np.sort(np.concatenate(chosen).astype(np.int64))


def inspect(source: Source, numbers: Sequence[int] | NDArray[np.int64], *, stop: bool = False) -> Inspection:
    """Look at examples and at each of their pictures.

    Memory grows by some 40 bytes an example.

    Args:
        numbers: of the examples.
        stop: raise at the first row that can't be read.

    Raises:
        DataError: with `stop`, a row can't be read.
    """
    with Looker() as looker:
        walk = _Walk(source, stop)
        progress = Progress(f"{source.name}: looking at examples", "examples", len(numbers))
        for first in range(0, len(numbers), CHUNK):
            chunk = [int(number) for number in numbers[first : first + CHUNK]]
            walk.take(chunk, looker)
            progress.advance(len(chunk))
        progress.done()
    return walk.found()


def problem_of(example: Example) -> str | None:
    """Why an example can't be trained on or asked, its pictures aside; None when it can."""
    slots = [part.index for message in example.messages for part in message.content if isinstance(part, ImageSlot)]
    if not example.messages:
        return "it has no messages"
    if sorted(set(slots)) != list(range(len(example.images))):
        shown = ", ".join(f"number {index + 1}" for index in sorted(set(slots))) or "none"
        return f"it has {len(example.images)} pictures, of which its text shows {shown}"
    if has_empty_answer(example):
        return "its answer is empty"
    if example.messages[-1].role != "assistant" and not example.references:
        return "it has neither an answer nor references"
    return None


def has_empty_answer(example: Example) -> bool:
    return any(message.role == "assistant" and not message.text.strip() for message in example.messages)


class _Walk:
    """What is kept of the examples that were passed: numbers, so that millions fit."""

    def __init__(self, source: Source, stop: bool) -> None:
        self.source = source
        self.stop = stop
        self.looked_at = 0
        self.tasks: Counter[str] = Counter()
        self.languages: Counter[str] = Counter()
        self.licences: Counter[str] = Counter()
        self.text_only = 0
        self.empty: list[str] = []
        self.empty_count = 0
        self.unusable = 0
        self.sentences: list[str] = []
        self.unusable_numbers: list[int] = []
        self.hints: dict[str, None] = {}
        self.reasons = [""]
        self.numbers = array("q")  # of each example that was read: its number, its id, its pictures and words
        self.ids = array("Q")
        self.texts = array("Q")
        self.owners = array("q")  # of each picture that is shown: number of its example, place in it, and its look
        self.within = array("H")
        self.places = array("Q")
        self.contents = array("Q")
        self.faults = array("B")

    def take(self, numbers: Sequence[int], looker: Looker) -> None:
        self.looked_at += len(numbers)
        read: list[tuple[int, Example]] = []
        for number in numbers:
            try:
                read.append((number, self.source[number]))
            except DataError as error:
                if self.stop:
                    raise
                self._unusable(error.message, None, error.hint)
        looks = iter(looker.look([ref for _, example in read for ref in example.images]))
        for number, example in read:
            self._example(number, example, [next(looks) for _ in example.images])

    def found(self) -> Inspection:
        places, first = np.unique(self._array(self.places), return_index=True)
        first.sort()
        faults = self._array(self.faults)[first]
        contents = self._array(self.contents)[first]
        readable = first[contents != 0]
        return Inspection(
            self.looked_at,
            dict(self.tasks),
            dict(self.languages),
            dict(self.licences),
            self.text_only,
            len(self.places),
            len(places),
            {
                reason: self._pictures(first[faults == code])
                for code, reason in enumerate(self.reasons)
                if code and bool((faults == code).any())
            },
            Some(self.empty_count, tuple(self.empty)),
            self._pictures(readable[_repeats(contents[contents != 0])]),
            self._examples(_repeats(self._array(self.texts))),
            self._examples(_repeats(self._array(self.ids))),
            Some(self.unusable, tuple(self.sentences)),
            tuple(self.unusable_numbers),
            tuple(self.hints),
        )

    def _example(self, number: int, example: Example, looks: Sequence[Look]) -> None:
        self.tasks[example.task or "none"] += 1
        self.languages[example.language] += 1
        self.licences["unknown" if example.provenance is None else example.provenance.licence] += 1
        self.text_only += not example.images
        self.numbers.append(number)
        self.ids.append(hash64(example.id))
        shown = [look.content or look.place for look in looks]
        self.texts.append(hash64(f"{example.language} {example.messages!r} {example.references!r} {shown}"))
        if has_empty_answer(example):
            self.empty_count += 1
            self.empty += [example.id] if len(self.empty) < NAMED else []
        for place, look in enumerate(looks):
            self.owners.append(number)
            self.within.append(place)
            self.places.append(look.place)
            self.contents.append(look.content)
            self.faults.append(0 if look.error is None else self._code(look.error.reason))
        bad = next((look.error for look in looks if look.error is not None), None)
        problem = problem_of(example)
        if problem is not None:
            self._unusable(f"{example.id}: {problem}", number, None)
        elif bad is not None:
            self._unusable(f"{example.id}: {bad.message}", number, bad.hint)

    def _unusable(self, sentence: str, number: int | None, hint: str | None) -> None:
        self.unusable += 1
        if len(self.sentences) < NAMED:
            self.sentences.append(sentence)
            self.unusable_numbers += [] if number is None else [number]
            self.hints |= {} if hint is None else {hint: None}

    def _code(self, reason: str) -> int:
        if reason not in self.reasons:
            self.reasons.append(reason)
        return self.reasons.index(reason)

    def _pictures(self, shown: NDArray[np.int64]) -> Some:
        """Pictures by where they stand in `places`."""
        named = [(self.owners[int(n)], self.within[int(n)]) for n in shown[:NAMED]]
        return Some(len(shown), tuple(self.source[owner].images[place].name for owner, place in named))

    def _examples(self, read: NDArray[np.int64]) -> Some:
        """Examples by where they stand in `numbers`."""
        return Some(len(read), tuple(self.source[self.numbers[int(n)]].id for n in read[:NAMED]))

    @staticmethod
    def _array(values: array[int]) -> NDArray[np.int64]:
        return np.frombuffer(values, dtype=values.typecode) if values else np.empty(0, values.typecode)


def _repeats(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where a key stands that stood before, in order."""
    again = np.ones(len(keys), dtype=bool)
    again[np.unique(keys, return_index=True)[1]] = False
    return np.flatnonzero(again)

"""What the engines of encoder-decoder models share: tokens and marks, batches by length, outputs without an end.

Texts are sorted by length and batched up to a budget of tokens, and only with texts of about their own length. How long
an output may be follows from that length, so that no output is stopped early or late because of its batch mates.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from visiglot.translate.engine import Output, collected
from visiglot.translate.engines.codes import Marks, marks_of

Count = Annotated[int, Field(ge=1, strict=True)]
Factor = Annotated[float, Field(gt=0)]

BATCH_TOKENS = {"cpu": 2048, "cuda": 16384}
"""Budget of a batch by device, where the user names none. On a CPU, batches that fit its caches are the fastest."""

MARGIN = 16
"""Tokens that any output may have beside those that follow from its text's length."""

NO_REPEAT = 4
"""No sequence of so many tokens may come twice in the second try of an output that came to no end in the first."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be computed at once, and how long texts and outputs may be.

    Args:
        beams: of beam search; 1: greedy.
        batch_tokens: padded tokens of a batch's texts, counted once for each beam; a text alone may have more.
        max_length_factor: tokens of an output for each token of its text, beside MARGIN.
        longest: tokens that the model has positions for.
    """

    beams: int
    batch_tokens: int
    max_length_factor: float
    longest: int

    def of_output(self, bound: int, *, again: bool) -> int:
        """Tokens, its end included, of the longest output for texts of up to `bound` tokens; twice as many `again`."""
        wanted = math.ceil(self.max_length_factor * bound) + MARGIN
        return max(1, min(2 * wanted if again else wanted, self.longest - 2))


@dataclass(frozen=True, slots=True)
class Batch:
    """Texts that are translated together.

    Args:
        numbers: their places among the texts that were asked for.
        sources: token ids of each, marks included.
        prefix: token that each output begins with; None: none.
        limit: tokens of the longest output, its end included and the prefix not.
        again: whether outputs came to no end before, so that repetition must be kept out.
    """

    numbers: tuple[int, ...]
    sources: tuple[tuple[int, ...], ...]
    prefix: int | None
    limit: int
    again: bool = False

    @property
    def padded(self) -> int:
        """Tokens of its texts, padding included."""
        return len(self.sources) * max(map(len, self.sources))


@dataclass(frozen=True, slots=True)
class Generated:
    """Token ids of an output without prefix and end, and whether it came to its end."""

    ids: tuple[int, ...]
    finished: bool


Generate = Callable[[Sequence[Batch]], Iterator[list[Generated]]]
"""For each batch in order, one output for each of its texts."""


class Codec:
    """Texts to token ids and back, with a family's marks of languages.

    Raises:
        TranslationError: the tokenizer is of no family that is known.
    """

    def __init__(self, tokenizer: Any, model: str) -> None:
        self.tokenizer = tokenizer
        self.model = model
        self.marks: Marks = marks_of(tokenizer, model)
        self.end: int = tokenizer.eos_token_id
        tokens = {mark for mark in self.marks.target.values() if mark}
        self._silent = frozenset(tokenizer.convert_tokens_to_ids(sorted(tokens)))

    def check(self, source: str, targets: Sequence[str]) -> None:
        """Refuse what the model can't do. Raises LanguageError."""
        self.marks.check(self.model, source, targets)

    def encode(self, texts: Sequence[str], source: str, target: str) -> list[tuple[int, ...]]:
        """Token ids of each text with the marks that stand in a source; nothing is cut off."""
        family, mark = self.marks.family, self.marks.target[target]
        if family in ("nllb", "m2m100"):
            assert self.marks.source is not None
            own = self.marks.source[source]
            self.tokenizer.src_lang = own.strip("_") if family == "m2m100" else own
            return self._ids(texts)
        if not mark:
            return self._ids(texts)
        marked = self._ids([f"{mark} {text}" for text in texts])
        number = self.tokenizer.convert_tokens_to_ids(mark)
        # A tokenizer that doesn't read a mark as one token would ask for no language at all.
        return [ids if number in ids[:2] else (number, *self._ids([text])[0]) for ids, text in zip(marked, texts)]

    def prefix(self, target: str) -> int | None:
        """The token that an output in the language begins with; None where marks stand in the source."""
        if self.marks.family not in ("nllb", "m2m100"):
            return None
        return int(self.tokenizer.convert_tokens_to_ids(self.marks.target[target]))

    def decode(self, ids: Sequence[int]) -> str:
        own = {"use_source_tokenizer": False} if self.marks.family == "marian" else {}
        kept = [number for number in ids if number not in self._silent]
        text = self.tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False, **own)
        return str(text).strip()

    def _ids(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        return [tuple(ids) for ids in self.tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]]


def translate(
    texts: Sequence[str], source: str, target: str, *, codec: Codec, limits: Limits, generate: Generate
) -> list[Output]:
    """One output for each text, in their order, as `portions` makes them."""
    different = list(dict.fromkeys(texts))
    made = portions(different, source, target, codec=codec, limits=limits, generate=generate)
    return collected(made, texts)


def portions(
    texts: Sequence[str], source: str, target: str, *, codec: Codec, limits: Limits, generate: Generate
) -> Iterator[dict[str, Output]]:
    """The outputs of each batch.

    What comes to no end is tried once more with twice the length, and with no run of NO_REPEAT tokens twice. A text
    that the model has no positions for isn't cut: its output is None.

    Args:
        texts: no text twice.
    """
    if not texts:
        return
    ids = codec.encode(texts, source, target)
    open_ = {number: one for number, one in enumerate(ids) if len(one) <= limits.longest}
    if len(open_) < len(texts):
        yield {text: Output(None, finished=False) for number, text in enumerate(texts) if number not in open_}
    prefix = codec.prefix(target)
    for again in (False, True):
        batches = plan(open_, limits, prefix, again=again)
        for batch, generated in zip(batches, generate(batches), strict=True):
            made = {}
            for number, one in zip(batch.numbers, generated, strict=True):
                if one.finished or again:
                    made[texts[number]] = Output(codec.decode(one.ids), one.finished)
                    del open_[number]
            if made:
                yield made


class Seq2SeqEngine(ABC):
    """What an engine of this kind is asked; how its model makes outputs is its own."""

    codec: Codec
    limits: Limits

    @abstractmethod
    def generate(self, batches: Sequence[Batch]) -> Iterator[list[Generated]]:
        """The outputs of each batch, in order.

        Raises:
            TranslationError: the model can't go on.
        """

    def check(self, source: str, targets: Sequence[str]) -> None:
        """Raises LanguageError when the model has no mark of a language."""
        self.codec.check(source, targets)

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[Output]:
        self.check(source, (target,))
        return translate(texts, source, target, codec=self.codec, limits=self.limits, generate=self.generate)

    def portions(self, texts: Sequence[str], source: str, target: str) -> Iterator[dict[str, Output]]:
        self.check(source, (target,))
        return portions(texts, source, target, codec=self.codec, limits=self.limits, generate=self.generate)


def plan(
    sources: Mapping[int, Sequence[int]], limits: Limits, prefix: int | None = None, *, again: bool = False
) -> list[Batch]:
    """Batches of texts of about the same length within the budget, the longest first.

    Args:
        sources: place of a text -> its token ids.
    """
    by_bound: dict[int, list[int]] = {}
    for number in sorted(sources, key=lambda number: (-len(sources[number]), number)):
        by_bound.setdefault(bound_of(len(sources[number])), []).append(number)
    batches = []
    for bound, numbers in by_bound.items():
        limit = limits.of_output(bound, again=again)
        start = 0
        while start < len(numbers):
            longest = len(sources[numbers[start]])
            size = max(1, limits.batch_tokens // (longest * limits.beams))
            part = numbers[start : start + size]
            batches.append(Batch(tuple(part), tuple(tuple(sources[n]) for n in part), prefix, limit, again))
            start += size
    return batches


def bound_of(length: int) -> int:
    """The next of 8, 16, 24, 32, 40 and on in steps of a quarter: texts with the same bound may share a batch."""
    bound = 8
    while bound < length:
        bound = max(bound + 8, bound * 5 // 4)
    return bound

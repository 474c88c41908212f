"""Likelihoods of given answers, and with them which of a question's choices a Visiglot model finds likeliest.

Shapes: N patches, Dv vision width, I pictures, P supervised tokens, V vocabulary.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import cross_entropy

from visiglot.data.collate import collate, to_device
from visiglot.errors import EvaluationError, VisiglotError
from visiglot.evaluate.answers import asked_turns
from visiglot.images import load_image
from visiglot.models.answer import PICTURES_PER_PASS, encode_pictures, join_features
from visiglot.prompts import placed
from visiglot.render import render
from visiglot.types import Example, ImageRef, Message, Placing, Sample, VisionFeatures

if TYPE_CHECKING:
    from visiglot.models.processor import VisiglotProcessor
    from visiglot.models.vlm import VisionLanguageModel

Likelihoods = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Likely:
    """How likely a model finds an answer.

    Args:
        value: log-likelihood in nats, summed over its tokens.
        tokens: of the answer and those that end it.
        greedy: whether each of them is the likeliest at its place, so that greedy search would give this answer.
    """

    value: float
    tokens: int
    greedy: bool


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An answer: of which example, which of its answers."""

    example: int
    choice: int
    sample: Sample

    @property
    def length(self) -> int:
        return len(self.sample.ids) + len(self.sample.labels)


def choices_of(example: Example) -> tuple[str, ...]:
    """The answers that an example has to choose from.

    Raises:
        EvaluationError: there are fewer than two, or two are the same.
    """
    if len(example.choices) < 2 or len(set(example.choices)) < len(example.choices):
        raise EvaluationError(
            f"example {example.id}: its choices can't be ranked: {', '.join(map(repr, example.choices)) or 'none'}",
            hint="Ranking by likelihood is for questions with a set of answers; let others be generated.",
        )
    return example.choices


def with_answer(example: Example, answer: str) -> Example:
    """The example with `answer` as its last turn, in place of the answer that it had."""
    return replace(example, messages=(*asked_turns(example), Message("assistant", (answer,))))


def rank_choices(
    model: VisionLanguageModel,
    processor: VisiglotProcessor,
    examples: Sequence[Example],
    placing: Placing,
    *,
    max_batch_tokens: int,
) -> Iterator[tuple[int, Likelihoods | VisiglotError]]:
    """(index, log-likelihood of each choice in nats, or why there is none) of each example; see `measure_answers`."""
    found = measure_answers(model, processor, examples, choices_of, placing, max_batch_tokens=max_batch_tokens)
    for index, measured in found:
        yield index, measured if isinstance(measured, VisiglotError) else tuple(one.value for one in measured)


@torch.no_grad()
def measure_answers(
    model: VisionLanguageModel,
    processor: VisiglotProcessor,
    examples: Sequence[Example],
    answers: Callable[[Example], Sequence[str]],
    placing: Placing,
    *,
    max_batch_tokens: int,
) -> Iterator[tuple[int, tuple[Likely, ...] | VisiglotError]]:
    """(index, how likely each answer is, or why that can't be said) of each example.

    What is scored is what training supervises: the tokens of the answer and those that end it. Sums, not means: a
    metric divides by length if it wants to. A picture is encoded once for all examples that show it.

    Args:
        model: in evaluation mode.
        answers: of an example, one at least; what it raises is why that example has none.
        max_batch_tokens: tokens of prompts and answers in a forward pass, padding included; one row at least.
    """
    features: dict[str, VisionFeatures] = {}
    broken: dict[str, VisiglotError] = {}
    _encode(model, processor, [ref for example in examples for ref in example.images], features, broken)
    spec = processor.spec()
    candidates: list[_Candidate] = []
    for index, example in enumerate(examples):
        try:
            if (error := next((broken[ref.name] for ref in example.images if ref.name in broken), None)) is not None:
                raise error
            shown = placed(example, placing)
            candidates += [
                _Candidate(index, at, render(with_answer(shown, choice), spec))
                for at, choice in enumerate(answers(example))
            ]
        except VisiglotError as error:
            candidates = [one for one in candidates if one.example != index]
            yield index, error

    counts = Counter(one.example for one in candidates)
    found: dict[int, dict[int, Likely]] = {}
    for rows in _batches(candidates, max_batch_tokens):
        batch = collate(
            [one.sample for one in rows], spec, features=lambda refs: join_features([features[ref.key] for ref in refs])
        )
        states = model.target_states(to_device(batch, model.device))
        scores = model.head(states.states).float()
        losses = cross_entropy(scores, states.labels, reduction="none")
        others = (scores.argmax(dim=-1) != states.labels).to(losses.dtype)
        sums = torch.zeros(len(rows), 3, device=losses.device).index_add_(
            0, states.rows, torch.stack([-losses, torch.ones_like(losses), others], dim=1)
        )
        for one, (value, tokens, unlikely) in zip(rows, sums.tolist(), strict=True):
            of_example = found.setdefault(one.example, {})
            of_example[one.choice] = Likely(value, int(tokens), not unlikely)
            if len(of_example) == counts[one.example]:
                yield one.example, tuple(of_example[at] for at in sorted(of_example))


def _encode(
    model: VisionLanguageModel,
    processor: VisiglotProcessor,
    refs: Sequence[ImageRef],
    features: dict[str, VisionFeatures],
    broken: dict[str, VisiglotError],
) -> None:
    """Put the features [1, N, Dv] of every picture into `features` by key, what can't be read into `broken` by name."""
    waiting = {}
    for ref in {ref.name: ref for ref in refs}.values():
        try:
            picture = load_image(ref)
            if ref.key not in features and ref.key not in waiting:
                waiting[ref.key] = processor.pixel_values([picture])
        except VisiglotError as error:
            broken[ref.name] = error
        if len(waiting) == PICTURES_PER_PASS:
            features.update(encode_pictures(model, waiting))
            waiting.clear()
    if waiting:
        features.update(encode_pictures(model, waiting))


def _batches(candidates: Sequence[_Candidate], max_batch_tokens: int) -> Iterator[list[_Candidate]]:
    """Rows of similar length, as many as the budget holds."""
    rows: list[_Candidate] = []
    for one in sorted(candidates, key=lambda candidate: candidate.length):
        if rows and one.length * (len(rows) + 1) > max_batch_tokens:
            yield rows
            rows = []
        rows.append(one)
    if rows:
        yield rows

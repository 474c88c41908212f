"""An ask on its way through the engine, and what asks hold while they are answered together."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field

from visiglot.errors import TooLongError
from visiglot.models.decode import Row
from visiglot.serve.asks import Ask, Piece
from visiglot.serve.speech import Speech
from visiglot.types import Example, ImageRef, Layout, Sample, VisionFeatures

CHARACTERS_PER_TOKEN = 32
"""Of a prompt, at most; no text has so many. A prompt of more can't fit, and finding its tokens would take long."""


@dataclass(eq=False)
class Job:
    """An ask.

    Args:
        ask: what is asked.
        order: its number.
        deadline: by the engine's clock, until which it may wait.
        loop, channel: where its pieces go, the last of them with `finish`, or an error in its place.
        sample, pictures, speech: its prompt, its pictures by content, and its answer; None until it is rendered.
        left: nobody wants the answer any more.
    """

    ask: Ask
    order: int
    deadline: float
    loop: asyncio.AbstractEventLoop
    channel: asyncio.Queue[Piece | Exception] = field(default_factory=asyncio.Queue)
    sample: Sample | None = None
    pictures: tuple[tuple[str, ImageRef], ...] = ()
    speech: Speech | None = None
    left: bool = False

    @property
    def key(self) -> str:
        return str(self.order)

    @property
    def user(self) -> str:
        return self.ask.user

    @property
    def cost(self) -> int:
        """Tokens that are read and made for it, at most; while it isn't rendered, those that are made."""
        return self.prompt_tokens + self.ask.decoding.max_new_tokens * self.ask.decoding.beams

    @property
    def prompt_tokens(self) -> int:
        return 0 if self.sample is None else len(self.sample.ids)

    def row(self, features: VisionFeatures | None) -> Row:
        assert self.sample is not None
        return Row(self.key, self.sample, features, self.ask.decoding, self.ask.logprobs or 0)


def check_length(example: Example, tokens: int) -> None:
    """Raise TooLongError: the prompt has far more characters than `tokens` tokens have."""
    characters = sum(len(part) for turn in example.messages for part in turn.content if isinstance(part, str))
    if characters > tokens * CHARACTERS_PER_TOKEN:
        raise TooLongError(
            f"the prompt has {characters:,} characters; the model takes {tokens:,} tokens",
            hint="Shorten the prompt; nothing is cut off.",
        )


def held_tokens(jobs: Collection[Job], layout: Layout) -> int:
    """Tokens whose keys and values `jobs` hold together at their end. All are padded to the longest."""
    if not jobs:
        return 0
    sub_rows = sum(job.ask.decoding.beams for job in jobs)
    if layout == "causal":
        return sub_rows * max(job.prompt_tokens + job.ask.decoding.max_new_tokens for job in jobs)
    made = sub_rows * max(job.ask.decoding.max_new_tokens for job in jobs)
    return made + read_tokens(jobs)


def read_tokens(jobs: Collection[Job]) -> int:
    """Tokens of the prompts of `jobs`, padded to the longest."""
    return len(jobs) * max((job.prompt_tokens for job in jobs), default=0)

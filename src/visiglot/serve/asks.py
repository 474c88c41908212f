"""What the engine is asked and what it says."""

from __future__ import annotations

from dataclasses import dataclass

from visiglot.models.decode import Decoding
from visiglot.types import Example


@dataclass(frozen=True)
class Ask:
    """A prompt to be answered.

    Args:
        example: pictures and turns. An answer that stands last is left out. Several answers to one prompt are several
            asks, each with its own seed; what they share is read once.
        decoding: its own settings.
        stop: texts that end the answer, which doesn't contain them.
        user: whose turn it is. Users take turns by the tokens that they use, however much each of them asks.
        logprobs: how many of the likeliest tokens are told beside each chosen one; None tells nothing of tokens.
        routing: whether the weights of the connector's experts are told.
    """

    example: Example
    decoding: Decoding
    stop: tuple[str, ...] = ()
    user: str = ""
    logprobs: int | None = None
    routing: bool = False


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token and how likely the model found it, before temperature and penalties.

    Args:
        token: its text; U+FFFD when it is only part of a character.
        logprob: natural logarithm of its probability.
        top: the likeliest tokens at its place, likeliest first; these have no `top` of their own.
    """

    token: str
    logprob: float
    top: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True)
class Piece:
    """The next part of an answer, whole characters only. Pieces joined are the answer; beams give one piece.

    Args:
        text: may be empty.
        finish: of the last piece "stop" (the model ended the answer, or a stop text came) or "length"; else None.
        prompt_tokens: of the prompt, its pictures' tokens included.
        completion_tokens: that were made up to here, those of a stop text and of the end included.
        logprobs: of the tokens that `text` is made of, if they were asked for.
        routing: of the first piece, if it was asked for, and each of the prompt's pictures: the weights of the experts.
    """

    text: str
    finish: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    logprobs: tuple[TokenLogprob, ...] = ()
    routing: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True)
class EngineStats:
    """What the engine holds now, and what it has done since it was built.

    Args:
        running: answers that are being made.
        waiting: asks that haven't started.
        tokens: that the running answers may hold at their end, padding included; `max_batch_tokens` is their limit.
        feature_bytes: of pictures' features that are kept; `max_feature_bytes` is their limit.
        feature_hits, feature_misses: pictures of asks whose features were there, and that had to be encoded.
        finished, cancelled, failed: answers that came to their end, were left by who asked, or ended in an error.
        refused: asks that found the queue full, were put out of it for another user, or waited too long.
        restarted: answers that were begun again because another one broke their batch.
        prompt_tokens, completion_tokens: of all answers that were started.
    """

    running: int = 0
    waiting: int = 0
    tokens: int = 0
    max_batch_tokens: int = 0
    feature_bytes: int = 0
    max_feature_bytes: int = 0
    feature_hits: int = 0
    feature_misses: int = 0
    finished: int = 0
    cancelled: int = 0
    failed: int = 0
    refused: int = 0
    restarted: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

"""What the engine says -> what a client reads: OpenAI's chat completion, whole or in chunks."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from typing import Any

from visiglot.serve.asks import Piece, TokenLogprob
from visiglot.serve.chat import Choice

DONE = b"data: [DONE]\n\n"


class Reply:
    """One completion. Its choices are those of the request, in their order, and say their `language` if they have one.

    Args:
        model: what the request calls the model.
    """

    def __init__(self, model: str, choices: Sequence[Choice]) -> None:
        self._choices = choices
        self._head = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": model}
        self._pieces: list[list[Piece]] = [[] for _ in choices]

    def add(self, index: int, piece: Piece) -> None:
        """The next piece of a choice."""
        self._pieces[index].append(piece)

    def whole(self) -> dict[str, Any]:
        """The completion of all pieces."""
        choices = []
        for index, pieces in enumerate(self._pieces):
            text = "".join(piece.text for piece in pieces)
            told = [token for piece in pieces for token in piece.logprobs]
            message = {"role": "assistant", "content": text, "refusal": None}
            routing = next((piece.routing for piece in pieces if piece.routing), ())
            choices.append(self._choice(index, "message", message, pieces[-1].finish, told, routing))
        return {**self._head, "object": "chat.completion", "choices": choices, "usage": self.usage()}

    def whole_json(self) -> bytes:
        return as_json(self.whole())

    def chunk(self, index: int, piece: Piece, *, usage: bool) -> bytes:
        """An event of a stream: one piece of a choice, which was added.

        Args:
            usage: whether the stream ends with usage; all other chunks then have it null.
        """
        first = len(self._pieces[index]) == 1
        delta = {"role": "assistant", "content": piece.text} if first else {"content": piece.text}
        choice = self._choice(index, "delta", delta, piece.finish, piece.logprobs, piece.routing)
        return self._event([choice], {"usage": None} if usage else {})

    def last_chunk(self) -> bytes:
        """The event with the usage of all choices."""
        return self._event([], {"usage": self.usage()})

    def usage(self) -> dict[str, int]:
        """A prompt counts once, however many answers it has; in each language it is another one."""
        read: dict[str | None, int] = {}
        made = 0
        for choice, pieces in zip(self._choices, self._pieces, strict=True):
            if pieces:
                read[choice.language] = pieces[-1].prompt_tokens
                made += pieces[-1].completion_tokens
        total = sum(read.values())
        return {"prompt_tokens": total, "completion_tokens": made, "total_tokens": total + made}

    def _choice(
        self,
        index: int,
        name: str,
        value: dict[str, Any],
        finish: str | None,
        told: Sequence[TokenLogprob],
        routing: Sequence[Sequence[float]],
    ) -> dict[str, Any]:
        choice = self._choices[index]
        logprobs = None
        if choice.ask.logprobs is not None:
            logprobs = {"content": [_token(token, top=True) for token in told], "refusal": None}
        found = {"index": index, name: value, "logprobs": logprobs, "finish_reason": finish}
        if choice.language is not None:
            found["language"] = choice.language
        if routing:
            found["routing"] = routing
        return found

    def _event(self, choices: list[dict[str, Any]], more: dict[str, Any]) -> bytes:
        return event({**self._head, "object": "chat.completion.chunk", "choices": choices, **more})


def event(value: dict[str, Any]) -> bytes:
    """A server-sent event."""
    return b"data: " + as_json(value) + b"\n\n"


def as_json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _token(token: TokenLogprob, *, top: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "token": token.token,
        "logprob": max(token.logprob, -9999.0),  # OpenAI's own stand-in for what can't happen; JSON has no infinity
        "bytes": None if "\ufffd" in token.token else list(token.token.encode()),
    }
    if top:
        found["top_logprobs"] = [_token(other, top=False) for other in token.top]
    return found

"""A model behind an OpenAI-compatible chat endpoint, asked a benchmark."""

from __future__ import annotations

import base64
import hashlib
import io
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import fields
from typing import Any

from visiglot.endpoint import Endpoint, StoppedError, TextRefusedError
from visiglot.errors import EvaluationError, VisiglotError
from visiglot.evaluate.answers import asked_turns
from visiglot.evaluate.benchmark import Settings
from visiglot.images import load_image
from visiglot.types import Example, ImageRef, ImageSlot, Message

PREFIX = "openai:"
"""What the name of an endpoint begins with: openai:URL#model."""

AS_IT_IS = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png"}
"""First bytes of pictures that are sent as they are; all others are sent as PNG."""


def parse_name(name: str) -> tuple[str, str]:
    """URL and model of "openai:URL#model".

    Raises:
        EvaluationError: a part is missing.
    """
    url, _, model = name.removeprefix(PREFIX).partition("#")
    if not name.startswith(PREFIX) or not url or not model:
        raise EvaluationError(
            f"{name!r} doesn't name a model behind an endpoint",
            hint="Write openai:URL#model, such as openai:http://127.0.0.1:8000/v1#my-model.",
        )
    return url, model


class ChatAnswerer:
    """Asks a chat endpoint, several questions at a time.

    Args:
        endpoint: with its retries and limits.
        model: as the endpoint calls it.
        name: what the user called it.
        concurrent: requests in flight.
    """

    device = "remote"

    def __init__(self, endpoint: Endpoint, model: str, *, name: str, concurrent: int = 8) -> None:
        self._endpoint = endpoint
        self._model = model
        self._concurrent = concurrent
        self.name = name
        self.fingerprint = hashlib.sha256(f"{endpoint.base_url}\n{model}".encode()).hexdigest()

    def answer(self, examples: Sequence[Example], settings: Settings) -> Iterator[tuple[int, str | VisiglotError]]:
        """Answers in the order in which they come. What the endpoint refuses to answer costs only that example.

        Raises:
            EndpointError: the endpoint can't be used; what came before was given.
            EvaluationError: a setting that chat endpoints have no word for.
        """
        chosen = request_settings(settings)
        stopped = threading.Event()
        pool = ThreadPoolExecutor(self._concurrent, thread_name_prefix="evaluate")
        try:
            asked = {pool.submit(self._one, example, chosen, stopped): index for index, example in enumerate(examples)}
            failure: BaseException | None = None
            for future in as_completed(asked):
                error = _error_of(future)
                if error is None:
                    yield asked[future], future.result()
                elif failure is None or isinstance(failure, StoppedError):
                    failure = error
                    stopped.set()
            if failure is not None:
                raise failure
        finally:
            stopped.set()
            pool.shutdown(cancel_futures=True)

    def rank(self, examples: Sequence[Example]) -> Iterator[tuple[int, tuple[float, ...] | VisiglotError]]:
        """Raises EvaluationError: a chat endpoint doesn't say how likely a given answer is."""
        raise EvaluationError(
            f"{self.name}: a chat endpoint doesn't say how likely a given answer is",
            hint="Let it generate its answers: leave --answers out.",
        )

    def _one(self, example: Example, settings: dict[str, Any], stopped: threading.Event) -> str | VisiglotError:
        if stopped.is_set():
            raise StoppedError
        try:
            messages = [_message(turn, example.images) for turn in asked_turns(example)]
        except VisiglotError as error:
            return error
        try:
            reply = self._endpoint.ask({"model": self._model, "messages": messages, **settings}, stopped)
        except TextRefusedError as error:
            return EvaluationError(f"{self.name} refuses the request: {error}")
        if reply.refusal is not None or reply.content is None:
            return EvaluationError(f"{self.name} declines to answer: {reply.refusal or 'there is no content'}")
        return reply.content.strip()


def request_settings(settings: Settings) -> dict[str, Any]:
    """Fields of a request that say how an answer is made: greedily.

    Raises:
        EvaluationError: a setting has an effect that chat endpoints have no field for.
    """
    plain = Settings()
    kept = ("max_new_tokens",)
    if wrong := [f.name for f in fields(Settings) if f.name not in kept and _differ(settings, plain, f.name)]:
        raise EvaluationError(
            "a chat endpoint can't be told "
            + ", ".join(f"{name}={getattr(settings, name)}" for name in wrong)
            + ", which the benchmark generates with",
            hint="Ask with --beams 1, or evaluate a model that runs here.",
        )
    return {"max_tokens": settings.max_new_tokens, "temperature": 0}


def _differ(settings: Settings, plain: Settings, name: str) -> bool:
    if name == "length_penalty" and settings.beams == 1:
        return False  # it ranks beams, of which there is one
    return bool(getattr(settings, name) != getattr(plain, name))


def _message(turn: Message, images: Sequence[ImageRef]) -> dict[str, Any]:
    """A turn in the form of the chat API: one text, or parts where it shows a picture."""
    if not any(isinstance(part, ImageSlot) for part in turn.content):
        return {"role": turn.role, "content": turn.text}
    parts: list[dict[str, Any]] = []
    for part in turn.content:
        if isinstance(part, ImageSlot):
            parts.append({"type": "image_url", "image_url": {"url": data_url(images[part.index])}})
        else:
            parts.append({"type": "text", "text": part})
    return {"role": turn.role, "content": parts}


def data_url(ref: ImageRef) -> str:
    """A picture as a `data:` URL, as its file has it where every endpoint reads that, else as PNG.

    Raises:
        ImageError: it can't be read.
    """
    picture = load_image(ref)
    data = ref.read()
    kind = next((kind for start, kind in AS_IT_IS.items() if data.startswith(start)), None)
    if kind is None:
        kind, buffer = "image/png", io.BytesIO()
        picture.save(buffer, format="PNG")
        data = buffer.getvalue()
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _error_of(future: Future[Any]) -> BaseException | None:
    return StoppedError() if future.cancelled() else future.exception()

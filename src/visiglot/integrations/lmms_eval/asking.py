"""What lmms-eval says of a request -> examples and settings of Visiglot's. Pure, and without lmms-eval.

Fields of a request's `generation_kwargs` mean what they mean in `transformers`' GenerationConfig; those that nothing
here has a word for are refused, so that no task is answered in another way than it says.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from visiglot.errors import EvaluationError, LanguageError, PromptError
from visiglot.images import as_shown
from visiglot.languages import language
from visiglot.models.decode import Decoding
from visiglot.types import Example, ImageRef, ImageSlot, Message

MARK = "<image>"
"""How tasks say in a text where a picture stands."""

MAX_NEW_TOKENS = 1024
"""Where a task says nothing; lmms-eval's own `llava_hf` has the same."""

DECODING = {
    "max_new_tokens": "max_new_tokens",
    "min_new_tokens": "min_new_tokens",
    "num_beams": "beams",
    "length_penalty": "length_penalty",
    "repetition_penalty": "repetition_penalty",
}
"""Field of generation_kwargs -> field of `Decoding`, of all answers."""

SAMPLING = {"temperature": "temperature", "top_p": "top_p", "top_k": "top_k"}
"""The same, of answers that are sampled."""

ELSEWHERE = frozenset({"until", "do_sample", "seed"})
"""Fields that are heeded in another way."""

WITHOUT_EFFECT = frozenset({"image_aspect_ratio", "use_cache"})
"""Fields that tell other models how to work and don't change what is asked."""

OF_LANGUAGE = ("language", "lang")
"""Columns of a data set that may say which language a row is in."""


def decoding_of(options: Mapping[str, Any]) -> Decoding:
    """How a request is answered; `seed` is that of all its task's requests.

    Nothing is sampled where `do_sample` is false, or where neither it nor a temperature above 0 asks for it.

    Raises:
        EvaluationError: a field that isn't known.
        ConfigError: a value out of range, or sampling with several beams.
    """
    known = {*DECODING, *SAMPLING, *ELSEWHERE, *WITHOUT_EFFECT}
    if unknown := sorted(options.keys() - known):
        raise EvaluationError(
            f"generation_kwargs: {', '.join(f'{name}={options[name]!r}' for name in unknown)} can't be heeded",
            hint=f"Take it out of the task or of --gen_kwargs. Known: {', '.join(sorted(known))}.",
        )
    given = {name: value for name, value in options.items() if value is not None}
    temperature = float(given.get("temperature", 1.0 if given.get("do_sample") else 0.0))
    sampled = temperature > 0 and given.get("do_sample", True)
    fields = {**DECODING, **(SAMPLING if sampled else {})}
    values = {field: given[name] for name, field in fields.items() if name in given}
    if sampled:
        values["temperature"] = temperature
    return Decoding(**{"max_new_tokens": MAX_NEW_TOKENS, **values, "seed": int(given.get("seed", 0))})


def stops_of(options: Mapping[str, Any]) -> tuple[str, ...]:
    """Texts that end an answer.

    Raises:
        EvaluationError: `until` is neither a text nor a list of texts.
    """
    until = options.get("until")
    stops = [until] if isinstance(until, str) else list(until) if isinstance(until, list | tuple) else until
    if stops is not None and not (isinstance(stops, list) and all(isinstance(one, str) for one in stops)):
        raise EvaluationError(f"generation_kwargs: `until` must be a text or a list of texts, found {until!r}")
    return tuple(one for one in stops or () if one)


def cut(answer: str, stops: Sequence[str]) -> str:
    """The answer up to the first text that ends it."""
    ends = [at for stop in stops if (at := answer.find(stop)) >= 0]
    return answer[: min(ends)].rstrip() if ends else answer


def language_of(document: Any, default: str) -> str:
    """FLORES-200 code of the language that a row of a data set names; `default` where it names none that is known."""
    for column in OF_LANGUAGE:
        said = document.get(column) if isinstance(document, Mapping) else None
        if isinstance(said, str):
            try:
                return language(said).code
            except LanguageError:
                continue
    return default


@contextmanager
def whole_files_only() -> Iterator[None]:
    """Let Pillow refuse files of pictures that end too soon. lmms-eval makes it show a part of them, which
    `visiglot.images` never does; the pictures that lmms-eval opened itself are as it opened them."""
    from PIL import ImageFile

    before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


class Writer:
    """Writes the turns of one example, and keeps their pictures.

    Args:
        name: of the request, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._images: list[ImageRef] = []
        self._turns: list[Message] = []

    def chat(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Turns in lmms-eval's form: `role` and `content`, a text or a list of {"type": "text" or "image"}.

        Raises:
            PromptError: something is neither text nor picture.
        """
        for message in messages:
            content = message["content"]
            parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
            pictures = [part["url"] for part in parts if part["type"] == "image"]
            texts = [part["text"] for part in parts if part["type"] == "text"]
            if others := sorted({part["type"] for part in parts} - {"text", "image"}):
                raise PromptError(f"{self._name}: the model reads texts and pictures, not {', '.join(others)}")
            first = [part["type"] for part in parts[: len(pictures)]]
            if len(texts) == 1 and "text" not in first:
                self.turn(message["role"], pictures, texts[0])
            else:
                said = [part["text"] if part["type"] == "text" else self._slot(part["url"]) for part in parts]
                self._turns.append(Message(message["role"], tuple(one for one in said if one != "")))

    def turn(self, role: Any, pictures: Sequence[Any], words: str) -> None:
        """A turn with pictures where MARK stands in its words, if there are as many marks, else before them."""
        slots = [self._slot(picture) for picture in pictures]
        pieces = words.split(MARK)
        if slots and len(pieces) == len(slots) + 1:
            between = [part for pair in zip(pieces, slots) for part in pair]
            content: list[str | ImageSlot] = [*between, pieces[-1]]
        else:
            content = [*slots, words]
        self._turns.append(Message(role, tuple(part for part in content if part != "")))

    def example(self, code: str, choices: Sequence[str] = ()) -> Example:
        """The example, in the language of that FLORES-200 code."""
        return Example(self._name, tuple(self._turns), code, tuple(self._images), choices=tuple(choices))

    def _slot(self, picture: Any) -> ImageSlot:
        self._images.append(reference(picture, f"{self._name}, picture {len(self._images) + 1}"))
        return ImageSlot(len(self._images) - 1)


def reference(picture: Any, name: str) -> ImageRef:
    """A reference to a picture in memory, which is kept as PNG, or to a file.

    Raises:
        ImageError: it can't be read.
        PromptError: it is no picture.
    """
    from PIL import Image

    if isinstance(picture, Image.Image):
        file = io.BytesIO()
        as_shown(picture, name).save(file, format="PNG", compress_level=1)
        return ImageRef(name, data=file.getvalue())
    if isinstance(picture, str | Path) and "://" not in str(picture):
        return ImageRef(name, path=Path(picture))
    raise PromptError(
        f"{name}: a picture or the path of its file is expected, found {type(picture).__name__}",
        hint="Videos, sounds and addresses of the web can't be shown.",
    )

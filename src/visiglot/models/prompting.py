"""How a model is asked in Python: pictures and prompts in, texts out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from PIL import Image

from visiglot.errors import ModelError, PromptError, VisiglotError
from visiglot.languages import ENGLISH
from visiglot.models.answer import MAX_BATCH_TOKENS, Answering, Request, row_seed
from visiglot.models.checkpoint.tensors import opened_model
from visiglot.models.decode import Answer, Decoding
from visiglot.models.processor import VisiglotProcessor
from visiglot.prompts import placing_of, with_images
from visiglot.types import Example, ImageRef, Message

Picture = Image.Image | str | Path | bytes
"""A picture in memory, the path of its file, or the file's bytes."""

DEFAULT = Decoding()

Shown = Picture | Sequence[Picture]
"""What a prompt is about: a picture, several, or an empty list."""


class Prompting:
    """The part of a `VisionLanguageModel` that answers prompts."""

    if TYPE_CHECKING:  # a PreTrainedModel has these; transformers reads a class's own annotations
        config: Any
        name_or_path: str

    _processor: VisiglotProcessor | None = None

    @property
    def processor(self) -> VisiglotProcessor:
        """The model's processor. `load_model` and `build_model` set it; else it is read from where the model is from.

        Raises:
            ModelError: the model is from nowhere.
            CheckpointError: there is no processor beside it.
        """
        if self._processor is None:
            if not self.name_or_path:
                raise ModelError(
                    "the model has no processor, which turns prompts and pictures into what it reads",
                    hint="Load both with visiglot.load_model, or set model.processor.",
                )
            self._processor = opened_model(self.name_or_path).processor()
        return self._processor

    @processor.setter
    def processor(self, processor: VisiglotProcessor) -> None:
        self._processor = processor

    @overload
    def generate(
        self,
        images: Sequence[Shown],
        prompts: Sequence[str] | Sequence[Sequence[str]],
        decoding: Decoding = ...,
        *,
        max_batch_tokens: int = ...,
        details: Literal[False] = ...,
    ) -> list[list[str]]: ...

    @overload
    def generate(
        self,
        images: Sequence[Shown],
        prompts: Sequence[str] | Sequence[Sequence[str]],
        decoding: Decoding = ...,
        *,
        max_batch_tokens: int = ...,
        details: Literal[True],
    ) -> list[list[Answer]]: ...

    def generate(
        self,
        images: Sequence[Shown],
        prompts: Sequence[str] | Sequence[Sequence[str]],
        decoding: Decoding = DEFAULT,
        *,
        max_batch_tokens: int = MAX_BATCH_TOKENS,
        details: bool = False,
    ) -> list[list[str]] | list[list[Answer]]:
        """Answer prompts about pictures. Each picture is encoded once; all prompts are decoded together.

        Args:
            images: what is shown: for each of the I entries a picture, or a list of several or of none.
            prompts: those of every entry, or a list of them for each. {image} says where a picture stands; without it
                one stands where the model learned it, and several stand first.
            decoding: of all answers. When it samples, each answer draws from a generator of its own, which follows from
                the seed and from the answer's place.
            max_batch_tokens: tokens of prompts and answers that are decoded together; the rest waits.
            details: give Answers (tokens, score, why it ended) in place of texts.

        Returns:
            For each entry, the answers of its prompts in their order, as the model says them: of a model with
            `config.pivot` with the question in English before them.

        Raises:
            VisiglotError: a picture can't be read, or a prompt and its pictures don't fit.
        """
        texts = _by_entry(images, prompts)
        pictures = _Pictures()
        requests = []
        for entry, (shown, own) in enumerate(zip(images, texts)):
            refs = pictures.references(shown, f"images[{entry}]")
            requests += [self._request((entry, place), refs, prompt, decoding) for place, prompt in enumerate(own)]
        answering = Answering(self, self.processor, max_batch_tokens=max_batch_tokens, opened=pictures.opened)
        found: dict[str, Answer] = {}
        for key, answer in answering.answer(requests):
            if isinstance(answer, VisiglotError):
                raise answer
            found[key] = answer
        answers = iter([found[request.key] for request in requests])
        nested = [[next(answers) for _ in own] for own in texts]
        return nested if details else [[answer.text for answer in own] for own in nested]

    def stream(self, image: Shown, prompt: str, decoding: Decoding = DEFAULT) -> Iterator[str]:
        """The answer of `generate([image], [prompt])` piece by piece, as whole characters; with beams in one piece.

        Of a model with `config.pivot` the question in English comes first, as there.

        Raises:
            VisiglotError: as of `generate`; at once, not by the first piece.
        """
        pictures = _Pictures()
        request = self._request((0, 0), pictures.references(image, "image"), prompt, decoding)
        return Answering(self, self.processor, opened=pictures.opened).stream(request)

    def _request(self, place: tuple[int, int], refs: tuple[ImageRef, ...], prompt: str, decoding: Decoding) -> Request:
        if not isinstance(prompt, str):
            raise _no_text("prompt", prompt)
        content = with_images(prompt, len(refs), placing_of(self.config, self.processor))
        example = Example(repr(prompt), (Message("user", content),), ENGLISH, refs)
        return Request(f"{place}", example, replace(decoding, seed=row_seed(decoding.seed, *place)))


def _by_entry(images: Sequence[Shown], prompts: Sequence[str] | Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """The prompts of each entry of `images`."""
    for name, values in (("images", images), ("prompts", prompts)):
        if not isinstance(values, Sequence) or isinstance(values, str | bytes):
            raise PromptError(f"{name}: a list is expected, found {type(values).__name__}", hint="Put it into a list.")
    if all(isinstance(prompt, str) for prompt in prompts):
        return [tuple(map(str, prompts))] * len(images)
    for place, own in enumerate(prompts):
        _check_prompts(own, f"prompts[{place}]")
    if any(isinstance(own, str) for own in prompts):
        raise PromptError(
            "prompts: some are texts, some are lists of texts", hint="Give the prompts of all, or a list for each."
        )
    if len(prompts) != len(images):
        raise PromptError(
            f"prompts: {len(prompts)} lists of them for {len(images)} entries of images",
            hint="Give one list for each entry, or a plain list of texts for all of them.",
        )
    return [tuple(own) for own in prompts]


def _check_prompts(own: Any, name: str) -> None:
    """Raises PromptError: `own` is neither a text nor a list of texts."""
    if isinstance(own, str):
        return
    if not isinstance(own, Sequence) or isinstance(own, bytes):
        raise _no_text(name, own)
    for place, prompt in enumerate(own):
        if not isinstance(prompt, str):
            raise _no_text(f"{name}[{place}]", prompt)


def _no_text(name: str, found: object) -> PromptError:
    return PromptError(f"{name}: a text is expected, found {type(found).__name__}", hint="Give a str.")


class _Pictures:
    """References to pictures; `opened` are those in memory, by the name of their reference, the same object once."""

    def __init__(self) -> None:
        self.opened: dict[str, Image.Image] = {}
        self._names: dict[int, str] = {}

    def references(self, shown: Shown, name: str) -> tuple[ImageRef, ...]:
        """Of all that a prompt shows. Raises PromptError: something is no picture."""
        if isinstance(shown, Sequence) and not isinstance(shown, str | bytes):
            return tuple(self._reference(picture, f"{name}[{place}]") for place, picture in enumerate(shown))
        return (self._reference(shown, name),)

    def _reference(self, picture: Picture, name: str) -> ImageRef:
        if isinstance(picture, Image.Image):
            name = self._names.setdefault(id(picture), name)
            self.opened[name] = picture
            return ImageRef(name, data=b"")
        if isinstance(picture, bytes):
            return ImageRef(name, data=picture)
        if isinstance(picture, str | Path):
            path = Path(picture).expanduser()
            return ImageRef(path.as_posix(), path=path)
        raise PromptError(
            f"{name}: a picture is expected, found {type(picture).__name__}",
            hint="Give a PIL image, a path, or the bytes of a file; a list of several; an empty list for none.",
        )

"""Tiny models and asks for the engine's tests, and ways to ask."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any, TypeVar

import torch
from tests.drawn import draw
from tests.tiny import PromptReader, build_tiny

from visiglot.models.answer import Answering, Request
from visiglot.models.build import Built
from visiglot.models.decode import Answer, Decoding
from visiglot.prompts import with_images
from visiglot.serve.engine import Ask, Engine, Piece
from visiglot.types import Example, ImageRef, Message

PICTURES = {colour: ImageRef(colour, data=draw(colour, "circle")) for colour in ("red", "green", "blue", "yellow")}
ENDLESS = Decoding(max_new_tokens=6000, min_new_tokens=6000)
"""An answer that takes longer than a test may."""
SECONDS = 60.0
"""After which something that should happen has not happened."""

T = TypeVar("T")


@cache
def tiny(llm: str = "t5", connector: str = "qformer") -> Built:
    """A model with weights so large that its answers vary; tests don't change it."""
    built = build_tiny(llm=llm, connector="linear" if connector == "reader" else connector)
    model = built.model
    if connector == "reader":
        width = model.config.connector["vision_width"], model.config.text_width
        model.connector = PromptReader(*width, model.config.tokens_per_image)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in [*model.language_model.parameters(), *model.connector.parameters()]:
            if parameter.dim() > 1:
                parameter.normal_(0, 0.4)
        model.get_input_embeddings().weight.normal_(0, 0.15)
    model.eval()
    return built


def ask(
    key: str = "a", *refs: ImageRef, words: str = "Caption in German: ", decoding: Decoding | None = None, **other: Any
) -> Ask:
    example = Example(key, (Message("user", with_images(words, len(refs))),), "eng_Latn", refs)
    return Ask(example, decoding or Decoding(max_new_tokens=8), **other)


def alone(built: Built, one: Ask) -> Answer:
    """The answer when nobody else asks; its text as it is streamed, since random models make malformed characters."""
    answering, request = Answering(built.model, built.processor), Request("a", one.example, one.decoding)
    found = dict(answering.answer([request]))["a"]
    assert isinstance(found, Answer)
    return replace(found, text="".join(answering.stream(request)))


@contextmanager
def running(built: Built, **settings: Any) -> Iterator[Engine]:
    engine = Engine(built.model, built.processor, **settings)
    engine.start()
    try:
        yield engine
    finally:
        engine.close()


async def pieces(engine: Engine, one: Ask) -> list[Piece]:
    return [piece async for piece in engine.stream(one)]


async def text(engine: Engine, one: Ask) -> str:
    return "".join(piece.text for piece in await pieces(engine, one))


async def gather(*waiting: Awaitable[T]) -> list[T | BaseException]:
    return await asyncio.gather(*waiting, return_exceptions=True)


async def until(happened: Callable[[], bool]) -> None:
    """Wait until `happened`, without minding how long it takes, but for an upper bound."""
    async with asyncio.timeout(SECONDS):
        while not happened():
            await asyncio.sleep(0.001)


def run(main: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(main, SECONDS))

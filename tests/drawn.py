"""Pictures that the tests draw themselves: coloured shapes, named in English and German, and text-only rows."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from tests.tiny import tiny_section

from visiglot.config import Recipe, parse_recipe
from visiglot.data.source import SOURCES
from visiglot.types import Example, ImageRef, ImageSlot, Message

COLOURS = {"red": "rot", "green": "grün", "blue": "blau", "yellow": "gelb"}
SHAPES = {"square": "Quadrat", "circle": "Kreis", "bar": "Balken"}


def draw(colour: str, shape: str) -> bytes:
    """A 32 x 32 PNG of a shape on white."""
    picture = Image.new("RGB", (32, 32), "white")
    pen = ImageDraw.Draw(picture)
    if shape == "circle":
        pen.ellipse((6, 6, 26, 26), fill=colour)
    else:
        pen.rectangle((6, 6, 26, 26) if shape == "square" else (2, 12, 30, 20), fill=colour)
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


class Drawn:
    """Every colour and shape in each language; with `text` beside them as many rows without a picture."""

    name = "drawn"

    def __init__(
        self, languages: Sequence[str], *, pictures: bool = True, text: bool = False, ask: str = "Caption: "
    ) -> None:
        self.examples: list[Example] = []
        for language in languages:
            for colour, farbe in COLOURS.items():
                for shape, form in SHAPES.items():
                    answer = f"{colour} {shape}" if language == "eng_Latn" else f"{form} {farbe}"
                    name = f"{language}/{colour}-{shape}"
                    if pictures:
                        image = ImageRef(name, data=draw(colour, shape))
                        turns = (Message("user", (ImageSlot(0), ask)), Message("assistant", (answer,)))
                        self.examples.append(Example(name, turns, language, (image,), task="caption"))
                    if text:
                        turns = (Message("user", (f"Say {shape} {colour}: ",)), Message("assistant", (answer,)))
                        self.examples.append(Example(f"{name}/text", turns, language, task="text"))
        self.by_language = {
            language: np.array([i for i, e in enumerate(self.examples) if e.language == language], dtype=np.int32)
            for language in languages
        }

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Example:
        return self.examples[index]


def build_drawn(
    *, languages: Sequence[str], seed: int, pictures: bool = True, text: bool = False, seeded: bool = False
) -> Drawn:
    """With `seeded` the prompt tells the seed, so that two seeds never train alike."""
    return Drawn(languages, pictures=pictures, text=text, ask=f"{seed}: " if seeded else "Caption: ")


if "drawn" not in SOURCES:
    SOURCES.add("drawn", build_drawn)


def drawn_recipe(*stages: dict[str, Any], llm: str = "t5", data: dict[str, Any] | None = None, **train: Any) -> Recipe:
    """A recipe on tiny parts and drawn pictures; each stage is given what differs from a short one of `generate`."""
    plain = {
        "parts": {"connector": {"train": "full"}},
        "steps": 4,
        "lr": 1e-3,
        "schedule": "constant",
        "batch": {"rows": 8},
    }
    return parse_recipe(
        {
            "name": "drawn",
            "model": tiny_section(llm=llm).model_dump(mode="json", by_alias=True, exclude_none=True),
            "data": {
                "sources": [{"type": "drawn", "options": data or {}}],
                "languages": ["eng_Latn", "deu_Latn"],
            },
            "stages": [plain | {"name": f"stage{i}"} | stage for i, stage in enumerate(stages)],
            "train": {"precision": "fp32", "log_every": 1, "save_every": 100, **train},
        },
        where="test",
    )

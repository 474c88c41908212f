"""It learns: a model with random weights comes to name drawings that it never saw, and must see them to do so."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from tests.drawn import COLOURS, SHAPES

from visiglot.config import Recipe, parse_recipe
from visiglot.data.source import SOURCES
from visiglot.models.decode import Decoding, Row, generate
from visiglot.models.load import load_model
from visiglot.render import render
from visiglot.train.loop import fit
from visiglot.train.track import Tracker
from visiglot.types import Example, ImageRef, ImageSlot, Message

LANGUAGES = {"eng_Latn": "English", "deu_Latn": "German"}
CLASSES = [(colour, shape) for colour in COLOURS for shape in SHAPES]
TRAINED, HELD_OUT = 24, 3
"""Drawings of each class that are trained on, and others that are asked about."""


def sketch(colour: str, shape: str, number: int) -> bytes:
    """A 32 x 32 PNG of a shape on white, of another size and place for each number."""
    random = np.random.default_rng([number, *f"{colour}-{shape}".encode()])
    size = random.uniform(7, 12)
    x, y = random.uniform(size + 1, 31 - size, 2)
    height = size / 3 if shape == "bar" else size
    box = (x - size, y - height, x + size, y + height)
    picture = Image.new("RGB", (32, 32), "white")
    pen = ImageDraw.Draw(picture)
    if shape == "circle":
        pen.ellipse(box, fill=colour)
    else:
        pen.rectangle(box, fill=colour)
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def name_of(language: str, colour: str, shape: str) -> str:
    return f"{colour} {shape}" if language == "eng_Latn" else f"{SHAPES[shape]} {COLOURS[colour]}"


def example_of(language: str, colour: str, shape: str, number: int, *, answered: bool) -> Example:
    image = ImageRef(f"{colour}-{shape}-{number}", data=sketch(colour, shape, number))
    turns = [Message("user", (ImageSlot(0), f"Caption in {LANGUAGES[language]}: "))]
    answer = name_of(language, colour, shape)
    if answered:
        turns.append(Message("assistant", (answer,)))
    return Example(f"{language}/{image.name}", tuple(turns), language, (image,), (answer,), task="caption")


class Sketches:
    """The trained drawings of every class, in each language."""

    name = "sketches"

    def __init__(self, languages: Sequence[str]) -> None:
        self.examples = [
            example_of(language, colour, shape, number, answered=True)
            for language in languages
            for colour, shape in CLASSES
            for number in range(TRAINED)
        ]
        each = len(CLASSES) * TRAINED
        self.by_language = {
            language: np.arange(at * each, (at + 1) * each, dtype=np.int32) for at, language in enumerate(languages)
        }

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Example:
        return self.examples[index]


def build_sketches(*, languages: Sequence[str], seed: int) -> Sketches:
    return Sketches(languages)


if "sketches" not in SOURCES:
    SOURCES.add("sketches", build_sketches)


def recipe() -> Recipe:
    """From random weights: the encoder learns against the names, then connector and language model on what it sees."""
    t5 = {"model_type": "t5", "d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 1, "num_decoder_layers": 1}
    return parse_recipe(
        {
            "name": "sketches",
            "model": {
                "vision": {
                    "config": {
                        "model_type": "resnet",
                        "layer_type": "basic",
                        "embedding_size": 16,
                        "hidden_sizes": [16, 32],
                        "depths": [1, 1],
                    },
                    "image_size": 32,
                },
                "connector": {
                    "type": "qformer",
                    "options": {
                        "num_queries": 4,
                        "width": 64,
                        "layers": 2,
                        "heads": 2,
                        "dropout": 0.0,
                        "pooled_tokens": 2,
                    },
                },
                "language_model": {
                    "config": {**t5, "num_heads": 4, "dropout_rate": 0.0},
                    "tokenizer": {"vocabulary": 350},
                },
                "prompt": {"template": "plain", "max_length": 64},
            },
            "data": {"sources": [{"type": "sketches"}], "languages": list(LANGUAGES)},
            "stages": [
                {
                    "name": "contrastive",
                    "objective": "contrastive",
                    "options": {"image": "vision", "width": 64},
                    "parts": {"vision": {"train": "full"}, "language_model": {"train": "full"}},
                    "steps": 150,
                    "warmup_steps": 10,
                    "lr": 3e-3,
                    "batch": {"rows": 48},
                },
                {
                    "name": "generate",
                    "parts": {part: {"train": "full"} for part in ("connector", "language_model")},
                    "steps": 250,
                    "warmup_steps": 20,
                    "lr": 3e-3,
                    "batch": {"rows": 48},
                },
            ],
            "train": {"precision": "fp32", "log_every": 25, "save_every": 1000},
        },
        where="test",
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sketches")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISIGLOT_CACHE", str(folder / "cache"))
        return fit(recipe(), out=folder / "run", device="cpu", report=Tracker())


def share_right(run: Path, language: str, shown: str) -> float:
    """Exact match over the held-out drawings of every class; shown are they, or (`wrong`) those of another class."""
    model, processor = load_model(str(run), device="cpu")
    rows, expected = [], {}
    for at, (colour, shape) in enumerate(CLASSES):
        for number in range(TRAINED, TRAINED + HELD_OUT):
            asked = example_of(language, colour, shape, number, answered=False)
            if shown == "wrong":  # 7 of 12 classes on: another colour and another shape
                other = example_of(language, *CLASSES[(at + 7) % len(CLASSES)], number, answered=False)
                asked = Example(asked.id, asked.messages, language, other.images, asked.references)
            (image,) = asked.images
            assert image.data is not None
            features = model.encode_images(processor.pixel_values([Image.open(BytesIO(image.data)).convert("RGB")]))
            sample = render(asked, processor.spec(), complete=True)
            rows.append(Row(asked.id, sample, features, Decoding(max_new_tokens=24)))
            (expected[asked.id],) = asked.references
    answers = {key: answer.text for key, answer in generate(model, processor, rows, max_batch_tokens=4096)}
    return sum(answers[key] == name for key, name in expected.items()) / len(expected)


@pytest.mark.parametrize("language", LANGUAGES)
def test_held_out_drawings_are_named_and_wrong_ones_are_not(trained: Path, language: str) -> None:
    right, wrong = (share_right(trained, language, shown) for shown in ("right", "wrong"))
    assert right >= 0.9
    assert wrong <= 0.1

"""Every row of the table of checkpoint formats keeps the contract of `Format`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.checkpoints import legacy_mblip, picture, stock_blip2, stock_llava
from tests.parrot_release import released_parrot
from tests.tiny import build_tiny

from visiglot.models.checkpoint.formats import FORMATS, open_model, read_config
from visiglot.models.checkpoint.weights import find_weights
from visiglot.models.load import load_model
from visiglot.types import TextContext


def ours(folder: Path) -> None:
    built = build_tiny()
    built.model.save_pretrained(folder)
    built.processor.save_pretrained(folder)


EXAMPLES: dict[str, tuple[Callable[[Path], Any], ...]] = {
    "visiglot": (ours,),
    "blip2": (stock_blip2, legacy_mblip),
    "llava": (stock_llava,),
    "parrot": (released_parrot,),
}
CASES = [pytest.param(name, make, id=f"{name}-{make.__name__}") for name, makers in EXAMPLES.items() for make in makers]


def test_every_format_has_an_example() -> None:
    assert sorted(EXAMPLES) == FORMATS.names()


@pytest.mark.parametrize(("name", "make"), CASES)
def test_one_format_reads_a_checkpoint_and_names_each_tensor_once(name: str, make: Any, tmp_path: Path) -> None:
    make(tmp_path)
    raw = read_config(str(tmp_path))
    assert [row for row, one in FORMATS.items() if one.reads(raw)] == [name]
    opened = open_model(str(tmp_path))
    assert opened is not None
    weights, unused, unknown = opened.weights()
    assert not unknown
    assert len(weights) + len(unused) == len(find_weights(str(tmp_path)))
    assert {key.partition(".")[0] for key in weights} == {"vision", "connector", "language_model"}


@pytest.mark.parametrize(("name", "make"), CASES)
def test_a_loaded_model_sees_and_its_processor_fits_it(name: str, make: Any, tmp_path: Path) -> None:
    make(tmp_path)
    model, processor = load_model(str(tmp_path), device="cpu")
    assert processor.tokens_per_image == model.config.tokens_per_image
    assert processor.image_token_id == model.config.image_token_id
    with torch.no_grad():
        words = model.word_embeddings(torch.tensor([[5, 6, 7]]))
        prompt = TextContext(words, torch.ones(1, 3, dtype=torch.bool), torch.tensor([0]))
        one, other = (
            model.image_tokens(
                model.encode_images(processor.pixel_values([picture(seed)])),
                prompt if model.connector.needs_context else None,
            )
            for seed in (1, 2)
        )
    assert one.shape[1] == model.config.tokens_per_image
    assert (one - other).abs().max() > 1e-4


@pytest.mark.parametrize("raw", [{}, {"model_type": "vit"}, {"model_type": "instructblip"}], ids=str)
def test_no_format_reads_what_is_none(raw: dict[str, Any]) -> None:
    assert not [name for name, row in FORMATS.items() if row.reads(raw)]

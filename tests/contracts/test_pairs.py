"""Any encoder with any LLM: forward, backward, generate, save and load equal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.tiny import LLM, VISION, build_tiny
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor

from visiglot.models import VisiglotProcessor, VisionLanguageModel
from visiglot.models.decode import Decoder, Decoding, Row
from visiglot.render import render
from visiglot.types import IGNORE, Example, ImageRef, ImageSlot, Message

_encoders, _llms = list(VISION), list(LLM)
SOME = sorted(
    {(_encoders[i % len(_encoders)], llm) for i, llm in enumerate(_llms)}
    | {(_encoders[(i + 3) % len(_encoders)], llm) for i, llm in enumerate(_llms)}
)
REST = [(encoder, llm) for encoder in _encoders for llm in _llms if (encoder, llm) not in SOME]


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (40, 36, 3), dtype=np.uint8))


def inputs(processor: VisiglotProcessor, *seeds: int) -> dict[str, Tensor]:
    texts = ["<image> Is this a dog?", "Two words, then <image> and more words"]
    return dict(processor(images=[picture(seed) for seed in seeds], text=texts))


def answer(model: VisionLanguageModel, processor: VisiglotProcessor, seed: int) -> tuple[int, ...]:
    example = Example(
        id="one",
        messages=(Message("user", ("Caption in German: ", ImageSlot(0))),),
        language="deu_Latn",
        images=(ImageRef("drawn", data=b""),),
    )
    sample = render(example, processor.spec(), complete=True)
    with torch.no_grad():
        features = model.encode_images(processor.pixel_values([picture(seed)]))
    rows = [Row("one", sample, features, Decoding(max_new_tokens=6, min_new_tokens=6))]
    return tuple(Decoder(model, processor).run(rows)["one"].ids)


def check_pair(encoder: str, llm: str, folder: Path) -> None:
    built = build_tiny(encoder, llm)
    model, processor = built.model, built.processor
    one = inputs(processor, 1, 2)
    if model.layout == "seq2seq":
        labels = torch.tensor([[5, 6, 1], [7, 1, IGNORE]])
    else:
        hidden = (one["input_ids"] == model.config.image_token_id) | (one["attention_mask"] == 0)
        labels = one["input_ids"].masked_fill(hidden, IGNORE)

    output = model(**one, labels=labels)
    output.loss.backward()
    for part in (model.vision, model.connector, model.language_model):
        assert sum(float(p.grad.abs().sum()) for p in part.parameters() if p.grad is not None) > 0
    assert not torch.allclose(model(**inputs(processor, 3, 2), labels=labels).logits, output.logits), "blind"

    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    again = AutoModelForImageTextToText.from_pretrained(folder)
    reader = AutoProcessor.from_pretrained(folder)
    assert torch.equal(again(**inputs(reader, 1, 2), labels=labels).logits, output.logits)
    tokens = answer(model, processor, 1)
    assert len(tokens) == 6
    assert answer(again, reader, 1) == tokens


def test_every_encoder_and_every_llm_is_in_two_fast_pairs() -> None:
    for name in _encoders:
        assert sum(encoder == name for encoder, _ in SOME) >= 2
    for name in _llms:
        assert sum(llm == name for _, llm in SOME) >= 2


@pytest.mark.parametrize(("encoder", "llm"), SOME)
def test_pair_sees_trains_answers_and_loads_equal(encoder: str, llm: str, tmp_path: Path) -> None:
    check_pair(encoder, llm, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("encoder", "llm"), REST)
def test_the_rest_of_the_product_does_too(encoder: str, llm: str, tmp_path: Path) -> None:
    check_pair(encoder, llm, tmp_path)

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from tests.tiny import build_tiny
from transformers import BlipImageProcessorPil

from visiglot.errors import PromptError
from visiglot.models.processor import VisiglotProcessor


def picture(seed: int, size: tuple[int, int] = (50, 40)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def processor() -> VisiglotProcessor:
    return build_tiny("vit", "t5").processor


def test_pictures_are_preprocessed_as_blip_does(processor: VisiglotProcessor) -> None:
    reference = BlipImageProcessorPil(size={"height": 32, "width": 32})
    pictures = [picture(1), picture(2, (10, 90))]
    expected = reference(pictures, return_tensors="pt")["pixel_values"]
    assert torch.equal(processor.pixel_values(pictures), expected)


def test_each_placeholder_takes_one_picture(processor: VisiglotProcessor) -> None:
    out = processor(images=[picture(1), picture(2), picture(3)], text=["a <image> b <image>", "no picture", "<image>"])
    held = (out["input_ids"] == processor.image_token_id).sum(1)
    assert held.tolist() == [8, 0, 4]
    assert out["slot_row"].tolist() == [0, 0, 2]
    assert out["slot_image"].tolist() == [0, 1, 2]


def test_a_picture_without_placeholder_is_refused(processor: VisiglotProcessor) -> None:
    with pytest.raises(PromptError, match=r"0 <image> placeholder\(s\), 1 picture"):
        processor(images=[picture(1)], text="no place for it")


@pytest.mark.parametrize(("llm", "side"), [("t5", "right"), ("llama", "left")])
def test_prompts_are_padded_on_the_side_that_the_layout_needs(llm: str, side: str) -> None:
    mask = build_tiny("vit", llm).processor(text=["one", "one two three four five"])["attention_mask"]
    assert mask[0, 0 if side == "right" else -1] == 1
    assert mask[0, -1 if side == "right" else 0] == 0


def test_an_encoder_prompt_ends_with_end_of_text_and_a_causal_one_does_not() -> None:
    for llm, ends in (("t5", True), ("qwen3", False)):
        processor = build_tiny("vit", llm).processor
        ids = processor(text=["dog cat"])["input_ids"][0]
        assert (int(ids[-1]) == processor.tokenizer.eos_token_id) is ends


def test_other_preprocessing_has_another_fingerprint(processor: VisiglotProcessor) -> None:
    other = build_tiny("vit", "t5").processor
    assert other.fingerprint() == processor.fingerprint()
    other.image_processor.image_mean = [0.5, 0.5, 0.5]
    assert other.fingerprint() != processor.fingerprint()

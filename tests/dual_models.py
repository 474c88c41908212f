"""Tiny random CLIP and SigLIP models, exactly as they lie on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tests.checkpoints import tokenizer_of
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPProcessor,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
    SiglipProcessor,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

SIDE = 28
_VISION = {
    "hidden_size": 20,
    "intermediate_size": 36,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": 7,
}
_TEXT = {
    "hidden_size": 20,
    "intermediate_size": 36,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 24,
}


def save_clip(folder: Path) -> Path:
    """The end token pools a text, so the tokenizer puts one behind it."""
    tokenizer = tokenizer_of("t5")
    special = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 1}
    text = {**_TEXT, "vocab_size": len(tokenizer), **special}
    torch.manual_seed(1)
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=_VISION, projection_dim=12))
    image = CLIPImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}, do_convert_rgb=True
    )
    return _save(model, CLIPProcessor(image, tokenizer), folder)


def save_siglip(folder: Path) -> Path:
    """Its tokenizer gives no mask, and its last position pools a text, padding or not."""
    tokenizer = tokenizer_of("t5")
    tokenizer.model_input_names = ["input_ids"]
    text = {**_TEXT, "vocab_size": len(tokenizer), "pad_token_id": 0, "projection_size": 20}
    torch.manual_seed(2)
    model = SiglipModel(SiglipConfig(text_config=text, vision_config=_VISION))
    image = SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE})
    return _save(model, SiglipProcessor(image, tokenizer), folder)


SAVERS = {"clip": save_clip, "siglip": save_siglip}


def _save(model: Any, processor: Any, folder: Path) -> Path:
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder

"""Tiny models from Hugging Face configs, for tests: fixed seeds, nothing downloaded."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from visiglot.config import ModelSection
from visiglot.models.build import Built, build_model
from visiglot.models.connectors import Connector
from visiglot.types import TextContext, VisionFeatures

TEXTS = [
    "Caption in German: ",
    "Hund Katze Maus Elefant Haus Baum Auto Zug Schiff Fisch",
    "dog cat mouse elephant house tree car train ship fish red green blue yellow small large",
    "perro gato ratón elefante casa árbol coche tren barco pez",
    "собака кошка мышь слон дом дерево",
    "كلب قط فأر فيل بيت شجرة",
    "犬 猫 鼠 象 家 木",
    "Question: is this a dog? yes no Answer in English with one word.",
]

_VIT = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
VISION: dict[str, dict[str, Any]] = {
    "vit": {"model_type": "vit", **_VIT, "intermediate_size": 48},
    "clip": {"model_type": "clip_vision_model", **_VIT, "intermediate_size": 48},
    "siglip": {"model_type": "siglip_vision_model", **_VIT, "intermediate_size": 48},
    "dinov2": {"model_type": "dinov2", **_VIT, "mlp_ratio": 2},
    "blip2": {
        "model_type": "blip_2_vision_model",
        "initializer_range": 0.02,  # transformers' own, 1e-10, makes an encoder that sees nothing
        **_VIT,
        "intermediate_size": 48,
    },
    "resnet": {
        "model_type": "resnet",
        "embedding_size": 8,
        "hidden_sizes": [8, 16],
        "depths": [1, 1],
        "layer_type": "basic",
    },
}

_DECODER = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 128,
}
_T5 = {"d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 2, "num_heads": 2}
LLM: dict[str, dict[str, Any]] = {
    "t5": {"model_type": "t5", **_T5},
    "mt5": {"model_type": "mt5", **_T5},
    "bloom": {"model_type": "bloom", "hidden_size": 32, "n_layer": 2, "n_head": 2},
    "llama": {"model_type": "llama", **{k: v for k, v in _DECODER.items() if k != "head_dim"}},
    "qwen2": {"model_type": "qwen2", **{k: v for k, v in _DECODER.items() if k != "head_dim"}},
    "qwen3": {"model_type": "qwen3", **_DECODER},
    "gemma": {"model_type": "gemma", **_DECODER},
    "gemma2": {"model_type": "gemma2", **_DECODER, "query_pre_attn_scalar": 16, "sliding_window": 64},
}

CONNECTOR: dict[str, dict[str, Any]] = {
    "linear": {"type": "linear"},
    "mlp": {"type": "mlp"},
    "qformer": {
        "type": "qformer",
        "options": {"num_queries": 4, "width": 16, "layers": 2, "heads": 2, "dropout": 0.0},
    },
    "parrot": {"type": "parrot", "options": {"experts": 3, "width": 8}},
    "multiscale-pool": {"type": "multiscale-pool"},
    "window-pool": {"type": "window-pool", "options": {"side": 2}},
    "window-shuffle": {"type": "window-shuffle", "options": {"factor": 2}},
}


def tiny_section(vision: str = "vit", llm: str = "t5", connector: str = "qformer", **prompt: Any) -> ModelSection:
    """The `model` section of a recipe for one tiny combination."""
    return ModelSection.model_validate(
        {
            "vision": {"config": VISION[vision], "image_size": 32},
            "connector": CONNECTOR[connector],
            "language_model": {"config": LLM[llm], "tokenizer": {"vocabulary": 420}},
            "prompt": {"max_length": 96, **prompt},
        }
    )


def build_tiny(vision: str = "vit", llm: str = "t5", connector: str = "qformer", seed: int = 0, **prompt: Any) -> Built:
    """A tiny model with its processor, in evaluation mode."""
    section = tiny_section(vision, llm, connector, **prompt)
    built = build_model(section, languages=["eng_Latn", "deu_Latn"], seed=seed, texts=lambda: TEXTS)
    built.model.eval()
    return built


class PromptReader(Connector):
    """Reads the prompt: each of a slot's tokens is the pooled picture plus the mean of the words that are seen."""

    needs_context = True

    def __init__(self, vision_width: int, text_width: int, tokens: int) -> None:
        super().__init__(vision_width, text_width)
        self.tokens = tokens
        self.projection = torch.nn.Linear(vision_width, text_width)

    def num_tokens(self, num_patches: int, grid: tuple[int, int] | None, tiles: int = 1) -> int:
        return self.tokens

    def forward(self, features: VisionFeatures, context: TextContext | None = None) -> Tensor:
        assert context is not None
        weight = context.mask[..., None].float()
        prompt = (context.embeddings * weight).sum(1) / weight.sum(1).clamp(min=1)
        one = self.projection(features.pooled)[context.image_index] + prompt
        return one[:, None].expand(-1, self.tokens, -1)

"""Models of the sizes that were released, with random weights: stock BLIP-2, and Visiglot's around the same modules.

    mt0     EVA ViT-g (986 M), Q-Former (105 M), mT0-XL with its own head (3.74 B): what mBLIP mT0-XL is made of
    bloom   the same encoder and Q-Former, BLOOMZ-7B cut to some of its 30 layers, head and embeddings in one

Smaller sizes are `mid`, `tiny`, and `base`, which one can train on a CPU: ViT-B/16 (86 M), a Q-Former of BERT-base's
size (99 M) and mT5-small's shape with its own head (300 M).

Weights are written straight into memory that nothing was put in before, so a full-size model is there in seconds. They
are such that a token's likeliest successor is fairly sure, as with trained weights: else a greedy path would hang on
the last bit of a score, and no two ways of computing it could be compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Blip2Config, Blip2ForConditionalGeneration

from visiglot.models.config import VisiglotConfig
from visiglot.models.vlm import VisionLanguageModel

IMAGE_TOKENS = 32
SOURCE = 2**22 - 3
"""Random numbers that all weights are taken from. Odd, so that no two rows of a matrix start at the same number."""
WORDS = 2.0
"""How much a word's embedding counts beside what the layers add to it."""


@dataclass(frozen=True)
class Size:
    """Settings of the parts."""

    vision: dict[str, Any]
    qformer: dict[str, Any]
    llm: dict[str, dict[str, Any]]


def _vision(width: int, layers: int, heads: int, inner: int, image: int = 224, patch: int = 14) -> dict[str, Any]:
    return {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": inner,
        "image_size": image,
        "patch_size": patch,
    }


def _qformer(width: int, layers: int, heads: int, vision_width: int) -> dict[str, Any]:
    return {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
        "encoder_hidden_size": vision_width,
    }


def _mt5(width: int, layers: int, heads: int, inner: int, vocabulary: int = 250_112) -> dict[str, Any]:
    return {
        "model_type": "mt5",
        "vocab_size": vocabulary,
        "d_model": width,
        "d_kv": 64,
        "d_ff": inner,
        "num_layers": layers,
        "num_decoder_layers": layers,
        "num_heads": heads,
        "decoder_start_token_id": 0,
        "pad_token_id": 0,
    }


def _bloom(width: int, layers: int, heads: int, vocabulary: int = 250_880) -> dict[str, Any]:
    sizes = {"vocab_size": vocabulary, "hidden_size": width, "n_layer": layers, "n_head": heads}
    return {"model_type": "bloom", "pad_token_id": 3, **sizes}


SIZES = {
    "full": Size(
        _vision(1408, 39, 16, 6144),
        _qformer(768, 12, 12, 1408),
        {"mt0": _mt5(2048, 24, 32, 5120), "bloom": _bloom(4096, 4, 32)},
    ),
    "base": Size(
        _vision(768, 12, 12, 3072, patch=16),
        _qformer(768, 12, 12, 768),
        {"mt0": _mt5(512, 8, 6, 1024), "bloom": _bloom(512, 8, 8)},
    ),
    "mid": Size(
        _vision(768, 12, 12, 3072, patch=16),
        _qformer(768, 6, 12, 768),
        {"mt0": _mt5(768, 8, 12, 2048), "bloom": _bloom(1024, 8, 16)},
    ),
    "tiny": Size(
        _vision(32, 2, 2, 64, image=28),
        _qformer(32, 2, 2, 32),
        {"mt0": _mt5(32, 2, 2, 64, vocabulary=3000), "bloom": _bloom(32, 2, 2, vocabulary=3000)},
    ),
}


def build_stock(size: str, llm: str, dtype: torch.dtype, *, share: float = 1.0) -> Any:
    """Stock BLIP-2 with random weights, which never ends an answer by itself.

    Args:
        share: of the layers of the vision encoder and the language model, for times that are extrapolated.
    """
    parts = SIZES[size]
    vision, text = dict(parts.vision), dict(parts.llm[llm])
    for settings in (vision, text):
        for name in ("num_hidden_layers", "num_layers", "num_decoder_layers", "n_layer"):
            if name in settings:
                settings[name] = round(settings[name] * share)
    vocabulary = text["vocab_size"]
    config = Blip2Config(
        vision_config=vision,
        qformer_config={"vocab_size": 2, **parts.qformer},
        text_config=text,
        num_query_tokens=IMAGE_TOKENS,
        image_token_index=vocabulary - 10,
    )
    with torch.device("meta"):
        model = Blip2ForConditionalGeneration(config).to(dtype).eval()
    model.to_empty(device="cpu")
    language_model = model.language_model
    embeddings = language_model.get_input_embeddings()
    if llm == "mt0":
        language_model.encoder.embed_tokens = language_model.decoder.embed_tokens = embeddings
    else:
        language_model.lm_head.weight = embeddings.weight
    _fill(model, dtype)
    _make_sure(language_model, llm)
    # an id that isn't in the vocabulary: nothing ends early, and nothing has to be forbidden at each step
    language_model.generation_config.eos_token_id = model.generation_config.eos_token_id = vocabulary
    return model


@torch.no_grad()
def _make_sure(language_model: Any, llm: str) -> None:
    """Let a token's likeliest successor be the next one of the vocabulary (mt0) or itself (bloom, whose head is tied).

    Scores have a variance of one, and the likeliest token some ten more than the others' mean. The first token of mt0
    has nothing before it and hangs on the picture and the prompt alone.
    """
    embeddings = language_model.get_input_embeddings().weight
    width = embeddings.shape[1]
    if llm == "mt0":
        head = language_model.lm_head.weight
        head.copy_(embeddings.roll(1, 0)).mul_(width**-0.5)
        embeddings.mul_(WORDS)
        embeddings[language_model.config.decoder_start_token_id] = 0
    else:
        language_model.transformer.word_embeddings_layernorm.weight.fill_(WORDS)
        language_model.transformer.ln_f.weight.fill_(width**-0.5)


@torch.no_grad()
def _fill(model: nn.Module, dtype: torch.dtype) -> None:
    """Random weights of unit gain: norms 1, biases 0, the rest normal with a variance of 1 / inputs."""
    source = torch.randn(SOURCE, generator=torch.Generator().manual_seed(0)).to(dtype)
    start = 0
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            parameter.fill_(1.0 if name.endswith("weight") else 0.0)
            continue
        inputs = parameter[0].numel()
        scale = inputs**-0.5
        if "embed" in name or "shared" in name or "query_tokens" in name or "relative_attention_bias" in name:
            scale = 1.0
        if name.endswith(("SelfAttention.q.weight", "EncDecAttention.q.weight")):
            scale *= 64**-0.5  # T5 doesn't scale its attention scores
        start = _take(parameter.data.view(-1), source, start, scale)


def _take(target: Tensor, source: Tensor, start: int, scale: float) -> int:
    """Fill `target` from `source`, beginning at `start` and over and over; where it ended."""
    done = 0
    while done < len(target):
        count = min(len(target) - done, len(source) - start)
        torch.mul(source[start : start + count], scale, out=target[done : done + count])
        done, start = done + count, (start + count) % len(source)
    return start


def wrap(stock: Any) -> VisionLanguageModel:
    """A `VisionLanguageModel` of the modules of `stock`; nothing is copied."""
    config, parts = stock.config, stock.config.qformer_config
    options = {
        "num_queries": IMAGE_TOKENS,
        "width": parts.hidden_size,
        "layers": parts.num_hidden_layers,
        "heads": parts.num_attention_heads,
    }
    with torch.device("meta"):
        model = VisionLanguageModel(
            VisiglotConfig(
                vision_config=config.vision_config,
                text_config=config.text_config,
                connector={
                    "type": "qformer",
                    "vision_width": config.vision_config.hidden_size,
                    "options": options,
                },
                tokens_per_image=IMAGE_TOKENS,
                image_token_id=config.image_token_index,
            )
        ).eval()
    model.vision.model = stock.vision_model
    model.connector.queries = stock.query_tokens
    model.connector.qformer = stock.qformer
    model.connector.projection = stock.language_projection
    model.language_model = stock.language_model
    return model

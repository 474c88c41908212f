"""Tiny random checkpoints of other formats, exactly as they lie on disk: stock BLIP-2 and LLaVA, and mBLIP of 2023.

Widths are unlike the real ones and unlike each other, so that nothing can be hard-coded.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tests.tiny import TEXTS
from tokenizers.processors import TemplateProcessing
from torch import Tensor
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    BlipImageProcessorPil,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    PaliGemmaProcessor,
    SiglipImageProcessorPil,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from visiglot.models.tokenizer import train_tokenizer

SIDE = 28
QUERIES = 5
SPARE = 9
"""Rows of the embedding table that no token has: the placeholder gets the first of them."""
PROMPTS = ("Caption in German: ", "Question: is this a dog? Answer in English with one word.", "perro gato")

_VISION = {
    "hidden_size": 20,
    "intermediate_size": 36,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": 7,
    "initializer_range": 0.3,  # transformers' own for BLIP-2, 1e-10, makes an encoder that sees nothing
}
_QFORMER = {
    "hidden_size": 24,
    "intermediate_size": 44,
    "num_hidden_layers": 4,
    "num_attention_heads": 3,
    "encoder_hidden_size": 20,
    "vocab_size": 50,
}
_T5 = {"d_model": 32, "d_kv": 7, "d_ff": 52, "num_layers": 2, "num_heads": 3, "decoder_start_token_id": 0}
_LLAMA = {
    "hidden_size": 32,
    "intermediate_size": 52,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 160,
}
LLMS: dict[str, dict[str, Any]] = {
    "mt5": {"model_type": "mt5", **_T5},
    "t5": {"model_type": "t5", **_T5, "feed_forward_proj": "gated-gelu"},
    "bloom": {"model_type": "bloom", "hidden_size": 32, "n_layer": 2, "n_head": 4},
    "opt": {
        "model_type": "opt",
        "hidden_size": 32,
        "word_embed_proj_dim": 32,
        "ffn_dim": 52,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 160,
    },
    "llama": {"model_type": "llama", **_LLAMA},
    "qwen2": {"model_type": "qwen2", **_LLAMA},
}
_BOS = ("opt", "llama")
_SEQ2SEQ = ("mt5", "t5")


def picture(seed: int, size: tuple[int, int] = (40, 33)) -> Image.Image:
    """Random pixels."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (size[1], size[0], 3), generator=generator, dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())


@cache
def _trained() -> Any:
    return train_tokenizer(TEXTS, 420)


def tokenizer_of(llm: str) -> Any:
    """A tokenizer that puts the special tokens where the family's own does."""
    import copy

    tokenizer = copy.deepcopy(_trained())
    if llm in _SEQ2SEQ:
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
        )
    if llm in _BOS:
        tokenizer.add_special_tokens({"bos_token": "<s>"})
        bos = tokenizer.bos_token_id
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", bos)]
        )
    tokenizer.padding_side = "right" if llm in _SEQ2SEQ else "left"
    return tokenizer


def text_config(llm: str, tokenizer: Any) -> dict[str, Any]:
    special = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": tokenizer.bos_token_id}
    return {**LLMS[llm], "vocab_size": len(tokenizer) + SPARE, **special}


@torch.no_grad()
def stir(model: torch.nn.Module, seed: int = 0) -> None:
    """Give every weight some size, biases and norms too, so that a lost one is seen; the head its own numbers."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.add_(noise * (0.1 if parameter.dim() == 1 else 0.08))


def stock_blip2(folder: Path, llm: str = "mt5", *, shard: str = "50GB") -> Blip2ForConditionalGeneration:
    """A `Blip2ForConditionalGeneration` on disk as transformers writes it today, with its processor; and in memory."""
    tokenizer = tokenizer_of(llm)
    processor = Blip2Processor(
        BlipImageProcessorPil(size={"height": SIDE, "width": SIDE}), tokenizer, num_query_tokens=QUERIES
    )
    config = Blip2Config(
        vision_config=_VISION,
        qformer_config=_QFORMER,
        text_config=text_config(llm, tokenizer_of(llm)),
        num_query_tokens=QUERIES,
        image_token_index=processor.tokenizer.convert_tokens_to_ids("<image>"),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Blip2ForConditionalGeneration(config).eval()
    if llm == "mt5":  # as mT0's: a head of its own although the config says tied
        head = model.language_model.lm_head
        head.weight = torch.nn.Parameter(head.weight.detach().clone())
    stir(model)
    model.save_pretrained(folder, max_shard_size=shard)
    processor.save_pretrained(folder)
    return model


def legacy_mblip(folder: Path, llm: str = "mt5", *, shards: int = 2) -> Blip2ForConditionalGeneration:
    """mBLIP as it was released in 2023: `.bin` shards, BLIP-2's config without what came later; the model in memory."""
    model = stock_blip2(folder / "stock", llm)
    tokenizer = tokenizer_of(llm)
    tokenizer.save_pretrained(folder)
    _write_bins(folder, old_state(model), shards)
    raw = json.loads((folder / "stock" / "config.json").read_text(encoding="utf-8"))
    for later in ("image_token_index", "image_token_id", "dtype", "image_text_hidden_size"):
        raw.pop(later, None)
    raw["architectures"] = ["mBLIP"]
    raw["is_encoder_decoder"] = raw["text_config"]["is_encoder_decoder"] = True
    raw["text_config"]["tie_word_embeddings"] = raw["tie_word_embeddings"] = True
    raw["use_decoder_only_language_model"] = llm == "bloom"
    raw["torch_dtype"] = "float32"
    raw["transformers_version"] = None
    (folder / "config.json").write_text(json.dumps(raw), encoding="utf-8")
    preprocessing = {
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_processor_type": "BlipImageProcessor",
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "processor_class": "Blip2Processor",
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"height": SIDE, "width": SIDE},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing), encoding="utf-8")
    path = folder / "tokenizer_config.json"
    old = json.loads(path.read_text(encoding="utf-8"))
    old["tokenizer_class"] = "T5TokenizerFast" if llm == "mt5" else "BloomTokenizerFast"
    old["processor_class"] = "Blip2Processor"
    if llm == "mt5":
        old["extra_ids"] = 0
    path.write_text(json.dumps(old), encoding="utf-8")
    return model


def old_state(model: Blip2ForConditionalGeneration) -> dict[str, Tensor]:
    """A state dict as of 2023: tied tensors under each of their names, and what later versions no longer write."""
    state = dict(model.state_dict())
    state["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    return state


def _write_bins(folder: Path, state: dict[str, Tensor], shards: int) -> None:
    names = sorted(state)
    share = -(-len(names) // shards)
    weight_map = {}
    for number in range(shards):
        file = f"pytorch_model-{number + 1:05d}-of-{shards:05d}.bin"
        part = {name: state[name].clone() for name in names[number * share : (number + 1) * share]}
        torch.save(part, folder / file)
        weight_map.update(dict.fromkeys(part, file))
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index), encoding="utf-8")


def stock_llava(
    folder: Path, llm: str = "llama", vision: str = "clip_vision_model", strategy: str = "default"
) -> LlavaForConditionalGeneration:
    """A `LlavaForConditionalGeneration` on disk as transformers writes it today; and in memory."""
    tokenizer = tokenizer_of(llm)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    tokens = (SIDE // 7) ** 2
    processor = LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}),
        tokenizer,
        patch_size=7,
        vision_feature_select_strategy=strategy,
        num_additional_image_tokens=1 if vision == "clip_vision_model" else 0,
        chat_template="{% for m in messages %}USER: {% for c in m['content'] %}{% if c['type'] == 'image' %}<image>\n"
        "{% endif %}{% endfor %}{% for c in m['content'] %}{% if c['type'] == 'text' %}{{ c['text'] }} {% endif %}"
        "{% endfor %}{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}",
    )
    config = LlavaConfig(
        vision_config={"model_type": vision, **_VISION},
        text_config=text_config(llm, tokenizer),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=tokens + (strategy == "full" and vision == "clip_vision_model"),
        vision_feature_select_strategy=strategy,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlavaForConditionalGeneration(config).eval()
    stir(model)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return model


def stock_paligemma(folder: Path) -> PaliGemmaForConditionalGeneration:
    """A `PaliGemmaForConditionalGeneration` on disk, a format that isn't one of ours; and in memory."""
    tokenizer = tokenizer_of("llama")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    image_processor = SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE})
    image_processor.image_seq_length = (SIDE // 7) ** 2
    processor = PaliGemmaProcessor(image_processor, tokenizer)
    text = {"model_type": "gemma", "head_dim": 8, **_LLAMA}
    config = PaliGemmaConfig(
        vision_config={"model_type": "siglip_vision_model", "projection_dim": 32, **_VISION},
        text_config={
            **text,
            "vocab_size": len(processor.tokenizer) + SPARE,
            "pad_token_id": 0,
            "eos_token_id": 1,
            "tie_word_embeddings": False,
        },
        image_token_index=processor.tokenizer.convert_tokens_to_ids("<image>"),
        projection_dim=32,
        hidden_size=32,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = PaliGemmaForConditionalGeneration(config).eval()
    stir(model)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return model

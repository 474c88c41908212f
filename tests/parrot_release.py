"""A tiny Parrot exactly as its authors' files have it, and what it computes, written from the equations of its code.

The reference uses stock CLIP and Qwen 2 of transformers and plain tensors between them, one row at a time.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tests.checkpoints import SPARE, stir, tokenizer_of
from torch import Tensor, nn
from torch.nn.functional import gelu, silu
from transformers import CLIPVisionConfig, CLIPVisionModel, Qwen2Config, Qwen2ForCausalLM

SIDE, PATCH, EXPERTS, INNER, WIDTH = 28, 7, 3, 20, 32
TOWER = {
    "hidden_size": 128,  # two heads of 64, as OpenAI's are
    "intermediate_size": 36,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": PATCH,
}
PARROT = {
    "mm_vision_tower": "/models/clip-vit-tiny",
    "use_mm_proj": True,
    "mm_projector_type": "mlp2x_gelu",
    "mm_hidden_size": 128,
    "mm_vision_select_layer": -2,
    "mm_vision_select_feature": "cls_patch",
    "mm_patch_merge_type": "flat",
    "num_experts": EXPERTS,
    "moe_hidden_size": WIDTH,
    "moe_intermediate_size": INNER,
    "moe_top_k": EXPERTS,
    "moe_weight": 0.1,
    "use_moe": True,
    "use_moe_residual": True,
    "image_aspect_ratio": "pad",
    "tokenizer_padding_side": "right",
    "tokenizer_model_max_length": 300,
    "tune_mm_mlp_adapter": False,
    "freeze_mm_mlp_adapter": False,
    "mm_projector_lr": None,
}


@dataclass
class Reference:
    """The released model by its equations."""

    tower: CLIPVisionModel
    projector: nn.Sequential
    moe: dict[str, Tensor]
    llm: Qwen2ForCausalLM
    use_moe: bool = True
    use_moe_residual: bool = True

    def visual(self, pixels: Tensor, words: Tensor) -> Tensor:
        """G_v [N, D] of one picture [3, H, W] whose prompt has the word embeddings H_t [L, D]."""
        z = self.tower(pixels[None], output_hidden_states=True).hidden_states[-2][0]
        first, second = self.projector[0], self.projector[2]
        h = gelu(z @ first.weight.T + first.bias) @ second.weight.T + second.bias
        if not self.use_moe:
            return h
        attention = torch.softmax(h[:1] @ words.T / math.sqrt(h.shape[1]), dim=-1)  # equation 2
        p = torch.softmax((attention @ words) @ self.moe["gate.weight"].T, dim=-1)[0]  # equation 3
        out = torch.zeros_like(h)
        for i in range(EXPERTS):
            gate, up, down = (self.moe[f"experts.{i}.{name}_proj.weight"] for name in ("gate", "up", "down"))
            out += p[i] * ((silu(h @ gate.T) * (h @ up.T)) @ down.T)
        return out + 0.1 * h if self.use_moe_residual else out

    def logits(self, pixels: Tensor, before: list[int], after: list[int]) -> Tensor:
        """[L, V] for one row: ids, a picture, ids."""
        embed = self.llm.get_input_embeddings()
        words = embed(torch.tensor(before + after))
        row = torch.cat([words[: len(before)], self.visual(pixels, words), words[len(before) :]])
        return self.llm(inputs_embeds=row[None]).logits[0]


@torch.no_grad()
def released_parrot(folder: Path, **changes: Any) -> Reference:
    """Write the checkpoint; `changes` are to its config.json."""
    tokenizer = tokenizer_of("qwen2")
    values = {
        "hidden_size": WIDTH,
        "intermediate_size": 52,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 320,
        "vocab_size": len(tokenizer) + SPARE,
        "rope_theta": 1000.0,
        "tie_word_embeddings": False,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": 2,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tower = CLIPVisionModel(CLIPVisionConfig(**TOWER)).eval()
        projector = nn.Sequential(nn.Linear(128, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))
        llm = Qwen2ForCausalLM(Qwen2Config(**values)).eval()
        moe = {"gate.weight": torch.randn(EXPERTS, WIDTH)}
        for i in range(EXPERTS):
            for name, shape in (("gate", (INNER, WIDTH)), ("up", (INNER, WIDTH)), ("down", (WIDTH, INNER))):
                moe[f"experts.{i}.{name}_proj.weight"] = torch.randn(shape) / 4
    for module in (tower, projector, llm):
        stir(module)
    state = {f"model.vision_tower.vision_tower.vision_model.{k}": v for k, v in tower.state_dict().items()}
    state["model.vision_tower.vision_tower.vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    state |= {f"model.mm_projector.{key}": value for key, value in projector.state_dict().items()}
    state |= {f"model.moe_model.{key}": value for key, value in moe.items()}
    state |= llm.state_dict()
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    save_file({key: value.contiguous() for key, value in state.items()}, folder / "model.safetensors")
    raw = {"architectures": ["ParrotQwen2ForCausalLM"], "model_type": "parrot_qwen2", "torch_dtype": "float32"}
    raw |= {**values, **PARROT, **changes}
    (folder / "config.json").write_text(json.dumps(raw), encoding="utf-8")
    flags = {key: raw[key] for key in ("use_moe", "use_moe_residual")}
    return Reference(tower, projector, moe, llm, **flags)  # type: ignore[arg-type]

"""Parrot as its authors release it (`ParrotQwen2ForCausalLM`; arXiv 2406.02539, huggingface.co/AIDC-AI/Parrot-7B).

OpenAI's CLIP, a perceptron or a linear layer, the mixture of experts, Qwen 2. transformers has no class of it, so that
it can be read, and is saved in our own format.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from transformers import CLIPVisionConfig, LlavaImageProcessorPil, Qwen2Config

from visiglot.errors import CheckpointError
from visiglot.models import language_model as lm
from visiglot.models.checkpoint.formats import FORMATS, Format, read_config
from visiglot.models.checkpoint.naming import PARROT
from visiglot.models.checkpoint.stock import load_tokenizer
from visiglot.models.checkpoint.weights import find_weights
from visiglot.models.config import VisiglotConfig
from visiglot.models.processor import VisiglotProcessor

CAPTION_PROMPT = "{image}\nDescribe the image in {language} in one sentence."
TEMPLATE = "chatml-assistant"
HEAD_WIDTH = 64
"""Of each of OpenAI's CLIP encoders; the only number of the encoder that neither the config nor a shape says."""
_TOWER = "model.vision_tower.vision_tower.vision_model."
_NOT_QWEN = re.compile(r"(mm_|moe_|use_m|tune_mm|freeze_|image_|tokenizer_)|(num_experts|model_type|architectures)$")
"""Keys of the config that aren't of the LLM."""


class Parrot(Format):
    """A picture's tokens, CLS included, go through a perceptron and through experts that the prompt weighs."""

    unused: ClassVar[tuple[str, ...]] = (r"\bposition_ids$", r"\brotary_emb\.inv_freq$")
    settles_generation = True

    def reads(self, raw: Mapping[str, Any]) -> bool:
        return raw.get("model_type") == "parrot_qwen2"

    def config(self, raw: Mapping[str, Any], where: str) -> VisiglotConfig:
        _refuse_others(raw, where)
        text = Qwen2Config(**{key: value for key, value in raw.items() if not _NOT_QWEN.match(key)})
        lm.settle_layout(text)
        vision = _vision_config(where)
        keeps_cls = raw.get("mm_vision_select_feature") == "cls_patch"
        inner = _inner(raw["mm_projector_type"], keeps_cls)
        options = {
            "inner": inner,
            "experts": raw["num_experts"],
            "width": raw["moe_intermediate_size"],
            "residual": "released",
            # the defaults are those of the code for a config that lacks the key
            "alpha": raw.get("moe_weight", 1.0) if raw.get("use_moe_residual", True) else 0.0,
            "gate_text": "prompt",
            "bypassed": not raw.get("use_moe", True),
        }
        patches = (vision.image_size // vision.patch_size) ** 2
        return VisiglotConfig(
            vision_config=vision,
            text_config=text,
            connector={"type": "parrot", "vision_width": vision.hidden_size, "options": options, "words": None},
            vision_layer=raw["mm_vision_select_layer"],
            tokens_per_image=patches + keeps_cls,
            image_token_id=text.vocab_size,  # theirs, -200, is in no vocabulary either
            template=TEMPLATE,
            max_length=raw.get("tokenizer_model_max_length") or 2048,
            caption_prompt=CAPTION_PROMPT,
            image_first=True,
            image_gap="\n",
            dtype=text.dtype,
        )

    def name(self, key: str) -> str | None:
        return PARROT.ours(key)

    def image_processor(self, where: str, config: VisiglotConfig) -> Any:
        """CLIP's preprocessing, after padding to a square with the mean colour where the model was trained so."""
        side = config.vision_config.image_size
        return LlavaImageProcessorPil(
            do_pad=_aspect(where) == "pad",
            size={"shortest_edge": side},
            crop_size={"height": side, "width": side},
        )

    def processor(self, where: str, config: VisiglotConfig) -> VisiglotProcessor:
        return VisiglotProcessor(
            self.image_processor(where, config),
            load_tokenizer(where),
            image_token_id=config.image_token_id,
            tokens_per_image=config.tokens_per_image,
            layout=config.layout,
            family=config.text_config.model_type,
            template=config.template,
            max_length=config.max_length,
        )


def _refuse_others(raw: Mapping[str, Any], where: str) -> None:
    """Raise CheckpointError for what the code has options for, and ours hasn't."""
    kind, feature = raw.get("mm_projector_type", ""), raw.get("mm_vision_select_feature")
    wrong = {
        "mm_projector_type": _depth(kind) is None,
        "mm_vision_select_feature": feature != "cls_patch" and (raw.get("use_moe", True) or feature != "patch"),
        "mm_patch_merge_type": raw.get("mm_patch_merge_type", "flat") != "flat",
        "image_aspect_ratio": raw.get("image_aspect_ratio") not in (None, "square", "pad"),
        "mm_vision_select_layer": not isinstance(raw.get("mm_vision_select_layer"), int),
        "moe_hidden_size": raw.get("moe_hidden_size", raw.get("hidden_size")) != raw.get("hidden_size"),
        "num_experts": "num_experts" not in raw,
        "moe_intermediate_size": "moe_intermediate_size" not in raw,
    }
    if any(wrong.values()):
        found = ", ".join(f"{key} {raw.get(key)!r}" for key, is_wrong in wrong.items() if is_wrong)
        raise CheckpointError(
            f"{where} has {found}, which can't be read",
            hint="CLIP with cls_patch, a linear layer or a perceptron, and whole pictures (square or pad) can be.",
        )


def _depth(kind: str) -> int | None:
    """Layers of a projector by its name ("linear", "mlp2x_gelu"); None for other kinds."""
    found = re.fullmatch(r"mlp(\d+)x_gelu", kind)
    return int(found[1]) if found else 1 if kind == "linear" else None


def _inner(kind: str, keeps_cls: bool) -> dict[str, Any]:
    options: dict[str, Any] = {"keep_prefix": keeps_cls}
    if kind == "linear":
        return {"type": "linear", "options": options}
    return {"type": "mlp", "options": {"depth": _depth(kind), **options}}


def _vision_config(where: str) -> CLIPVisionConfig:
    """The encoder's, from the shapes of its tensors, which no value of the config gives.

    Raises:
        CheckpointError: the checkpoint has no such encoder.
    """
    found = find_weights(where).below(_TOWER)
    needed = ("embeddings.patch_embedding.weight", "embeddings.position_embedding.weight")
    layers = {int(name[1]) for name in (re.match(r"encoder\.layers\.(\d+)\.", key) for key in found) if name}
    if not all(name in found for name in needed) or not layers:
        raise CheckpointError(
            f"{where} holds no vision encoder below {_TOWER!r}", hint="Fetch all files of the model again."
        )
    (width, channels, patch, _), (positions, _) = (found[name].shape for name in needed)
    if width % HEAD_WIDTH:
        raise CheckpointError(
            f"{where}: its encoder is {width} wide, which no encoder of OpenAI's CLIP is",
            hint=f"Encoders whose heads are {HEAD_WIDTH} wide can be read.",
        )
    return CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=found["encoder.layers.0.mlp.fc1.weight"].shape[0],
        num_hidden_layers=len(layers),
        num_attention_heads=width // HEAD_WIDTH,
        num_channels=channels,
        patch_size=patch,
        image_size=math.isqrt(positions - 1) * patch,
    )


def _aspect(where: str) -> str | None:
    """How pictures that are no squares were put before the encoder."""
    value: str | None = read_config(where).get("image_aspect_ratio")
    return value


FORMATS.add("parrot", Parrot())

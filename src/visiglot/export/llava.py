"""`--to llava`: any encoder whose patches transformers' LLaVA can read, two layers, a causal LLM (arXiv 2310.03744)."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import nn
from transformers import AutoModel, LlavaConfig, LlavaProcessor

from visiglot.errors import VisiglotError
from visiglot.export.prepare import speaking_tokenizer
from visiglot.export.stock import StockTarget
from visiglot.export.targets import TARGETS
from visiglot.models import language_model as lm
from visiglot.models.checkpoint import first_line
from visiglot.models.checkpoint.naming import LLAVA
from visiglot.models.vision import build_encoder, encoder_class, image_size_of
from visiglot.models.vlm import VisionLanguageModel
from visiglot.render import load_template

TIED = "embed_tokens"
"""What LLaVA takes a tied embedding to be called."""
_AROUND_HEAD = ("logit_scale", "logits_scaling", "final_logit_softcapping")
"""Settings by which LLMs change what their head gives; LLaVA's head is a linear layer and no more."""


class Llava(StockTarget):
    """`LlavaForConditionalGeneration`."""

    name: ClassVar[str] = "llava"
    model_class: ClassVar[str] = "LlavaForConditionalGeneration"
    processor_class: ClassVar[str] = "LlavaProcessor"
    cite: ClassVar[tuple[str, ...]] = ("llava-1.5",)
    forms: ClassVar[tuple[str, ...]] = ("placeholder",)

    def differences(self, config: Any) -> list[str]:
        tiled = [] if config.vision_tiles == 1 else ["it sees pictures in tiles; LLaVA-1.5 sees them whole"]
        return [*tiled, *_of_connector(config), *_of_llm(config.text_config), *_of_encoder(config)]

    def stock_config(self, config: Any) -> Any:
        seen = look(config)
        return LlavaConfig(
            vision_config=deepcopy(config.vision_config),
            text_config=deepcopy(config.text_config),
            image_token_index=config.image_token_id,
            image_seq_length=config.tokens_per_image,
            projector_hidden_act="gelu",
            multimodal_projector_bias=True,
            vision_feature_layer=config.vision_layer,
            vision_feature_select_strategy=strategy(config, seen),
        )

    def stock_name(self, name: str, model: VisionLanguageModel) -> str | None:
        theirs = LLAVA.theirs(name)
        if theirs is None or not theirs.startswith("language_model."):
            return None if theirs is None else f"model.{theirs}"
        below = theirs.removeprefix("language_model.")
        base = f"{model.language_model.base_model_prefix}."
        if below.startswith(base):
            return f"model.language_model.{below.removeprefix(base)}"
        return f"lm_head.{below.rpartition('.')[2]}"

    def processor(self, model: Any, processor: Any) -> Any:
        config = model.config
        seen = look(config)
        chosen = strategy(config, seen)
        height, width = processor.pixel_values([Image.new("RGB", (64, 64))]).shape[-2:]
        patches = (height // seen.patch) * (width // seen.patch)
        return LlavaProcessor(
            processor.image_processor,
            speaking_tokenizer(processor),
            patch_size=seen.patch,
            vision_feature_select_strategy=chosen,
            num_additional_image_tokens=config.tokens_per_image + (chosen == "default") - patches,
            image_token=processor.image_token,
            chat_template=chat_template(config, processor.image_token),
        )


TARGETS.add("llava", Llava())


def chat_template(config: Any, image_token: str) -> str:
    """The model's template for `apply_chat_template`, in Jinja: what `visiglot.render` writes, BOS apart."""
    template = load_template(config.template)
    if config.image_first and config.image_gap:
        behind = config.image_gap
    else:
        behind = "\n" if (config.caption_prompt or "").startswith("{image}\n") else ""  # as LLaVA's own prompts have it

    def quoted(text: str) -> str:
        return f"{{{{ {json.dumps(text)} }}}}" if text else ""

    roles = [
        f"{{% if message['role'] == '{role}' %}}{quoted(template.before[role])}{_CONTENT}{quoted(template.after[role])}"
        "{% endif %}"
        for role in template.before
    ]
    content = "".join(roles).replace("IMAGE", quoted(image_token + behind))
    end = f"{{% if add_generation_prompt %}}{quoted(template.before['assistant'])}{{% endif %}}"
    start = ""
    if template.start:
        start = f"{{% if messages[0]['role'] != 'system' %}}{quoted(template.start)}{{% endif %}}"
    return f"{start}{{% for message in messages %}}{content}{{% endfor %}}{end}"


_CONTENT = (
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
)


# --- connector and LLM -----------------------------------------------------------------------------------------------


def _of_connector(config: Any) -> list[str]:
    connector, options = config.connector, config.connector["options"]
    if connector["type"] != "mlp":
        return [f"its connector is {connector['type']!r}; LLaVA's is 'mlp' with two layers"]
    found = []
    if options.get("depth", 2) != 2:
        found.append(f"its connector has {options['depth']} layers; LLaVA's has two")
    if options.get("hidden") not in (None, config.text_width):
        found.append(
            f"its connector is {options['hidden']} wide inside; LLaVA's has the LLM's width, {config.text_width}"
        )
    if connector.get("words") is not None:
        found.append("its image tokens are mixtures of words (connector.words); LLaVA's are what the connector makes")
    return found


def _of_llm(config: Any) -> list[str]:
    if config.is_encoder_decoder:
        return [f"its language model is a {config.model_type!r}, an encoder-decoder; LLaVA's is causal"]
    with torch.device("meta"):
        try:
            llm = lm.build_llm(config)
            inside = AutoModel.from_config(config)
        except (VisiglotError, ValueError) as error:
            return [first_line(error)]
    settings = config.get_text_config().to_dict()
    found = [
        f"its language model has a {name} ({settings[name]}) after its head; LLaVA's head is one linear layer"
        for name in _AROUND_HEAD
        if settings.get(name) not in (None, 1, 1.0)
    ]
    head = llm.get_output_embeddings()
    if not isinstance(head, nn.Linear) or head.bias is not None:
        found.append(f"its language model's head is {head}; LLaVA's is one linear layer without a bias")
    if type(inside) is not type(llm.base_model):
        below = type(llm.base_model).__name__
        found.append(f"below its head its language model is a {below}; LLaVA makes a {type(inside).__name__}")
    elif settings.get("tie_word_embeddings") and TIED not in dict(inside.named_children()):
        found.append(f"its language model's head is its embedding, and that isn't called {TIED!r}, as LLaVA has it")
    return found


# --- encoder ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """What an encoder gives for one picture, found on the meta device.

    Args:
        patch: side of a patch in pixels.
        tokens: N, those before the patches included.
        is_hidden_state: whether the layer that our connector reads is one of the hidden states, which LLaVA reads.
    """

    patch: int
    tokens: int
    is_hidden_state: bool


def look(config: Any) -> Seen:
    """Raises VisiglotError, and whatever an encoder raises that has no patches."""
    vision = config.vision_config
    size = image_size_of(vision)
    patch = vision.to_dict()["patch_size"]
    patch = patch[0] if isinstance(patch, list | tuple) else patch
    with torch.device("meta"):
        outputs = build_encoder(vision)(torch.zeros(1, 3, size or 224, size or 224), output_hidden_states=True)
    state = outputs.hidden_states[config.vision_layer]
    read = outputs.last_hidden_state if config.vision_layer == -1 else state
    return Seen(int(patch), int(state.shape[1]), read is state)


def strategy(config: Any, seen: Seen) -> str | None:
    """LLaVA's name for which of the encoder's tokens become image tokens; None when it has none."""
    return {0: "full", 1: "default"}.get(seen.tokens - config.tokens_per_image)


def _of_encoder(config: Any) -> list[str]:
    kind = config.vision_config.model_type
    if config.vision_config.to_dict().get("patch_size") is None:
        return [f"its vision encoder {kind!r} has no patches, which LLaVA's must"]
    with torch.device("meta"):
        try:
            inside = AutoModel.from_config(config.vision_config)
        except ValueError:
            return [f"LLaVA makes its vision encoder by AutoModel, which has none for {kind!r}"]
    try:
        seen = look(config)
    except Exception as error:  # whatever an encoder raises
        return [f"LLaVA can't read its vision encoder {kind!r}: {first_line(error)}"]
    found = []
    if type(inside) is not encoder_class(config.vision_config):
        found.append(f"LLaVA makes a {type(inside).__name__} of its vision encoder {kind!r}")
    if not seen.is_hidden_state:
        found.append(
            f"its connector reads the last layer of {kind!r} after a norm, LLaVA's before it (a model trained with "
            "model.vision.layer: -2 fits)"
        )
    if config.connector["type"] == "mlp" and strategy(config, seen) is None:
        found.append(
            f"its connector reads {config.tokens_per_image} of the encoder's {seen.tokens} tokens; LLaVA's reads all, "
            "or all but the first"
        )
    return found

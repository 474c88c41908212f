"""Stock LLaVA (`LlavaForConditionalGeneration`; LLaVA-1.5 is arXiv 2310.03744).

Any encoder, a perceptron of two layers, a causal LLM.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from transformers import LlavaConfig

from visiglot.errors import CheckpointError, PromptError
from visiglot.models import language_model as lm
from visiglot.models.checkpoint import reading
from visiglot.models.checkpoint.formats import FORMATS, Format
from visiglot.models.checkpoint.naming import LLAVA
from visiglot.models.checkpoint.stock import load_image_processor, load_tokenizer
from visiglot.models.checkpoint.weights import WHOLE, fetch
from visiglot.models.config import VisiglotConfig
from visiglot.models.connectors import count_tokens
from visiglot.models.connectors.mlp import MLPConnector
from visiglot.models.families import family
from visiglot.models.processor import VisiglotProcessor
from visiglot.models.vision import VisionEncoder, image_size_of, measure
from visiglot.render import load_template, template_names

CAPTION_PROMPT = "{image}\nDescribe the image in {language} in one sentence."
LONGEST = 4096
_IN_MEMORY = (
    ("model.language_model.", "language_model.model."),
    ("lm_head.", "language_model.lm_head."),
    ("model.", ""),
)
"""What transformers 5 calls parts of a model in memory -> what files call them."""


class Llava(Format):
    """A picture's patches, of one of the encoder's last layers, each become a token by a perceptron of two layers."""

    unused: ClassVar[tuple[str, ...]] = (r"\bposition_ids$", r"\brotary_emb\.inv_freq$")
    settles_generation = True

    def reads(self, raw: Mapping[str, Any]) -> bool:
        return raw.get("model_type") == "llava"

    def config(self, raw: Mapping[str, Any], where: str) -> VisiglotConfig:
        stock = LlavaConfig(**{key: value for key, value in raw.items() if key != "model_type"})
        others = {
            "vision_feature_layer": not isinstance(stock.vision_feature_layer, int),
            "projector_hidden_act": stock.projector_hidden_act != "gelu",
            "multimodal_projector_bias": not stock.multimodal_projector_bias,
        }
        if any(others.values()):
            found = ", ".join(f"{key} {getattr(stock, key)!r}" for key, is_other in others.items() if is_other)
            raise CheckpointError(
                f"{where} has {found}, which our perceptron hasn't",
                hint="One layer of the encoder, GELU and biases are what can be loaded.",
            )
        lm.settle_layout(stock.text_config)
        options = {"depth": 2, "keep_prefix": stock.vision_feature_select_strategy == "full"}
        width = stock.vision_config.hidden_size
        return VisiglotConfig(
            vision_config=stock.vision_config,
            text_config=stock.text_config,
            connector={"type": "mlp", "vision_width": width, "options": options, "words": None},
            vision_layer=stock.vision_feature_layer,
            tokens_per_image=_tokens(stock, options, where),
            image_token_id=stock.image_token_index,
            template=family(stock.text_config.model_type).template,
            max_length=min(LONGEST, getattr(stock.text_config, "max_position_embeddings", None) or LONGEST),
            caption_prompt=CAPTION_PROMPT,
            image_first=True,
            image_gap="\n",
            dtype=stock.dtype,
        )

    def name(self, key: str) -> str | None:
        for memory, file in _IN_MEMORY:
            if key.startswith(memory):
                key = file + key.removeprefix(memory)
                break
        return LLAVA.ours(key)

    def image_processor(self, where: str, config: VisiglotConfig) -> Any:
        return load_image_processor(where, image_size_of(config.vision_config) or 336)

    def processor(self, where: str, config: VisiglotConfig) -> VisiglotProcessor:
        tokenizer = load_tokenizer(where)
        token = tokenizer.convert_ids_to_tokens(config.image_token_id)
        template = _template(where, tokenizer, token, config.template)
        return VisiglotProcessor(
            self.image_processor(where, config),
            tokenizer,
            image_token=token,
            image_token_id=config.image_token_id,
            tokens_per_image=config.tokens_per_image,
            layout=config.layout,
            family=config.text_config.model_type,
            template=template,
            max_length=config.max_length,
            whole_turns=True,
        )


def _tokens(stock: LlavaConfig, options: dict[str, Any], where: str) -> int:
    """Image tokens of a picture, measured with an encoder that has shapes but no numbers."""
    size = image_size_of(stock.vision_config)
    if size is None:
        raise CheckpointError(
            f"{where}: its encoder takes pictures of any size", hint="An encoder of one size is what can be loaded."
        )
    with torch.device("meta"):
        features = measure(VisionEncoder(stock.vision_config, stock.vision_feature_layer), size)
        connector = MLPConnector(features.patches.shape[2], stock.text_config.hidden_size, **options)
    return count_tokens(connector, features)


def _template(where: str, tokenizer: Any, image_token: str, default: str) -> str:
    """The row of our templates that writes what the model's own chat template writes.

    Raises:
        PromptError: the model has a chat template that is none of ours.
    """
    chat = _chat_template(where, tokenizer)
    if chat is None:
        return default
    with reading(f"{where}: its chat template", hint=f"Correct the template. {WHOLE}"):
        written = _written(tokenizer, chat, image_token)
    written = written.removeprefix(tokenizer.bos_token or "").strip()
    for name in template_names():
        template = load_template(name)
        before, after = template.start + template.before["user"], template.after["user"] + template.before["assistant"]
        if written in (f"{before}{image_token}{gap}What?{after}".strip() for gap in ("\n", "")):
            return name
    raise PromptError(
        f"{where}: its chat template writes {written!r}, which is none of ours ({', '.join(template_names())})",
        hint="Add a row to visiglot/templates.toml that writes it, see docs/ADDING.md.",
    )


def _written(tokenizer: Any, chat: str, image_token: str) -> str:
    """What a chat template makes of a turn with a picture; older ones take a turn's words as one string."""
    parts = [{"type": "image"}, {"type": "text", "text": "What?"}]
    try:
        return str(
            tokenizer.apply_chat_template(
                [{"role": "user", "content": parts}], chat_template=chat, tokenize=False, add_generation_prompt=True
            )
        )
    except TypeError:
        turn = {"role": "user", "content": f"{image_token}\nWhat?"}
        return str(
            tokenizer.apply_chat_template([turn], chat_template=chat, tokenize=False, add_generation_prompt=True)
        )


def _chat_template(where: str, tokenizer: Any) -> str | None:
    jinja = fetch(where, "chat_template.jinja")
    if jinja is not None:
        return jinja.read_text(encoding="utf-8")
    for name in ("chat_template.json", "processor_config.json"):
        path = fetch(where, name)
        with reading(f"{where}: {name}"):
            found = None if path is None else json.loads(path.read_text(encoding="utf-8")).get("chat_template")
        if found is not None:
            return str(found)
    if tokenizer.chat_template is None:
        fetch(where, "chat_template.jinja", sure=True)
        return None
    return str(tokenizer.chat_template)


FORMATS.add("llava", Llava())

"""Stock BLIP-2 (`Blip2ForConditionalGeneration`) and mBLIP as it was released in 2023.

mBLIP (Geigle et al., 2023, arXiv 2307.06930) writes BLIP-2's tensors under BLIP-2's names. Its config names the
architecture "mBLIP", has no image token, calls BLOOM an encoder-decoder, and calls mT0's head tied while the file has
one of its own. What the weights are decides, not what the config says of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from transformers import Blip2Config, Blip2QFormerConfig

from visiglot.errors import CheckpointError
from visiglot.models import language_model as lm
from visiglot.models.checkpoint.formats import FORMATS, Format
from visiglot.models.checkpoint.naming import BLIP2
from visiglot.models.checkpoint.stock import load_image_processor, load_tokenizer
from visiglot.models.config import VisiglotConfig
from visiglot.models.families import family
from visiglot.models.processor import VisiglotProcessor

CAPTION_PROMPT = "Caption in {language}: "
"""What mBLIP is evaluated with (arXiv 2307.06930)."""
LONGEST = 2048
_OPTIONS = {
    "hidden_size": "width",
    "num_hidden_layers": "layers",
    "num_attention_heads": "heads",
    "intermediate_size": "intermediate",
    "cross_attention_frequency": "cross_every",
    "hidden_dropout_prob": "dropout",
}
_FIXED = ("hidden_act", "layer_norm_eps", "use_qformer_text_input")
"""Settings of a Q-Former that our connector has no option for: it has transformers' defaults."""


class Blip2(Format):
    """Q-Former, one linear layer, the picture's tokens before the text (arXiv 2301.12597)."""

    unused: ClassVar[tuple[str, ...]] = (r"\bposition_ids$", r"EncDecAttention\.relative_attention_bias\.weight$")

    def reads(self, raw: Mapping[str, Any]) -> bool:
        return raw.get("model_type") == "blip-2"

    def config(self, raw: Mapping[str, Any], where: str) -> VisiglotConfig:
        stock = Blip2Config(**{key: value for key, value in raw.items() if key != "model_type"})
        text = stock.text_config
        lm.settle_layout(text)
        released = "mBLIP" in (raw.get("architectures") or ())
        token = raw.get("image_token_index", raw.get("image_token_id"))
        return VisiglotConfig(
            vision_config=stock.vision_config,
            text_config=text,
            connector={
                "type": "qformer",
                "vision_width": stock.vision_config.hidden_size,
                "options": {"num_queries": stock.num_query_tokens, **_qformer_options(stock.qformer_config, where)},
                "words": None,
            },
            tokens_per_image=stock.num_query_tokens,
            image_token_id=text.get_text_config().vocab_size if token is None else int(token),
            languages=_mblip_languages() if released else [],
            template="plain",
            max_length=min(LONGEST, getattr(text, "max_position_embeddings", None) or LONGEST),
            caption_prompt=CAPTION_PROMPT,
            image_first=True,
            dtype=stock.dtype,
        )

    def name(self, key: str) -> str | None:
        return BLIP2.ours(key)

    def image_processor(self, where: str, config: VisiglotConfig) -> Any:
        return load_image_processor(where, config.vision_config.image_size)

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
            bos_after_images=family(config.text_config.model_type).bos,
        )


def _qformer_options(config: Any, where: str) -> dict[str, Any]:
    """Options of our Q-Former connector. Raises CheckpointError for a setting that it has no option for."""
    values, usual = config.to_dict(), Blip2QFormerConfig().to_dict()
    if values["attention_probs_dropout_prob"] != values["hidden_dropout_prob"]:
        raise CheckpointError(
            f"{where}: its Q-Former has two rates of dropout ({values['hidden_dropout_prob']}, in attention "
            f"{values['attention_probs_dropout_prob']}); ours has one",
            hint="Set both to the same in qformer_config of its config.json; dropout does nothing but in training.",
        )
    other = {key: values[key] for key in _FIXED if values[key] != usual[key]}
    if other:
        raise CheckpointError(
            f"{where}: its Q-Former has {', '.join(f'{key} {value!r}' for key, value in other.items())}, "
            "which ours hasn't",
            hint="Only Q-Formers of BLIP-2 for generation can be loaded.",
        )
    return {ours: values[theirs] for theirs, ours in _OPTIONS.items()}


def _mblip_languages() -> list[str]:
    from visiglot.languages import resolve

    return list(resolve("mblip"))


FORMATS.add("blip2", Blip2())

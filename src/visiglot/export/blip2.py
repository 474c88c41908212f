"""`--to blip2`: BLIP-2's encoder, a Q-Former, one linear layer, any LLM (arXiv 2301.12597)."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, ClassVar

from transformers import Blip2Config, Blip2Processor
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from visiglot.export.prepare import speaking_tokenizer
from visiglot.export.stock import StockTarget
from visiglot.export.targets import TARGETS
from visiglot.models.checkpoint.naming import BLIP2
from visiglot.models.vlm import VisionLanguageModel

ENCODER = "blip_2_vision_model"
_BEYOND = {
    "pooled_tokens": "makes image tokens from the pooled vector",
    "normalise": "puts a layer norm before its Q-Former",
}
"""Options of our Q-Former that BLIP-2's hasn't."""


class Blip2(StockTarget):
    """`Blip2ForConditionalGeneration`."""

    name: ClassVar[str] = "blip2"
    model_class: ClassVar[str] = "Blip2ForConditionalGeneration"
    processor_class: ClassVar[str] = "Blip2Processor"
    cite: ClassVar[tuple[str, ...]] = ("blip2",)
    forms: ClassVar[tuple[str, ...]] = ("picture first", "picture in place")

    def differences(self, config: Any) -> list[str]:
        found = []
        vision, connector, llm = config.vision_config, config.connector, config.text_config
        if vision.model_type != ENCODER:
            found.append(f"its vision encoder is a {vision.model_type!r}; BLIP-2's is a {ENCODER!r}")
        if config.vision_layer != -1:
            found.append(f"its connector reads layer {config.vision_layer} of the encoder; BLIP-2's reads the last")
        if config.vision_tiles > 1:
            found.append("it sees pictures in tiles; BLIP-2 sees them whole")
        if connector["type"] != "qformer":
            found.append(f"its connector is {connector['type']!r}; BLIP-2's is 'qformer'")
        else:
            options = connector["options"]
            found += [f"its connector {what} ({key})" for key, what in _BEYOND.items() if options.get(key)]
        if connector.get("words") is not None:
            found.append(
                "its image tokens are mixtures of words (connector.words); BLIP-2's are what the connector makes"
            )
        if (llm.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) == bool(llm.is_encoder_decoder):
            kind = "a causal LLM" if llm.is_encoder_decoder else "an encoder-decoder"
            found.append(f"its language model is a {llm.model_type!r}, which BLIP-2 takes for {kind}")
        return found

    def stock_config(self, config: Any) -> Any:
        from visiglot.models.connectors import CONNECTORS

        described = config.connector
        connector = CONNECTORS.get("qformer")(described["vision_width"], config.text_width, **described["options"])
        return Blip2Config(
            vision_config=deepcopy(config.vision_config),
            qformer_config=connector.qformer.config,  # type: ignore[union-attr]
            text_config=deepcopy(config.text_config),
            num_query_tokens=config.tokens_per_image,
            image_token_index=config.image_token_id,
        )

    def stock_name(self, name: str, model: VisionLanguageModel) -> str | None:
        return BLIP2.theirs(name)

    def processor(self, model: Any, processor: Any) -> Any:
        return Blip2Processor(
            processor.image_processor, speaking_tokenizer(processor), num_query_tokens=model.config.tokens_per_image
        )


TARGETS.add("blip2", Blip2())

"""The configuration of a vision-language model: two stock Hugging Face configs and what joins them."""

from __future__ import annotations

from typing import Any, ClassVar

from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from visiglot.types import Layout

PARTS = ("vision", "connector", "language_model")
"""What a model is made of; the names of its tensors begin with them."""


class VisiglotConfig(PreTrainedConfig):  # type: ignore[misc]
    """Configuration of a `VisionLanguageModel`.

    Args:
        vision_config: of the vision encoder, any class with a `model_type` that transformers knows.
        text_config: of the LLM, likewise.
        connector: {"type": name in the table of connectors, "options": its keyword arguments, "words": None or the
            temperature at which image tokens become mixtures of word embeddings}.
        vision_layer: hidden state of the encoder that the connector reads; -1 is the last, after its final norm.
        vision_tiles: m; a picture is seen as an overview and in m x m tiles of the encoder's size, or, at 1, whole.
        tokens_per_image: K, measured when the model was built.
        image_token_id: id that fills the positions of image tokens; it may lie outside the LLM's vocabulary, since its
            embedding is never looked up.
        lora: None, or {"rank", "alpha", "dropout", "targets"} when low-rank layers are part of the weights.
        languages: FLORES-200 codes that the model was trained to answer in.
        template: row of the template table.
        max_length: tokens a row may have.
        caption_prompt: what `caption` asks where the user names nothing else, with {language} in place; None: what the
            built-in recipes train.
        image_first: whether a picture stands before a prompt that doesn't say where; else it stands after it.
        image_gap: what stands between such a picture and the words after it (LLaVA: a line break).
        pivot: whether its answers begin with the question in English, see `visiglot.data.tasks.pivot`.
    """

    model_type = "visiglot"
    sub_configs_defaults: ClassVar[dict[str, Any]] = {
        "vision_config": SubConfigSpec(config_class=AutoConfig, model_type="vit"),
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="t5"),
    }

    vision_config: Any = None
    text_config: Any = None
    connector: Any = None
    vision_layer: int = -1
    vision_tiles: int = 1
    tokens_per_image: int = 0
    image_token_id: int = -1
    lora: dict[str, Any] | None = None
    languages: list[str] | None = None
    template: str = "plain"
    max_length: int = 256
    caption_prompt: str | None = None
    image_first: bool = False
    image_gap: str = ""
    pivot: bool = False
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        self.connector = self.connector or {"type": "qformer", "options": {}}
        self.languages = self.languages or []
        self.is_encoder_decoder = bool(self.text_config.is_encoder_decoder)
        # transformers ties from the outer config; the LLM's own choice decides
        self.tie_word_embeddings = bool(self.text_config.tie_word_embeddings)

    @property
    def layout(self) -> Layout:
        return "seq2seq" if self.text_config.is_encoder_decoder else "causal"

    @property
    def text_width(self) -> int:
        """D: width of the LLM's embeddings."""
        return int(self.get_text_config().hidden_size)

    def get_text_config(self, *args: Any, **kwargs: Any) -> Any:
        return self.text_config.get_text_config(*args, **kwargs)

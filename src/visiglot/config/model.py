"""The schema of a recipe's model: its three parts and how they are asked."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from visiglot.config.section import Section

SAME = "same"
"""In place of a connector's type: that of the model which it comes from."""
WEIGHTS_FILES = (".safetensors", ".bin", ".ckpt", ".pt", ".pth")
"""How the names of single files of weights end: such a file has no config, which is given beside it."""


class PartSource(Section):
    """Where a part of the model comes from: existing weights (`from`), or a new one built by `config`."""

    from_: str | None = Field(None, alias="from", description="a run, a run or model folder, or a hub id")
    config: dict[str, Any] | None = Field(
        None, description="keyword arguments of the Hugging Face config class named by model_type; random weights"
    )

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), populate_by_name=True, validate_default=True
    )

    @model_validator(mode="after")
    def _has_one_source(self) -> PartSource:
        if self.from_ is None and self.config is None:
            raise ValueError("needs `from` (existing weights) or `config` (a new part)")
        if self.from_ is not None and self.config is not None and not self.from_.endswith(WEIGHTS_FILES):
            raise ValueError("has both `from` and `config`; keep one")
        return self


class VisionSection(PartSource):
    """The vision encoder: any Hugging Face vision model."""

    layer: int = Field(-1, description="hidden state that the connector reads; -1 is the last")
    image_size: int | None = Field(None, ge=8, description="side in pixels; default: the encoder's own")
    image_mean: tuple[float, float, float] | None = None
    image_std: tuple[float, float, float] | None = None
    tiles: int = Field(
        1,
        ge=1,
        description="m: see a picture as an overview and in m x m tiles, each of image_size; for connectors that read "
        "tiles",
    )
    pad: bool = Field(
        False,
        description="pad pictures to squares with the mean colour first, as LLaVA-1.5 does; else as the encoder has it",
    )


class ConnectorSection(Section):
    """The connector between the encoder's features and the LLM's embeddings."""

    type: str = Field(
        "qformer",
        description="a name in the table of connectors; `same`: that of `from`, with its options, its `words`, and the "
        "encoder's layer and tiles that it reads",
    )
    options: dict[str, Any] = Field(default_factory=dict, description="keyword arguments of that connector")
    from_: str | None = Field(None, alias="from", description="a run, a run or model folder, or a hub id")
    fresh: tuple[str, ...] = Field((), description="paths below the connector that start anew despite `from`")
    words: float | None = Field(
        None,
        gt=0,
        description="show the language model mixtures of its own nearest words, sharper the smaller this is; "
        "default: image tokens as the connector makes them",
    )

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), populate_by_name=True, validate_default=True
    )

    @model_validator(mode="after")
    def _is_the_same_as_something(self) -> ConnectorSection:
        if self.type == SAME and (self.from_ is None or self.options or self.words is not None):
            raise ValueError("type `same` needs `from`, whose options and `words` it has")
        return self


class TokenizerSection(Section):
    """A tokenizer to be trained on the recipe's own texts (SentencePiece unigram with byte fallback)."""

    vocabulary: int = Field(8000, ge=300)


class LanguageModelSection(PartSource):
    """The language model: any Hugging Face causal or encoder-decoder LLM."""

    tokenizer: str | TokenizerSection | None = Field(
        None, description="folder or hub id, or {vocabulary: N} to train one; default: the model's own"
    )

    @model_validator(mode="after")
    def _is_no_file(self) -> LanguageModelSection:
        if self.from_ is not None and self.from_.endswith(WEIGHTS_FILES):
            raise ValueError("from: is a file of weights; name the language model, and low-rank layers as `adapter`")
        return self

    adapter: str | None = Field(
        None, description="folder, hub id or file of low-rank layers that were saved apart from the language model"
    )
    merge: bool = Field(
        False,
        description="add the low-rank layers that come with it into its weights, so that stages can give it new ones; "
        "default: stages train on those",
    )
    quantize: Literal["int8", "nf4", "llm-int8"] | None = Field(
        None, description="keep its linear layers in fewer bits while low-rank layers above them, or other parts, train"
    )


class PromptSection(Section):
    """How turns become text, and how long a row may be."""

    template: str | None = Field(None, description="a row of the template table; default: the LLM family's")
    max_length: int = Field(256, ge=8, description="tokens a row may have, image tokens included")
    image_first: bool = Field(False, description="pictures stand before a prompt that doesn't say where, as in BLIP-2")
    image_gap: str | None = Field(
        None, description="what follows a picture that stands first; default: that of the model the LLM is taken from"
    )
    caption: str | None = Field(
        None, description="what `caption` asks, with {language}; default: what the built-in recipes train"
    )
    pivot: bool = Field(
        False,
        description="answers begin with the question in English and ||, as those of task ep-vqa do: what stands behind "
        "is the answer that is shown and scored",
    )


class ModelSection(Section):
    """The three parts and how they are asked.

    `from` beside them stands for a `from` in each that has neither `from` nor `config`, and for the connector's type.
    """

    vision: VisionSection
    connector: ConnectorSection = ConnectorSection()
    language_model: LanguageModelSection
    prompt: PromptSection = PromptSection()

    @model_validator(mode="before")
    @classmethod
    def _is_of_one_model(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "from" not in values:
            return values
        values = dict(values)
        name = values.pop("from")
        for part in ("vision", "connector", "language_model"):
            own = values.get(part) or {}
            if isinstance(own, dict) and not own.keys() & {"from", "config"}:
                values[part] = {"from": name, **({"type": SAME} if part == "connector" else {}), **own}
        return values

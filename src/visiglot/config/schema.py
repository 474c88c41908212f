"""The schema of a recipe: every key with its kind, its default and what it means."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from visiglot.errors import UnknownNameError
from visiglot.types import OnBad

Mode = Literal["full", "lora", "frozen", "bypassed"]


class Section(BaseModel):
    """Base of every part of a recipe: closed and frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), validate_default=True)


# --- model -----------------------------------------------------------------------------------------------------------


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


# --- data ------------------------------------------------------------------------------------------------------------


class AllocationSection(Section):
    """How examples are shared out among languages."""

    policy: Literal["uniform", "mc4", "mc4_alpha", "english_share", "lrm", "parallel", "weights", "size"] = "uniform"
    alpha: float = Field(0.3, ge=0, le=1, description="mc4_alpha: shares are mC4's to this power, 0 is uniform")
    english: float = Field(0.5, ge=0, le=1, description="english_share: of English; the rest is uniform")
    weights: dict[str, float] = Field(default_factory=dict, description="weights: language -> share, relative")


class SourceSection(Section):
    """One source of examples: a row of the table of sources, with its own options."""

    type: str = Field(description="a name in the table of sources")
    options: dict[str, Any] = Field(default_factory=dict)
    task: str | None = Field(
        None,
        description="a name in the table of tasks, which writes prompt and answer; default: as the source has them",
    )
    task_options: dict[str, Any] = Field(default_factory=dict, description="keyword arguments of the task")
    weight: float | Literal["size"] = Field(
        1.0, description="share among the sources, relative; size: the number of its examples"
    )
    languages: str | tuple[str, ...] | None = Field(None, description="default: those of the data section")
    translate: bool = Field(
        False, description="its English rows are for translation: each goes to languages by `data.allocation`"
    )
    allocation: AllocationSection | None = Field(None, description="default: that of the data section")
    examples: int | None = Field(
        None, ge=1, description="how many the source has, for plans where its files aren't there"
    )

    @field_validator("weight")
    @classmethod
    def _is_positive(cls, value: float | str) -> float | str:
        if not isinstance(value, str) and not value > 0:
            raise ValueError(f"is {value:g}; it must be more than 0, or `size`")
        return value


class DataSection(Section):
    """What a stage draws from: sources by their weights, within a source languages by the allocation."""

    sources: tuple[SourceSection, ...] = Field(min_length=1)
    languages: str | tuple[str, ...] = Field(description="codes, aliases or a named set")
    english_share: float | None = Field(
        None, ge=0, le=1, description="share of English examples, the rest uniform; default: all languages alike"
    )
    allocation: AllocationSection | None = Field(None, description="default: by english_share, or all languages alike")
    licence: Literal["any", "commercial"] = Field(
        "any", description="commercial: leave out what may not be used commercially, or doesn't say"
    )
    holdout: int = Field(
        0, ge=0, description="examples of each source and language that are kept for validation, never trained on"
    )

    @model_validator(mode="after")
    def _shares_out_once(self) -> DataSection:
        if self.english_share is not None and self.allocation is not None:
            raise ValueError("has both english_share and allocation; keep one")
        return self

    @field_validator("languages")
    @classmethod
    def _known_languages(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        from visiglot.languages import resolve

        try:
            resolve(value)
        except UnknownNameError as error:
            raise ValueError(str(error).replace("\n", " ")) from error
        return value


# --- training --------------------------------------------------------------------------------------------------------


class PartSection(Section):
    """How one part is trained in a stage."""

    train: Mode = Field(
        description="full, lora (the language model), frozen, or bypassed: left out of the model, for connectors with "
        "such a part"
    )
    lr: float | None = Field(None, gt=0, description="peak learning rate; default: the stage's")


class LoraSection(Section):
    """Low-rank adaptation (Hu et al., 2021, arXiv 2106.09685)."""

    rank: int = Field(8, ge=1)
    alpha: float = Field(16, gt=0)
    dropout: float = Field(0.05, ge=0, lt=1)
    targets: tuple[str, ...] | Literal["all-linear"] = Field(
        "all-linear", description="last names of the adapted linear layers; one that matches nothing is an error"
    )


class BatchSection(Section):
    """How many examples a step has and how they are cut up."""

    rows: int = Field(128, ge=1, description="examples in one optimiser step, over all processes")
    accumulate: int = Field(1, ge=1, description="forward passes of each process that make up one step")
    tokens: int | None = Field(
        None,
        ge=8,
        description="most tokens of a forward pass, padding included: a step is cut into as many as that takes; "
        "default: into `accumulate`",
    )
    group_by_length: bool = True
    balance_languages: bool = Field(
        False,
        description="give each step its share of each language, where lengths go by language and grouping would part "
        "them; a little more padding",
    )

    @model_validator(mode="after")
    def _divides(self) -> BatchSection:
        if self.rows % self.accumulate:
            raise ValueError(f"rows ({self.rows}) must be a multiple of accumulate ({self.accumulate})")
        if self.tokens is not None and self.accumulate > 1:
            raise ValueError(f"has tokens ({self.tokens}) and accumulate ({self.accumulate}); keep one")
        if self.balance_languages and not self.group_by_length:
            raise ValueError("balance_languages is for group_by_length; without, each step has its share anyway")
        return self


class AugmentationSection(Section):
    """How far a random view may be from its picture. The defaults suit drawings of single objects.

    Those from `stretch` on imitate another artist's hand, and are off.
    """

    scale: tuple[float, float] = Field((0.7, 1.1), description="side of the picture in the view, relative")
    shift: float = Field(0.1, ge=0, description="largest, of the side")
    rotation: float = Field(12.0, ge=0, description="largest, degrees")
    flip: float = Field(
        0.0, ge=0, le=1, description="share mirrored, of pictures whose texts don't say left or right; needs augment"
    )
    brightness: float = Field(0.3, ge=0, description="factor 1 ± this")
    contrast: float = Field(0.3, ge=0, description="factor 1 ± this")
    saturation: float = Field(0.5, ge=0, description="factor 1 ± this")
    hue: float = Field(0.06, ge=0, description="largest turn of the colour circle")
    grey: float = Field(0.1, ge=0, le=1, description="share without colour")
    background: float = Field(0.3, ge=0, le=1, description="share whose near-white pixels take a random light colour")
    blur: float = Field(0.3, ge=0, le=1, description="share blurred; the strength is uniform")
    cutout: float = Field(0.3, ge=0, le=1, description="share with a grey rectangle")
    cutout_side: float = Field(0.3, ge=0, le=1, description="its longest side, relative")
    stretch: float = Field(0.0, ge=0, description="width times, and height over, e to ± this")
    shear: float = Field(0.0, ge=0, description="largest, of the side")
    bend: float = Field(0.0, ge=0, description="spread of a smooth field of displacements, of half the side")
    lines: float = Field(0.0, ge=0, le=1, description="share that gets outlines, and share that loses thin dark lines")
    shade: float = Field(0.0, ge=0, description="spread of a smooth field of light on all but the near-white")
    tint: float = Field(0.0, ge=0, description="each colour channel's gamma is e to ± this")

    @field_validator("scale")
    @classmethod
    def _is_a_range(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1]:
            raise ValueError(f"is [{value[0]:g}, {value[1]:g}]; it goes from a positive number to one no smaller")
        return value


class StageSection(Section):
    """One stage: what is trained, with which objective, on what, for how long."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$")
    objective: str = Field("generate", description="generate | contrastive | matching | text | assignment")
    options: dict[str, Any] = Field(default_factory=dict, description="of the objective")
    parts: dict[str, PartSection] = Field(description="module path -> mode; the longest prefix wins, unlisted = frozen")
    steps: Annotated[int, Field(ge=1)]
    lr: float = Field(1e-4, gt=0, description="peak learning rate of parts that name none")
    warmup_steps: int = Field(0, ge=0)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    weight_decay: float = Field(0.1, ge=0)
    optimiser: Literal["adamw", "muon"] = Field(
        "adamw", description="muon: for the matrices between hidden layers, with AdamW for the rest"
    )
    betas: tuple[float, float] = Field((0.9, 0.999), description="AdamW's")
    clip: float | None = Field(1.0, gt=0, description="largest norm of the gradient")
    batch: BatchSection = BatchSection()
    lora: LoraSection = LoraSection()
    data: DataSection | None = Field(None, description="default: the recipe's")
    augment: bool = Field(False, description="draw pictures anew each time (crop, shift, colour); bypasses the cache")
    cache_views: int = Field(0, ge=0, description="0: no feature cache; n: n cached views of each picture")
    cache_read: bool = Field(
        False,
        description="keep what a frozen Q-Former makes of each view instead of its patches, which are larger; it then "
        "runs without dropout",
    )
    augmentation: AugmentationSection = Field(AugmentationSection(), description="of views, drawn anew or cached")
    validate_every: int | None = Field(
        None,
        ge=0,
        description="steps between losses on the held-out examples, 0: never; default: with each checkpoint, where "
        "data.holdout is set",
    )

    @model_validator(mode="after")
    def _views_are_drawn(self) -> StageSection:
        if self.cache_read and (self.augment or not self.cache_views):
            raise ValueError("has `cache_read`, but keeps nothing: set cache_views, and leave augment off")
        if self.augmentation != AugmentationSection() and not self.augment and self.cache_views < 2:
            raise ValueError("has an `augmentation`, but draws no views: set augment, or cache_views to 2 or more")
        if self.augmentation.flip and not self.augment:
            raise ValueError(
                f"augmentation.flip is {self.augmentation.flip:g} with cached views, which are made once for whatever "
                "texts come with the picture, such as say left or right: set augment, or flip to 0"
            )
        return self

    @model_validator(mode="after")
    def _trains_something(self) -> StageSection:
        if all(part.train in ("frozen", "bypassed") for part in self.parts.values()):
            raise ValueError("nothing is trained: every listed part is frozen or bypassed")
        return self


HALF = ("fp16", "float16", "half")
"""Names of the number format that no stage may have."""


class TrainSection(Section):
    """What holds for all stages: randomness, number format, logging, checkpoints, memory."""

    seed: int = Field(42, description="of every random choice: new weights, order of data, dropout, sources' own draws")
    precision: Literal["fp32", "bf16", "auto"] = Field("auto", description="auto: bf16 where the machine has it")
    log_every: int = Field(10, ge=1)
    save_every: int = Field(200, ge=1, description="steps between checkpoints")
    keep: int = Field(3, ge=1, description="newest checkpoints kept in each run, beside the best by the held-out loss")
    save_frozen: bool = Field(
        True, description="false: checkpoints name what is frozen throughout by where it is from, and don't hold it"
    )
    track: tuple[str, ...] = Field((), description="boards that show the log too: tensorboard, wandb")
    on_bad: OnBad = Field(
        "error", description="what a row or a picture that can't be read does: stop the run, or be left out and counted"
    )
    max_bad: float = Field(
        0.01, ge=0, le=1, description="largest share of examples that may be left out, too long ones included"
    )
    gradient_checkpointing: bool = False
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2"] = Field(
        "auto", description="the language model's attention; auto: transformers' choice"
    )
    min_supervised: float = Field(0.01, ge=0, le=1, description="smallest share of supervised tokens at the start")
    head_chunk: int = Field(1024, ge=1, description="target positions whose logits exist at one time")
    sharding: Literal["ddp", "fsdp2"] = Field(
        "ddp", description="several processes: ddp, a copy of the model each; fsdp2, a piece of each tensor"
    )

    @field_validator("precision", mode="before")
    @classmethod
    def _is_no_fp16(cls, value: Any) -> Any:
        if value in HALF:
            raise ValueError(
                f"{value} is not offered: activations of T5's family (mT5, mT0) leave its range and become NaN; use "
                "bf16, which has the range of fp32"
            )
        return value


class EvaluateSection(Section):
    """What `visiglot evaluate` takes for a model of this recipe where the command line names nothing else."""

    benchmarks: tuple[str, ...] = Field((), description="names in the table of benchmarks")
    languages: str | tuple[str, ...] | None = Field(None, description="default: those of the benchmark")
    prompts: str | None = Field(
        None, description="prompt set, of those benchmarks that have it; default: each benchmark's first"
    )
    max_new_tokens: int | None = Field(None, ge=1, description="longest answer, in tokens; default: the benchmark's")
    beams: int | None = Field(None, ge=1, description="width of beam search, 1 is greedy; default: the benchmark's")


class Recipe(Section):
    """Encoder x connector x LLM, a data mix, a list of stages."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    about: str = ""
    cite: tuple[str, ...] = Field((), description="keys of recipes/citations.toml")
    licence: str = Field("", description="licence that the trained weights carry")
    model: ModelSection
    data: DataSection
    stages: tuple[StageSection, ...] = Field(min_length=1)
    train: TrainSection = TrainSection()
    evaluate: EvaluateSection = EvaluateSection()

    @model_validator(mode="after")
    def _stage_names_differ(self) -> Recipe:
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ValueError(f"stages: names must differ, found {names}")
        return self

    @model_validator(mode="after")
    def _validates_on_something(self) -> Recipe:
        for stage in self.stages:
            if stage.validate_every and not (stage.data or self.data).holdout:
                raise ValueError(
                    f"stages.{stage.name}.validate_every: is {stage.validate_every}, but its data hold nothing out: "
                    "set data.holdout"
                )
        return self

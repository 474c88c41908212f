"""The schema of stages, and of what holds for all of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from visiglot.config.data import DataSection
from visiglot.config.section import Section
from visiglot.types import OnBad

Mode = Literal["full", "lora", "frozen", "bypassed"]


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


Checkpointed = Literal["vision", "connector", "language_model", "weights"]

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
    gradient_checkpointing: bool | tuple[Checkpointed, ...] = Field(
        False,
        description="what is computed again in the backward pass instead of being kept for it, a list: the layers of "
        "vision, connector, language_model, and weights, those that train, in bf16; true: the language model's layers",
    )
    frozen: Literal["fp32", "bf16"] = Field(
        "fp32",
        description="bf16: keep matrices that no stage trains in it, where products are made in bf16, the same ones to "
        "the bit; checkpoints hold them in bf16",
    )
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2"] = Field(
        "auto", description="the language model's attention; auto: transformers' choice"
    )
    min_supervised: float = Field(0.01, ge=0, le=1, description="smallest share of supervised tokens at the start")
    head_chunk: int = Field(1024, ge=1, description="target positions whose logits exist at one time")
    sharding: Literal["ddp", "fsdp2", "zero2", "zero3"] = Field(
        "ddp",
        description="several processes: ddp, a copy of the model each; fsdp2, a piece of each tensor; zero2 and zero3, "
        "DeepSpeed's: a piece of gradients and moments, and of the layers' weights too",
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

    @model_validator(mode="after")
    def _frozen_fits(self) -> TrainSection:
        if self.frozen == "bf16" and self.precision == "fp32":
            raise ValueError("frozen is bf16, but precision fp32: products would be made in fp32; keep one of them")
        if self.frozen == "bf16" and self.sharding != "ddp":
            raise ValueError(
                f"frozen is bf16, but sharding {self.sharding}, which cuts up weights of one number format"
            )
        if "weights" in self.checkpointed and self.sharding != "ddp":
            raise ValueError(f"gradient_checkpointing has weights, but sharding {self.sharding} cuts them up")
        return self

    @property
    def checkpointed(self) -> tuple[Checkpointed, ...]:
        """What is computed again in the backward pass."""
        if isinstance(self.gradient_checkpointing, bool):
            return ("language_model",) if self.gradient_checkpointing else ()
        return self.gradient_checkpointing

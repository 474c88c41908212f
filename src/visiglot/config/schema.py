"""The schema of a recipe: every key with its kind, its default and what it means.

Its sections stand in `model`, `data` and `training`.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from visiglot.config.data import DataSection
from visiglot.config.model import ModelSection
from visiglot.config.section import Section
from visiglot.config.training import StageSection, TrainSection


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

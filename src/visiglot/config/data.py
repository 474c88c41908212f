"""The schema of what a stage draws from."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from visiglot.config.section import Section
from visiglot.errors import UnknownNameError


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
            raise ValueError(f"{error.message}. {error.hint}") from error
        return value

"""Training objectives: one small file each, one table.

An objective turns a batch into a sum of losses. The loop divides it by what the whole step counts, over processes and
accumulation, so the objective itself never takes a mean over a batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError
from torch import Tensor, nn

from visiglot.config import Section, TrainSection
from visiglot.errors import ConfigError, TrainingError
from visiglot.registry import Registry
from visiglot.types import Batch, PromptSpec, Sample

if TYPE_CHECKING:
    from visiglot.models.vlm import VisionLanguageModel


@dataclass(frozen=True)
class ObjectiveLoss:
    """What a batch costs.

    Args:
        sum: scalar with gradient, the sum of all losses.
        rows: [R] each row's share of it, without gradient.
        counts: [R] what each row counts for in the divisor (its supervised tokens, or 1).
    """

    sum: Tensor
    rows: Tensor
    counts: Tensor


class Objective(nn.Module, ABC):
    """A loss and the parameters that only it needs (projections, a temperature), saved beside the optimiser."""

    row_by_row: bool = False
    """Whether a row costs the same whatever stands beside it, and measuring changes nothing: then it is validated."""
    any_split: bool = False
    """Whether a step costs the same however its rows are split into forward passes and over processes."""
    needs_twins: bool = False
    """Whether it compares rows with their twins, so that examples must have some."""

    @abstractmethod
    def forward(self, model: VisionLanguageModel, batch: Batch) -> ObjectiveLoss:
        """What `batch` costs, each of its rows, and what each counts for."""

    @abstractmethod
    def count(self, samples: Sequence[Sample]) -> int:
        """What the loss of `samples` is divided by; the sum of `ObjectiveLoss.counts` over their batches."""

    def rows(self, samples: Sequence[Sample]) -> list[Sample]:
        """`samples` as the rows of a forward pass: twins, where they are compared, each behind its sample."""
        if not self.needs_twins:
            return list(samples)
        return [row for sample in samples for row in (sample, sample.twin) if row is not None]

    def check(self, samples: Sequence[Sample]) -> None:
        """Raises TrainingError when one of `samples` can't be trained on."""
        for sample in samples:
            if sample.num_targets == 0:
                raise TrainingError(
                    f"example {sample.id!r} has no supervised token among its {len(sample.ids)}",
                    hint="Give it an assistant's answer, or raise model.prompt.max_length if the answer was cut off.",
                )


ObjectiveFactory = Callable[["VisionLanguageModel", PromptSpec, TrainSection, Mapping[str, Any]], Objective]
"""(model, its prompt spec, the recipe's train section, the stage's options) -> objective. Raises ConfigError."""

OBJECTIVES: Registry[ObjectiveFactory] = Registry(
    "objective",
    modules=tuple(
        f"visiglot.train.objectives.{name}" for name in ("generate", "text", "contrastive", "matching", "assignment")
    ),
)

S = TypeVar("S", bound=Section)


def parse_options(name: str, schema: type[S], options: Mapping[str, Any]) -> S:
    """Check a stage's `options` for objective `name`.

    Raises:
        ConfigError: with every problem.
    """
    try:
        return schema.model_validate(dict(options))
    except ValidationError as error:
        problems = [
            f"options.{'.'.join(map(str, item['loc']))}: {item['msg']}, found {item['input']!r}"
            for item in error.errors(include_url=False)
        ]
        known = ", ".join(schema.model_fields) or "none"
        raise ConfigError(f"objective {name}", problems, hint=f"Its options: {known}.") from None


def refuse_missing_pictures(samples: Sequence[Sample], objective: str) -> None:
    """Raises TrainingError unless every sample shows exactly one picture."""
    for sample in samples:
        if len(sample.images) != 1:
            raise TrainingError(
                f"objective {objective} needs one picture per example; {sample.id!r} has {len(sample.images)}",
                hint="Take the source out of this stage's data, or train it with objective generate.",
            )

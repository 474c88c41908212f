"""Learn from text alone: `generate` that refuses pictures, for a language model that is trained before it sees any."""

from __future__ import annotations

from collections.abc import Sequence

from visiglot.errors import TrainingError
from visiglot.train.objectives import OBJECTIVES
from visiglot.train.objectives.generate import Generate
from visiglot.types import Sample


@OBJECTIVES.register("text")
class Text(Generate):
    """`generate` without pictures."""

    def check(self, samples: Sequence[Sample]) -> None:
        """Raises TrainingError also at a row with a picture."""
        super().check(samples)
        for sample in samples:
            if sample.images:
                raise TrainingError(
                    f"objective text takes no pictures; example {sample.id!r} has {len(sample.images)}",
                    hint="Use objective generate, which trains text-only rows beside rows with pictures.",
                )

"""Trains a recipe in a process of its own, noting which examples each step read, and how parameters were held.

    python -m tests.slow.trainee RECIPE OUT NOTES

Its table of sources has the drawn pictures, and a choice among them that follows from the seed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tests import broken
from tests.drawn import Drawn
from torch import nn
from torch.distributed.tensor import DTensor

from visiglot.config import load_recipe
from visiglot.data.batches import Batches
from visiglot.data.source import SOURCES
from visiglot.train import loop
from visiglot.types import Sample


class Chosen(Drawn):
    """Two of three drawn examples, which ones the seed says."""

    name = "chosen"

    def __init__(self, languages: Sequence[str], seed: int) -> None:
        super().__init__(languages)
        order = np.random.default_rng(seed).permutation(len(self.examples))
        self.examples = [self.examples[i] for i in order[: len(order) * 2 // 3]]
        self.by_language = {
            language: np.array([i for i, e in enumerate(self.examples) if e.language == language], dtype=np.int32)
            for language in languages
        }


def build_chosen(*, languages: Sequence[str], seed: int) -> Chosen:
    return Chosen(languages, seed)


assert broken is not None  # it fills the table
if "chosen" not in SOURCES:
    SOURCES.add("chosen", build_chosen)


def main(recipe: str, out: str, notes: str) -> None:
    step = Batches.step

    def noting(self: Batches, n: int) -> list[Sample]:
        samples = step(self, n)
        with Path(notes).open("a", encoding="utf-8") as file:
            file.write(json.dumps([self.seed, n, [sample.id for sample in samples]]) + "\n")
        return samples

    spread = loop.spread

    def noting_pieces(*args: Any, **options: Any) -> nn.Module:
        module = spread(*args, **options)
        pieces = [isinstance(parameter, DTensor) for parameter in module.parameters()]
        with Path(f"{notes}.pieces").open("a", encoding="utf-8") as file:
            file.write(f"{sum(pieces)} of {len(pieces)}\n")
        return module

    Batches.step = noting  # type: ignore[method-assign]
    loop.spread = noting_pieces
    loop.fit(load_recipe(recipe), out=Path(out), resume=True, device="cpu")


if __name__ == "__main__":
    main(*sys.argv[1:])

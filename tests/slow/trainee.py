"""Trains a recipe in a process of its own, noting which examples each step read, how parameters were held, and what
DeepSpeed held of weights, gradients and optimiser.

    python -m tests.slow.trainee RECIPE OUT NOTES

Its table of sources has the drawn pictures, and a choice among them that follows from the seed.
"""

from __future__ import annotations

import json
import os
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
from visiglot.train import loop, zero
from visiglot.train.sharding import Updates, numbers_of
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


def held_by_deepspeed(updates: zero.ZeroUpdates) -> tuple[int, int]:
    """Bytes of weights and buffers, and of what the optimiser has, on this process."""
    module = updates.engine.module
    weights = sum(buffer.nbytes for buffer in module.buffers())
    for parameter in module.parameters():
        cut = getattr(parameter, "ds_tensor", None)
        weights += 0 if cut is None else cut.nbytes
        weights += parameter.nbytes if cut is None or parameter.ds_persist else 0  # type: ignore[attr-defined]
    state = [value.nbytes for kept in updates.optimiser.state.values() for value in kept.values()]
    second = [flat.nbytes for flat, _ in updates.flats] if updates.stage == 2 else []
    return weights, sum(state) + sum(second)


def main(recipe: str, out: str, notes: str) -> None:
    step = Batches.step

    def noting(self: Batches, n: int) -> list[Sample]:
        samples = step(self, n)
        with Path(notes).open("a", encoding="utf-8") as file:
            file.write(json.dumps([self.seed, n, [sample.id for sample in samples]]) + "\n")
        return samples

    prepare = loop.prepare_updates

    def noting_pieces(module: nn.Module, step: nn.Module, *args: Any, **options: Any) -> Updates:
        updates = prepare(module, step, *args, **options)
        cut = [isinstance(one, DTensor) or numbers_of(one)[0] < numbers_of(one)[1] for one in step.parameters()]
        with Path(f"{notes}.pieces").open("a", encoding="utf-8") as file:
            file.write(f"{sum(cut)} of {len(cut)}\n")
        return updates

    clip = zero.ZeroUpdates.clip

    def noting_bytes(self: zero.ZeroUpdates, largest: float) -> float:
        gradients = sum(one.nbytes for of_group in self.zero.averaged_gradients.values() for one in of_group)
        line = json.dumps([held_by_deepspeed(self)[0], gradients, held_by_deepspeed(self)[1]])
        if os.environ["RANK"] == "0":
            with Path(f"{notes}.bytes").open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
        return clip(self, largest)

    zero.ZeroUpdates.clip = noting_bytes  # type: ignore[method-assign]
    Batches.step = noting  # type: ignore[method-assign]
    loop.prepare_updates = noting_pieces  # type: ignore[assignment]
    zero.WHOLE_BELOW = 0  # else the tiny model would stay whole
    loop.fit(load_recipe(recipe), out=Path(out), resume=True, device="cpu")


if __name__ == "__main__":
    main(*sys.argv[1:])

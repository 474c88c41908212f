"""A step that must not be made: its batches are kept, and its examples named."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from visiglot.errors import CheckpointError, TrainingError
from visiglot.files import write_text
from visiglot.types import Batch, Sample

if TYPE_CHECKING:
    from accelerate import Accelerator

    from visiglot.train.stages import Stage

SHOWN = 3
"""Examples that the error names."""


def not_finite(
    folder: Path,
    stage: Stage,
    step: int,
    samples: Sequence[Sample],
    batches: Sequence[Batch],
    bad: Sequence[str],
    norm: float,
    accelerator: Accelerator,
) -> TrainingError:
    """The error of a step whose loss or gradient isn't finite. All processes call this at once.

    `failed-<stage>-<step>.json` in the run's folder lists the step's examples, and those whose own loss isn't finite;
    `failed-<stage>-<step>.<process>.safetensors` has the tensors of each process's forward passes, as
    "<pass>.<field of Batch>".

    Args:
        samples: of the whole step.
        batches: of this process.
        bad: ids of this process's rows whose loss isn't finite.
        norm: of the gradient.

    Raises:
        CheckpointError: the list can't be written.
    """
    from accelerate.utils import gather_object

    name = f"failed-{stage.section.name}-{step + 1}"
    unsaved = _save(batches, folder / f"{name}.{accelerator.process_index}.safetensors")
    ids = [sample.id for sample in samples]
    of_all = set(gather_object(list(bad)))
    named = [id_ for id_ in dict.fromkeys(ids) if id_ in of_all]
    if accelerator.is_main_process:
        listed = {"stage": stage.section.name, "step": step + 1, "ids": ids, "not_finite": named}
        write_text(json.dumps(listed, ensure_ascii=False), folder / f"{name}.json", error=CheckpointError)
    whose = f"{len(named)} of " if named else ""
    shown = ", ".join((named or ids)[:SHOWN]) + (", …" if len(named or ids) > SHOWN else "")
    return TrainingError(
        f"stage {stage.section.name}, step {step + 1}: the loss or its gradient (norm {norm:g}) isn't finite; "
        f"{whose}the step's {len(ids)} examples: {shown}",
        hint=f"{folder / name}.json lists them, and {unsaved or 'the files beside it have their batches'}. If they "
        "are sound, start anew with a lower learning rate or longer warmup_steps (--fresh, or another --out).",
    )


def rows_not_finite(batch: Batch, losses: Sequence[float]) -> list[str]:
    """Ids of the rows of a batch whose loss isn't finite."""
    return [id_ for id_, loss in zip(batch.ids, losses, strict=True) if not math.isfinite(loss)]


def _save(batches: Sequence[Batch], path: Path) -> str:
    """Write the tensors of a process's batches; why not, where that fails: what stopped the run is to be said first."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors = {
        f"{number}.{name}": tensor.contiguous()
        for number, batch in enumerate(batches)
        for name, tensor in _tensors(batch).items()
    }
    try:
        save_file(tensors, path)
    except (OSError, SafetensorError) as error:
        return f"their batches couldn't be kept ({error})"
    return ""


def _tensors(batch: Batch) -> dict[str, Tensor]:
    values = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    if batch.features is not None:
        values |= {"features.patches": batch.features.patches, "features.pooled": batch.features.pooled}
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}

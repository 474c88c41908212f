"""Training, from recipe to run folder.

    for each stage: freeze and unfreeze; then for each step: rows -> batches -> loss -> gradient -> update.

The loss of a step is the sum over its supervised tokens divided by their number, over all forward passes and processes,
so one pass of 8 rows and 8 passes of one row walk the same path. Launch, sharding and number formats are accelerate's.
All randomness of a step follows from (seed, stage, step), so a run that is resumed is the run that was never stopped.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from visiglot.config import Recipe, cache_dir
from visiglot.data.collate import to_device
from visiglot.data.ledger import Ledger
from visiglot.errors import CheckpointError, ConfigError, TrainingError
from visiglot.files import write_text
from visiglot.memory import release_memory
from visiglot.models.build import build_model
from visiglot.models.load import load_model
from visiglot.models.processor import VisiglotProcessor
from visiglot.models.runs import Position
from visiglot.models.vlm import VisionLanguageModel
from visiglot.train.checkpoint import owned
from visiglot.train.optimiser import build_optimiser
from visiglot.train.precision import build_accelerator
from visiglot.train.resume import Run, open_run
from visiglot.train.stages import (
    Sources,
    Stage,
    TrainingStep,
    languages_of,
    prepare_stage,
    schedule,
    texts_of,
)
from visiglot.train.track import Tracker
from visiglot.types import Sample

if TYPE_CHECKING:
    from accelerate import Accelerator


def fit(
    recipe: Recipe,
    *,
    out: Path | None = None,
    resume: bool = False,
    device: str = "auto",
    dry_run: bool = False,
    report: Tracker | None = None,
) -> Path:
    """Train a recipe and return its run folder.

    Args:
        out: the run folder; default `<cache>/runs/<recipe's name>`.
        resume: go on from the last complete checkpoint; a finished run is left as it is.
        device: auto, cpu, cuda or cuda:<n>.
        dry_run: build everything, say what would happen, check the first step's data, write nothing.
        report: who is told; default the terminal.

    Raises:
        VisiglotError: of every kind; nothing is half-written.
    """
    folder = out or cache_dir() / "runs" / recipe.name
    accelerator = build_accelerator(recipe.train.precision, device)
    tracker = (report or Tracker.to_terminal()) if accelerator.is_main_process else Tracker()
    alone = contextlib.nullcontext() if dry_run or not accelerator.is_main_process else owned(folder)
    with alone, tracker:
        run = open_run(recipe, folder, resume=resume, dry_run=dry_run, main=accelerator.is_main_process)
        if run.finished:
            tracker.say(f"{recipe.name}: finished already, {run.folder}")
            return folder
        if not dry_run and accelerator.is_main_process:
            tracker.open_log(folder / "log.jsonl", run.start if run.checkpoint else None)
        kept = None if dry_run or not accelerator.is_main_process else folder / "ledger.jsonl"
        ledger = Ledger(kept, recipe.train.max_bad)
        sources = Sources()
        model, processor = _model(recipe, run, sources, tracker)
        set_attention(model, recipe)
        model.to(accelerator.device)
        tracker.say(f"{accelerator.device}, {'bf16' if accelerator.mixed_precision == 'bf16' else 'fp32'}, {folder}")
        for index in range(run.start.stage_index, len(recipe.stages)):
            if run.start == Position(index, recipe.stages[index].steps):
                continue
            stage = prepare_stage(recipe, index, model, processor, sources, accelerator, ledger)
            for line in stage.lines:
                tracker.say(line)
            if not dry_run:
                train_stage(recipe, stage, model, processor, run, accelerator, tracker)
        for line in left_out(ledger):
            tracker.say(line)
    return folder


def train_stage(
    recipe: Recipe,
    stage: Stage,
    model: VisionLanguageModel,
    processor: VisiglotProcessor,
    run: Run,
    accelerator: Accelerator,
    tracker: Tracker,
) -> None:
    """Make the steps of one stage that are still to be made."""
    section = stage.section
    objective = stage.objective.to(accelerator.device)
    optimiser = build_optimiser(model, stage.groups, objective, section)
    first = run.restore(stage.index, objective, optimiser)
    module, optimiser = accelerator.prepare(TrainingStep(model, objective), optimiser)
    parameters = stage.parameters()

    tracker.begin_stage(section.name, section.steps, first)
    with contextlib.closing(stage.feed), ThreadPoolExecutor(1, "visiglot-data") as thread:
        coming = thread.submit(stage.loader.load, first)
        for step in range(first, section.steps):
            asked = time.perf_counter()
            loaded = stage.loader.agree(coming.result())  # on the rows that can be shown
            tracker.window.waited += time.perf_counter() - asked
            if step + 1 < section.steps:
                coming = thread.submit(stage.loader.load, step + 1)

            samples, batches = loaded.samples, loaded.batches
            total = objective.count(samples)  # supervised tokens of the whole step
            seed_step(recipe.train.seed, section.name, step, accelerator.process_index)
            finite = True
            for number, batch in enumerate(batches, start=1):
                last = number == len(batches)
                with contextlib.nullcontext() if last else accelerator.no_sync(module):
                    loss = module(to_device(batch, accelerator.device))
                    accelerator.backward(loss.sum * accelerator.num_processes / total)  # processes are averaged
                finite = finite and bool(torch.isfinite(loss.sum))
                tracker.window.add_rows(batch, loss.rows.tolist(), loss.counts.tolist())
            norm = float(accelerator.clip_grad_norm_(parameters, section.clip or math.inf))
            if not finite or not math.isfinite(norm):
                raise _not_finite(run.folder, stage, step, samples, norm, main=accelerator.is_main_process)
            for group in optimiser.param_groups:
                group["lr"] = group["peak_lr"] * schedule(section, step)
            optimiser.step()
            optimiser.zero_grad()

            run.tokens += sum(len(sample.ids) for sample in samples)
            tracker.step_done()
            position = Position(stage.index, step + 1)
            at_end = position.step == section.steps
            if at_end or position.step % recipe.train.log_every == 0:
                rates = {group["path"]: group["lr"] for group in optimiser.param_groups}
                tracker.log(section.name, position, section.steps, lr=rates, norm=norm, tokens=run.tokens)
            if stage.validation is not None and stage.validation.is_due(position.step, section.steps):
                tracker.validated(section.name, position, section.steps, stage.validation.measure(module))
            if at_end or position.step % recipe.train.save_every == 0:
                run.save(stage, position, model, processor, optimiser, accelerator)
                release_memory()
    tracker.end_stage()
    accelerator.free_memory()


def _model(
    recipe: Recipe, run: Run, sources: Sources, tracker: Tracker
) -> tuple[VisionLanguageModel, VisiglotProcessor]:
    """The model of the recipe, or that of the checkpoint the run goes on from."""
    if run.checkpoint is not None:
        tracker.say(f"{recipe.name}: going on from {run.checkpoint.folder}")
        return load_model(str(run.checkpoint.model), device="cpu", dtype="fp32")
    built = build_model(
        recipe.model, languages=languages_of(recipe), seed=recipe.train.seed, texts=texts_of(recipe, sources)
    )
    for line in built.report:
        tracker.say(line)
    return built.model, built.processor


def set_attention(model: VisionLanguageModel, recipe: Recipe) -> None:
    """Have the language model attend as the recipe says. Raises ConfigError when it can't."""
    if recipe.train.attention == "auto":
        return
    try:
        model.language_model.set_attn_implementation(recipe.train.attention)
    except (ValueError, ImportError) as error:
        raise ConfigError(f"recipe {recipe.name}", [f"train.attention: {error}"]) from error


def seed_step(seed: int, stage: str, step: int, rank: int) -> None:
    """Seed everything random in a step (dropout, drawn negatives), differently on each process."""
    from accelerate.utils import set_seed

    digest = hashlib.sha256(f"{seed}/{stage}/{step}/{rank}".encode()).digest()
    set_seed(int.from_bytes(digest[:4], "big"))


def left_out(ledger: Ledger) -> list[str]:
    """A line about the examples that weren't trained on; none where there are none."""
    if not ledger.skipped:
        return []
    counts = ", ".join(f"{count:,} {reason}" for reason, count in ledger.reasons.most_common())
    where = f"; {ledger.path} names them" if ledger.path else ""
    return [f"left out: {ledger.skipped:,} of {ledger.seen:,} examples ({counts}){where}"]


def _not_finite(
    folder: Path, stage: Stage, step: int, samples: Sequence[Sample], norm: float, *, main: bool
) -> TrainingError:
    """The error of a step whose loss or gradient isn't finite; the main process lists its examples in the run."""
    name = f"failed-{stage.section.name}-{step + 1}.json"
    ids = [sample.id for sample in samples]
    if main:
        listed = json.dumps({"stage": stage.section.name, "step": step + 1, "ids": ids}, ensure_ascii=False)
        write_text(listed, folder / name, error=CheckpointError)
    shown = ", ".join(ids[:3])
    return TrainingError(
        f"stage {stage.section.name}, step {step + 1}: the loss or its gradient (norm {norm:g}) isn't finite; "
        f"the step's {len(ids)} examples: {shown}{', …' if len(ids) > 3 else ''}",
        hint=f"{folder / name} lists them. Lower the learning rate or lengthen warmup_steps, then --resume.",
    )

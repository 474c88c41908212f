"""Training, from recipe to run folder.

    for each stage: freeze and unfreeze; then for each step: rows -> batches -> loss -> gradient -> update.

The loss of a step is the sum over its supervised tokens divided by their number, over all forward passes and processes,
so one pass of 8 rows and 8 passes of one row walk the same path. Number formats and copies over processes are
accelerate's, pieces over processes PyTorch's or DeepSpeed's.
All randomness of a step follows from (seed, stage, step), so a run that is resumed is the run that was never stopped.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from visiglot.config import Recipe, cache_dir
from visiglot.data.collate import to_device
from visiglot.data.ledger import Ledger
from visiglot.errors import ConfigError
from visiglot.memory import release_memory
from visiglot.models.build import build_model
from visiglot.models.load import load_model
from visiglot.models.processor import VisiglotProcessor
from visiglot.models.runs import Position, last_complete
from visiglot.models.vlm import VisionLanguageModel
from visiglot.train.checkpoint import owned
from visiglot.train.ending import agree, ending_together, listening, stopped
from visiglot.train.failed import not_finite, rows_not_finite
from visiglot.train.frozen import describe_named
from visiglot.train.launch import detect_launch, refuse_misfits
from visiglot.train.optimiser import build_optimiser
from visiglot.train.precision import build_accelerator, round_frozen
from visiglot.train.resume import Run, open_run
from visiglot.train.sharding import cuts_up, cuts_weights, describe_pieces, prepare_updates, spread, start_package
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
        VisiglotError: of every kind; nothing is half-written. A StoppedError says that a signal ended the run, which is
            saved.
    """
    folder = out or cache_dir() / "runs" / recipe.name
    launch = detect_launch()
    accelerator = build_accelerator(recipe.train.precision, device)
    refuse_misfits(launch, device, accelerator.num_processes, recipe.train.sharding)
    tracker = (report or Tracker.to_terminal()) if accelerator.is_main_process else Tracker()
    alone = contextlib.nullcontext() if dry_run or not accelerator.is_main_process else owned(folder)
    with ending_together(accelerator), alone, tracker:
        for line in launch.lines():
            tracker.say(line)
        start_package(recipe, accelerator)
        run = open_run(recipe, folder, resume=resume, dry_run=dry_run, main=accelerator.is_main_process)
        if run.finished:
            tracker.say(f"{recipe.name}: finished already, {run.folder}")
            return folder
        if not dry_run and accelerator.is_main_process:
            tracker.open_log(folder / "log.jsonl", run.start if run.checkpoint else None)
            tracker.open_boards(recipe, folder, run.start)
        kept = None if dry_run or not accelerator.is_main_process else folder / "ledger.jsonl"
        ledger = Ledger(kept, recipe.train.max_bad)
        sources = Sources()
        model, processor = _model(recipe, run, sources, tracker)
        set_attention(model, recipe)
        round_frozen(recipe, model, accelerator)  # before it takes room on the device; stages say so
        for line in describe_named(recipe, run.named):
            tracker.say(line)
        cut = cuts_up(recipe, accelerator.num_processes)
        tracker.say(f"{accelerator.device}, {'bf16' if accelerator.mixed_precision == 'bf16' else 'fp32'}, {folder}")
        for index in range(run.start.stage_index, len(recipe.stages)):
            if run.start == Position(index, recipe.stages[index].steps):
                continue
            as_it_is = (
                not cuts_weights(recipe, accelerator.num_processes) and recipe.model.language_model.quantize is None
            )
            for part in (model,) if as_it_is else (model.vision, model.connector):  # else the rest follows in pieces
                part.to(accelerator.device)
            stage = prepare_stage(recipe, index, model, processor, sources, accelerator, ledger)
            for line in (*stage.lines, *run.describe_processes(stage, accelerator.num_processes)):
                tracker.say(line)
            if not dry_run:
                train_stage(recipe, stage, model, processor, run, accelerator, tracker)
                if cut and index + 1 < len(recipe.stages):  # the next stage takes it whole, as a resumed run does
                    model, processor = _whole_again(folder)
                    set_attention(model, recipe)
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
    section, objective = stage.section, stage.objective
    first = run.first_step(stage.index)
    run.restore_objective(stage.index, objective)
    whole = TrainingStep(model, objective)
    sharding, cached = recipe.train.sharding, stage.feed.cache is not None
    module = spread(whole, accelerator, sharding, cached=cached)
    stage.follow(model)
    optimiser = build_optimiser(model, stage.groups, objective, section)
    updates = prepare_updates(module, whole, optimiser, stage.parameters(), accelerator, sharding, cached=cached)
    run.restore_optimiser(stage.index, updates)
    if cuts_up(recipe, accelerator.num_processes):
        tracker.say(f"  {sharding}: {describe_pieces(whole, accelerator.num_processes)}")

    tracker.begin_stage(section.name, section.steps, first)
    with contextlib.closing(stage.feed), ThreadPoolExecutor(1, "visiglot-data") as thread, listening() as stop:
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
            bad: list[str] = []  # rows whose loss isn't finite
            finite = True
            for number, batch in enumerate(batches, start=1):
                last = number == len(batches)
                with updates.passing(last=last):
                    loss = updates.module(to_device(batch, accelerator.device))
                    updates.backward(loss.sum * accelerator.num_processes / total)  # processes are averaged
                finite = finite and bool(torch.isfinite(loss.sum))
                losses = loss.rows.tolist()
                bad += rows_not_finite(batch, losses)
                tracker.window.add_rows(batch, losses, loss.counts.tolist())
            norm = updates.clip(section.clip or math.inf)
            broken, asked = agree(accelerator, broken=not (finite and math.isfinite(norm)), asked=stop.number)
            if broken:
                raise not_finite(run.folder, stage, step, samples, batches, bad, norm, accelerator)
            for group in updates.param_groups:
                group["lr"] = group["peak_lr"] * schedule(section, step)
            updates.update()

            run.tokens += sum(len(sample.ids) for sample in samples)
            position = Position(stage.index, step + 1)
            at_end = position.step == section.steps
            due = at_end or asked or position.step % recipe.train.save_every == 0
            logged = bool(due or position.step % recipe.train.log_every == 0)
            tracker.step_done(logged=logged)
            if logged:  # a run that goes on has logged every step before
                rates = {group["path"]: group["lr"] for group in updates.param_groups}
                tracker.window = tracker.window.of_all(accelerator)
                tracker.log(section.name, position, section.steps, lr=rates, norm=norm, tokens=run.tokens)
            costs = None
            if stage.validation is not None and stage.validation.is_due(position.step, section.steps):
                costs = stage.validation.measure(updates.module)
                tracker.validated(section.name, position, section.steps, costs)
            if due:
                run.save(stage, position, model, processor, updates, accelerator, costs)
                release_memory()
            if asked and not run.ends_at(position):
                raise stopped(section.name, position.step, asked)
        _, asked = agree(accelerator, broken=False, asked=stop.number)  # while the last step was measured and saved
        if asked and not run.ends_at(Position(stage.index, section.steps)):
            raise stopped(section.name, section.steps, asked)
    tracker.end_stage()
    updates.close()


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


def _whole_again(folder: Path) -> tuple[VisionLanguageModel, VisiglotProcessor]:
    """The model of a run's last checkpoint."""
    last = last_complete(folder)
    assert last is not None
    return load_model(str(last / "model"), device="cpu", dtype="fp32")


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

"""A training step: Visiglot's loop against stock BLIP-2 with PEFT's LoRA in a plain loop, both in bf16.

The model is that of `towers.py`: encoder frozen, connector trained, low-rank layers in every linear layer of the
language model, random weights. Each way runs in a process of its own:

    stock          Blip2ForConditionalGeneration under autocast: the encoder in each step, logits at every position
    pictures       Visiglot with the encoder in each step
    visiglot       Visiglot with cached features (`cache_views: 1`), which are read from disk in the measured time
    frozen         the same with `train.frozen=bf16`
    connector      and with `train.gradient_checkpointing=[connector]`
    weights        or [language_model,weights]
    layers         or [connector,language_model]
    read           with what the frozen Q-Former made of the features (`cache_read`)

`step` compares steps of one shape. `padding` compares what a supervised token costs where answers differ in length:
stock batches padded to the longest answer allowed (`stock to 64`) and to the longest of the batch (`stock to batch`),
and Visiglot's batches of similar lengths. `warmup` compares steps that train the projection alone. `equal` holds losses
and gradients of both against each other in float32.

Memory is what a step's peak has above weights, gradients and moments, which every way of training must hold. Ratios are
stock over Visiglot. With `--clock cpu` seconds are the processor's: on a machine that others use too, with one thread,
they say more than those of the wall.

    python benchmarks/train.py --threads 1 --clock cpu            some ten minutes on one core, 6 GB
    python benchmarks/train.py --size tiny --only step            a look at whether it runs
    python benchmarks/train.py --only profile                     where the time of Visiglot's step goes
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from serve import build_processor
from torch import Tensor
from towers import IMAGE_TOKENS, SIZES, build_stock
from trainers import PROMPT, ROWS, SAVING, Job, Trainer, prepared, stock_batches, trainer_of

WAYS = ("stock", "pictures", "visiglot", *SAVING)
FIXED = 32
"""Tokens of an answer in `step`."""
MEAN, SPREAD, LONGEST = 20, 0.6, 64
"""Of an answer in `padding`: tokens in the mean, spread of their logarithm, and most."""


@dataclass(frozen=True)
class Measurement:
    """Of the fastest pass: seconds of processor and wall for all steps; MiB that training holds, and peak above it."""

    cpu: float
    wall: float
    tokens: int
    own: float
    extra: float


# --- measuring -------------------------------------------------------------------------------------------------------


def measure(job: Job) -> Measurement:
    """One way, in this process."""
    from visiglot.memory import release_memory

    trainer = trainer_of(job)
    allocate(trainer)
    release_memory()
    own = resident("VmRSS")
    steps = len(job.lengths) // ROWS
    trainer.step(0)  # makes what is made once
    release_memory()
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts anew from here
    found = []
    for _ in range(job.passes):
        wall, cpu = time.perf_counter(), time.process_time()
        for number in range(steps):
            trainer.step(number)
        found.append((time.process_time() - cpu, time.perf_counter() - wall))
    cpu, wall = min(found)
    return Measurement(cpu, wall, sum(job.lengths), own, resident("VmHWM") - own)


def allocate(trainer: Trainer) -> None:
    """Gradients and moments as they will be, all zeros."""
    for parameter in trainer.parameters:
        parameter.grad = torch.zeros_like(parameter)
    rates = [group["lr"] for group in trainer.optimiser.param_groups]
    for group in trainer.optimiser.param_groups:
        group["lr"] = 0.0
    trainer.optimiser.step()
    for group, rate in zip(trainer.optimiser.param_groups, rates, strict=True):
        group["lr"] = rate


def resident(what: str) -> float:
    """Of this process, in MiB (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) / 2**10
    raise OSError(f"/proc/self/status has no {what}")


def in_fresh_process(job: Job) -> Measurement:
    done = subprocess.run(
        [sys.executable, __file__, "--job", json.dumps(asdict(job))],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": str(job.threads)},
    )
    if done.returncode:
        sys.exit(done.stderr)
    return Measurement(**json.loads(done.stdout.splitlines()[-1]))


def best(jobs: Sequence[Job], rounds: int) -> list[Measurement]:
    """Each job's fastest time and largest memory of `rounds`, which take turns."""
    found = [[in_fresh_process(job) for job in jobs] for _ in range(rounds)]
    return [
        Measurement(
            min(one.cpu for one in of_job),
            min(one.wall for one in of_job),
            of_job[0].tokens,
            max(one.own for one in of_job),
            max(one.extra for one in of_job),
        )
        for of_job in zip(*found, strict=True)
    ]


# --- what is compared ------------------------------------------------------------------------------------------------


def drawn_lengths(count: int) -> tuple[int, ...]:
    """Log-normal, cut off at LONGEST."""
    normal = np.random.default_rng(0).normal(math.log(MEAN) - SPREAD**2 / 2, SPREAD, count)
    return tuple(int(length) for length in np.exp(normal).round().clip(2, LONGEST))


def compare(title: str, named: Sequence[tuple[str, Job]], given: argparse.Namespace) -> None:
    """A table; ratios are those of each of the ways that are stock's over each way."""
    found = dict(zip([name for name, _ in named], best([job for _, job in named], given.rounds), strict=True))
    stocks = [name for name, job in named if job.way == "stock"]

    def cost(name: str) -> float:
        one = found[name]
        return (one.cpu if given.clock == "cpu" else one.wall) / one.tokens

    steps = len(named[0][1].lengths) // ROWS
    print(f"\n{title}\n")
    ratios = [column for name in stocks for column in (f"{name}: time", "memory")]
    print(f"| way | s a step, processor | wall | ms a supervised token | MiB held | above | {' | '.join(ratios)} |")
    print("|---" * (6 + len(ratios)) + "|")
    for name, one in found.items():
        cells = [f"{one.cpu / steps:.2f}", f"{one.wall / steps:.2f}", f"{1000 * cost(name):.2f}"]
        cells += [f"{one.own:,.0f}", f"{one.extra:,.0f}"]
        for stock in stocks:
            cells += [f"{cost(stock) / cost(name):.2f}x", f"{found[stock].extra / max(one.extra, 1):.1f}x"]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def jobs_of_step(given: argparse.Namespace) -> list[tuple[str, Job]]:
    lengths = (FIXED,) * ROWS
    return [
        (way, Job(way, given.size, lengths, 0, False, given.threads, given.passes)) for way in given.ways.split(",")
    ]


def jobs_of_warmup(given: argparse.Namespace) -> list[tuple[str, Job]]:
    return [
        (way, Job(way, given.size, (FIXED,) * ROWS, 0, False, given.threads, given.passes, warmup=True))
        for way in ("stock", "visiglot", "read")
    ]


def jobs_of_padding(given: argparse.Namespace) -> list[tuple[str, Job]]:
    lengths = drawn_lengths(given.examples)
    shared = (given.threads, 1)
    return [
        (f"stock to {LONGEST}", Job("stock", given.size, lengths, LONGEST, False, *shared)),
        ("stock to batch", Job("stock", given.size, lengths, 0, False, *shared)),
        ("visiglot", Job("visiglot", given.size, lengths, 0, True, *shared)),
    ]


def check_equal(given: argparse.Namespace) -> None:
    """Loss and gradients of one batch in float32, without dropout."""
    job = Job("visiglot", given.size, drawn_lengths(ROWS), 0, False, given.threads, 1)
    stock = build_stock(job.size, "mt0", torch.float32)
    processor = build_processor(stock)
    stage, whole, _ = prepared(job, stock, "fp32")
    whole.eval()
    loaded = stage.loader.load(0)
    loss = whole(loaded.batches[0]).sum / stage.objective.count(loaded.samples)
    loss.backward()
    ours = gradient_of(stage.parameters())
    whole.zero_grad()
    (batch,) = stock_batches(job, stock, loaded.samples, processor)
    theirs = stock(**batch).loss  # the same modules, low-rank layers included
    theirs.backward()
    apart = abs(float(loss.detach()) - float(theirs.detach()))
    stocks = gradient_of(stage.parameters())
    off = float((ours - stocks).norm() / stocks.norm())
    print(
        f"float32: losses {float(loss.detach()):.6f} and {float(theirs.detach()):.6f} are {apart:.1e} apart, gradients "
        f"{off:.1e} of their norm",
        flush=True,
    )
    if apart > 1e-5 or off > 1e-3:
        sys.exit("the two ways differ: this is a bug")


def gradient_of(parameters: Iterable[torch.nn.Parameter]) -> Tensor:
    """All gradients in one vector."""
    return torch.cat(
        [torch.zeros_like(one).flatten() if one.grad is None else one.grad.flatten() for one in parameters]
    )


def profile(given: argparse.Namespace) -> None:
    """Operators of a step by their own time, in this process."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    given.ways = given.way
    ((_, job),) = jobs_of_step(given)
    trainer = trainer_of(job)
    allocate(trainer)
    trainer.step(0)
    with profiler(activities=[ProfilerActivity.CPU], record_shapes=given.shapes) as found:
        trainer.step(0)
    table = found.key_averages(group_by_input_shape=given.shapes)
    print(table.table(sort_by="self_cpu_time_total", row_limit=30, max_name_column_width=50))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=sorted(SIZES), default="base")
    parser.add_argument("--only", choices=("equal", "step", "warmup", "padding", "profile"))
    parser.add_argument("--clock", choices=("cpu", "wall"), default="wall", help="whose seconds ratios are of")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--examples", type=int, default=64, help="of `padding`")
    parser.add_argument("--passes", type=int, default=3, help="steps of `step` that the fastest is taken of")
    parser.add_argument("--rounds", type=int, default=1, help="times that all ways take turns")
    parser.add_argument("--way", choices=WAYS, default="visiglot", help="of `profile`")
    parser.add_argument("--ways", default=",".join(WAYS), help="of `step`, by comma")
    parser.add_argument("--shapes", action="store_true", help="let `profile` tell shapes apart")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    given = parser.parse_args()
    import transformers

    transformers.logging.set_verbosity_error()
    if given.job:
        fields = json.loads(given.job)
        job = Job(**fields | {"lengths": tuple(fields["lengths"])})
        torch.set_num_threads(job.threads)
        print(json.dumps(asdict(measure(job))))
        return
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as name:
        os.environ["VISIGLOT_CACHE"] = name
        print(
            f"{given.size}, {given.threads} thread(s), {ROWS} rows, {IMAGE_TOKENS} + {PROMPT} tokens read; "
            f"torch {torch.__version__}, transformers {transformers.__version__}",
            flush=True,
        )
        if given.only == "profile":
            profile(given)
        if given.only in (None, "equal"):
            check_equal(given)
        if given.only in (None, "step"):
            compare(f"Answers of {FIXED} tokens", jobs_of_step(given), given)
        if given.only in (None, "warmup"):
            compare(f"The projection alone, answers of {FIXED} tokens", jobs_of_warmup(given), given)
        if given.only in (None, "padding"):
            lengths = drawn_lengths(given.examples)
            title = (
                f"{len(lengths)} answers of {min(lengths)} to {max(lengths)} tokens, {np.mean(lengths):.1f} in the mean"
            )
            compare(title, jobs_of_padding(given), given)


if __name__ == "__main__":
    main()

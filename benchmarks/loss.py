"""The training loss over a large vocabulary: chunks against the stock way that holds all logits.

    stock     all logits, and autograd
    chunked   those of a chunk of positions at a time
    blocks    a frozen head only: those of a block of words at a time, in one pass over the head

All compute the same loss and the same gradient of the states, in one run on one machine; each ratio is stock's over
theirs. With `--bf16` it's under autocast, as training is. Memory is what a fresh process grows by, since a process
gives nothing back; time is the best of `--repeats`.

    python benchmarks/loss.py --positions 2048 --width 512 --vocabulary 250112
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from visiglot.train.loss import chunked_cross_entropy, linear_cross_entropy


@dataclass(frozen=True)
class Setting:
    """P supervised positions, width D, vocabulary V; the head's weights [V, D] are frozen or trained."""

    positions: int
    width: int
    vocabulary: int
    chunk: int
    trained: bool
    bf16: bool
    clock: str


@dataclass(frozen=True)
class Measurement:
    """Of one way: seconds of the fastest step, MiB the process grew by, mean loss, norm of the states' gradient."""

    seconds: float
    mebibytes: float
    loss: float
    gradient: float


def measure(way: str, setting: Setting, repeats: int) -> Measurement:
    """Forward and backward of one way, in this process."""
    generator = torch.Generator().manual_seed(0)
    head = torch.nn.Linear(setting.width, setting.vocabulary, bias=False)
    torch.nn.init.normal_(head.weight, std=setting.width**-0.5, generator=generator)
    head.requires_grad_(setting.trained)
    states = torch.randn(setting.positions, setting.width, generator=generator).requires_grad_()
    labels = torch.randint(setting.vocabulary, (setting.positions,), generator=generator)

    def step() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=setting.bf16):
            if way == "stock":
                loss = cross_entropy(head(states).float(), labels)
            elif way == "chunked":
                loss = chunked_cross_entropy(head, states, labels, setting.chunk).mean()
            else:
                loss = linear_cross_entropy(head, states, labels, setting.chunk).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    now = time.process_time if setting.clock == "cpu" else time.perf_counter
    before, times = peak(), []
    for _ in range(repeats):
        states.grad = head.weight.grad = None
        start = now()
        loss = step()
        times.append(now() - start)
    assert states.grad is not None
    return Measurement(min(times), peak() - before, loss.item(), states.grad.norm().item())


def peak() -> float:
    """The most memory this process has held so far, in MiB (Linux counts in KiB, macOS in bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def in_fresh_process(way: str, setting: Setting, repeats: int) -> Measurement:
    command = [
        sys.executable,
        __file__,
        "--way",
        way,
        "--repeats",
        str(repeats),
        "--setting",
        json.dumps(asdict(setting)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return Measurement(**json.loads(done.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--positions", type=int, default=1024)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--vocabulary", type=int, default=250_112, help="default: mT5's")
    parser.add_argument("--chunk", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clock", choices=("cpu", "wall"), default="wall", help="whose seconds")
    parser.add_argument("--bf16", action="store_true", help="compute in bf16")
    parser.add_argument("--way", choices=("stock", "chunked", "blocks"), help=argparse.SUPPRESS)
    parser.add_argument("--setting", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        print(json.dumps(asdict(measure(given.way, Setting(**json.loads(given.setting)), given.repeats))))
        return
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}")
    print(f"{given.positions:,} positions, width {given.width:,}, vocabulary {given.vocabulary:,}, chunk {given.chunk}")
    print(f"{'head':<10}{'way':<10}{'s':>8}{'MiB':>10}{'loss':>12}{'gradient':>12}")
    for trained in (False, True):
        setting = Setting(given.positions, given.width, given.vocabulary, given.chunk, trained, given.bf16, given.clock)
        ways = ("stock", "chunked") if trained else ("stock", "chunked", "blocks")
        found = {way: in_fresh_process(way, setting, given.repeats) for way in ways}
        head = "trained" if trained else "frozen"
        for way, m in found.items():
            print(f"{head:<10}{way:<10}{m.seconds:>8.2f}{m.mebibytes:>10,.0f}{m.loss:>12.6f}{m.gradient:>12.6f}")
        stock = found.pop("stock")
        for way, ours in found.items():
            for name in ("loss", "gradient"):
                if not math.isclose(getattr(stock, name), getattr(ours, name), rel_tol=1e-2 if given.bf16 else 1e-4):
                    sys.exit(f"stock and {way} differ in their {name}: this is a bug")
            print(
                f"{head:<10}{f'stock over {way}':<20}{stock.seconds / ours.seconds:>7.2f}x"
                f"{stock.mebibytes / max(ours.mebibytes, 1):>9.1f}x"
            )


if __name__ == "__main__":
    main()

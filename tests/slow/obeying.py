"""The command line in a process of its own, with the drawn pictures, which fails on purpose where FAIL says so.

    FAIL="<process> <forward pass> <how>" python -m tests.slow.obeying train RECIPE ...

How: `error` (an example can't be used), `killed`, `infinite` (the loss).
"""

from __future__ import annotations

import os
import signal
from typing import Any

import tests.slow.trainee  # noqa: F401 (its sources join the table)
import torch

from visiglot.cli import main
from visiglot.errors import DataError
from visiglot.train.objectives.generate import Generate


def failing(process: int, at: int, how: str) -> None:
    """Have `process` fail in its forward pass number `at`, counted from 1."""
    if int(os.environ.get("RANK", "0")) != process:
        return
    forward, calls = Generate.forward, []

    def fails(self: Generate, model: Any, batch: Any) -> Any:
        calls.append(1)
        loss = forward(self, model, batch)
        if len(calls) != at:
            return loss
        if how == "error":
            raise DataError(f"example {batch.ids[0]}: made to fail")
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        return type(loss)(loss.sum * torch.inf, torch.full_like(loss.rows, torch.inf), loss.counts)

    Generate.forward = fails  # type: ignore[method-assign]


if __name__ == "__main__":
    if "FAIL" in os.environ:
        rank, number, kind = os.environ["FAIL"].split()
        failing(int(rank), int(number), kind)
    main()

"""Several processes that share the work of one evaluation."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta

from visiglot.errors import EvaluationError

PATIENCE = timedelta(days=30)
"""How long a process waits for the others, which may have more to answer."""


@dataclass(frozen=True, slots=True)
class Share:
    """Which of the processes this is.

    Args:
        rank: 0 is the main one, which writes what there is one of.
        world: number of processes.
    """

    rank: int = 0
    world: int = 1

    @property
    def main(self) -> bool:
        return self.rank == 0

    def wait(self) -> None:
        """Until every process is here."""
        if self.world > 1:
            import torch.distributed

            torch.distributed.barrier()


ALONE = Share()


def join_processes() -> Share:
    """The share of a process that `torch.distributed.run` started, once all have met; else that of a single one.

    They need no GPU to meet: nothing but waiting goes between them, and what they make lies in the evaluation folder,
    which all of them must see.

    Raises:
        EvaluationError: the launcher's variables are incomplete.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return ALONE
    if missing := [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]:
        raise EvaluationError(
            f"WORLD_SIZE is {world}, and {', '.join(missing)} isn't set",
            hint="Start several processes with `python -m torch.distributed.run --nproc-per-node N -m visiglot ...`.",
        )
    import torch.distributed

    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo", timeout=PATIENCE)
    return Share(int(os.environ["RANK"]), world)


def device_of(share: Share, name: str) -> str:
    """The device of a process: where several share the GPUs of a machine, each takes one in turn.

    Args:
        name: as the user gave it; one that names a single device ("cpu", "cuda:1") stays.
    """
    if share.world == 1 or name not in ("auto", "cuda"):
        return name
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return f"cuda:{int(os.environ.get('LOCAL_RANK', share.rank)) % count}" if count else name

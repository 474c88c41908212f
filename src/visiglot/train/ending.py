"""How a run ends before its time: because it is asked to, or because a process failed; in all processes alike.

A signal is heeded at the end of the step that it comes in, at the same step in every process. A process that fails says
why and tells the others through the store that they found each other by; these would wait for it in an exchange that
can't be left, so a thread of each looks there, and ends its process when that doesn't end by itself.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch

from visiglot.errors import StoppedError, TrainingError

if TYPE_CHECKING:
    from accelerate import Accelerator, PartialState

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""Ctrl-C, what ends a job, and what SLURM sends ahead of that when it is asked to (--signal=USR1@120)."""
AGAIN = 2.0
"""Seconds within which the same signal is the same wish: launchers pass on the Ctrl-C that the terminal sent to all."""
LOOK = 0.5
"""Seconds between two looks whether another process has failed."""
GRACE = 10.0
"""Seconds that a process has to end by itself after another has failed."""
FAILED = "visiglot/failed"
"""Key of the number of the process that failed first."""


# --- asked to stop ---------------------------------------------------------------------------------------------------


@dataclass
class StopRequest:
    """Whether the run is asked to stop: the number of the signal, 0 for none, and when it came first."""

    number: int = 0
    since: float = 0.0


@contextlib.contextmanager
def listening() -> Iterator[StopRequest]:
    """Note the signals that ask a run to stop; a second one, later than AGAIN, has its usual effect at once.

    Outside the main thread, where Python takes no signals, nothing is ever asked.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def note(number: int, frame: FrameType | None) -> None:
        if not request.number:
            request.number, request.since = number, time.monotonic()
            # a plain write, since whoever is interrupted may be writing
            os.write(2, b"\nstopping: finishing the step, then saving; the same again stops at once\n")
        elif time.monotonic() - request.since > AGAIN and number != signal.SIGUSR1:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
            signal.raise_signal(number)

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stopped(stage: str, step: int, number: int) -> StoppedError:
    """What ends a run that was asked to stop, once it is saved."""
    return StoppedError(
        f"stopped by {signal.Signals(number).name} after step {step:,} of stage {stage}, and saved there",
        number,
        hint="Go on with the same command: what was done is found, and the run ends as if it hadn't been stopped.",
    )


def agree(accelerator: Accelerator, *, broken: bool, asked: int) -> tuple[bool, int]:
    """Whether the step is broken in any process, and the signal that any was sent. All processes call this at once."""
    if accelerator.num_processes == 1:
        return broken, asked
    own = torch.tensor([int(broken), asked], device=accelerator.device)
    most: list[int] = accelerator.gather(own).view(-1, 2).amax(0).tolist()
    return bool(most[0]), most[1]


# --- a failure -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def ending_together(accelerator: Accelerator | PartialState) -> Iterator[None]:
    """Let no process wait for one that has failed: the first to fail raises its error, the others exit without a word.

    A process that has nothing more to do waits for the others, which would take it for one that is gone.

    Raises:
        SystemExit: another process has said why (1), or that the run was stopped (that status).
        TrainingError: another process is gone and could not say why.
    """
    if accelerator.num_processes == 1:
        yield
        return
    from torch.distributed.distributed_c10d import _get_default_store

    store: Any = _get_default_store()
    watch = _Watch(store.clone(), accelerator.process_index)
    watch.start()
    asked: StoppedError | None = None
    try:
        try:
            yield
        except StoppedError as stopped:  # all processes do, after the same step
            asked = stopped
        accelerator.wait_for_everyone()
    except BaseException as error:
        if watch.seen.is_set():
            raise SystemExit(1) from error
        first = _tell(store, accelerator.process_index)
        if first is None:
            raise TrainingError(
                f"process {accelerator.process_index}: the exchange with the others broke off ({_said(error)})",
                hint="The output of process 0 says why; one that the system killed, as for memory, says nothing.",
            ) from error
        if first != accelerator.process_index:
            raise SystemExit(1) from error
        watch.over.set()
        time.sleep(2 * LOOK)  # the store may end with this process; until then the others have looked
        raise
    finally:
        watch.over.set()
    if asked is not None and accelerator.is_main_process:
        raise asked
    if asked is not None:
        raise SystemExit(asked.status)


class _Watch(threading.Thread):
    """Looks whether a process has failed; ends this one if it doesn't end within GRACE after that."""

    def __init__(self, store: Any, rank: int) -> None:
        super().__init__(name="visiglot-watch", daemon=True)
        self.store = store
        self.rank = rank
        self.seen = threading.Event()
        self.over = threading.Event()

    def run(self) -> None:
        gone = False
        while not self.over.wait(LOOK):
            try:
                if not self.store.check([FAILED]):
                    continue
                self.seen.set()
            except RuntimeError:  # the process that keeps the store is gone
                gone = True
            if self.over.wait(GRACE):
                return
            if gone:
                print(f"error  process {self.rank}: the run's first process is gone", file=sys.stderr, flush=True)
            os._exit(1)  # the main thread is in an exchange that can't be left


def _tell(store: Any, rank: int) -> int | None:
    """The process that failed first, which is `rank` unless another was faster; None when nobody can be told."""
    try:
        return int(store.compare_set(FAILED, "", str(rank)))
    except RuntimeError:
        return None


def _said(error: BaseException) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__

"""What a run tells: lines at the start, a line of progress on a terminal, and a JSON object for each logged step, which
boards show too if they are asked to.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from visiglot.config import Recipe
from visiglot.errors import CheckpointError
from visiglot.files import split_lines, write_text
from visiglot.memory import peak_memory_mb
from visiglot.models.runs import Position
from visiglot.train.boards import BOARDS, Board, flat
from visiglot.types import IGNORE, Batch

if TYPE_CHECKING:
    from accelerate import Accelerator

    from visiglot.train.costs import Cost, Costs

SHOWN = 4
"""Languages whose losses stand in a line of progress; the log has all."""

SILENCE = 30.0
"""Seconds after which a step is told of that isn't logged."""


@dataclass
class Window:
    """Sums since the last logged step, `waited` the seconds without data, peaks those of the run so far."""

    loss: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    count: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    examples: int = 0
    tokens: int = 0
    supervised: int = 0
    images: int = 0
    waited: float = 0.0
    peak_memory_mb: int = 0
    peak_device_mb: int = 0
    steps: int = 0
    started: float = field(default_factory=time.perf_counter)

    def add_rows(self, batch: Batch, losses: Iterable[float], counts: Iterable[int]) -> None:
        """Note a batch, its rows' losses and what each of them counts."""
        for language, loss, count in zip(batch.languages, losses, counts, strict=True):
            self.loss[language] += loss
            self.count[language] += count
        self.examples += len(batch.ids)
        self.tokens += int(batch.attention_mask.sum())
        self.supervised += int((batch.labels != IGNORE).sum())
        if batch.features is not None:
            self.images += len(batch.features.patches)
        elif batch.pixel_values is not None:
            self.images += len(batch.pixel_values)

    def of_all(self, accelerator: Accelerator) -> Window:
        """The windows of all processes together, which call this at once; the longest wait and the highest peaks."""
        from accelerate.utils import gather_object

        self.peak_memory_mb, self.peak_device_mb = peak_memory_mb(), peak_device_mb()
        if accelerator.num_processes == 1:
            return self
        found = Window(steps=self.steps, started=self.started)
        for part in gather_object([self]):
            for language, loss in part.loss.items():
                found.loss[language] += loss
                found.count[language] += part.count[language]
            for name in ("examples", "tokens", "supervised", "images"):
                setattr(found, name, getattr(found, name) + getattr(part, name))
            for name in ("waited", "peak_memory_mb", "peak_device_mb"):
                setattr(found, name, max(getattr(found, name), getattr(part, name)))
        return found

    def summary(self) -> dict[str, Any]:
        """Means and rates of the window; rates are per second, `waiting` is the share of its time without data."""
        seconds = time.perf_counter() - self.started
        return {
            "loss": round(sum(self.loss.values()) / max(sum(self.count.values()), 1), 6),
            "loss_by_language": {
                language: round(self.loss[language] / self.count[language], 4)
                for language in sorted(self.loss)
                if self.count[language]
            },
            "examples_per_s": round(self.examples / seconds, 2),
            "tokens_per_s": round(self.tokens / seconds, 1),
            "supervised_per_s": round(self.supervised / seconds, 1),
            "images_per_s": round(self.images / seconds, 2),
            "seconds": round(seconds, 3),
            "waited_s": round(self.waited, 3),
            "waiting": round(self.waited / seconds, 4),
            "peak_memory_mb": self.peak_memory_mb,
            "peak_device_mb": self.peak_device_mb,
        }


class Tracker:
    """Writes `log.jsonl` and shows progress.

    Args:
        console: where lines and progress go; None says nothing. Progress is drawn on a terminal only, elsewhere each
            logged step is a line.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console
        self.window = Window()
        self._log: Path | None = None
        self._boards: list[Board] = []
        self._before: list[int] = []
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._stage, self._steps = "", 0
        self._first = self._done = 0  # steps of the stage, when it began in this process and now
        self._began = self._said = time.perf_counter()

    @classmethod
    def to_terminal(cls) -> Tracker:
        return cls(Console(file=sys.stderr, highlight=False))

    def __enter__(self) -> Tracker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end_stage()
        for board in self._boards:
            board.close()
        self._boards = []

    def say(self, line: str = "") -> None:
        self._said = time.perf_counter()
        if self.console is not None:
            self.console.print(line, markup=False, soft_wrap=True)

    def open_log(self, path: Path, resumed_at: Position | None) -> None:
        """Write to `path` from now on; a resumed run drops the lines of steps that it will make again.

        Raises:
            CheckpointError: the log can't be read or written.
        """
        self._log = path
        kept: list[str] = []
        if resumed_at is not None and path.is_file():
            try:
                lines, _ = split_lines(path.read_text(encoding="utf-8", errors="replace"))
            except OSError as error:
                raise CheckpointError(f"{path} can't be read: {error.strerror or error}", hint=_ROOM) from error
            kept = [f"{line}\n" for line in lines if _is_at_most(line, resumed_at)]
        write_text("".join(kept), path, error=CheckpointError)

    def open_boards(self, recipe: Recipe, folder: Path, start: Position) -> None:
        """Show every record on the boards that the recipe names, too.

        Args:
            start: where the run goes on.

        Raises:
            UnknownNameError: there is no such board.
            VisiglotError: its package isn't installed.
        """
        self._before = [sum(stage.steps for stage in recipe.stages[:index]) for index in range(len(recipe.stages))]
        done = self._before[start.stage_index] + start.step
        self._boards = [BOARDS.get(name)(recipe, folder, done) for name in recipe.train.track]

    def begin_stage(self, name: str, steps: int, done: int) -> None:
        self.window = Window()
        self._stage, self._steps = name, steps
        self._first = self._done = done
        self._began = self._said = time.perf_counter()
        if self.console is not None and self.console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
            )
            # what is left follows from as many steps as it keeps, not from the last 30 seconds
            self._progress = Progress(
                *columns, TimeRemainingColumn(), console=self.console, speed_estimate_period=math.inf
            )
            self._task = self._progress.add_task(name, total=steps, completed=done, rate="")
            self._progress.start()

    def end_stage(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = self._task = None

    def step_done(self, *, logged: bool) -> None:
        """Note a step. One that isn't `logged` is told of after SILENCE, where no progress is drawn."""
        self.window.steps += 1
        self._done += 1
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task)
        elif not logged and time.perf_counter() - self._said >= SILENCE:
            self.say(f"{self._stage}  step {self._done}/{self._steps}  {self._left()}")

    def _left(self) -> str:
        """Time that the stage still takes, by the mean of its steps in this process, with all that was between them."""
        each = (time.perf_counter() - self._began) / max(self._done - self._first, 1)
        return f"{clock(each * (self._steps - self._done))} left"

    def log(
        self, stage: str, position: Position, steps: int, *, lr: dict[str, float], norm: float, tokens: int
    ) -> None:
        """Close the window: one JSON object, and a line where no progress is drawn.

        Args:
            position: after the step.
            steps: of the stage.
            lr: learning rate by part.
            norm: of the last step's gradient, before clipping.
            tokens: read since the run began.

        Raises:
            CheckpointError: the log can't be written.
        """
        found = self.window.summary()
        record = {
            "stage": stage,
            "stage_index": position.stage_index,
            "step": position.step,
            **found,
            "gradient_norm": round(norm, 4),
            "lr": lr,
            "tokens": tokens,
        }
        self._record(record, position)
        languages = describe_losses(found["loss_by_language"])
        rate = f"loss {found['loss']:.3f}{languages}  {found['examples_per_s']:.0f} examples/s"
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, rate=rate)
        else:
            self.say(f"{stage}  step {position.step}/{steps}  {rate}  {self._left()}")
        self.window = Window()

    def validated(self, stage: str, position: Position, steps: int, costs: Costs) -> None:
        """Log and say what the held-out examples cost; the window's rates don't count the time that took.

        Args:
            position: after the step.
            steps: of the stage.

        Raises:
            CheckpointError: the log can't be written.
        """
        overall, languages, tasks = costs.overall(), costs.by_language(), costs.by_task()
        record = {
            "stage": stage,
            "stage_index": position.stage_index,
            "step": position.step,
            "validation": {
                **_described(overall),
                "by_language": {code: _described(cost) for code, cost in languages.items()},
                "by_task": {task: _described(cost) for task, cost in tasks.items()},
                "left_out": dict(costs.left_out),
            },
            "seconds": round(costs.seconds, 3),
        }
        self._record(record, position)
        by_language = describe_losses({code: cost.mean for code, cost in languages.items()})
        by_task = ", ".join(f"{task} {cost.mean:.2f}" for task, cost in tasks.items())
        left_out = costs.describe_left_out()
        self.say(
            f"{stage}  step {position.step}/{steps}  held-out loss {overall.mean:.3f}{by_language}"
            + (f"  {by_task}" if len(tasks) > 1 else "")
            + f"  over {overall.tokens:,} tokens of {overall.examples:,} examples"
            + (f"  left out: {left_out}" if left_out else "")
        )
        self.window.started += costs.seconds

    def _record(self, record: Mapping[str, Any], position: Position) -> None:
        if self._log is not None:
            _append(json.dumps(record, ensure_ascii=False) + "\n", self._log)
        for board in self._boards:
            board.show(dict(flat(record)), self._before[position.stage_index] + position.step)


def _described(cost: Cost) -> dict[str, Any]:
    return {"loss": round(cost.mean, 6), "tokens": cost.tokens, "examples": cost.examples}


def clock(seconds: float) -> str:
    """1:02:03 or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def describe_losses(by_language: Mapping[str, float]) -> str:
    """The languages' losses, worst first, of more than SHOWN only those: " (deu_Latn 2.31, …)"; "" for one alone."""
    if len(by_language) < 2:
        return ""
    worst = sorted(by_language, key=lambda language: -by_language[language])
    shown = ", ".join(f"{language} {by_language[language]:.2f}" for language in worst[:SHOWN])
    return f" (worst {shown})" if len(worst) > SHOWN else f" ({shown})"


def peak_device_mb() -> int:
    """Largest memory that tensors had on the GPU so far, in MB; 0 where none was used."""
    import torch

    return round(torch.cuda.max_memory_allocated() / 2**20) if torch.cuda.is_available() else 0


_ROOM = "Make room there or correct the permissions, then go on with --resume."


def _append(line: str, path: Path) -> None:
    """Raises CheckpointError when the disk takes no more; what it took of the line, a resumed run drops."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(line)
    except OSError as error:
        raise CheckpointError(f"{path} can't be written: {error.strerror or error}", hint=_ROOM) from error


def _is_at_most(line: str, last: Position) -> bool:
    """Whether a line of the log is of a step up to `last`; False when it was cut short by a full disk."""
    try:
        record = json.loads(line)
    except ValueError:
        return False
    return Position(record["stage_index"], record["step"]) <= last

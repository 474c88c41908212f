"""The log tells each step once, however often the run was interrupted."""

import io
import json
from pathlib import Path

import torch
from rich.console import Console

from visiglot.train.checkpoint import Position
from visiglot.train.track import Tracker, clock
from visiglot.types import IGNORE, Batch


def log(tracker: Tracker, step: int) -> None:
    ids = torch.ones(2, 3, dtype=torch.long)
    labels = torch.tensor([[1, 1, IGNORE], [1, IGNORE, IGNORE]])
    nothing = torch.zeros(0, dtype=torch.long)
    batch = Batch(ids, ids, labels, nothing, nothing, ("a", "b"), ("eng_Latn", "deu_Latn"), ("", ""))
    tracker.window.add_rows(batch, [3.0, 4.0], [2, 1])
    tracker.step_done()
    tracker.log("s", Position(0, step), 10, lr={"connector": 1e-3}, norm=1.0, tokens=6 * step)


def steps(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_losses_are_means_over_what_they_count(tmp_path: Path) -> None:
    tracker = Tracker()
    tracker.open_log(tmp_path / "log.jsonl", None)
    log(tracker, 1)
    record = json.loads((tmp_path / "log.jsonl").read_text())
    assert record["loss"] == 2.333333
    assert record["loss_by_language"] == {"deu_Latn": 4.0, "eng_Latn": 1.5}


def test_a_resumed_run_drops_the_lines_it_will_write_again(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    tracker = Tracker()
    tracker.open_log(path, None)
    for step in (1, 2, 3):
        log(tracker, step)
    with path.open("a") as file:
        file.write('{"stage": "s", "st')  # killed while writing
    again = Tracker()
    again.open_log(path, Position(0, 2))
    assert steps(path) == [1, 2]
    log(again, 3)
    assert steps(path) == [1, 2, 3]


def test_off_a_terminal_each_logged_step_is_a_line_with_time_left() -> None:
    said = io.StringIO()
    tracker = Tracker(Console(file=said, width=200))
    tracker.begin_stage("s", 10, 0)
    log(tracker, 5)
    tracker.end_stage()
    assert "s  step 5/10  loss 2.333" in said.getvalue()
    assert "left" in said.getvalue()


def test_clock_shows_hours_only_when_there_are_any() -> None:
    assert clock(63) == "1:03"
    assert clock(3723) == "1:02:03"

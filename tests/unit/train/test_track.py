"""The log tells each step once, however often the run was interrupted."""

import io
import json
from pathlib import Path

import pytest
import torch
from rich.console import Console

from visiglot.errors import CheckpointError
from visiglot.train.checkpoint import Position
from visiglot.train.track import Tracker, clock, describe_losses
from visiglot.types import IGNORE, Batch


def log(tracker: Tracker, step: int) -> None:
    ids = torch.ones(2, 3, dtype=torch.long)
    labels = torch.tensor([[1, 1, IGNORE], [1, IGNORE, IGNORE]])
    nothing = torch.zeros(0, dtype=torch.long)
    batch = Batch(ids, ids, labels, nothing, nothing, ("a", "b"), ("eng_Latn", "deu_Latn"), ("", ""))
    tracker.window.add_rows(batch, [3.0, 4.0], [2, 1])
    tracker.step_done(logged=True)
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
    assert "s  step 5/10  loss 2.333 (deu_Latn 4.00, eng_Latn 1.50)  " in said.getvalue()
    assert "left" in said.getvalue()


def test_what_is_left_follows_from_the_mean_of_the_steps_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("visiglot.train.track.time.perf_counter", lambda: now)
    said = io.StringIO()
    tracker = Tracker(Console(file=said, width=200))
    tracker.begin_stage("s", 10, 4)
    for seconds in (1.0, 9.0):  # the last step alone would make it 36 seconds
        now += seconds
        log(tracker, tracker._done + 1)
    assert [line.split()[-2:] for line in said.getvalue().splitlines()] == [["0:05", "left"], ["0:20", "left"]]


def test_a_step_that_is_not_logged_is_told_of_after_half_a_minute_of_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("visiglot.train.track.time.perf_counter", lambda: now)
    said = io.StringIO()
    tracker = Tracker(Console(file=said, width=200))
    tracker.open_log(tmp_path / "log.jsonl", None)
    tracker.begin_stage("s", 10, 0)
    for _ in range(4):
        now += 16
        tracker.step_done(logged=False)
    assert said.getvalue() == "s  step 2/10  2:08 left\ns  step 4/10  1:36 left\n"
    assert steps(tmp_path / "log.jsonl") == []


def test_of_many_languages_the_worst_are_shown_and_of_one_none() -> None:
    losses = {"deu_Latn": 1.0, "swh_Latn": 3.0, "fra_Latn": 2.0, "jpn_Jpan": 2.5, "eng_Latn": 0.5}
    assert describe_losses(losses) == " (worst swh_Latn 3.00, jpn_Jpan 2.50, fra_Latn 2.00, deu_Latn 1.00)"
    assert describe_losses({"deu_Latn": 1.0}) == ""


def test_a_log_on_a_full_disk_is_an_error_with_a_cure() -> None:
    tracker = Tracker()
    tracker._log = Path("/dev/full")
    with pytest.raises(CheckpointError, match="No space left") as caught:
        log(tracker, 1)
    assert "--resume" in str(caught.value.hint)


def test_clock_shows_hours_only_when_there_are_any() -> None:
    assert clock(63) == "1:03"
    assert clock(3723) == "1:02:03"

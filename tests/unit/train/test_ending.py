"""A run that is asked to stop ends after its step, saved; what it then goes on to is what it would have been."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.drawn import drawn_recipe

from visiglot.cli.errors import spoken
from visiglot.errors import StoppedError
from visiglot.models.runs import checkpoints
from visiglot.train import ending
from visiglot.train.ending import SIGNALS, listening
from visiglot.train.loop import fit
from visiglot.train.objectives.generate import Generate
from visiglot.train.precision import build_accelerator
from visiglot.train.resume import Run
from visiglot.train.track import Tracker


def send_at(pass_number: int, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send this process a signal in the midst of a step."""
    forward, calls = Generate.forward, []

    def sending(self, model, batch):
        calls.append(1)
        if len(calls) == pass_number:
            os.kill(os.getpid(), number)
        return forward(self, model, batch)

    monkeypatch.setattr(Generate, "forward", sending)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_ends_the_run_after_its_step_saved_and_it_goes_on_as_if_it_had_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    recipe = drawn_recipe({"steps": 5, "augment": True}, {"steps": 2})
    straight = fit(recipe, out=tmp_path / "straight", device="cpu", report=Tracker())
    before = [signal.getsignal(one) for one in SIGNALS]
    with monkeypatch.context() as patch:
        send_at(3, number, patch)
        with pytest.raises(StoppedError, match=f"stopped by {number.name} after step 3 of stage stage0") as caught:
            fit(recipe, out=tmp_path / "run", device="cpu", report=Tracker())
    assert caught.value.status == 128 + number
    assert [signal.getsignal(one) for one in SIGNALS] == before
    assert [one.folder.name for one in checkpoints(tmp_path / "run")] == ["stage0-3"]
    run = fit(recipe, out=tmp_path / "run", resume=True, device="cpu", report=Tracker())
    logs = [[json.loads(line)["loss"] for line in (one / "log.jsonl").open()] for one in (straight, run)]
    assert logs[0] == logs[1]
    one, other = (load_file(checkpoints(found)[-1].model / "model.safetensors") for found in (straight, run))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_a_signal_in_the_last_step_leaves_a_finished_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    send_at(2, signal.SIGTERM, monkeypatch)
    run = fit(drawn_recipe({"steps": 2}), out=tmp_path, device="cpu", report=Tracker())
    assert [one.folder.name for one in checkpoints(run)] == ["stage0-2"]


def test_a_signal_while_a_stage_is_saved_for_the_last_time_ends_the_run_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = Run.save

    def interrupted(self, *args, **kwargs) -> None:
        save(self, *args, **kwargs)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Run, "save", interrupted)
    recipe = drawn_recipe({"steps": 2}, {"steps": 2})
    with pytest.raises(StoppedError, match="stopped by SIGTERM after step 2 of stage stage0"):
        fit(recipe, out=tmp_path, device="cpu", report=Tracker())
    assert [one.folder.name for one in checkpoints(tmp_path)] == ["stage0-2"]
    run = fit(recipe, out=tmp_path, resume=True, device="cpu", report=Tracker())  # asked in the run's last save
    assert [one.folder.name for one in checkpoints(run)] == ["stage0-2", "stage1-2"]


def test_processes_wait_for_a_large_checkpoint_as_long_with_nccl_as_without() -> None:
    from torch.distributed.constants import default_pg_timeout

    handler = build_accelerator("fp32", "cpu").init_handler
    assert handler is not None
    assert handler.timeout == default_pg_timeout


def test_a_run_that_goes_on_logs_the_losses_of_the_straight_one_however_seldom_it_logs(tmp_path: Path) -> None:
    recipe = drawn_recipe({"steps": 9}, log_every=4, save_every=3)
    straight = fit(recipe, out=tmp_path / "straight", device="cpu", report=Tracker())
    shutil.copytree(straight, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "stage0-6")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "stage0-9")
    run = fit(recipe, out=tmp_path / "run", resume=True, device="cpu", report=Tracker())
    logs = [[json.loads(line) for line in (one / "log.jsonl").open()] for one in (straight, run)]
    told = [[(record["step"], record["loss"]) for record in log] for log in logs]
    assert told[0] == told[1]
    assert [step for step, _ in told[0]] == [3, 4, 6, 8, 9]


def test_the_same_signal_at_once_is_the_same_wish_and_later_stops_at_once(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with listening() as asked:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)  # as a launcher passes it on
        assert asked.number == signal.SIGINT
        monkeypatch.setattr(ending, "AGAIN", 0.0)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert capfd.readouterr().err.count("stopping: finishing the step") == 1


def test_a_thread_listens_to_nothing_and_disturbs_no_handler() -> None:
    before, found = [signal.getsignal(one) for one in SIGNALS], []

    def listen() -> None:
        with listening() as asked:
            found.append((asked.number, [signal.getsignal(one) for one in SIGNALS]))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert found == [(0, before)]


def test_a_stopped_run_is_said_and_exits_as_shells_report_its_signal(capsys: pytest.CaptureFixture[str]) -> None:
    import typer

    with pytest.raises(typer.Exit) as caught, spoken():
        raise ending.stopped("align", 1200, signal.SIGTERM)
    assert caught.value.exit_code == 143
    said = capsys.readouterr().err
    assert said.startswith("stopped by SIGTERM after step 1,200 of stage align, and saved there\nGo on with the same")

"""Processes end together, whoever fails or is asked to stop, and a run may go on in another number of them.

They are started without a launcher, as SLURM starts them, so nothing ends them but they themselves.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file
from tests.drawn import drawn_recipe

from visiglot.config import Recipe, dump_recipe
from visiglot.models.runs import checkpoints
from visiglot.train.checkpoint import owned

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
FULL = {part: {"train": "full"} for part in ("connector", "language_model")}
STEPS = 60


def start(folder: Path, out: str, processes: int, *changes: str, fail: str = "") -> list[subprocess.Popen[str]]:
    """Train, or go on with, the run `out`."""
    command = ("-m", "tests.slow.obeying", "train", "recipe.yaml", *changes, "--out", out, "--device", "cpu")
    return launch(folder, processes, *command, **({"FAIL": fail} if fail else {}))


def launch(folder: Path, processes: int, *arguments: str, **more: str) -> list[subprocess.Popen[str]]:
    """Start Python so many times, each with a place among the others."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "VISIGLOT_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    environment |= more | {"GLOO_SOCKET_IFNAME": "lo"}
    several = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes)}
    return [
        subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder,
            env=environment | (several | {"RANK": str(rank), "LOCAL_RANK": str(rank)} if processes > 1 else {}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]


def end(processes: list[subprocess.Popen[str]], seconds: float = 900) -> tuple[list[int], list[str]]:
    """Exit statuses and what each said; a process that hangs is killed and fails the test."""
    deadline = time.monotonic() + seconds
    try:
        said = [process.communicate(timeout=max(deadline - time.monotonic(), 0.1))[1] for process in processes]
    except subprocess.TimeoutExpired as error:
        pytest.fail(f"a process hangs: {error.stderr!r}")
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], said


def finish(processes: list[subprocess.Popen[str]]) -> None:
    statuses, said = end(processes)
    assert not any(statuses), said


def logged(run: Path) -> list[dict]:
    log = run / "log.jsonl"
    lines = log.read_text(encoding="utf-8").split("\n")[:-1] if log.is_file() else []
    return [json.loads(line) for line in lines]


def stop(processes: list[subprocess.Popen[str]], run: Path, number: int, *, after: int, whom: int) -> None:
    """Send a signal to one of the processes once the run has logged step `after`."""
    deadline = time.monotonic() + 900
    while not any(record["step"] >= after for record in logged(run)):
        assert time.monotonic() < deadline
        assert processes[0].poll() is None, processes[0].communicate()[1]
        time.sleep(0.01)
    processes[whom].send_signal(number)


def recipe() -> Recipe:
    # rows differ in supervised tokens and some have no picture, so a mean of the processes' means would part at once
    stage = {"parts": FULL, "steps": STEPS, "lr": 1e-3, "schedule": "cosine"}
    return drawn_recipe(stage, llm="llama", data={"pictures": True, "text": True}, save_every=1000)


def test_stopped_in_one_process_then_in_two_it_ends_where_the_straight_run_ends(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(dump_recipe(recipe()), encoding="utf-8")
    run = tmp_path / "run"
    finish(start(tmp_path, "straight", 1))

    one = start(tmp_path, "run", 1)
    stop(one, run, signal.SIGINT, after=5, whom=0)
    statuses, said = end(one)
    assert statuses == [130], said
    assert "stopped by SIGINT after step" in said[0]
    (first,) = checkpoints(run)
    assert first.manifest["processes"] == 1

    two = start(tmp_path, "run", 2)
    stop(two, run, signal.SIGTERM, after=first.position.step + 5, whom=1)
    statuses, said = end(two)
    assert statuses == [143, 143], said
    assert "going on in 2 process(es), before in 1" in said[0]
    assert [text.count("stopped by SIGTERM after step") for text in said] == [1, 0]
    second = checkpoints(run)[-1]
    assert first.position < second.position
    assert second.position.step < STEPS
    assert second.manifest["processes"] == 2

    finish(start(tmp_path, "run", 1))
    expected, found = logged(tmp_path / "straight"), logged(run)
    assert [record["step"] for record in found] == list(range(1, STEPS + 1))
    for key in ("loss", "gradient_norm"):
        assert [record[key] for record in found] == pytest.approx([record[key] for record in expected], rel=1e-4)
    for before, after in zip(expected, found, strict=True):
        assert after["loss_by_language"] == pytest.approx(before["loss_by_language"], abs=2e-4)
    weights = [load_file(checkpoints(one)[-1].model / "model.safetensors") for one in (tmp_path / "straight", run)]
    for name, tensor in weights[0].items():
        assert (weights[1][name] - tensor).abs().max() <= 1e-5, name


def test_a_stage_whose_rows_are_compared_does_not_change_its_number_of_processes(tmp_path: Path) -> None:
    stage = {"objective": "contrastive", "steps": STEPS, "batch": {"rows": 8}}
    (tmp_path / "recipe.yaml").write_text(dump_recipe(drawn_recipe(stage, save_every=1000)), encoding="utf-8")
    one = start(tmp_path, "run", 1)
    stop(one, tmp_path / "run", signal.SIGUSR1, after=3, whom=0)
    assert end(one)[0] == [138]
    statuses, said = end(start(tmp_path, "run", 2))
    assert sorted(statuses) == [1, 2], said
    assert "".join(said).count("is under way in 1 process(es) and can't go on in 2: objective contrastive") == 1


@pytest.mark.parametrize(
    ("fail", "reason"),
    [
        ("1 4 error", "made to fail"),
        ("0 4 error", "made to fail"),
        ("1 4 infinite", "isn't finite"),
    ],
)
def test_when_one_process_fails_all_end_and_the_reason_is_said_once(tmp_path: Path, fail: str, reason: str) -> None:
    (tmp_path / "recipe.yaml").write_text(dump_recipe(recipe()), encoding="utf-8")
    statuses, said = end(start(tmp_path, "run", 2, fail=fail))
    assert sorted(statuses) == [1, 2], said
    assert "".join(said).count(reason) == 1, said
    assert not any("Traceback" in text for text in said), said
    if "infinite" in fail:
        listed = json.loads((tmp_path / "run" / "failed-stage0-4.json").read_text())
        assert 0 < len(listed["not_finite"]) <= 4, "the rows of process 1, which process 0 names"
        for rank in (0, 1):
            assert load_file(tmp_path / "run" / f"failed-stage0-4.{rank}.safetensors")


def test_when_one_process_fails_to_fill_a_cache_all_end_and_the_reason_is_said_once(tmp_path: Path) -> None:
    values = drawn_recipe({"cache_views": 1}).model_dump(mode="json", by_alias=True, exclude_none=True)
    values["data"]["sources"] = [{"type": "broken", "options": {"cut": ["eng_Latn/red-circle"]}}]
    (tmp_path / "recipe.yaml").write_text(dump_recipe(Recipe.model_validate(values)), encoding="utf-8")
    statuses, said = end(start(tmp_path, "run", 2, "--only-features"))
    assert sorted(statuses) == [1, 2], said
    assert "".join(said).count("image file is truncated") == 1, said
    assert not any("Traceback" in text for text in said), said


def test_a_run_that_is_being_trained_is_not_begun_anew_and_no_process_waits(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(dump_recipe(recipe()), encoding="utf-8")
    with owned(tmp_path / "run"):
        statuses, said = end(start(tmp_path, "run", 2, "--fresh"))
    assert statuses == [2, 1], said
    assert "is being trained by process" in said[0]
    assert not any("Traceback" in text for text in said), said


SLOW_TO_END = """
import time
from accelerate import Accelerator
from visiglot.train import ending
ending.LOOK, ending.GRACE = 0.1, 0.5
accelerator = Accelerator(cpu=True)
with ending.ending_together(accelerator):
    time.sleep(3 * accelerator.process_index)
"""


def test_a_process_that_ends_later_than_the_first_is_waited_for(tmp_path: Path) -> None:
    finish(launch(tmp_path, 2, "-c", SLOW_TO_END))


def test_when_a_process_is_killed_the_others_do_not_wait_for_it(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(dump_recipe(recipe()), encoding="utf-8")
    statuses, said = end(start(tmp_path, "run", 2, fail="0 4 killed"))
    assert statuses[0] == -signal.SIGKILL
    assert statuses[1] in (1, 2), said
    assert "error" in said[1]

"""A run that is killed, at any moment and as often as one likes, ends where the undisturbed run ends."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tests.slow.trainee  # noqa: F401 (its sources join the table)
import torch
from safetensors.torch import load_file
from tests.drawn import drawn_recipe

from visiglot.config import Recipe, dump_recipe, parse_recipe
from visiglot.models.runs import checkpoints
from visiglot.train.checkpoint import check_contents

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
LORA = {"connector": {"train": "full"}, "language_model": {"train": "lora", "lr": 5e-3}}
STEPS = 40
KILLS = 10


def recipe() -> Recipe:
    """Everything random at once: augmentation, low-rank dropout, drawn negatives, a source that follows the seed."""
    plain = drawn_recipe(
        {"steps": STEPS, "augment": True, "schedule": "cosine", "warmup_steps": 2},
        {"steps": STEPS, "parts": LORA, "cache_views": 3, "lora": {"rank": 2, "alpha": 4, "dropout": 0.2}},
        {"steps": STEPS, "objective": "matching"},
        save_every=3,
    )
    values = plain.model_dump(mode="json", by_alias=True, exclude_none=True)
    values["data"]["sources"] = [{"type": "chosen"}]
    return parse_recipe(values, where="test")


def start(folder: Path, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.slow.trainee", "recipe.yaml", name, f"{name}.notes"]
    environment = {**os.environ, "VISIGLOT_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> None:
    _, said = process.communicate(timeout=900)
    assert process.returncode == 0, said


def kill(process: subprocess.Popen[str], run: Path, *, steps: int, saving: bool, pause: float) -> bool:
    """SIGKILL once the run has logged `steps` more than it has now, or, `saving`, in its next checkpoint after that.

    Args:
        pause: seconds to wait still.

    Returns:
        False when the run had ended before.
    """
    goal = len(logged(run)) + steps
    deadline = time.monotonic() + 600
    while process.poll() is None:
        assert time.monotonic() < deadline, "nothing happened"
        if len(logged(run)) >= goal and (not saving or any((run / "checkpoints").glob(".*.partial/model"))):
            time.sleep(pause)
            process.kill()
            process.communicate()
            return process.returncode == -9
        time.sleep(0.001)
    process.communicate()
    return False


def logged(run: Path) -> list[str]:
    log = run / "log.jsonl"
    return log.read_text(encoding="utf-8").splitlines() if log.is_file() else []


def test_killed_at_random_moments_it_ends_with_the_same_weights_losses_and_examples(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(dump_recipe(recipe()), encoding="utf-8")
    finish(start(tmp_path, "straight"))

    chance, broken, while_saving = random.Random(0), tmp_path / "broken", 0
    stages: list[str] = []
    for number in range(KILLS):
        saving = number % 2 == 1
        pause, steps = chance.uniform(0, 0.01 if saving else 0.1), chance.randint(4, 16)
        if kill(start(tmp_path, "broken"), broken, steps=steps, saving=saving, pause=pause):
            stages.append(json.loads(logged(broken)[-2])["stage"])  # the last line may be cut short
            while_saving += bool(list((broken / "checkpoints").glob(".*.partial")))
        for checkpoint in checkpoints(broken):
            check_contents(checkpoint)
    assert len(stages) >= KILLS - 1
    assert len(set(stages)) == 3, f"killed in {stages}: not in every stage"
    assert while_saving, "no checkpoint was cut off while it was written"
    finish(start(tmp_path, "broken"))

    straight = tmp_path / "straight"
    assert losses(broken) == losses(straight)
    assert len(losses(straight)) == 3 * STEPS
    expected, found = notes(tmp_path, "straight"), notes(tmp_path, "broken")
    assert found == expected
    one, other = weights(straight), weights(broken)
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert not list((broken / "checkpoints").glob(".*"))


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in logged(run)]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoints(run)[-1].model / "model.safetensors")


def notes(folder: Path, name: str) -> dict[tuple[int, int], list[str]]:
    """(Seed of the stage, step) -> ids of its examples, the same however often the step was made."""
    found: dict[tuple[int, int], list[str]] = {}
    for line in (folder / f"{name}.notes").read_text(encoding="utf-8").splitlines():
        try:
            seed, step, ids = json.loads(line)
        except ValueError:  # cut short by the kill
            continue
        assert found.setdefault((seed, step), ids) == ids
    return found

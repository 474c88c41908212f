"""Two processes walk the path of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.drawn import drawn_recipe

from visiglot.config import Recipe, dump_recipe
from visiglot.models.runs import checkpoints

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
FULL = {part: {"train": "full"} for part in ("connector", "language_model")}


def train(folder: Path, name: str, *launcher: str) -> Path:
    command = [sys.executable, *launcher, "-m", "tests.slow.trainee", "recipe.yaml", name, f"{name}.notes"]
    environment = {**os.environ, "VISIGLOT_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder / name


def generating() -> Recipe:
    # rows differ in supervised tokens and some have no picture, so a mean of the processes' means would part at once
    stage = {"parts": FULL, "steps": 8, "lr": 1e-3}
    return drawn_recipe(stage, llm="llama", data={"pictures": True, "text": True}, save_every=4)


def assigning() -> Recipe:
    # each process meets captions that the other doesn't, and all take phrases of one memory
    stage = {"objective": "assignment", "steps": 8, "lr": 1e-3, "batch": {"rows": 8, "accumulate": 2}}
    recipe = drawn_recipe(stage, save_every=4)
    recipe.model.connector.options.update(pooled_tokens=3, pooled_phrases=40)
    return recipe


@pytest.mark.parametrize("make", [generating, assigning])
def test_two_processes_give_the_gradients_and_weights_of_one(make: Callable[[], Recipe], tmp_path: Path) -> None:
    recipe = make()
    (tmp_path / "recipe.yaml").write_text(dump_recipe(recipe), encoding="utf-8")
    one = train(tmp_path, "one")
    two = train(tmp_path, "two", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")

    norms = [[json.loads(line)["gradient_norm"] for line in (run / "log.jsonl").open()] for run in (one, two)]
    assert len(norms[0]) == 8
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)
    expected, found = (load_file(checkpoints(run)[-1].model / "model.safetensors") for run in (one, two))
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(
            found[name], tensor, atol=1e-5, rtol=1e-5, msg=lambda said, name=name: f"{name}: {said}"
        )


def test_two_processes_leave_out_and_validate_what_one_does(tmp_path: Path) -> None:
    # a process that kept a row which the other left out would divide by another number of tokens
    stage = {"parts": FULL, "steps": 8, "lr": 1e-3, "batch": {"rows": 16, "accumulate": 2}}
    made = drawn_recipe(stage, llm="llama", save_every=4, on_bad="skip", max_bad=0.2)
    values = made.model_dump(mode="json", by_alias=True, exclude_none=True)
    cut = ["eng_Latn/red-circle", "eng_Latn/blue-bar", "deu_Latn/green-square", "deu_Latn/red-bar"]
    values["data"]["sources"] = [{"type": "broken", "options": {"cut": cut, "gone": ["deu_Latn/yellow-bar"]}}]
    values["data"]["holdout"] = 3
    (tmp_path / "recipe.yaml").write_text(dump_recipe(Recipe.model_validate(values)), encoding="utf-8")
    one = train(tmp_path, "one")
    two = train(tmp_path, "two", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")

    logs = [[json.loads(line) for line in (run / "log.jsonl").open()] for run in (one, two)]
    norms, held = ([[record[key] for record in log if key in record] for log in logs]
                   for key in ("gradient_norm", "validation"))  # fmt: skip
    assert len(norms[0]) == 8
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)
    assert len(held[0]) == 2
    for expected, found in zip(*held, strict=True):
        assert found["loss"] == pytest.approx(expected["loss"], abs=1e-4)
        assert {**found, "loss": 0, "by_language": 0, "by_task": 0} == {
            **expected, "loss": 0, "by_language": 0, "by_task": 0,
        }  # fmt: skip
    ledgers = [{json.loads(line)["id"] for line in (run / "ledger.jsonl").open()} for run in (one, two)]
    assert ledgers[0] == ledgers[1]
    assert len(ledgers[0]) > 2
    expected, found = (load_file(checkpoints(run)[-1].model / "model.safetensors") for run in (one, two))
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=1e-5, rtol=1e-5)

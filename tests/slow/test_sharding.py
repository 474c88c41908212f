"""Two processes, with copies of the model (DDP) or pieces of it (FSDP2), walk the path of one.

Losses and weights within 1e-5 (absolute, and relative to the weight), gradient norms, which are logged to four digits,
within 1e-4.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.drawn import drawn_recipe

from visiglot.config import Recipe, dump_recipe
from visiglot.models.runs import checkpoints

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
MIXED = {"pictures": True, "text": True}
LORA = {"connector": {"train": "full"}, "language_model": {"train": "lora", "lr": 5e-3}}
PLAIN_LORA = {"rank": 4, "alpha": 8, "dropout": 0.0}


def train(folder: Path, name: str, recipe: Recipe, launcher: tuple[str, ...] = (), **changes: Any) -> Path:
    """Train, or go on with, the run `name`."""
    values = recipe.model_dump(mode="json", by_alias=True, exclude_none=True)
    values["train"] |= changes
    (folder / f"{name}.yaml").write_text(dump_recipe(Recipe.model_validate(values)), encoding="utf-8")
    command = [sys.executable, *launcher, "-m", "tests.slow.trainee", f"{name}.yaml", name, f"{name}.notes"]
    environment = {**os.environ, "VISIGLOT_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder / name


def with_batch(recipe: Recipe, **batch: Any) -> Recipe:
    """The recipe with another batch in each stage."""
    values = recipe.model_dump(mode="json", by_alias=True, exclude_none=True)
    for stage in values["stages"]:
        stage["batch"] |= batch
    return Recipe.model_validate(values)


def logged(run: Path, key: str) -> list[float]:
    records = [json.loads(line) for line in (run / "log.jsonl").open(encoding="utf-8")]
    return [record[key] for record in records if key in record]


def assert_same_path(run: Path, other: Path) -> None:
    assert logged(run, "loss") == pytest.approx(logged(other, "loss"), abs=1e-5)
    assert logged(run, "gradient_norm") == pytest.approx(logged(other, "gradient_norm"), abs=1e-4)
    assert_same_weights(run, other)


def assert_same_weights(run: Path, other: Path) -> None:
    found, expected = (load_file(checkpoints(one)[-1].model / "model.safetensors") for one in (run, other))
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(
            found[name], tensor, atol=1e-5, rtol=1e-5, msg=lambda said, name=name: f"{name}: {said}"
        )


def pieces(folder: Path, name: str) -> list[str]:
    """What the trainee noted of each process and stage: parameters that are DTensors, of how many."""
    return (folder / f"{name}.notes.pieces").read_text(encoding="utf-8").splitlines()


def everything() -> Recipe:
    """All parts train, on rows with and without pictures, of which a step has nine."""
    parts = {part: {"train": "full"} for part in ("vision", "connector", "language_model")}
    recipe = drawn_recipe({"parts": parts, "steps": 6, "lr": 1e-3, "batch": {"rows": 9}}, llm="llama", data=MIXED)
    values = recipe.model_dump(mode="json", by_alias=True, exclude_none=True)
    values["data"]["holdout"] = 3
    values["stages"][0]["validate_every"] = 3
    return Recipe.model_validate(values)


def test_passes_of_one_or_two_rows_in_two_processes_walk_the_path_of_one_pass(tmp_path: Path) -> None:
    recipe = everything()
    one = train(tmp_path, "one", recipe)
    cut = with_batch(recipe, accumulate=3)  # nine rows in six passes
    for sharding in ("ddp", "fsdp2"):
        two = train(tmp_path, sharding, cut, TWO, sharding=sharding)
        assert_same_path(two, one)
        held, expected = ([record["loss"] for record in logged(run, "validation")] for run in (two, one))
        assert held == pytest.approx(expected, abs=1e-5)
        assert len(held) == 2
    assert len(logged(one, "loss")) == 6
    assert all(line.startswith("0 of ") for line in pieces(tmp_path, "ddp"))
    for line in pieces(tmp_path, "fsdp2"):
        found, _, total = line.split()
        assert int(found) == int(total) > 50


def test_a_process_without_a_picture_meets_one_with_pictures(tmp_path: Path) -> None:
    # a pass is one row in each process: about half of the passes show a picture to one of them alone
    stage = {
        "parts": {"connector": {"train": "full"}, "vision": {"train": "full"}},
        "steps": 8,
        "lr": 1e-3,
        "batch": {"rows": 4, "accumulate": 2, "group_by_length": False},
    }
    recipe = drawn_recipe(stage, llm="llama", data=MIXED)
    one = train(tmp_path, "one", recipe)
    for sharding in ("ddp", "fsdp2", "zero2", "zero3"):
        assert_same_path(train(tmp_path, sharding, recipe, TWO, sharding=sharding), one)
    steps = {n: ids for _, n, ids in map(json.loads, (tmp_path / "one.notes").open(encoding="utf-8"))}
    shows = [[not id_.endswith("/text") for id_ in ids] for _, ids in sorted(steps.items())]
    lone = [pair for row in shows for pair in (row[:2], row[2:]) if pair[0] != pair[1]]
    assert len(lone) >= 4
    assert [True, False] in lone
    assert [False, True] in lone
    assert [False] * 4 in shows  # a step that teaches nothing: what it would train stays, whatever it learned before
    assert any(row[2] != row[3] for row in shows)  # in a step's last pass too, where gradients are exchanged


def two_stages() -> Recipe:
    """The connector alone, then low-rank layers of a frozen language model beside it, whose layers are recomputed."""
    recipe = drawn_recipe(
        {"steps": 3, "cache_views": 2},
        {"steps": 6, "parts": LORA, "lora": PLAIN_LORA, "clip": 0.05, "batch": {"rows": 8, "tokens": 60}},
        llm="mt5",
        data=MIXED,
        gradient_checkpointing=True,
        save_every=3,
        keep=9,
    )
    values = recipe.model_dump(mode="json", by_alias=True)
    values["model"]["language_model"]["config"]["dropout_rate"] = 0.0
    return Recipe.model_validate(values)


def test_low_rank_layers_train_in_pieces_and_any_number_of_processes_goes_on(tmp_path: Path) -> None:
    recipe = two_stages()
    one = train(tmp_path, "one", recipe)
    ddp = train(tmp_path, "ddp", recipe, TWO, sharding="ddp")
    fsdp = train(tmp_path, "fsdp", recipe, TWO, sharding="fsdp2")
    assert_same_path(ddp, one)
    assert_same_path(fsdp, one)
    assert max(logged(one, "gradient_norm")) > 0.05  # so gradients were clipped

    half = fsdp / "checkpoints" / "stage1-3" / "trainer" / "optimizer.pt"
    found, expected = (torch.load(path, weights_only=True) for path in (half, one / half.relative_to(fsdp)))
    assert found["param_groups"] == expected["param_groups"]
    for number, kept in expected["state"].items():
        for key, value in kept.items():
            torch.testing.assert_close(found["state"][number][key], value, atol=1e-5, rtol=1e-4)

    shutil.rmtree(fsdp / "checkpoints" / "stage1-6")
    shutil.copytree(fsdp, tmp_path / "alone")
    assert_same_weights(train(tmp_path, "fsdp", recipe, TWO, sharding="fsdp2"), one)
    assert_same_weights(train(tmp_path, "alone", recipe), one)

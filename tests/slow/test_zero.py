"""Two processes that share a model by DeepSpeed's ZeRO walk the path of one, and go on where any other way left off.

Losses and weights within 1e-5, gradient norms within 1e-4, as in `test_sharding`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.drawn import drawn_recipe
from tests.slow.test_sharding import (
    MIXED,
    PLAIN_LORA,
    TWO,
    assert_same_path,
    assert_same_weights,
    logged,
    pieces,
    train,
)
from tests.slow.test_together import end, start
from tests.slow.test_together import recipe as recipe_that_fails

from visiglot.config import Recipe, dump_recipe
from visiglot.models.load import load_model
from visiglot.models.parts import apply_parts
from visiglot.models.runs import checkpoints
from visiglot.train.memory import longest_pass, stage_memory
from visiglot.train.sharding import Sharding

pytestmark = pytest.mark.slow

HALF = "stage1-4"
"""The checkpoint in the midst of the second stage."""


def three_stages() -> Recipe:
    """The connector on cached features; everything, by rows of which few show a picture; low-rank layers in passes
    whose number varies. Layers are recomputed, gradients clipped."""
    everything = {part: {"train": "full"} for part in ("vision", "connector", "language_model")}
    lora = {"connector": {"train": "full"}, "language_model": {"train": "lora"}}
    return drawn_recipe(
        {"steps": 2, "cache_views": 2},
        {"steps": 8, "lr": 3e-4, "parts": everything, "clip": 0.5, "batch": {"rows": 3, "group_by_length": False}},
        {"steps": 2, "lr": 3e-4, "parts": lora, "lora": PLAIN_LORA, "batch": {"rows": 8, "tokens": 120}},
        llm="llama",
        data=MIXED,
        gradient_checkpointing=True,
        save_every=4,
        keep=9,
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the runs `one`, `zero2` and `zero3`."""
    folder = tmp_path_factory.mktemp("zero")
    train(folder, "one", three_stages())
    for sharding in ("zero2", "zero3"):
        train(folder, sharding, three_stages(), TWO, sharding=sharding)
    return folder


def optimiser(run: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(run / "checkpoints" / HALF / "trainer" / "optimizer.pt", weights_only=True)
    return state


def test_the_runs_have_what_could_part_them(runs: Path) -> None:
    read = [json.loads(line) for line in (runs / "one.notes").open(encoding="utf-8")]
    shows = [[not id_.endswith("/text") for id_ in ids] for _, _, ids in read if len(ids) == 3]
    assert [False, False, False] in shows  # no process has a gradient of encoder and connector
    assert any(any(row[:2]) != row[2] for row in shows)  # one process shows a picture, the other none
    state = optimiser(runs / "one")
    assert len(state["state"]) < sum(len(group["params"]) for group in state["param_groups"])  # some are never used
    assert len({float(kept["step"]) for kept in state["state"].values()}) == 2  # some are used at times


@pytest.mark.parametrize("sharding", ["zero2", "zero3"])
def test_two_processes_walk_the_path_of_one(runs: Path, sharding: str) -> None:
    assert_same_path(runs / sharding, runs / "one")
    found, expected = optimiser(runs / sharding), optimiser(runs / "one")
    assert found["param_groups"] == expected["param_groups"]
    assert found["state"].keys() == expected["state"].keys()
    for number, kept in expected["state"].items():
        assert found["state"][number].keys() == kept.keys()
        for key, value in kept.items():
            torch.testing.assert_close(found["state"][number][key], value, atol=1e-5, rtol=1e-4)
    cut = [int(line.split()[0]) for line in pieces(runs, sharding)]
    assert all(cut) is (sharding == "zero3")
    assert any(cut) is (sharding == "zero3")


@pytest.mark.parametrize("sharding", ["zero2", "zero3"])
def test_a_process_holds_what_the_dry_run_says(runs: Path, sharding: Sharding, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("visiglot.train.memory.WHOLE_BELOW", 0)  # as the trainee has it
    recipe = three_stages()
    section = recipe.stages[1]
    model, _ = load_model(str(runs / "one" / "checkpoints" / HALF / "model"), device="cpu", dtype="fp32")
    apply_parts(model, section)
    passed = longest_pass(recipe, section, model, patches=17, processes=2)
    expected = stage_memory(recipe, section, model, passed, processes=2, sharding=sharding)
    held = [json.loads(line) for line in (runs / f"{sharding}.notes.bytes").open(encoding="utf-8")]
    padding = 4 * sum(1 for _ in model.parameters())
    for found, said in zip(held[6], (expected.weights, expected.gradients, expected.optimiser), strict=True):
        assert found == pytest.approx(said, abs=padding)


@pytest.mark.parametrize(
    ("before", "after", "launcher"), [("zero2", "ddp", ()), ("zero3", "zero2", TWO), ("one", "zero3", TWO)]
)
def test_a_run_goes_on_with_another_way_to_share(
    runs: Path, before: str, after: str, launcher: tuple[str, ...]
) -> None:
    name = f"{before}-{after}"
    shutil.copytree(runs / before, runs / name)
    for later in checkpoints(runs / name):
        if later.folder.name in ("stage1-8", "stage2-2"):
            shutil.rmtree(later.folder)
    assert checkpoints(runs / name)[-1].folder.name == HALF
    assert_same_weights(train(runs, name, three_stages(), launcher, sharding=after), runs / "one")


def test_a_loss_that_is_not_finite_in_one_process_ends_both_before_the_update(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(dump_recipe(recipe_that_fails()), encoding="utf-8")
    statuses, said = end(start(tmp_path, "run", 2, "train.sharding=zero2", fail="1 4 infinite"))
    assert sorted(statuses) == [1, 2], said
    assert "".join(said).count("isn't finite") == 1, said
    assert not any("Traceback" in text for text in said), said
    assert json.loads((tmp_path / "run" / "failed-stage0-4.json").read_text())["step"] == 4


@pytest.mark.parametrize("sharding", ["zero2", "zero3"])
def test_products_in_bf16_are_those_of_one_process_in_bf16(tmp_path: Path, sharding: str) -> None:
    lora = {"connector": {"train": "full"}, "language_model": {"train": "lora"}}
    stage = {"steps": 3, "lr": 3e-4, "parts": lora, "lora": PLAIN_LORA, "batch": {"rows": 4, "accumulate": 2}}
    made = drawn_recipe(stage, llm="llama", precision="bf16", gradient_checkpointing=True)
    one = logged(train(tmp_path, "one", made), "loss")
    two = logged(train(tmp_path, "two", made, TWO, sharding=sharding), "loss")
    whole = logged(train(tmp_path, "whole", made, precision="fp32"), "loss")
    assert one != pytest.approx(whole, abs=1e-5)  # bf16 does round something
    assert two == pytest.approx(one, abs=2e-4)

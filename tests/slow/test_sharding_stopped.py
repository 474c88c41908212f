"""A run whose model is cut up over two processes stops when it is asked to, and goes on in any way."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from safetensors.torch import load_file
from tests.drawn import drawn_recipe
from tests.slow.test_together import end, finish, logged, start, stop

from visiglot.config import Recipe, dump_recipe
from visiglot.models.runs import Position, checkpoints

pytestmark = pytest.mark.slow

STEPS = 60
MEASURED = 10


def recipe() -> Recipe:
    """Low-rank layers above a language model in 4 bits; held-out examples; one checkpoint kept beside the best."""
    stage = {
        "parts": {"connector": {"train": "full"}, "language_model": {"train": "lora", "lr": 2e-3}},
        "lora": {"rank": 4, "alpha": 8, "dropout": 0.0},
        "steps": STEPS,
        "lr": 1e-3,
    }
    data = {"pictures": True, "text": True}
    values = drawn_recipe(stage, llm="llama", data=data, save_every=MEASURED, keep=1).model_dump(
        mode="json", by_alias=True, exclude_none=True
    )
    values["model"]["language_model"]["quantize"] = "nf4"
    values["data"]["holdout"] = 3
    return Recipe.model_validate(values)


def test_stopped_in_pieces_then_in_copies_it_ends_alone_where_the_straight_run_ends(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(dump_recipe(recipe()), encoding="utf-8")
    straight, run = tmp_path / "straight", tmp_path / "run"
    finish(start(tmp_path, "straight", 1))

    pieces = start(tmp_path, "run", 2, "train.sharding=fsdp2")
    stop(pieces, run, signal.SIGTERM, after=MEASURED + 2, whom=1)
    statuses, said = end(pieces)
    assert statuses == [143, 143], said
    assert "fsdp2: " in said[0]
    first = checkpoints(run)[-1]
    assert MEASURED < first.position.step < STEPS
    best = first.manifest["best"]
    assert best is not None
    assert {one.folder.name for one in checkpoints(run)} == {best, first.folder.name}

    copies = start(tmp_path, "run", 2)
    stop(copies, run, signal.SIGUSR1, after=first.position.step + MEASURED, whom=0)
    statuses, said = end(copies)
    assert statuses == [138, 138], said
    assert "fsdp2: " not in said[0]
    assert first.position < checkpoints(run)[-1].position < Position(0, STEPS)

    finish(start(tmp_path, "run", 1))
    expected, found = logged(straight), logged(run)
    assert [record["step"] for record in found] == [record["step"] for record in expected]
    for before, after in zip(expected, found, strict=True):
        if "validation" in before:
            assert after["validation"]["loss"] == pytest.approx(before["validation"]["loss"], abs=1e-5)
        else:
            assert after["loss"] == pytest.approx(before["loss"], abs=1e-5)
    ends = [checkpoints(one) for one in (straight, run)]
    assert [one.folder.name for one in ends[1]] == [one.folder.name for one in ends[0]]
    for one, other in zip(*ends, strict=True):
        assert one.manifest["best"] == other.manifest["best"]
        whole, again = (load_file(each.model / "model.safetensors") for each in (one, other))
        assert whole.keys() == again.keys()
        for name, tensor in whole.items():
            assert (again[name] - tensor).abs().max() <= 1e-5, name

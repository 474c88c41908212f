"""Looking at held-out examples leaves no trace in what is trained."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.drawn import drawn_recipe

from visiglot.config import Recipe
from visiglot.models.runs import checkpoints
from visiglot.train.loop import fit
from visiglot.train.resume import Run
from visiglot.train.track import Tracker

# low-rank layers drop out, views are drawn anew or cached: all that is random in a step
STAGES: list[dict[str, Any]] = [
    {"steps": 4, "augment": True, "augmentation": {"flip": 0.5}},
    {"steps": 4, "cache_views": 2, "parts": {"connector": {"train": "full"}, "language_model": {"train": "lora"}}},
]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setenv("VISIGLOT_CACHE", str(tmp_path / "cache"))


def recipe(every: int) -> Recipe:
    values = drawn_recipe(*STAGES, data={"text": True}, save_every=2).model_dump(
        mode="json", by_alias=True, exclude_none=True
    )
    values["data"]["holdout"] = 3
    for stage in values["stages"]:
        stage["validate_every"] = every
    return Recipe.model_validate(values)


def train(made: Recipe, out: Path) -> Path:
    return fit(made, out=out, device="cpu", resume=True, report=Tracker())


def logged(run: Path, key: str) -> list[Any]:
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [record[key] for record in records if key in record]


def assert_same_weights(run: Path, other: Path) -> None:
    assert logged(run, "loss") == logged(other, "loss")
    found, expected = (load_file(checkpoints(one)[-1].model / "model.safetensors") for one in (run, other))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_training_with_validation_ends_at_the_weights_of_training_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []
    for every in (0, 1):
        monkeypatch.setenv("VISIGLOT_CACHE", str(tmp_path / f"cache-{every}"))
        runs.append(train(recipe(every), tmp_path / str(every)))
    assert [len(logged(run, "validation")) for run in runs] == [0, 8]
    assert_same_weights(*runs)


def test_a_killed_run_validates_and_ends_as_the_straight_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    save, died = Run.save, set()

    def dies(self: Run, of: Any, position: Any, *rest: Any) -> None:
        at = (position.stage_index, position.step)
        if at in {(0, 4), (1, 2), (1, 4)} - died:
            died.add(at)
            raise Killed
        save(self, of, position, *rest)

    straight = train(recipe(1), tmp_path / "straight")
    with monkeypatch.context() as patch:
        patch.setattr(Run, "save", dies)
        for _ in range(3):
            with pytest.raises(Killed):
                train(recipe(1), tmp_path / "broken")
    broken = train(recipe(1), tmp_path / "broken")
    assert logged(broken, "validation") == logged(straight, "validation")
    assert len(logged(broken, "validation")) == 8
    assert_same_weights(broken, straight)

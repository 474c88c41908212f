"""Every board shows what the log says, at steps that count on over stages, and once however often a run was resumed."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.drawn import drawn_recipe

from visiglot.errors import MissingExtraError, TrainingError, UnknownNameError
from visiglot.models.runs import checkpoints
from visiglot.train.boards import BOARDS, flat
from visiglot.train.loop import fit
from visiglot.train.track import Tracker

Shown = dict[str, dict[int, float]]
"""Name -> step -> value."""


class Wandb(types.ModuleType):
    """As much of wandb as is called: runs by id, which keep the first value of a step."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.runs: dict[str, Shown] = {}
        self.finished = 0

    def init(self, *, id: str, resume: str, **_: Any) -> Any:
        assert resume == "allow"
        shown = self.runs.setdefault(id, {})

        def log(values: dict[str, float], step: int) -> None:
            for name, value in values.items():
                shown.setdefault(name, {}).setdefault(step, value)

        def finish() -> None:
            self.finished += 1

        return types.SimpleNamespace(log=log, finish=finish)


def read_events(folder: Path) -> Shown:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return {name: {one.step: one.value for one in events.Scalars(name)} for name in events.Tags()["scalars"]}


@pytest.fixture(params=BOARDS.names())
def board(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Callable[[Path], Shown]]:
    fake = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)

    def runs(folder: Path) -> Shown:
        (shown,) = fake.runs.values()
        assert fake.finished == 2
        return shown

    return request.param, {"tensorboard": read_events, "wandb": runs}[request.param]


def test_a_board_shows_the_log_once_over_all_stages_and_after_a_resume(
    board: tuple[str, Callable[[Path], Shown]], tmp_path: Path
) -> None:
    name, read = board
    recipe = drawn_recipe({"steps": 3}, {"steps": 2}, track=[name], save_every=2)
    fit(recipe, out=tmp_path, device="cpu", report=Tracker())
    for found in checkpoints(tmp_path)[1:]:  # as if it had been killed before it saved these
        (found.folder / "manifest.json").unlink()
    fit(recipe, out=tmp_path, resume=True, device="cpu", report=Tracker())
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").open()]
    shown = read(tmp_path)
    assert list(shown["loss"]) == [1, 2, 3, 4, 5]
    for record, step in zip(records, shown["loss"], strict=True):
        for key in ("loss", "gradient_norm", "loss_by_language/deu_Latn", "lr/connector"):
            assert shown[key][step] == pytest.approx(dict(flat(record)).get(key, shown[key][step]), rel=1e-4)
    assert {"examples_per_s", "supervised_per_s", "images_per_s", "waiting", "peak_memory_mb"} <= shown.keys()


@pytest.mark.parametrize(
    ("name", "module", "error"),
    [("tensorboard", "torch.utils.tensorboard", MissingExtraError), ("wandb", "wandb", TrainingError)],
)
def test_a_board_whose_package_is_missing_says_what_to_install_before_anything_is_trained(
    name: str, module: str, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(error, match="isn't installed") as caught:
        fit(drawn_recipe({}, track=[name]), out=tmp_path, device="cpu", report=Tracker())
    assert "pip install" in str(caught.value)
    assert not (tmp_path / "checkpoints").exists()


def test_a_board_that_there_is_not_is_an_error_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="tensorbord"):
        fit(drawn_recipe({}, track=["tensorbord"]), out=tmp_path, device="cpu", report=Tracker())

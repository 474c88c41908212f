from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from visiglot.errors import CheckpointError, Notice
from visiglot.models import runs
from visiglot.models.runs import SHIPPED, resolve_model


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package's folder of models, with the three in it; and an empty cache."""
    monkeypatch.setenv("VISIGLOT_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "package"
    monkeypatch.setattr(runs, "nano_folder", lambda: folder)
    for name in SHIPPED.values():
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text("{}")
    runs._notify.cache_clear()
    return folder


def checkpoint(name: str, step: int, *, steps: int | None = 3, loss: float | None = None) -> Path:
    """A run of one stage with a checkpoint at `step`; `steps` are those of the recipe, None is none beside it."""
    folder = runs.runs_dir() / name / "checkpoints" / f"text-{step}"
    for inside in ("model", "trainer"):
        (folder / inside).mkdir(parents=True)
    (folder / "model" / "config.json").write_text("{}")
    if steps is not None:
        (folder / "trainer" / "recipe.yaml").write_text(f"stages:\n- {{name: text, steps: {steps}}}\n")
    described: dict[str, Any] = {"stage": "text", "stage_index": 0, "step": step, "complete": True, "files": {}}
    if loss is not None:
        described["validation"] = {"loss": loss}
    (folder / "manifest.json").write_text(json.dumps(described))
    return folder / "model"


@pytest.mark.parametrize("name", SHIPPED)
def test_a_model_of_the_package_is_found_by_its_name(name: str, shipped: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert resolve_model(name) == str(shipped / SHIPPED[name])


@pytest.mark.parametrize("name", SHIPPED)
def test_a_finished_run_comes_before_the_model_of_the_package(name: str, shipped: Path) -> None:
    model = checkpoint(name, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert resolve_model(name) == str(model)


@pytest.mark.parametrize(("step", "why"), [(None, "no complete checkpoint yet"), (2, "step 2 of stage 'text'")])
def test_an_unfinished_run_does_not_hide_the_model_of_the_package_and_a_notice_says_so_once(
    step: int | None, why: str, shipped: Path
) -> None:
    run = runs.runs_dir() / "nano"
    run.mkdir(parents=True)
    model = checkpoint("nano", step) if step is not None else None
    with pytest.warns(Notice, match=why) as said:
        assert resolve_model("nano") == str(shipped / "model")
    assert str(run) in str(said[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert resolve_model("nano") == str(shipped / "model")
    if model is not None:  # its path still leads to it
        assert resolve_model(str(run)) == str(model)


def test_a_run_that_nobody_knows_to_be_unfinished_comes_first(shipped: Path) -> None:
    assert resolve_model("nano") == str(shipped / "model")
    model = checkpoint("nano", 2, steps=None)
    assert resolve_model("nano") == str(model)
    plain = runs.runs_dir() / "nano-lm"
    plain.mkdir()
    (plain / "config.json").write_text("{}")
    assert resolve_model("nano-lm") == str(plain)


def test_an_unfinished_run_is_taken_where_the_package_has_no_model(shipped: Path) -> None:
    (shipped / "model" / "config.json").unlink()
    model = checkpoint("nano", 2)
    assert resolve_model("nano") == str(model)


def test_other_runs_are_taken_unfinished(shipped: Path) -> None:
    model = checkpoint("mine", 2)
    assert resolve_model("mine") == str(model)


@pytest.mark.parametrize(("name", "command"), [("nano", "`make demo`"), ("nano-lm", "`make nano-pretrain`")])
def test_without_run_and_without_model_of_the_package_it_says_how_to_get_one(
    name: str, command: str, shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shipped / SHIPPED[name] / "config.json").unlink()
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()  # a stray folder of that name
    with pytest.raises(CheckpointError, match=f"built-in model '{name}' isn't trained yet") as caught:
        resolve_model(name)
    assert command in str(caught.value.hint)
    assert f"`visiglot train {name}`" in str(caught.value.hint)


def test_a_recipe_that_cannot_be_read_beside_a_checkpoint_is_an_error(shipped: Path) -> None:
    model = checkpoint("nano", 2)
    (model.parent / "trainer" / "recipe.yaml").write_text("stages: 3\n")
    with pytest.raises(CheckpointError, match=r"recipe\.yaml can't be read as a recipe"):
        resolve_model("nano")


def test_the_best_of_a_run_is_found_by_name_by_path_and_instead_of_a_hub_id(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    best, last = checkpoint("mine", 1, loss=1.0), checkpoint("mine", 2, loss=2.0)
    assert resolve_model("mine/best") == resolve_model(f"{runs.runs_dir()}/mine/best") == str(best)
    assert resolve_model("mine") == str(last)
    monkeypatch.chdir(runs.runs_dir() / "mine")
    assert Path(resolve_model("./best")).samefile(best)
    monkeypatch.chdir(tmp_path)
    assert resolve_model("nobody/best") == "nobody/best"
    (tmp_path / "there" / "best").mkdir(parents=True)
    (tmp_path / "there" / "best" / "config.json").write_text("{}")
    assert resolve_model("there/best") == "there/best"


def test_a_run_of_which_nothing_was_measured_has_no_best(shipped: Path) -> None:
    checkpoint("mine", 1)
    with pytest.raises(CheckpointError, match="none was measured on held-out examples") as caught:
        resolve_model("mine/best")
    assert "data.holdout" in str(caught.value.hint)

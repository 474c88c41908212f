"""What `fit` refuses, what it leaves behind, and what it says."""

import io
import json
from pathlib import Path

import pytest
import torch
from rich.console import Console
from tests.drawn import drawn_recipe

from visiglot.errors import CheckpointError, TrainingError
from visiglot.models.load import load_model
from visiglot.train import checkpoint as checkpoints
from visiglot.train.loop import fit
from visiglot.train.objectives.generate import Generate
from visiglot.train.track import Tracker


def quiet() -> Tracker:
    return Tracker()


def records(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(drawn_recipe({"steps": 2}), out=tmp_path_factory.mktemp("runs") / "run", device="cpu", report=quiet())


def test_a_run_folder_holds_recipe_log_and_a_model_that_loads(finished: Path) -> None:
    assert (finished / "recipe.yaml").is_file()
    assert [record["step"] for record in records(finished)] == [1, 2]
    model, processor = load_model(str(finished), device="cpu")
    assert model.config.languages == ["eng_Latn", "deu_Latn"]
    assert processor.spec().tokens_per_image == 4


def test_the_log_tells_rates_losses_and_memory(finished: Path) -> None:
    record = records(finished)[-1]
    assert set(record["loss_by_language"]) <= {"eng_Latn", "deu_Latn"}
    assert record["loss"] > 0
    for key in ("examples_per_s", "tokens_per_s", "supervised_per_s", "images_per_s", "peak_memory_mb", "tokens"):
        assert record[key] > 0, key
    assert record["lr"] == {"connector": 1e-3}


def test_a_folder_that_holds_a_run_is_not_overwritten(finished: Path) -> None:
    with pytest.raises(TrainingError, match="holds a run already") as caught:
        fit(drawn_recipe({"steps": 2}), out=finished, device="cpu", report=quiet())
    assert "--resume" in str(caught.value.hint)


def test_resuming_a_finished_run_changes_nothing(finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.name != "run.lock"}
    fit(drawn_recipe({"steps": 2}), out=finished, resume=True, device="cpu", report=quiet())
    assert before == {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.name != "run.lock"}


def test_resuming_with_another_recipe_names_what_differs(finished: Path) -> None:
    with pytest.raises(TrainingError, match=r"stages\.0\.lr: 0\.001 -> 0\.01"):
        fit(drawn_recipe({"steps": 2, "lr": 1e-2}), out=finished, resume=True, device="cpu", report=quiet())


def test_a_run_whose_recipe_lacked_keys_of_today_goes_on(finished: Path) -> None:
    manifest = finished / "checkpoints" / "stage0-2" / "manifest.json"
    written = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(written | {"recipe_hash": "of fewer keys"}))
    try:
        fit(drawn_recipe({"steps": 2}), out=finished, resume=True, device="cpu", report=quiet())
        with pytest.raises(TrainingError, match="another recipe"):
            fit(drawn_recipe({"steps": 3}), out=finished, resume=True, device="cpu", report=quiet())
    finally:
        manifest.write_text(json.dumps(written))


def test_what_changes_no_weight_may_change_on_resume(finished: Path) -> None:
    fit(drawn_recipe({"steps": 2}, log_every=7, keep=5), out=finished, resume=True, device="cpu", report=quiet())


def test_a_dry_run_announces_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISIGLOT_CACHE", str(tmp_path / "cache"))
    said = io.StringIO()
    recipe = drawn_recipe({"cache_views": 2}, {"parts": {"language_model": {"train": "lora"}}})
    fit(recipe, out=tmp_path / "run", device="cpu", dry_run=True, report=Tracker(Console(file=said, width=200)))
    assert list(tmp_path.iterdir()) == []
    assert "stage stage0 (1 of 2)" in said.getvalue()
    assert "language_model  all lora" in said.getvalue()


def test_a_loss_that_is_not_finite_names_the_examples_and_moves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = Generate.forward

    def poisoned(self, model, batch):
        loss = forward(self, model, batch)
        return type(loss)(loss.sum * torch.nan, loss.rows, loss.counts)

    monkeypatch.setattr(Generate, "forward", poisoned)
    with pytest.raises(TrainingError, match=r"isn't finite; the step's 8 examples: .*_Latn/"):
        fit(drawn_recipe({}), out=tmp_path, device="cpu", report=quiet())
    listed = json.loads((tmp_path / "failed-stage0-1.json").read_text())
    assert len(listed["ids"]) == 8
    assert checkpoints.last_complete(tmp_path) is None


def test_a_full_disk_while_saving_keeps_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from visiglot.train import resume

    save, calls = resume.torch.save, []

    def fills_up(*args: object, **kwargs: object) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        save(*args, **kwargs)

    monkeypatch.setattr(resume.torch, "save", fills_up)
    with pytest.raises(CheckpointError, match="No space left"):
        fit(drawn_recipe({"steps": 6}, save_every=2), out=tmp_path, device="cpu", report=quiet())
    last = checkpoints.last_complete(tmp_path)
    assert last is not None
    assert last.name == "stage0-2"
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["stage0-2"]
    monkeypatch.setattr(resume.torch, "save", save)
    fit(drawn_recipe({"steps": 6}, save_every=2), out=tmp_path, resume=True, device="cpu", report=quiet())
    assert [record["step"] for record in records(tmp_path)] == [1, 2, 3, 4, 5, 6]


def test_bf16_trains_with_fp32_weights(tmp_path: Path) -> None:
    recipe = drawn_recipe({"steps": 2, "cache_views": 1}, precision="bf16", head_chunk=5)
    fit(recipe, out=tmp_path, device="cpu", report=quiet())
    model, _ = load_model(str(tmp_path), device="cpu")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_a_pass_of_text_alone_before_a_frozen_language_model_teaches_nothing_and_stops_nothing(tmp_path: Path) -> None:
    stage = {"steps": 2, "batch": {"rows": 8, "accumulate": 8}}
    run = fit(drawn_recipe(stage, data={"text": True}), out=tmp_path / "mixed", report=quiet())
    assert all(record["loss"] > 0 for record in records(run))
    alone = fit(drawn_recipe(stage, data={"text": True, "pictures": False}), out=tmp_path / "text", report=quiet())
    assert all(record["gradient_norm"] == 0 for record in records(alone))

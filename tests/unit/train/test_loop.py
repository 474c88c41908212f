"""What `fit` refuses, what it leaves behind, and what it says."""

import io
import json
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from tests.drawn import drawn_recipe

from visiglot.config import Recipe
from visiglot.errors import CheckpointError, Notice, TrainingError
from visiglot.languages import sets
from visiglot.models.load import load_model
from visiglot.models.runs import resolve_model
from visiglot.train import checkpoint as checkpoints
from visiglot.train.loop import fit
from visiglot.train.objectives.generate import Generate
from visiglot.train.resume import _differences
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
    with pytest.raises(TrainingError, match=r"stages\.0\.lr: 0\.001 -> 0\.01\n.*--fresh"):
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
    assert listed["not_finite"] == []  # each row's own loss was: it is their sum that isn't
    assert checkpoints.last_complete(tmp_path) is None


def test_the_batches_of_a_failed_step_are_kept_and_the_rows_to_blame_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, seen = Generate.forward, []

    def poisoned(self, model, batch):
        loss = forward(self, model, batch)
        seen.append(batch)
        rows = torch.where(torch.arange(len(loss.rows)) == 1, torch.inf, loss.rows)
        return type(loss)(loss.sum + rows[1], rows, loss.counts)

    monkeypatch.setattr(Generate, "forward", poisoned)
    stage = {"batch": {"rows": 8, "accumulate": 2}}
    with pytest.raises(TrainingError) as caught:
        fit(drawn_recipe(stage), out=tmp_path, device="cpu", report=quiet())
    bad = [batch.ids[1] for batch in seen]
    assert f"2 of the step's 8 examples: {bad[0]}, {bad[1]}" in str(caught.value)
    assert json.loads((tmp_path / "failed-stage0-1.json").read_text())["not_finite"] == bad
    kept = load_file(tmp_path / "failed-stage0-1.0.safetensors")
    for number, batch in enumerate(seen):
        assert torch.equal(kept[f"{number}.input_ids"], batch.input_ids)
        assert torch.equal(kept[f"{number}.pixel_values"], batch.pixel_values)


def test_a_shard_that_has_changed_is_set_aside_and_the_checkpoint_before_gone_on_from(tmp_path: Path) -> None:
    straight = fit(drawn_recipe({"steps": 6}), out=tmp_path / "straight", device="cpu", report=quiet())
    recipe = drawn_recipe({"steps": 6}, save_every=2)
    run = fit(recipe, out=tmp_path / "run", device="cpu", report=quiet())
    for name in ("stage0-6", "stage0-4"):
        weights = run / "checkpoints" / name / "model" / "model.safetensors"
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
    with pytest.warns(
        Notice, match=r"stage0-[46]/.* is not what was saved .*; going on from stage0-2 instead, kept as \."
    ) as told:
        fit(recipe, out=run, resume=True, device="cpu", report=quiet())
    assert len([one for one in told if one.category is Notice]) == 2
    assert [record["step"] for record in records(run)] == [1, 2, 3, 4, 5, 6]
    assert records(run)[-1]["loss"] == records(straight)[-1]["loss"]
    found = {path.name for path in (run / "checkpoints").iterdir()}
    assert found == {"stage0-2", "stage0-4", "stage0-6", ".stage0-4.corrupt", ".stage0-6.corrupt"}


def test_without_an_intact_checkpoint_nothing_is_touched(tmp_path: Path) -> None:
    run = fit(drawn_recipe({"steps": 2}), out=tmp_path, device="cpu", report=quiet())
    state = run / "checkpoints" / "stage0-2" / "trainer" / "state.json"
    for content, said in ((state.read_bytes().replace(b"2", b"3"), "is not what was saved"), (b"{", "cut short")):
        state.write_bytes(content)
        before = sorted(run.rglob("*"))
        with pytest.raises(CheckpointError, match=said):
            fit(drawn_recipe({"steps": 2}), out=run, resume=True, device="cpu", report=quiet())
        assert sorted(run.rglob("*")) == before


def test_a_folder_that_cannot_be_written_is_an_error_that_names_it() -> None:
    with pytest.raises(CheckpointError, match=r"/sys/visiglot-run can't be written: ") as caught:
        fit(drawn_recipe({"steps": 2}), out=Path("/sys/visiglot-run"), device="cpu", report=quiet())
    assert "--out" in str(caught.value.hint)


def test_the_best_checkpoint_is_kept_and_a_run_resolves_to_it(tmp_path: Path) -> None:
    recipe = drawn_recipe({"steps": 8, "lr": 0.1, "warmup_steps": 8}, save_every=2, keep=1)
    recipe = Recipe.model_validate(
        (values := recipe.model_dump(mode="json", by_alias=True)) | {"data": {**values["data"], "holdout": 3}}
    )
    run = fit(recipe, out=tmp_path / "run", device="cpu", report=quiet())
    losses = {record["step"]: record["validation"]["loss"] for record in records(run) if "validation" in record}
    assert set(losses) == {2, 4, 6, 8}
    best = min(losses, key=losses.__getitem__)
    assert best != 8, "a rate at which it gets worse"
    found = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert found == [f"stage0-{best}", "stage0-8"]
    assert resolve_model(f"{run}/best") == str(run / "checkpoints" / f"stage0-{best}" / "model")
    assert resolve_model(str(run)) == str(run / "checkpoints" / "stage0-8" / "model")
    manifest = json.loads((run / "checkpoints" / "stage0-8" / "manifest.json").read_text())
    assert manifest["best"] == f"stage0-{best}"
    assert manifest["processes"] == 1
    assert manifest["validation"]["loss"] == pytest.approx(losses[8], abs=1e-6)


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


def test_of_a_long_list_that_differs_its_length_is_said() -> None:
    (line,) = _differences({"data": {"languages": list(sets()["cldr"])}}, {"data": {"languages": ["deu_Latn"]}})
    assert line == f"data.languages: {len(sets()['cldr'])} entries -> ['deu_Latn']"

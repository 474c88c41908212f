from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.drawn import drawn_recipe
from tests.unit.cli.conftest import Run

from visiglot.config import Recipe, dump_recipe
from visiglot.data.source import SOURCES
from visiglot.errors import DataError


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Two tiny stages on drawn pictures."""
    path = tmp_path / "drawn.yaml"
    path.write_text(dump_recipe(drawn_recipe({"steps": 2}, {"steps": 2})), encoding="utf-8")
    return path


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Recipe, dict[str, object]]]:
    """What `fit` was called with; nothing is trained."""
    calls: list[tuple[Recipe, dict[str, object]]] = []
    monkeypatch.setattr("visiglot.train.loop.fit", lambda recipe, **options: calls.append((recipe, options)))
    return calls


def test_overrides_and_the_seed_reach_the_resolved_recipe(
    run: Run, recipe: Path, fitted: list[tuple[Recipe, dict[str, object]]]
) -> None:
    result = run("train", recipe, "stages.1.lr=2e-4", "--seed", 7, "stages.0.parts.connector.train=full")
    assert result.exit_code == 0
    ((resolved, _),) = fitted
    assert resolved.stages[1].lr == pytest.approx(2e-4)
    assert resolved.stages[0].lr == pytest.approx(1e-3)
    assert resolved.train.seed == 7


def test_a_run_lies_in_the_cache_and_resumes_unless_said_otherwise(
    run: Run, recipe: Path, cache: Path, fitted: list[tuple[Recipe, dict[str, object]]]
) -> None:
    for option in ((), ("--no-resume",), ("--fresh",), ("--out", cache / "mine")):
        run("train", recipe, *option)
    folders = [options["out"] for _, options in fitted]
    assert folders == [cache / "runs" / "drawn"] * 3 + [cache / "mine"]
    assert [options["resume"] for _, options in fitted] == [True, False, False, True]


def test_a_language_that_a_later_stages_data_lack_is_said_before_anything_is_trained(
    run: Run, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fitted: list[object]
) -> None:
    def build(*, languages: tuple[str, ...], seed: int) -> object:
        if "xho_Latn" in languages:
            raise DataError("no names in xho_Latn")
        return SOURCES.get("drawn")(languages=languages, seed=seed)

    monkeypatch.setitem(SOURCES._things, "choosy", build)
    data = {"languages": "de", "sources": [{"type": "choosy"}]}
    recipe.write_text(dump_recipe(drawn_recipe({"steps": 2}, {"steps": 2, "data": data})), encoding="utf-8")
    assert run("train", recipe).exit_code == 0
    assert len(fitted) == 1
    result = run("train", recipe, "stages.1.data.languages=de,Xhosa")
    assert result.exit_code == 2
    assert "no names in xho_Latn" in result.stderr
    assert len(fitted) == 1


def test_a_run_is_trained_left_as_it_is_refused_and_started_anew(run: Run, recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = run("train", recipe, "--out", out, "--device", "cpu")
    assert first.exit_code == 0
    assert first.stdout == f"{out}\n"
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["stage0-2", "stage1-2"]
    log = (out / "log.jsonl").read_text(encoding="utf-8")

    again = run("train", recipe, "--out", out, "--device", "cpu")
    assert again.exit_code == 0
    assert (out / "log.jsonl").read_text(encoding="utf-8") == log

    changed = run("train", recipe, "stages.1.lr=2e-4", "--out", out, "--device", "cpu")
    assert changed.exit_code == 2
    assert "stages.1.lr: 0.001 -> 0.0002" in changed.stderr

    (out / "mine.txt").write_text("not the run's")
    fresh = run("train", recipe, "stages.1.lr=2e-4", "--out", out, "--device", "cpu", "--fresh")
    assert fresh.exit_code == 0
    rates = [json.loads(line)["lr"]["connector"] for line in (out / "log.jsonl").read_text().splitlines()]
    assert rates[-1] == pytest.approx(2e-4)
    assert (out / "mine.txt").is_file()


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(run: Run, recipe: Path, cache: Path) -> None:
    result = run("train", recipe, "--dry-run", "--device", "cpu")
    assert "memory of a process in GiB" in result.stdout
    assert "\n  language_model " in result.stdout
    assert result.exit_code == 0
    assert f"would be trained in {cache / 'runs' / 'drawn'}" in result.stdout
    assert "stage stage0: generate, 2 steps of 8 examples, 16 in all" in result.stdout
    assert "deu_Latn" in result.stdout
    assert "supervised:" in result.stderr
    assert not cache.exists()


def test_a_dry_run_names_hub_parts_and_builds_nothing(
    run: Run, recipe: Path, fitted: list[tuple[Recipe, dict[str, object]]]
) -> None:
    hub = "model.language_model={from: someone/large-model}"
    result = run("train", recipe, hub, "--dry-run")
    assert result.exit_code == 0
    assert "would be fetched from the hub" in result.stdout.replace("they'd be", "would be")
    assert "someone/large-model" in result.stdout
    assert fitted == []


def test_a_dry_run_refuses_what_is_to_be_translated_first_as_training_does(
    run: Run, tmp_path: Path, fitted: list[object]
) -> None:
    rows = [{"image": f"{n}.jpg", "caption": f"a picture of {n} things"} for n in range(12)]
    (tmp_path / "captions.json").write_text(json.dumps(rows), encoding="utf-8")
    options = {"path": str(tmp_path / "captions.json"), "images": str(tmp_path)}
    source = {"type": "capfilt", "options": options, "task": "caption", "translate": True}
    data = {"languages": ["en", "de"], "sources": [{"type": "drawn"}, source]}
    path = tmp_path / "recipe.yaml"
    path.write_text(dump_recipe(drawn_recipe({"steps": 2}, {"steps": 2, "data": data})), encoding="utf-8")
    rehearsed, trained = run("train", path, "--dry-run"), run("train", path)
    assert rehearsed.exit_code == trained.exit_code == 2
    assert "sources.1: capfilt is in English and is to be translated" in rehearsed.stderr
    assert rehearsed.stderr.endswith(trained.stderr.splitlines()[-1] + "\n")
    assert "stage stage1: generate" in rehearsed.stdout, "the plan is told all the same"
    assert fitted == []
    assert run("train", path, "stages.1.data.sources.1.languages=en", "--dry-run").exit_code == 0


def test_fresh_deletes_nothing_when_the_new_run_cannot_start(run: Run, recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run("train", recipe, "--out", out, "--device", "cpu")
    before = sorted(out.rglob("*"))
    broken = "model.connector.options={num_querys: 2}"
    assert run("train", recipe, broken, "--out", out, "--device", "cpu", "--fresh").exit_code == 2
    assert sorted(out.rglob("*")) == before
    assert not (tmp_path / ".run.fresh").exists()


def test_a_folder_of_something_else_is_left_alone(run: Run, recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "project"
    (out / "checkpoints").mkdir(parents=True)
    (out / "recipe.yaml").write_text("mine")
    for option in ((), ("--fresh",)):
        result = run("train", recipe, "--out", out, "--device", "cpu", *option)
        assert result.exit_code == 2
        assert "no run of Visiglot was trained there" in result.stderr
    assert (out / "recipe.yaml").read_text() == "mine"


@pytest.mark.parametrize("below", ["", "run"])
def test_a_file_as_run_folder_is_refused_in_the_dry_run_too(
    run: Run, recipe: Path, tmp_path: Path, below: str, fitted: list[object]
) -> None:
    file = tmp_path / "captions.jsonl"
    file.write_text("mine", encoding="utf-8")
    for option in ((), ("--dry-run",)):
        result = run("train", recipe, "--out", file / below, *option)
        assert result.exit_code == 2
        assert "captions.jsonl is a file" in " ".join(result.stderr.split())
    assert fitted == []


def test_the_number_format_reaches_the_recipe(
    run: Run, recipe: Path, fitted: list[tuple[Recipe, dict[str, object]]]
) -> None:
    run("train", recipe, "--dtype", "bf16")
    ((resolved, _),) = fitted
    assert resolved.train.precision == "bf16"


def test_the_policy_about_bad_examples_reaches_the_recipe(
    run: Run, recipe: Path, fitted: list[tuple[Recipe, dict[str, object]]]
) -> None:
    run("train", recipe, "--on-bad", "skip")
    run("train", recipe)
    assert [resolved.train.on_bad for resolved, _ in fitted] == ["skip", "error"]

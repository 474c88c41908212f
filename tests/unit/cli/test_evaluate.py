from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.cli.conftest import Run
from tests.unit.evaluate.conftest import toy_benchmark
from typer.testing import Result

from visiglot.evaluate.benchmark import BENCHMARKS


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> str:
    BENCHMARKS.names()  # fills the table, so that what is put into it stays
    monkeypatch.setitem(BENCHMARKS._things, "toy", toy_benchmark())
    return "toy"


def evaluate(run: Run, model: Path, *arguments: object) -> Result:
    return run("evaluate", model, "--benchmarks", "toy", "--device", "cpu", *arguments)


def test_generate_then_score_then_report(run: Run, toy: str, tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "evaluation"
    result = evaluate(run, tiny_model, "--languages", "de,en,sw", "--out", out)
    assert result.exit_code == 0
    files = sorted(path.name for path in (out / "predictions").iterdir())
    assert files == ["toy.english.deu_Latn.jsonl", "toy.english.eng_Latn.jsonl"]
    assert {"scores.jsonl", "run.json", "report.html", "report.md"} <= {path.name for path in out.iterdir()}
    assert "toy: 6 answers made, 0 kept, 0 failed" in result.stderr
    assert "no examples in swh_Latn" in result.stderr
    assert "chrf-sentence" in result.stdout


def test_answers_that_are_there_are_kept(run: Run, toy: str, tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "evaluation"
    evaluate(run, tiny_model, "-l", "de", "--out", out, "--only", "generate", "--limit", 1)
    assert not (out / "scores.jsonl").exists()
    result = evaluate(run, tiny_model, "-l", "de", "--out", out, "--only", "generate")
    assert "toy: 2 answers made, 1 kept" in result.stderr
    result = evaluate(run, tiny_model, "-l", "de", "--out", out, "--only", "generate", "--no-resume")
    assert "toy: 3 answers made, 0 kept" in result.stderr


def test_only_score_needs_no_model(run: Run, toy: str, tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "evaluation"
    evaluate(run, tiny_model, "-l", "de", "--out", out, "--only", "generate")
    result = run("evaluate", "no-such-model", "--only", "score", "--out", out)
    assert result.exit_code == 0
    assert (out / "report.html").is_file()


def test_a_prediction_file_made_anywhere_is_scored(run: Run, toy: str, tmp_path: Path, cache: Path) -> None:
    row = {
        "id": "cat",
        "image": "cat.png",
        "language": "deu_Latn",
        "prompt": "?",
        "text": "Katze",
        "error": None,
        "benchmark": "toy",
        "split": "test",
        "prompt_set": "english",
        "references": ["Katze"],
        "model": "theirs",
        "settings_hash": "x",
        "task": "caption",
        "group": "cat",
    }
    file = tmp_path / "theirs.jsonl"
    file.write_text(json.dumps(row) + "\n", encoding="utf-8")
    result = run("evaluate", "--predictions", file)
    assert result.exit_code == 0
    scores = [json.loads(line) for line in (cache / "evaluations" / "theirs" / "scores.jsonl").open(encoding="utf-8")]
    assert [score["value"] for score in scores if score["metric"] == "exact"] == [1.0]


def test_a_dry_run_counts_rows_and_loads_no_model(
    run: Run, toy: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("visiglot.models.build.load_model", lambda *_, **__: pytest.fail("a model was loaded"))
    out = tmp_path / "evaluation"
    result = evaluate(run, tiny_model, "--languages", "all", "--limit", 2, "--out", out, "--dry-run")
    assert result.exit_code == 0
    assert "toy.english.deu_Latn.jsonl: 2 rows" in result.stdout
    assert "toy: 4 answers would be generated" in result.stdout
    assert not out.exists()


def test_several_folders_make_one_report(run: Run, toy: str, tiny_model: Path, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        evaluate(run, tiny_model, "-l", "de", "--out", folder)
    result = run("report", *folders, "--out", tmp_path / "both", "--title", "One against two")
    assert result.exit_code == 0
    assert "One against two" in (tmp_path / "both" / "report.html").read_text(encoding="utf-8")

"""Every format goes the whole way: check, plan, Parquet, a few steps of training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from tests.formats import fixtures
from tests.tiny import build_tiny, tiny_section
from typer.testing import CliRunner

from visiglot.cli import app
from visiglot.data.adapter import FORMATS
from visiglot.data.source import SOURCES

SOURCES.names()  # fills the table
STEPS = 3


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    build_tiny().processor.tokenizer.save_pretrained(folder)
    return folder


def visiglot(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.output


def recipe(folder: Path, tokenizer: Path, source: dict[str, object], languages: list[str]) -> Path:
    model = tiny_section(max_length=1024).model_dump(mode="json", by_alias=True, exclude_none=True)
    model["language_model"]["tokenizer"] = str(tokenizer)
    stage = {
        "name": "align",
        "parts": {"connector": {"train": "full"}},
        "steps": STEPS,
        "lr": 1e-3,
        "batch": {"rows": 2},
    }
    values = {
        "name": "formats",
        "model": model,
        "data": {"sources": [source], "languages": languages},
        "stages": [stage],
        "train": {"precision": "fp32", "log_every": 1, "save_every": STEPS},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_checked_planned_written_and_trained_on(name: str, tmp_path: Path, tokenizer: Path) -> None:
    folder = tmp_path / "data" / "set"
    folder.mkdir(parents=True)
    fixture = fixtures()[name](folder)
    options = [f"{key}={json.dumps(value)}" for key, value in fixture.options.items()]
    languages = sorted({one.language for one in fixture.expected})

    said = visiglot("data", "check", name, *options, "--sheet", str(tmp_path / "sheet.html"))
    assert ", 0 can't be used" in said
    assert all(code in said for code in languages)
    assert "<img" in (tmp_path / "sheet.html").read_text(encoding="utf-8")

    raw = recipe(tmp_path, tokenizer, {"type": name, "options": fixture.options}, languages)
    assert f"{STEPS * 2}" in visiglot("data", "plan", str(raw))

    parquet = tmp_path / "parquet" / "set.parquet"
    visiglot("data", "write", name, *options, "--out", str(parquet), "--pictures", "bytes")
    trained = recipe(tmp_path, tokenizer, {"type": "parquet", "options": {"path": str(parquet)}}, languages)
    visiglot("train", str(trained), "--out", str(tmp_path / "run"), "--device", "cpu")
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) >= STEPS
    assert all(loss > 0 for loss in losses)
    assert (tmp_path / "run" / "checkpoints" / f"align-{STEPS}" / "manifest.json").is_file()

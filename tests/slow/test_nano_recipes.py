"""The built-in recipes through the command line, on tiny packages in the real formats: pretraining, a release of what
it gave, and the demo, which starts from such a release."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.nano_runs import LANGUAGES, shortened
from tests.unit.data.nano.conftest import pin, unpin
from tests.unit.data.nano.packages import write_packages
from typer.testing import CliRunner, Result

import visiglot
from tools import ship_nano
from visiglot.cli import app
from visiglot.config import load_recipe
from visiglot.models import runs

pytestmark = pytest.mark.slow

EXAMPLES = Path(visiglot.__path__[0]) / "nano" / "examples"
PICTURES = len(list(EXAMPLES.glob("*.png")))


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the packages, and an empty cache."""
    monkeypatch.setenv("VISIGLOT_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "packages"
    pin(monkeypatch, write_packages(folder))
    yield folder
    monkeypatch.undo()
    unpin()


def command(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, f"{arguments}: {result.stderr[-3000:]}"
    return result


def test_pretraining_is_shipped_and_the_demo_goes_on_from_there(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("data", "nano", "--packages", packages)
    for name in ("nano-english", "nano-lm", "nano"):
        command("recipes", "check", name)
        train_twice(name, tmp_path / "cache" / "runs" / name)
    scores = tmp_path / "scores"
    evaluate(scores)
    out = tmp_path / "shipped"
    assert ship_nano.main(["--scores", str(scores), "--out", str(out)]) == 0
    shipped = command("caption", EXAMPLES, "--model", out / "model", "--languages", "en,de", "--device", "cpu")
    assert shipped.stdout.count("deu_Latn") == PICTURES
    assert "| nano | exact | English |" in (out / "model" / "README.md").read_text(encoding="utf-8")

    shutil.rmtree(tmp_path / "cache" / "runs")
    monkeypatch.setattr(runs, "nano_folder", lambda: out)
    before = command("caption", EXAMPLES / "penguin.png", "--languages", "en,de", "--device", "cpu")
    assert "deu_Latn" in before.stdout  # at once, from what came with the package
    train_twice("nano", tmp_path / "cache" / "runs" / "nano")
    evaluate(scores)
    command("report", scores, "--out", tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "German" in page
    assert "data:image/" in page
    sheet, rows = tmp_path / "sheet.html", tmp_path / "captions.jsonl"
    command("caption", EXAMPLES, "--out", rows, "--sheet", sheet, "--device", "cpu")
    assert sheet.read_text(encoding="utf-8").count("<img") == PICTURES
    assert len(rows.read_text(encoding="utf-8").splitlines()) == PICTURES * len(LANGUAGES)
    shown = command("caption", EXAMPLES / "penguin.png", "--device", "cpu").stdout.splitlines()
    assert [first for line in shown if (first := line.partition(" ")[0]) in LANGUAGES] == LANGUAGES


def train_twice(name: str, run: Path) -> None:
    """Train a recipe; the second time, everything is there already."""
    command("train", name, *shortened(name), "--device", "cpu")
    log = (run / "log.jsonl").read_bytes()
    records = [json.loads(line) for line in log.splitlines()]
    assert [record["stage"] for record in records] == [s.name for s in load_recipe(name).stages for _ in range(3)]
    command("train", name, *shortened(name), "--device", "cpu")
    assert (run / "log.jsonl").read_bytes() == log


def evaluate(out: Path) -> None:
    """Evaluate `nano` on the recipe's benchmarks."""
    options = ("--languages", "en,de,tr", "--limit", 6, "--device", "cpu", "--out", out)
    command("evaluate", "nano", *options)
    rows = [json.loads(line) for line in (out / "scores.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {row["benchmark"] for row in rows} == set(load_recipe("nano").evaluate.benchmarks)
    assert {row["language"] for row in rows} == {"eng_Latn", "deu_Latn", "tur_Latn"}
    assert all(row["n"] > 0 and row["missing"] == 0 for row in rows)

"""The three built-in recipes one after the other through the command line, on tiny packages in the real formats."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.nano_runs import shortened
from tests.unit.data.nano.conftest import pin, unpin
from tests.unit.data.nano.packages import write_packages
from typer.testing import CliRunner, Result

import visiglot
from tools import ship_nano
from visiglot.cli import app
from visiglot.config import load_recipe

pytestmark = pytest.mark.slow

EXAMPLES = Path(visiglot.__path__[0]) / "nano" / "examples"


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


def test_the_demos_commands_lead_from_packages_to_captions(packages: Path, tmp_path: Path) -> None:
    command("data", "nano", "--packages", packages)
    for name in ("nano-english", "nano-lm", "nano"):
        command("recipes", "check", name)
        command("train", name, *shortened(name), "--device", "cpu")
        run = tmp_path / "cache" / "runs" / name
        records = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
        assert [record["stage"] for record in records] == [
            stage.name for stage in load_recipe(name).stages for _ in range(3)
        ]
        log = (run / "log.jsonl").read_bytes()
        command("train", name, *shortened(name), "--device", "cpu")  # the demo's second run
        assert (run / "log.jsonl").read_bytes() == log

    scores = tmp_path / "scores"
    options = ("--languages", "en,de,tr", "--limit", 6, "--device", "cpu", "--out", scores)
    command("evaluate", "nano", *options)
    rows = [json.loads(line) for line in (scores / "scores.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {row["benchmark"] for row in rows} == set(load_recipe("nano").evaluate.benchmarks)
    assert {row["language"] for row in rows} == {"eng_Latn", "deu_Latn", "tur_Latn"}
    assert all(row["n"] > 0 and row["missing"] == 0 for row in rows)

    command("report", scores, "--out", tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "German" in page
    assert "data:image/" in page

    sheet = tmp_path / "sheet.html"
    command("caption", EXAMPLES, "--languages", "en,de,zh-Hans", "--sheet", sheet, "--device", "cpu")
    assert sheet.read_text(encoding="utf-8").count("<img") == len(list(EXAMPLES.glob("*.png")))

    out = tmp_path / "shipped"
    assert ship_nano.main(["--scores", str(scores), "--out", str(out)]) == 0
    shipped = command("caption", EXAMPLES, "--model", out / "model", "--languages", "en,de", "--device", "cpu")
    assert shipped.stdout.count("deu_Latn") == len(list(EXAMPLES.glob("*.png")))
    assert "| nano | exact | English |" in (out / "model" / "README.md").read_text(encoding="utf-8")

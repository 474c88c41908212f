from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import typer
from tests.unit.cli.conftest import Run

from visiglot.cli.errors import spoken
from visiglot.errors import VisiglotError
from visiglot.languages import LanguageNotice

RECIPE = """
name: small
model:
  vision: {config: {model_type: vit}}
  language_model: {from: some/model}
data:
  languages: de
  sources: [{type: nano, options: {task: caption}}]
stages:
  - {name: one, parts: {connector: {train: full}}, steps: 2, lr: 1e-3}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("arguments", "said", "cure"),
    [
        (("train", "{recipe}", "stages.0.warmup_step=3"), "stages.0.warmup_step", "'warmup_steps'"),
        (
            ("train", "{recipe}", "stages.0.steps=many"),
            "stages.0.steps: input should be a valid integer",
            "found 'many'",
        ),
        (("train", "{recipe}", "stages.4.lr=1"), "'4' is no index of a list of 1", "stages.1.lr=2e-4"),
        (("train", "{recipe}", "stages.0.lr"), "has no `path=value`", "stages.1.lr=2e-4"),
        (("train", "{recipe}", "data.languages=germn"), "'germn'", "deu_Latn (German)"),
        (("train", "no-such-recipe"), "no such recipe: 'no-such-recipe'", ".yaml"),
        (("train", "missing.yaml"), "missing.yaml", "can't be read"),
        (("recipes", "show", "no-such-recipe"), "no such recipe", ".yaml"),
        (("data", "plan", "no-such-recipe"), "no such recipe", ".yaml"),
        (("data", "check", "parqet"), "no such source: 'parqet'", "'parquet'"),
        (("data", "check", "parquet", "pth=x"), "options.pth: no such key", "'path'"),
        (("data", "check", "missing.parquet"), "there is no file missing.parquet", "Check the path"),
        (("data", "check", "nano", "task=caption"), "built-in data set isn't in", "visiglot data nano"),
        (("data", "nano", "--packages", "{tmp}"), "has no", "npm pack"),
        (("evaluate", "no-such-model"), "no model 'no-such-model'", "visiglot train"),
        (("evaluate", "{tmp}", "--only", "generate"), "holds no model", "config.json"),
        (("evaluate", "--only", "score", "--out", "{tmp}"), "no predictions in", "visiglot evaluate"),
        (("evaluate", "--predictions", "missing.jsonl"), "missing.jsonl can't be read", "Check the path"),
        (("caption", "missing.png"), "there is no picture missing.png", "a folder, or a pattern"),
        (("caption", "{tmp}/nothing*.png"), "no file matches", "Check the pattern"),
        (("caption", "{empty}"), "holds no pictures", ".png"),
        (("caption", "{recipe}", "--languages", "germn"), "'germn'", "deu_Latn (German)"),
        (("ask", "missing.png", "--prompt", "What?"), "there is no picture missing.png", "a folder"),
        (("report", "{tmp}"), "has no scores.jsonl", "--only score"),
        (("report", "{tmp}", "{empty}"), "2 evaluation folders", "--out"),
        (("languages", "germn"), "'germn'", "visiglot languages"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_mistake_is_one_paragraph_with_the_cure_and_exit_code_2(
    run: Run, recipe: Path, tmp_path: Path, arguments: tuple[str, ...], said: str, cure: str
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    filled = [part.format(recipe=recipe, tmp=tmp_path, empty=empty) for part in arguments]
    result = run(*filled)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error  ")
    assert "Traceback" not in result.stderr
    assert "\n\n" not in result.stderr
    assert said in result.stderr
    assert cure in result.stderr


def test_an_unknown_option_and_a_wrong_type_exit_with_2(run: Run) -> None:
    assert run("caption", "x.png", "--no-such-option").exit_code == 2
    assert run("caption", "x.png", "--beams", "many").exit_code == 2
    assert run("no-such-verb").exit_code == 2


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), spoken():
        _ = 1 / 0


def test_an_interruption_exits_with_130(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught, spoken():
        raise KeyboardInterrupt
    assert caught.value.exit_code == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_an_error_is_said_with_its_hint(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught, spoken():
        raise VisiglotError("what is wrong", hint="What to do.")
    assert caught.value.exit_code == 2
    assert capsys.readouterr().err == "error  what is wrong\nWhat to do.\n"


def test_a_language_notice_is_one_line_and_other_warnings_stay_as_they_are(
    capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    with spoken():
        warnings.warn("read as Simplified", LanguageNotice, stacklevel=1)
        warnings.warn("something else", UserWarning, stacklevel=1)
    assert capsys.readouterr().err == "notice  read as Simplified\n"
    assert [str(one.message) for one in recwarn] == ["something else"]

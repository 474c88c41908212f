from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.cli.conftest import Run
from tests.unit.evaluate.conftest import WORDS, Scripted, toy_benchmark
from typer.testing import Result

from visiglot.errors import UnknownNameError
from visiglot.evaluate.benchmark import BENCHMARKS
from visiglot.evaluate.generate import collect_predictions


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


def test_scores_of_earlier_commands_are_named(
    run: Run, toy: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BENCHMARKS._things, "other", toy_benchmark("other"))
    out = tmp_path / "evaluation"
    result = run("evaluate", tiny_model, "-b", "toy,other", "-l", "de,en", "--out", out, "--device", "cpu")
    assert "earlier" not in result.stderr
    result = evaluate(run, tiny_model, "-l", "de", "--limit", 1, "--out", out)
    assert "5 more answers, which only earlier commands asked for, are scored with them" in result.stderr
    assert "from earlier commands, scored too: other.english" in result.stderr


def test_only_score_needs_no_model(run: Run, toy: str, tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "evaluation"
    evaluate(run, tiny_model, "-l", "de", "--out", out, "--only", "generate")
    result = run("evaluate", "no-such-model", "--only", "score", "--out", out)
    assert result.exit_code == 0
    assert (out / "report.html").is_file()


def their_row(**changes: object) -> dict[str, object]:
    return {
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
        **changes,
    }


def their_file(folder: Path, **changes: object) -> Path:
    file = folder / "theirs.jsonl"
    file.write_text(json.dumps(their_row(**changes)) + "\n", encoding="utf-8")
    return file


def test_a_prediction_file_made_anywhere_is_scored(run: Run, toy: str, tmp_path: Path, cache: Path) -> None:
    file = their_file(tmp_path, language="de")
    result = run("evaluate", "--predictions", file)
    assert result.exit_code == 0
    scores = [json.loads(line) for line in (cache / "evaluations" / "theirs" / "scores.jsonl").open(encoding="utf-8")]
    assert [score["value"] for score in scores if score["metric"] == "exact"] == [1.0]


def test_a_dry_run_counts_rows_and_loads_no_model(
    run: Run, toy: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("visiglot.models.load.load_model", lambda *_, **__: pytest.fail("a model was loaded"))
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


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"language": "../../../escaped"}, "no such language: '../../../escaped'"),
        ({"language": "xx_Yyyy"}, "no such language: 'xx_Yyyy'"),
        ({"prompt_set": "../x"}, "no such prompt set of toy: '../x'"),
        ({"benchmark": "../toy"}, "no such benchmark: '../toy'"),
    ],
)
def test_a_prediction_file_names_what_there_is_and_leads_nowhere_else(
    run: Run, toy: str, tmp_path: Path, changes: dict[str, str], said: str
) -> None:
    out = tmp_path / "one" / "two"
    result = run("evaluate", "--predictions", their_file(tmp_path, **changes), "--out", out)
    assert result.exit_code == 2
    assert said in result.stderr
    assert sorted(path.name for path in tmp_path.rglob("*.jsonl")) == ["theirs.jsonl"]


def test_a_dry_run_of_a_prediction_file_writes_nothing(run: Run, toy: str, tmp_path: Path) -> None:
    out = tmp_path / "evaluation"
    result = run("evaluate", "--predictions", their_file(tmp_path), "--out", out, "--dry-run")
    assert result.exit_code == 0
    assert "toy.english.deu_Latn.jsonl: 1 rows" in result.stdout
    assert not out.exists()


def test_answers_of_another_model_are_not_overwritten(run: Run, toy: str, tmp_path: Path) -> None:
    out = tmp_path / "evaluation"
    assert run("evaluate", "--predictions", their_file(tmp_path), "--out", out).exit_code == 0
    result = run("evaluate", "--predictions", their_file(tmp_path, model="other"), "--out", out)
    assert result.exit_code == 2
    assert "holds answers of theirs" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--only", "score", "-b", "nano", "-l", "de"), ("--benchmarks", "--languages")),
        (("--predictions", "x.jsonl", "--only", "generate", "--beams", "2"), ("--only", "--beams")),
        (("some-model", "--predictions", "x.jsonl"), ("--model",)),
    ],
)
def test_options_that_would_be_ignored_are_refused(run: Run, arguments: tuple[str, ...], said: tuple[str, ...]) -> None:
    result = run("evaluate", *arguments)
    assert result.exit_code == 2
    assert all(one in result.stderr for one in said)


def test_a_dry_run_without_examples_is_an_error_as_the_run_would_be(
    run: Run, toy: str, tiny_model: Path, tmp_path: Path
) -> None:
    result = evaluate(run, tiny_model, "-l", "xho", "--out", tmp_path / "e", "--dry-run")
    assert result.exit_code == 2
    assert "no examples in xho_Latn" in result.stderr


def test_settings_of_generation_come_from_the_command_line_then_the_recipe_then_the_benchmark() -> None:
    from tests.drawn import drawn_recipe

    from visiglot.cli.evaluate import _with_settings

    benchmark = toy_benchmark()
    recipe = drawn_recipe({"steps": 2})
    section = recipe.evaluate.model_copy(update={"max_new_tokens": 5, "beams": 3})
    recipe = recipe.model_copy(update={"evaluate": section})
    assert _with_settings(benchmark, None, None, None).settings == benchmark.settings
    found = _with_settings(benchmark, recipe, None, None).settings
    assert (found.max_new_tokens, found.beams) == (5, 3)
    found = _with_settings(benchmark, recipe, 7, None).settings
    assert (found.max_new_tokens, found.beams) == (7, 3)


def test_the_recipes_prompts_count_where_a_benchmark_has_them_and_must_be_those_of_its_own() -> None:
    from dataclasses import replace

    from tests.drawn import drawn_recipe

    from visiglot.cli.evaluate import _with_settings

    def first(prompts: str | None, *benchmarks: str) -> str:
        recipe = drawn_recipe({"steps": 2})
        section = recipe.evaluate.model_copy(update={"prompts": prompts, "benchmarks": benchmarks})
        recipe = recipe.model_copy(update={"evaluate": section})
        both = replace(toy_benchmark(), prompt_sets=("native", "paper"))
        return _with_settings(both, recipe, None, None).choose("prompt set", None)

    assert [first(None), first("paper"), first("paper", "toy")] == ["native", "paper", "paper"]
    assert first("english") == "native"  # of another benchmark, which --benchmarks names
    with pytest.raises(UnknownNameError, match="prompt set of toy"):
        first("english", "toy")


def test_every_language_has_its_value_on_the_terminal(run: Run, toy: str, tiny_model: Path, tmp_path: Path) -> None:
    printed = evaluate(run, tiny_model, "-l", "de,en", "--out", tmp_path / "e").stdout
    listed = printed.partition("best first:")[2].splitlines()[1]
    assert "deu_Latn" in listed
    assert "eng_Latn" in listed


def test_means_have_their_intervals_on_the_terminal_and_controls_a_line(
    run: Run, toy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "e"
    control = toy_benchmark("toy-wrong", control_of="toy", control="wrong image")
    monkeypatch.setitem(BENCHMARKS._things, "toy-wrong", control)
    words = list(WORDS)
    collect_predictions(Scripted(wrong={"cat": "?"}), BENCHMARKS.get("toy"), words, out, resume=True)
    collect_predictions(Scripted(wrong={"dog": "?", "sun": "?"}), control, words, out, resume=True)
    result = run("evaluate", "--only", "score", "--out", out)
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "toy english exact English 66.7 % (0.0–100.0) 3 0" in lines
    assert "pictured (2) 66.7 % (0.0–100.0) 6" in lines
    assert "never pictured / pictured 100.0 % (100.0–100.0) 3" in lines
    at = lines.index("toy-wrong english exact all languages (5) 33.3 % (0.0–100.0) 15 0")
    assert lines[at + 1].startswith("toy-wrong english chrf-sentence all languages (5)")
    assert [line for line in lines if line.endswith("best first:")] == ["toy english, exact, best first:"]


def test_a_benchmark_of_which_everything_failed_keeps_its_line(run: Run, toy: str, tmp_path: Path) -> None:
    out = tmp_path / "e"
    broken = Scripted(broken=tuple(WORDS["eng_Latn"]))
    collect_predictions(broken, BENCHMARKS.get("toy"), ["deu_Latn"], out, resume=True)
    result = run("evaluate", "--only", "score", "--out", out)
    assert "toy english exact all languages (0) – 0 3" in [" ".join(one.split()) for one in result.stdout.splitlines()]

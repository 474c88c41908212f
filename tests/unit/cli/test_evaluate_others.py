"""`visiglot evaluate` asks what isn't a model of ours, and asks in other ways."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.chat_server import chat, serving
from tests.checkpoints import stock_paligemma
from tests.unit.cli.conftest import Run
from tests.unit.evaluate.conftest import WORDS, ToyData, toy_benchmark

from visiglot.errors import MissingExtraError
from visiglot.evaluate.benchmark import BENCHMARKS
from visiglot.evaluate.metrics import METRICS
from visiglot.evaluate.predictions import read_predictions
from visiglot.evaluate.provenance import read_run
from visiglot.types import Example


class Choosing(ToyData):
    def examples(self, language: str, *, split: str, prompt_set: str, limit: int | None) -> Iterable[Example]:
        for example in super().examples(language, split=split, prompt_set=prompt_set, limit=limit):
            yield replace(example, choices=tuple(WORDS[language].values()))


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> str:
    BENCHMARKS.names()  # fills the table, so that what is put into it stays
    monkeypatch.setitem(BENCHMARKS._things, "toy", toy_benchmark(data=Choosing()))
    return "toy"


def rows(out: Path, name: str) -> dict[str, str | None]:
    return {row.id: row.text for row in read_predictions(out / "predictions" / name)}


def test_an_endpoint_is_asked_and_its_key_stays_in_the_environment(
    run: Run, toy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("THEIR_KEY", "sk-secret")
    with serving() as server:
        server.answer = lambda body, number: (200, {}, chat("Katze"))
        name = f"openai:{server.url}#their/model"
        result = run(
            "evaluate", name, "-b", "toy", "-l", "de", "--out", tmp_path / "out", "--key-variable", "THEIR_KEY"
        )
    assert result.exit_code == 0, result.stderr
    assert rows(tmp_path / "out", "toy.english.deu_Latn.jsonl") == {"cat": "Katze", "dog": "Katze", "sun": "Katze"}
    assert {headers["authorization"] for headers in server.headers} == {"Bearer sk-secret"}
    made = read_run(tmp_path / "out")
    assert made is not None
    assert made.model == name
    assert not any(b"sk-secret" in path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())


def test_all_languages_of_a_model_that_does_not_say_are_the_benchmarks(run: Run, toy: str, tmp_path: Path) -> None:
    result = run("evaluate", "openai:http://127.0.0.1:9/v1#m", "-b", "toy", "--out", tmp_path / "out", "--dry-run")
    assert result.exit_code == 0
    assert "toy: 15 answers would be generated" in result.stdout


def test_a_model_that_only_transformers_knows_is_asked_by_its_own_way(run: Run, toy: str, tmp_path: Path) -> None:
    stock_paligemma(tmp_path / "paligemma")
    ask = ("evaluate", tmp_path / "paligemma", "-b", "toy", "-l", "de", "--device", "cpu", "--out", tmp_path / "out")
    result = run(*ask)
    assert result.exit_code == 0, result.stderr
    assert len(rows(tmp_path / "out", "toy.english.deu_Latn.jsonl")) == 3
    assert "0 answers made, 3 kept" in run(*ask).stderr


def test_choices_are_ranked_under_a_name_of_their_own(run: Run, toy: str, tiny_model: Path, tmp_path: Path) -> None:
    ask = ("evaluate", tiny_model, "-b", "toy", "-l", "de", "--device", "cpu", "--out", tmp_path / "out")
    result = run(*ask, "--answers", "likelihood")
    assert result.exit_code == 0, result.stderr
    assert set(rows(tmp_path / "out", "toy.english-likelihood.deu_Latn.jsonl").values()) <= set(
        WORDS["deu_Latn"].values()
    )
    shown = run(*ask, "--answers", "likelihood", "--dry-run").stdout
    assert "toy.english-likelihood.deu_Latn.jsonl: 3 rows" in shown
    again = run("evaluate", "--predictions", tmp_path / "out" / "predictions" / "toy.english-likelihood.deu_Latn.jsonl")
    assert again.exit_code == 0, again.stderr


def test_options_of_endpoints_are_refused_for_a_model_that_runs_here(run: Run, toy: str, tiny_model: Path) -> None:
    result = run("evaluate", tiny_model, "-b", "toy", "--concurrent", 2)
    assert result.exit_code == 2
    assert "--concurrent" in result.stderr


@pytest.mark.parametrize(
    ("option", "value", "kind"), [("--prompts", "native", "prompt set"), ("--split", "x", "split")]
)
def test_a_name_that_a_benchmark_lacks_is_answered_with_those_it_has(
    run: Run, toy: str, tiny_model: Path, option: str, value: str, kind: str
) -> None:
    result = run("evaluate", tiny_model, "-b", "toy", option, value, "--dry-run")
    assert result.exit_code == 2
    assert f"no such {kind} of toy" in result.stderr


def test_a_file_made_elsewhere_is_held_against_the_data(run: Run, toy: str, tiny_model: Path, tmp_path: Path) -> None:
    run(
        "evaluate",
        tiny_model,
        "-b",
        "toy",
        "-l",
        "de",
        "--device",
        "cpu",
        "--out",
        tmp_path / "out",
        "--only",
        "generate",
    )
    theirs = tmp_path / "theirs.jsonl"
    lines = (tmp_path / "out" / "predictions" / "toy.english.deu_Latn.jsonl").read_text(encoding="utf-8").splitlines()
    theirs.write_text("\n".join(lines[:2]) + "\n", encoding="utf-8")
    plain = run("evaluate", "--predictions", theirs, "--out", tmp_path / "a", "--dry-run")
    assert plain.exit_code == 0
    assert "--data FOLDER compares them" in plain.stderr
    checked = run("evaluate", "--predictions", theirs, "--out", tmp_path / "a", "--data", tmp_path)
    assert checked.exit_code == 2
    assert "1 of 3 questions have no row: 'sun'" in checked.stderr
    assert not (tmp_path / "a").exists()
    limited = run("evaluate", "--predictions", theirs, "--out", tmp_path / "a", "--data", tmp_path, "--limit", 2)
    assert limited.exit_code == 0, limited.stderr


def test_a_language_model_is_for_scoring(run: Run, toy: str, tiny_model: Path, tmp_path: Path) -> None:
    result = run("evaluate", tiny_model, "-b", "toy", "--only", "generate", "--lid-model", tmp_path / "lid.bin")
    assert result.exit_code == 2
    assert "--lid-model: --only generate scores nothing" in result.stderr


def test_what_scoring_lacks_is_said_before_anything_is_asked(
    run: Run, toy: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking() -> str:
        raise MissingExtraError("their-words", "words")

    monkeypatch.setitem(METRICS._things, "exact", replace(METRICS.get("exact"), tokenisation=lacking))
    ask = ("evaluate", tiny_model, "-b", "toy", "-l", "de", "--device", "cpu", "--out", tmp_path / "out")
    result = run(*ask)
    assert result.exit_code == 2
    assert "visiglot[words]" in result.stderr
    assert not (tmp_path / "out").exists()
    assert run(*ask, "--only", "generate").exit_code == 0

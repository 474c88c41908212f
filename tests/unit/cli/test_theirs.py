"""`visiglot evaluate --predictions FILE` with files in other programs' forms, and what a folder remembers of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.conftest import Run
from tests.unit.evaluate.conftest import WORDS, ToyData, toy_benchmark

from visiglot.evaluate.benchmark import BENCHMARKS, Benchmark
from visiglot.evaluate.metrics import METRICS
from visiglot.evaluate.predictions import read_predictions


@dataclass
class Counted:
    """A benchmark that counts how often it is opened."""

    benchmark: Benchmark
    times: int = 0

    def load(self, folder: Path | None) -> Any:
        self.times += 1
        return ToyData()


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Counted:
    BENCHMARKS.names()  # fills the table, so that what is put into it stays
    counted = Counted(toy_benchmark())
    monkeypatch.setitem(BENCHMARKS._things, "toy", replace(counted.benchmark, load=counted.load))
    return counted


def results(folder: Path, code: str, name: str = "theirs.json", lacking: str = "") -> Path:
    rows = [{"image_id": id, "caption": word} for id, word in WORDS[code].items() if id != lacking]
    (folder / name).write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return folder / name


def scores(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "scores.jsonl").read_text(encoding="utf-8").splitlines()]


def test_answers_in_another_form_are_scored_and_checked(run: Run, toy: Counted, tmp_path: Path) -> None:
    out = tmp_path / "model-x"
    for code, name in (("deu_Latn", "de"), ("jpn_Jpan", "ja")):
        found = run("evaluate", "--predictions", results(tmp_path, code), "-b", "toy", "-l", name, "--out", out)
        assert found.exit_code == 0, found.stderr
        assert "3 answers, form coco" in found.stderr
        assert "isn't known" not in found.stderr
    assert toy.times == 2  # once each
    told = scores(out)
    assert {(one["language"], one["prompt_set"], one["unchecked"]) for one in told} == {
        ("deu_Latn", "theirs", False),
        ("jpn_Jpan", "theirs", False),
    }
    assert {one["value"] for one in told if one["metric"] == "exact"} == {1}
    row = read_predictions(out / "predictions" / "toy.theirs.jpn_Jpan.jsonl")[0]
    assert (row.model, row.references) == ("model-x", ("猫",))
    account = json.loads((out / "elsewhere.json").read_text(encoding="utf-8"))
    assert account["toy.theirs.deu_Latn.jsonl"] == {
        "file": "theirs.json",
        "form": "coco",
        "rows": 3,
        "revision": "toy-1",
    }
    assert run("evaluate", "--only", "score", "--out", out).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "doesn't say which benchmark"),
        (("-b", "toy,nano"), "doesn't say which benchmark"),
        (("-b", "toy"), "doesn't say which language it is in, and 5 are asked for"),
        (("-b", "toy", "-l", "de,en"), "and 2 are asked for: deu_Latn, eng_Latn"),
        (("-b", "toy", "-l", "sw"), "toy, split test, swh_Latn"),
        (("-b", "toy", "-l", "de", "--split", "x"), "no such split of toy"),
        (("-b", "toy", "-l", "de", "--prompts", "x"), "no such prompt set of toy"),
        (("-b", "toy", "-l", "de", "--beams", "2"), "--beams"),
    ],
)
def test_which_questions_were_asked_must_be_said(
    run: Run, toy: Counted, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    out = tmp_path / "out"
    found = run("evaluate", "--predictions", results(tmp_path, "deu_Latn"), *arguments, "--out", out)
    assert found.exit_code == 2
    assert said in " ".join(found.stderr.split())
    assert not out.exists()


def test_missing_answers_are_counted_and_a_limit_may_explain_them(run: Run, toy: Counted, tmp_path: Path) -> None:
    file = results(tmp_path, "deu_Latn", lacking="sun")
    ask = ("evaluate", "--predictions", file, "-b", "toy", "-l", "de", "--out", tmp_path / "out")
    found = run(*ask)
    assert found.exit_code == 2
    assert "1 of 3 questions have no answer: 'sun'" in found.stderr
    assert run(*ask, "--limit", 2).exit_code == 0


def test_rows_that_say_all_themselves_take_no_word_of_it(run: Run, toy: Counted, tmp_path: Path) -> None:
    run("evaluate", "--predictions", results(tmp_path, "deu_Latn"), "-b", "toy", "-l", "de", "--prompts", "english",
        "--out", tmp_path / "out")  # fmt: skip
    ours = tmp_path / "out" / "predictions" / "toy.english.deu_Latn.jsonl"
    found = run("evaluate", "--predictions", ours, "-b", "toy", "--prompts", "english", "--out", tmp_path / "again")
    assert found.exit_code == 2
    assert "--benchmarks, --prompts: the rows of" in found.stderr


def test_scores_without_data_are_marked_on_the_terminal_and_in_the_file(run: Run, toy: Counted, tmp_path: Path) -> None:
    run("evaluate", "--predictions", results(tmp_path, "deu_Latn"), "-b", "toy", "-l", "de", "--prompts", "english",
        "--out", tmp_path / "out")  # fmt: skip
    ours = tmp_path / "out" / "predictions" / "toy.english.deu_Latn.jsonl"
    for data, marked in (((), True), (("--data", tmp_path), False)):
        toy.times = 0
        out = tmp_path / f"again-{marked}"
        found = run("evaluate", "--predictions", ours, "--out", out, *data)
        assert found.exit_code == 0, found.stderr
        assert ("0 + ?" in found.stdout) is marked
        assert {one["unchecked"] for one in scores(out)} == {marked}
        assert toy.times == (0 if marked else 1)


def test_a_benchmark_is_opened_once_for_a_model_that_does_not_say_its_languages(
    run: Run, toy: Counted, tmp_path: Path
) -> None:
    found = run("evaluate", "openai:http://127.0.0.1:9/v1#m", "-b", "toy", "--out", tmp_path / "out", "--dry-run")
    assert found.exit_code == 0
    assert "15 answers would be generated" in found.stdout
    assert toy.times == 1


def test_models_are_compared_with_the_identifier_that_they_were_scored_with(
    run: Run, toy: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def configure(settings: Any) -> Any:
        name = "plain" if settings.lid_model is None else settings.lid_model.name
        return replace(METRICS.get("exact"), tokenisation=lambda: name)

    exact = METRICS.get("exact")
    tokenisation: Callable[[], str] = lambda: "plain"  # noqa: E731
    monkeypatch.setitem(METRICS._things, "exact", replace(exact, configure=configure, tokenisation=tokenisation))
    for name in ("a", "b"):
        run("evaluate", "--predictions", results(tmp_path, "deu_Latn"), "-b", "toy", "-l", "de", "--out",
            tmp_path / name, "--lid-model", tmp_path / "lid.bin")  # fmt: skip
    report = ("report", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "both")

    def compared() -> tuple[bool, str]:
        values = json.loads((tmp_path / "both" / "report.json").read_text(encoding="utf-8"))
        (result,) = [one for one in values["results"] if one["key"]["metric"] == "exact"]
        return bool(result["differences"]), values["unpaired"]

    assert run(*report).exit_code == 0
    there, why = compared()
    assert not there
    assert why.startswith("exact was scored with lid.bin and is plain here")
    assert run(*report, "--lid-model", tmp_path / "lid.bin").exit_code == 0
    assert compared() == (True, "")

"""From a benchmark's English files to scores in another language: `visiglot translate benchmark:...`, an evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tests.translating
from tests.benchmarks_data import write_mmbench, write_pope
from tests.lrm_data import write_mme, write_seed_bench
from tests.unit.cli.conftest import Run
from tests.unit.evaluate.conftest import Scripted

from visiglot.evaluate.benchmark import BENCHMARKS
from visiglot.evaluate.generate import collect_predictions
from visiglot.evaluate.predictions import read_folder
from visiglot.evaluate.score import score_predictions

LRM = (
    "eng_Latn",
    "zho_Hans",
    "ita_Latn",
    "fra_Latn",
    "deu_Latn",
    "spa_Latn",
    "rus_Cyrl",
    "ron_Latn",
    "ces_Latn",
    "hrv_Latn",
)


@pytest.fixture(autouse=True)
def _permissive(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine's outputs are English with a mark, which real filters would reject."""
    monkeypatch.setattr("visiglot.translate.filters.Filters", lambda *a, **b: tests.translating.Strict())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for write in (write_mme, write_mmbench, write_pope, write_seed_bench):
        write(tmp_path / "data")
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("name", "rows", "metric", "best"),
    [
        ("mme", 8, "mme-score", 200),
        ("mmbench", 7, "circular-accuracy", 1),
        ("pope", 24, "pope-accuracy", 1),
        ("seed-bench", 3, "choice-accuracy", 1),
    ],
)
def test_a_benchmark_is_translated_into_the_ten_languages_and_scored(
    name: str, rows: int, metric: str, best: float, run: Run, root: Path, tmp_path: Path
) -> None:
    out = root / f"{name}-mt"
    command = (
        "translate",
        f"benchmark:{name}",
        f"data={root}",
        "--languages",
        "lrm",
        "--engine",
        "marked",
        "--out",
        out,
    )
    result = run(*command)
    assert result.exit_code == 0, result.output
    assert (out / f"{name}.parquet").is_file()
    benchmark = BENCHMARKS.get(f"{name}-mt")
    assert set(benchmark.open(root).languages) == set(LRM)
    scores = tmp_path / "scores"
    collect_predictions(Scripted(), benchmark, ["eng_Latn", "hrv_Latn"], scores, resume=False, root=root)
    found = [one for one in score_predictions(scores) if one.metric == metric]
    assert {one.benchmark for one in found} == {f"{name}-mt"}
    assert {one.language for one in found} == {"eng_Latn", "hrv_Latn"}
    assert all(one.value % best == 0 and one.value > 0 for one in found)
    for _, answers in read_folder(scores):
        assert len(answers) == rows
        croatian = answers[0].language == "hrv_Latn"
        assert {row.facts["translated_by"] for row in answers} == {"tests/marked" if croatian else ""}
        assert all(("[hrv_Latn]" in row.prompt) == croatian for row in answers)
    made = json.loads((scores / "run.json").read_text(encoding="utf-8"))["benchmarks"][f"{name}-mt.native"]
    assert made["translation"].startswith("machine")
    again = run(*command)
    assert again.exit_code == 0, "the questions are the same, so what is finished stays"


def test_what_is_no_benchmark_to_translate_is_said(run: Run, root: Path, tmp_path: Path) -> None:
    command = ("--languages", "de", "--engine", "marked", "--out", tmp_path / "out")
    result = run("translate", "benchmark:mmmb", f"data={root}", *command)
    assert result.exit_code != 0
    assert "benchmark to translate" in result.output
    result = run("translate", "benchmark:mme", f"folder={root}", *command)
    assert "folder: no such key; known: data" in result.output

"""Retrieval from the command line, with models that embed and one that doesn't."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.benchmarks_data import write_pope
from tests.drawn import drawn_recipe
from tests.dual_models import SAVERS
from tests.retrieval_data import write_wit, write_xtd
from tests.unit.cli.conftest import Run

from visiglot.train.loop import fit
from visiglot.train.track import Tracker


@pytest.mark.parametrize("kind", SAVERS)
def test_a_clip_like_folder_is_measured_and_reported(run: Run, kind: str, tmp_path: Path) -> None:
    write_xtd(tmp_path)
    write_wit(tmp_path)
    out = tmp_path / "out"
    asked = ("--benchmarks", "xtd,iglue-wit", "--data", tmp_path, "--languages", "it,de,en", "--device", "cpu")
    result = run("evaluate", SAVERS[kind](tmp_path / kind), *asked, "--out", out)
    assert result.exit_code == 0, result.stderr
    assert "xtd: 72 answers made, 0 kept, 0 failed" in result.stderr
    scores = [json.loads(line) for line in (out / "scores.jsonl").open(encoding="utf-8")]
    found = {(one["benchmark"], one["language"], one["task"], one["metric"]): one for one in scores}
    for task in ("text-to-image", "image-to-text"):
        one = found["xtd", "ita_Latn", task, "recall@10"]
        assert one["n"] == 12
        assert 0 <= one["low"] <= one["value"] <= one["high"] <= 1
    assert found["iglue-wit", "eng_Latn", "text-to-image", "candidates"]["value"] == 4
    assert "recall@1" in (out / "report.html").read_text(encoding="utf-8")
    assert "recall@1" in result.stdout


def test_a_clip_like_folder_writes_no_answers(run: Run, tmp_path: Path) -> None:
    write_pope(tmp_path)
    asked = ("--benchmarks", "pope", "--data", tmp_path, "--out", tmp_path / "out")
    result = run("evaluate", SAVERS["clip"](tmp_path / "clip"), *asked)
    assert result.exit_code == 2
    assert "embeds pictures and texts, and writes no answers to pope" in result.stderr


def test_a_model_that_embeds_nothing_is_refused_with_what_does(run: Run, tiny_model: Path, tmp_path: Path) -> None:
    write_xtd(tmp_path)
    out = tmp_path / "out"
    result = run("evaluate", tiny_model, "--benchmarks", "xtd", "--data", tmp_path, "-l", "it", "--out", out)
    assert result.exit_code == 2
    assert "gives no vectors of pictures and texts, by which xtd is ranked" in result.stderr
    assert "CLIP or SigLIP" in result.stderr
    assert not out.exists()


def test_a_run_embeds_by_what_its_contrastive_stage_trained(run: Run, tmp_path: Path) -> None:
    write_xtd(tmp_path)
    trained = fit(
        drawn_recipe({"steps": 1, "objective": "contrastive"}),
        out=tmp_path / "contrast",
        device="cpu",
        report=Tracker(),
    )
    out = tmp_path / "out"
    asked = ("--benchmarks", "xtd", "--data", tmp_path, "--languages", "de,en", "--device", "cpu", "--out", out)
    result = run("evaluate", trained, *asked)
    assert result.exit_code == 0, result.stderr
    assert "xtd: 48 answers made, 0 kept, 0 failed" in result.stderr
    assert "recall@1" in result.stdout

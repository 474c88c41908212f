"""Fine-tuning from end to end at tiny size: mBLIP as released, its four data sets in English, other languages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tests.benchmarks_data import write_benchmarks
from tests.checkpoints import legacy_mblip
from tests.formats import fixtures
from torch import Tensor
from typer.testing import CliRunner

from visiglot.cli import app
from visiglot.config import load_recipe
from visiglot.models.build import build_model
from visiglot.models.load import load_model
from visiglot.models.parts import adapter_names, merge_lora

pytestmark = pytest.mark.slow

STEPS = 3
RECIPES = {
    "finetune-xgqa": ("gqa", "xgqa", ("eng_Latn", "deu_Latn", "zho_Hans")),
    "finetune-xvnli": ("snli-ve", "xvnli", ("eng_Latn", "arb_Arab")),
    "finetune-marvl": ("nlvr2", "marvl", ("eng_Latn", "swh_Latn", "tur_Latn")),
    "finetune-flickr": ("flickr30k", "xflickrco", ("eng_Latn", "deu_Latn")),
}
"""Recipe -> format of its data, the benchmark, and its languages in the tests' data."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISIGLOT_CACHE", str(tmp_path / "cache"))


def visiglot(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.output


def overrides(tmp_path: Path, name: str, start: Path) -> list[str]:
    """What makes a built-in recipe small: the model that it starts from, its data, steps and batch."""
    format, _, _ = RECIPES[name]
    folder = tmp_path / f"data-{format}"
    folder.mkdir(exist_ok=True)
    options = fixtures()[format](folder).options
    return [
        f"model.from={start}",
        *(f"data.sources.0.options.{key}={json.dumps(value)}" for key, value in options.items()),
        f"stages.0.steps={STEPS}",
        "stages.0.warmup_steps=0",
        "stages.0.lr=0.01",
        "stages.0.batch={rows: 2}",
        "train.precision=fp32",
        "train.gradient_checkpointing=false",
    ]


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}


@pytest.mark.parametrize("llm", ["mt5", "bloom"])
@pytest.mark.parametrize("name", RECIPES)
def test_the_released_mblip_is_fine_tuned_in_english_and_answers_in_other_languages(
    name: str, llm: str, tmp_path: Path
) -> None:
    _, benchmark, languages = RECIPES[name]
    legacy_mblip(tmp_path / "released", llm)
    changes, run = overrides(tmp_path, name, tmp_path / "released"), tmp_path / "run"
    assert "connector full" in visiglot("recipes", "check", name, *changes)
    visiglot("train", name, *changes, "--out", run, "--device", "cpu")

    start = build_model(load_recipe(name, changes).model, languages=(), seed=42).model.state_dict()
    model, _ = load_model(str(run), device="cpu")
    assert len(adapter_names(model)) > 0
    trained = model.state_dict()
    frozen = {key.replace(".base_layer", ""): value for key, value in trained.items() if ".lora_" not in key}
    changed = moved(start, frozen)
    assert changed == {key for key in start if key.startswith("connector.") and start[key].is_floating_point()}
    assert any(bool(trained[key].any()) for key in adapter_names(model) if ".lora_B." in key)

    data, scores = write_benchmarks(tmp_path / "benchmarks"), tmp_path / "scores"
    visiglot("evaluate", run, "--data", data, "--languages", ",".join(languages), "--out", scores, "--device", "cpu")
    found = {path.name for path in (scores / "predictions").iterdir()}
    assert found == {f"{benchmark}.paper.{code}.jsonl" for code in languages}


def test_a_run_with_low_rank_layers_is_merged_before_it_gets_new_ones(tmp_path: Path) -> None:
    legacy_mblip(tmp_path / "released", "mt5")
    first, second = tmp_path / "first", tmp_path / "second"
    visiglot("train", "finetune-xgqa", *overrides(tmp_path, "finetune-xgqa", tmp_path / "released"), "--out", first)
    visiglot("train", "finetune-flickr", *overrides(tmp_path, "finetune-flickr", first), "--out", second)

    merged, _ = load_model(str(first), device="cpu")
    merge_lora(merged)
    model, _ = load_model(str(second), device="cpu")
    state = model.state_dict()
    for key, value in merged.language_model.state_dict().items():
        inner, _, last = f"language_model.{key}".rpartition(".")
        now = state.get(f"{inner}.base_layer.{last}", state.get(f"language_model.{key}"))
        assert now is not None
        assert torch.equal(now, value), key

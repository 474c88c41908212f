"""Parrot from end to end at tiny size, through the stages of its recipe: what trains, what stays, what comes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from tests.tiny import LLM, VISION, build_tiny
from tests.unit.evaluate.conftest import toy_benchmark
from torch import Tensor
from typer.testing import CliRunner

from visiglot.cli import app
from visiglot.config import load_recipe
from visiglot.evaluate.benchmark import BENCHMARKS
from visiglot.evaluate.routing import ROUTING, read_routing
from visiglot.models.build import build_model
from visiglot.models.load import load_model

pytestmark = pytest.mark.slow

WORDS = {
    "eng_Latn": ("What is it?", "a dog"),
    "rus_Cyrl": ("Что это?", "собака"),
    "tur_Latn": ("Bu nedir?", "bir köpek"),
}
STEPS = 4


def visiglot(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.output


def write_data(folder: Path) -> list[dict[str, Any]]:
    """Conversations in LLaVA's format, some without a picture and some with two; a source for each language."""
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (40, 30), (80 * number, 200 - 60 * number, 90)).save(folder / f"{number}.png")
    sources = []
    for code, (question, answer) in WORDS.items():
        rows: list[dict[str, Any]] = []
        for number, shown in enumerate((["0.png"], ["1.png"], ["2.png", "0.png"], [])):
            asked = "<image>\n" * len(shown) + question
            said = [{"from": "human", "value": asked}, {"from": "gpt", "value": answer}]
            rows.append({"id": str(number), "conversations": said * 2 if number == 1 else said, "image": shown})
            rows[-1]["conversations"] = [
                turn if place < 2 else {**turn, "value": turn["value"].replace("<image>\n", "")}
                for place, turn in enumerate(rows[-1]["conversations"])
            ]
        path = folder / f"{code}.json"
        path.write_text(json.dumps(rows), encoding="utf-8")
        options = {"path": str(path), "images": str(folder), "language": code, "name": f"talk-{code}"}
        sources.append({"type": "llava", "options": options, "task": "conversation", "languages": code})
    return sources


def recipe(tmp_path: Path, residual: str) -> Path:
    """The built-in recipe with tiny parts, little data and few steps; stages and options are its own."""
    tokenizer = tmp_path / "tokenizer"
    built = build_tiny()
    built.model.save_pretrained(tokenizer)
    built.processor.save_pretrained(tokenizer)
    values = load_recipe("parrot-7b").model_dump(mode="json", by_alias=True, exclude_unset=True)
    sources = write_data(tmp_path / "data")
    model = values["model"]
    model["vision"] = {"config": VISION["clip"], "image_size": 32, "layer": -2, "pad": True}
    model["connector"]["options"] |= {"experts": 3, "width": 8, "residual": residual}
    model["language_model"] = {"config": LLM["qwen2"], "tokenizer": str(tokenizer)}
    values["data"] |= {"sources": sources, "languages": list(WORDS)}
    values["train"] = {"precision": "fp32", "log_every": 1, "save_every": STEPS, "keep": 5}
    for stage in values["stages"]:
        stage |= {"steps": STEPS, "warmup_steps": 1, "lr": 1e-2, "batch": {"rows": 8, "accumulate": 2}}
        if "data" in stage:
            stage["data"]["sources"] = sources[:1]
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}


@pytest.mark.parametrize("residual", ["released", "paper"])
def test_both_stages_train_what_they_say_and_the_result_reads_the_prompt(
    residual: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISIGLOT_CACHE", str(tmp_path / "cache"))
    path, run = recipe(tmp_path, residual), tmp_path / "run"
    assert "connector.experts bypassed" in visiglot("recipes", "check", path)
    visiglot("train", path, "--out", run, "--device", "cpu")

    loaded = load_recipe(str(path))
    start = build_model(loaded.model, languages=list(WORDS), seed=loaded.train.seed).model.state_dict()
    first, _ = load_model(str(run / "checkpoints" / f"align-{STEPS}" / "model"), device="cpu")
    assert first.connector.bypassed
    trained = moved(start, first.state_dict())
    assert trained == {name for name in start if name.startswith("connector.inner.")}

    model, processor = load_model(str(run), device="cpu")
    assert not model.connector.bypassed
    assert model.connector.needs_context
    trained = moved(first.state_dict(), model.state_dict())
    assert not any(name.startswith("vision.") for name in trained)
    experts = [name for name in start if name.startswith("connector.experts.")]
    assert len(experts) == 1 + 3 * 3
    assert trained >= set(experts)
    assert any(name.startswith("language_model.") for name in trained)

    monkeypatch.setitem(BENCHMARKS._things, "toy", toy_benchmark())
    scores = tmp_path / "scores"
    for _ in range(2):  # made, then kept
        visiglot("evaluate", run, "--benchmarks", "toy", "--languages", "en,ar,ja", "--out", scores, "--device", "cpu")
        rows = read_routing(scores / ROUTING)
        assert [row.language for row in rows] == ["eng_Latn", "arb_Arab", "jpn_Jpan"]
        assert all(sum(row.weights) == pytest.approx(1) and row.n == 3 for row in rows)
        assert rows[0].weights != rows[1].weights
        (scores / ROUTING).unlink()
    assert processor.spec().template.start
    with pytest.raises(AssertionError, match=r"its connector is 'parrot'"):
        visiglot("export", run, "--to", "llava", "--out", tmp_path / "exported")

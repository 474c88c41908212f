"""LRM-LLaVA from end to end at tiny size, through the stages of its recipe: what trains, what stays, what comes out."""

from __future__ import annotations

import json
from collections import Counter
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
from visiglot.data.mixture import Mixture
from visiglot.data.parquet_source import write_examples
from visiglot.evaluate.benchmark import BENCHMARKS
from visiglot.evaluate.modality_gap import MODALITY_GAP, read_modality_gap
from visiglot.evaluate.predictions import read_predictions
from visiglot.models.build import build_model
from visiglot.models.load import load_model
from visiglot.types import Example, ImageRef, ImageSlot, Message, Provenance

pytestmark = pytest.mark.slow

WORDS = {
    "eng_Latn": ("What is it?", "a dog"),
    "deu_Latn": ("Was ist das?", "ein Hund"),
    "ron_Latn": ("Ce este aceasta?", "un câine"),
}
STEPS = 4
ROWS = 12


def visiglot(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.output


def write_data(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """English conversations in LLaVA's format, and their translations as `visiglot translate` writes them."""
    folder.mkdir()
    rows, made = [], []
    english = dict(zip(("source.question", "source.answer"), WORDS["eng_Latn"]))
    for number in range(ROWS):
        name = f"{number}.png"
        Image.new("RGB", (40, 30), (20 * number, 250 - 20 * number, 90)).save(folder / name)
        said = [{"from": "human", "value": f"<image>\n{WORDS['eng_Latn'][0]}"}, {"from": "gpt", "value": "a dog"}]
        rows.append({"id": str(number), "image": name, "conversations": said})
        for code, (question, answer) in list(WORDS.items())[1:]:
            facts = {"question": question, "answer": answer, **english, "source.language": "eng_Latn"}
            turns = (Message("user", (ImageSlot(0), question)), Message("assistant", (answer,)))
            refs, origin = (ImageRef(name, path=folder / name),), Provenance("toy", "CC0-1.0", "toy engine")
            made.append(Example(f"{number}/{code}", turns, code, refs, provenance=origin, facts=facts))
    (folder / "english.json").write_text(json.dumps(rows), encoding="utf-8")
    write_examples(folder / "translated.parquet", made)
    return (
        {
            "type": "llava",
            "options": {"path": str(folder / "english.json"), "split_turns": True},
            "languages": "eng_Latn",
        },
        {"type": "parquet", "options": {"path": str(folder / "translated.parquet")}, "allocation": {"policy": "size"}},
    )


def recipe(tmp_path: Path, llm: str, task_options: dict[str, Any], **changes: Any) -> Path:
    """The built-in recipe with tiny parts, little data and few steps; stages, tasks and options are its own."""
    tokenizer = tmp_path / "tokenizer"
    built = build_tiny()
    built.model.save_pretrained(tokenizer)
    built.processor.save_pretrained(tokenizer)
    values = load_recipe("lrm-llava-13b").model_dump(mode="json", by_alias=True, exclude_unset=True)
    english, translated = write_data(tmp_path / "data")
    model = values["model"]
    model["vision"] = {"config": VISION["clip"], "image_size": 32, "layer": -2, "pad": True}
    model["language_model"] = {"config": LLM[llm], "tokenizer": str(tokenizer)}
    model["prompt"] |= {"template": "vicuna", "max_length": 320, **changes}  # llava's has a long preamble
    for data in (values, values["stages"][0]):
        tasks = {source["task"] for source in data["data"]["sources"]}
        other = tasks - {"mvqa"} or tasks
        data["data"] |= {
            "languages": list(WORDS),
            "sources": [
                english | {"task": "mvqa"},
                translated | {"task": other.pop(), "task_options": task_options if data is values else {}},
            ],
        }
    values["train"] = {"precision": "fp32", "log_every": 1, "save_every": STEPS, "keep": 5}
    for stage in values["stages"]:
        stage |= {"steps": STEPS, "warmup_steps": 1, "lr": 1e-2, "batch": {"rows": 12, "accumulate": 2}}
    if task_options.get("twins"):
        values["stages"][1]["options"] = {"consistency": 0.5}
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    return path


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}


@pytest.mark.parametrize(
    ("llm", "task_options"), [("llama", {}), ("llama", {"twins": True}), ("t5", {"mask_translation": True})]
)
def test_both_stages_train_what_they_say_on_the_formats_that_they_say(
    llm: str, task_options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISIGLOT_CACHE", str(tmp_path / "cache"))
    path, run = recipe(tmp_path, llm, task_options, pivot=True), tmp_path / "run"
    assert "fine" in visiglot("recipes", "check", path)
    loaded = load_recipe(str(path))
    first, second = (
        Mixture(stage.data or loaded.data, total=48, seed=1) for stage in loaded.stages
    )  # fmt: skip
    assert {first[k].task for k in range(48)} == {"mvqa"}
    asked = Counter((second[k].task, second[k].language == "eng_Latn") for k in range(48))
    assert asked["mvqa", True] == 24
    assert asked["ep-vqa", False] == asked["mvqa", False] == asked["bvqa", False] + asked["bvqa", True] == 8

    visiglot("train", path, "--out", run, "--device", "cpu")
    start = build_model(loaded.model, languages=list(WORDS), seed=loaded.train.seed).model.state_dict()
    aligned = run / "checkpoints" / f"align-{STEPS}" / "model"
    after_first = load_model(str(aligned), device="cpu")[0].state_dict()
    model, _ = load_model(str(run), device="cpu")
    assert moved(start, after_first) == {name for name in start if name.startswith("connector.")}
    trained = moved(after_first, model.state_dict())
    assert {name for name in start if name.startswith("connector.")} <= trained
    assert any(name.startswith("language_model.") for name in trained)
    assert not any(name.startswith("vision.") for name in trained)

    monkeypatch.setitem(BENCHMARKS._things, "toy", toy_benchmark())
    folders = {"before": aligned, "after": run}
    for name, where in folders.items():
        out = tmp_path / name
        visiglot(
            "evaluate", where, "--benchmarks", "toy", "--languages", "en,de,ja", "--out", out, "--device", "cpu",
            "--modality-gap",
        )  # fmt: skip
        gap = read_modality_gap(out / MODALITY_GAP)
        assert [(row.language, row.pictures, row.texts) for row in gap] == [
            ("eng_Latn", 3, 3), ("deu_Latn", 3, 3), ("jpn_Jpan", 3, 3),
        ]  # fmt: skip
        for row in read_predictions(out / "predictions" / "toy.english.deu_Latn.jsonl"):
            assert row.text is not None
            assert ("translation" in row.facts) != ("no_pivot" in row.facts)
    visiglot("report", tmp_path / "before", tmp_path / "after", "--out", tmp_path / "compared")
    page = (tmp_path / "compared" / "report.html").read_text(encoding="utf-8")
    assert "Modality gap: toy (english)" in page
    assert page.count("<svg") == 2
    words = (tmp_path / "compared" / "report.md").read_text(encoding="utf-8")
    (heads,) = (line for line in words.splitlines() if line.count("AUC, ") == 2)
    assert heads.count("distance, ") == heads.count("length, ") == 2

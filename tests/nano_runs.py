"""Finished runs of the three built-in recipes, tiny and untrained: what the release tool reads."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tests.tiny import TEXTS, build_tiny, tiny_section

from visiglot.config import ModelSection, Recipe, dump_recipe, load_recipe
from visiglot.models.build import Built, build_model
from visiglot.models.parts import ensure_lora
from visiglot.models.runs import Position
from visiglot.train.checkpoint import save_checkpoint

LANGUAGES = ["eng_Latn", "deu_Latn", "fra_Latn", "tur_Latn", "zho_Hans"]
CATEGORIES = ("animal", "food_drink", "flag")
"""Of what tests draw; the recipes name more."""


def shortened(name: str) -> list[str]:
    """Overrides that leave a built-in recipe its parts, stages and tasks, and make it a matter of seconds."""
    recipe = load_recipe(name)
    found = [f"train.{key}={value}" for key, value in {"log_every": 1, "save_every": 2, "min_supervised": 0}.items()]
    if recipe.model.language_model.tokenizer is not None:
        found.append("model.language_model.tokenizer.vocabulary=400")
    languages = LANGUAGES if len(recipe.data.languages) > 1 else LANGUAGES[:1]
    sections = [("data", recipe.data)]
    for number, stage in enumerate(recipe.stages):
        at = f"stages.{number}"
        found += [f"{at}.steps=3", f"{at}.warmup_steps=1", f"{at}.batch.rows=8", f"{at}.batch.accumulate=1"]
        if stage.data is not None:
            sections.append((f"{at}.data", stage.data))
    for path, data in sections:
        found.append(f"{path}.languages=[{', '.join(languages)}]")
        for number, source in enumerate(data.sources):
            at = f"{path}.sources.{number}"
            if "categories" in source.options:
                drawn = [one for one in source.options["categories"] if one in CATEGORIES]
                found.append(f"{at}.options.categories=[{', '.join(drawn)}]")
            if source.languages is not None:
                found.append(f"{at}.languages=[{', '.join(languages)}]")
    return found


def write_runs(folder: Path) -> None:
    """Write runs nano-english, nano-lm and nano; the last has encoder and language model of the others, and low-rank
    layers that change its answers."""
    english = build_tiny("resnet", "t5", seed=0, max_length=192)
    english.model.config.languages = ["eng_Latn"]
    lm = build_tiny("resnet", "mt5", "linear", seed=1, max_length=192)
    lm.model.config.languages = LANGUAGES
    write_run(folder / "nano-english", english)
    write_run(folder / "nano-lm", lm)
    write_run(folder / "nano", realigned(folder))


def realigned(folder: Path) -> Built:
    """The model that is made of the parts of runs nano-english and nano-lm, which are in `folder`."""
    values = tiny_section("resnet", "t5", max_length=192).model_dump(by_alias=True)
    values["vision"] = {"from": str(folder / "nano-english")}
    values["connector"]["from"] = str(folder / "nano-english")
    values["language_model"] = {"from": str(folder / "nano-lm")}
    built = build_model(ModelSection.model_validate(values), languages=LANGUAGES, seed=2, texts=lambda: TEXTS)
    ensure_lora(built.model, load_recipe("nano").stages[-1])
    generator = torch.Generator().manual_seed(5)
    for name, parameter in built.model.named_parameters():
        if ".lora_B." in name:  # 0 before training
            parameter.data = torch.randn(parameter.shape, generator=generator) / 10
    built.model.eval()
    return built


def write_run(run: Path, built: Built, *, step: int | None = None) -> None:
    """Write a run whose last checkpoint is `built`, at the end of its recipe or at `step` of its last stage."""
    recipe: Recipe = load_recipe(run.name, shortened(run.name))
    last = recipe.stages[-1]
    position = Position(len(recipe.stages) - 1, last.steps if step is None else step)

    def write(folder: Path) -> None:
        built.model.save_pretrained(folder / "model")
        built.processor.save_pretrained(folder / "model")
        (folder / "trainer").mkdir()
        (folder / "trainer" / "recipe.yaml").write_text(dump_recipe(recipe), encoding="utf-8")

    about = {"recipe_hash": "", "commit": "0" * 40, "versions": {"python": "3.11.2", "torch": "2.13.0"}}
    save_checkpoint(run, last.name, position, write, about=about, keep=1)
    records = [
        {"stage": stage.name, "step": number + 1, "seconds": 20.0}
        for stage in recipe.stages
        for number in range(stage.steps)
    ]
    (run / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")

"""Held-out examples: what they cost, when they are asked, and what that leaves untouched."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from tests.broken import Broken
from tests.drawn import drawn_recipe
from tests.tiny import build_tiny

from visiglot.config import Recipe
from visiglot.data.collate import collate
from visiglot.data.ledger import Ledger
from visiglot.errors import ImageError, TrainingError
from visiglot.models.load import load_model
from visiglot.prompts import placed
from visiglot.render import render
from visiglot.train.loop import fit
from visiglot.train.pictures import Pictures
from visiglot.train.precision import build_accelerator
from visiglot.train.stages import Sources, Stage, TrainingStep, prepare_stage, texts_of
from visiglot.train.track import Tracker

LORA = {"connector": {"train": "full"}, "language_model": {"train": "lora"}}


def recipe(*stages: dict[str, Any], holdout: int = 3, source: dict[str, Any] | None = None, **train: Any) -> Recipe:
    often = [stage.get("validate_every") for stage in stages]
    plain = [{key: value for key, value in stage.items() if key != "validate_every"} for stage in stages]
    found = drawn_recipe(*plain, data={"text": True}, **train)
    values = found.model_dump(mode="json", by_alias=True, exclude_none=True)
    values["data"]["holdout"] = holdout
    for stage, every in zip(values["stages"], often, strict=True):
        stage["validate_every"] = every
    if source is not None:
        values["data"]["sources"] = [source]
    return Recipe.model_validate(values)


def prepare(made: Recipe, built: Any = None) -> Stage:
    built = built or build_tiny()
    accelerator = build_accelerator("fp32", "cpu")
    return prepare_stage(made, 0, built.model, built.processor, Sources(), accelerator, Ledger(None, 0.01))


def train(made: Recipe, out: Path, tracker: Tracker | None = None) -> Path:
    return fit(made, out=out, device="cpu", report=tracker or Tracker(), resume=True)


def validations(run: Path) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [record for record in records if "validation" in record]


def test_the_loss_is_that_of_the_held_out_examples_one_by_one(tmp_path: Path) -> None:
    made = recipe({"steps": 2, "parts": LORA, "augment": True})
    run = train(made, tmp_path)
    (record,) = validations(run)
    found = record["validation"]

    model, processor = load_model(str(run), device="cpu")
    stage = prepare(made)
    assert stage.validation is not None
    spec = processor.spec()
    sums: dict[tuple[str, str], list[float]] = {}
    for source, index in stage.validation.held:
        example = placed(stage.validation.mixture.sources[source][index], stage.validation.spec.placing)
        batch = collate([render(example, spec)], spec, pixels=Pictures(processor).plain)
        with torch.no_grad():
            loss = stage.objective(model, batch)
        cell = sums.setdefault((example.language, example.task), [0.0, 0])
        cell[0] += float(loss.sum)
        cell[1] += int(loss.counts.sum())

    assert found["examples"] == 6
    for number, kind in enumerate(("by_language", "by_task")):
        assert set(found[kind]) == {key[number] for key in sums}
        for name, cost in found[kind].items():
            cells = [cell for key, cell in sums.items() if key[number] == name]
            tokens = sum(count for _, count in cells)
            assert cost["tokens"] == tokens
            assert cost["loss"] == pytest.approx(sum(total for total, _ in cells) / tokens, abs=1e-4)
    total = sum(cell[1] for cell in sums.values())
    assert found["tokens"] == total
    assert found["loss"] == pytest.approx(sum(cell[0] for cell in sums.values()) / total, abs=1e-4)


def test_what_is_held_out_is_never_trained_on() -> None:
    stage = prepare(recipe({"steps": 12}))
    assert stage.validation is not None
    held = {stage.validation.mixture.sources[source][index].id for source, index in stage.validation.held}
    seen = {sample.id for step in range(12) for sample in stage.loader.load(step).samples}
    assert len(held) == 6
    assert len(seen) == 48 - 6
    assert not held & seen


def test_a_tokenizer_is_not_trained_on_what_is_held_out() -> None:
    made = recipe({}, holdout=4, source={"type": "drawn", "options": {"seeded": True}})
    before = list(texts_of(recipe({}, holdout=0, source={"type": "drawn", "options": {"seeded": True}}), Sources())())
    assert len(before) - len(list(texts_of(made, Sources())())) == 2 * 8


@pytest.mark.parametrize(
    ("stage", "train_", "steps"),
    [
        ({}, {"save_every": 2}, [2, 4, 5]),
        ({"validate_every": 3}, {"save_every": 2}, [3, 5]),
        ({"validate_every": 0}, {"save_every": 2}, []),
    ],
    ids=["with each checkpoint", "every 3", "never"],
)
def test_validation_comes_when_it_was_asked_for(stage: dict, train_: dict, steps: list[int], tmp_path: Path) -> None:
    run = train(recipe({"steps": 5} | stage, **train_), tmp_path)
    assert [record["step"] for record in validations(run)] == steps


def test_without_a_holdout_nothing_is_validated_and_asking_for_it_is_refused(tmp_path: Path) -> None:
    assert validations(train(recipe({"steps": 2}, holdout=0), tmp_path)) == []
    with pytest.raises(ValueError, match="validate_every: is 5, but its data hold nothing out"):
        recipe({"validate_every": 5}, holdout=0)


def test_the_terminal_says_losses_by_language_and_task_and_what_they_rest_on(tmp_path: Path) -> None:
    said = io.StringIO()
    train(recipe({"steps": 2}), tmp_path, Tracker(Console(file=said, width=300)))
    (line,) = [line for line in said.getvalue().splitlines() if "held-out loss" in line]
    for part in ("step 2/2", "eng_Latn", "deu_Latn", "caption", "text", "tokens of 6 examples"):
        assert part in line
    assert "validation: on 6 held-out examples, every 100 steps and at the end" in said.getvalue()


def test_an_objective_that_compares_rows_says_that_it_is_not_validated(tmp_path: Path) -> None:
    made = recipe({"steps": 2, "objective": "contrastive"}, source={"type": "drawn"})
    stage = prepare(made)
    assert stage.validation is None
    assert any("validation: none" in line and "contrastive" in line and "6 examples" in line for line in stage.lines)
    assert validations(train(made, tmp_path)) == []


@pytest.mark.parametrize("on_bad", ["error", "skip"])
def test_a_broken_held_out_picture_follows_the_policy_and_not_the_ledger(on_bad: str, tmp_path: Path) -> None:
    whole = prepare(recipe({}, source={"type": "broken"})).validation
    assert whole is not None
    drawn = Broken(["eng_Latn", "deu_Latn"]).examples
    cut = [drawn[index].id for _, index in whole.held[:2]]
    source = {"type": "broken", "options": {"cut": cut}}
    made = recipe({"steps": 2, "batch": {"rows": 2}}, source=source, on_bad=on_bad, max_bad=0.0)
    if on_bad == "error":
        with pytest.raises(ImageError, match=f"example ({'|'.join(cut)}): picture"):
            train(made, tmp_path)
        return
    (record,) = validations(train(made, tmp_path))
    assert record["validation"]["left_out"] == {"unreadable picture": 2}
    assert record["validation"]["examples"] == 4
    assert not (tmp_path / "ledger.jsonl").exists()


def test_a_holdout_of_nothing_but_broken_pictures_is_an_error(tmp_path: Path) -> None:
    whole = prepare(recipe({}, source={"type": "broken"})).validation
    assert whole is not None
    drawn = Broken(["eng_Latn", "deu_Latn"]).examples
    source = {"type": "broken", "options": {"cut": [drawn[index].id for _, index in whole.held]}}
    with pytest.raises(TrainingError, match=r"none of the 6 held-out examples can be used \(6 unreadable picture\)"):
        train(recipe({"steps": 2}, source=source, on_bad="skip"), tmp_path)


def test_every_part_is_left_in_the_mode_it_was_in() -> None:
    built = build_tiny()
    stage = prepare(recipe({"parts": LORA}), built)
    assert stage.validation is not None
    step = TrainingStep(built.model, stage.objective)
    step.train(True)
    built.model.vision.eval()
    before = {name: part.training for name, part in step.named_modules()}
    first, again = (stage.validation.measure(step).overall() for _ in range(2))
    assert first == again  # no dropout
    assert {name: part.training for name, part in step.named_modules()} == before
    assert {True, False} == set(before.values())


def test_processes_share_the_examples_and_get_one_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    built = build_tiny()
    validation = prepare(recipe({}), built).validation
    assert validation is not None
    step = TrainingStep(built.model, validation.objective)
    together = validation.measure(step)

    class Rank:
        num_processes = 4
        device = torch.device("cpu")
        unwrap_model: Callable[[Any], Any] = staticmethod(lambda module: module)

        def __init__(self, rank: int) -> None:
            self.process_index = rank

    parts = []
    monkeypatch.setattr("accelerate.utils.gather_object", lambda own: parts.extend(own) or parts)
    for rank in range(4):
        validation.accelerator = Rank(rank)
        apart = validation.measure(step)
    assert apart.cells.keys() == together.cells.keys()
    for key, cost in together.cells.items():
        assert apart.cells[key].loss == pytest.approx(cost.loss, abs=1e-3)
        assert (apart.cells[key].tokens, apart.cells[key].examples) == (cost.tokens, cost.examples)


def test_a_resumed_run_may_validate_more_or_less_often(tmp_path: Path) -> None:
    train(recipe({"steps": 2}), tmp_path)
    train(recipe({"steps": 2, "validate_every": 1}), tmp_path)

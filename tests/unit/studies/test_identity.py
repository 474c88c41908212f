"""The hash under which a cell is kept: it changes when something that matters does, and then only."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.studies.conftest import study_values

from studies import identity
from studies.identity import Facts, PlannedCell, hash_model, plan_cell
from studies.study import Cell, LinkSection, Study
from visiglot.benchmarks import nano
from visiglot.errors import TrainingError
from visiglot.evaluate.benchmark import BENCHMARKS

WEIGHTS = {"nano-english": "weights of the English model", "nano-lm": "weights of the language model"}
LINK = {
    "name": "realign",
    "recipe": "nano",
    "set": {
        "data": {"languages": ["eng_Latn", "deu_Latn"], "sources": [{"type": "nano", "options": {"task": "caption"}}]}
    },
}
EVALUATION = {"benchmarks": {"nano": 4}, "languages": ["eng_Latn", "deu_Latn"]}

Plan = Callable[..., PlannedCell]


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Plans a cell of a study made of one link; keyword arguments change the study, the link's values or the facts."""
    assert nano is not None  # it fills the table
    revision = {"now": ""}

    def benchmarks(study: Study) -> list[tuple[Any, int]]:
        settings = {name: BENCHMARKS.get(name).settings for name in study.evaluation.benchmarks}
        opened = SimpleNamespace(revision=revision["now"])
        return [
            (SimpleNamespace(name=name, settings=settings[name], load=lambda folder: opened), limit)
            for name, limit in study.evaluation.benchmarks.items()
        ]

    monkeypatch.setattr(identity, "benchmarks_of", benchmarks)

    def made(
        seed: int = 1, arm: str = "base", weights: dict[str, str] = WEIGHTS, card: str = "card",
        link: dict[str, Any] | None = None, set_: dict[str, Any] | None = None, **changes: Any,
    ) -> PlannedCell:  # fmt: skip
        own = {**LINK, **(link or {}), "set": {**LINK["set"], **(set_ or {})}}  # type: ignore[dict-item]
        benchmark = next(iter(changes.get("evaluation", EVALUATION)["benchmarks"]))
        values = {
            **study_values(),
            "evaluation": EVALUATION,
            "columns": [{"title": "English", "benchmark": benchmark, "languages": "English"}],
            "questions": [{"name": "q", "title": "q", "asks": "q", "arms": [arm], "columns": ["English"]}],
            "arms": {arm: {"about": "x", "links": [own]}},
            **changes,
        }
        revision["now"] = card
        facts = Facts(weights=dict(weights), data={"": card})
        return plan_cell(Study.model_validate(values), Cell(arm, seed), facts)

    return made


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2},
        {"weights": {**WEIGHTS, "nano-lm": "others"}},
        {"weights": {**WEIGHTS, "nano-english": "others"}},
        {"card": "another card"},
        {"set_": {"stages.realign.steps": 7}},
        {"set_": {"stages.realign.parts.language_model.train": "frozen"}},
        {"set_": {"data.languages": ["eng_Latn", "fra_Latn"]}},
        {"set_": {"data.sources.0.options.limit_concepts": 30}},
        {"set_": {"model.connector.from": None, "model.connector.fresh": []}},
        {"link": {"stages": ["realign"]}},
        {"evaluation": {**EVALUATION, "benchmarks": {"nano": 5}}},
        {"evaluation": {**EVALUATION, "benchmarks": {"nano-train": 4}}},
        {"evaluation": {**EVALUATION, "languages": ["eng_Latn", "fra_Latn"]}},
    ],
    ids=str,
)
def test_identity_changes_with_what_a_result_follows_from(plan: Plan, change: dict[str, Any]) -> None:
    assert plan(**change).identity != plan().identity


@pytest.mark.parametrize(
    "change",
    [
        {"name": "another", "title": "Another", "about": "x", "minutes": 3, "seeds": [1, 5]},
        {"arm": "renamed"},
        {"link": {"name": "renamed"}},
        {"set_": {"train.save_every": 7, "train.log_every": 3, "train.keep": 1}},
        {"set_": {"train.on_bad": "skip", "train.max_bad": 0.5, "stages.realign.validate_every": 0}},
        {"set_": {"about": "x", "licence": "MIT", "evaluate": {"benchmarks": ["nano"]}}},
        {"set_": {"data.languages": "en,de"}},
        {"evaluation": {**EVALUATION, "languages": ["en", "de"]}},
        {"weights": {**WEIGHTS, "unused": "x"}},
    ],
    ids=str,
)
def test_identity_stays_whatever_things_are_called(plan: Plan, change: dict[str, Any]) -> None:
    assert plan(**change).identity == plan().identity


def test_the_same_weights_under_another_name_are_the_same_cell(plan: Plan) -> None:
    other = plan(set_={"model.language_model": {"from": "mine"}}, weights={**WEIGHTS, "mine": WEIGHTS["nano-lm"]})
    assert other.identity == plan().identity


def test_a_later_link_follows_from_the_earlier_ones_identity(plan: Plan) -> None:
    def chain(steps: int) -> PlannedCell:
        first = {"name": "one", "recipe": "nano-english", "stages": ["generate"],
                 "set": {"model.vision": {"from": "nano-english"}, "model.language_model": {"from": "nano-english"},
                         "stages.generate.steps": steps}}  # fmt: skip
        second = {**LINK, "set": {**LINK["set"], "model.connector.from": "link:one"}}  # type: ignore[dict-item]
        return plan(arms={"base": {"about": "x", "links": [first, second]}})

    assert chain(5).links[1].identity == chain(5).links[1].identity
    assert chain(5).links[1].identity != chain(6).links[1].identity
    assert chain(5).links[1].weights.keys() == {"nano-english", "nano-lm"}


def test_a_model_is_its_files_but_for_what_is_said_about_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    before = hash_model(str(tmp_path))
    (tmp_path / "README.md").write_text("a card")
    (tmp_path / "recipe.yaml").write_text("about: what trained it, from which no weight of it follows any more")
    assert hash_model(str(tmp_path)) == before
    (tmp_path / "model.safetensors").write_bytes(b"Weights")
    assert hash_model(str(tmp_path)) != before


def test_a_tower_that_is_still_being_trained_is_refused(tmp_path: Path) -> None:
    from visiglot.config import dump_recipe, load_recipe

    recipe = load_recipe("nano-lm")
    last, steps = len(recipe.stages) - 1, recipe.stages[-1].steps
    checkpoint = tmp_path / "run" / "checkpoints" / "text-4"
    for folder in ("model", "trainer"):
        (checkpoint / folder).mkdir(parents=True)
    (checkpoint / "model" / "config.json").write_text("{}")
    (checkpoint / "trainer" / "recipe.yaml").write_text(dump_recipe(recipe), encoding="utf-8")
    manifest = checkpoint / "manifest.json"
    facts = {"complete": True, "files": {}, "stage": "text", "stage_index": last, "step": 4}
    manifest.write_text(json.dumps(facts))
    with pytest.raises(TrainingError, match="step 4"):
        hash_model(str(tmp_path / "run"))
    manifest.write_text(json.dumps({**facts, "step": steps}))
    assert hash_model(str(tmp_path / "run"))


def test_keys_that_came_later_change_no_identity_where_they_are_not_used() -> None:
    """The hashes are those of commit db5eb71, before data sections had tasks, allocations, licences and holdouts."""
    from visiglot.config import load_recipe

    facts = Facts(weights={"nano-english": "a", "nano-lm": "b"}, data={"": "c"})
    before = {
        "nano": "5409fe5a482351bf2ea689468734a1dad5ab1c0c690d774c5bf45bc3f319ede9",
        "nano-lm": "4cc63612763e8ea1cbe5aa9b97b0fbe8d1040a47a225abfa5b65746987a67de3",
    }
    for name, expected in before.items():
        recipe = load_recipe(name)
        assert identity._plan_link(LinkSection(name="x", recipe=name), recipe, {}, facts).identity == expected


@pytest.mark.parametrize(
    "change",
    [
        {"data.holdout": 2},
        {"data.licence": "commercial"},
        {"data.allocation": {"policy": "mc4_alpha"}},
        {"data.sources.0.task": "caption"},
        {"data.sources.0.allocation": {"policy": "size"}},
        {"train.frozen": "bf16"},
    ],
    ids=str,
)
def test_keys_that_came_later_change_the_identity_where_they_are_used(plan: Plan, change: dict[str, Any]) -> None:
    assert plan(set_=change).identity != plan().identity

"""Tasks on a set that was translated by default, with labels that stayed English: counted right and never stopped."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.drawn import drawn_recipe
from tests.facts import answer_of, prompt_of
from tests.translating import CHANGED, Strict
from tests.unit.cli.conftest import Run

from visiglot.config import DataSection, dump_recipe
from visiglot.data.mixture import Mixture
from visiglot.data.parquet_source import write_examples
from visiglot.types import Example, ImageRef, ImageSlot, Message, Provenance

EN, DE, SW = "eng_Latn", "deu_Latn", "swh_Latn"

COUNT = 24
"""Examples, of which every third, the first one too, has a label that stays English."""

STAYED = COUNT // 3
LEFT = COUNT - STAYED

ELSEWHERE = {"vqa": "answer", "mvqa": "answer", "imagenet-name": "label"}
"""Tasks that count an example by the language of what they ask for -> the fact."""

NEEDS = {"rationale": "answer", "imagenet-decide": "label", "ep-vqa": "answer", "bvqa": "answer"}
"""Tasks that leave an example out -> the fact that has stayed."""


def example(number: int, stays: bool) -> Example:
    thing = CHANGED if stays else f"thing {'abcdefgh'[number % 8]}"
    facts = {
        "question": f"What is picture {number}?",
        "answer": thing,
        "rationale": f"It looks like picture {number}.",
        "label": thing,
        "class": f"n{number % 8}" if not stays else "n9",
    }
    turns = (Message("user", (ImageSlot(0), facts["question"])), Message("assistant", (thing,)))
    image = ImageRef(f"{number}.jpg", data=str(number).encode())
    return Example(str(number), turns, EN, (image,), (thing,), Provenance("set", "CC0-1.0"), "vqa", facts=facts)


@pytest.fixture
def translate(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Translates examples, and gives the section of the source that is made of them."""
    monkeypatch.setattr("visiglot.translate.filters.Filters", lambda *a, **b: Strict())

    def made(examples: list[Example]) -> dict[str, Any]:
        path = tmp_path / "set.parquet"
        write_examples(path, examples)
        result = run("translate", path, "--languages", "de,sw", "--engine", "marked", "--out", tmp_path / "out")
        assert result.exit_code == 0, result.output
        line = next(line for line in result.stdout.splitlines() if line.startswith("  - {type: parquet"))
        source: dict[str, Any] = yaml.safe_load(line.strip().removeprefix("- "))
        assert source.pop("languages") == [DE, SW]
        return source

    return made


def planned(run: Run, folder: Path, source: dict[str, Any], languages: list[str]) -> dict[str, Any]:
    path = folder / "recipe.yaml"
    section = {"sources": [source], "languages": languages}
    path.write_text(dump_recipe(drawn_recipe({"steps": 2, "data": section})), encoding="utf-8")
    result = run("data", "plan", path, "--json")
    assert result.exit_code == 0, result.output
    (found,) = next(iter(json.loads(result.stdout)["data"].values()))["sources"]
    said = run("data", "plan", path).stdout
    for reason, count in found["rows_left_out"].items():
        assert f"left out: {count} rows of {found['name']}: {reason}" in said
    return {**found, "languages": {code: count for code, count in found["languages"].items() if count}}


def drawn(source: dict[str, Any], languages: list[str]) -> list[Example]:
    """Every example of the mixture once, and then some."""
    data = DataSection.model_validate({"sources": [source], "languages": languages, "holdout": 2})
    mixture = Mixture(data, total=4 * COUNT, seed=1)
    return [mixture[k] for k in range(len(mixture))] + [mixture.sources[s][i] for s, i in mixture.held_out()]


@pytest.mark.parametrize("task", ELSEWHERE)
def test_a_task_asks_for_an_english_label_in_english(task: str, translate: Any, run: Run, tmp_path: Path) -> None:
    source = {**translate([example(n, n % 3 == 0) for n in range(COUNT)]), "task": task}
    found = planned(run, tmp_path, source, [DE, SW, EN])
    assert (found["languages"], found["rows_left_out"]) == ({DE: LEFT, SW: LEFT, EN: 2 * STAYED}, {})
    found = planned(run, tmp_path, source, [DE, SW])
    reason = f"the {ELSEWHERE[task]} is in a language that isn't asked for"
    assert (found["languages"], found["rows_left_out"]) == ({DE: LEFT, SW: LEFT}, {reason: 2 * STAYED})
    for one in drawn(source, [DE, SW, EN]):
        assert (answer_of(one) == CHANGED) == (one.language == EN) == ("English" in prompt_of(one))


@pytest.mark.parametrize("task", NEEDS)
def test_a_task_leaves_out_what_stayed_english(task: str, translate: Any, run: Run, tmp_path: Path) -> None:
    source = {**translate([example(n, n % 3 == 0) for n in range(COUNT)]), "task": task}
    found = planned(run, tmp_path, source, [DE, SW, EN])
    counts = {DE: LEFT // 2, SW: LEFT // 2, EN: LEFT} if task == "bvqa" else {DE: LEFT, SW: LEFT}
    reason = f"the {NEEDS[task]} stayed in another language"
    assert (found["languages"], found["rows_left_out"]) == (counts, {reason: 2 * STAYED})
    examples = drawn(source, [DE, SW, EN])
    assert len(examples) > 4 * COUNT
    assert {one.language for one in examples} == set(counts)
    assert not [one for one in examples if CHANGED in f"{prompt_of(one)} {answer_of(one)}"]
    if task == "imagenet-decide":
        numbers = {one.id: one for one in examples}
        yes = Counter((one.language, answer_of(one)) for one in numbers.values())
        assert yes == {(DE, "ja"): 8, (DE, "nein"): 8, (SW, "ndiyo"): 8, (SW, "hapana"): 8}, "exactly half"


@pytest.mark.parametrize("task", NEEDS)
def test_a_task_says_so_at_the_opening_where_nothing_is_left(
    task: str, translate: Any, run: Run, tmp_path: Path
) -> None:
    source = {**translate([example(n, True) for n in range(4)]), "task": task}
    path = tmp_path / "recipe.yaml"
    path.write_text(dump_recipe(drawn_recipe({"data": {"sources": [source], "languages": [DE, SW]}})), encoding="utf-8")
    result = run("data", "plan", path)
    assert result.exit_code == 2
    assert f"8: the {NEEDS[task]} stayed in another language" in " ".join(result.stderr.split())
    assert "--labels reject" in result.stderr

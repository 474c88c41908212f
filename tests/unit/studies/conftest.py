"""A small study without any model: its rows are made up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from studies.rows import Row
from studies.study import Study

CONCEPTS = 20


def study_values() -> dict[str, Any]:
    """Two arms, three seeds, two languages."""
    return {
        "name": "toy",
        "title": "A toy",
        "about": "Nothing is asked.",
        "seeds": [1, 2, 3],
        "groups": {"English": ["eng_Latn"], "others": ["deu_Latn", "swh_Latn"]},
        "evaluation": {"benchmarks": {"toy": CONCEPTS}, "languages": ["eng_Latn", "deu_Latn", "swh_Latn"]},
        "arms": {
            "base": {"about": "the base", "links": [{"name": "realign", "recipe": "nano"}]},
            "other": {"about": "the other", "like": "base", "set": {"realign": {"stages.realign.steps": 7}}},
        },
        "columns": [
            {"title": "English", "benchmark": "toy", "languages": "English"},
            {"title": "others", "benchmark": "toy", "languages": "others"},
        ],
        "questions": [
            {
                "name": "which",
                "title": "Which one?",
                "asks": "Is one of them better?",
                "arms": ["base", "other"],
                "columns": ["English", "others"],
                "compare": [{"first": "base", "second": "other", "column": "others"}],
            }
        ],
    }


@pytest.fixture
def toy() -> Study:
    return Study.model_validate(study_values())


MakeRow = Callable[..., Row]


@pytest.fixture
def make_row(toy: Study) -> MakeRow:
    """`make_row("base", 1, 9)`: 9 of the 20 concepts right in every language."""

    def make(arm: str, seed: int, right: int, **changes: Any) -> Row:
        signs = "1" * right + "0" * (CONCEPTS - right)
        scores: Mapping[str, Any] = {
            code: {"exact": right / CONCEPTS, "n": CONCEPTS, "missing": 0} for code in toy.evaluation.languages
        }
        row: Row = {
            "kind": "cell",
            "study": toy.name,
            "arm": arm,
            "seed": seed,
            "identity": f"{arm}-{seed}",
            "links": [{"name": "realign", "weights": {"nano-lm": "abc"}}],
            "steps": 7,
            "examples": 700,
            "seconds": {"training": 100.0, "evaluation": 20.0, "total": 120.0},
            "over": False,
            "resumed": False,
            "scores": {"toy": scores},
            "right": {
                "toy": {
                    "groups": [f"concept {number}" for number in range(CONCEPTS)],
                    "languages": dict.fromkeys(toy.evaluation.languages, signs),
                }
            },
            "commit": "0123456789abcdef",
            "machine": {"processor": "A processor", "cores": 2, "threads": 2},
            "date": "2026-11-21T10:00:00+00:00",
        }
        return {**row, **changes}

    return make

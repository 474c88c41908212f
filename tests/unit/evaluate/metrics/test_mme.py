"""MME's scores against its evaluation tool's, on answers of all kinds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from visiglot.errors import EvaluationError
from visiglot.evaluate.metrics import METRICS
from visiglot.evaluate.metrics.mme import COGNITION, PERCEPTION, mme_yes_no
from visiglot.types import Prediction

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[3] / "golden/mme.json").read_text(encoding="utf-8"))


def rows(subtasks: tuple[str, ...], language: str = "eng_Latn") -> list[Prediction]:
    pictures = list(dict.fromkeys(picture for _, picture, _, _ in GOLDEN["rows"]))
    return [
        Prediction(
            f"{n}", picture, language, "", answer, None, "mme", "test", "paper", (gold,), "m", "h",
            group=picture,
            facts={"category": subtask, "index": str(pictures.index(picture)), "index_rows": "2"},
        )
        for n, (subtask, picture, gold, answer) in enumerate(GOLDEN["rows"])
        if subtask in subtasks
    ]  # fmt: skip


def value(name: str, found: list[Prediction]) -> float:
    metric = METRICS.get(name)
    return float(metric.reduce(metric.measure(found, found[0].language).values.sum(axis=0)))


@pytest.mark.parametrize(("text", "said"), GOLDEN["said"])
def test_answers_mean_what_the_tool_takes_them_for(text: str, said: str) -> None:
    assert (mme_yes_no(text, "eng_Latn") or "other") == said


@pytest.mark.parametrize(("task", "subtasks"), [("perception", PERCEPTION), ("cognition", COGNITION)])
def test_scores_are_the_tools(task: str, subtasks: tuple[str, ...]) -> None:
    found = rows(subtasks)
    assert value("mme-score-official", found) == pytest.approx(GOLDEN[task])
    for name in subtasks:
        accuracy, plus, points = GOLDEN["subtasks"][name]
        own = rows((name,))
        assert value("mme-score-official", own) == pytest.approx(points)
        assert value("mme-accuracy-official", own) == pytest.approx(accuracy)
        assert value("mme-accuracy-plus-official", own) == pytest.approx(plus)


def test_a_picture_with_one_answer_is_undetermined() -> None:
    metric = METRICS.get("mme-score")
    found = metric.measure(rows(("existence",))[1:], "eng_Latn")
    assert found.undetermined == 1
    assert len(found.values) == len(rows(("existence",))) // 2 - 1


def test_without_answers_there_is_no_value() -> None:
    metric = METRICS.get("mme-score")
    assert np.isnan(metric.reduce(metric.measure([], "eng_Latn").values.sum(axis=0)))


def test_a_subtask_of_another_name_is_said() -> None:
    (first, second, *_) = rows(("existence",))
    other = [Prediction(**{**_fields(one), "facts": {**one.facts, "category": "smell"}}) for one in (first, second)]
    with pytest.raises(EvaluationError, match="has no subtask of MME in its fact `category`, found 'smell'"):
        METRICS.get("mme-score").measure(other, "eng_Latn")


def _fields(row: Prediction) -> dict[str, Any]:
    return {name: getattr(row, name) for name in Prediction.__slots__}

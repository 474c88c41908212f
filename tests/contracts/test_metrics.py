"""What holds for every metric in the table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from visiglot.evaluate.metrics import METRICS, Metric
from visiglot.languages import ENGLISH
from visiglot.types import Prediction

pytest.importorskip("sacrebleu")

ANSWER = Prediction("", "", "deu_Latn", "", "Haus", None, "b", "s", "p", ("Haus",), "m", "h", "caption")


@dataclass(frozen=True)
class Case:
    """Answers to what a metric judges: a right one, a wrong one, and any third, with what else their rows need. "{}" in
    a text becomes a word that no other row has."""

    right: str = "Haus"
    wrong: str = "Baum"
    third: str = ""
    references: tuple[str, ...] = ("Haus",)
    wrong_references: tuple[str, ...] | None = None
    choices: tuple[str, ...] = ()
    likelihoods: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    language: str = "deu_Latn"

    def row(self, text: str, place: int) -> Prediction:
        judged_as = self.wrong_references if text == self.wrong and self.wrong_references else self.references
        return replace(
            ANSWER,
            id=str(place),
            group=f"g{place}",
            text=text.replace("{}", f"Nummer{place}"),
            language=self.language,
            references=tuple(one.replace("{}", f"Nummer{place}") for one in judged_as),
            choices=self.choices,
            likelihoods=self.likelihoods.get(text, ()),
            facts={**self.facts, "index": str(place), "index_rows": "1"},
        )


CHOICES = Case(references=("A",), choices=("Haus", "Baum"))
YES = Case("ja", "nein", "Baum", references=("yes",))
CASES = {
    r"(cider|bleu).*": Case("ein {} steht hier", references=("ein {} steht hier",)),
    r"vqa-accuracy.*": Case(references=("Haus",) * 9 + ("Hof",)),
    r"gqa-accuracy-llava": Case("haus", references=("haus",)),
    r"(choice|circular|pair)-accuracy.*": CHOICES,
    r"letter-failures.*": replace(CHOICES, wrong="Turm"),
    r"chance|choices": CHOICES,
    r"likelihood-accuracy.*": replace(
        CHOICES, likelihoods={"Haus": (-1.0, -2.0), "Baum": (-2.0, -1.0), "": (0.0, -1.0)}
    ),
    r"mmmu-.*": CHOICES,
    r"mmmu-accuracy.*": Case("A", "B", references=("A",), choices=("A", "B"), facts={"options": '["Haus", "Baum"]'}),
    r"recall@.*|candidates": Case(facts={"candidates": "9"}),
    r"m4u-accuracy.*": Case("A", "B", references=("A",), facts={"published_options": "['Haus', 'Baum']"}),
    r"pope-precision": replace(YES, wrong="ja, ja", wrong_references=("no",)),
    r"pope-.*-official": replace(YES, right="yes", wrong="no"),
    r"pope-precision-official": replace(YES, right="yes", wrong="yes, yes", wrong_references=("no",)),
    r"pope-.*": YES,
    r"mme-.*": replace(YES, facts={"category": "existence"}),
    r"mme-.*-official": replace(YES, right="yes", wrong="no", facts={"category": "existence"}),
    r"yes-no-failures": replace(YES, wrong="Turm"),
    r"fidelity": Case("Zwei Hunde spielen im Schnee.", "Two dogs are playing in the snow."),
    r"fidelity-references": Case(
        references=("Zwei Hunde spielen im Schnee.",), wrong_references=("Two dogs are playing in the snow.",)
    ),
    r"chair-.*": Case("a dog", "a cat", references=("My dog.",), facts={"objects": "dog"}, language=ENGLISH),
}
"""Pattern of names -> what those metrics judge; the longest pattern that fits counts, and `Case()` where none does."""


@pytest.fixture(params=METRICS.names())
def metric(request: pytest.FixtureRequest) -> Metric:
    return METRICS.get(request.param)


@pytest.fixture
def case(metric: Metric, tmp_path: Path) -> Case:
    fitting = [pattern for pattern in CASES if re.fullmatch(pattern, metric.name)]
    found = CASES[max(fitting, key=len)] if fitting else Case()
    if "objects" in found.facts:
        (tmp_path / "synonyms.txt").write_text("dog, puppy\ncat, kitten\n", encoding="utf-8")
        return replace(found, facts={**found.facts, "synonyms": str(tmp_path / "synonyms.txt")})
    return found


def rows(case: Case, *answers: str) -> list[Prediction]:
    return [case.row(text, place) for place, text in enumerate(answers)]


def value(metric: Metric, case: Case, *answers: str) -> float:
    return float(metric.reduce(metric.measure(rows(case, *answers), case.language).values.sum(axis=0)))


def test_its_row_and_its_name_agree_and_it_says_what_it_is(metric: Metric) -> None:
    assert METRICS.get(metric.name) is metric
    assert metric.about.endswith(".")
    assert metric.tokenisation()


def test_references_as_answers_get_the_best_value(metric: Metric, case: Case) -> None:
    best, worse = value(metric, case, case.right, case.right), value(metric, case, case.right, case.wrong)
    if metric.of_questions:
        assert best == worse
        return
    assert best > worse if metric.higher_is_better else best < worse
    if not metric.higher_is_better:
        assert best == 0.0
    elif metric.maximum is not None:
        assert best == pytest.approx(metric.maximum)


def test_the_order_of_the_rows_does_not_matter(metric: Metric, case: Case) -> None:
    forth, back = (case.right, case.wrong, case.third), (case.third, case.right, case.wrong)
    assert value(metric, case, *forth) == pytest.approx(value(metric, case, *back))


def test_many_sums_are_reduced_at_once_as_one_by_one(metric: Metric, case: Case) -> None:
    """Resampling gives [B, S] sums."""
    statistics = metric.measure(rows(case, case.right, case.wrong, case.third), case.language)
    sums = np.stack([statistics.values[:1].sum(axis=0), statistics.values.sum(axis=0)])
    assert metric.reduce(sums) == pytest.approx([float(metric.reduce(one)) for one in sums], nan_ok=True)
    assert len(statistics.groups) == len(statistics.values)

"""The part of a report that shows which experts a connector turns to in which language."""

from __future__ import annotations

from collections.abc import Iterable

from visiglot.evaluate.routing import ROUTING, Routing, largest_difference, read_routing
from visiglot.evaluate.summary import Evaluation
from visiglot.languages import language
from visiglot.sheet import Bar, Measure, Page


def add_routing(page: Page, evaluations: Iterable[Evaluation]) -> None:
    """The mean weight of each expert by language, for each evaluation whose model has experts and each benchmark.

    Raises:
        EvaluationError: a file of weights is broken.
    """
    for evaluation in evaluations:
        path = evaluation.folder / ROUTING
        found: dict[tuple[str, str], list[Routing]] = {}
        for row in read_routing(path):
            found.setdefault((row.benchmark, row.prompt_set), []).append(row)
        for (benchmark, prompt_set), rows in found.items():
            page.section(f"Experts by language: {evaluation.label}, {benchmark} ({prompt_set})")
            _add(page, rows)


def _add(page: Page, rows: list[Routing]) -> None:
    """Bars in the order of each language's first expert, so that languages that are routed alike stand together."""
    experts = len(rows[0].weights)
    page.paragraph(
        f"The mean weight that the connector gives each of its {experts} experts, over up to "
        f"{max(row.n for row in rows):,} pictures in prompts of a language. Alike for all would be {1 / experts:.3f}. "
        f"Between the two languages that differ most, {largest_difference(rows):.3f} of the weight lies elsewhere; 0 "
        "would be a router that doesn't tell languages apart."
    )
    ordered = sorted(rows, key=lambda row: (row.weights.index(max(row.weights)), language(row.language).name))
    bars = [
        Bar(
            language(row.language).name,
            tuple(Measure(weight, series=f"expert {number}") for number, weight in enumerate(row.weights, 1)),
            language=row.language,
        )
        for row in ordered
    ]
    page.bars(bars, caption="mean weight of each expert by language", maximum=1.0)

"""MME's scores: accuracy, and the share of pictures with both questions right, added up over subtasks.

After `calculation.py` of MME's evaluation tool (Fu et al., 2023, arXiv 2306.13394): each picture has two questions, and
a subtask's score is 100 times its accuracy plus 100 times the share of its pictures whose two answers are right, so 200
at most. Perception is the sum over ten subtasks (2,000 at most), cognition that over four (800). An answer that says
neither yes nor no is wrong.

Two rules say what an answer means:

- `-official`, the tool's: "yes" if "yes" is in the first four characters of the answer in lower case, else "no" if "no"
  is ("know" is one, "I say yes" is neither);
- the default: `visiglot.evaluate.metrics.pope.native_yes_no`, in the answer's language.

Rows must have the facts "category" (the subtask), "index" (of the picture, over all subtasks) and "index_rows" (how
many questions the picture has: 2). A picture of which a question is missing, failed or cut off is undetermined. A sum
is over the subtasks that there are rows of: with a limit, of fewer questions, and with a part of the subtasks of less
than the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from visiglot.errors import EvaluationError
from visiglot.evaluate.metrics import METRICS, Array, Metric, Statistics, always, answer_and_references
from visiglot.evaluate.metrics.folded import is_whole, questions
from visiglot.evaluate.metrics.pope import Rule, Said, gold_yes_no, native_yes_no
from visiglot.types import Prediction

PERCEPTION = (
    "existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork", "OCR",
)  # fmt: skip
COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")
SUBTASKS = (*PERCEPTION, *COGNITION)
BEGINNING = 4
"""Characters of an answer in which the evaluation tool looks."""
COUNTS = 4
"""Statistics of a subtask: right answers, questions, pictures with all answers right, pictures."""


def mme_yes_no(text: str, language: str) -> Said | None:
    """The evaluation tool's rule, English in all languages."""
    answer = text.lower()
    beginning = answer if answer in ("yes", "no") else answer[:BEGINNING]
    if "yes" in beginning:
        return "yes"
    return "no" if "no" in beginning else None


def counts(rows: Sequence[Prediction], language: str, rule: Rule) -> Statistics:
    """A unit for each picture: [U, 4 * subtasks], see COUNTS.

    Raises:
        EvaluationError: a row's subtask isn't MME's.
    """
    found, groups, incomplete = [], [], 0
    for number, asked in questions(rows).items():
        if not is_whole(asked):
            incomplete += 1
            continue
        right = [rule(answer_and_references(row)[0], language) == gold_yes_no(row) for row in asked]
        unit = np.zeros(COUNTS * len(SUBTASKS))
        start = COUNTS * _subtask(asked[0])
        unit[start : start + COUNTS] = sum(right), len(right), all(right), 1
        found.append(unit)
        groups.append(asked[0].group or str(number))
    table: Array = np.stack(found) if found else np.zeros((0, COUNTS * len(SUBTASKS)))
    return Statistics(table, tuple(groups), incomplete)


def _subtask(row: Prediction) -> int:
    name = row.facts.get("category", "")
    if name not in SUBTASKS:
        raise EvaluationError(
            f"{row.benchmark}, {row.language}: row {row.id!r} has no subtask of MME in its fact `category`, "
            f"found {name!r}",
            hint=f"It must be one of {', '.join(SUBTASKS)}.",
        )
    return SUBTASKS.index(name)


def points(sums: Array) -> Array:
    """[..., 4 * subtasks] -> [..., subtasks] points of each; NaN where there is no picture of it."""
    right, asked, both, pictures = np.moveaxis(sums.reshape(*sums.shape[:-1], len(SUBTASKS), COUNTS), -1, 0)
    values: Array = np.full(right.shape, np.nan)
    there = pictures > 0
    values[there] = 100 * right[there] / asked[there] + 100 * both[there] / pictures[there]
    return values


def total(sums: Array) -> Array:
    """[..., 4 * subtasks] -> [...] the sum of the points of the subtasks that there are; NaN without any."""
    each = points(sums)
    there = ~np.isnan(each)
    values: Array = np.where(there.any(axis=-1), np.where(there, each, 0).sum(axis=-1), np.nan)
    return values


def accuracy(sums: Array) -> Array:
    """Share of right answers, over all subtasks."""
    return _share(sums, 0, 1)


def accuracy_plus(sums: Array) -> Array:
    """Share of pictures with all answers right, over all subtasks."""
    return _share(sums, 2, 3)


def _share(sums: Array, part: int, whole: int) -> Array:
    some, all_of_it = (sums[..., place::COUNTS].sum(axis=-1) for place in (part, whole))
    values: Array = np.full(some.shape, np.nan)
    np.divide(some, all_of_it, out=values, where=all_of_it > 0)
    return values


RULES: dict[str, tuple[Rule, str, str]] = {
    "": (native_yes_no, "yes-no-1", "by the first word for yes or no in the language"),
    "-official": (mme_yes_no, "mme-official", "by MME's own rule: an English yes or no in the first four characters"),
}
"""Ending of a metric's name -> rule, its name as a tokenisation, its description."""


_SHARES: dict[str, tuple[Callable[[Array], Array], str]] = {
    "mme-accuracy": (accuracy, "Share of right answers"),
    "mme-accuracy-plus": (accuracy_plus, "Share of pictures with both answers right"),
}
for _ending, (_rule, _named, _how) in RULES.items():
    METRICS.add(
        f"mme-score{_ending}",
        Metric(
            name=f"mme-score{_ending}",
            about="Points, up to 200 for each subtask that there is: 100 times its accuracy and 100 times its share of "
            f"pictures with both answers right, {_how}.",
            measure=partial(counts, rule=_rule),
            reduce=total,
            tokenisation=always(_named),
            percent=False,
            maximum=None,
        ),
    )
    for _name, (_reduce, _what) in _SHARES.items():
        METRICS.add(
            f"{_name}{_ending}",
            Metric(
                name=f"{_name}{_ending}",
                about=f"{_what}, {_how}.",
                measure=partial(counts, rule=_rule),
                reduce=_reduce,
                tokenisation=always(_named),
            ),
        )

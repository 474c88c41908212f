"""What a model was trained on, as far as it groups the languages of a benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from visiglot.evaluate.benchmark import BenchmarkData

WITH_PICTURES = "trained with pictures"
NEVER_PICTURED = "never pictured"


@dataclass(frozen=True, slots=True)
class TrainedLanguages:
    """The languages that a model knows, by FLORES-200 code.

    Args:
        known: those on its card, with pictures or from text alone; empty where it has none.
        pictured: those in which it was trained on pictures, in any of its stages; None where nobody knows.
    """

    known: tuple[str, ...] = ()
    pictured: tuple[str, ...] | None = None


def groups_of(data: BenchmarkData, trained: TrainedLanguages) -> Mapping[str, tuple[str, ...]]:
    """The groups of languages over which a report averages.

    Whether a language was pictured is a fact of the model. Where it is known it makes the groups. Otherwise, and for a
    language model that never saw a picture, they are the benchmark's own, and hold only languages on the model's card
    where there is one: what a benchmark's data would train with says nothing of a language that the model wasn't
    trained in.
    """
    if trained.pictured:
        return {
            WITH_PICTURES: tuple(code for code in data.languages if code in trained.pictured),
            NEVER_PICTURED: tuple(code for code in data.languages if code not in trained.pictured),
        }
    if not trained.known:
        return data.language_groups
    return {
        name: tuple(code for code in codes if code in trained.known) for name, codes in data.language_groups.items()
    }

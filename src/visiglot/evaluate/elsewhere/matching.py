"""Foreign answers -> predictions: each to the example that it answers, none left over on either side."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from visiglot.errors import EvaluationError
from visiglot.evaluate.benchmark import Benchmark, BenchmarkData
from visiglot.evaluate.completeness import some
from visiglot.evaluate.elsewhere.forms import Given
from visiglot.evaluate.pictures import image_name
from visiglot.types import Example, Prediction

THEIRS = "theirs"
"""The prompt set of answers to prompts that nobody here knows."""


ELSEWHERE = "elsewhere"
"""In place of a hash of settings that nobody here knows."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which questions a foreign file is said to answer.

    Args:
        language: FLORES-200 code.
        prompt_set: one of the benchmark's, where the user says that its prompts were asked; else None.
        limit: the first so many examples.
        model: what to call who answered, where the rows don't say.
    """

    benchmark: Benchmark
    data: BenchmarkData
    language: str
    split: str
    prompt_set: str | None
    limit: int | None
    model: str


def match(given: Sequence[Given], wanted: Wanted) -> list[Prediction]:
    """A prediction for each example, in the benchmark's order.

    Answers are matched by an id: an example's own, its last part ("12" of "popular/12"), or its picture's name with or
    without ending, where these tell the examples apart. Answers that have none are matched by their place, if each
    one's right answer is among its example's references.

    Raises:
        EvaluationError: there is no example in the language; an answer is of no example, two are of one, or an example
            has none; or answers have places only and their right answers are others.
    """
    benchmark = wanted.benchmark
    first = wanted.prompt_set or benchmark.prompt_sets[0]
    where = f"{benchmark.name}, split {wanted.split}, {wanted.language}"
    examples: list[Example] = []
    if wanted.language in wanted.data.languages:
        examples += wanted.data.examples(wanted.language, split=wanted.split, prompt_set=first, limit=wanted.limit)
    if not examples:
        raise EvaluationError(
            f"{where}: no examples", hint=f"It has {', '.join(wanted.data.languages) or 'none'}; name one of them."
        )
    places = _places(given, examples, where)
    twice = [place for place, count in Counter(places).items() if count > 1]
    if twice:
        raise EvaluationError(
            f"{where}: {len(twice):,} of {len(examples):,} questions have several answers: "
            f"{some([examples[place].id for place in twice])}",
            hint="Keep one answer to each question.",
        )
    answers = dict(zip(places, given))
    if lacking := [example.id for place, example in enumerate(examples) if place not in answers]:
        raise EvaluationError(
            f"{where}: {len(lacking):,} of {len(examples):,} questions have no answer: {some(lacking)}",
            hint="Were only the first ones asked? Then say how many with --limit.",
        )
    return [_prediction(example, answers[place], wanted) for place, example in enumerate(examples)]


def _places(given: Sequence[Given], examples: Sequence[Example], where: str) -> list[int]:
    """The place of each answer's example, by the field whose ids are best known, or as the answers say it."""
    known = _names(examples)
    fields = list(dict.fromkeys(name for one in given for name in one.ids))
    unknown = {name: [one.ids.get(name, "") for one in given if one.ids.get(name) not in known] for name in fields}
    name = min(fields, key=lambda one: len(unknown[one]), default="")  # of equals the first
    if not name or (len(unknown[name]) == len(given) and given[0].place is not None):
        return _by_place(given, examples, where)
    if unknown[name]:
        raise EvaluationError(
            f"{where}: {len(unknown[name]):,} of {len(given):,} answers are of no question; their `{name}` is "
            f"{some(unknown[name])}",
            hint=f"The benchmark calls its questions {some([example.id for example in examples])}. "
            "Were these made with another split, language or --limit?",
        )
    return [known[one.ids[name]] for one in given]


def _names(examples: Sequence[Example]) -> dict[str, int]:
    """What tells an example from all others -> its place. Its id comes before whatever else it may be called."""
    ids = {example.id: place for place, example in enumerate(examples)}
    counted: Counter[str] = Counter()
    places: dict[str, int] = {}
    for place, example in enumerate(examples):
        for name in {example.id.rpartition("/")[2], *_picture_names(example)}:
            counted[name] += 1
            places[name] = place
    return {**{name: place for name, place in places.items() if counted[name] == 1}, **ids}


def _picture_names(example: Example) -> Iterable[str]:
    if len(example.images) != 1:
        return ()
    path = PurePosixPath(example.images[0].name)
    return (path.name, path.stem)


def _by_place(given: Sequence[Given], examples: Sequence[Example], where: str) -> list[int]:
    """The places that the answers say themselves, held against their right answers."""
    strange = [one for one in given if one.place is None or not _is_of(one, examples)]
    if strange:
        raise EvaluationError(
            f"{where}: {len(strange):,} of {len(given):,} answers can't be of the question at their place, since there "
            f"is none or its references are others; the first is {strange[0].where}",
            hint="These rows have no ids and count the rows of a data set, whose order isn't that of the benchmark. "
            "Ask with the benchmark here: `visiglot evaluate MODEL`.",
        )
    return [one.place for one in given if one.place is not None]


def _is_of(one: Given, examples: Sequence[Example]) -> bool:
    assert one.place is not None
    if not 0 <= one.place < len(examples) or not one.targets:
        return False
    references = {_plain(reference) for reference in examples[one.place].references}
    return any(_plain(target) in references for target in one.targets)


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip().casefold()


def _prediction(example: Example, given: Given, wanted: Wanted) -> Prediction:
    return Prediction(
        id=example.id,
        image=image_name(example.images),
        language=wanted.language,
        prompt=given.prompt or example.facts.get("question", ""),
        text=given.text,
        error=given.error,
        benchmark=wanted.benchmark.name,
        split=wanted.split,
        prompt_set=wanted.prompt_set or THEIRS,
        references=example.references,
        model=given.model or wanted.model,
        settings_hash=ELSEWHERE,
        task=example.task,
        group=example.group,
        facts={key: example.facts[key] for key in wanted.benchmark.facts},
        choices=example.choices,
    )

"""What a report shows of the prediction files: answers about pictures that nobody picked, and what failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from visiglot.evaluate.metrics import METRICS, Metric
from visiglot.evaluate.metrics.exact import is_exact
from visiglot.evaluate.pictures import picture_file, sampled
from visiglot.evaluate.report.numbers import Report
from visiglot.evaluate.summary import Evaluation, by_script
from visiglot.languages import ENGLISH, language
from visiglot.sheet import Card, Page, Status, Text
from visiglot.types import Prediction

CARDS = 8
TEXTS = 10
"""Questions about a picture, of all languages together."""
FAILURES = 20
SHOWN = 400
"""Characters of an answer or a question; what is longer is cut."""

Name = tuple[str, str]
"""Benchmark and prompt set."""


@dataclass(frozen=True)
class Picked:
    """What is shown of an evaluation.

    Args:
        rows: with the sampled pictures, by benchmark and prompt set.
        failures: the first of them; `failed`: how many there are.
    """

    evaluation: Evaluation
    rows: Mapping[Name, Sequence[Prediction]]
    failures: Sequence[Prediction]
    failed: int


def pick(evaluation: Evaluation, controls: set[Name]) -> Picked:
    """Read an evaluation's prediction files; of controls no answers are shown."""
    by_picture: dict[Name, dict[str, list[Prediction]]] = {}
    failures: list[Prediction] = []
    failed = 0
    for row in evaluation.predictions():
        if row.error is not None:
            failed += 1
            if len(failures) < FAILURES:
                failures.append(row)
        name = (row.benchmark, row.prompt_set)
        if name not in controls and row.image:
            by_picture.setdefault(name, {}).setdefault(row.image, []).append(row)
    rows: dict[Name, list[Prediction]] = {}
    for name, pictures in by_picture.items():
        kept = [image for image in sampled(list(pictures)) if picture_file(evaluation.folder, image).is_file()]
        rows[name] = [row for image in kept[:CARDS] for row in pictures[image]]
    return Picked(evaluation, rows, failures, failed)


def add_samples(page: Page, report: Report, picked: Sequence[Picked]) -> None:
    """A section of cards for each benchmark; the models' answers to a question stand below each other."""
    for name in dict.fromkeys((result.key.benchmark, result.key.prompt_set) for result in report.results):
        if not any(one.rows.get(name) for one in picked):
            continue
        page.section(f"Samples: {name[0]} ({name[1]})")
        page.paragraph(
            "Pictures chosen by a hash of their names, before anything was scored. ✓ and ✗: right and wrong by the "
            "main metric, where it judges single answers; a reference stands below an answer that isn't right."
        )
        page.cards(_cards(name, picked, _judges(report, name)))


Judge = Callable[[Prediction], Status | None]


def _judges(report: Report, name: Name) -> dict[str, Judge]:
    """By task, what its main metric says of an answer."""
    mains = [result.key for result in report.results if result.main]
    return {
        key.task: _judge(METRICS.get(key.metric) if key.metric in METRICS else None)
        for key in mains
        if (key.benchmark, key.prompt_set) == name
    }


def _judge(metric: Metric | None) -> Judge:
    def status(row: Prediction) -> Status | None:
        if row.text is None:
            return "error"
        if not row.references:
            return None
        if is_exact(row.text, row.references):
            return "right"
        if metric is None or not metric.percent or metric.maximum != 1.0 or not metric.higher_is_better:
            return None
        found = metric.measure([row], row.language)
        value = float(metric.reduce(found.values.sum(axis=0))) if len(found.values) else None
        return "right" if value == 1.0 else "wrong" if value == 0.0 else None

    return status


def _cards(name: Name, picked: Sequence[Picked], judges: Mapping[str, Judge]) -> list[Card]:
    """A card for each picture that any model was shown."""
    rows = [row for one in picked for row in one.rows.get(name, ())]
    questions = {(row.language, row.prompt) for row in rows}
    asked = len(questions) > len({code for code, _ in questions})
    by_image: dict[str, list[tuple[Prediction, str]]] = {}
    folders: dict[str, Path] = {}
    for one in picked:
        label = one.evaluation.label if len(picked) > 1 else ""
        for row in one.rows.get(name, ()):
            by_image.setdefault(row.image, []).append((row, label))
            folders.setdefault(row.image, one.evaluation.folder)
    cards = []
    for image in sampled(list(by_image), CARDS):
        answers = by_image[image]
        questions_in = Counter(code for code, _ in {(row.language, row.id) for row, _ in answers})
        most = max(1, TEXTS // max(questions_in.values()))
        codes = _some_languages({row.language for row in rows})[:most]
        chosen = [(row, label) for row, label in answers if row.language in codes]
        chosen.sort(key=lambda one: (codes.index(one[0].language), one[0].id))
        english = (row.references[0] for row, _ in chosen if row.language == ENGLISH and row.references)
        texts = [_text(row, label, judges, asked=asked) for row, label in chosen]
        picture = picture_file(folders[image], image).read_bytes()
        cards.append(Card(picture, next(english, image), tuple(texts[: TEXTS * len(picked)]), caption=image))
    return cards


def _some_languages(codes: set[str]) -> list[str]:
    """English first, then a language of each script, the scripts with most languages first, round and round; within a
    script those that most readers know."""
    scripts: dict[str, list[str]] = {}
    for code in sorted(codes - {ENGLISH}, key=lambda code: (-(language(code).tier or 0), code)):
        scripts.setdefault(by_script(code), []).append(code)
    queues = sorted(scripts.values(), key=lambda queue: (-len(queue), queue))
    chosen = [ENGLISH] if ENGLISH in codes else []
    for turn in range(max(map(len, queues), default=0)):
        chosen += [queue[turn] for queue in queues if turn < len(queue)]
    return chosen


def _text(row: Prediction, label: str, judges: Mapping[str, Judge], *, asked: bool) -> Text:
    status = judges[row.task](row) if row.task in judges else None
    question = _cut(row.prompt) if asked else ""
    if row.text is None:
        return Text(row.language, "", "; ".join(filter(None, (label, row.error))), "error", asked=question)
    expected = row.references[0] if status != "right" and row.references else ""
    return Text(row.language, _cut(row.text), label, status, _cut(expected), asked=question)


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def add_failures(page: Page, picked: Sequence[Picked]) -> None:
    """What became no answer, with the reason; nothing where all went well."""
    if not any(one.failed for one in picked):
        return
    page.section("Failed answers, left out of every value")
    for one in picked:
        if one.failed:
            more = f"; the first {len(one.failures)}" if one.failed > len(one.failures) else ""
            page.table(
                ("id", "benchmark", "language", "picture", "why"),
                [(r.id, r.benchmark, language(r.language).name, r.image, r.error or "") for r in one.failures],
                caption=f"{one.evaluation.label}: {one.failed:,} failed{more}",
            )

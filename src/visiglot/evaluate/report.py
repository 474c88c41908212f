"""`report.html` and `report.md` from evaluation folders alone: no model, no data set."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote, urlsplit

from visiglot.errors import EvaluationError
from visiglot.evaluate.headline import add_headline, controls_of
from visiglot.evaluate.metrics.exact import is_exact
from visiglot.evaluate.pictures import picture_file, sampled
from visiglot.evaluate.predictions import FOLDER
from visiglot.evaluate.summary import (
    Evaluation,
    Key,
    Side,
    best_first,
    by_script,
    by_tier,
    is_percent,
    language_groups,
    load_evaluations,
    main_keys,
    mean_value,
    means_by,
    tables,
    title_of,
    worst,
)
from visiglot.files import write_text
from visiglot.languages import ENGLISH, language
from visiglot.sheet import Bar, Card, Link, Measure, Page, Status, Text, format_value, write_page
from visiglot.types import Prediction, Score

SAMPLE_CARDS = 8
SAMPLE_LANGUAGES = 10
FAILURES = 20
URL_SIGNS = "%/:?#[]@!$&'()*+,;=~"
"""What may stand in a URL as it is (RFC 3986: reserved signs, and the sign of what is encoded already)."""


def build_report(
    folders: Sequence[Path],
    out: Path,
    *,
    title: str = "How well it speaks",
    see: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Path, Path]:
    """Write `report.html` and `report.md` into `out`.

    Args:
        folders: scored evaluation folders; several stand side by side.
        see: title -> http(s) URL or path of another page, which the report leads to.

    Returns:
        The paths of both files.

    Raises:
        EvaluationError: a folder isn't scored, a file in it is broken, or a page to see isn't there.
        VisiglotError: a file can't be written.
    """
    assert folders, "a report needs a folder"
    links = [Link(name, link_target(target, out)) for name, target in see.items()]
    page = report_page(load_evaluations(folders), title=title, see=links)
    html, markdown = out / "report.html", out / "report.md"
    write_page(page, html)
    write_text(page.markdown(), markdown)
    return html, markdown


def link_target(target: str, out: Path) -> str:
    """What a page in `out` must link to: an http(s) URL as it is, a path relative to `out`.

    Raises:
        EvaluationError: it is a URL of another kind, or there is no such file.
    """
    scheme = urlsplit(target).scheme
    if scheme in ("http", "https"):
        return quote(target, safe=URL_SIGNS)
    path = Path(target)
    if not path.exists():
        raise EvaluationError(
            f"the report can't lead to {target!r}: there is no such file",
            hint="Give the path of a page that is there, or a URL that begins with http:// or https://.",
        )
    return quote(Path(os.path.relpath(path.resolve(), out.resolve())).as_posix())


def report_page(evaluations: Sequence[Evaluation], *, title: str, see: Sequence[Link] = ()) -> Page:
    """The report as a page. Reads the prediction files for samples and failures."""
    sides = [(evaluation, tables(evaluation)) for evaluation in evaluations]
    keys = list(dict.fromkeys(key for _, found in sides for key in found))
    models = " and ".join(evaluation.label for evaluation in evaluations)
    languages = {code for _, found in sides for scores in found.values() for code in scores}
    page = Page(title, f"{models}, in {len(languages)} language{'' if len(languages) == 1 else 's'}.")
    if see:
        page.links("See also", see)
    add_headline(page, sides, keys)
    controls = controls_of(sides)
    for key in main_keys(key for key in keys if (key.benchmark, key.prompt_set) not in controls):
        _details(page, sides, key)
    picked = [_gather(evaluation, controls) for evaluation in evaluations]
    _samples(page, evaluations, [s for s, _, _ in picked], dict.fromkeys((k.benchmark, k.prompt_set) for k in keys))
    _failures(page, evaluations, [(failures, count) for _, failures, count in picked])
    for evaluation in evaluations:
        _again(page, evaluation)
    return page


def _details(page: Page, sides: Sequence[Side], key: Key) -> None:
    """Bars, gaps, means by script and tier, and the worst languages of one benchmark's main metric."""
    here = [(evaluation, found[key]) for evaluation, found in sides if key in found]
    page.section(title_of(key, [k for _, found in sides for k in found]))
    row = next((r for e, _ in here if (r := e.benchmark(key.benchmark, key.prompt_set)) is not None), None)
    if row is not None:
        page.paragraph(row.about)
    percent = is_percent(key.metric)
    first = here[0][1]
    codes = [*best_first(first, key.metric), *(c for _, scores in here[1:] for c in scores if c not in first)]
    special = list(row.language_groups.items())[1:] if row is not None else []
    bars = []
    for code in dict.fromkeys(codes):
        measures = tuple(
            Measure(scores[code].value, scores[code].low, scores[code].high, evaluation.label)
            for evaluation, scores in here
            if code in scores
        )
        note = next((group for group, members in special if code in members), "")
        bars.append(Bar(language(code).name, measures, language=code, note=note))
    page.bars(bars, caption=f"{key.metric} by language ({key.tokenisation})", percent=percent)
    _gaps(page, here, key, percent=percent)
    for kind, heading in ((by_script, "script"), (by_tier, "resource class (Joshi et al., 2020; 5 has most)")):
        _means(page, here, kind_rows=[means_by(scores, kind) for _, scores in here], heading=heading, percent=percent)
    columns = ("language", *(("model",) if len(here) > 1 else ()), key.metric, "interval", "answers", "failed")
    rows = [
        (
            language(score.language).name,
            *((evaluation.label,) if len(here) > 1 else ()),
            format_value(score.value, percent=percent),
            f"{format_value(score.low, percent=percent)} to {format_value(score.high, percent=percent)}",
            f"{score.n:,}",
            f"{score.missing:,}",
        )
        for evaluation, scores in here
        for score in worst(scores, key.metric)
    ]
    page.table(columns, rows, caption="The five worst languages", numeric=range(len(columns) - 4, len(columns)))


def _gaps(page: Page, here: Sequence[tuple[Evaluation, Mapping[str, Score]]], key: Key, *, percent: bool) -> None:
    rows = []
    for evaluation, scores in here:
        if ENGLISH not in scores:
            continue
        english = scores[ENGLISH].value
        for name, codes in language_groups(scores, evaluation.benchmark(key.benchmark, key.prompt_set)).items():
            mean = mean_value(scores[code] for code in codes)
            cells = (english, mean, english - mean)
            rows.append(
                (
                    name,
                    *((evaluation.label,) if len(here) > 1 else ()),
                    *(format_value(cell, percent=percent) for cell in cells),
                )
            )
    if rows:
        columns = ("languages", *(("model",) if len(here) > 1 else ()), "English", "their mean", "gap")
        page.table(columns, rows, caption="The English gap", numeric=range(len(columns) - 3, len(columns)))


def _means(
    page: Page,
    here: Sequence[tuple[Evaluation, Mapping[str, Score]]],
    *,
    kind_rows: Sequence[Sequence[tuple[str, tuple[str, ...], float]]],
    heading: str,
    percent: bool,
) -> None:
    classes = dict.fromkeys(name for rows in kind_rows for name, _, _ in rows)
    table = []
    for name in classes:
        found = [next(((codes, mean) for n, codes, mean in rows if n == name), None) for rows in kind_rows]
        count = max(len(one[0]) for one in found if one is not None)
        table.append(
            (name, str(count), *("–" if one is None else format_value(one[1], percent=percent) for one in found))
        )
    columns = (heading, "languages", *(evaluation.label if len(here) > 1 else "mean" for evaluation, _ in here))
    page.table(columns, table, caption=f"Means by {heading}", numeric=range(1, len(columns)))


Samples = dict[tuple[str, str], list[Prediction]]


def _gather(evaluation: Evaluation, controls: set[tuple[str, str]]) -> tuple[Samples, list[Prediction], int]:
    """(rows with the sampled pictures, by benchmark and prompt set; the first failures; how many failures)."""
    by_picture: dict[tuple[str, str], dict[str, list[Prediction]]] = {}
    failures: list[Prediction] = []
    count = 0
    for row in evaluation.predictions():
        if row.error is not None:
            count += 1
            if len(failures) < FAILURES:
                failures.append(row)
        name = (row.benchmark, row.prompt_set)
        if name not in controls and row.image:
            by_picture.setdefault(name, {}).setdefault(row.image, []).append(row)
    samples: Samples = {}
    for name, pictures in by_picture.items():
        kept = [image for image in sampled(list(pictures)) if picture_file(evaluation.folder, image).is_file()]
        samples[name] = [row for image in kept[:SAMPLE_CARDS] for row in pictures[image]]
    return samples, failures, count


def _samples(
    page: Page, evaluations: Sequence[Evaluation], picked: Sequence[Samples], order: Iterable[tuple[str, str]]
) -> None:
    for name in order:
        if not any(samples.get(name) for samples in picked):
            continue
        page.section(f"Samples: {name[0]} ({name[1]})")
        page.paragraph(
            "Pictures chosen by a hash of their names, before anything was scored. ✓: equal to a reference; "
            "otherwise a reference stands below."
        )
        for evaluation, samples in zip(evaluations, picked):
            rows = samples.get(name, [])
            if not rows:
                continue
            if len(evaluations) > 1:
                page.section(evaluation.label, level=3)
            asked = {(row.language, row.prompt) for row in rows}
            several = len(asked) > len({code for code, _ in asked})
            codes = _some_languages({code for code, _ in asked})[: SAMPLE_LANGUAGES // (2 if several else 1)]
            by_image: dict[str, list[Prediction]] = {}
            for row in rows:
                if row.language in codes:
                    by_image.setdefault(row.image, []).append(row)
            page.cards(
                [_card(evaluation.folder, image, answers, codes, several) for image, answers in by_image.items()]
            )


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


def _card(folder: Path, image: str, rows: Sequence[Prediction], codes: Sequence[str], prompts: bool) -> Card:
    """The answers about a picture; with their prompts where these differ within a language."""
    ordered = sorted(rows, key=lambda row: (codes.index(row.language), row.id))
    english = next((row.references[0] for row in ordered if row.language == ENGLISH and row.references), image)
    return Card(
        picture_file(folder, image).read_bytes(), english, tuple(_text(row, prompts) for row in ordered), caption=image
    )


def _text(row: Prediction, prompt: bool) -> Text:
    note = row.prompt if prompt else ""
    if row.text is None:
        return Text(row.language, "", note="; ".join(filter(None, (note, row.error))), status="error")
    right = is_exact(row.text, row.references)
    status: Status | None = None if not row.references else "right" if right else "wrong"
    expected = row.references[0] if status == "wrong" else ""
    return Text(row.language, row.text, note, status, expected)


def _failures(page: Page, evaluations: Sequence[Evaluation], found: Sequence[tuple[Sequence[Prediction], int]]) -> None:
    if not any(count for _, count in found):
        return
    page.section("Failed answers, left out of every value")
    for evaluation, (rows, count) in zip(evaluations, found):
        if count:
            more = f"; the first {len(rows)}" if count > len(rows) else ""
            page.table(
                ("id", "benchmark", "language", "picture", "why"),
                [(r.id, r.benchmark, language(r.language).name, r.image, r.error or "") for r in rows],
                caption=f"{evaluation.label}: {count:,} failed{more}",
            )


def _again(page: Page, evaluation: Evaluation) -> None:
    page.section(f"How to make it again: {evaluation.label}")
    run = evaluation.run
    if run is None:
        page.paragraph(
            f"{evaluation.folder} has no run.json: its predictions were made elsewhere, with what isn't known here."
        )
        return
    if run.command:
        page.code(shlex.join(run.command))
    facts = [
        ("model", run.model),
        ("weights, vocabulary, template (SHA-256)", run.model_hash),
        ("recipe", run.recipe or "not known"),
        ("commit", run.commit or "not a source checkout"),
        ("device", run.device),
        *((f"version of {name}", value) for name, value in run.versions.items()),
        ("predictions", f"{evaluation.folder.name}/{FOLDER}"),
    ]
    page.table(("what", "value"), facts, caption="What made it")
    page.table(
        ("benchmark", "split", "data", "generation", "licence", "translation", "cite"),
        [
            (
                name,
                row.split,
                row.revision,
                ", ".join(f"{key} {value}" for key, value in row.settings.items()),
                row.licence,
                row.translation,
                row.citation,
            )
            for name, row in run.benchmarks.items()
        ],
        caption="What was asked",
    )

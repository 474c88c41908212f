"""`report.html`, `report.md` and `report.json` from evaluation folders alone: no model, no data set."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from visiglot.errors import EvaluationError
from visiglot.evaluate.metrics import DEFAULTS, ScoreSettings
from visiglot.evaluate.report.again import add_again
from visiglot.evaluate.report.details import add_details
from visiglot.evaluate.report.headline import add_headline
from visiglot.evaluate.report.modality_gap import add_modality_gap
from visiglot.evaluate.report.numbers import Report, collect
from visiglot.evaluate.report.routing import add_routing
from visiglot.evaluate.report.samples import add_failures, add_samples, pick
from visiglot.evaluate.report.values import report_json
from visiglot.evaluate.summary import Evaluation, load_evaluations
from visiglot.files import write_text
from visiglot.sheet import Link, Page, write_page

URL_SIGNS = "%/:?#[]@!$&'()*+,;=~"
"""What may stand in a URL as it is (RFC 3986: reserved signs, and the sign of what is encoded already)."""


class Written(NamedTuple):
    """The files of a report: a page, the same as Markdown, and its numbers."""

    html: Path
    markdown: Path
    json: Path


def build_report(
    folders: Sequence[Path],
    out: Path,
    *,
    title: str = "How well it speaks",
    see: Mapping[str, str] = MappingProxyType({}),
    settings: ScoreSettings = DEFAULTS,
) -> Written:
    """Write `report.html`, `report.md` and `report.json` into `out`.

    Args:
        folders: scored evaluation folders; several stand side by side.
        see: title -> http(s) URL or path of another page, which the report leads to.
        settings: that the folders were scored with; the differences between them are measured with the same.

    Raises:
        EvaluationError: a folder isn't scored, a file in it is broken, or a page to see isn't there.
        VisiglotError: a file can't be written.
    """
    assert folders, "a report needs a folder"
    links = [Link(name, link_target(target, out)) for name, target in see.items()]
    evaluations = load_evaluations(folders)
    report = collect(evaluations, title, settings)
    page = report_page(report, evaluations, see=links)
    written = Written(*(out / f"report.{ending}" for ending in ("html", "md", "json")))
    write_page(page, written.html)
    write_text(page.markdown(), written.markdown)
    write_text(report_json(report), written.json)
    return written


def report_page(report: Report, evaluations: Sequence[Evaluation], *, see: Sequence[Link] = ()) -> Page:
    """The report as a page. Reads the prediction files for samples and failures."""
    models = " and ".join(model.label for model in report.models)
    languages = len(report.languages)
    page = Page(report.title, f"{models}, in {languages} language{'' if languages == 1 else 's'}.")
    if see:
        page.links("See also", see)
    add_headline(page, report)
    for result in report.shown():
        add_details(page, report, result)
    add_routing(page, evaluations)
    add_modality_gap(page, evaluations)
    controls = {(one.key.benchmark, one.key.prompt_set) for one in report.results if one.control_of}
    picked = [pick(evaluation, controls) for evaluation in evaluations]
    add_samples(page, report, picked)
    add_failures(page, picked)
    for model in report.models:
        add_again(page, model)
    return page


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

"""What a translation came to: counts by language and reason, and samples of what was kept and what was rejected."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from visiglot.languages import language
from visiglot.sheet import Card, Page, Text, write_page
from visiglot.translate.folder import ABOUT, LEDGER, REPORT, Folder
from visiglot.translate.labels import REASONS
from visiglot.translate.tally import INCOMPLETE, TRANSLATED, Sample, Tally, merged

TEXT_SAMPLES = 2
"""Samples of each fate in a language that the report as text shows."""


def write_report(folder: Folder, tallies: Sequence[Tally]) -> None:
    """Write report.html into the folder. Raises VisiglotError: it can't be written."""
    write_page(build_page(folder, tallies), folder.root / REPORT)


def report_text(folder: Folder, tallies: Sequence[Tally]) -> str:
    """The report as Markdown, with fewer samples, for terminals: right-to-left texts don't disturb their lines."""
    return build_page(
        folder, [replace(one, samples=tuple(map(_isolated, _first(one.samples)))) for one in tallies]
    ).markdown()


def build_page(folder: Folder, tallies: Sequence[Tally]) -> Page:
    """The report. Raises TranslationError: the folder is no translation's."""
    about = folder.about() or {}
    settings = about["settings"]
    by_language = merged(replace(one, job="") for one in tallies)
    asked = sum(sum(job["examples"].values()) for job in settings["jobs"])
    there = sum(one.examples for one in by_language)
    out = sum(one.left_out for one in by_language)
    page = Page(
        f"Translated: {', '.join(job['name'] for job in settings['jobs'])}",
        f"{there:,} of {asked:,} examples are there and {out:,} were rejected"
        + ("." if about.get("finished") else "; the rest isn't done yet."),
    )
    licence = settings["engine"]["licence"] or "none of its own"
    page.paragraph(f"Engine: {settings['engine'].get('name', '')}, whose output is under the licence: {licence}.")
    if len({one.job for one in tallies}) > 1:
        jobs = merged(replace(one, language="") for one in tallies)
        _counts(page, "source", [(one.job, one) for one in jobs])
    rows = [(f"{language(one.language).name} ({one.language})", one) for one in by_language]
    _counts(page, "language", rows)
    _labels(page, [(name, one) for name, one in rows if one.labels])
    source = {job["name"]: job["language"] for job in settings["jobs"]}
    shown = [one for one in tallies if one.samples]
    if shown:
        page.section("Samples")
        page.paragraph(f"{LEDGER} names every example that was rejected, and {ABOUT} has all settings.")
    for one in shown:
        page.section(" · ".join([language(one.language).name, *([one.job] if len(source) > 1 else [])]), level=3)
        page.cards([_card(sample, source[one.job]) for sample in one.samples])
    return page


def _counts(page: Page, what: str, rows: Sequence[tuple[str, Tally]]) -> None:
    reasons = list(dict.fromkeys(reason for _, one in rows for reason in one.reasons))
    page.table(
        [what, "kept as they are", "translated", "rejected", "share", *reasons],
        [
            [
                name,
                f"{one.kept:,}",
                f"{one.translated:,}",
                f"{one.left_out:,}",
                _share(one.left_out, one.translated),
                *(f"{one.reasons.get(reason, 0):,}" for reason in reasons),
            ]
            for name, one in rows
        ],
        caption=f"Examples by {what}; how many were rejected, and for what",
        numeric=range(1, 5 + len(reasons)),
    )


def _labels(page: Page, rows: Sequence[tuple[str, Tally]]) -> None:
    """A table of labels by language, where there are any."""
    reasons = [one for one in (*REASONS, INCOMPLETE) if any(one in tally.labels for _, tally in rows)]
    if not rows:
        return
    page.table(
        ["language", TRANSLATED, "not", "share", *reasons],
        [
            [
                name,
                f"{one.labels.get(TRANSLATED, 0):,}",
                f"{(dropped := sum(one.labels.get(reason, 0) for reason in reasons)):,}",
                _share(dropped, one.labels.get(TRANSLATED, 0)),
                *(f"{one.labels.get(reason, 0):,}" for reason in reasons),
            ]
            for name, one in rows
        ],
        caption="Labels (short answers, names, choices) by language, each as often as an example has it; how many have "
        "no translation, and for what",
        numeric=range(1, 4 + len(reasons)),
    )


def _share(rejected: int, translated: int) -> str:
    return f"{rejected / (rejected + translated):.1%}" if rejected + translated else "–"


def _card(sample: Sample, source: str) -> Card:
    texts: list[Text] = []
    for original, said in sample.pairs:
        texts.append(Text(source, original))
        if sample.reason:
            note = "" if said else "(nothing)"
            note = " · ".join(filter(None, (note, sample.reason, sample.detail)))
            texts.append(Text(sample.language, said, note=note, status="error"))
        else:
            texts.append(Text(sample.language, said))
    return Card(None, sample.id, tuple(texts), caption=sample.id)


def _isolated(sample: Sample) -> Sample:
    """Its texts between U+2068 and U+2069."""
    return replace(
        sample, pairs=tuple((f"\u2068{one}\u2069", f"\u2068{other}\u2069") for one, other in sample.pairs if one)
    )


def _first(samples: Iterable[Sample]) -> tuple[Sample, ...]:
    seen: dict[str, int] = {}
    chosen = []
    for sample in samples:
        seen[sample.reason] = seen.get(sample.reason, 0) + 1
        if seen[sample.reason] <= TEXT_SAMPLES:
            chosen.append(sample)
    return tuple(chosen)

"""docs/study/<name>.md from the lines beside it: tables, what may be claimed, and the words that people wrote.

    python -m studies.page realign

What stands between the two markers is kept from the page that is there; all else is made anew.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from studies.plot import draw_study
from studies.rows import RESULTS
from studies.study import Question, Study, load_study
from studies.summary import Difference, Number, Results, difference, load_results, number
from visiglot.errors import EvaluationError, VisiglotError
from visiglot.files import write_text
from visiglot.languages import language

BEGIN, END = "<!-- plain words: begin -->", "<!-- plain words: end -->"
NO_WORDS = "Not written yet."


def write_page(study: Study, folder: Path) -> Path:
    """Write <folder>/<name>.md, and <name>.svg when anything was measured.

    Raises:
        EvaluationError: the page that is there has lost its markers, or a file is broken or can't be written.
    """
    results = load_results(study, folder)
    path = folder / f"{study.name}.md"
    words = kept_words(path)
    if results.measured:
        draw_study(study, results, folder / f"{study.name}.svg")
    write_text(page_text(study, results, words), path, error=EvaluationError)
    return path


def kept_words(path: Path) -> str:
    """What people wrote on the page between the markers.

    Raises:
        EvaluationError: the page has no markers, so that writing it anew would lose their words.
    """
    if not path.is_file():
        return NO_WORDS
    text = path.read_text(encoding="utf-8")
    _, begin, rest = text.partition(BEGIN)
    words, end, _ = rest.partition(END)
    if not begin or not end:
        raise EvaluationError(
            f"{path} has no {BEGIN} … {END}", hint="Put the markers around the words that are to stay, or move it away."
        )
    return words.strip()


def page_text(study: Study, results: Results, words: str) -> str:
    """The whole page as Markdown."""
    parts = [
        f"# {study.title}",
        study.about.strip(),
        _state(study, results),
        "## Plain words",
        f"{BEGIN}\n{words}\n{END}",
    ]
    if results.measured:
        parts += [f"![The study's numbers as a plot]({study.name}.svg)", _legend(study)]
    for question in study.questions:
        parts += _question(study, results, question)
    parts += [
        "## The arms",
        _arms(study, results),
        *_over(study, results),
        "## How it was measured",
        _how(study, results),
    ]
    return "\n\n".join(parts) + "\n"


def _state(study: Study, results: Results) -> str:
    cells = len(study.arms) * len(study.seeds)
    if not results.measured:
        return f"None of the {cells} cells is measured yet: `make study NAME={study.name}` does it."
    missing = results.planned - results.measured
    lacking = f"; {missing} are missing, and what follows is of the others" if missing else ""
    return (
        f"{results.measured} of {results.planned} cells (an arm with a seed) are measured{lacking}. This page is made "
        f"from [{study.name}.jsonl]({study.name}.jsonl) by `make study NAME={study.name}`, which first measures what "
        "is missing; only the plain words are written by hand."
    )


def _legend(study: Study) -> str:
    return (
        "Each number in the tables is a share of answers that equal CLDR's name, averaged over languages, each "
        "counting alike: the mean over seeds, below it the smallest and largest seed, and in brackets a 95 % "
        "bootstrap interval that resamples the concepts asked about (seeds and languages fixed)."
    )


# --- questions -------------------------------------------------------------------------------------------------------


def _question(study: Study, results: Results, question: Question) -> list[str]:
    parts = [f"## {question.title}", question.asks.strip()]
    columns = [study.column(title) for title in question.columns]
    found = {arm: [number(study, results.of(arm), column) for column in columns] for arm in question.arms}
    if not any(one.seeds for numbers in found.values() for one in numbers):
        return [*parts, "Not measured yet."]
    heads = [
        f"{column.title}<br>{_asked([numbers[i] for numbers in found.values()])}" for i, column in enumerate(columns)
    ]
    axis = question.axis
    rows = [
        [arm, *([f"{axis.values[i]:g}"] if axis is not None else []), str(_seeds(numbers)), *map(_cell, numbers)]
        for i, (arm, numbers) in enumerate(found.items())
    ]
    parts.append(_table(["arm", *([axis.label] if axis is not None else []), "seeds", *heads], rows))
    said = []
    for comparison in question.compare:
        column = study.column(comparison.column)
        found_difference = difference(study, results.of(comparison.first), results.of(comparison.second), column)
        said.append(f"- {sentence(comparison.first, comparison.second, column.title, found_difference)}")
    return [*parts, "\n".join(said)] if said else parts


def sentence(first: str, second: str, title: str, found: Difference) -> str:
    """What may be said about two arms, and no more."""
    one, other = found.first, found.second
    if found.verdict == "not measured":
        return f"{title}: `{first}` and `{second}` can't be compared yet, one of them isn't measured."
    means = f"{percent(one.mean)} against {percent(other.mean)}"
    seeds = f"{len(one.seeds)} and {len(other.seeds)} seeds"
    if found.verdict == "few seeds":
        return f"{title}: `{first}` has {means} of `{second}`, with {seeds}; too few to claim a difference."
    if found.verdict == "overlap":
        return (
            f"{title}: no difference between `{first}` and `{second}` can be claimed, their seeds overlap "
            f"({_range(one)} and {_range(other)}; means {means})."
        )
    if found.verdict == "interval":
        return (
            f"{title}: no difference between `{first}` and `{second}` can be claimed: the seeds agree ({means}), but "
            f"with other concepts it may as well be zero ({_interval(found, 1)})."
        )
    ahead, behind, sign = (first, second, 1) if found.verdict == "first" else (second, first, -1)
    high, low = (one, other) if sign > 0 else (other, one)
    spread = f" ({_interval(found, sign)})" if math.isfinite(found.low) else ""
    return (
        f"{title}: `{ahead}` is ahead of `{behind}`, {percent(high.mean)} against {percent(low.mean)}: "
        f"{points(sign * found.value)} points{spread}; `{behind}` reaches {100 * low.mean / high.mean:.0f} % of "
        f"`{ahead}`. The seeds agree: each of the {len(high.seeds)} is above each of the {len(low.seeds)}."
    )


def _interval(found: Difference, sign: int) -> str:
    low, high = sorted((sign * found.low, sign * found.high))
    return f"95 % paired interval over concepts {points(low)} to {points(high)}"


def _asked(numbers: Sequence[Number]) -> str:
    """How many languages and answers a column's numbers are of."""
    found = sorted({(one.languages, one.answers) for one in numbers if one.seeds})
    return "; ".join(
        f"{languages} language{'' if languages == 1 else 's'}, {answers:,} answers" for languages, answers in found
    )


def _seeds(numbers: Sequence[Number]) -> int:
    return max((len(one.seeds) for one in numbers), default=0)


def _cell(found: Number) -> str:
    if not found.seeds:
        return "–"
    lines = [f"**{percent(found.mean)}**", _range(found)]
    if math.isfinite(found.low):
        lines.append(f"[{_plain(found.low)}–{_plain(found.high)}]")
    return "<br>".join(lines)


def _range(found: Number) -> str:
    return f"{_plain(min(found.seeds))}–{_plain(max(found.seeds))}"


def percent(share: float) -> str:
    return f"{_plain(share)} %"


def _plain(share: float) -> str:
    return f"{100 * share:.1f}"


def points(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "−")


# --- what it cost ----------------------------------------------------------------------------------------------------


def _arms(study: Study, results: Results) -> str:
    rows = []
    for arm, section in study.arms.items():
        found = results.of(arm)
        if found:
            timed = [row for row in found if not row["resumed"]] or found
            training, evaluation = (
                f"{sum(row['seconds'][kind] for row in timed) / len(timed):.0f}" for kind in ("training", "evaluation")
            )
            cost = [f"{found[0]['steps']:,}", f"{found[0]['examples']:,}", training, evaluation]
        else:
            cost = ["–"] * 4
        if results.memory:
            cost.append(f"{results.memory[arm]['peak_mb']:,}" if arm in results.memory else "–")
        rows.append([arm, section.about.strip(), str(len(found)), *cost])
    heads = ["arm", "what it does", "seeds", "steps", "examples", "seconds of training", "seconds of evaluation"]
    return _table([*heads, *(["MB of memory"] if results.memory else [])], rows, texts=2)


def _over(study: Study, results: Results) -> list[str]:
    """Cells that took longer than they may."""
    found = [
        f"`{arm}`, seed {seed} ({row['seconds']['total'] / 60:.1f} minutes"
        + (", interrupted" if row["resumed"] else "")
        + ")"
        for arm, rows in results.rows.items()
        for seed, row in sorted(rows.items())
        if row["over"]
    ]
    if not found:
        return []
    return [f"Over the {study.minutes:g} minutes that a cell may take: {', '.join(found)}."]


def _how(study: Study, results: Results) -> str:
    groups = "\n".join(f"- {name} ({len(study.codes(name))}): {_names(study.codes(name))}" for name in study.groups)
    asked = ", ".join(
        f"`{name}` (the first {limit} of each language)" for name, limit in study.evaluation.benchmarks.items()
    )
    parts = [
        f"A cell may take {study.minutes:g} minutes on {study.cores} cores ({study.device}), or its share of them "
        f"where several were measured at a time. Seeds: {', '.join(map(str, study.seeds))}. Benchmarks: {asked}. "
        "The groups of languages that means are over:",
        groups,
    ]
    if results.memory:
        steps = " or ".join(f"{count:,}" for count in sorted({row["steps"] for row in results.memory.values()}))
        parts.append(
            f"Memory is the most that a process had which trained nothing but the arm, for the first {steps} steps of "
            f"each of its stages (`python -m studies.memory {study.name}`); weights, data and libraries are in it."
        )
    if made := _made_with(results):
        parts.append(made)
    return "\n\n".join(parts)


def _made_with(results: Results) -> str:
    rows = [row for arm in results.rows.values() for row in arm.values()]
    if not rows:
        return ""
    machines = dict.fromkeys(
        f"{row['machine']['processor']} ({row['machine']['threads']} threads on {row['machine']['cores']} cores)"
        for row in rows
    )
    weights = {
        f"`{name}` {digest[:12]}" for row in rows for link in row["links"] for name, digest in link["weights"].items()
    }
    commits = dict.fromkeys(row["commit"][:12] + "+" * row["commit"].endswith("+") for row in rows if row["commit"])
    dates = sorted(row["date"][:10] for row in rows)
    return (
        f"Measured {dates[0]} to {dates[-1]} on {'; '.join(machines)}. "
        f"Weights that it starts from (SHA-256): {', '.join(sorted(weights)) or 'none'}. "
        f"Code: {', '.join(commits) or 'not a source checkout'}."
    )


def _names(codes: Sequence[str]) -> str:
    return ", ".join(f"{language(code).name} ({language(code).script})" for code in codes)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, texts: int = 1) -> str:
    """A Markdown table; all columns but the first `texts` are set to the right."""
    rule = ["---" if i < texts else "---:" for i in range(len(heads))]
    lines = [heads, rule, *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m studies.page", description="Write a study's page from its lines.")
    parser.add_argument("study", help="name of a file in studies/, or the path of one")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of results and pages (default: docs/study)")
    given = parser.parse_args(arguments)
    try:
        print(write_page(load_study(given.study), given.out))
    except VisiglotError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

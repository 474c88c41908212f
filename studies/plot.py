"""The study as one SVG: a panel for each question; a dot for each seed, a line through or a bar at the means.

The drawing is the same, byte for byte, for the same numbers. It brings its own light ground, so that it reads on dark
pages too.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from studies.study import Question, Study
from studies.summary import Results, number
from visiglot.errors import EvaluationError
from visiglot.files import write_text

PAPER, INK, SOFT, LINE = "#fbfaf8", "#22252a", "#676d76", "#e3e0da"
COLOURS = ("#3b6ea5", "#c0763a", "#4f8a5b", "#8a5fa3", "#a8485d", "#5b8791", "#8a7a2f", "#b3698f", "#4a4f57")
WIDTH, HEIGHT = 9.0, 2.9
"""Of a panel, in inches."""


def draw_study(study: Study, results: Results, path: Path) -> None:
    """Write the plot of every question of which something is measured.

    Raises:
        EvaluationError: the file can't be written.
    """
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    shown = [question for question in study.questions if any(results.of(arm) for arm in question.arms)]
    settings: dict[str, Any] = {
        "svg.hashsalt": "visiglot",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 9,
        "text.color": INK,
        "axes.edgecolor": LINE,
        "axes.labelcolor": SOFT,
        "xtick.color": INK,
        "ytick.color": SOFT,
        "figure.facecolor": PAPER,
        "axes.facecolor": PAPER,
        "savefig.facecolor": PAPER,
    }
    with matplotlib.rc_context(settings):
        figure, grid = pyplot.subplots(
            len(shown), 1, figsize=(WIDTH, HEIGHT * len(shown)), squeeze=False, layout="constrained"
        )
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.14)
        colours = {column.title: COLOURS[i % len(COLOURS)] for i, column in enumerate(study.columns)}
        for axes, question in zip(grid[:, 0], shown):
            _panel(axes, study, results, question, colours)
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
        pyplot.close(figure)
    lines = (line.rstrip() for line in drawn.getvalue().splitlines())
    write_text("\n".join(lines) + "\n", path, error=EvaluationError)


def _panel(axes: Any, study: Study, results: Results, question: Question, colours: dict[str, str]) -> None:
    axes.set_title(question.title, loc="left", fontsize=10, color=INK)
    axes.set_ylabel("exact match, %")
    axes.grid(axis="y", color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    columns = [study.column(title) for title in question.columns]
    for nth, column in enumerate(columns):
        colour = colours[column.title]
        means: list[tuple[float, float]] = []
        for at, arm in enumerate(question.arms):
            found = number(study, results.of(arm), column)
            if not found.seeds:
                continue
            if question.axis is not None:
                x = question.axis.values[at]
                means.append((x, 100 * found.mean))
            else:
                x = at + 0.8 * ((nth + 0.5) / len(columns) - 0.5)
                axes.bar(x, 100 * found.mean, width=0.7 / len(columns), color=colour, alpha=0.45, linewidth=0)
            axes.plot([x] * len(found.seeds), [100 * value for value in found.seeds], "o", ms=3, color=colour)
        if means:
            axes.plot([x for x, _ in means], [y for _, y in means], "-", lw=1.4, color=colour)
        axes.plot([], [], "s", ms=6, color=colour, label=column.title)
    if question.axis is not None:
        axes.set_xscale("log")
        axes.set_xticks(list(question.axis.values), labels=[f"{value:g}" for value in question.axis.values])
        axes.set_xticks([], minor=True)
        axes.set_xlabel(question.axis.label)
    else:
        axes.set_xticks(range(len(question.arms)), labels=question.arms)
        axes.set_xlim(-0.5, len(question.arms) - 0.5)
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8)

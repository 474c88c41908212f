"""How to make an evaluation again: command, weights, recipe, commit, versions, data and settings."""

from __future__ import annotations

import shlex
from pathlib import Path

from visiglot.evaluate.predictions import FOLDER
from visiglot.evaluate.report.numbers import Model
from visiglot.sheet import Page


def add_again(page: Page, model: Model) -> None:
    """Write the section of one model."""
    page.section(f"How to make it again: {model.label}")
    run = model.run
    if run is None:
        page.paragraph(
            f"{model.folder} has no run.json: its predictions were made elsewhere, with what isn't known here."
        )
        return
    if len(run.commands) > 1:
        page.paragraph(f"{len(run.commands)} commands made it together; later ones kept the answers that were there.")
    if run.commands:
        page.code("\n".join(map(shlex.join, run.commands)))
    facts = [
        ("model", run.model),
        ("weights, vocabulary, template (SHA-256)", run.model_hash),
        ("recipe", run.recipe or "not known"),
        ("commit", run.commit or "not a source checkout"),
        ("device", run.device),
        *((f"version of {name}", value) for name, value in run.versions.items()),
        ("predictions", f"{Path(model.folder).name}/{FOLDER}"),
    ]
    page.table(("what", "value"), facts, caption="What made it")
    page.table(
        ("benchmark (prompt set)", "split", "data", "generation", "settings (SHA-256)"),
        [
            (
                name,
                row.split,
                row.revision,
                ", ".join(f"{key} {value}" for key, value in row.settings.items()),
                row.settings_hash,
            )
            for name, row in run.benchmarks.items()
        ],
        caption="What was asked",
    )
    page.table(
        ("benchmark (prompt set)", "licence", "translation", "cite"),
        [(name, row.licence, row.translation, row.citation) for name, row in run.benchmarks.items()],
        caption="Whose data it is",
    )

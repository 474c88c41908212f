"""Prediction files that were made elsewhere."""

from __future__ import annotations

from pathlib import Path

import typer

from visiglot.cli.console import say
from visiglot.errors import EvaluationError


def take_in(file: Path, folder: Path, *, data: Path | None, limit: int | None, dry_run: bool) -> None:
    """Sort a prediction file's rows into the evaluation folder, a file for each benchmark and language.

    Args:
        data: the folder of all benchmarks' data, to check that every question has a row; None: a line on stderr says
            that this isn't checked.
        limit: as it was when the answers were made.

    Raises:
        EvaluationError: the file is broken, not all questions have a row, or answers of another model would be
            overwritten.
        UnknownNameError: no such benchmark or prompt set.
    """
    from visiglot.evaluate.benchmark import BENCHMARKS
    from visiglot.evaluate.completeness import check_complete
    from visiglot.evaluate.generate import LIKELIHOOD
    from visiglot.evaluate.predictions import prediction_path, read_predictions, write_predictions
    from visiglot.types import Prediction

    parts: dict[Path, list[Prediction]] = {}
    for row in read_predictions(file):
        BENCHMARKS.get(row.benchmark).choose("prompt set", row.prompt_set.removesuffix(f"-{LIKELIHOOD}"))
        parts.setdefault(prediction_path(folder, row.benchmark, row.prompt_set, row.language), []).append(row)
    if not parts:
        raise EvaluationError(
            f"{file} holds no predictions",
            hint="It needs one JSON object a line, as `visiglot evaluate --only generate` writes them.",
        )
    for path, rows in parts.items():
        before = {row.model for row in read_predictions(path)} if path.exists() else set()
        if before - {row.model for row in rows}:
            raise EvaluationError(
                f"{path} holds answers of {', '.join(sorted(before))}", hint="Name another folder with --out."
            )
        if data is not None:
            prompt_set = rows[0].prompt_set.removesuffix(f"-{LIKELIHOOD}")
            check_complete(rows, data, prompt_set=prompt_set, limit=limit)
        if dry_run:
            typer.echo(f"{path}: {len(rows):,} rows")
    if data is None:
        say("notice  whether each question has a row isn't known: --data FOLDER compares them with the benchmark")
    if not dry_run:
        for path, rows in parts.items():
            write_predictions(rows, path)

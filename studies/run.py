"""Measure what a study lacks, then write its page.

    python -m studies.run realign [--cells N] [--minutes M] [--jobs J] [--dry-run]

For each cell (arm, seed) that no line of docs/study has under its identity: train, evaluate, add a line. A cell that
was killed goes on from its last checkpoint; what it trained is deleted once its line is written. Several jobs share the
study's cores, each with a cell of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from studies.identity import Facts, PlannedCell, plan_cell
from studies.locks import locked
from studies.measure import answers_folder, measure_cell, run_folder
from studies.page import write_page
from studies.rows import RESULTS, append_row, last_plan, measured, path_of, read_rows
from studies.study import Study, cells_of, load_study
from visiglot.config import cache_dir
from visiglot.environment import commit
from visiglot.errors import TrainingError, VisiglotError
from visiglot.models.runs import runs_dir


def run_study(
    study: Study, folder: Path, *, cells: int | None = None, minutes: float | None = None, dry_run: bool = False
) -> int:
    """Measure the missing cells, one after the other, and write the page.

    Args:
        folder: of the results (docs/study).
        cells: stop after so many.
        minutes: begin none after so many.
        dry_run: say which are missing, do nothing.

    Returns:
        How many are still missing.

    Raises:
        VisiglotError: a cell can't be measured; those before it are kept.
    """
    facts = Facts()
    planned = [plan_cell(study, cell, facts) for cell in cells_of(study)]
    missing = missing_of(planned, folder)
    say(f"study {study.name}: {len(planned) - len(missing)} of {len(planned)} cells are measured")
    if dry_run:
        for lacking in missing:
            say(f"  missing: {lacking.cell} ({sum(link.examples for link in lacking.links):,} examples)")
        return len(missing)
    note_plan(study, planned, folder)
    began, done = time.monotonic(), 0
    forget(study, missing)
    while (cells is None or done < cells) and (minutes is None or time.monotonic() - began < 60 * minutes):
        with claim(study, planned, folder) as one:
            if one is None:
                break
            say(f"\n{one.cell} (of {len(planned)} cells): {study.arms[one.cell.arm].about}")
            row = measure_cell(study, one)
            append_row(row, path_of(study.name, folder))
        done += 1
        missing = missing_of(planned, folder)
        forget(study, missing)
        over = f", over its {study.minutes:g} minutes" if row["over"] else ""
        say(f"{one.cell}: measured in {row['seconds']['total']:.0f} s{over}")
    page = write_page(study, folder)
    say(f"\n{page}: {len(missing)} of {len(planned)} cells are missing")
    return len(missing)


def missing_of(planned: Sequence[PlannedCell], folder: Path) -> list[PlannedCell]:
    """Those that no study in `folder` has measured."""
    known = measured(folder)
    return [one for one in planned if one.identity not in known]


@contextlib.contextmanager
def claim(study: Study, planned: Sequence[PlannedCell], folder: Path) -> Iterator[PlannedCell | None]:
    """The first missing cell that no other job measures, held while it is measured; None when there is none."""
    for one in missing_of(planned, folder):
        with locked(f"{study.name}-{one.identity[:16]}", wait=False) as held:
            if held and one.identity not in measured(folder):  # it may have been measured a moment ago
                yield one
                return
    yield None


def note_plan(study: Study, planned: Sequence[PlannedCell], folder: Path) -> None:
    """Write down which cells the study asks for, unless its last plan says so already."""
    path = path_of(study.name, folder)
    cells = [{"arm": one.cell.arm, "seed": one.cell.seed, "identity": one.identity} for one in planned]
    before = last_plan(read_rows(path))
    if before is None or before["cells"] != cells:
        date = datetime.now(UTC).isoformat(timespec="seconds")
        append_row({"kind": "plan", "study": study.name, "cells": cells, "commit": commit(), "date": date}, path)


def forget(study: Study, missing: Sequence[PlannedCell]) -> None:
    """Delete the runs and answers of this study that no missing cell goes on with."""
    needed = {run_folder(study, link).name for one in missing for link in one.links}
    needed |= {answers_folder(study, one).name for one in missing}
    for place in (runs_dir().glob(f"study-{study.name}-*"), (cache_dir() / "studies").glob(f"{study.name}-*")):
        for path in place:
            if path.is_dir() and path.name not in needed and _is_ours(path, study):
                shutil.rmtree(path)


def _is_ours(path: Path, study: Study) -> bool:
    """Whether what follows the study's name is a hash: "realign-2" may be another study."""
    rest = path.name.removeprefix("study-").removeprefix(f"{study.name}-")
    return len(rest) == 16 and set(rest) <= set("0123456789abcdef")


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """One study at a time. Raises TrainingError when another runs."""
    with locked("study", wait=False) as held:
        if not held:
            raise TrainingError("another study is running", hint="Wait for it: both would have half the cores.")
        yield


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m studies.run", description="Measure what a study lacks.")
    parser.add_argument("study", help="name of a file in studies/, or the path of one")
    parser.add_argument("--cells", type=int, help="stop after so many new cells")
    parser.add_argument("--minutes", type=float, help="begin no cell after so many minutes")
    parser.add_argument(
        "--jobs", type=int, default=1, help="cells measured at one time, each on its share of the cores"
    )
    parser.add_argument("--job", action="store_true", help=argparse.SUPPRESS)  # one of several
    parser.add_argument("--dry-run", action="store_true", help="say which cells are missing")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of results and pages (default: docs/study)")
    given = parser.parse_args(arguments)
    try:
        study = load_study(given.study)
        with contextlib.ExitStack() as held:
            if not given.dry_run and not given.job:
                held.enter_context(alone())
            if given.jobs > 1:
                return run_jobs(study, given.jobs, arguments if arguments is not None else sys.argv[1:])
            _use_cores(study)
            run_study(study, given.out, cells=given.cells, minutes=given.minutes, dry_run=given.dry_run)
    except VisiglotError as error:
        say(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        say("stopped; the same command goes on from the last checkpoint")
        return 130
    return 0


def run_jobs(study: Study, jobs: int, arguments: Sequence[str]) -> int:
    """Run the same command in several processes, each on its share of the cores; the worst of their exit codes."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(max(1, study.cores // jobs))}
    command = [sys.executable, "-m", "studies.run", *arguments, "--jobs", "1", "--job"]
    running = []
    try:
        for number in range(jobs):
            time.sleep(min(number, 1))  # the first writes the plan
            running.append(subprocess.Popen(command, env=environment))
        return max(one.wait() for one in running)
    finally:
        for one in running:
            one.terminate()


def _use_cores(study: Study) -> None:
    """No more threads than the study allows; fewer when OMP_NUM_THREADS says so."""
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(study.cores, torch.get_num_threads()))


if __name__ == "__main__":
    sys.exit(main())

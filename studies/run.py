"""Measure what a study lacks, then write its page.

    python -m studies.run realign [--cells N] [--minutes M] [--jobs J] [--dry-run]

For each cell (arm, seed) that no line of docs/study has under its identity: train, evaluate, add a line. A cell that
was killed goes on from its last checkpoint; what it trained is deleted once its line is written. Several jobs share the
study's cores, each with a cell of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import shutil
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
from visiglot.errors import StoppedError, TrainingError, VisiglotError
from visiglot.models.runs import runs_dir

GRACE = 30
"""Seconds that a stopped job may take to write down where it is."""


def run_study(
    study: Study,
    folder: Path,
    *,
    cells: int | None = None,
    minutes: float | None = None,
    jobs: int = 1,
    dry_run: bool = False,
) -> int:
    """Measure the missing cells and write the page.

    Args:
        folder: of the results (docs/study).
        cells: stop after so many (of one job).
        minutes: begin none after so many.
        jobs: how many cells are measured at one time; more than one in processes of their own.
        dry_run: say which are missing, do nothing.

    Returns:
        How many are still missing.

    Raises:
        VisiglotError: a cell can't be measured, or a job ended badly; what was measured is kept.
    """
    planned = plan(study)
    missing = missing_of(planned, folder)
    say(f"study {study.name}: {len(planned) - len(missing)} of {len(planned)} cells are measured")
    if dry_run:
        for lacking in missing:
            say(f"  missing: {lacking.cell} ({sum(link.examples for link in lacking.links):,} examples)")
        return len(missing)
    note_plan(study, planned, folder)
    forget(study, missing)
    if jobs == 1:
        measure(study, planned, folder, cells=cells, minutes=minutes)
    else:
        run_jobs(study, folder, jobs, minutes=minutes)
    page, left = write_page(study, folder), len(missing_of(planned, folder))
    say(f"\n{page}: {left} of {len(planned)} cells are missing")
    return left


def plan(study: Study) -> list[PlannedCell]:
    """Every cell of the study with its identity."""
    facts = Facts()
    return [plan_cell(study, cell, facts) for cell in cells_of(study)]


def measure(
    study: Study, planned: Sequence[PlannedCell], folder: Path, *, cells: int | None, minutes: float | None
) -> None:
    """Measure missing cells one after the other, passing over those that another job is at."""
    began, done = time.monotonic(), 0
    while (cells is None or done < cells) and (minutes is None or time.monotonic() - began < 60 * minutes):
        with claim(study, planned, folder) as one:
            if one is None:
                break
            say(f"\n{one.cell}, one of {len(missing_of(planned, folder))}: {study.arms[one.cell.arm].about}")
            row = measure_cell(study, one)
            append_row(row, path_of(study.name, folder))
        with locked(f"{study.name}-forget"):  # another job may have measured the last cell of the same training
            forget(study, missing_of(planned, folder))
        done += 1
        over = f", over its {study.minutes:g} minutes" if row["over"] else ""
        say(f"{one.cell}: measured in {row['seconds']['total']:.0f} s{over}")


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
    parser.add_argument("--dry-run", action="store_true", help="say which cells are missing")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of results and pages (default: docs/study)")
    given = parser.parse_args(arguments)
    try:
        study = load_study(given.study)
        with contextlib.ExitStack() as held:
            if not 1 <= given.jobs <= study.cores:
                parser.error(f"--jobs is {given.jobs}; study {study.name} has {study.cores} cores to share")
            if given.jobs > 1 and given.cells is not None:
                parser.error("--cells counts the cells of one job: leave --jobs out, or give --minutes")
            if not given.dry_run:
                held.enter_context(alone())
            _use_cores(study)
            run_study(
                study, given.out, cells=given.cells, minutes=given.minutes, jobs=given.jobs, dry_run=given.dry_run
            )
    except StoppedError as stopped:
        say(str(stopped))
        return stopped.status
    except VisiglotError as error:
        say(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        say("stopped; the same command goes on from the last checkpoint")
        return 130
    return 0


def run_jobs(study: Study, folder: Path, jobs: int, *, minutes: float | None) -> None:
    """Measure in several processes, each on its share of the cores.

    Raises:
        TrainingError: one of them failed; it has said why.
    """
    threads = min(study.cores // jobs, int(os.environ.get("OMP_NUM_THREADS", study.cores)))
    context = multiprocessing.get_context("spawn")
    running = [context.Process(target=job, args=(study, folder, threads, minutes)) for _ in range(jobs)]
    try:
        for one in running:
            one.start()
        for one in running:
            one.join()
    finally:  # stopped by the keyboard, which the jobs heard too, or by a signal, which they didn't
        for one in running:
            one.join(GRACE)
            one.kill()
    if failed := [str(one.exitcode) for one in running if one.exitcode != 0]:
        raise TrainingError(f"{len(failed)} of {jobs} jobs failed (exit codes {', '.join(failed)})")


def job(study: Study, folder: Path, threads: int, minutes: float | None) -> None:
    """What each of several processes does."""
    import torch

    torch.set_num_threads(threads)
    try:
        measure(study, plan(study), folder, cells=None, minutes=minutes)
    except StoppedError as stopped:
        say(str(stopped))
        sys.exit(stopped.status)
    except VisiglotError as error:
        say(f"error: {error}")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _use_cores(study: Study) -> None:
    """No more threads than the study allows; fewer when OMP_NUM_THREADS says so."""
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(study.cores, torch.get_num_threads()))


if __name__ == "__main__":
    sys.exit(main())

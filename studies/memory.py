"""How much memory each arm of a study takes to train, then the page with it.

    python -m studies.memory realign [--steps 20]

Cells don't tell: one process measures many of them. Here each arm trains its links for so many steps in a process of
its own, whose peak is the arm's; rows of a few steps are as long as those of many. For each arm without such a line,
one is added.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from studies.identity import PlannedCell
from studies.measure import machine
from studies.page import write_page
from studies.rows import RESULTS, append_row, path_of
from studies.run import plan, say
from studies.study import Study, build_recipe, load_study
from studies.summary import load_results
from visiglot import environment
from visiglot.config import Recipe
from visiglot.errors import VisiglotError


def measure_memory(study: Study, folder: Path, steps: int) -> None:
    """Add a line for each arm that has none.

    Args:
        folder: of the results (docs/study).
        steps: most that each stage makes.

    Raises:
        VisiglotError: an arm can't be trained; what was measured is kept.
    """
    known = load_results(study, folder).memory
    firsts = {one.cell.arm: one for one in reversed(plan(study))}  # of each arm its first seed
    for arm in study.arms:
        if arm in known:
            continue
        peak = apart(study, firsts[arm], steps)
        row = {
            "kind": "memory",
            "study": study.name,
            "arm": arm,
            "identity": firsts[arm].identity,
            "steps": steps,
            "peak_mb": peak,
            "commit": environment.commit(),
            "versions": environment.versions(),
            "machine": machine(study),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        append_row(row, path_of(study.name, folder))
        say(f"{arm}: {peak:,} MB at most")


def apart(study: Study, planned: PlannedCell, steps: int) -> int:
    """`peak_of` in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(peak_of, (study, planned, steps))


def peak_of(study: Study, planned: PlannedCell, steps: int) -> int:
    """Largest size of this process, in MB, after it trained a cell's links for so many steps each."""
    import torch

    from visiglot.memory import peak_memory_mb
    from visiglot.train.loop import fit

    torch.set_num_threads(min(study.cores, torch.get_num_threads()))
    models: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name:
        for link in planned.links:
            folder = Path(name) / link.section.name
            fit(
                cut_short(build_recipe(link.section, planned.cell.seed, models), steps), out=folder, device=study.device
            )
            models[link.section.name] = str(folder)
    return peak_memory_mb()


def cut_short(recipe: Recipe, steps: int) -> Recipe:
    """The same recipe with no stage longer than `steps`."""
    stages = [
        stage.model_copy(update={"steps": min(stage.steps, steps), "warmup_steps": min(stage.warmup_steps, steps)})
        for stage in recipe.stages
    ]
    return recipe.model_copy(update={"stages": tuple(stages)})


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m studies.memory", description="Measure what memory arms take.")
    parser.add_argument("study", help="name of a file in studies/, or the path of one")
    parser.add_argument("--steps", type=int, default=20, help="that each stage makes (default: 20)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of results and pages (default: docs/study)")
    given = parser.parse_args(arguments)
    if given.steps < 1:
        parser.error(f"--steps is {given.steps}; one at least tells something")
    try:
        study = load_study(given.study)
        measure_memory(study, given.out, given.steps)
        say(str(write_page(study, given.out)))
    except VisiglotError as error:
        say(f"error: {error}")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

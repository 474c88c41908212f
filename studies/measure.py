"""One cell: train its links one after the other, ask the last one's model, and put all of it into a row."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from studies.identity import PlannedCell, PlannedLink, benchmarks_of
from studies.locks import locked
from studies.rows import Row
from studies.study import Study, build_recipe
from visiglot import environment
from visiglot.config import cache_dir
from visiglot.errors import EvaluationError
from visiglot.evaluate.metrics.exact import is_exact
from visiglot.evaluate.predictions import FOLDER, read_folder
from visiglot.evaluate.score import score_predictions
from visiglot.files import split_lines, write_text
from visiglot.languages import resolve
from visiglot.models.runs import Position, checkpoints, runs_dir
from visiglot.types import Prediction, Score

FINISHED = "study.json"
"""In the run folder of a link that is done: its seconds."""

RIGHT, WRONG, FAILED, NOT_ASKED = "1", "0", "!", "-"


@dataclass(frozen=True)
class Trained:
    """What training a link took, whether in this sitting or before."""

    folder: Path
    seconds: float
    resumed: bool


def run_folder(study: Study, link: PlannedLink) -> Path:
    """Where a link is trained: one run for all cells that begin with the same training."""
    return runs_dir() / f"study-{study.name}-{link.identity[:16]}"


def answers_folder(study: Study, planned: PlannedCell) -> Path:
    return cache_dir() / "studies" / f"{study.name}-{planned.identity[:16]}"


def measure_cell(study: Study, planned: PlannedCell) -> Row:
    """Train and evaluate a cell, going on with what a killed sitting left.

    Raises:
        VisiglotError: of every kind; what is done is kept.
    """
    trained: dict[str, Trained] = {}
    for link in planned.links:
        models = {name: one.folder.name for name, one in trained.items()}
        trained[link.section.name] = train_link(study, planned, link, models)
    asked = time.perf_counter()
    out = answers_folder(study, planned)
    resumed = (out / FOLDER).is_dir()
    scores = ask(study, planned, trained[planned.links[-1].section.name].folder, out)
    evaluation = time.perf_counter() - asked
    return _row(study, planned, trained, evaluation, scores, out, resumed=resumed)


def train_link(study: Study, planned: PlannedCell, link: PlannedLink, models: Mapping[str, str]) -> Trained:
    """Train one link, or find it trained.

    Args:
        models: name of an earlier link -> its run.
    """
    from visiglot.train.loop import fit

    folder = run_folder(study, link)
    with locked(folder.name):  # another job may be training it for a cell of its own
        if (folder / FINISHED).is_file():
            known = json.loads((folder / FINISHED).read_text(encoding="utf-8"))
            return Trained(folder, known["seconds"], known["resumed"])
        before = logged_seconds(folder)
        began = time.perf_counter()
        fit(build_recipe(link.section, planned.cell.seed, models), out=folder, resume=True, device=study.device)
        done = Trained(folder, before + time.perf_counter() - began, before > 0)
        facts = {"seconds": done.seconds, "resumed": done.resumed}
        write_text(json.dumps(facts) + "\n", folder / FINISHED, error=EvaluationError)
        return done


def logged_seconds(run: Path) -> float:
    """Seconds of the steps that a stopped run keeps: those up to its last checkpoint."""
    found = checkpoints(run)
    log = run / "log.jsonl"
    if not found or not log.is_file():
        return 0.0
    lines, _ = split_lines(log.read_text(encoding="utf-8", errors="replace"))
    records = map(json.loads, lines)
    return float(sum(r["seconds"] for r in records if Position(r["stage_index"], r["step"]) <= found[-1].position))


def ask(study: Study, planned: PlannedCell, model_folder: Path, out: Path) -> list[Score]:
    """Answers and scores of all benchmarks, in the evaluation folder `out`.

    Raises:
        EvaluationError: a benchmark has nothing in one of the languages.
    """
    from visiglot.evaluate.answers import fingerprint_model
    from visiglot.evaluate.generate import generate_predictions
    from visiglot.models.load import load_model

    model, processor = load_model(str(model_folder), device=study.device)
    weights = fingerprint_model(model, processor)
    codes = resolve(study.evaluation.languages)
    for benchmark, limit in benchmarks_of(study):
        done = generate_predictions(
            model, processor, benchmark, codes, out,
            resume=True, model_name=str(planned.cell), model_hash=weights, limit=limit,
        )  # fmt: skip
        if done.lacking:
            raise EvaluationError(
                f"study {study.name}: {benchmark.name} has no examples in {', '.join(done.lacking)}",
                hint="Take them out of evaluation.languages.",
            )
    return score_predictions(out)


# --- the row ---------------------------------------------------------------------------------------------------------


def _row(
    study: Study,
    planned: PlannedCell,
    trained: Mapping[str, Trained],
    evaluation: float,
    scores: Sequence[Score],
    out: Path,
    *,
    resumed: bool,
) -> Row:
    training = sum(one.seconds for one in trained.values())
    total = training + evaluation
    values = _scores(scores)
    return {
        "kind": "cell",
        "study": study.name,
        "arm": planned.cell.arm,
        "seed": planned.cell.seed,
        "identity": planned.identity,
        "links": [
            {
                "name": link.section.name,
                "recipe": link.section.recipe,
                "stages": {stage.name: stage.steps for stage in link.recipe.stages},
                "set": link.section.set,
                "identity": link.identity,
                "steps": link.steps,
                "examples": link.examples,
                "seconds": round(trained[link.section.name].seconds, 1),
                "weights": dict(link.weights),
                "data": dict(link.data),
            }
            for link in planned.links
        ],
        "evaluation": dict(planned.evaluation),
        "steps": sum(link.steps for link in planned.links),
        "examples": sum(link.examples for link in planned.links),
        "seconds": {"training": round(training, 1), "evaluation": round(evaluation, 1), "total": round(total, 1)},
        "limit_minutes": study.minutes,
        "over": total > 60 * study.minutes,
        "resumed": resumed or any(one.resumed for one in trained.values()),
        "scores": values,
        "means": group_means(study, values),
        "right": _right(out),
        "commit": environment.commit(),
        "versions": environment.versions(),
        "machine": machine(study),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


Scores = dict[str, dict[str, dict[str, Any]]]


def _scores(scores: Sequence[Score]) -> Scores:
    """benchmark -> language -> {metric: value, n, missing}; null where nothing was answered."""
    found: Scores = {}
    for score in scores:
        cell = found.setdefault(score.benchmark, {}).setdefault(score.language, {})
        cell[score.metric] = round(score.value, 5) if score.value == score.value else None
        cell["n"], cell["missing"] = score.n, score.missing
    return found


def group_means(study: Study, values: Scores) -> dict[str, dict[str, dict[str, float]]]:
    """benchmark -> group of the study -> metric -> mean over the group's languages that have a value."""
    means: dict[str, dict[str, dict[str, float]]] = {}
    for benchmark, languages in values.items():
        for group in study.groups:
            found: dict[str, list[float]] = {}
            for code in study.codes(group):
                for metric, value in languages.get(code, {}).items():
                    if metric not in ("n", "missing") and value is not None:
                        found.setdefault(metric, []).append(value)
            means.setdefault(benchmark, {})[group] = {
                metric: round(sum(each) / len(each), 5) for metric, each in found.items()
            }
    return means


def _right(out: Path) -> dict[str, dict[str, Any]]:
    """By benchmark: what was asked about (`groups`, one concept a question), and by language a sign for each question,
    so that intervals can resample concepts without the answers."""
    by_benchmark: dict[str, dict[str, list[Prediction]]] = {}
    for _, rows in read_folder(out):
        by_benchmark.setdefault(rows[0].benchmark, {})[rows[0].language] = rows
    found: dict[str, dict[str, Any]] = {}
    for benchmark, languages in by_benchmark.items():
        places: dict[tuple[str, str, int], int] = {}
        signs: dict[str, dict[int, str]] = {}
        for code, rows in languages.items():
            seen: dict[tuple[str, str], int] = {}
            for row in rows:
                about = (row.group, row.image)
                seen[about] = seen.get(about, 0) + 1
                place = places.setdefault((*about, seen[about]), len(places))
                signs.setdefault(code, {})[place] = _sign(row)
        found[benchmark] = {
            "groups": [group for group, _, _ in places],
            "languages": {
                code: "".join(own.get(place, NOT_ASKED) for place in range(len(places))) for code, own in signs.items()
            },
        }
    return found


def _sign(row: Prediction) -> str:
    if row.text is None:
        return FAILED
    return RIGHT if is_exact(row.text, row.references) else WRONG


def machine(study: Study) -> dict[str, Any]:
    """Where a cell was measured."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": _processor(),
        "cores": cores,
        "threads": torch.get_num_threads(),
        "device": study.device,
        "system": platform.platform(),
    }


def _processor() -> str:
    """The processor's name as Linux tells it; elsewhere the architecture."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()

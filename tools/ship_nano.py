"""Put the built-in models into the package: `python -m tools.ship_nano --scores FOLDER`, or `make nano-ship`.

The last checkpoints of three finished runs become three folders, with what inference and a recipe's `from:` need. What
the re-aligned model has in common with the others lies there once. Everything is written aside, held against the runs,
and takes its place only when all of it is right.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from tools.nano_cards import KINDS, LICENCE, RECIPE, SUMS, card, licence_text, sums_text
from tools.nano_data import training_data
from tools.nano_runs import FinishedRun, read_finished_run
from tools.nano_scores import Scores, read_evaluation
from tools.nano_weights import Loaded, Proof, find_common, load_on_cpu, prove, refuse_other_weights, write_model
from visiglot.cli.console import quiet_libraries, say
from visiglot.config import dump_recipe
from visiglot.data.nano.build import nano_dir
from visiglot.errors import CheckpointError, VisiglotError
from visiglot.evaluate.answers import fingerprint_model
from visiglot.models.checkpoint.packed import Packing
from visiglot.models.checkpoint.shared import write_parts
from visiglot.models.runs import nano_folder

LARGEST = 32_000_000
"""Bytes that all of it may have."""
SHARED = {"vision": "english", "language_model": "lm"}
PICTURES = 6
LANGUAGES = 4
"""How many of each both models are asked about."""


def ship(
    runs: dict[str, FinishedRun],
    out: Path,
    *,
    data: Path,
    evaluations: Sequence[Path],
    pictures: Sequence[Path],
    packings: Mapping[str, Packing],
) -> None:
    """Write the three models of `runs` (by folder: english, lm, model) below `out`.

    Args:
        data: folder of the built-in data.
        evaluations: folders that `visiglot evaluate` wrote; their scores go into the cards.
        pictures: that the models are asked about.
        packings: by folder, how matrices are written.

    Raises:
        VisiglotError: something isn't as it must be; `out` is as it was.
    """
    common = find_common(runs["model"], {part: runs[other] for part, other in SHARED.items()})
    out.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        for folder, run in runs.items():
            write_model(run, aside / folder, packings[folder], without=common if folder == "model" else ())
        write_parts(aside / "model", {part: aside / other for part, other in SHARED.items()})
        shipped = {folder: load_on_cpu(aside / folder) for folder in runs}
        trained = {folder: load_on_cpu(run.model) for folder, run in runs.items()}
        for folder in runs:
            kept = {part: packings[other] for part, other in SHARED.items()} if folder == "model" else {}
            packing = partial(_packing_of, own=packings[folder], kept=kept)
            refuse_other_weights(shipped[folder][0], trained[folder][0], packing, aside / folder)
        proofs = _prove(shipped, trained, pictures)
        scores = _scores(evaluations, shipped, trained)
        for kind in KINDS:
            run = runs[kind.folder]
            from_others = [runs[name].recipe for name in SHARED.values()] if kind.folder == "model" else []
            found = training_data([run.recipe, *from_others], data)
            model = shipped[kind.folder][0]
            text = card(
                kind,
                run,
                model,
                found,
                packing=packings[kind.folder],
                proof=proofs.get(kind.folder),
                scores=scores.get(kind.folder, []),
            )
            (aside / kind.folder / "README.md").write_text(text, encoding="utf-8")
            (aside / kind.folder / RECIPE).write_text(dump_recipe(run.recipe), encoding="utf-8")
        (aside / LICENCE).write_text(licence_text(), encoding="utf-8")
        (aside / SUMS).write_text(sums_text(aside), encoding="utf-8")
        _check_size(aside)
        _replace(aside, out, [*runs, LICENCE, SUMS])
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _packing_of(name: str, *, own: Packing, kept: Mapping[str, Packing]) -> Packing:
    """How a weight was packed. `kept`: the parts that other models keep; their low-rank layers are the model's own."""
    return own if ".lora_" in name else kept.get(name.partition(".")[0], own)


def _prove(shipped: dict[str, Loaded], trained: dict[str, Loaded], pictures: Sequence[Path]) -> dict[str, Proof]:
    """Models that saw pictures give the answers of the run's."""
    proofs = {}
    for folder in shipped:
        if folder == "lm":  # its encoder and connector are place-holders
            continue
        codes = trained[folder][0].config.languages
        chosen = codes[:: max(1, len(codes) // LANGUAGES)][:LANGUAGES]
        proofs[folder] = prove(shipped[folder], trained[folder], pictures, chosen)
        say(f"{folder}: {proofs[folder]}")
    return proofs


def _scores(
    evaluations: Sequence[Path], shipped: dict[str, Loaded], trained: dict[str, Loaded]
) -> dict[str, list[Scores]]:
    """By folder, the scores of the evaluations given. Raises EvaluationError when one is of other weights."""
    if not evaluations:
        return {}
    known = {fingerprint_model(*loaded): (folder, "the weights as trained") for folder, loaded in trained.items()}
    known |= {fingerprint_model(*loaded): (folder, "these weights") for folder, loaded in shipped.items()}
    found: dict[str, list[Scores]] = {}
    for evaluation in evaluations:
        folder, scores = read_evaluation(evaluation, known)
        found.setdefault(folder, []).append(scores)
    return found


def _check_size(folder: Path) -> None:
    sizes = {path.relative_to(folder): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    total = sum(sizes.values())
    if total > LARGEST:
        largest = sorted(sizes, key=lambda path: -sizes[path])[:3]
        raise CheckpointError(
            f"the models have {total:,} bytes, {LARGEST:,} are the most that the package takes",
            hint=f"{', '.join(f'{path} has {sizes[path]:,}' for path in largest)}; --int8 FOLDER halves its matrices.",
        )
    say(f"{total:,} bytes in {len(sizes)} files")


def _replace(aside: Path, out: Path, names: Sequence[str]) -> None:
    """Move what was written to its place; when that fails, what was there before is put back."""
    before = aside / ".before"
    before.mkdir()
    done: list[str] = []
    try:
        for name in names:
            if (out / name).exists():
                os.rename(out / name, before / name)
            done.append(name)
            os.rename(aside / name, out / name)
    except OSError as error:
        for name in done:
            if (out / name).exists():
                os.rename(out / name, aside / name)
            if (before / name).exists():
                os.rename(before / name, out / name)
        raise CheckpointError(
            f"{out} can't be written: {error}", hint="Make room, or correct the permissions."
        ) from error


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 2 after an error of the user's."""
    parser = argparse.ArgumentParser(prog="python -m tools.ship_nano", description=(__doc__ or "").partition("\n")[0])
    for kind in KINDS:
        parser.add_argument(f"--{kind.folder}", default=kind.recipe, metavar="RUN", help="default: %(default)s")
    parser.add_argument("--scores", action="append", type=Path, default=[], metavar="FOLDER", help="an evaluation")
    parser.add_argument("--data", type=Path, help="the built-in data; default: the cache's")
    parser.add_argument("--out", type=Path, default=nano_folder(), help="default: %(default)s")
    parser.add_argument(
        "--int8", action="append", choices=[kind.folder for kind in KINDS], default=[], help="matrices of it in 8 bits"
    )
    parser.add_argument("--licence", action="store_true", help=f"write {LICENCE} only")
    given = parser.parse_args(arguments)
    try:
        if given.licence:
            (given.out / LICENCE).write_text(licence_text(), encoding="utf-8")
            return 0
        quiet_libraries()
        runs = {kind.folder: read_finished_run(getattr(given, kind.folder)) for kind in KINDS}
        pictures = sorted((nano_folder() / "examples").glob("*.png"))[:PICTURES]
        packings: dict[str, Packing] = {kind.folder: "int8" if kind.folder in given.int8 else "bf16" for kind in KINDS}
        data = given.data or nano_dir()
        ship(runs, given.out, data=data, evaluations=given.scores, pictures=pictures, packings=packings)
    except VisiglotError as error:
        say(f"error  {error}")
        return 2
    print(given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())

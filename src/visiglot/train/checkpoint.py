"""The run folder: checkpoints that are whole or not there, and one owner at a time.

    <run>/recipe.yaml  log.jsonl  ledger.jsonl  run.lock
    <run>/checkpoints/<stage>-<step>/manifest.json  model/  trainer/

A checkpoint is written aside (`.<stage>-<step>.partial`), synced, described by its manifest and then renamed, so a
folder under its final name is complete. `model/` alone loads with `from_pretrained`; `trainer/` holds what only the
continuation needs. The newest are kept, and the best by the held-out loss in the manifests.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from visiglot.errors import CheckpointError, TrainingError
from visiglot.models.runs import MANIFEST, Checkpoint, Position, best_of, checkpoints, last_complete

# --- reading ---------------------------------------------------------------------------------------------------------


def check_contents(checkpoint: Checkpoint) -> None:
    """Compare every file with the hash that was taken of it when it was written.

    Raises:
        CheckpointError: a file is missing or has changed.
    """
    for name, expected in checkpoint.manifest["files"].items():
        path = checkpoint.folder / name
        try:
            found = _sha256(path)
        except OSError as error:
            raise CheckpointError(f"{path} can't be read: {error.strerror}", hint=_DELETE) from error
        if found != expected.get("sha256"):
            raise CheckpointError(f"{path} is not what was saved (sha256 {found[:12]}…)", hint=_DELETE)


def set_aside(checkpoint: Checkpoint) -> Path:
    """Take a checkpoint out of the run, so that it is neither gone on from nor kept instead of a good one.

    Raises:
        CheckpointError: the folder can't be changed.
    """
    aside = checkpoint.folder.with_name(f".{checkpoint.folder.name}.corrupt")
    try:
        if aside.exists():
            shutil.rmtree(aside)
        checkpoint.folder.rename(aside)
    except OSError as error:
        raise _not_writable(checkpoint.folder.parent, error) from error
    return aside


_DELETE = "Delete that checkpoint's folder; --resume then takes the one before it."


# --- writing ---------------------------------------------------------------------------------------------------------


def save_checkpoint(
    run: Path,
    stage: str,
    position: Position,
    write: Callable[[Path], None],
    *,
    about: Mapping[str, Any],
    keep: int,
) -> Path:
    """Write a checkpoint whole, then forget all but the `keep` newest and the best.

    Args:
        write: fills the folder it is given (`model/` and `trainer/`).
        about: joins the manifest (versions, recipe hash, what the held-out examples cost).

    Raises:
        CheckpointError: it can't be written; what was there before is untouched.
    """
    folder = run / "checkpoints" / f"{stage}-{position.step}"
    aside = folder.with_name(f".{folder.name}.partial")
    try:
        if aside.exists():
            shutil.rmtree(aside)
        aside.mkdir(parents=True)
        write(aside)
        files = {
            str(path.relative_to(aside)): {"bytes": path.stat().st_size, "sha256": _sha256(path)}
            for path in sorted(aside.rglob("*"))
            if path.is_file()
        }
        manifest = {
            "stage": stage,
            "stage_index": position.stage_index,
            "step": position.step,
            "complete": True,
            **about,
            "files": files,
        }
        best = best_of([*checkpoints(run), Checkpoint(folder, position, stage, manifest)])
        manifest["best"] = best.folder.name if best is not None else None  # so far
        (aside / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        _sync_tree(aside)
        if folder.exists():
            shutil.rmtree(folder)
        aside.rename(folder)
        _sync(folder.parent)
    except Exception as error:
        shutil.rmtree(aside, ignore_errors=True)
        if not _is_disk_error(error):
            raise
        raise CheckpointError(
            f"the checkpoint of stage {stage}, step {position.step} can't be written to {run}: {error}",
            hint=_after_failure(run),
        ) from error
    # a copy under another name belongs to whoever made it
    found = [one for one in checkpoints(run) if one.folder.name == f"{one.stage}-{one.position.step}"]
    best = best_of(found)
    for old in found[:-keep]:
        if best is None or old.folder != best.folder:
            shutil.rmtree(old.folder, ignore_errors=True)
    return folder


def _is_disk_error(error: BaseException) -> bool:
    """Whether writing failed for the disk's sake: OSError, or what safetensors makes of one."""
    from safetensors import SafetensorError

    return isinstance(error, OSError | SafetensorError)


def _after_failure(run: Path) -> str:
    last = last_complete(run)
    kept = f" {last.name} is whole and kept." if last else ""
    try:
        free = f" {shutil.disk_usage(run).free / 2**20:,.0f} MB are free there."
    except OSError:
        free = ""
    return f"Make room or correct the permissions and go on with --resume, or name another --out.{free}{kept}"


def clean_leftovers(run: Path) -> None:
    """Remove what a killed run left half-written."""
    for path in (run / "checkpoints").glob(".*.partial"):
        shutil.rmtree(path, ignore_errors=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_tree(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- ownership -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def owned(run: Path) -> Iterator[None]:
    """Hold a run for this process. The lock is the kernel's, so it ends with the process however that ends.

    Raises:
        TrainingError: another process trains this run.
        CheckpointError: the folder can't be written.
    """
    path = run / "run.lock"
    try:
        run.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise _not_writable(run, error) from error
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(file, 32, 0).decode(errors="replace").strip() or "unknown"
            raise TrainingError(
                f"{run} is being trained by process {owner}", hint="Wait for it, stop it, or name another --out."
            ) from error
        except OSError as error:  # a file system without locks
            raise _not_writable(run, error) from error
        try:
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            raise _not_writable(run, error) from error
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # the lock counts, not the number in the file
                os.ftruncate(file, 0)
    finally:
        os.close(file)


def _not_writable(run: Path, error: OSError) -> CheckpointError:
    return CheckpointError(
        f"{run} can't be written: {error.strerror or error}", hint="Make room there, or name another folder with --out."
    )

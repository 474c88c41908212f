"""The story of an export.

1. nothing is touched before the config is known to fit
2. low-rank layers are merged, weights get one number format, answers their ends
3. the vocabulary is trimmed if wanted, and the model held against itself
4. the model is asked, written aside, and loaded and asked again by the stock class in a fresh process
5. only then the folder gets its card and its name
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from glob import escape
from pathlib import Path
from typing import Any

import torch

from visiglot.errors import CheckpointError, ModelError
from visiglot.export.counting import Kept
from visiglot.export.prepare import merge, settle_answers
from visiglot.export.probe import Probe, build_probe, example_pictures, logits_along, wide_picture
from visiglot.export.sizes import parameters_of
from visiglot.export.targets import Target, refuse_obstacles
from visiglot.export.verdict import Verdict, prove, tolerance
from visiglot.export.vocabulary import Vocabulary, change_vocabulary, put_rows
from visiglot.models.vlm import VisionLanguageModel

SHOWN = "asked about two drawings that come with Visiglot, and a wide picture that is composed of three more"
LOCK = "held"
"""File in the folder that an export is written in; a living process has locked it."""


@dataclass(frozen=True)
class Exported:
    """A finished export.

    Args:
        folder: where it is.
        vocabulary: what became of the vocabulary.
        verdict: of the fresh process.
        parameters: of each part.
        said: what else was done, a line each.
    """

    folder: Path
    vocabulary: Vocabulary
    verdict: Verdict
    parameters: Mapping[str, int]
    said: tuple[str, ...]


Describe = Callable[["Exported", VisionLanguageModel, Probe, Path], None]
"""(what was done, the model as it was written, what it was asked, the folder): writes the card into the folder."""


def export_model(
    model: VisionLanguageModel,
    processor: Any,
    target: Target,
    out: Path,
    *,
    dtype: str = "fp32",
    kept: Kept | None = None,
    describe: Describe | None = None,
    pictures: Sequence[Path] | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Exported:
    """Write a model as a folder that the target's class loads. The model is used up: in the end it has no weights.

    Args:
        out: a folder that doesn't exist yet, or is empty.
        dtype: "fp32" or "bf16", of the weights that are written.
        kept: what a trimmed vocabulary is for; None keeps all of it.
        describe: writes the card.
        pictures: what the model is asked about; default: two drawings that come with the package, and a wide picture
            of several.
        report: gets a line for each step.

    Raises:
        ModelError: the model doesn't fit the target, or can't be merged or trimmed.
        CheckpointError: the folder can't be written, or what is loaded from it isn't the model. Nothing is left then.
    """
    refuse_taken(out)
    refuse_obstacles(target, model.config)
    with _aside(out) as aside:
        said = merge(model.eval(), dtype)
        settle_answers(model, processor)
        vocabulary = change_vocabulary(model, processor, kept=kept, placeholder=target.looks_up_image_token)
        model.processor = vocabulary.processor
        said += vocabulary_lines(vocabulary, kept)
        folder, scratch = aside / "model", aside / "probe"
        folder.mkdir()
        scratch.mkdir()
        shown = list(pictures or [*example_pictures(), wide_picture(aside)])
        said += [] if pictures else [SHOWN]
        stock_processor = target.processor(model, vocabulary.processor)
        probe = build_probe(model, vocabulary.processor, target, stock_processor, shown)
        if vocabulary.changed:
            refuse_other_logits(model, vocabulary, probe, dtype)
        for line in said:
            report(line)
        target.write(model, stock_processor, folder)
        parameters = parameters_of(model)
        model.to("meta")  # the fresh process needs the memory
        vocabulary = vocabulary.outline()
        report(f"written; loading it with {target.model_class} in a fresh process")
        verdict = prove(folder, target, probe, shown, scratch, dtype=dtype)
        exported = Exported(folder, vocabulary, verdict, parameters, tuple(said))
        if describe is not None:
            describe(exported, model, probe, folder)
        _settle(folder, out)
    return replace(exported, folder=out)


@torch.inference_mode()
def refuse_other_logits(model: VisionLanguageModel, vocabulary: Vocabulary, probe: Probe, dtype: str) -> None:
    """Prove that on the tokens that are kept, a model with other rows gives the logits that it gave before.

    Raises:
        ModelError: it doesn't.
    """
    new_image_id = model.config.image_token_id
    old_ids = vocabulary.old_ids
    tokens = [new for new, old in enumerate(old_ids) if old < vocabulary.before.rows and new != new_image_id]
    before_of = dict(enumerate(old_ids)) | {new_image_id: vocabulary.old_image_id}
    put_rows(model, vocabulary.before, vocabulary.old_image_id)
    try:
        for case in probe.cases:
            ids = [before_of[id_] for id_ in case.sample.ids]
            answer = [before_of.get(id_, 0) for id_ in case.answer]
            logits = logits_along(model, ids, answer, probe.pixels[case.picture])
            apart = float((logits[:, [old_ids[new] for new in tokens]] - case.logits[:, tokens]).abs().max())
            allowed = tolerance(case.logits, dtype)
            if not apart <= allowed:
                raise ModelError(
                    f"with its new vocabulary the model's logits differ by {apart:.3g} ({case.text[-40:]!r}), "
                    f"{allowed:.3g} are allowed",
                    hint="Something in the language model depends on its vocabulary otherwise: leave --languages out.",
                )
    finally:
        put_rows(model, vocabulary.after, new_image_id)


def vocabulary_lines(vocabulary: Vocabulary, kept: Kept | None) -> list[str]:
    """What became of the vocabulary, a line each."""
    before, after = vocabulary.before.rows, vocabulary.after.rows
    if kept is None:
        more = after - before
        return [f"{more} row{'s' if more > 1 else ''} appended to the embedding for the placeholder"] if more else []
    return [
        f"vocabulary of {after:,} rows instead of {before:,}, for {', '.join(kept.languages)} by {kept.told}",
        f"{max(0, vocabulary.saved_parameters):,} parameters and {max(0, vocabulary.saved_bytes):,} bytes less",
        f"{vocabulary.checked:,} texts are cut into the same tokens as before",
    ]


# --- the folder ------------------------------------------------------------------------------------------------------


def refuse_taken(out: Path) -> None:
    """Raise CheckpointError when a folder holds something, or can't be made."""
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise CheckpointError(f"{out} is there already", hint="Name another --out, or delete it yourself.")


@contextmanager
def _aside(out: Path) -> Iterator[Path]:
    """A new folder beside `out`, on the same disk, which is gone afterwards. Raises CheckpointError.

    Those that killed exports to `out` left are removed: this process holds a lock in its own, which ends with it.
    """
    out = out.absolute()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _remove_left(out)
        aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        held = _lock(aside)
    except OSError as error:
        raise CheckpointError(
            f"{out} can't be written: {error.strerror or error}", hint="Name another --out, or correct the permissions."
        ) from error
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        os.close(held)


def _lock(aside: Path) -> int:
    """Hold a folder as long as this process lives; returns the lock's descriptor. Raises OSError."""
    held = os.open(aside / "taking", os.O_RDWR | os.O_CREAT)
    with suppress(OSError):  # a file system without locks
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.rename(aside / "taking", aside / LOCK)  # only now: who sees it by this name sees it held
    return held


def _remove_left(out: Path) -> None:
    """Remove what exports to `out` left that were killed; what a process holds stays."""
    for lock in out.parent.glob(f".{escape(out.name)}.????????/{LOCK}"):
        with suppress(OSError), lock.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)


def _settle(folder: Path, out: Path) -> None:
    """Sync everything in a folder and give it its name. Raises CheckpointError."""
    try:
        mode = (folder / "config.json").stat().st_mode
        for path in folder.glob("*.safetensors"):
            path.chmod(mode)  # safetensors writes for the owner alone
        for path in [*sorted(folder.rglob("*")), folder]:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        if out.is_dir():
            out.rmdir()
        os.rename(folder, out)
    except OSError as error:
        raise CheckpointError(
            f"{out} can't be written: {error.strerror or error}", hint="Make room, or name another --out."
        ) from error

"""Holding an exported folder against the model: the fresh process is run, and its answers are compared.

Shapes: T positions, V rows of the vocabulary.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from visiglot.errors import CheckpointError
from visiglot.export import gate
from visiglot.export.probe import NEW_TOKENS, Case, Probe
from visiglot.export.targets import Target
from visiglot.images import load_image
from visiglot.types import ImageRef

APART = 5e-4
"""How far logits may be apart in float32."""
APART_BF16 = 2**-6
"""The same in bf16, relative to the largest logit of the case: four steps of a number format with 8 bits."""
END = -1
"""Stands behind the last token of an answer."""
NOTHING = "Nothing was left behind."


@dataclass(frozen=True)
class Verdict:
    """What the fresh process showed.

    Args:
        model_class: what the folder was loaded with.
        dtype: number format of the weights.
        cases, pictures: questions, and the pictures that they are about.
        tokens: greedy tokens that are the same.
        apart, allowed: largest difference of a logit, and how much may be.
        moved: how much another picture moves the logits.
    """

    model_class: str
    dtype: str
    cases: int
    pictures: int
    tokens: int
    apart: float
    allowed: float
    moved: float

    def __str__(self) -> str:
        return (
            f"`{self.model_class}` loads it in a fresh process and gives the same {self.tokens} greedy tokens to "
            f"{self.cases} questions about {self.pictures} pictures; logits ({self.dtype}) differ by at most "
            f"{self.apart:.2g}, {self.allowed:.2g} are allowed, and another picture moves them by {self.moved:.2g}"
        )


def prove(
    folder: Path, target: Target, probe: Probe, pictures: Sequence[Path], scratch: Path, *, dtype: str
) -> Verdict:
    """Load an exported folder in a fresh process and compare what it answers.

    Args:
        scratch: an empty folder for the questions and answers.
        dtype: "fp32" or "bf16", the number format of the weights.

    Raises:
        CheckpointError: it can't be loaded, or something differs; says what, and by how much.
    """
    _ask(folder, target, probe, pictures, scratch)
    report = json.loads((scratch / gate.REPORT).read_text(encoding="utf-8"))
    for key in ("missing", "unexpected"):
        if report[key]:
            raise _refused(target, f"{len(report[key])} weights are {key}, {report[key][0]} among them")
    if report["visiglot"] and target.module != "visiglot":
        raise _refused(target, "Visiglot was imported where it may not be there")
    return compare(probe, load_file(scratch / gate.TENSORS), target, dtype=dtype)


def _ask(folder: Path, target: Target, probe: Probe, pictures: Sequence[Path], scratch: Path) -> None:
    """Run the process. Raises CheckpointError."""
    shown = scratch / gate.PICTURES
    shown.mkdir()
    for path in pictures:
        load_image(ImageRef(path.name, path=path)).save(shown / path.name, format="PNG")
    asked = {
        "module": target.module,
        "model_class": target.model_class,
        "processor_class": target.processor_class,
        "cases": [
            {
                "picture": case.picture,
                "form": case.form,
                "text": case.text,
                "answer": list(case.answer),
                "new_tokens": NEW_TOKENS,
            }
            for case in probe.cases
        ],
    }
    (scratch / gate.PROBE).write_text(json.dumps(asked, ensure_ascii=False), encoding="utf-8")
    done = run_gate(folder, scratch)
    if done.returncode:
        last = [line for line in done.stderr.splitlines() if line.strip()][-1:] or [f"exit code {done.returncode}"]
        raise _refused(target, f"loading it or asking it fails: {last[0]}")


def run_gate(folder: Path, scratch: Path) -> subprocess.CompletedProcess[str]:
    """Run `visiglot.export.gate` on a folder and the questions in `scratch`, in a process of its own."""
    command = [sys.executable, "-P", gate.__file__, str(folder), str(scratch)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


# --- comparing -------------------------------------------------------------------------------------------------------


def compare(probe: Probe, found: dict[str, Tensor], target: Target, *, dtype: str) -> Verdict:
    """Compare what a process answered with what the model did.

    Args:
        found: what `visiglot.export.gate` writes.

    Raises:
        CheckpointError: something differs; says what, and by how much.
    """
    apart, allowed, same = 0.0, 0.0, 0
    for number, case in enumerate(probe.cases):
        asked = f"about {case.picture}, {case.text[-60:]!r}"
        if found[f"ids.{number}"].tolist() != list(case.sample.ids):
            raise _refused(target, f"{asked}: its processor makes other tokens than the one that was written")
        seen = _largest(found[f"pixels.{number}"] - probe.pixels[case.picture])
        if seen > 0:
            raise _refused(target, f"{asked}: pixel values differ by {seen:.3g}")
        logits, bound = found[f"logits.{number}"], tolerance(case.logits, dtype)
        if logits.shape != case.logits.shape:
            raise _refused(target, f"{asked}: logits are {list(logits.shape)}, the model's {list(case.logits.shape)}")
        difference = _largest(logits - case.logits)
        if not difference <= bound:
            raise _refused(target, f"{asked}: logits differ by {difference:.3g}, {bound:.3g} are allowed in {dtype}")
        said = found[f"greedy.{number}"].tolist()
        same += _same_tokens(target, asked, case, said, tie=bound if dtype == "bf16" else 0.0)
        apart, allowed = max(apart, difference), max(allowed, bound)
    moved = _moved(probe, found)
    if not moved > 10 * apart or moved == 0:
        raise _refused(target, f"it doesn't see the picture: another one moves its logits by {moved:.3g}")
    return Verdict(
        target.model_class,
        dtype,
        len(probe.cases),
        len(probe.pixels),
        same,
        apart,
        allowed,
        moved,
    )


def tolerance(logits: Tensor, dtype: str) -> float:
    """How far logits may be from `logits` in a number format."""
    return APART if dtype == "fp32" else APART_BF16 * max(1.0, _largest(logits))


def _same_tokens(target: Target, asked: str, case: Case, said: list[int], *, tie: float) -> int:
    """How many greedy tokens are the same from the first on.

    Args:
        tie: how near two logits may be for either to count as the larger; the answers may go apart there.

    Raises:
        CheckpointError: they go apart elsewhere.
    """
    for place, (ours, theirs) in enumerate(zip([*case.answer, END], [*said, END])):
        if ours == theirs:
            continue
        if END in (ours, theirs):
            raise _refused(target, f"{asked}: its greedy answer has {len(said)} tokens, the model's {len(case.answer)}")
        gap = float(case.logits[place, ours] - case.logits[place, theirs])
        if gap <= tie:
            return place
        raise _refused(
            target, f"{asked}: greedy token {place} is {theirs}, the model's {ours}, whose logit is {gap:.3g} larger"
        )
    return len(case.answer)


def _moved(probe: Probe, found: dict[str, Tensor]) -> float:
    """The largest difference between first logits for two pictures under the same prompt."""
    moved = 0.0
    for number, case in enumerate(probe.cases):
        for other, another in enumerate(probe.cases[:number]):
            if (case.form, case.text) == (another.form, another.text) and case.picture != another.picture:
                moved = max(moved, _largest(found[f"logits.{number}"][0] - found[f"logits.{other}"][0]))
    return moved


def _largest(tensor: Tensor) -> float:
    """Largest absolute value; infinite when one isn't finite."""
    values = tensor.float().abs()
    return float(values.max()) if bool(torch.isfinite(values).all()) else float("inf")


def _refused(target: Target, why: str) -> CheckpointError:
    return CheckpointError(
        f"the exported model isn't the model: loaded by {target.model_class} in a fresh process, {why}",
        hint=f"{NOTHING} This is a fault of the export or of this version of transformers; please report it.",
    )

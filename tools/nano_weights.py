"""Weights of a release: written in fewer bytes, shared where they are the same, and held against the run's."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from tools.nano_runs import FinishedRun
from visiglot.cli.prompts import content
from visiglot.data.collate import collate
from visiglot.data.nano.prompts import caption_prompt
from visiglot.errors import CheckpointError, EvaluationError, VisiglotError
from visiglot.evaluate.answers import ModelAnswerer
from visiglot.evaluate.benchmark import Settings
from visiglot.images import load_image
from visiglot.languages import language
from visiglot.models.checkpoint import INDEX, WEIGHTS
from visiglot.models.checkpoint.packed import PACKED, Packing, pack, unpack
from visiglot.models.checkpoint.shared import PARTS, common_names
from visiglot.models.checkpoint.tensors import load_tensors
from visiglot.models.load import load_model
from visiglot.models.processor import VisiglotProcessor
from visiglot.models.vlm import VisionLanguageModel
from visiglot.render import render
from visiglot.types import Example, ImageRef, Message

MOST_APART = 0.05
"""Mean difference of a logit, in standard deviations of the logits. bf16 keeps 8 bits: it is 0.004 near 1."""

Loaded = tuple[VisionLanguageModel, VisiglotProcessor]


# --- writing ---------------------------------------------------------------------------------------------------------


def rounded(tensor: Tensor, packing: Packing) -> Tensor:
    """What is read of a tensor that was packed, in the number format that it has in the model."""
    return unpack(pack({"": tensor}, packing))[""].to(tensor.dtype)


def write_model(run: FinishedRun, folder: Path, packing: Packing, *, without: Collection[str] = ()) -> None:
    """Write what inference and `from:` need of a run's model: its configs, its tokenizer, and its weights, packed.

    Args:
        without: names of tensors that other models keep.

    Raises:
        CheckpointError: its config doesn't state float32, so that the weights wouldn't be read as such; or one of its
            files names a folder of this machine.
    """
    folder.mkdir(parents=True)
    values = json.loads((run.model / "config.json").read_text(encoding="utf-8"))
    stated = {values.get("dtype"), *(values[part].get("dtype", "float32") for part in ("vision_config", "text_config"))}
    if stated != {"float32"}:
        raise CheckpointError(f"{run.model}: its config states {', '.join(map(str, stated))}", hint="Train in float32.")
    for path in sorted(run.model.iterdir()):
        if path.suffix == ".safetensors" or path.name in (INDEX, PARTS):
            continue
        text = path.read_text(encoding="utf-8")
        if str(Path.home()) in text or str(run.folder) in text:
            raise CheckpointError(f"{path} names a folder of this machine", hint="Take the path out of it.")
        if path.name == "tokenizer.json":  # half of it is indentation
            text = json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":"))
        (folder / path.name).write_text(text, encoding="utf-8")
    tensors = load_tensors(str(run.model), "")
    packed = pack({name: value for name, value in tensors.items() if name not in without}, packing)
    about = {"format": "pt", **({PACKED: packing} if packing == "int8" else {})}
    save_file(packed, folder / WEIGHTS, metadata=about)
    (folder / WEIGHTS).chmod(0o644)


def find_common(run: FinishedRun, others: Mapping[str, FinishedRun]) -> set[str]:
    """Names of the tensors that a run's model has of other runs' models, given by part.

    Raises:
        CheckpointError: a part isn't, bit for bit, that of the other run's model.
    """
    own = load_tensors(str(run.model), "")
    found: set[str] = set()
    for part, other in others.items():
        try:
            names = common_names(part, own, load_tensors(str(other.model), ""))
        except CheckpointError as error:
            raise CheckpointError(
                f"{run.folder} wasn't trained from {other.folder}, or changed what it took: its {part} differs at "
                f"{error.message}",
                hint=f"Train it anew from this {other.recipe.name}, with {part} frozen or under low-rank layers.",
            ) from error
        found |= set(names.values())
    return found


# --- proving ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Proof:
    """The shipped model against the run's, on the same pictures and languages.

    Args:
        answers, same_answers: greedy answers, and those that are the same text.
        tokens, same_tokens: places in the run's answers, and those at which both models, reading that answer so far,
            have the same first choice.
        largest, mean: absolute difference of a logit there.
        spread: standard deviation of the run's logits, to compare with.
    """

    pictures: int
    languages: tuple[str, ...]
    answers: int
    same_answers: int
    tokens: int
    same_tokens: int
    largest: float
    mean: float
    spread: float

    def __str__(self) -> str:
        return (
            f"{self.same_answers} of {self.answers} greedy answers ({self.pictures} pictures, "
            f"{', '.join(self.languages)}) are the same text; both have the same first choice at {self.same_tokens} of "
            f"{self.tokens} places; logits differ by {self.mean:.4f} in the mean and {self.largest:.4f} at most, and "
            f"their standard deviation is {self.spread:.3f}"
        )


def refuse_other_weights(
    shipped: VisionLanguageModel, run: VisionLanguageModel, packing: Callable[[str], Packing], where: Path
) -> None:
    """Raise CheckpointError unless every shipped weight is the run's, rounded as `packing` says of its name."""
    own, theirs = shipped.state_dict(), run.state_dict()
    wrong = [
        key
        for key in {**own, **theirs}
        if key not in own
        or key not in theirs
        or own[key].dtype != theirs[key].dtype
        or not torch.equal(own[key], rounded(theirs[key], packing(key)))
    ]
    if wrong:
        raise CheckpointError(
            f"{where}: {len(wrong)} weights aren't the run's, {wrong[0]} among them",
            hint="Writing and reading don't agree; nothing was shipped.",
        )


@torch.no_grad()
def prove(shipped: Loaded, run: Loaded, pictures: Sequence[Path], languages: Sequence[str]) -> Proof:
    """Ask both models about the same pictures.

    Raises:
        EvaluationError: their logits differ by more than MOST_APART.
        VisiglotError: a picture can't be read, or a model can't answer.
    """
    examples = [
        Example(f"{path.name}/{code}", (Message("user", content(caption_prompt(), language(code).name)),), code, (ref,))
        for path in pictures
        for ref in [ImageRef(path.name, path=path)]
        for code in languages
    ]
    wanted, said = _answers(run, examples), _answers(shipped, examples)
    read = [  # an answer that is empty can't be read: the language's own name stands for it
        replace(one, messages=(*one.messages, Message("assistant", (text or language(one.language).native,))))
        for one, text in zip(examples, wanted, strict=True)
    ]
    theirs, labels = _logits(run, read)
    ours, _ = _logits(shipped, read)
    apart = (ours - theirs).abs()
    proof = Proof(
        pictures=len(pictures),
        languages=tuple(languages),
        answers=len(examples),
        same_answers=sum(one == other for one, other in zip(wanted, said, strict=True)),
        tokens=len(labels),
        same_tokens=int((ours.argmax(-1) == theirs.argmax(-1)).sum()),
        largest=float(apart.max()),
        mean=float(apart.mean()),
        spread=float(theirs.std()),
    )
    if not proof.mean <= MOST_APART * proof.spread:
        raise EvaluationError(
            f"the shipped model isn't the run's: {proof}", hint="Take 16 bits a weight: leave --int8 out."
        )
    return proof


def _answers(loaded: Loaded, examples: Sequence[Example]) -> list[str]:
    answerer = ModelAnswerer(*loaded, name="", fingerprint="not needed", max_batch_tokens=16384)
    found: dict[int, str] = {}
    for index, answer in answerer.answer(examples, Settings(max_new_tokens=48)):
        if isinstance(answer, VisiglotError):
            raise answer
        found[index] = answer
    return [found[index] for index in range(len(examples))]


def _logits(loaded: Loaded, examples: Sequence[Example]) -> tuple[Tensor, Tensor]:
    """[P, V] logits at every supervised position, and the labels there [P]."""
    model, processor = loaded
    spec = processor.spec()

    def pixels(refs: Sequence[ImageRef]) -> Tensor:
        return processor.pixel_values([load_image(ref) for ref in refs])

    states = model.target_states(collate([render(one, spec) for one in examples], spec, pixels=pixels))
    return model.head(states.states).float(), states.labels


def load_on_cpu(folder: Path) -> Loaded:
    """Raises CheckpointError."""
    return load_model(str(folder), device="cpu")

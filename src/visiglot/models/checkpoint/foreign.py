"""A model of another format as the state dict of ours, tensors read when they are needed, and an account of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from transformers import GenerationConfig

from visiglot.errors import CheckpointError
from visiglot.models import language_model as lm
from visiglot.models.checkpoint import reading, some
from visiglot.models.checkpoint.formats import Opened
from visiglot.models.checkpoint.weights import StoredTensor, Weights, fetch
from visiglot.models.config import PARTS


class Report(Protocol):
    """What happened while a model was loaded."""

    def lines(self) -> list[str]:
        """For people, one fact a line."""
        ...


@dataclass(frozen=True)
class LoadReport:
    """What happened to the tensors of a checkpoint.

    Args:
        where, kind: what was loaded, and its format.
        loaded: tensors of each part.
        tied: copies of another tensor, which were left out.
        unused: tensors of older versions that nothing needs.
        own_head: whether the LLM's head differs from its embeddings although its config calls them tied.
    """

    where: str
    kind: str
    loaded: dict[str, int]
    tied: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    own_head: bool = False

    def lines(self) -> list[str]:
        """For people, one fact a line."""
        parts = ", ".join(f"{part} {count:,}" for part, count in self.loaded.items())
        said = [f"{self.where}: read as {self.kind}, tensors: {parts}; none is missing, none is new"]
        if self.tied:
            said.append(f"copies of the embeddings, left out: {some(self.tied)}")
        if self.unused:
            said.append(f"of older versions and unused: {some(self.unused)}")
        if self.own_head:
            said.append("the language model's head has weights of its own, although its config says that it is tied")
        return said


def state_of(opened: Opened) -> tuple[dict[str, StoredTensor], LoadReport]:
    """The tensors under our names, unread, without copies of tied ones.

    Raises:
        CheckpointError: some fit nowhere, or embeddings that must be one tensor differ.
    """
    weights, unused, unknown = opened.weights()
    if unknown:
        raise CheckpointError(
            f"{opened.where}: tensors that no part of a {opened.kind} model has: {some(unknown)}",
            hint="The files are of another model: check the name.",
        )
    tied, own_head = _copies(weights, opened)
    state = {name: weights[name] for name in weights if name not in tied}
    loaded = {part: sum(name.startswith(f"{part}.") for name in state) for part in PARTS}
    return state, LoadReport(opened.where, opened.kind, loaded, tuple(tied), tuple(unused), own_head)


def settle_generation(opened: Opened, model: Any) -> None:
    """Let a model answer as its folder's generation config says; where that isn't about the LLM, as the LLM's own does.

    Raises:
        CheckpointError: it can't be read.
    """
    if opened.format.settles_generation and fetch(opened.where, "generation_config.json") is not None:
        with reading(f"{opened.where}: its generation config"):
            model.generation_config = GenerationConfig.from_pretrained(opened.where)
        if opened.kind != "visiglot":
            model.language_model.generation_config = model.generation_config
    else:
        model.generation_config = model.language_model.generation_config


def _copies(weights: Weights, opened: Opened) -> tuple[list[str], bool]:
    """Names of tensors that are copies of the one they are tied to; whether the head is one of its own.

    Some families are called tied whatever their files hold (mT0), so that the numbers decide.
    """
    kind = lm.llm_class(opened.config.text_config)
    copies, own_head = [], False
    for copy, source in dict(kind._tied_weights_keys or {}).items():
        copy, source = f"language_model.{copy}", f"language_model.{source}"
        is_head = not copy.endswith("embed_tokens.weight")
        if copy not in weights or source not in weights or (is_head and not opened.config.tie_word_embeddings):
            continue
        if weights[copy].equals(weights[source]):
            copies.append(copy)
        elif not is_head:
            raise CheckpointError(
                f"{opened.where}: {copy} and {source} differ, but are one tensor in {kind.__name__}",
                hint="The files are damaged, or of another model: fetch them again.",
            )
        else:
            own_head = True
    return copies, own_head

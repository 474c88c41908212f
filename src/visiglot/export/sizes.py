"""How many numbers a model has: one in memory, and one on disk, which isn't loaded for that."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from visiglot.export.tables import read_tables
from visiglot.models.checkpoint.foreign import state_of
from visiglot.models.checkpoint.formats import Opened
from visiglot.models.checkpoint.tensors import own_state
from visiglot.models.config import PARTS
from visiglot.models.vlm import VisionLanguageModel


@dataclass(frozen=True)
class Size:
    """Of a model without low-rank layers.

    Args:
        parameters: of all of it; what is one tensor under several names counts once.
        rows: V, of its vocabulary.
        of_row: how many of the parameters are a row's, in embedding and head.
    """

    parameters: int
    rows: int
    of_row: int


def parameters_of(model: VisionLanguageModel) -> dict[str, int]:
    """Of each part of a model in memory. Weights that were moved no longer share what they shared."""
    return {name: _count(getattr(model, name)) for name in PARTS}


def size_of(opened: Opened) -> Size:
    """Of a model on disk, by its config and by whether its files hold a head beside the embedding.

    The config doesn't say it: mT0's calls the head tied, which has numbers of its own.

    Raises:
        CheckpointError: the files can't be read, or have tensors that fit nowhere.
        ModelError: its vocabulary can't be made out.
    """
    config = deepcopy(opened.config)
    config.lora = None
    with torch.device("meta"):
        model = VisionLanguageModel(config)
    llm = model.language_model
    head = llm.get_output_embeddings()
    if head.weight is llm.get_input_embeddings().weight and _holds_both(_stored(opened), llm, head):
        head.weight = nn.Parameter(torch.empty_like(head.weight))
    tables = read_tables(llm)
    return Size(_count(model), tables.rows, tables.parameters // tables.rows)


def _stored(opened: Opened) -> Iterable[str]:
    """Names of the tensors that are loaded, copies of others left out."""
    return own_state(opened) if opened.kind == "visiglot" else state_of(opened)[0]


def _holds_both(names: Iterable[str], llm: Any, head: nn.Module) -> bool:
    """Whether there are a tensor for the head and one for the embedding that the LLM has it share."""
    plain = {name.replace(".base_layer.", ".") for name in names}  # as low-rank layers name what they adapt
    named = llm.named_parameters(remove_duplicate=False)
    shared = {f"language_model.{name}" for name, value in named if value is head.weight}
    own = {f"language_model.{name}.weight" for name, module in llm.named_modules() if module is head}
    return bool(own & plain) and bool((shared - own) & plain)


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())

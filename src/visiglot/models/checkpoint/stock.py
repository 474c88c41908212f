"""Whole stock models and configs through transformers, with a look at what it left out or made up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AutoConfig
from transformers.utils import logging

from visiglot.models.checkpoint import reading
from visiglot.models.checkpoint.tensors import refuse_misfits

MAY_BE_NEW = ("pooler.",)
"""Heads on top of an encoder that its checkpoint may lack (a classifier's has no pooler); said so when they are new."""


def load_config(where: str) -> Any:
    """The config of a folder or a hub id. Raises CheckpointError."""
    with reading(f"{where}: its config"):
        return AutoConfig.from_pretrained(where)


def load_whole(kind: Any, where: str, *, dtype: Any) -> Any:
    """One of Visiglot's models. Raises CheckpointError unless every weight and no other is there."""
    with reading(f"{where}: its weights"), _without_its_table():
        model, found = kind.from_pretrained(where, dtype=dtype, output_loading_info=True)
    refuse_misfits(where, list(found["missing_keys"]), list(found["unexpected_keys"]))
    return model


def load_stock(kind: Any, where: str, config: Any = None) -> tuple[Any, list[str]]:
    """A stock part in float32, and what there is to say of it.

    What the checkpoint holds beyond the part (a classifier, the other half of a two-tower model) is left out and named.

    Raises:
        CheckpointError: it can't be read, or lacks a weight.
    """
    given = {} if config is None else {"config": config}
    with reading(f"{where}: {kind.__name__}"), _without_its_table():
        model, found = kind.from_pretrained(where, dtype=torch.float32, output_loading_info=True, **given)
    missing = sorted(found["missing_keys"])
    fresh = [key for key in missing if key.startswith(MAY_BE_NEW)]
    refuse_misfits(where, [key for key in missing if key not in fresh], [])
    left_out = sorted({key.split(".")[0] for key in found["unexpected_keys"]})
    said = [f"new, since the checkpoint lacks it: {', '.join(fresh)}"] if fresh else []
    said += [f"left out: {', '.join(left_out)}"] if left_out else []
    return model, said


@contextmanager
def _without_its_table() -> Iterator[None]:
    """Without transformers' warning about keys, which are judged here."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)

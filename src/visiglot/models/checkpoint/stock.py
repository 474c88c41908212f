"""Whole stock models and configs through transformers, with a look at what it left out or made up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer, BlipImageProcessorPil, PreTrainedTokenizerFast
from transformers.utils import logging

from visiglot.models.checkpoint import reading
from visiglot.models.checkpoint.tensors import refuse_misfits
from visiglot.models.checkpoint.weights import fetch

MAY_BE_NEW = ("pooler.",)
"""Heads on top of an encoder that its checkpoint may lack (a classifier's has no pooler); said so when they are new."""


def load_config(where: str) -> Any:
    """The config of a folder or a hub id. Raises CheckpointError."""
    with reading(f"{where}: its config"):
        return AutoConfig.from_pretrained(where)


def load_whole(kind: Any, where: str, *, dtype: Any, fp32_parts: tuple[str, ...] = ()) -> Any:
    """One of Visiglot's models. Raises CheckpointError unless every weight and no other is there."""
    with reading(f"{where}: its weights"), _without_its_table():
        return kind.from_pretrained(where, dtype=dtype, fp32_parts=fp32_parts)


def load_stock(
    kind: Any, where: str, config: Any = None, *, dtype: torch.dtype = torch.float32
) -> tuple[Any, list[str]]:
    """A stock part, and what there is to say of it.

    What the checkpoint holds beyond the part (a classifier, the other half of a two-tower model) is left out and named.

    Raises:
        CheckpointError: it can't be read, or lacks a weight.
    """
    given = {} if config is None else {"config": config}
    with reading(f"{where}: {kind.__name__}"), _without_its_table():
        model, found = kind.from_pretrained(where, dtype=dtype, output_loading_info=True, **given)
    missing = sorted(found["missing_keys"])
    fresh = [key for key in missing if key.startswith(MAY_BE_NEW)]
    refuse_misfits(where, [key for key in missing if key not in fresh], [])
    left_out = sorted({key.split(".")[0] for key in found["unexpected_keys"]})
    said = [f"new, since the checkpoint lacks it: {', '.join(fresh)}"] if fresh else []
    said += [f"left out: {', '.join(left_out)}"] if left_out else []
    return model, said


def load_tokenizer(where: str) -> Any:
    """The tokenizer of a folder or a hub id, also where its config names a class that transformers no longer has.

    Raises:
        CheckpointError: there is none, or it can't be read.
    """
    with reading(f"{where}: its tokenizer"), _without_its_table():
        file = fetch(where, "tokenizer.json")
        try:
            tokenizer = AutoTokenizer.from_pretrained(where)
        except ValueError as error:
            if file is None or "okenizer" not in str(error):
                raise
            return PreTrainedTokenizerFast.from_pretrained(where)
        if file is not None and not _is_as_written(tokenizer, file):
            return PreTrainedTokenizerFast.from_pretrained(where)
        return tokenizer


def _is_as_written(tokenizer: Any, file: Path) -> bool:
    """Whether a tokenizer does what its tokenizer.json says; some classes build another from its vocabulary."""
    said = json.loads(file.read_text(encoding="utf-8"))
    done = json.loads(tokenizer.backend_tokenizer.to_str())
    return all(said.get(step) == done.get(step) for step in ("normalizer", "pre_tokenizer", "decoder")) and bool(
        said["model"].get("byte_fallback")
    ) == bool(done["model"].get("byte_fallback"))


def load_image_processor(where: str, image_size: int) -> Any:
    """A model's own preprocessing; BLIP's (bicubic to a square, CLIP's mean and deviation) where it states none.

    Raises:
        CheckpointError: it can't be read.
    """
    files = ("preprocessor_config.json", "processor_config.json")
    if not any(fetch(where, name) for name in files) and not any(fetch(where, name, sure=True) for name in files):
        return BlipImageProcessorPil(size={"height": image_size, "width": image_size})
    with reading(f"{where}: its preprocessing"), _without_its_table():
        return AutoImageProcessor.from_pretrained(where, backend="pil")


@contextmanager
def _without_its_table() -> Iterator[None]:
    """Without what transformers says at its ease: tables of keys, which are judged here, which backend it took, and a
    bar of weights."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with without_bars():
            yield
    finally:
        logging.set_verbosity(level)


@contextmanager
def without_bars() -> Iterator[None]:
    """Without transformers' own bars; those of the hub's downloads stay as they are."""
    shown = logging.is_progress_bar_enabled()
    hub = disable_progress_bars if are_progress_bars_disabled() else enable_progress_bars
    logging.disable_progress_bar()
    hub()  # which transformers switches too
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
            hub()

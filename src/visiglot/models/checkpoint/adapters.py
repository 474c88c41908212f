"""Low-rank layers that were saved apart from their LLM: PEFT adapters, of today and of 2023, and Lightning checkpoints.

PEFT wrote `base_model.model.X.lora_A.weight` always; in memory, and so in checkpoints of a whole module, the name has
the adapter's own in it (`X.lora_A.default.weight`). What is adapted is told by the tensors: `target_modules` of 2023
(".k", ".o") match nothing by today's rules, and layers would be lost without a word.
"""

from __future__ import annotations

import json
import re
from typing import Any

from torch import nn

from visiglot.errors import CheckpointError
from visiglot.models.checkpoint import OFFLINE, reading
from visiglot.models.checkpoint.tensors import fill_some
from visiglot.models.checkpoint.weights import StoredTensor, Weights, fetch, find_weights, is_weights_file
from visiglot.models.lora import inject_lora
from visiglot.models.parts import adapter_names

CONFIG = "adapter_config.json"
_FILES = ("adapter_model.safetensors", "adapter_model.bin")
_NAME = re.compile(r"^(?P<layer>.+)\.lora_(?P<side>[AB])\.(?:(?P<adapter>[^.]+)\.)?weight$")
_CHANGES = (
    "use_dora", "use_rslora", "fan_in_fan_out", "alpha_pattern", "rank_pattern", "layer_replication", "modules_to_save",
    "lora_bias", "use_qalora", "arrow_config", "trainable_token_indices",
)  # fmt: skip
"""Settings that change what an adapter does, if they are set."""
_ALPHA = 16.0
"""mBLIP's, for files that state none (arXiv 2307.06930)."""


def load_adapter(llm: nn.Module, where: str) -> tuple[dict[str, Any], str]:
    """Put low-rank layers into an LLM that has none, and fill them.

    Args:
        where: folder or hub id of a PEFT adapter, or a file of tensors with low-rank layers among them (whose alpha is
            taken to be mBLIP's 16).

    Returns:
        The `lora` of the model's config, and a line for people.

    Raises:
        CheckpointError: there is no adapter, it is of another kind or of another LLM, or adapts only some of the layers
            that have one name.
    """
    tensors = _adapter_tensors(where)
    layers = {_match(name)["layer"] for name in tensors}
    rank = tensors[min(name for name in tensors if ".lora_A." in name)].shape[0]
    lora = {**_settings(where, rank), "rank": rank, "targets": sorted({layer.rpartition(".")[2] for layer in layers})}
    known = {name for name, _ in llm.named_modules()}
    foreign = sorted(layers - known)
    if foreign:
        raise CheckpointError(
            f"{where}: it adapts {foreign[0]}, and {type(llm).__name__} has no such layer",
            hint="Name the language model that the adapter was trained on.",
        )
    alike = {name for name in known if name.rpartition(".")[2] in lora["targets"]}
    alike &= {name for name, module in llm.named_modules() if isinstance(module, nn.Linear)}
    bare = sorted(alike - layers - _head_names(llm))
    if bare:
        raise CheckpointError(
            f"{where}: it adapts {len(layers)} layers, but not {bare[0]}, which has the name of one that it adapts",
            hint="Merge it into its language model with peft (merge_and_unload), and name the result.",
        )
    inject_lora(llm, lora)
    named = {f"{_match(name)['layer']}.lora_{_match(name)['side']}.default.weight": tensors[name] for name in tensors}
    missing = adapter_names(llm) - set(named)
    if missing:
        raise CheckpointError(f"{where}: {min(missing)} is missing", hint="Fetch or write the adapter again.")
    fill_some(llm, named, where)
    base = _stated_base(where)
    said = f"low-rank layers of {where}: rank {rank} on {', '.join(lora['targets'])}, {len(layers)} layers"
    return lora, f"{said}; made for {base}" if base else said


def _adapter_tensors(where: str) -> dict[str, StoredTensor]:
    """The low-rank tensors, under the names that the LLM's layers have."""
    if is_weights_file(where):
        found = find_weights(where)
    else:
        path = next((path for name in _FILES if (path := fetch(where, name)) is not None), None)
        if path is None:
            raise CheckpointError(f"{where} holds neither {' nor '.join(_FILES)}", hint=OFFLINE)
        found = find_weights(str(path))
    tensors = {_layer_name(name): found[name] for name in found if _NAME.match(name)}
    if not tensors:
        raise CheckpointError(
            f"{where}: none of its {len(found)} tensors is a low-rank one (lora_A, lora_B)",
            hint="Other kinds of adapters (prefix tuning, DoRA) can't be loaded: merge them first.",
        )
    if not is_weights_file(where):
        _refuse_others(where, found)
    return tensors


def _refuse_others(where: str, found: Weights) -> None:
    others = sorted(name for name in found if not _NAME.match(name))
    if others:
        raise CheckpointError(
            f"{where}: {others[0]} is no tensor of low-rank layers",
            hint="Adapters that train other weights too can't be loaded: merge them with peft first.",
        )


def _layer_name(name: str) -> str:
    """Without what PEFT and a vision-language model around the LLM put before the layer's own name."""
    for prefix in ("base_model.model.", "language_model.", "base_model.model."):
        name = name.removeprefix(prefix)
    return name


def _match(name: str) -> dict[str, str]:
    found = _NAME.match(name)
    assert found is not None, name
    return found.groupdict()


def _settings(where: str, rank: int) -> dict[str, Any]:
    """Alpha and dropout."""
    path = None if is_weights_file(where) else fetch(where, CONFIG)
    if path is None:
        return {"alpha": _ALPHA, "dropout": 0.0}
    with reading(f"{where}: {CONFIG}"):
        values = json.loads(path.read_text(encoding="utf-8"))
    odd = {key: values[key] for key in _CHANGES if values.get(key)}
    if values.get("peft_type", "LORA") != "LORA" or odd or values.get("bias", "none") != "none":
        raise CheckpointError(
            f"{where}: {CONFIG} is of kind {values.get('peft_type')!r}, bias {values.get('bias', 'none')!r}"
            + "".join(f", {key}" for key in odd),
            hint="Plain LoRA is what can be loaded: merge the adapter into its language model with peft first.",
        )
    if int(values.get("r", rank)) != rank:
        raise CheckpointError(
            f"{where}: {CONFIG} states rank {values['r']}, its tensors have {rank}", hint="The files don't belong."
        )
    return {"alpha": float(values.get("lora_alpha", _ALPHA)), "dropout": float(values.get("lora_dropout", 0.0))}


def _stated_base(where: str) -> str | None:
    """The language model that an adapter says it was trained on."""
    path = None if is_weights_file(where) else fetch(where, CONFIG)
    return None if path is None else json.loads(path.read_text(encoding="utf-8")).get("base_model_name_or_path")


def _head_names(llm: nn.Module) -> set[str]:
    head = llm.get_output_embeddings()  # type: ignore[operator]
    return {name for name, module in llm.named_modules() if module is head}

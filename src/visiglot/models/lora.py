"""Low-rank layers in an LLM (Hu et al., 2021, arXiv 2106.09685), through peft."""

from __future__ import annotations

import logging
from typing import Any

from torch import nn

from visiglot.errors import ModelError
from visiglot.models import language_model as lm

# peft imports it where it is installed, and it then says which optional kernels there aren't
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def inject_lora(llm: Any, lora: dict[str, Any]) -> None:
    """Put low-rank layers into an LLM, in place (peft).

    Args:
        lora: {"rank", "alpha", "dropout", "targets": last names of linear layers}.

    Raises:
        ModelError: a target matches no layer.
    """
    from peft import LoraConfig, inject_adapter_in_model

    present = set(lm.linear_targets(llm))
    missing = [target for target in lora["targets"] if target not in present]
    if missing:
        raise ModelError(
            f"lora: no linear layer of {type(llm).__name__} is called {', '.join(map(repr, missing))}",
            hint=f"Its linear layers: {', '.join(sorted(present))}.",
        )
    head = llm.get_output_embeddings()
    head_name = next((name for name, module in llm.named_modules() if module is head), None)
    config = LoraConfig(
        r=lora["rank"],
        lora_alpha=lora["alpha"],
        lora_dropout=lora["dropout"],
        target_modules=list(lora["targets"]),
        exclude_modules=None if head_name is None else [head_name],
        bias="none",
    )
    inject_adapter_in_model(config, llm)


def merge_layers(llm: nn.Module) -> None:
    """Add the low-rank layers' product to the weights they adapt and take the layers out, in place."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(llm.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            parent, _, last = name.rpartition(".")
            setattr(llm.get_submodule(parent), last, module.get_base_layer())
    if hasattr(llm, "peft_config"):
        del llm.peft_config  # of layers that are gone; peft would take new ones for further ones

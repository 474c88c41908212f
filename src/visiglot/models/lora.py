"""Low-rank layers in an LLM (Hu et al., 2021, arXiv 2106.09685), through peft."""

from __future__ import annotations

from typing import Any

from visiglot.errors import ModelError
from visiglot.models import language_model as lm


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

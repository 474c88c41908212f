"""A model made ready to be written: low-rank layers merged, one number format, and how its answers begin and end."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import nn

from visiglot.errors import ModelError
from visiglot.models.decode.runner import LanguageModelRunner
from visiglot.models.load import DTYPES
from visiglot.models.parts import merge_lora
from visiglot.models.vlm import VisionLanguageModel


def merge(model: VisionLanguageModel, dtype: str) -> list[str]:
    """Merge low-rank layers onto weights in full precision and give all weights one number format, in place.

    Args:
        dtype: "fp32" or "bf16". Merging is done in float32 whatever it is.

    Returns:
        What was done, a line each.

    Raises:
        ModelError: weights are quantised.
    """
    _refuse_quantised(model)
    lora, said = model.config.lora, []
    cast(model, torch.float32)
    if lora is not None:
        merge_lora(model)
        said.append(f"low-rank layers (rank {lora['rank']}) merged onto float32 weights")
    cast(model, DTYPES[dtype])
    model.requires_grad_(False)
    return said


def cast(model: VisionLanguageModel, dtype: torch.dtype) -> None:
    """Give every weight a number format, in place.

    Buffers that aren't saved (the frequencies of rotary positions) stay as they are: whoever loads the weights computes
    them anew, in float32.
    """
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    kept = model.state_dict().keys()
    for name, module in model.named_modules():
        for last, buffer in module.named_buffers(recurse=False):
            if f"{name}.{last}".removeprefix(".") in kept and buffer.is_floating_point():
                module.register_buffer(last, buffer.to(dtype))
    for config in (model.config, model.config.vision_config, model.config.text_config, model.language_model.config):
        config.dtype = dtype


def _refuse_quantised(model: nn.Module) -> None:
    """Raise ModelError for weights in 8 bits or fewer, and for parts that state a quantisation."""
    found = [name for name, tensor in model.state_dict().items() if tensor.dtype in (torch.int8, torch.uint8)]
    stated = [
        name
        for name, module in model.named_modules()
        if getattr(getattr(module, "config", None), "quantization_config", None) is not None
    ]
    if found or stated:
        raise ModelError(
            f"the model is quantised ({(found or stated)[0]}): full precision can't be had from it",
            hint="Export from the weights that it was quantised from.",
        )


# --- how answers begin and end ---------------------------------------------------------------------------------------


def settle_answers(model: VisionLanguageModel, processor: Any) -> None:
    """Write into the LLM's configs how its answers end here, in place.

    Our decoder stops at the ends that the LLM states and at its tokenizer's; stock classes read them from the configs,
    BLIP-2's from the LLM's own.
    """
    llm, tokenizer = model.language_model, processor.tokenizer
    ends = set(LanguageModelRunner(llm, model.layout).end_ids())
    if tokenizer.eos_token_id is not None:
        ends.add(int(tokenizer.eos_token_id))
    end = sorted(ends) if len(ends) > 1 else next(iter(ends))
    start = llm.generation_config.decoder_start_token_id
    for config in (model.config.text_config, llm.config, llm.generation_config):
        config.eos_token_id = end
        if start is not None:
            config.decoder_start_token_id = start
        if config.pad_token_id is None:
            config.pad_token_id = min(ends) if tokenizer.pad_token_id is None else tokenizer.pad_token_id


def generation_config(model: VisionLanguageModel) -> Any:
    """That of the LLM."""
    return deepcopy(model.language_model.generation_config)


def speaking_tokenizer(processor: Any) -> Any:
    """A copy of a processor's tokenizer that knows the placeholder and writes around a prompt what ours writes.

    Stock processors leave it to the tokenizer to put BOS before a text, and EOS behind one that an encoder reads.

    Raises:
        ModelError: the placeholder isn't the token that the model has for it.
    """
    from tokenizers import AddedToken, processors

    tokenizer = deepcopy(processor.tokenizer)
    token = processor.image_token
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=True)], special_tokens=True)
    found = tokenizer.convert_tokens_to_ids(token)
    if found != processor.image_token_id:
        raise ModelError(f"the tokenizer's {token} is {found}, the model's {processor.image_token_id}")
    spec = processor.spec()
    bare = tokenizer.encode("a", add_special_tokens=False)
    if tokenizer.encode("a") != [*spec.prefix_ids, *bare, *spec.suffix_ids]:
        before, after = (tokenizer.convert_ids_to_tokens(list(ids)) for ids in (spec.prefix_ids, spec.suffix_ids))
        named = list(zip([*before, *after], [*spec.prefix_ids, *spec.suffix_ids]))
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single=[*before, "$A", *after], pair=[*before, "$A", *after, *before, "$B:1", *after], special_tokens=named
        )
        for flag in ("add_bos_token", "add_eos_token"):  # they would be obeyed again when the tokenizer is loaded
            tokenizer.init_kwargs.pop(flag, None)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    return tokenizer

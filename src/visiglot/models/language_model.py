"""What the rest of the house needs to know of a stock LLM: its layout, its hidden states before the head, its head.

Shapes: R rows, L tokens, T target tokens, P supervised positions, D width, V vocabulary.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from visiglot.errors import ModelError
from visiglot.types import IGNORE


def llm_class(config: Any) -> Any:
    """The transformers class of an LLM.

    Raises:
        ModelError: transformers has no causal or encoder-decoder text model for `config`.
    """
    auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    try:
        found = auto._model_mapping[type(config)]
    except KeyError:
        kind = "encoder-decoder" if config.is_encoder_decoder else "causal"
        raise ModelError(
            f"language_model: transformers has no {kind} LLM for {type(config).__name__} "
            f"(model_type {config.model_type!r})",
            hint="Name a text LLM such as t5, mt5, bloom, llama, qwen3 or gemma2.",
        ) from None
    return found[0] if isinstance(found, tuple | list) else found


def build_llm(config: Any, dtype: torch.dtype | None = None) -> Any:
    """A new LLM with random weights for `config`, by default in the config's number format. Raises ModelError."""
    return llm_class(config)._from_config(config, **({} if dtype is None else {"dtype": dtype}))


def settle_layout(config: Any) -> None:
    """Make an LLM's config say whether it is an encoder-decoder, by what transformers has for it, in place.

    Configs of whole models were written that call BLOOM an encoder-decoder. A family that is both keeps its word.
    """
    kinds = [type(config) in auto._model_mapping for auto in (AutoModelForCausalLM, AutoModelForSeq2SeqLM)]
    if kinds[0] != kinds[1]:
        config.is_encoder_decoder = kinds[1]


def position_ids(attention_mask: Tensor) -> Tensor:
    """[R, L] positions that count real tokens only, so that padding on either side moves nothing."""
    return (attention_mask.long().cumsum(-1) - 1).clamp(min=0)


def causal_states(llm: Any, inputs_embeds: Tensor, attention_mask: Tensor) -> Tensor:
    """Hidden states that feed the head of a causal LLM: [R, L, D]."""
    arguments: dict[str, Any] = {"inputs_embeds": inputs_embeds, "attention_mask": attention_mask, "use_cache": False}
    if takes(type(llm.base_model), "position_ids"):
        arguments["position_ids"] = position_ids(attention_mask)
    states: Tensor = llm.base_model(**arguments).last_hidden_state
    return states


def encoder_states(llm: Any, inputs_embeds: Tensor, attention_mask: Tensor) -> Tensor:
    """Output of an encoder-decoder's encoder: [R, L, D]."""
    states: Tensor = llm.get_encoder()(inputs_embeds=inputs_embeds, attention_mask=attention_mask).last_hidden_state
    return states


def decoder_states(llm: Any, encoded: Tensor, attention_mask: Tensor, labels: Tensor) -> Tensor:
    """Hidden states that feed the head of an encoder-decoder, teacher-forced with `labels` [R, T]: [R, T, D]."""
    states: Tensor = llm.get_decoder()(
        input_ids=shift_right(llm, labels),
        encoder_hidden_states=encoded,
        encoder_attention_mask=attention_mask,
        use_cache=False,
    ).last_hidden_state
    return states


def shift_right(llm: Any, labels: Tensor) -> Tensor:
    """Decoder input for `labels` [R, T]: the start token, then the labels less the last. Raises ModelError."""
    start = start_token(llm)
    pad = llm.config.pad_token_id
    shifted = labels.new_full(labels.shape, start)
    shifted[:, 1:] = labels[:, :-1]
    return shifted.masked_fill(shifted == IGNORE, start if pad is None else pad)


def start_token(llm: Any) -> int:
    """Id that an encoder-decoder's answer starts from. Raises ModelError when the model states none."""
    for config in (llm.generation_config, llm.config):
        start = config.to_dict().get("decoder_start_token_id")
        if start is not None:
            return int(start)
    raise ModelError(
        f"language_model: {type(llm).__name__} states no decoder_start_token_id",
        hint="Set decoder_start_token_id in the LLM's config.json.",
    )


def logits_of(llm: Any, states: Tensor) -> Tensor:
    """The LLM's head on hidden states [..., D]: logits [..., V], with what the family does around the head.

    T5 scales the states of a tied head by D**-0.5; Gemma caps the logits softly; Cohere and Granite scale them; BART
    adds a bias. `check_head` proves that this equals the LLM's own logits.
    """
    settings = llm.config.get_text_config().to_dict()
    logits: Tensor = llm.get_output_embeddings()(_scaled(settings, states))
    if settings.get("logit_scale") is not None:
        logits = logits * settings["logit_scale"]
    if settings.get("logits_scaling") is not None:
        logits = logits / settings["logits_scaling"]
    if settings.get("final_logit_softcapping") is not None:
        cap = settings["final_logit_softcapping"]
        logits = torch.tanh(logits / cap) * cap
    bias = dict(llm.named_buffers(recurse=False)).get("final_logits_bias")
    return logits if bias is None else logits + bias.to(logits.dtype)


def linear_head(llm: Any, states: Tensor) -> tuple[nn.Linear, Tensor] | None:
    """A linear layer and what it reads [..., D], whose output is `logits_of`; None for a head that does more."""
    settings = llm.config.get_text_config().to_dict()
    after = ("logit_scale", "logits_scaling", "final_logit_softcapping")
    head = llm.get_output_embeddings()
    if type(head) is not nn.Linear or any(settings.get(name) is not None for name in after):
        return None
    if "final_logits_bias" in dict(llm.named_buffers(recurse=False)):
        return None
    return head, _scaled(settings, states)


def _scaled(settings: dict[str, Any], states: Tensor) -> Tensor:
    """States as the head's linear layer reads them."""
    return states * settings["d_model"] ** -0.5 if settings.get("scale_decoder_outputs") else states


@torch.no_grad()
def check_head(llm: Any, *, tolerance: float = 1e-3) -> None:
    """Prove on a few tokens that states + `logits_of` are the LLM's own logits.

    Raises:
        ModelError: they differ, so that the chunked loss would train something else than the model.
    """
    training = llm.training
    llm.eval()
    device = next(llm.parameters()).device
    ids = torch.arange(1, 5, device=device)[None] % llm.config.get_text_config().vocab_size
    mask = torch.ones_like(ids)
    embeddings = llm.get_input_embeddings()(ids)
    if llm.config.is_encoder_decoder:
        own = llm(inputs_embeds=embeddings, attention_mask=mask, decoder_input_ids=shift_right(llm, ids)).logits
        states = decoder_states(llm, encoder_states(llm, embeddings, mask), mask, ids)
    else:
        own = llm(inputs_embeds=embeddings, attention_mask=mask).logits
        states = causal_states(llm, embeddings, mask)
    ours = logits_of(llm, states)
    llm.train(training)
    apart = (own.float() - ours.float()).abs().max().item()
    if not apart <= tolerance * max(1.0, own.float().abs().max().item()):
        raise ModelError(
            f"language_model: the head of {type(llm).__name__} does more than a linear layer (logits differ by "
            f"{apart:.3g}), so the loss in chunks would be wrong",
            hint="Teach visiglot.models.language_model.logits_of what this family does around its head.",
        )


def linear_targets(llm: nn.Module) -> tuple[str, ...]:
    """Last names of all linear layers of an LLM except its head: what "all-linear" LoRA adapts.

    They are the same when the LLM has low-rank layers already.
    """
    head = llm.get_output_embeddings()  # type: ignore[operator]
    names = {
        name.split(".base_layer")[0].rsplit(".", 1)[-1]  # peft keeps the adapted layer below its own
        for name, module in llm.named_modules()
        if (isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D")
        and module is not head
        and not {"lora_A", "lora_B"} & set(name.split("."))
    }
    return tuple(sorted(names))


def takes(kind: Any, argument: str) -> bool:
    """Whether `kind.forward` names `argument`."""
    return argument in inspect.signature(kind.forward).parameters

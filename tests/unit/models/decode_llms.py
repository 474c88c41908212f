"""Tiny random LLMs for the decoder's tests, a stand-in for the model around them, and `generate` as the oracle."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

from visiglot.models.decode import Decoding, Row
from visiglot.types import Sample

VOCABULARY = 90
ENDS = tuple(range(1, VOCABULARY, 9))
"""Several end tokens, so that some answers of a random model end early."""

_SPECIAL = {"vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 1}
_LLAMA = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
_GEMMA = {**_LLAMA, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 6}
_T5 = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0}
_BART = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 64,
    "decoder_start_token_id": 2,
    "forced_eos_token_id": None,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "t5": _T5,
    "mt5": _T5,
    "umt5": _T5,
    "bart": _BART,
    "m2m_100": {k: v for k, v in _BART.items() if k != "forced_eos_token_id"},
    "llama": _LLAMA,
    "mistral": {**_LLAMA, "sliding_window": 5},
    "qwen2": _LLAMA,
    "qwen3": {**_LLAMA, "head_dim": 8},
    "gemma2": _GEMMA,
    "gemma3_text": _GEMMA,
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "opt": {
        "hidden_size": 32,
        "word_embed_proj_dim": 32,
        "ffn_dim": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 64,
    },
    "falcon": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4},
    "mpt": {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 64},
}
PROMPT_LENGTHS = (4, 9, 6, 13, 2)


@cache
def tiny_llm(kind: str) -> Any:
    """An LLM in fp32 with weights large enough that its answers vary; the tests don't change it."""
    config = AutoConfig.for_model(kind, **_SPECIAL, **CONFIGS[kind])
    torch.manual_seed(7)
    auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    llm = auto.from_config(config).eval()
    with torch.no_grad():
        for parameter in llm.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.4)
        llm.get_input_embeddings().weight.normal_(0, 0.15)
    llm.generation_config.eos_token_id = list(ENDS)
    return llm


class StandIn:
    """What the decoder needs of a VisionLanguageModel, text only."""

    training = False
    device = torch.device("cpu")
    connector = SimpleNamespace(needs_context=False, reads_all_turns=False)

    def __init__(self, llm: Any) -> None:
        self.language_model = llm
        self.layout = "seq2seq" if llm.config.is_encoder_decoder else "causal"

    def embed(self, input_ids: Tensor, attention_mask: Tensor, **_: Any) -> Tensor:
        embeddings: Tensor = self.language_model.get_input_embeddings()(input_ids)
        return embeddings


class Numbers:
    """A tokenizer whose text is the ids."""

    pad_token_id = 0
    eos_token_id = 1

    def decode(self, ids: list[int], **_: Any) -> str:
        return " ".join(map(str, ids))


PROCESSOR = SimpleNamespace(tokenizer=Numbers())


def prompts(lengths: tuple[int, ...] = PROMPT_LENGTHS, seed: int = 3) -> list[tuple[int, ...]]:
    generator = torch.Generator().manual_seed(seed)
    return [tuple(torch.randint(3, VOCABULARY, (length,), generator=generator).tolist()) for length in lengths]


def text_row(key: str, ids: tuple[int, ...], decoding: Decoding) -> Row:
    return Row(key, Sample(key, ids, (), (), "eng_Latn"), None, decoding)


def oracle(
    llm: Any, embeds: Tensor, mask: Tensor, decoding: Decoding, input_ids: Tensor | None = None
) -> tuple[list[tuple[int, ...]], list[float]]:
    """Answers of `generate`, each up to its end token, and its beam scores (none without beams)."""
    beams = {"length_penalty": decoding.length_penalty, "early_stopping": False} if decoding.beams > 1 else {}
    found = llm.generate(
        **({} if input_ids is None else {"input_ids": input_ids}),
        inputs_embeds=embeds,
        attention_mask=mask,
        do_sample=False,
        max_new_tokens=decoding.max_new_tokens,
        min_new_tokens=decoding.min_new_tokens or None,
        num_beams=decoding.beams,
        repetition_penalty=decoding.repetition_penalty,
        return_dict_in_generate=True,
        output_scores=True,
        **beams,
    )
    answers = []
    skip = 1 if llm.config.is_encoder_decoder else 0 if input_ids is None else input_ids.shape[1]
    for sequence in found.sequences.tolist():
        ids = sequence[skip:]
        end = next((position for position, token in enumerate(ids) if token in ENDS), len(ids) - 1)
        answers.append(tuple(ids[: end + 1]))
    return answers, found.sequences_scores.tolist() if decoding.beams > 1 else []


def padded(rows: list[tuple[int, ...]], side: str) -> tuple[Tensor, Tensor]:
    """ids and mask [R, L]."""
    length = max(map(len, rows))
    ids, mask = torch.zeros(len(rows), length, dtype=torch.long), torch.zeros(len(rows), length, dtype=torch.long)
    for position, row in enumerate(rows):
        where = slice(length - len(row), length) if side == "left" else slice(0, len(row))
        ids[position, where] = torch.tensor(row)
        mask[position, where] = 1
    return ids, mask

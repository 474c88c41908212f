"""A step's attention: beams share what belongs to their row's prompt, and half precision takes matrix products."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.unit.models.decode_llms import ENDS, PROCESSOR, StandIn, oracle, padded, prompts, text_row, tiny_llm
from torch import Tensor, nn

from visiglot.models.decode import Answer, Decoder, Decoding, attention
from visiglot.models.decode import cache as kv
from visiglot.models.decode.attention import Fold, folding, step_attention
from visiglot.models.decode.choose import choose

KINDS = ("t5", "umt5", "bart", "m2m_100")


class _Layer(nn.Module):
    is_causal = True


def _numbers(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, bias: Tensor | None) -> Tensor:
    layer = _Layer().eval()
    return step_attention(layer, query, key, value, mask, scaling=0.3, position_bias=bias)[0]


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("entries", [[0, 0, 0, 1, 1, 1], [0, 1, 1, 0, 2, 1], [0, 0, 0, 0, 0, 0]])
def test_folded_sub_rows_see_their_own_prompt(
    entries: list[int], biased: bool, masked: bool, dtype: torch.dtype
) -> None:
    count = max(entries) + 1
    query, key, value = _numbers(6, 2, 1, 4), _numbers(count, 2, 7, 4), _numbers(count, 2, 7, 4) + 1
    mask = torch.arange(7) < torch.tensor([3, 7, 5])[:count, None] if masked else None
    mask = None if mask is None else mask[:, None, None]
    bias = _numbers(1, 2, 1, 7) if biased else None
    scores = 0.3 * query @ key[entries].transpose(-1, -2) + (0 if bias is None else bias)
    if mask is not None:
        scores = scores.masked_fill(~mask[entries], float("-inf"))
    wanted = (scores.softmax(-1) @ value[entries]).transpose(1, 2)
    with folding(Fold.of(entries, torch.device("cpu"))):
        found = _attend(query.to(dtype), key.to(dtype), value.to(dtype), mask, None if bias is None else bias.to(dtype))
    assert found.dtype == dtype
    assert torch.allclose(found.float(), wanted, atol=1e-5 if dtype == torch.float32 else 2e-2)


@torch.no_grad()
def test_half_precision_is_no_less_exact_than_pytorchs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "SCRATCH", 3 * 2 * 9 * 16)  # three rows at a time, the last part has one
    query, key = _numbers(4, 2, 1, 16, dtype=torch.bfloat16), _numbers(4, 2, 9, 16, dtype=torch.bfloat16)
    value = key.flip(2) + 1
    wanted = ((query.double() @ key.double().transpose(-1, -2)).softmax(-1) @ value.double()).transpose(1, 2)
    layer = _Layer().eval()
    ours, _ = step_attention(layer, query, key, value, None, scaling=1.0)
    theirs = nn.functional.scaled_dot_product_attention(query, key, value, scale=1.0).transpose(1, 2)
    assert not torch.equal(ours, theirs), "both are PyTorch's"
    assert (ours - wanted).abs().max() <= (theirs - wanted).abs().max()


def test_calls_that_are_no_step_are_pytorchs_to_the_bit() -> None:
    query, key, value = (_numbers(2, 2, 5, 8, dtype=torch.bfloat16) * scale for scale in (1, 2, 3))
    ours, _ = step_attention(_Layer().eval(), query, key, value, None, scaling=0.5)
    theirs = nn.functional.scaled_dot_product_attention(query, key, value, scale=0.5, is_causal=True)
    assert torch.equal(ours, theirs.transpose(1, 2))


def _beams(llm: Any) -> tuple[list[Answer], list[tuple[int, ...]]]:
    """Answers of rows with beams beside rows without, and those of `generate`."""
    settings = [Decoding(10, beams=beams) for beams in (5, 1, 3, 5, 1)]
    rows = [text_row(str(i), ids, setting) for i, (ids, setting) in enumerate(zip(prompts(), settings))]
    wanted = []
    for ids, setting in zip(prompts(), settings):
        batch, mask = padded([ids], "right")
        wanted += oracle(llm, llm.get_input_embeddings()(batch), mask, setting)[0]
    return list(Decoder(StandIn(llm), PROCESSOR).run(rows).values()), wanted


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", KINDS)
def test_rows_with_and_without_beams_give_the_tokens_of_generate(kind: str, implementation: str) -> None:
    llm = copy.deepcopy(tiny_llm(kind))
    llm.generation_config.eos_token_id = list(ENDS)
    llm.set_attn_implementation(implementation)
    found, wanted = _beams(llm)
    assert (llm.get_decoder().config._attn_implementation == attention.NAME) == (implementation == "sdpa")
    assert [answer.ids for answer in found] == wanted


def test_keys_of_a_prompt_are_held_once_for_all_beams_and_stay_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = Decoder(StandIn(tiny_llm("mt5")), PROCESSOR)
    decoder.add([text_row(str(i), ids, Decoding(20, min_new_tokens=20, beams=4)) for i, ids in enumerate(prompts())])
    moved: list[int] = []
    select = kv.select
    monkeypatch.setattr(kv, "select", lambda layers, index: (moved.append(len(layers)), select(layers, index)))
    before = [layer.keys.data_ptr() for layer in kv.cross_layers(decoder._flights[0].cache)]
    for _ in range(6):
        decoder.step()
    layers = kv.cross_layers(decoder._flights[0].cache)
    assert [layer.keys.data_ptr() for layer in layers] == before
    assert {len(layer.keys) for layer in layers} == {5}
    assert {len(layer.keys) for layer in kv.self_layers(decoder._flights[0].cache)} == {20}
    assert moved, "the beams never swapped, so the test shows nothing"


def test_the_model_is_saved_and_used_elsewhere_as_before(tmp_path: Path) -> None:
    llm = copy.deepcopy(tiny_llm("mt5"))
    ids, mask = padded(prompts(), "right")
    embeds = llm.get_input_embeddings()(ids)
    before = oracle(llm, embeds, mask, Decoding(10, beams=3))
    Decoder(StandIn(llm), PROCESSOR)
    assert oracle(llm, embeds, mask, Decoding(10, beams=3)) == before
    llm.save_pretrained(tmp_path)
    assert attention.NAME not in (tmp_path / "config.json").read_text(encoding="utf-8")
    assert type(llm).from_pretrained(tmp_path).get_decoder().config._attn_implementation == "sdpa"


def test_gradients_of_one_token_are_those_of_the_stock_model() -> None:
    gradients = []
    for decoded in (False, True):
        llm = copy.deepcopy(tiny_llm("mt5")).bfloat16()
        if decoded:
            Decoder(StandIn(llm), PROCESSOR)
        llm(input_ids=torch.tensor([prompts()[0]]), decoder_input_ids=torch.tensor([[0]])).logits.sum().backward()
        gradients.append(llm.decoder.block[0].layer[1].EncDecAttention.k.weight.grad)
    assert gradients[0].abs().sum() > 0
    assert torch.equal(*gradients)


@pytest.mark.parametrize("kind", KINDS)
def test_in_bf16_logits_are_as_near_to_float32_as_the_stock_models(kind: str) -> None:
    llm = copy.deepcopy(tiny_llm(kind)).bfloat16()
    stock, exact = copy.deepcopy(llm), copy.deepcopy(llm).float()
    prompt = prompts()[1]
    decoding = Decoding(8, min_new_tokens=8)
    decoder = Decoder(StandIn(llm), PROCESSOR)
    with torch.inference_mode():
        # two rows of one prompt, so that they fold
        flight, logits = decoder._read([text_row("a", prompt, decoding), text_row("b", prompt, decoding)])
        found, ids = [], []
        for _ in range(6):
            found.append(logits[0].float())
            events, parents = choose(flight.searches, logits)
            ids.append(events[0].token_ids[0])
            flight.keep(parents)
            logits = decoder._runner.step(flight)
        answer = torch.tensor([[decoder._runner.start_id or 0, *ids[:-1]]])
        near, wanted = (
            model(input_ids=torch.tensor([prompt]), decoder_input_ids=answer).logits[0].float()
            for model in (stock, exact)
        )
    assert (torch.stack(found) - wanted).norm() < 1.25 * (near - wanted).norm()

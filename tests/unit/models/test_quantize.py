"""Whole models: what is quantised, that they run and decode afterwards, what they refuse."""

from __future__ import annotations

import copy
import importlib.util
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from tests.tiny import LLM, build_tiny
from tests.unit.models.decode_llms import PROCESSOR, StandIn, prompts, text_row, tiny_llm
from torch import Tensor, nn

from visiglot.errors import MissingExtraError, ModelError, UnknownNameError
from visiglot.evaluate.answers import fingerprint_model
from visiglot.models import language_model as lm
from visiglot.models import quantize
from visiglot.models.decode import Decoder, Decoding
from visiglot.models.lora import inject_lora
from visiglot.models.parts import merge_lora
from visiglot.models.quantize import Quantization, check_quantization, is_quantized, quantize_model
from visiglot.models.quantize.layers import QuantizedLinear
from visiglot.models.vlm import VisionLanguageModel

KINDS: tuple[str, ...] = get_args(Quantization)
DTYPES = (torch.float32, torch.bfloat16)


@pytest.fixture(autouse=True)
def _no_grad() -> Iterator[None]:
    with torch.no_grad():
        yield


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tiny_model(**parts: str) -> VisionLanguageModel:
    model = build_tiny(**parts).model
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.normal_(0, 0.1, generator=generator)
    return model


def logits_of(model: VisionLanguageModel, scale: float = 1.0, count: int = 2) -> Tensor:
    """Of rows that show a picture each; the pictures of all but the first are `scale` times as bright."""
    tokens, place = model.config.tokens_per_image, model.config.image_token_id
    ids = torch.tensor([[place] * tokens + [5, 6, 7, 8]] * count)
    pixels = random(count, 3, 32, 32, seed=4)
    pixels[1:] *= scale
    answer = {"decoder_input_ids": torch.tensor([[0, 9]] * count)} if model.layout == "seq2seq" else {}
    logits: Tensor = model(ids, pixel_values=pixels.to(model.dtype), **answer).logits
    return logits.float()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("llm", sorted(LLM))
@pytest.mark.parametrize("kind", KINDS)
def test_every_family_runs_quantised_whole_and_stays_near_itself(kind: str, llm: str, dtype: torch.dtype) -> None:
    model = tiny_model(vision="blip2", llm=llm).to(dtype)
    full = logits_of(model)
    report = quantize_model(model, kind, "all")
    found = logits_of(model)
    assert len(report) == 6
    assert found.isfinite().all()
    apart = ((found - full).norm() / full.norm()).item()
    assert 0 < apart < (0.45 if kind == "nf4" else 0.05)


@pytest.mark.parametrize("vision", ["vit", "clip", "siglip", "dinov2", "resnet"])
@pytest.mark.parametrize("connector", ["linear", "mlp"])
def test_every_encoder_runs_quantised(vision: str, connector: str) -> None:
    model = tiny_model(vision=vision, llm="llama", connector=connector)
    full = logits_of(model)
    quantize_model(model, "int8", "all")
    assert ((logits_of(model) - full).norm() / full.norm()).item() < 0.1


@pytest.mark.parametrize("llm", ["t5", "mt5", "bloom", "llama", "gpt2", "falcon", "opt", "bart"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_quantised_model_decodes_rows_as_it_decodes_them_alone(kind: str, llm: str) -> None:
    model: Any = StandIn(copy.deepcopy(tiny_llm(llm)))
    for name in quantize.linear_layers(model.language_model):
        owner = model.language_model.get_submodule(name.rpartition(".")[0])
        last = name.rpartition(".")[2]
        setattr(owner, last, quantize._quantized(getattr(owner, last), kind))
    rows = [text_row(str(i), ids, Decoding(6)) for i, ids in enumerate(prompts())]
    alone = {row.key: Decoder(model, PROCESSOR).run([row])[row.key].ids for row in rows}
    together = {key: answer.ids for key, answer in Decoder(model, PROCESSOR).run(rows).items()}
    assert len(set(alone.values())) > 1
    if kind != "llm-int8":
        assert together == alone
    assert together.keys() == alone.keys()


@pytest.mark.parametrize("llm", ["mt5", "bloom"])
def test_what_is_beside_a_row_moves_its_logits_by_nothing_that_matters(llm: str) -> None:
    model = tiny_model(vision="blip2", llm=llm)
    quantize_model(model, "int8", "all")
    alone = logits_of(model, count=1)[0]
    assert torch.allclose(logits_of(model, scale=30)[0], alone, atol=1e-3 * alone.abs().max().item())


@pytest.mark.parametrize("llm", ["t5", "mt5", "bloom", "llama"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_proof_that_the_head_is_the_llms_own_still_holds(kind: str, llm: str) -> None:
    model = tiny_model(llm=llm)
    quantize_model(model, kind)
    lm.check_head(model.language_model)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_cast_to_whole_numbers_before_the_last_layer_of_t5s_blocks(kind: str, dtype: torch.dtype) -> None:
    model = tiny_model(llm="mt5").to(dtype)
    quantize_model(model, kind)
    seen: list[torch.dtype] = []
    for name, module in model.language_model.named_modules():
        if name.endswith(".wo"):
            assert isinstance(module, QuantizedLinear)
            module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype))
    logits_of(model)
    assert set(seen) == {dtype}


def test_the_llm_alone_is_quantised_unless_all_is_asked_for() -> None:
    model = tiny_model(vision="blip2", llm="mt5")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    *others, llm, left = quantize_model(model, "int8")
    quantised = {name for name, module in model.named_modules() if isinstance(module, QuantizedLinear)}
    assert quantised
    assert all(name.startswith("language_model.") for name in quantised)
    for name, value in model.state_dict().items():
        if name.rpartition(".")[0] not in quantised:
            assert torch.equal(value, before[name]), name
    assert llm.startswith(f"language_model  int8: {len(quantised)} linear layers, a scale for each row")
    names = "shared, embed_tokens, relative_attention_bias, lm_head, norms, biases"
    assert left.startswith(f"language_model  left as they were: {names}; ")
    assert [line.split()[0] for line in others] == ["vision", "connector"]
    assert all("left as it was" in line for line in others)


def test_all_takes_the_q_former_and_leaves_the_connectors_own_layers() -> None:
    model = tiny_model(vision="blip2", llm="mt5")
    quantize_model(model, "int8", "all")
    assert isinstance(model.connector.projection, nn.Linear)
    assert is_quantized(model.connector.qformer)
    assert is_quantized(model.vision)
    assert isinstance(model.language_model.lm_head, nn.Linear)
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    assert linear == ["connector.projection", "language_model.lm_head"]


def test_layers_are_replaced_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(llm="llama")
    seen: list[weakref.ref[Tensor]] = []
    held: list[int] = []
    build = quantize._quantized

    def watched(linear: nn.Linear, kind: str) -> QuantizedLinear:
        held.append(sum(reference() is not None for reference in seen))
        seen.append(weakref.ref(linear.weight))
        return build(linear, kind)

    monkeypatch.setattr(quantize, "_quantized", watched)
    quantize_model(model, "int8")
    assert len(held) == 14
    assert max(held) == 0, "weights of layers that were quantised are still held"


@pytest.mark.parametrize("kind", KINDS)
def test_low_rank_layers_stay_and_add_what_they_added(kind: str) -> None:
    model = tiny_model(llm="mt5")
    targets = list(lm.linear_targets(model.language_model))
    model.config.lora = {"rank": 2, "alpha": 4, "dropout": 0.0, "targets": targets}
    inject_lora(model.language_model, model.config.lora)
    without = logits_of(model)
    generator = torch.Generator().manual_seed(2)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.normal_(0, 0.4, generator=generator)
    full = logits_of(model.eval())
    report = quantize_model(model, kind)
    found = logits_of(model)
    assert (found - full).norm() < 0.5 * (full - without).norm()
    assert "low-rank layers" in report[-1]
    assert not any(isinstance(m, QuantizedLinear) for n, m in model.named_modules() if "lora_" in n)
    with pytest.raises(ModelError, match="a quantised model can't be merged"):
        merge_lora(model)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_a_fingerprint_of_its_own_and_keeps_it(kind: str) -> None:
    built = build_tiny(vision="blip2", llm="mt5")
    full = fingerprint_model(built.model, built.processor)
    quantize_model(built.model, kind)
    found = fingerprint_model(built.model, built.processor)
    logits_of(built.model)
    assert fingerprint_model(built.model, built.processor) == found != full


def test_int8_and_llm_int8_have_two_fingerprints() -> None:
    found = set()
    for kind in KINDS:
        built = build_tiny()
        quantize_model(built.model, kind)
        found.add(fingerprint_model(built.model, built.processor))
    assert len(found) == len(KINDS)


def test_a_quantised_model_is_not_saved(tmp_path: Path) -> None:
    model = tiny_model()
    quantize_model(model, "int8")
    with pytest.raises(ModelError, match="a quantised model can't be saved"):
        model.save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_model_is_quantised_once() -> None:
    model = tiny_model()
    quantize_model(model, "int8")
    with pytest.raises(ModelError, match="quantised already"):
        quantize_model(model, "nf4")


def test_names_that_do_not_exist_are_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="no such quantisation: 'int4'") as kind:
        check_quantization("int4")
    assert "int8" in str(kind.value.hint)
    with pytest.raises(UnknownNameError, match="no such choice of parts"):
        check_quantization("int8", "vision")


def test_without_bitsandbytes_int8_is_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    check_quantization("int8")
    with pytest.raises(MissingExtraError) as error:
        check_quantization("nf4")
    assert error.value.hint == "pip install 'visiglot[quantize]'"

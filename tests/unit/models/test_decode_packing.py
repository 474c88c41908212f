"""Packed layers give the same numbers, to the bit."""

from __future__ import annotations

import copy
import weakref
from pathlib import Path

import pytest
import torch
from tests.tiny import build_tiny
from tests.unit.models.decode_llms import PROCESSOR, StandIn, prompts, text_row, tiny_llm
from torch import nn

from visiglot.models.decode import Decoder, Decoding, pack
from visiglot.models.decode.packing import PackedLinear

pytestmark = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this processor has no bf16 kernels of oneDNN"
)


@pytest.mark.parametrize("kind", ["mt5", "bart", "llama", "bloom"])
def test_answers_and_scores_are_the_same_to_the_bit(kind: str) -> None:
    llm = copy.deepcopy(tiny_llm(kind)).bfloat16()
    settings = [Decoding(8, beams=1 + i % 3, min_new_tokens=8) for i in range(5)]
    rows = [text_row(str(i), ids, setting) for i, (ids, setting) in enumerate(zip(prompts(), settings))]
    before = Decoder(StandIn(llm), PROCESSOR).run(rows)
    assert pack(llm) >= 8
    assert Decoder(StandIn(llm), PROCESSOR).run(rows) == before


@pytest.mark.parametrize("bias", [False, True])
def test_a_row_gives_the_same_to_the_bit_alone_and_among_others(bias: bool) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(96, 70, bias=bias).bfloat16()
    packed = PackedLinear(linear)
    rows = torch.randn(9, 1, 96).bfloat16()
    with torch.no_grad():
        wanted = linear(rows)
        for count in (1, 2, 3, 4, 5, 9):
            found = packed(rows[:count])
            assert found.shape == (count, 1, 70)
            assert torch.equal(found, wanted[:count])
        assert torch.equal(packed(rows[0, 0]), wanted[0, 0])
        assert packed(rows[:0]).shape == (0, 1, 70)


def test_every_linear_layer_is_packed_and_tied_embeddings_stay() -> None:
    model = build_tiny(llm="llama").model.bfloat16()
    embeddings = model.get_input_embeddings().weight
    model.language_model.lm_head.weight = embeddings
    words = embeddings.clone()
    count = sum(type(module) is nn.Linear for module in model.modules())
    assert pack(model) == count
    assert sum(isinstance(module, PackedLinear) for module in model.modules()) == count
    assert torch.equal(model.get_input_embeddings().weight, words)


def test_weights_go_as_soon_as_they_are_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a model takes twice its memory meanwhile."""
    llm = copy.deepcopy(tiny_llm("llama")).bfloat16()
    layers = [weakref.ref(module) for module in llm.modules() if type(module) is nn.Linear]
    alive: list[int] = []
    init = PackedLinear.__init__

    def counted(self: PackedLinear, linear: nn.Linear) -> None:
        alive.append(sum(layer() is not None for layer in layers))
        init(self, linear)

    monkeypatch.setattr(PackedLinear, "__init__", counted)
    pack(llm)
    # at most the layers of one block's attention are there beside what isn't packed yet
    assert all(count <= len(layers) - done + 4 for done, count in enumerate(alive))


def test_float32_stays_as_it_is() -> None:
    llm = copy.deepcopy(tiny_llm("llama"))
    assert pack(llm) == 0
    assert not any(isinstance(module, PackedLinear) for module in llm.modules())


def test_a_packed_model_is_not_saved(tmp_path: Path) -> None:
    llm = copy.deepcopy(tiny_llm("llama")).bfloat16()
    pack(llm)
    with pytest.raises((NotImplementedError, RuntimeError)):
        llm.save_pretrained(tmp_path)

"""Single layers: rows apart to the bit, errors, outliers, what is kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from visiglot.errors import ModelError
from visiglot.models.quantize import layers
from visiglot.models.quantize.bnb import LlmInt8Linear, Nf4Linear
from visiglot.models.quantize.layers import Int8Linear

BUILD: dict[str, Any] = {"int8": Int8Linear, "nf4": Nf4Linear, "llm-int8": LlmInt8Linear}
KINDS = tuple(BUILD)
DTYPES = (torch.float32, torch.bfloat16)


@pytest.fixture(autouse=True)
def _no_grad() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture(params=["packed", "plain", "as on CUDA"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How `Int8Linear` multiplies; the last pads rows and widths as `torch._int_mm` wants them on CUDA."""
    if request.param == "packed" and not layers.packs_exactly():
        pytest.skip("this processor has no exact product with packed weights")
    if request.param != "packed":
        monkeypatch.setattr(layers, "packs_exactly", lambda: False)
    if request.param == "as on CUDA":
        monkeypatch.setitem(layers.SHAPES, "cpu", layers.SHAPES["cuda"])
    return str(request.param)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def biased(width: int) -> nn.Parameter:
    return nn.Parameter(random(width, seed=9), requires_grad=False)


def error(layer: nn.Module, weight: Tensor, rows: Tensor, without: int | None = None) -> float:
    """Root mean square error of a layer's products, relative to what all channels, but for one, make of them."""
    wanted = rows.double() @ weight.double().T
    others = rows.clone()
    if without is not None:
        others[:, without] = 0
    signal = others.double() @ weight.double().T
    return ((layer(rows).double() - wanted).norm() / signal.norm()).item()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(48, 64), (7, 33), (256, 640)])
def test_int8_rows_are_equal_to_the_bit_whatever_their_batch_mates(
    way: str, dtype: torch.dtype, shape: tuple[int, int]
) -> None:
    layer = Int8Linear(random(*shape).to(dtype), biased(shape[0]))
    rows = random(40, shape[1], seed=1)
    rows[1] *= 30
    rows[2, 5] *= 50
    rows[3:6, :4] *= 500
    rows[6] = 0
    rows[7] *= 1e-6
    rows = rows.to(dtype)
    alone = [layer(row[None])[0] for row in rows]
    for mates in (list(range(40)), list(range(39, -1, -1)), [1, 0], [2, 8, 3], list(range(8, 25))):
        together = layer(rows[mates])
        assert all(torch.equal(together[place], alone[row]) for place, row in enumerate(mates))


def test_int8_gives_the_same_to_the_bit_in_each_way_of_multiplying(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, rows = random(13, 37), random(5, 37, seed=1)
    rows[3, 2] *= 100
    found = [Int8Linear(weight, None)(rows)]
    monkeypatch.setattr(layers, "packs_exactly", lambda: False)
    found.append(Int8Linear(weight, None)(rows))
    monkeypatch.setitem(layers.SHAPES, "cpu", layers.SHAPES["cuda"])
    found.append(Int8Linear(weight, None)(rows))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["int8", "nf4"])
def test_a_row_beside_a_larger_one_stays_what_it_is(kind: str, dtype: torch.dtype) -> None:
    weight = random(64, 128).to(dtype)
    layer = BUILD[kind](weight, None)
    rows = random(2, 128, seed=1).to(dtype)
    assert torch.allclose(layer(rows * torch.tensor([[1], [30]]))[0], layer(rows[:1])[0], rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_llm_int8_rows_depend_on_outliers_of_their_batch_mates(dtype: torch.dtype) -> None:
    layer = LlmInt8Linear(random(64, 128).to(dtype), None)
    rows = random(2, 128, seed=1).clamp(-3, 3).to(dtype)
    alone = layer(rows[:1])[0]
    assert torch.equal(layer(rows)[0], alone)
    rows[1, :40] = 100
    assert not torch.equal(layer(rows)[0], alone)
    assert "depend on their batch mates" in layer.label


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(64, 512), (32, 48), (7, 33), (96, 160), (16, 16)])
@pytest.mark.parametrize(("kind", "bound"), [("int8", 0.015), ("llm-int8", 0.015), ("nf4", 0.11)])
def test_products_are_near_those_of_the_full_weights(
    kind: str, bound: float, shape: tuple[int, int], dtype: torch.dtype
) -> None:
    weight, rows = random(*shape).to(dtype), random(20, shape[1], seed=1).to(dtype)
    assert 1e-3 < error(BUILD[kind](weight, None), weight, rows) < bound


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_bias_is_added_once_and_leading_dimensions_stay(kind: str, dtype: torch.dtype) -> None:
    weight, rows = random(64, 128).to(dtype), random(2, 3, 128, seed=1).to(dtype)
    bias = nn.Parameter(biased(64).to(dtype), requires_grad=False)
    with_bias, without = BUILD[kind](weight, bias)(rows), BUILD[kind](weight, None)(rows)
    assert with_bias.shape == (2, 3, 64)
    assert with_bias.dtype == dtype
    assert torch.allclose(with_bias, without + bias, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("spike", [50, 500])
def test_int8_keeps_the_other_channels_beside_an_outlier(way: str, spike: float) -> None:
    """What enters `wo`, the last layer of T5's feed-forward blocks, has such channels."""
    weight, rows = random(64, 512), random(20, 512, seed=1)
    rows[:, 7] *= spike
    plain = random(20, 512, seed=1)
    plain[:, 7] = 0
    weight[:, 7] = 0  # so that only the other channels speak, and none of the error is the outlier's own
    assert error(Int8Linear(weight, None), weight, rows, without=7) < 0.015


def test_one_scale_a_row_would_lose_the_other_channels_beside_an_outlier(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, rows = random(64, 512), random(20, 512, seed=1)
    rows[:, 7] *= 500
    weight[:, 7] = 0
    monkeypatch.setattr(layers, "SPIKE", 1e9)
    assert error(Int8Linear(weight, None), weight, rows, without=7) > 0.5


def test_activations_beyond_float16_are_no_trouble_in_int8() -> None:
    weight, rows = random(64, 128), random(3, 128, seed=1) * 1e6
    assert error(Int8Linear(weight, None), weight, rows) < 0.015


@pytest.mark.parametrize("number", [float("inf"), float("nan")])
def test_numbers_that_are_not_finite_stay_so_in_their_row_only(number: float) -> None:
    layer = Int8Linear(random(64, 128), None)
    rows = random(3, 128, seed=1)
    rows[1, 4] = number
    finite = layer(rows).isfinite()
    assert not finite[1].any()
    assert finite[0].all()
    assert finite[2].all()


def test_weights_that_were_stored_in_8_bits_lose_nothing_more() -> None:
    codes = torch.randint(-127, 128, (16, 32), generator=torch.Generator().manual_seed(0))
    codes[:, 0] = 127
    scale = torch.rand(16, generator=torch.Generator().manual_seed(1)) + 0.5
    kept = Int8Linear(codes * scale[:, None], None).kept()
    assert torch.equal(kept["codes"], codes.to(torch.int8))


@pytest.mark.parametrize("kind", KINDS)
def test_a_quantised_layer_says_what_it_keeps_and_how_much_that_is(kind: str) -> None:
    layer = BUILD[kind](random(64, 128), biased(64))
    state = layer.state_dict()
    assert set(state) == {"bias", *layer.kept()}
    assert layer.nbytes == sum(tensor.nbytes for tensor in layer.kept().values())
    assert layer.nbytes <= 64 * 128 * (0.6 if kind == "nf4" else 1.05)
    layer(random(3, 128))
    assert all(torch.equal(value, state[name]) for name, value in layer.state_dict().items())
    rows = random(3, 128, seed=2)
    before = layer(rows)
    layer.state_dict()
    assert torch.equal(layer(rows), before)


@pytest.mark.parametrize("kind", KINDS)
def test_a_number_format_for_all_leaves_what_was_quantised(kind: str) -> None:
    layer = BUILD[kind](random(64, 128), biased(64))
    kept = {name: tensor.clone() for name, tensor in layer.kept().items()}
    layer.to(torch.bfloat16).float().to("cpu")
    assert all(torch.equal(tensor, kept[name]) for name, tensor in layer.kept().items())


def test_a_quantised_layer_is_not_moved_and_has_nothing_that_trains() -> None:
    layer = Int8Linear(random(64, 128), None)
    with pytest.raises(ModelError, match="it can't be moved to meta"):
        layer.to("meta")
    assert not list(layer.parameters())

"""What a quantised linear layer is, and the one with 8-bit weights and activations.

Shapes: M rows of activations, K in, N out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from visiglot.errors import ModelError
from visiglot.models.checkpoint.packed import round_rows

SPIKE = 8
"""A row of activations whose largest value is more than this many times its mean magnitude is rounded in two parts.

So rounding leaves an error of 1.8% of the mean magnitude at most (root mean square), or, in two parts, of 1e-5 of the
largest value. Rows of a normal distribution have about 5; channels with outliers, as there are in large models and
before the last layers of T5's blocks, make it more.
"""

SHAPES: dict[str, tuple[int, int]] = {"cuda": (32, 8)}
"""By type of device: rows that `torch._int_mm` gets at least (CUDA's needs 17), and what widths are a multiple of."""


class QuantizedLinear(nn.Module, ABC):
    """A linear layer that kept its weights in fewer bits. It doesn't train; a gradient passes it.

    What is kept is neither parameter nor buffer: a part's number format is still that of its other weights, and nothing
    casts it. `weight` is None, since T5 casts what goes into its last layers to their weights' format.
    """

    label: ClassVar[str]
    """What a report says of it."""

    weight: None = None

    def __init__(self, weight: Tensor, bias: nn.Parameter | None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.bias = bias
        self.device = weight.device
        self.transposed = False  # whether it stands for a layer with weights [K, N], as GPT-2's are

    @abstractmethod
    def kept(self) -> Mapping[str, Tensor]:
        """What stands for the weights: they follow from it, and it is in the state dict."""

    @abstractmethod
    def product(self, rows: Tensor) -> Tensor:
        """[M, K] -> [M, N], the bias added."""

    @abstractmethod
    def weights(self) -> Tensor:
        """[N, K] the numbers that stand for the weights, in float32 on the layer's device."""

    @property
    def nbytes(self) -> int:
        """Bytes of what is kept."""
        return sum(tensor.nbytes for tensor in self.kept().values())

    def forward(self, inputs: Tensor) -> Tensor:
        """[..., K] -> [..., N]; under autocast in its number format, as linear layers are."""
        if torch.is_autocast_enabled(self.device.type):
            inputs = inputs.to(torch.get_autocast_dtype(self.device.type))
        rows = inputs.reshape(-1, self.in_features)
        if not len(rows):  # some kernels divide by their number
            return inputs.new_zeros(*inputs.shape[:-1], self.out_features)
        passed = rows.requires_grad and torch.is_grad_enabled()
        result: Tensor = _Passed.apply(rows, self) if passed else self.product(rows)  # type: ignore[no-untyped-call]
        return result.view(*inputs.shape[:-1], self.out_features)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination |= {f"{prefix}{name}": tensor for name, tensor in self.kept().items()}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> QuantizedLinear:
        target = fn(torch.empty(0, device=self.device)).device
        if target != self.device:
            raise ModelError(
                f"a quantised model stays on {self.device}, where it was quantised; it can't be moved to {target}",
                hint="Load it onto the device, then quantise it.",
            )
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self


class _Passed(torch.autograd.Function):
    """A layer's product; its gradient is that of a product with `weights`, as if activations weren't rounded."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, layer: QuantizedLinear) -> Tensor:
        ctx.layer = layer
        return layer.product(rows)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        return upstream[0] @ ctx.layer.weights().to(upstream[0].dtype), None


class Int8Linear(QuantizedLinear):
    """Weights and activations in 8 bits, with a scale for each row of either; whole numbers are multiplied.

    Products of whole numbers are exact, and all else is done number by number, so a row gives the same result to the
    bit whatever is beside it. A row with a spike (see `SPIKE`) is split in two rows: what 8 bits hold, and what they
    leave, in 8 bits again.
    """

    label = "a scale for each row of activations, so that rows don't depend on their batch mates"

    def __init__(self, weight: Tensor, bias: nn.Parameter | None) -> None:
        super().__init__(weight, bias)
        codes, self._scale = round_rows(weight.contiguous())  # packing reads memory in order
        self._packed: Tensor | None = None
        self._codes: Tensor | None = None
        self._fewest, multiple = SHAPES.get(weight.device.type, (1, 1))
        self._missing = -self.in_features % multiple
        if weight.device.type == "cpu" and packs_exactly():
            self._packed = torch.ops.onednn.qlinear_prepack(codes, None)
        else:
            self._codes = pad(codes, (0, self._missing, 0, -self.out_features % multiple))

    def kept(self) -> Mapping[str, Tensor]:
        """codes [N, K] and scale [N]: a row of weights is its whole numbers times its scale."""
        if self._packed is not None:
            codes = self._packed.to_dense().t()
        else:
            assert self._codes is not None
            codes = self._codes[: self.out_features, : self.in_features]
        return {"codes": codes, "scale": self._scale}

    @property
    def nbytes(self) -> int:
        """Bytes of what is kept, as `kept` would have to unpack it."""
        return self.in_features * self.out_features + self._scale.nbytes

    def weights(self) -> Tensor:
        """[N, K] whole numbers times scales, in float32."""
        return self.kept()["codes"].contiguous().float() * self._scale.float()[:, None]

    def product(self, rows: Tensor) -> Tensor:
        """[M, K] -> [M, N], the bias added; in float32 inside."""
        values = rows.float()
        step = values.abs().amax(1, keepdim=True) / 127
        values = values / torch.where(step > 0, step, 1.0)
        codes = values.round()
        spiked = (codes.abs().mean(1) < 127 / SPIKE).nonzero().squeeze(1)  # a mean of whole numbers, which is exact
        if len(spiked):
            codes = torch.cat([codes, ((values[spiked] - codes[spiked]) * 254).round()])
        result = self._products(codes)
        if len(spiked):
            result, rest = result[: len(rows)], result[len(rows) :].div_(254)
            result[spiked] = rest.add_(result[spiked])
        result.mul_(step)
        return (result if self.bias is None else result.add_(self.bias)).to(rows.dtype)

    def _products(self, codes: Tensor) -> Tensor:
        """Whole numbers [m, K], as float32 -> [m, N], float32: their products with the weights."""
        if self._packed is not None:
            return _packed_products(codes, self._packed, self._scale)
        assert self._codes is not None
        lacking = max(self._fewest - len(codes), 0)
        filled = pad(codes.to(torch.int8), (0, self._missing, 0, lacking))
        found = torch._int_mm(filled, self._codes.t())
        return found[: len(codes), : self.out_features].float() * self._scale


def _packed_products(codes: Tensor, packed: Tensor, scale: Tensor) -> Tensor:
    """codes [m, K] (whole, float32) times packed weights [N, K] and scale [N]: [m, N] in float32."""
    shifted = (codes + 128).to(torch.uint8)  # what oneDNN has fast kernels for
    zeros = torch.zeros(len(scale), dtype=torch.int64)
    found: Tensor = torch.ops.onednn.qlinear_pointwise(
        shifted, 1.0, 128, packed, scale, zeros, None, 1.0, 0, torch.float32, "none", [], ""
    )
    return found


@cache
def packs_exactly() -> bool:
    """Whether this processor multiplies exactly with weights that were arranged for it beforehand.

    `torch._int_mm` arranges them in each call, which takes longer than multiplying them with the few rows of a decode
    step. oneDNN's layer for quantised models takes arranged ones, but promises less: sums may overflow where there is
    no VNNI, and beyond x86 there may be no fast kernel. So it's tried on the largest sums that there can be.
    """
    if not torch.backends.cpu.get_cpu_capability().startswith("AVX"):
        return False
    generator = torch.Generator().manual_seed(0)
    weight = torch.randint(-127, 128, (40, 72), generator=generator, dtype=torch.int8)
    weight[:8], weight[8:16] = 127, -127
    scale = torch.rand(len(weight), generator=generator) + 0.5
    codes = torch.randint(-127, 128, (37, 72), generator=generator).float()
    codes[0], codes[1], codes[20] = 127, -127, 127
    wanted = torch._int_mm(codes.to(torch.int8), weight.t()).float() * scale
    try:
        packed = torch.ops.onednn.qlinear_prepack(weight, None)
        found = [_packed_products(codes[:rows], packed, scale) for rows in (1, 5, 37)]
    except (AttributeError, RuntimeError):
        return False
    return all(torch.equal(one, wanted[: len(one)]) for one in found)

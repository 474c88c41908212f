"""The layers that are bitsandbytes' (Dettmers et al.): 4 bits, and LLM.int8.

Shapes: M rows of activations, K in, N out.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from visiglot.models.quantize.layers import QuantizedLinear

# It says at each product that activations are cast to float16, and at import which optional kernels there aren't.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

import bitsandbytes  # noqa: E402

BLOCK = 64
"""Weights that share a scale in 4 bits."""

THRESHOLD = 6.0
"""Magnitude from which an activation is an outlier: the paper's."""


class Nf4Linear(QuantizedLinear):
    """Weights in 4 bits, at the quantiles of a normal distribution; products in bf16, or float32 where weights were."""

    label = f"weights in 4 bits, a scale for each {BLOCK}"

    def __init__(self, weight: Tensor, bias: nn.Parameter | None, *, arranged: bool = True) -> None:
        """Args:
        arranged: for the fast kernel that some CPUs have, out of which `weights` come slowly.
        """
        super().__init__(weight, bias)
        # on a CPU, rows that don't end with a block are read with each other's scales
        self._missing = -self.in_features % BLOCK
        weight = pad(weight, (0, self._missing))
        compute = torch.float32 if weight.dtype == torch.float32 else torch.bfloat16
        layer = bitsandbytes.nn.Linear4bit(
            weight.shape[1],
            self.out_features,
            bias=False,
            compute_dtype=compute,
            compress_statistics=False,
            quant_type="nf4",
            device="meta",
        )
        layer.weight = bitsandbytes.nn.Params4bit(
            weight, requires_grad=False, blocksize=BLOCK, compress_statistics=False, quant_type="nf4", module=layer
        )
        # its fast kernel takes 32 outputs at a time, and computes in bf16 whatever it is asked for
        layer.support_avx512bf16_for_cpu &= arranged and self.out_features % 32 == 0 and compute == torch.bfloat16
        layer = layer.to(weight.device).eval()
        with torch.no_grad():
            layer(weight.new_zeros(1, weight.shape[1]))  # arranges the weights for that kernel
        # In a tuple, it is no part of the model: its state dict would rearrange what it keeps, and lose the scales.
        self._layer = (layer,)

    def kept(self) -> Mapping[str, Tensor]:
        """codes, two weights a byte, and the scales of the blocks, both as the kernel reads them."""
        weight = self._layer[0].weight
        return {"codes": weight.data, "scales": weight.quant_state.absmax}

    def weights(self) -> Tensor:
        """[N, K] in float32, rounded to the format of the products."""
        weight = self._layer[0].weight
        if getattr(weight.quant_state, "packing_format_for_cpu", False):
            one = torch.eye(self.in_features + self._missing, device=self.device)
            found: Tensor = self._layer[0](one).t()
        else:
            found = bitsandbytes.functional.dequantize_4bit(weight.data, weight.quant_state)
        unpadded: Tensor = found[:, : self.in_features].float()
        return unpadded

    def product(self, rows: Tensor) -> Tensor:
        """[M, K] -> [M, N], the bias added."""
        result: Tensor = self._layer[0](pad(rows, (0, self._missing)) if self._missing else rows)
        return result if self.bias is None else result + self.bias.to(result.dtype)


class LlmInt8Linear(QuantizedLinear):
    """Weights and activations in 8 bits, but for columns of activations in which any row of the batch has an outlier.

    Those are multiplied as they are, with the weights in 8 bits.
    """

    label = "outlier columns are picked over the whole batch, so that rows depend on their batch mates"

    def __init__(self, weight: Tensor, bias: nn.Parameter | None) -> None:
        super().__init__(weight, bias)
        self._state = bitsandbytes.MatmulLtState()
        self._state.has_fp16_weights = False
        self._state.is_training = False
        self._state.threshold = THRESHOLD
        self._state.CB, self._state.SCB, _ = bitsandbytes.functional.int8_vectorwise_quant(weight.half())

    def kept(self) -> Mapping[str, Tensor]:
        """codes [N, K], the largest magnitude of each row [N], and the threshold [1]."""
        threshold = torch.tensor([THRESHOLD])
        return {"codes": self._state.CB, "largest": self._state.SCB, "threshold": threshold}

    def weights(self) -> Tensor:
        """[N, K] whole numbers times a 127th of the largest magnitudes, in float32."""
        found: Tensor = self._state.CB.float() * (self._state.SCB.float() / 127)[:, None]
        return found

    def product(self, rows: Tensor) -> Tensor:
        """[M, K] -> [M, N], the bias added."""
        result: Tensor = bitsandbytes.matmul(rows, self._state.CB, bias=self.bias, state=self._state)
        return result

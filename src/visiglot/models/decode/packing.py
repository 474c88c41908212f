"""Linear layers whose weights lie in memory as the processor's matrix kernels read them.

PyTorch rearranges a bf16 weight for oneDNN in each call. A decode step multiplies each weight with a few rows only, so
that this takes as long as the product. Done once, the results are the same to the bit, but for those of one row: the
kernel for a single row is slower than that for several, and rounds in another order, so it isn't used. That way a row
gives the same alone as in a batch. (`benchmarks/captions.py` measures the gain. torch.compile with freezing arranges
weights too, after compiling.)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

FEWEST = 4
"""Rows that a product has at least: with fewer it takes longer."""


class PackedLinear(nn.Module):
    """Stands for an `nn.Linear` whose weights were packed: forward only, and not to be saved.

    `weight` keeps shape and dtype but no numbers (meta device), so that what would read them fails.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), None)
        self.weight = nn.Parameter(torch.empty_like(linear.weight, device="meta"), requires_grad=False)
        self.bias = linear.bias

    def forward(self, inputs: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        rows = inputs.reshape(-1, self.in_features)
        lacking = FEWEST - len(rows)
        if lacking > 0:
            rows = pad(rows, (0, 0, 0, lacking))
        output: Tensor = torch.ops.mkldnn._linear_pointwise(rows, self.packed, self.bias, "none", [], "")
        return (output[:-lacking] if lacking > 0 else output).view(*inputs.shape[:-1], self.out_features)


def pack(model: nn.Module) -> int:
    """Pack the linear layers of `model` that are in bf16 on a CPU, in place; how many there were.

    What can't be packed stays as it is: other types and devices, quantised layers. A head that shares its weights with
    the embeddings gets a copy. The model can answer afterwards, but neither train nor be saved.
    """
    has_onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not (has_onednn and torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        return 0
    packed = 0
    # layers that were packed must go at once, so nothing may hold all of them
    for parent in [module for module in model.modules() if type(module) is not nn.Linear]:
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear and child.weight.dtype == torch.bfloat16 and child.weight.device.type == "cpu":
                setattr(parent, name, PackedLinear(child))
                packed += 1
    return packed

"""Nearest captions by inner product: exact, block by block, so that memory doesn't grow with their number.

Shapes: Q captions that are asked for, B of a block, D width of a vector, K nearest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_NONE = torch.iinfo(torch.int64).min
_LOW = 0xFFFFFFFF


@dataclass(frozen=True)
class Captions:
    """What a search compares, of every caption of one language.

    Args:
        vectors: of length 1 [n, D]; may lie on disk.
        texts: equal numbers for captions that say the same [n].
        pictures: equal numbers for captions of one picture, below 0 where there is none [n].
    """

    vectors: NDArray[np.float32]
    texts: NDArray[np.int32]
    pictures: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.texts)


def nearest(captions: Captions, first: int, last: int, most: int, *, block: int, device: str) -> NDArray[np.int64]:
    """The captions nearest to each of captions first...last-1, best first, [Q, most]; -1 where there are no more.

    Never among them: the caption itself, those that say the same, those of the same picture. Of captions that are
    equally near the earlier comes first, so the answer doesn't depend on `block`, up to rounding of the products.

    Args:
        block: captions that are compared with the Q together.
    """
    asked = _block(captions, first, last, device)
    best = torch.full((last - first, 0), _NONE, dtype=torch.int64, device=device)
    for start in range(0, len(captions), block):
        keys = _keys(asked, _block(captions, start, min(start + block, len(captions)), device), start)
        best = torch.cat([best, keys], dim=1)
        best = best.topk(min(most, best.shape[1]), dim=1).values
    found = torch.where(best == _NONE, -1, _LOW - (best & _LOW)).cpu().numpy()
    return np.pad(found, ((0, 0), (0, most - found.shape[1])), constant_values=-1)


def _block(captions: Captions, start: int, stop: int, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Vectors [B, D], texts [B] and pictures [B] on the device."""

    def on_device(values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.array(values[start:stop])).to(device)

    return on_device(captions.vectors), on_device(captions.texts), on_device(captions.pictures)


def _keys(asked: tuple[Tensor, Tensor, Tensor], block: tuple[Tensor, Tensor, Tensor], start: int) -> Tensor:
    """A whole number for each pair [Q, B] that is larger the nearer, then the earlier; _NONE for pairs left out.

    The upper half is the product's bits, turned so that they rise with it; the lower one counts down with the place.
    """
    products = asked[0] @ block[0].T + 0.0  # no -0.0
    bits = products.view(torch.int32)
    rising = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).to(torch.int64)
    places = torch.arange(start, start + len(block[1]), device=bits.device)
    same = (asked[1][:, None] == block[1]) | ((asked[2][:, None] == block[2]) & (block[2] >= 0))
    return ((rising << 32) | (_LOW - places)).masked_fill_(same, _NONE)

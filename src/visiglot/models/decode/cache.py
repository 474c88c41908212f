"""Keys and values of rows that start at different times.

Shapes: B sub-rows (a row has one, with beams several), or M prompts for what belongs to an encoder; H heads,
L positions, d width of a head.

All rows in flight end at the same position; a row that has seen fewer tokens is padded on its left, so that a step adds
one position to all of them. Masks and positions follow from the number of tokens that each row has seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers.cache_utils import Cache, DynamicLayer, EncoderDecoderCache

ROOM = 32
"""Positions by which a full buffer grows, so that most steps write in place instead of copying the past."""


class RowsLayer(DynamicLayer):  # type: ignore[misc]
    """The keys and values of one layer, [B, H, L, d], as views into buffers with room at the end.

    Sliding-window models keep all positions here; their mask hides the ones outside of the window.
    """

    is_initialized: bool

    def __init__(self) -> None:
        super().__init__()
        self._key_buffer: Tensor | None = None
        self._value_buffer: Tensor | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Append [B, H, l, d] and return all keys and values."""
        if not self.is_initialized:
            # prefill: what came is kept, heads apart as attention reads them; room is made at the first step
            self.dtype, self.device = key_states.dtype, key_states.device
            self.keys, self.values = key_states.contiguous(), value_states.contiguous()
            self.is_initialized = True
            return self.keys, self.values
        self._key_buffer, self.keys = _append(self._key_buffer, self.keys, key_states)
        self._value_buffer, self.values = _append(self._value_buffer, self.values, value_states)
        return self.keys, self.values

    def replace(self, keys: Tensor, values: Tensor) -> None:
        """Hold `keys` and `values` from now on."""
        self.keys, self.values = keys, values
        self._key_buffer = self._value_buffer = None


def _append(buffer: Tensor | None, past: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
    """(buffer, view of past and new); the buffer is a new one when there is none or it is full."""
    length, more = past.shape[-2], new.shape[-2]
    if buffer is None or length + more > buffer.shape[-2]:
        rows, heads, _, width = past.shape
        buffer = past.new_empty(rows, heads, length + more + ROOM, width)
        buffer[:, :, :length] = past
    buffer[:, :, length : length + more] = new
    return buffer, buffer[:, :, : length + more]


def new_cache() -> Cache:
    return Cache(layer_class_to_replicate=RowsLayer)


def new_cross_cache() -> EncoderDecoderCache:
    """A decoder's own keys and values, and those of the encoder's states."""
    return EncoderDecoderCache(new_cache(), new_cache())


def self_layers(cache: Cache) -> list[RowsLayer]:
    """Layers over the tokens decoded so far. A layer that reads another's keys holds none and isn't listed."""
    own = cache.self_attention_cache if isinstance(cache, EncoderDecoderCache) else cache
    return [layer for layer in own.layers if layer.is_initialized]


def cross_layers(cache: Cache) -> list[RowsLayer]:
    """Layers over the encoder's states; none for a causal LLM."""
    if not isinstance(cache, EncoderDecoderCache):
        return []
    return [layer for layer in cache.cross_attention_cache.layers if layer.is_initialized]


def select(layers: list[RowsLayer], index: Tensor) -> None:
    """Keep the sub-rows in `index` [B'], in its order, repeated as it says.

    When their number stays, as with beams that swap, only those that change are copied, and buffers keep their room.
    """
    moved = None
    if layers and len(index) == len(layers[0].keys):
        moved = (index != torch.arange(len(index), device=index.device)).nonzero().squeeze(1)
        index = index[moved]
    for layer in layers:
        keys, values = layer.keys.index_select(0, index), layer.values.index_select(0, index)
        if moved is None:
            layer.replace(keys, values)
        else:
            layer.keys.index_copy_(0, moved, keys)
            layer.values.index_copy_(0, moved, values)


def align(layers: list[RowsLayer], ends: Tensor) -> None:
    """Shift each sub-row to the right until it ends where the longest does.

    Args:
        ends: [B] positions up to which each sub-row has something; what stands behind is forgotten.
    """
    longest = int(ends.max())
    source = (torch.arange(longest, device=ends.device) - (longest - ends).unsqueeze(1)).clamp(min=0)  # [B, longest]
    for layer in layers:
        index = source[:, None, :, None].expand(-1, layer.keys.shape[1], -1, layer.keys.shape[3])
        layer.replace(layer.keys.gather(2, index), layer.values.gather(2, index))


@contextmanager
def spread(layers: list[RowsLayer], index: Tensor) -> Iterator[None]:
    """Meanwhile sub-row b holds a copy of what prompt `index[b]` holds."""
    held = [(layer.keys, layer.values) for layer in layers]
    for layer in layers:
        layer.replace(layer.keys.index_select(0, index), layer.values.index_select(0, index))
    try:
        yield
    finally:
        for layer, (keys, values) in zip(layers, held):
            layer.replace(keys, values)


def trim(layers: list[RowsLayer], length: int, *, side: str) -> None:
    """Forget the positions on the left (or right) beyond `length`; only padding may be there."""
    for layer in layers:
        keep = slice(layer.keys.shape[-2] - length, None) if side == "left" else slice(0, length)
        layer.replace(layer.keys[:, :, keep], layer.values[:, :, keep])


def join(layers: list[RowsLayer], others: list[RowsLayer], *, side: str) -> None:
    """Put the sub-rows of `others` after those of `layers`; the shorter ones are padded with zeros on `side`."""
    assert len(layers) == len(others)
    for layer, other in zip(layers, others):
        length = max(layer.keys.shape[-2], other.keys.shape[-2])
        layer.replace(
            torch.cat([widen(layer.keys, length, dim=2, side=side), widen(other.keys, length, dim=2, side=side)]),
            torch.cat([widen(layer.values, length, dim=2, side=side), widen(other.values, length, dim=2, side=side)]),
        )


def widen(tensor: Tensor, length: int, *, dim: int, side: str) -> Tensor:
    """`tensor` with zeros on `side` of dimension `dim` until that has `length` entries."""
    missing = length - tensor.shape[dim]
    if not missing:
        return tensor
    amount = (missing, 0) if side == "left" else (0, missing)
    return pad(tensor, (0, 0) * (tensor.dim() - 1 - dim) + amount)

"""The rows in flight: what is known of them between two forward passes, rows joining and leaving.

Shapes: R rows, B sub-rows (a row has one, with beams several, next to each other), M distinct prompts of an
encoder-decoder, L tokens in the cache, P prompt tokens, D LLM width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from visiglot.models.decode import cache as kv
from visiglot.models.decode.choose import Search


@dataclass
class Flight:
    """Rows that are decoded together.

    Args:
        searches: the R rows.
        widths: sub-rows of each row.
        lengths: tokens that each row has in the cache; the rest of the L positions is padding on the left.
        cache: [B, ...] keys and values of the tokens, and [M, ...] those of the encoder's states.
        memory: the encoder's states [M, P, D], padded on the right; None for a causal LLM.
        memory_lengths: encoder states of each prompt; empty for a causal LLM.
        entries: the prompt of each row, below M, counted in the order of the rows; empty for a causal LLM.
    """

    searches: list[Search]
    widths: list[int]
    lengths: list[int]
    cache: Cache
    memory: Tensor | None
    memory_lengths: list[int]
    entries: list[int]
    device: torch.device

    @property
    def length(self) -> int:
        """L."""
        return max(self.lengths)

    def per_sub_row(self, values: Sequence[int]) -> list[int]:
        """One value for each sub-row from one for each row."""
        return [value for value, width in zip(values, self.widths) for _ in range(width)]

    def memory_mask(self) -> Tensor | None:
        """[M, P] 1 where an encoder state is no padding."""
        if self.memory is None:
            return None
        positions = torch.arange(self.memory.shape[1], device=self.device)
        return (positions < torch.tensor(self.memory_lengths, device=self.device).unsqueeze(1)).long()

    def join(self, other: Flight) -> None:
        """Take the rows of `other` in. The padded length becomes the longer one."""
        kv.join(kv.self_layers(self.cache), kv.self_layers(other.cache), side="left")
        kv.join(kv.cross_layers(self.cache), kv.cross_layers(other.cache), side="right")
        if self.memory is not None:
            assert other.memory is not None
            size = max(self.memory.shape[1], other.memory.shape[1])
            self.entries += [len(self.memory) + entry for entry in other.entries]
            self.memory = torch.cat([kv.widen(part, size, dim=1, side="right") for part in (self.memory, other.memory)])
        self.searches += other.searches
        self.widths += other.widths
        self.lengths += other.lengths
        self.memory_lengths += other.memory_lengths

    def keep(self, parents: Sequence[Sequence[int]]) -> None:
        """Go on with the sub-rows `parents` of each row; rows without any leave.

        The sub-rows of a row read the same prompt, so what belongs to the encoder stays where it is until rows leave.
        """
        index: list[int] = []
        start = 0
        for width, chosen in zip(self.widths, parents):
            index += [start + parent for parent in chosen]
            start += width
        stay = [position for position, chosen in enumerate(parents) if chosen]
        length = self.length
        if stay and index != list(range(start)):
            kv.select(kv.self_layers(self.cache), torch.tensor(index, device=self.device))
        self.searches = [self.searches[position] for position in stay]
        self.widths = [len(parents[position]) for position in stay]
        self.lengths = [self.lengths[position] for position in stay]
        if stay and self.length < length:
            kv.trim(kv.self_layers(self.cache), self.length, side="left")
        if stay and self.memory is not None:
            self._keep_memory([self.entries[position] for position in stay])

    def _keep_memory(self, entries: list[int]) -> None:
        """Forget the prompts that no row reads any more; `entries` are those of the rows that stay."""
        assert self.memory is not None
        used = list(dict.fromkeys(entries))
        if used != list(range(len(self.memory))):
            index = torch.tensor(used, device=self.device)
            kv.select(kv.cross_layers(self.cache), index)
            self.memory = self.memory.index_select(0, index)
            self.memory_lengths = [self.memory_lengths[entry] for entry in used]
        position = {entry: place for place, entry in enumerate(used)}
        self.entries = [position[entry] for entry in entries]
        longest = max(self.memory_lengths)
        if longest < self.memory.shape[1]:
            kv.trim(kv.cross_layers(self.cache), longest, side="right")
            self.memory = self.memory[:, :longest]

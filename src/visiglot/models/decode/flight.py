"""The rows in flight: one forward pass for all of them, rows joining and leaving between passes.

Shapes: R rows, B sub-rows (a row has one, with beams several, next to each other), L tokens in the cache, P prompt
tokens, D LLM width, V vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutput

from visiglot.errors import ModelError
from visiglot.models.decode import cache as kv
from visiglot.models.decode.choose import Search
from visiglot.models.language_model import start_token
from visiglot.types import Layout

ATTENTION_LAYERS = frozenset({"full_attention", "sliding_attention", "chunked_attention"})
"""Kinds of layer whose state is keys and values, which can be padded and joined; recurrent states can't."""


@dataclass
class Flight:
    """Rows that are decoded together.

    Args:
        searches: the R rows.
        widths: sub-rows of each row.
        lengths: tokens that each row has in the cache; the rest of the L positions is padding on the left.
        cache: [B, ...] keys and values.
        memory: the encoder's states [B, P, D], padded on the right; None for a causal LLM.
        prompt_lengths: encoder states of each row; empty for a causal LLM.
    """

    searches: list[Search]
    widths: list[int]
    lengths: list[int]
    cache: Cache
    memory: Tensor | None
    prompt_lengths: list[int]
    device: torch.device

    @property
    def length(self) -> int:
        """L."""
        return max(self.lengths)

    def per_sub_row(self, values: Sequence[int]) -> Tensor:
        """[B] from one value for each row."""
        flat = [value for value, width in zip(values, self.widths) for _ in range(width)]
        return torch.tensor(flat, device=self.device)

    def memory_mask(self) -> Tensor | None:
        """[B, P] 1 where an encoder state is no padding."""
        if self.memory is None:
            return None
        positions = torch.arange(self.memory.shape[1], device=self.memory.device)
        return (positions < self.per_sub_row(self.prompt_lengths).unsqueeze(1)).long()

    def join(self, other: Flight) -> None:
        """Take the rows of `other` in. The padded length becomes the longer one."""
        kv.join(kv.self_layers(self.cache), kv.self_layers(other.cache), side="left")
        kv.join(kv.cross_layers(self.cache), kv.cross_layers(other.cache), side="right")
        if self.memory is not None:
            assert other.memory is not None
            size = max(self.memory.shape[1], other.memory.shape[1])
            self.memory = torch.cat([kv.widen(part, size, dim=1, side="right") for part in (self.memory, other.memory)])
        self.searches += other.searches
        self.widths += other.widths
        self.lengths += other.lengths
        self.prompt_lengths += other.prompt_lengths

    def keep(self, parents: Sequence[Sequence[int]]) -> None:
        """Go on with the sub-rows `parents` of each row; rows without any leave.

        The beams of a row read the same prompt, so what belongs to the encoder moves only when rows leave or get
        their beams.
        """
        index: list[int] = []
        memory_index: list[int] = []
        start = 0
        for width, chosen in zip(self.widths, parents):
            index += [start + parent for parent in chosen]
            memory_index += range(start, start + width) if len(chosen) == width else [start] * len(chosen)
            start += width
        stay = [position for position, chosen in enumerate(parents) if chosen]
        length = self.length
        identity = list(range(start))
        if index and index != identity:
            kv.select(kv.self_layers(self.cache), torch.tensor(index, device=self.device))
        if index and memory_index != identity and self.memory is not None:
            select = torch.tensor(memory_index, device=self.device)
            kv.select(kv.cross_layers(self.cache), select)
            self.memory = self.memory.index_select(0, select)
        self.searches = [self.searches[position] for position in stay]
        self.widths = [len(parents[position]) for position in stay]
        self.lengths = [self.lengths[position] for position in stay]
        self.prompt_lengths = [self.prompt_lengths[position] for position in stay] if self.prompt_lengths else []
        if stay and self.length < length:
            kv.trim(kv.self_layers(self.cache), self.length, side="left")
        if stay and self.memory is not None and max(self.prompt_lengths) < self.memory.shape[1]:
            longest = max(self.prompt_lengths)
            kv.trim(kv.cross_layers(self.cache), longest, side="right")
            self.memory = self.memory[:, :longest]


class LanguageModelRunner:
    """Runs a stock causal or encoder-decoder LLM on rows of different ages.

    Raises:
        ModelError: the LLM keeps more than keys and values, or nothing says how its answers start.
    """

    def __init__(self, language_model: Any, layout: Layout) -> None:
        self.language_model = language_model
        self.layout = layout
        self._parameters = frozenset(inspect.signature(language_model.forward).parameters)
        config = language_model.config.get_text_config(decoder=True)
        kinds = set(getattr(config, "layer_types", None) or ()) - ATTENTION_LAYERS
        if kinds or language_model._is_stateful:
            raise ModelError(
                f"{type(language_model).__name__} keeps more than keys and values, which rows that start at different "
                f"times can't share{': ' if kinds else ''}{', '.join(sorted(kinds))}",
                hint="Decode with its own `generate`, or take an LLM whose layers are all attention.",
            )
        self.start_id = start_token(language_model) if layout == "seq2seq" else None
        # Rows of different ages share a forward pass when a padded row can be told its positions, or has none but
        # relative ones (T5). Else only rows of one age do.
        self.mixes_ages = (
            layout == "causal"
            or "decoder_position_ids" in self._parameters
            or hasattr(config, "relative_attention_num_buckets")
        )
        limit = getattr(config, "max_position_embeddings", None)
        self.max_positions: int | None = limit if isinstance(limit, int) else None

    def end_ids(self) -> frozenset[int]:
        """Tokens that end an answer, by the generation config, else by the model's config."""
        for config in (self.language_model.generation_config, self.language_model.config):
            found = getattr(config, "eos_token_id", None)
            if found is not None:
                return frozenset([found] if isinstance(found, int) else found)
        raise ModelError(
            f"{type(self.language_model).__name__}: nothing says which token ends an answer",
            hint="Set eos_token_id in its generation_config.json.",
        )

    def prefill(self, searches: list[Search], inputs_embeds: Tensor, attention_mask: Tensor) -> tuple[Flight, Tensor]:
        """Read the prompts.

        Args:
            searches: the R rows.
            inputs_embeds: [R, P, D], padded on the left (causal) or on the right (seq2seq).
            attention_mask: [R, P].

        Returns:
            The rows in flight, one sub-row each, and the logits [R, V] of their first token.
        """
        device = inputs_embeds.device
        widths = [1] * len(searches)
        lengths = [int(count) for count in attention_mask.sum(-1).tolist()]
        if self.layout == "causal":
            flight = Flight(searches, widths, lengths, kv.new_cache(), None, [], device)
            positions = (attention_mask.cumsum(-1) - 1).clamp(min=0)
            return flight, self._run(flight, positions, attention_mask, embeds=inputs_embeds)
        encoder = self.language_model.get_encoder()
        memory = encoder(inputs_embeds=inputs_embeds, attention_mask=attention_mask).last_hidden_state
        flight = Flight(searches, widths, [1] * len(searches), kv.new_cross_cache(), memory, lengths, device)
        start = torch.full((len(searches), 1), self.start_id or 0, device=device)
        return flight, self._run(flight, torch.zeros_like(start), torch.ones_like(start), ids=start)

    def step(self, flight: Flight) -> Tensor:
        """Feed each sub-row its last token; the logits [B, V] of the next."""
        ids = torch.tensor([i for search in flight.searches for i in search.last_ids()], device=flight.device)
        positions = flight.per_sub_row(flight.lengths).unsqueeze(1)
        flight.lengths = [length + 1 for length in flight.lengths]
        slots = torch.arange(flight.length, device=flight.device)
        mask = (slots >= flight.length - 1 - positions).long()
        return self._run(flight, positions, mask, ids=ids.unsqueeze(1))

    def _run(
        self,
        flight: Flight,
        positions: Tensor,
        mask: Tensor,
        *,
        ids: Tensor | None = None,
        embeds: Tensor | None = None,
    ) -> Tensor:
        """One forward pass over `ids` or `embeds`: float32 logits [B, V] after the last position.

        Args:
            positions: [B, l] of what is fed.
            mask: [B, L] over what is in the cache and what is fed.
        """
        arguments: dict[str, Any] = {"past_key_values": flight.cache, "use_cache": True}
        if self.layout == "causal":
            arguments |= {"attention_mask": mask, "input_ids": ids, "inputs_embeds": embeds, "position_ids": positions}
        else:
            arguments |= {
                "encoder_outputs": BaseModelOutput(last_hidden_state=flight.memory),
                "attention_mask": flight.memory_mask(),
                "decoder_input_ids": ids,
                "decoder_attention_mask": mask,
                "decoder_position_ids": positions,
            }
        arguments["logits_to_keep"] = 1
        for optional in ("position_ids", "decoder_position_ids", "logits_to_keep"):
            if optional not in self._parameters:
                arguments.pop(optional, None)
        logits = self.language_model(**arguments).logits
        assert isinstance(logits, Tensor)
        return logits[:, -1].float()

"""Forward passes of a stock LLM for rows that are of different ages.

Shapes: R rows, B sub-rows, G groups of rows whose prompts begin alike, M distinct prompts of an encoder-decoder,
P prompt tokens, l tokens that are fed, L tokens in the cache after that, D LLM width, V vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput

from visiglot.errors import ModelError
from visiglot.models.decode import attention
from visiglot.models.decode import cache as kv
from visiglot.models.decode.choose import Search
from visiglot.models.decode.flight import Flight
from visiglot.models.decode.sharing import Prefixes
from visiglot.models.language_model import start_token
from visiglot.types import Layout

ATTENTION_LAYERS = frozenset({"full_attention", "sliding_attention", "chunked_attention"})
"""Kinds of layer whose state is keys and values, which can be padded and joined; recurrent states can't."""


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
        self._folds = layout == "seq2seq" and attention.install(language_model)

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

    # --- prompts ---

    def encode(
        self, searches: list[Search], inputs_embeds: Tensor, attention_mask: Tensor, entries: list[int]
    ) -> tuple[Flight, Tensor]:
        """Read the prompts of an encoder-decoder and take the first step.

        Args:
            searches: the R rows.
            inputs_embeds: [M, P, D], padded on the right.
            attention_mask: [M, P].
            entries: the prompt of each row, counted in the order of the rows.

        Returns:
            The rows in flight, one sub-row each, and the logits [R, V] of their first token.
        """
        device = inputs_embeds.device
        count, lengths = len(inputs_embeds), [int(length) for length in attention_mask.sum(-1).tolist()]
        memory = self.language_model.get_encoder()(inputs_embeds=inputs_embeds, attention_mask=attention_mask)
        ones, cache = [1] * count, kv.new_cross_cache()
        once = Flight(searches, ones, list(ones), cache, memory.last_hidden_state, lengths, list(range(count)), device)
        start = torch.full((count, 1), self.start_id or 0, device=device)
        logits = self._run(once, torch.zeros_like(start), torch.ones_like(start), ids=start)
        if count == len(searches):
            return once, logits
        index = torch.tensor(entries, device=device)
        kv.select(kv.self_layers(cache), index)
        ones = [1] * len(searches)
        return Flight(searches, ones, list(ones), cache, once.memory, lengths, entries, device), logits[index]

    def prefill(
        self, searches: list[Search], inputs_embeds: Tensor, attention_mask: Tensor, prefixes: Prefixes | None
    ) -> tuple[Flight, Tensor]:
        """Read the prompts of a causal LLM, what rows share only once.

        Args:
            searches: the R rows.
            inputs_embeds: [R, P, D], padded on the left.
            attention_mask: [R, P].
            prefixes: what rows share, if they do.

        Returns:
            The rows in flight, one sub-row each, and the logits [R, V] of their first token.
        """
        device = inputs_embeds.device
        lengths = attention_mask.sum(-1)  # [R]
        flight = Flight(searches, [1] * len(searches), lengths.tolist(), kv.new_cache(), None, [], [], device)
        if prefixes is None:
            positions = (attention_mask.cumsum(-1) - 1).clamp(min=0)
            return flight, self._run(flight, positions, attention_mask, embeds=inputs_embeds)
        size = inputs_embeds.shape[1]
        groups = torch.tensor(prefixes.groups, device=device)
        shared = torch.tensor(prefixes.lengths, device=device)  # [G]
        firsts = torch.tensor([prefixes.groups.index(group) for group in range(len(shared))], device=device)

        # the shared tokens, padded on the left: [G, S]
        positions = torch.arange(int(shared.max()), device=device) - (shared.max() - shared).unsqueeze(1)
        prefix_mask = (positions >= 0).long()
        positions = positions.clamp(min=0)
        where = positions + (size - lengths[firsts]).unsqueeze(1)
        self._run(flight, positions, prefix_mask, embeds=inputs_embeds[firsts.unsqueeze(1), where])
        kv.select(kv.self_layers(flight.cache), groups)

        # each row's own, padded on the right, so that nothing stands between what is shared and what isn't
        own = lengths - shared[groups]  # [R]
        offsets = torch.arange(int(own.max()), device=device)
        own_mask = (offsets < own.unsqueeze(1)).long()
        positions = (shared[groups].unsqueeze(1) + offsets).minimum(lengths.unsqueeze(1) - 1)
        where = positions + (size - lengths).unsqueeze(1)
        rows = torch.arange(len(searches), device=device)
        with _head_reads(self.language_model, rows, own - 1):
            logits = self._run(
                flight,
                positions,
                torch.cat([prefix_mask[groups], own_mask], dim=1),
                embeds=inputs_embeds[rows.unsqueeze(1), where],
                last_only=False,
            )
        kv.align(kv.self_layers(flight.cache), prefix_mask.shape[1] + own)
        kv.trim(kv.self_layers(flight.cache), flight.length, side="left")
        return flight, logits

    # --- answers ---

    def step(self, flight: Flight) -> Tensor:
        """Feed each sub-row its last token; the logits [B, V] of the next."""
        ids = torch.tensor([i for search in flight.searches for i in search.last_ids()], device=flight.device)
        positions = torch.tensor(flight.per_sub_row(flight.lengths), device=flight.device).unsqueeze(1)
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
        last_only: bool = True,
    ) -> Tensor:
        """One forward pass over `ids` or `embeds`: logits [B, V] after the last position.

        Args:
            positions: [B, l] of what is fed.
            mask: [B, L] over what is in the cache and what is fed.
            last_only: ask the LLM for the logits of the last position only, if it can be asked.
        """
        arguments: dict[str, Any] = {"past_key_values": flight.cache, "use_cache": True}
        meanwhile: AbstractContextManager[None] = nullcontext()
        if self.layout == "causal":
            arguments |= {"attention_mask": mask, "input_ids": ids, "inputs_embeds": embeds, "position_ids": positions}
        else:
            memory, memory_mask = flight.memory, flight.memory_mask()
            assert memory is not None
            assert memory_mask is not None
            entries = flight.per_sub_row(flight.entries)
            if self._folds and entries != list(range(len(memory))):
                meanwhile = attention.folding(attention.Fold.of(entries, flight.device))
            elif entries != list(range(len(memory))):
                index = torch.tensor(entries, device=flight.device)
                memory, memory_mask = memory[index], memory_mask[index]
                meanwhile = kv.spread(kv.cross_layers(flight.cache), index)
            arguments |= {
                "encoder_outputs": BaseModelOutput(last_hidden_state=memory),
                "attention_mask": memory_mask,
                "decoder_input_ids": ids,
                "decoder_attention_mask": mask,
                "decoder_position_ids": positions,
            }
        if last_only:
            arguments["logits_to_keep"] = 1
        for optional in ("position_ids", "decoder_position_ids", "logits_to_keep"):
            if optional not in self._parameters:
                arguments.pop(optional, None)
        with meanwhile:
            logits = self.language_model(**arguments).logits
        assert isinstance(logits, Tensor)
        return logits[:, -1]


@contextmanager
def _head_reads(language_model: Any, rows: Tensor, positions: Tensor) -> Iterator[None]:
    """Meanwhile the head answers for one position of each row, which is not the same in all.

    Logits of all positions would be hundreds of thousands of numbers each.
    """

    picked: list[Tensor] = []

    def pick(head: torch.nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        picked.append(inputs[0][rows, positions].unsqueeze(1))
        return picked[-1], *inputs[1:]

    handle = language_model.get_output_embeddings().register_forward_pre_hook(pick)
    try:
        yield
        assert len(picked) == 1, f"{type(language_model).__name__} doesn't compute its logits with its head"
    finally:
        handle.remove()

"""The rows of an LLM's vocabulary: its word embeddings, its head, and what else has an entry a token.

Nothing here ties or unties: a head that is the embedding stays it, a head of its own stays its own. transformers'
`resize_token_embeddings` and `tie_weights` are never called, since they overwrite mT0's head with its embedding.

Shapes: V rows, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from visiglot.errors import ModelError


@dataclass(frozen=True)
class Tables:
    """What has one entry for each token.

    Args:
        embedding: [V, D].
        head: [V, D]; None when it is the embedding.
        head_bias: [V], added to the logits by the head or after it; None when there is none.
    """

    embedding: Tensor
    head: Tensor | None
    head_bias: Tensor | None

    @property
    def rows(self) -> int:
        return self.embedding.shape[0]

    @property
    def parameters(self) -> int:
        """Numbers in all of them."""
        return sum(t.numel() for t in (self.embedding, self.head, self.head_bias) if t is not None)

    @property
    def bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in (self.embedding, self.head, self.head_bias) if t is not None)

    def outline(self) -> Tables:
        """Their shapes and number formats without the numbers, on the meta device."""
        head, bias = self.head, self.head_bias
        return Tables(
            self.embedding.to("meta"),
            None if head is None else head.to("meta"),
            None if bias is None else bias.to("meta"),
        )

    def take(self, rows: Sequence[int]) -> Tables:
        """Tables of the rows `rows`, in that order, copied."""
        index = torch.tensor(rows, dtype=torch.long)

        def taken(table: Tensor | None) -> Tensor | None:
            return None if table is None else table[index.to(table.device)].clone()

        embedding = taken(self.embedding)
        assert embedding is not None
        return Tables(embedding, taken(self.head), taken(self.head_bias))


def read_tables(llm: Any) -> Tables:
    """The tables of an LLM; nothing is copied.

    Raises:
        ModelError: embedding or head are quantised, of another kind, or don't fit together.
    """
    embedding, head = llm.get_input_embeddings(), llm.get_output_embeddings()
    _refuse(embedding, nn.Embedding, "word embedding")
    _refuse(head, nn.Linear, "head")
    rows = {
        "its config": llm.config.get_text_config().vocab_size,
        "its word embedding": embedding.weight.shape[0],
        "its head": head.weight.shape[0],
    }
    if len(set(rows.values())) > 1:
        said = ", ".join(f"{name} has {count:,}" for name, count in rows.items())
        raise ModelError(
            f"language_model: its vocabulary makes no sense: {said} tokens",
            hint="Load and save it with transformers first, so that they agree.",
        )
    tied = _same(head.weight, embedding.weight)
    return Tables(embedding.weight.data, None if tied else head.weight.data, _bias(llm, head))


def put_tables(llm: Any, tables: Tables) -> None:
    """Give an LLM other tables, in place: every module that reads the embedding, the head, and the configs."""
    embedding, head = llm.get_input_embeddings(), llm.get_output_embeddings()
    before = embedding.weight
    shared = nn.Parameter(tables.embedding, requires_grad=before.requires_grad)
    own = None if tables.head is None else nn.Parameter(tables.head, requires_grad=head.weight.requires_grad)
    for module in llm.modules():
        if isinstance(module, nn.Embedding) and (_same(module.weight, before) or _equal(module.weight, before)):
            module.weight = shared
            module.num_embeddings = tables.rows
    head.weight = shared if own is None else own
    head.out_features = tables.rows
    if tables.head_bias is not None:
        if head.bias is not None:
            head.bias = nn.Parameter(tables.head_bias, requires_grad=head.bias.requires_grad)
        else:
            llm.final_logits_bias = tables.head_bias[None]
    llm.config.get_text_config().vocab_size = tables.rows


def _refuse(module: Any, kind: type[nn.Module], name: str) -> None:
    """Raise ModelError unless `module` is a layer of its kind, in floating point.

    Embeddings that scale what they look up are embeddings. What quantises a linear layer is a kind of linear layer too,
    so a head must be no other than that.
    """
    fits = type(module) is kind if kind is nn.Linear else isinstance(module, kind)
    if not fits or not module.weight.is_floating_point():
        weight = getattr(module, "weight", None)
        found = type(module).__name__ if weight is None else f"{type(module).__name__}, {weight.dtype}"
        raise ModelError(
            f"language_model: its {name} is quantised or no plain layer ({found}), so rows can't be taken or added",
            hint="Export from weights in full precision.",
        )


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether two parameters are one: the same storage, or on the meta device the same object."""
    if one is other:
        return True
    return one.device.type != "meta" and one.shape == other.shape and one.data_ptr() == other.data_ptr()


def _equal(one: Tensor, other: Tensor) -> bool:
    """Whether a table is a copy of another, as there are after a model was made without weights and filled."""
    return one.shape == other.shape and one.device.type != "meta" and torch.equal(one, other)


def _bias(llm: Any, head: nn.Linear) -> Tensor | None:
    """[V] bias of the logits. BART keeps it as a buffer [1, V] of the LLM."""
    if head.bias is not None:
        return head.bias.data
    buffer = dict(llm.named_buffers(recurse=False)).get("final_logits_bias")
    return None if buffer is None else buffer[0]

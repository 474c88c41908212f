"""What the forward pass of a step leaves for its backward pass, worked out from shapes; see `visiglot.train.memory`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

import torch
from torch import nn

from visiglot.config import Recipe
from visiglot.models.language_model import linear_head
from visiglot.models.vlm import VisionLanguageModel
from visiglot.train.loss import BLOCK
from visiglot.train.sharding import layers_of

LOGIT_BYTES = 12
"""Of one logit: itself, its softmax and its gradient in float32."""


@dataclass(frozen=True, slots=True)
class Pass:
    """What goes through the model at one time on one process.

    Args:
        rows: examples.
        tokens: of each row, image tokens included; of an encoder-decoder, what its encoder reads.
        targets: of each row; an encoder-decoder's decoder reads as many.
        patches, image_tokens: of each picture, of which each row has one; patches of all its views, if it is seen in
            tiles.
        bytes: of a number in the computation: 2 in bf16, 4 in float32.
    """

    rows: int
    tokens: int
    targets: int
    patches: int
    image_tokens: int
    bytes: int


def activations(recipe: Recipe, model: VisionLanguageModel, passed: Pass) -> int:
    """Bytes of what layers are given and make, and of the head's logits."""
    kept = 0
    if _trains(model.vision):
        measured = _checkpointed if "vision" in recipe.train.checkpointed else _kept
        kept += measured(model.vision, passed.rows * passed.patches, passed.bytes)
    kept += _connector(model, passed, again="connector" in recipe.train.checkpointed)
    llm = model.language_model
    encoder_decoder = model.layout == "seq2seq"
    sides = [llm.get_encoder(), llm.get_decoder()] if encoder_decoder else [llm]
    lengths = [passed.tokens, passed.targets] if encoder_decoder else [passed.tokens]
    for side, length in zip(sides, lengths, strict=True):
        each = passed.rows * length
        kept += (
            _checkpointed(side, each, passed.bytes)
            if "language_model" in recipe.train.checkpointed
            else _kept(side, each, passed.bytes, llm.get_output_embeddings())
        )
    positions = min(passed.rows * passed.targets, recipe.train.head_chunk)
    words = int(model.config.get_text_config().vocab_size)
    head = linear_head(llm, torch.empty(0))
    if head is not None and not any(parameter.requires_grad for parameter in head[0].parameters()):
        words = min(words, BLOCK)
    return kept + positions * words * LOGIT_BYTES


def _connector(model: VisionLanguageModel, passed: Pass, *, again: bool) -> int:
    """What is as wide as the encoder reads patches, of all views, and so do the layers of a perceptron that it begins;
    all others read image tokens. Of layers that are computed `again` only the largest counts whole."""
    connector = model.connector
    first = {
        id(layer): next(_linears(block))
        for block in connector.modules()
        if isinstance(block, nn.Sequential)
        for layer in _linears(block)
    }
    layers = list(layers_of(connector)) if again else []
    of_layer = {id(linear): number for number, layer in enumerate(layers) for linear in _linears(layer)}
    kept, whole = 0, [0] * len(layers)
    for linear in _passed(model)["connector"]:
        begins = first.get(id(linear), linear)
        seen = passed.patches if begins.in_features == connector.vision_width else passed.image_tokens
        size = passed.rows * seen * (linear.in_features + linear.out_features) * passed.bytes
        if id(linear) in of_layer:
            whole[of_layer[id(linear)]] += size
        else:
            kept += size
    inputs = (next(_linears(layer)).in_features for layer, size in zip(layers, whole, strict=True) if size)
    return kept + passed.rows * passed.image_tokens * passed.bytes * sum(inputs) + max(whole, default=0)


def _kept(module: nn.Module, tokens: int, size: int, head: nn.Module | None = None) -> int:
    return tokens * size * sum(one.in_features + one.out_features for one in _linears(module) if one is not head)


def _checkpointed(module: nn.Module, tokens: int, size: int) -> int:
    inputs, largest = 0, 0
    for layer in layers_of(module):
        first = next(_linears(layer), None)
        inputs += 0 if first is None else tokens * size * first.in_features
        largest = max(largest, _kept(layer, tokens, size))
    return inputs + largest


# --- copies of weights ------------------------------------------------------------------------------------------------


def rounded_copies(
    recipe: Recipe, model: VisionLanguageModel, passed: Pass, *, narrow: Set[nn.Parameter], cut: bool
) -> int:
    """Bytes of weights as autocast rounds them to bf16, which linear layers that gradients pass keep.

    Of layers that are computed again only the largest's are there at one time. The head's are made in blocks. Layers
    that read what no gradient is asked of, such as frozen features, keep none: they count all the same.

    Args:
        narrow: what is in bf16, or in fewer bits, by itself.
        cut: whether layers of encoder and language model are put together in bf16, and let go of after use (FSDP2).
    """
    if passed.bytes != 2:
        return 0
    again = recipe.train.checkpointed
    head = model.language_model.get_output_embeddings()

    def size(linear: nn.Linear) -> int:
        weight = linear.weight
        apart = linear is head or weight in narrow or ("weights" in again and weight.requires_grad)
        return 0 if apart else 2 * weight.numel()

    total = 0
    for part, linears in _passed(model).items():
        layers = list(layers_of(getattr(model, part)))
        inside = {id(linear) for layer in layers for linear in _linears(layer)}
        released = part in again or (cut and part != "connector")
        total += sum(size(linear) for linear in linears if not (released and id(linear) in inside))
        if part in again and linears:
            total += max((sum(map(size, _linears(layer))) for layer in layers), default=0)
    return total


# --- linear layers ----------------------------------------------------------------------------------------------------


def _passed(model: VisionLanguageModel) -> Mapping[str, Sequence[nn.Linear]]:
    """The linear layers of each part that gradients pass.

    Of the connector it's neither what is bypassed nor, while it and the encoder are frozen, what `reading` names.
    """
    connector = model.connector
    silent = connector.can_bypass if connector.bypassed else ()
    read = (p for name, p in connector.named_parameters() if name.partition(".")[0] in connector.reading)
    if not _trains(model.vision) and not any(parameter.requires_grad for parameter in read):
        silent += connector.reading
    silent = tuple(f"{name}." for name in silent)
    seen = _trains(model.vision) or _trains(connector)
    named = connector.named_modules()
    return {
        "vision": list(_linears(model.vision)) if _trains(model.vision) else [],
        "connector": [m for name, m in named if isinstance(m, nn.Linear) and seen and not name.startswith(silent)],
        "language_model": list(_linears(model.language_model)),
    }


def _trains(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


def _linears(module: nn.Module) -> Iterator[nn.Linear]:
    yield from (one for one in module.modules() if isinstance(one, nn.Linear))

"""What a stage takes of one device's memory, worked out from shapes before anything is allocated.

Exact, as the tests measure it:

    weights      what trains and buffers as they are (4 bytes a number); what is frozen in a number format of `FORMATS`
    gradients    4 bytes for each number that trains
    optimiser    AdamW: two moments of 4 bytes and a step count of 4 bytes a tensor; Muon: one moment of its matrices

With ZeRO they are so up to what fills pieces up, and step counts, which flat pieces have one of: fewer than 4 processes
and 2 bytes a tensor. Stage 2 has a second copy of the weights that its optimiser updates, counted with the optimiser.
Stage 3 keeps what lies outside the layers whole, and a piece of it beside that (`visiglot.train.zero`).

An estimate:

    activations  rows x tokens x (in + out) x bytes of the computation, summed over the linear layers that gradients
                 pass. A transformer layer of width h with a perceptron of 4h comes to 36 h bytes a token in 16 bits;
                 Korthikanti et al. (2022, arXiv 2205.05198) count 34 h, without the scores, which fused attention
                 doesn't keep. With gradient checkpointing each layer of its parts keeps its input, and the largest
                 is there whole. To that the head's logits, softmax and gradient: up to `train.head_chunk`
                 positions x vocabulary x 12 bytes; of a frozen linear head x 8,192 words (`visiglot.train.loss`).
    copies       of weights that autocast rounds to bf16: 2 bytes for each number of a linear layer that gradients pass,
                 unless it is in bf16 or fewer bits by itself
    exchange     DDP: a copy of the gradients, in buckets. FSDP2: what lies outside the layers of encoder and language
                 model, in 32 bits, and two layers, whole (`visiglot.train.sharding`). ZeRO: a bucket of gradients, and
                 in stage 2 another copy of a part's piece, in stage 3 the layers that are whole at one time

Rows are taken to be as long as the recipe allows, so a stage with shorter ones takes less. Not in it: CUDA's context
and libraries, what the allocator holds beside what is used, and a frozen encoder's own activations, which live for one
layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from torch import nn

from visiglot.config import Recipe, StageSection
from visiglot.models.config import PARTS
from visiglot.models.quantize import linear_layers
from visiglot.models.vlm import VisionLanguageModel
from visiglot.train.activations import Pass, activations, rounded_copies
from visiglot.train.objectives import Objective
from visiglot.train.optimiser import hidden_matrices
from visiglot.train.precision import frozen_matrices
from visiglot.train.sharding import Sharding, cut_layers, layers_of
from visiglot.train.zero import BUCKET, LIVE, WHOLE_BELOW

Format = Literal["fp32", "bf16", "int8", "nf4"]
FORMATS: tuple[Format, ...] = ("fp32", "bf16", "int8", "nf4")
"""Of frozen weights. In int8 and nf4 only the language model's linear layers are, and all else is in bf16."""

FORMAT_OF: Mapping[str | None, Format] = {None: "fp32", "int8": "int8", "llm-int8": "int8", "nf4": "nf4"}
"""What `model.language_model.quantize` leaves frozen weights in."""

NF4_BLOCK = 64
"""Weights that share a scale (visiglot.models.quantize.bnb)."""


@dataclass(frozen=True, slots=True)
class PartMemory:
    """Numbers (parameters, those that train) and bytes of one part on one process."""

    name: str
    parameters: int
    trained: int
    weights: int
    gradients: int
    optimiser: int


@dataclass(frozen=True, slots=True)
class StageMemory:
    """Bytes of a stage on one process; see the module."""

    parts: tuple[PartMemory, ...]
    activations: int
    copies: int
    exchange: int

    @property
    def weights(self) -> int:
        return sum(part.weights for part in self.parts)

    @property
    def gradients(self) -> int:
        return sum(part.gradients for part in self.parts)

    @property
    def optimiser(self) -> int:
        return sum(part.optimiser for part in self.parts)

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimiser + self.activations + self.copies + self.exchange


def longest_pass(recipe: Recipe, stage: StageSection, model: VisionLanguageModel, patches: int, processes: int) -> Pass:
    """The largest forward pass that a stage may make."""
    rows = -(-stage.batch.rows // (stage.batch.accumulate * processes))
    longest = recipe.model.prompt.max_length
    if stage.batch.tokens is not None:
        each = longest * (2 if model.layout == "seq2seq" else 1)
        rows = max(1, min(rows, stage.batch.tokens // each))
    return Pass(
        rows=rows,
        tokens=longest,
        targets=longest,
        patches=patches,
        image_tokens=model.config.tokens_per_image,
        bytes=4 if recipe.train.precision == "fp32" else 2,
    )


def stage_memory(
    recipe: Recipe,
    stage: StageSection,
    model: VisionLanguageModel,
    passed: Pass,
    *,
    format: Format = "fp32",
    processes: int = 1,
    sharding: Sharding = "ddp",
    objective: Objective | None = None,
) -> StageMemory:
    """What a stage takes on each process.

    Args:
        model: with the stage's parts applied (`apply_parts`); the meta device will do.
        passed: what goes through it at one time.
        format: of the frozen weights.
        processes: that train together.
        sharding: how they share.
        objective: whose own parameters count too.
    """
    shares = _Shares(model, sharding, processes)
    matrices = hidden_matrices(model, *([] if objective is None else [objective]))
    by_muon = matrices if stage.optimiser == "muon" else set()
    quantised = _quantised(model) if format in ("int8", "nf4") else set()
    named: list[tuple[str, nn.Module]] = [(name, getattr(model, name)) for name in PARTS]
    if objective is not None and any(True for _ in objective.parameters()):
        named.append((f"objective {stage.objective}", objective))
    parts = tuple(_part(name, module, format, quantised, by_muon, shares) for name, module in named)
    exchange = _exchange(model, passed, parts, sharding) if processes > 1 else 0
    narrow = {parameter for parameter in model.parameters() if format != "fp32" and not parameter.requires_grad}
    copies = rounded_copies(recipe, model, passed, narrow=narrow, cut=shares.sharding == "fsdp2")
    return StageMemory(parts, activations(recipe, model, passed), copies, exchange)


def trained_memory(
    recipe: Recipe, stage: StageSection, model: VisionLanguageModel, passed: Pass, *, processes: int = 1
) -> StageMemory:
    """What a stage takes on each process as training keeps it: what is frozen in float32, but for matrices that
    `train.frozen` has in bf16, and for a language model in fewer bits (`model.language_model.quantize`), whose other
    weights count in bf16."""
    format = FORMAT_OF[recipe.model.language_model.quantize]
    whole, fewer = (
        stage_memory(recipe, stage, model, passed, format=one, processes=processes, sharding=recipe.train.sharding)
        for one in (FORMATS[0], format)
    )
    parts = zip(whole.parts, fewer.parts, strict=True)
    kept = tuple(less if less.name == "language_model" else full for full, less in parts)
    narrow = {p for p in model.language_model.parameters() if format != "fp32" and not p.requires_grad}
    if recipe.train.frozen == "bf16":
        matrices = frozen_matrices(recipe, model)
        if format != "fp32":
            matrices -= set(model.language_model.parameters())
        kept = tuple(replace(part, weights=part.weights - 2 * _numbers(model, part.name, matrices)) for part in kept)
        narrow |= matrices
    cut = processes > 1 and recipe.train.sharding == "fsdp2"
    copies = rounded_copies(recipe, model, passed, narrow=narrow, cut=cut)
    return replace(whole, parts=kept, copies=copies)


def _numbers(model: VisionLanguageModel, part: str, matrices: set[nn.Parameter]) -> int:
    """How many numbers of a part are in `matrices`; of an objective's own none are."""
    found = getattr(model, part).parameters() if part in PARTS else ()
    return sum(parameter.numel() for parameter in found if parameter in matrices)


# --- what stays ------------------------------------------------------------------------------------------------------


class _Shares:
    """How many numbers of a parameter the first of the processes that share it holds."""

    def __init__(self, model: VisionLanguageModel, sharding: Sharding, processes: int) -> None:
        self.sharding: Sharding = sharding if processes > 1 else "ddp"
        self.processes = processes
        self.layers = {parameter for layer in cut_layers(model) for parameter in layer.parameters()}

    def weights(self, parameter: nn.Parameter) -> int:
        """Of itself."""
        if self.sharding == "ddp" or self.sharding == "zero2":
            return parameter.numel()
        whole = self.sharding == "zero3" and (parameter not in self.layers or parameter.numel() <= WHOLE_BELOW)
        return self.piece(parameter) + (parameter.numel() if whole else 0)

    def piece(self, parameter: nn.Parameter) -> int:
        """Of its gradient and of each of its moments."""
        if self.sharding == "ddp" or parameter.ndim == 0:
            return parameter.numel()
        if self.sharding == "fsdp2":
            return -(-parameter.shape[0] // self.processes) * (parameter.numel() // parameter.shape[0])
        return -(-parameter.numel() // self.processes)

    def second(self, parameter: nn.Parameter) -> int:
        """Of a second copy of itself."""
        return self.piece(parameter) if self.sharding == "zero2" else 0


def _part(
    name: str,
    module: nn.Module,
    format: Format,
    quantised: set[nn.Parameter],
    by_muon: set[nn.Parameter],
    shares: _Shares,
) -> PartMemory:
    weights = gradients = optimiser = trained = 0
    parameters = list(module.parameters())
    for parameter in parameters:
        piece, held = shares.piece(parameter), shares.weights(parameter)
        if parameter.requires_grad:
            trained += parameter.numel()
            weights += 4 * held
            gradients += 4 * piece
            optimiser += 4 * piece if parameter in by_muon else 8 * piece + 4
            optimiser += 4 * shares.second(parameter)
        elif parameter in quantised:
            weights += _rounded(parameter, format)  # whole in each process
        else:
            weights += (4 if format == "fp32" else 2) * held
    halved = format != "fp32"
    for buffer in module.buffers():
        weights += 2 * buffer.numel() if halved and buffer.is_floating_point() else buffer.nbytes
    return PartMemory(name, sum(p.numel() for p in parameters), trained, weights, gradients, optimiser)


def _quantised(model: VisionLanguageModel) -> set[nn.Parameter]:
    llm = model.language_model
    found = {llm.get_submodule(name).weight for name in linear_layers(llm)}
    return {weight for weight in found if not weight.requires_grad}


def _rounded(weight: nn.Parameter, format: Format) -> int:
    """Bytes of a matrix [N, K] in fewer bits, scales included (`visiglot.models.quantize`)."""
    rows, width = weight.shape
    if format == "int8":
        return rows * width + 4 * rows
    blocks = rows * -(-width // NF4_BLOCK)
    return blocks * (NF4_BLOCK // 2 + 4)


# --- what comes and goes ---------------------------------------------------------------------------------------------


def _exchange(model: VisionLanguageModel, passed: Pass, parts: Sequence[PartMemory], sharding: Sharding) -> int:
    match sharding:
        case "ddp":
            return sum(part.gradients for part in parts)
        case "fsdp2":
            return _gathered(model, passed.bytes)
        case "zero2":
            return 4 * BUCKET + max(part.gradients for part in parts)
        case "zero3":
            return 4 * (BUCKET + LIVE)


def _gathered(model: VisionLanguageModel, size: int) -> int:
    """Bytes that FSDP2 puts together at one time: what is outside the layers, one layer, and the next one ahead."""
    stacks = (model.vision, model.language_model)
    layers = [sum(p.numel() for p in layer.parameters()) for stack in stacks for layer in layers_of(stack)]
    outside: int = sum(p.numel() for p in model.parameters()) - sum(layers)
    return 4 * outside + size * sum(sorted(layers)[-2:])

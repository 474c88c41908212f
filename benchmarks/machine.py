"""What this machine can do at most, and what a piece of work therefore costs at least.

A limit counts the products with weights and the bytes of weights that a step must read, at the highest speed measured
here; attention, activations and choosing tokens count as nothing. So no way of doing the work can be faster, and a
measurement that is would be a mistake.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

SHAPES = ((2048, 2048, 2048), (672, 2048, 5120), (257, 1408, 6144))
"""Rows, inputs and outputs of products whose speed is measured."""


@dataclass(frozen=True)
class Peaks:
    """Floating-point operations a second by dtype, and bytes read from memory a second."""

    flops: dict[str, float]
    bandwidth: float


@dataclass(frozen=True)
class Work:
    """Operations with weights that a caption needs, whatever the way.

    Args:
        once: operations for a picture, and for a prompt's beginning that all languages share.
        prompt: operations for each language before its first token.
        first: operations for the first token of each language, as far as they differ from a later one's.
        weights: numbers that a step multiplies each row with.
        steps: steps after which all tokens are there; the first counts if it feeds a token.
    """

    once: float
    prompt: float
    first: float
    weights: float
    steps: int

    def limit(self, languages: int, beams: int, peaks: Peaks, dtype: str, bytes_per_weight: int) -> float:
        """Seconds that captions in so many languages take at least."""
        flops = peaks.flops[dtype]
        step = max(2 * self.weights * languages * beams / flops, self.weights * bytes_per_weight / peaks.bandwidth)
        return (self.once + languages * (self.prompt + self.first)) / flops + self.steps * step


def fastest(run: Callable[[], Any], seconds: float = 1.0) -> float:
    """Seconds of the fastest of the runs that fit into `seconds`, at least three."""
    run()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


@torch.inference_mode()
def measure_peaks() -> Peaks:
    """The highest speeds of a few kinds of products, and of reading."""
    flops: dict[str, float] = {}
    for name, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        for rows, inputs, outputs in SHAPES:
            left, layer = torch.randn(rows, inputs).to(dtype), nn.Linear(inputs, outputs, bias=False).to(dtype)
            speed = 2 * rows * inputs * outputs / fastest(lambda: layer(left))  # noqa: B023
            flops[name] = max(flops.get(name, 0.0), speed)
    numbers = torch.ones(2**27)
    bandwidth = max(4 * len(numbers) / fastest(way) for way in (numbers.sum, numbers.amax, lambda: numbers @ numbers))
    return Peaks(flops, bandwidth)


def work_of(stock: Any, prompt_tokens: int, new_tokens: int) -> Work:
    """The work of a stock BLIP-2 model.

    Args:
        prompt_tokens: of each language's prompt, image tokens excluded.
        new_tokens: of each answer.
    """
    vision = stock.config.vision_config
    patches = (vision.image_size // vision.patch_size) ** 2 + 1
    tokens = stock.config.num_query_tokens
    once = patches * _weights(stock.vision_model) + tokens * _weights(stock.language_projection)
    reads = ("crossattention.attention.key", "crossattention.attention.value")
    once += patches * _weights(stock.qformer, only=reads) + tokens * _weights(stock.qformer, but=reads)
    llm = stock.language_model
    head = llm.get_output_embeddings().weight.numel()
    if llm.config.is_encoder_decoder:
        cross = ("EncDecAttention.k", "EncDecAttention.v")
        prompt = (tokens + prompt_tokens) * (_weights(llm.encoder) + _weights(llm.decoder, only=cross))
        return Work(2 * once, 2 * prompt, 0.0, _weights(llm.decoder, but=cross) + head, new_tokens)
    layers = _weights(llm) - head
    return Work(2 * (once + tokens * layers), 2 * prompt_tokens * layers, 2 * head, layers + head, new_tokens - 1)


def _weights(module: nn.Module, only: tuple[str, ...] = (), but: tuple[str, ...] = ()) -> int:
    """Numbers in the linear layers below `module`, those whose names end in `only` (all) and not in `but`."""
    return sum(
        child.weight.numel()
        for name, child in module.named_modules()
        if isinstance(child, nn.Linear) and (not only or name.endswith(only)) and not (but and name.endswith(but))
    )

"""Training steps of one model: stock BLIP-2 with PEFT's LoRA in a plain loop, and Visiglot's; see `train.py`.

Pictures are noise, and a word is its id: "w17" is 17.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import torch
from serve import build_processor
from torch import Tensor
from towers import SIZES, build_stock, wrap

ROWS = 8
PROMPT = 16
"""Tokens of a prompt beside its picture's, the end included."""
LORA = {"rank": 8, "alpha": 16.0, "dropout": 0.05}
TRAINED = {"connector": {"train": "full"}, "language_model": {"train": "lora"}}
LR = 1e-4
SAVING: dict[str, dict[str, Any]] = {
    "frozen": {"frozen": "bf16"},
    "connector": {"frozen": "bf16", "gradient_checkpointing": ["connector"]},
    "weights": {"frozen": "bf16", "gradient_checkpointing": ["language_model", "weights"]},
    "layers": {"frozen": "bf16", "gradient_checkpointing": ["connector", "language_model"]},
}
"""Ways that save memory -> what of `train` they set."""


@dataclass(frozen=True)
class Job:
    """What a process measures.

    Args:
        way: stock, or one of Visiglot's: pictures, visiglot, read, those of `SAVING`.
        lengths: tokens of each example's answer.
        pad: tokens that stock pads answers to; 0: to the longest of the batch.
        group: whether Visiglot sorts by length.
        passes: times that the steps are measured.
        warmup: whether the projection alone trains.
    """

    way: str
    size: str
    lengths: tuple[int, ...]
    pad: int
    group: bool
    threads: int
    passes: int
    warmup: bool = False


Step = Callable[[int], None]
"""Number of a step -> forward, backward, update."""


# --- data ------------------------------------------------------------------------------------------------------------


class Words:
    """A source: pictures of noise, and prompts and answers of given lengths whose words are their ids."""

    name = "words"

    def __init__(self, lengths: Sequence[int], side: int) -> None:
        self.lengths = lengths
        self.side = side
        self.by_language = {"eng_Latn": np.arange(len(lengths), dtype=np.int32)}

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> Any:
        from PIL import Image

        from visiglot.types import Example, ImageRef, ImageSlot, Message

        generator = torch.Generator().manual_seed(index)
        pixels = torch.randint(0, 256, (self.side, self.side, 3), generator=generator, dtype=torch.uint8)
        file = BytesIO()
        Image.fromarray(pixels.numpy()).save(file, "PNG", compress_level=1)
        picture = ImageRef(f"picture {index}", data=file.getvalue())
        words = random.Random(index)
        prompt, answer = (
            " ".join(f"w{words.randint(100, 2900)}" for _ in range(count - 1))
            for count in (PROMPT, self.lengths[index])
        )
        turns = (Message("user", (ImageSlot(0), prompt)), Message("assistant", (answer,)))
        return Example(str(index), turns, "eng_Latn", (picture,))


def build_words(*, languages: Sequence[str], seed: int, lengths: list[int], side: int) -> Words:
    return Words(lengths, side)


def recipe_of(job: Job, precision: str) -> Any:
    from visiglot.config import parse_recipe
    from visiglot.data.source import SOURCES

    if "words" not in SOURCES:
        SOURCES.add("words", build_words)
    side = SIZES[job.size].vision["image_size"]
    return parse_recipe(
        {
            "name": "benchmark",
            "model": {  # stands for `towers.py`'s, which is handed over built
                "vision": {"from": "towers"},
                "connector": {"type": "qformer"},
                "language_model": {"from": "towers"},
                "prompt": {"max_length": 512},
            },
            "data": {
                "sources": [{"type": "words", "options": {"lengths": list(job.lengths), "side": side}}],
                "languages": "eng_Latn",
            },
            "stages": [
                {
                    "name": "train",
                    "parts": {"connector.projection": {"train": "full"}} if job.warmup else TRAINED,
                    "lora": LORA,
                    "lr": LR,
                    "steps": len(job.lengths) // ROWS,
                    "schedule": "constant",
                    "cache_views": int(job.way != "pictures"),
                    "cache_read": job.way == "read",
                    "batch": {"rows": ROWS, "group_by_length": job.group},
                }
            ],
            "train": {"precision": precision, **SAVING.get(job.way, {})},
        },
        where="benchmark",
    )


# --- the ways --------------------------------------------------------------------------------------------------------


@dataclass
class Trainer:
    """A way that is ready: its steps, what it trains, with what."""

    step: Step
    parameters: list[torch.nn.Parameter]
    optimiser: Any


def stock_batches(job: Job, stock: Any, samples: Sequence[Any], processor: Any) -> list[dict[str, Tensor]]:
    """Batches of `samples` in their order, pictures as pixels, made beforehand."""
    from visiglot.data.collate import collate
    from visiglot.train.pictures import Pictures

    pictures = Pictures(processor)
    batches = []
    for start in range(0, len(samples), ROWS):
        batch = collate(samples[start : start + ROWS], processor.spec(), pixels=pictures.plain)
        labels = batch.labels
        if job.pad:
            labels = torch.nn.functional.pad(labels, (0, job.pad - labels.shape[1]), value=-100)
        batches.append(
            {
                "pixel_values": batch.pixel_values,
                "input_ids": batch.input_ids,
                "attention_mask": batch.attention_mask,
                "labels": labels,
            }
        )
    return batches


def samples_of(job: Job, processor: Any) -> list[Any]:
    from visiglot.render import render

    source = Words(job.lengths, SIZES[job.size].vision["image_size"])
    return [render(source[index], processor.spec()) for index in range(len(source))]


def build_stock_trainer(job: Job, stock: Any) -> Trainer:
    """Stock BLIP-2 in the loop that people write."""
    from peft import LoraConfig, get_peft_model

    processor = build_processor(stock)
    batches = stock_batches(job, stock, samples_of(job, processor), processor)
    if job.warmup:
        model, trained = stock.requires_grad_(False), ("language_projection",)
    else:
        config = LoraConfig(
            r=LORA["rank"],
            lora_alpha=LORA["alpha"],
            lora_dropout=LORA["dropout"],
            target_modules=r"language_model\..*\.(q|k|v|o|wi_0|wi_1|wo)",
        )
        model, trained = get_peft_model(stock, config), ("qformer", "query_tokens", "language_projection")
    for name, parameter in model.named_parameters():
        if any(part in name for part in trained):
            parameter.requires_grad = True
    model.train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=LR, weight_decay=0.1)

    def step(number: int) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(**batches[number]).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=False)

    return Trainer(step, parameters, optimiser)


def prepared(job: Job, stock: Any, precision: str) -> tuple[Any, Any, Any]:
    """Visiglot's stage, its training step on an accelerator, and that."""
    from visiglot.data.ledger import Ledger
    from visiglot.train.precision import build_accelerator
    from visiglot.train.stages import Sources, TrainingStep, prepare_stage

    processor, model, recipe = build_processor(stock), wrap(stock), recipe_of(job, precision)
    accelerator = build_accelerator(recipe.train.precision, "cpu")
    stage = prepare_stage(recipe, 0, model, processor, Sources(), accelerator, Ledger(None, 0.0))
    for number in range(stage.section.steps):  # fills the cache
        stage.loader.load(number)
    stage.feed.close()
    return stage, TrainingStep(model, stage.objective), accelerator


def build_visiglot_trainer(job: Job, stock: Any) -> Trainer:
    """What `visiglot.train.loop.train_stage` does in a step."""
    from visiglot.train.optimiser import build_optimiser

    stage, whole, accelerator = prepared(job, stock, "bf16")
    built = build_optimiser(whole.model, stage.groups, stage.objective, stage.section)
    module, optimiser = accelerator.prepare(whole, built)
    parameters = stage.parameters()

    def step(number: int) -> None:
        loaded = stage.loader.load(number)
        total = stage.objective.count(loaded.samples)
        for batch in loaded.batches:
            loss = module(batch)
            accelerator.backward(loss.sum / total)
        accelerator.clip_grad_norm_(parameters, stage.section.clip)
        optimiser.step()
        optimiser.zero_grad(set_to_none=False)

    return Trainer(step, parameters, optimiser)


def trainer_of(job: Job) -> Trainer:
    stock = build_stock(job.size, "mt0", torch.float32)
    return (build_stock_trainer if job.way == "stock" else build_visiglot_trainer)(job, stock)

"""What a stage is made of: which parameters, at which learning rates, on what data, through which pictures."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from visiglot.config import Recipe, StageSection, cache_dir
from visiglot.data.batches import Batches
from visiglot.data.ledger import Ledger
from visiglot.data.licences import permitted
from visiglot.data.mixture import Mixture, describe_table
from visiglot.data.opening import asked_of, open_section, refuse_untranslated
from visiglot.data.source import Source
from visiglot.errors import ConfigError, DataError, ImageError, TrainingError
from visiglot.languages import resolve
from visiglot.models.parts import PartGroup, apply_parts, describe_parts
from visiglot.models.processor import VisiglotProcessor
from visiglot.models.vlm import VisionLanguageModel
from visiglot.prompts import placing_of
from visiglot.train.directions import says_side
from visiglot.train.features import FeatureCache, cache_key, predicted_bytes
from visiglot.train.feed import Feed
from visiglot.train.loader import Loader
from visiglot.train.objectives import OBJECTIVES, Objective, ObjectiveLoss
from visiglot.train.pictures import Pictures
from visiglot.train.validate import CUT_UP, Validation, prepare_validation
from visiglot.types import Batch, ImageRef, Sample, VisionFeatures

if TYPE_CHECKING:
    from accelerate import Accelerator

ENCODE_ROWS = 64
"""Pictures that go through the frozen encoder together."""

COUNTED_DRAWS = 50_000
"""Draws that are looked through for different pictures before a cache is filled."""


class TrainingStep(nn.Module):
    """Model and objective as one module, so that what is distributed or sharded is entered by its `forward`."""

    def __init__(self, model: VisionLanguageModel, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(self, batch: Batch) -> ObjectiveLoss:
        """What `batch` costs under the objective."""
        loss: ObjectiveLoss = self.objective(self.model, batch)
        if torch.is_grad_enabled() and not loss.sum.requires_grad:
            # text alone before a frozen language model: nothing to learn from, yet backward has to be possible
            nothing = [parameter.flatten()[:1].sum() * 0 for parameter in self.parameters() if parameter.requires_grad]
            loss = dataclasses.replace(loss, sum=loss.sum + torch.stack(nothing).sum())
        return loss


@dataclass
class Stage:
    """A stage ready to run; `lines` say what it will do."""

    section: StageSection
    index: int
    groups: list[PartGroup]
    objective: Objective
    feed: Feed
    loader: Loader
    validation: Validation | None
    lines: list[str]

    def parameters(self) -> list[nn.Parameter]:
        """Everything that trains, the objective's own included."""
        of_parts = [parameter for group in trained(self.groups) for _, parameter in group.parameters]
        return of_parts + list(self.objective.parameters())


def prepare_stage(
    recipe: Recipe,
    index: int,
    model: VisionLanguageModel,
    processor: VisiglotProcessor,
    sources: Sources,
    accelerator: Accelerator,
    ledger: Ledger,
) -> Stage:
    """Freeze and unfreeze the model, plan the data, choose how pictures come in.

    Raises:
        ConfigError: a part, an objective or an option isn't there, or two options exclude each other.
        DataError: a source can't be used.
        TrainingError: too little of the first step is supervised, or an example of it not at all.
    """
    section = recipe.stages[index]
    passes = section.batch.accumulate * accelerator.num_processes
    if accelerator.num_processes > 1 and section.batch.rows < passes:
        raise ConfigError(
            f"recipe {recipe.name}",
            [f"stages.{section.name}.batch.rows: is {section.batch.rows}, too few for {passes} forward passes a step"],
            hint=f"accumulate ({section.batch.accumulate}) x processes ({accelerator.num_processes}) must fit into it.",
        )
    if accelerator.distributed_type in CUT_UP:
        refuse_cut_up(recipe, section, model, accelerator.distributed_type)
    spec = dataclasses.replace(processor.spec(), placing=placing_of(model.config, processor))
    with torch.random.fork_rng(devices=[]):  # new weights, low-rank layers and projections, follow from the seed
        torch.manual_seed(recipe.train.seed + index)
        groups = apply_parts(model, section)
        objective = OBJECTIVES.get(section.objective)(model, spec, recipe.train, section.options)
    set_modes(model, gradient_checkpointing=recipe.train.gradient_checkpointing)
    mixture = sources.mixture(recipe, section, seed=recipe.train.seed + index)
    batches = Batches(
        mixture,
        spec,
        rows=section.batch.rows,
        group_by_length=section.batch.group_by_length,
        seed=recipe.train.seed + index,
        ledger=ledger,
        skip_bad=recipe.train.on_bad == "skip",
        says_side=says_side if section.augment and section.augmentation.flip else None,
    )
    pictures = Pictures(processor)
    lines = [
        f"stage {section.name} ({index + 1} of {len(recipe.stages)}): {section.objective}, "
        f"{section.steps:,} steps of {section.batch.rows} examples"
    ]
    lines += [f"  {line}" for line in describe_parts(model, groups)]
    own = sum(parameter.numel() for parameter in objective.parameters())
    lines += [f"  objective {section.objective}: {own:,} parameters of its own, lr {section.lr:.0e}"] if own else []
    lines += [f"  {line}" for line in describe_table(mixture.table())]
    lines.append(f"  {check_supervision(batches.step(0), objective, recipe, section)}")
    cache, cache_line = _feature_cache(recipe, section, model, processor, pictures, mixture, accelerator)
    lines += [f"  {cache_line}"] if cache_line else []
    feed = Feed(
        spec,
        pictures,
        draw=f"{recipe.train.seed}/{section.name}",
        augmentation=section.augmentation if section.augment else None,
        cache=cache,
        views=max(section.cache_views, 1),
    )
    loader = Loader(
        batches,
        feed,
        objective,
        accelerator,
        accumulate=section.batch.accumulate,
        on_bad=recipe.train.on_bad,
        ledger=ledger,
    )
    validation, validation_line = prepare_validation(recipe, section, mixture, spec, processor, objective, accelerator)
    lines += [f"  {validation_line}"] if validation_line else []
    return Stage(section, index, groups, objective, feed, loader, validation, lines)


# --- parameters ------------------------------------------------------------------------------------------------------


def trained(groups: Iterable[PartGroup]) -> list[PartGroup]:
    return [group for group in groups if group.trains and group.parameters]


def set_modes(model: VisionLanguageModel, *, gradient_checkpointing: bool) -> None:
    """Training mode for the parts that train; a frozen part runs as it will be used, without dropout."""
    model.train()
    parts: Sequence[nn.Module] = (model.vision, model.connector, model.language_model)
    for part in parts:
        part.train(any(parameter.requires_grad for parameter in part.parameters()))
    if gradient_checkpointing:
        model.language_model.activation_checkpointing_enable({"use_reentrant": False})


def schedule(section: StageSection, step: int) -> float:
    """Factor of the peak learning rate at `step`, counted from 0: linear warm-up, then the stage's curve down to 0."""
    if step < section.warmup_steps:
        return (step + 1) / section.warmup_steps
    progress = (step - section.warmup_steps) / max(section.steps - section.warmup_steps, 1)
    match section.schedule:
        case "constant":
            return 1.0
        case "linear":
            return 1 - progress
        case "cosine":
            return (1 + math.cos(math.pi * progress)) / 2


# --- data ------------------------------------------------------------------------------------------------------------


class Sources:
    """The sources of a recipe, each built once however many stages draw from it.

    What a source draws itself (which prompt, which wrong picture) follows from the recipe's seed alone, never from who
    asks first, so that a resumed run finds the very examples of a straight one.
    """

    def __init__(self) -> None:
        self._built: dict[str, tuple[Source, ...]] = {}

    def mixture(self, recipe: Recipe, section: StageSection, *, seed: int) -> Mixture:
        """The draws of a stage, or of `section`'s data for another purpose.

        Args:
            seed: of the order of draws; the sources' own is `train.seed`.

        Raises:
            DataError, ConfigError: a source can't be used, or an option is wrong.
        """
        data = permitted(section.data or recipe.data)
        refuse_untranslated(data)
        key = data.model_dump_json(include={"sources", "languages", "licence"})
        if key not in self._built:
            self._built[key] = tuple(
                open_section(source, data, asked_of(source, data), recipe.train.seed) for source in data.sources
            )
        return Mixture(data, total=section.steps * section.batch.rows, seed=seed, sources=self._built[key])


def refuse_cut_up(recipe: Recipe, section: StageSection, model: VisionLanguageModel, by: str) -> None:
    """Raises ConfigError for what needs whole tensors, under something that gives each process a piece of them."""
    where = f"stages.{section.name}"
    problems = []
    if section.optimiser == "muon":
        problems.append(f"{where}.optimiser: muon can't train what {by} cuts up; use adamw")
    if section.objective == "assignment" and model.connector.memory is not None:
        problems.append(f"{where}.objective: assignment can't set phrases of a memory that {by} cuts up")
    if problems:
        hint = "Or train this stage on one device, or on several with a copy of the model each."
        raise ConfigError(f"recipe {recipe.name}", problems, hint=hint)


def languages_of(recipe: Recipe) -> tuple[str, ...]:
    """FLORES-200 codes of every language that any stage trains, in the recipe's order."""
    sections = [recipe.data, *(stage.data for stage in recipe.stages if stage.data is not None)]
    found: dict[str, None] = {}
    for data in sections:
        for spec in [source.languages or data.languages for source in data.sources]:
            found.update(dict.fromkeys(resolve(spec)))
    return tuple(found)


def texts_of(recipe: Recipe, sources: Sources) -> Callable[[], Iterable[str]]:
    """All words that the recipe trains on, to train a tokenizer on; of a large source evenly spaced examples.

    Rows that can't be read are passed over where the recipe leaves them out.
    """
    most = 200_000
    passed_over = (DataError,) if recipe.train.on_bad == "skip" else ()

    def texts() -> Iterable[str]:
        for section in recipe.stages:
            mixture = sources.mixture(recipe, section, seed=recipe.train.seed)
            held = set(mixture.held_out())
            for number, source in enumerate(mixture.sources):
                indices = np.concatenate([np.asarray(found) for found in source.by_language.values()])
                for index in np.sort(indices)[:: max(1, -(-len(indices) // most))].tolist():
                    if (number, index) in held:
                        continue
                    with contextlib.suppress(*passed_over):
                        yield from [message.text for message in source[index].messages]

    return texts


def check_supervision(samples: Sequence[Sample], objective: Objective, recipe: Recipe, section: StageSection) -> str:
    """Say how much of the first step is supervised.

    Raises:
        TrainingError: too little of it, or an example that can't be trained on.
    """
    objective.check(samples)
    supervised = sum(sample.num_targets for sample in samples)
    causal = all(len(sample.labels) == len(sample.ids) for sample in samples)
    tokens = sum(len(sample.ids) + (0 if causal else len(sample.labels)) for sample in samples)
    share = supervised / tokens
    if share < recipe.train.min_supervised:
        raise TrainingError(
            f"stage {section.name}: {supervised} of {tokens} tokens of the first step are supervised ({share:.2%}), "
            f"less than {recipe.train.min_supervised:.2%}",
            hint="Look at the data with `visiglot data check`, or lower train.min_supervised if that is meant.",
        )
    return f"supervised: {supervised:,} of {tokens:,} tokens of the first step ({share:.1%})"


# --- pictures --------------------------------------------------------------------------------------------------------


def _feature_cache(
    recipe: Recipe,
    section: StageSection,
    model: VisionLanguageModel,
    processor: VisiglotProcessor,
    pictures: Pictures,
    mixture: Mixture,
    accelerator: Accelerator,
) -> tuple[FeatureCache | None, str]:
    """The stage's cache and a line about it; None when it asks for none."""
    if section.cache_views == 0:
        return None, ""
    if section.augment:
        return None, "feature cache: not used, since augment draws pictures anew"
    if any(parameter.requires_grad for parameter in model.vision.parameters()):
        raise ConfigError(
            f"recipe {recipe.name}",
            [f"stages.{section.name}.cache_views: is {section.cache_views}, but vision trains in this stage"],
            hint="Only a frozen encoder's features can be kept: set cache_views to 0, or parts.vision.train to frozen.",
        )
    dtype = torch.bfloat16 if accelerator.mixed_precision == "bf16" else torch.float32
    key = cache_key(model.vision, model.config.vision_layer, processor.fingerprint(), dtype)
    folder = cache_dir() / "features" / key
    encode = frozen_encoder(model, accelerator, dtype)
    cache = FeatureCache(folder, encode, pictures, section.augmentation)
    skip_bad = recipe.train.on_bad == "skip"
    example, number = count_pictures(mixture, skip_bad=skip_bad)
    if example is None:
        return cache, "feature cache: the data has no pictures"
    size = ""
    with contextlib.suppress(*((ImageError,) if skip_bad else ())):
        found = encode(pictures.plain([example]))
        size = f" = {predicted_bytes(found, number, section.cache_views) / 2**20:,.0f} MB"
    return cache, (
        f"feature cache: about {number:,} pictures x {section.cache_views} views{size} in {folder}, "
        f"{len(cache):,} views there already"
        + (f"; {len(cache.broken)} broken files passed over" if cache.broken else "")
    )


def frozen_encoder(
    model: VisionLanguageModel, accelerator: Accelerator, dtype: torch.dtype
) -> Callable[[Tensor], VisionFeatures]:
    """Pixel values [I, 3, H, W] on the CPU -> features on the CPU, in slices that fit the device."""

    def encode(pixels: Tensor) -> VisionFeatures:
        with torch.no_grad(), accelerator.autocast():
            found = [model.encode_images(part.to(accelerator.device)) for part in torch.split(pixels, ENCODE_ROWS)]
        return VisionFeatures(
            torch.cat([part.patches.to("cpu", dtype) for part in found]),
            torch.cat([part.pooled.to("cpu", dtype) for part in found]),
            found[0].grid,
        )

    return encode


def count_pictures(mixture: Mixture, *, skip_bad: bool = False) -> tuple[ImageRef | None, int]:
    """A picture of the mixture and about how many different ones it has.

    Exact up to COUNTED_DRAWS draws; beyond, new pictures are taken to keep coming as in the last tenth of those.

    Raises:
        DataError: a row can't be read, unless such are passed over.
    """
    passed_over = (DataError,) if skip_bad else ()
    looked = min(len(mixture), COUNTED_DRAWS)
    seen: dict[Path | str, ImageRef] = {}
    before = 0
    for k in range(looked):
        if k == looked * 9 // 10:
            before = len(seen)
        with contextlib.suppress(*passed_over):
            for image in mixture[k].images:
                seen.setdefault(image.path or image.key, image)  # files needn't be read to be counted
    if not seen:
        return None, 0
    rate = (len(seen) - before) / max(looked - looked * 9 // 10, 1)
    return next(iter(seen.values())), len(seen) + round(rate * (len(mixture) - looked))

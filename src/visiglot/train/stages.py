"""What a stage is made of: which parameters, at which learning rates, on what data, through which pictures."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu
from transformers.activations import NewGELUActivation

from visiglot.config import Recipe, StageSection
from visiglot.data.batches import Batches
from visiglot.data.ledger import Ledger
from visiglot.data.licences import permitted
from visiglot.data.mixture import Mixture, describe_table
from visiglot.data.opening import asked_of, open_section, refuse_untranslated, rows_left_out
from visiglot.data.source import Source
from visiglot.errors import ConfigError, DataError, TrainingError
from visiglot.languages import resolve
from visiglot.models.parts import PartGroup, apply_parts, describe_parts
from visiglot.models.processor import VisiglotProcessor
from visiglot.models.quantize import is_quantized, quantize_frozen, unquantize
from visiglot.models.vlm import VisionLanguageModel
from visiglot.prompts import placing_of
from visiglot.train.caching import stage_cache
from visiglot.train.directions import says_side
from visiglot.train.feed import Feed
from visiglot.train.loader import Loader
from visiglot.train.objectives import OBJECTIVES, Objective, ObjectiveLoss
from visiglot.train.pictures import Pictures
from visiglot.train.precision import round_frozen, widen_frozen
from visiglot.train.recompute import recompute
from visiglot.train.sharding import cuts_up, is_cut, refuse_uncuttable
from visiglot.train.validate import Validation, prepare_validation
from visiglot.types import Batch, Sample

if TYPE_CHECKING:
    from accelerate import Accelerator


class TrainingStep(nn.Module):
    """Model and objective as one module, so that what is distributed or sharded is entered by its `forward`."""

    def __init__(self, model: VisionLanguageModel, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(self, batch: Batch) -> ObjectiveLoss:
        """What `batch` costs under the objective."""
        loss: ObjectiveLoss = self.objective(self.model, batch)
        if torch.is_grad_enabled() and self._teaches_nothing(batch):
            # Backward has to be possible, and DDP waits for a gradient in each process. One is enough: a parameter that
            # is never used must not decay here. That the loss has a gradient says nothing: with checkpointing, word
            # embeddings have one.
            first = next(parameter for parameter in self.parameters() if parameter.requires_grad)
            piece = torch.zeros(1, device=loss.sum.device, requires_grad=True) if is_cut(first) else first
            loss = dataclasses.replace(loss, sum=loss.sum + piece.flatten()[:1].sum() * 0)
        return loss

    def _teaches_nothing(self, batch: Batch) -> bool:
        """Whether it is text alone, and nothing trains that reads text."""
        if batch.pixel_values is not None or batch.features is not None:
            return False
        readers = (self.model.language_model, self.objective)
        return not any(parameter.requires_grad for part in readers for parameter in part.parameters())


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

    def follow(self, model: VisionLanguageModel) -> None:
        """Take the parameters that `model` has now in place of those of the same names that it had."""
        now = dict(model.named_parameters())
        self.groups = [
            dataclasses.replace(group, parameters=tuple((name, now[name]) for name, _ in group.parameters))
            for group in self.groups
        ]


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
    spec = dataclasses.replace(processor.spec(), placing=placing_of(model.config, processor))
    if wants_new_layers(model, section):  # peft gives them the number format of what they are above
        widen_frozen(recipe, model)
        if is_quantized(model):
            unquantize(model)
    with torch.random.fork_rng(devices=[]):  # new weights, low-rank layers and projections, follow from the seed
        torch.manual_seed(recipe.train.seed + index)
        groups = apply_parts(model, section)
        objective = OBJECTIVES.get(section.objective)(model, spec, recipe.train, section.options)
    cut = cuts_up(recipe, accelerator.num_processes)
    if cut:
        refuse_uncuttable(recipe, section, model, objective)
    rounded = [*_quantise(recipe, model, accelerator), *round_frozen(recipe, model, accelerator)]
    refuse_no_twins(recipe, section, objective)
    set_modes(model)
    recompute(recipe, model)
    mixture = sources.mixture(recipe, section, seed=recipe.train.seed + index)
    batches = Batches(
        mixture,
        spec,
        rows=section.batch.rows,
        group_by_length=section.batch.group_by_length,
        balance_languages=section.batch.balance_languages,
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
    lines += [f"  {line}" for line in (*describe_parts(model, groups), *rounded)]
    own = sum(parameter.numel() for parameter in objective.parameters())
    lines += [f"  objective {section.objective}: {own:,} parameters of its own, lr {section.lr:.0e}"] if own else []
    lines += [f"  {line}" for line in describe_table(mixture.table())]
    for name, source in zip(mixture.names, mixture.sources, strict=True):
        lines += [f"  {name}: {count:,} left out, {reason}" for reason, count in rows_left_out(source).items()]
    lines.append(f"  {check_supervision(batches.step(0), objective, recipe, section)}")
    cache, cache_line = stage_cache(recipe, section, model, processor, pictures, mixture, accelerator)
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
        tokens=section.batch.tokens,
        meet=cut,
        on_bad=recipe.train.on_bad,
        ledger=ledger,
    )
    validation, validation_line = prepare_validation(recipe, section, mixture, spec, processor, objective, accelerator)
    lines += [f"  {validation_line}"] if validation_line else []
    return Stage(section, index, groups, objective, feed, loader, validation, lines)


# --- parameters ------------------------------------------------------------------------------------------------------


def trained(groups: Iterable[PartGroup]) -> list[PartGroup]:
    return [group for group in groups if group.trains and group.parameters]


def set_modes(model: VisionLanguageModel) -> None:
    """Training mode for the parts that train; a frozen part runs as it will be used, without dropout. T5's GELU becomes
    one operation."""
    model.train()
    parts: Sequence[nn.Module] = (model.vision, model.connector, model.language_model)
    for part in parts:
        part.train(any(parameter.requires_grad for parameter in part.parameters()))
    for module in model.modules():
        if type(module) is NewGELUActivation:
            module.__class__ = TanhGELU


class TanhGELU(nn.Module):
    """GELU by its tanh approximation (Hendrycks and Gimpel, 2016, arXiv 1606.08415) in one operation.

    transformers makes it of eight, which keep four tensors for the backward pass where this keeps one; they round
    differently.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Of each number."""
        return gelu(input, approximate="tanh")


def wants_new_layers(model: VisionLanguageModel, section: StageSection) -> bool:
    """Whether a stage gives the model low-rank layers that it hasn't."""
    return model.config.lora is None and any(part.train == "lora" for part in section.parts.values())


def _quantise(recipe: Recipe, model: VisionLanguageModel, accelerator: Accelerator) -> list[str]:
    """Quantise the language model as the recipe asks, unless it is; lines about it. Raises ModelError."""
    kind = recipe.model.language_model.quantize
    if kind is None or is_quantized(model):
        return []
    dtype = torch.bfloat16 if accelerator.mixed_precision == "bf16" else torch.float32
    return quantize_frozen(model, kind, accelerator.device, dtype)


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


def refuse_no_twins(recipe: Recipe, section: StageSection, objective: Objective) -> None:
    """Raises ConfigError: the objective compares rows with their twins, and no source of the stage gives any."""
    sources = (section.data or recipe.data).sources
    if objective.needs_twins and not any(source.task_options.get("twins") for source in sources):
        raise ConfigError(
            f"recipe {recipe.name}",
            [f"stages.{section.name}.options: compare twins, but no source of the stage has task_options.twins"],
            hint="Give a source the task mvqa or lrm with {twins: true}.",
        )


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

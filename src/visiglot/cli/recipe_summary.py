"""What a recipe comes to: parameters, what its stages train and draw, and the memory that they need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from visiglot.config import Recipe, StageSection
    from visiglot.models.vlm import VisionLanguageModel
    from visiglot.train.memory import StageMemory

GIB = 2**30
SHOWN = 6
"""Languages of a stage that are named, those with the most examples first."""


def summary_of(recipe: Recipe) -> list[str]:
    """Lines about parameters, and about what each stage trains, draws and needs.

    No weights are read, and nothing is fetched: of parts whose configs aren't known here nothing is said. The recipe
    must be without problems.
    """
    model = meta_model(recipe)
    lines = []
    if model is None:
        lines.append("parameters: only known once the configs of its parts are on this machine")
    else:
        sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
        said = ", ".join(f"{name} {_count(size)}" for name, size in sizes.items())
        lines.append(f"parameters: {_count(sum(sizes.values()))} ({said})")
    drawn = list(_draws(recipe))
    patches = None if model is None else _patches(recipe, model)
    for index, stage in enumerate(recipe.stages):
        lines.append(f"stage {stage.name}:")
        if model is not None:
            lines += [f"  {line}" for line in _trained(recipe, stage, model)]
        lines.append(f"  {drawn[index]}")
        if model is not None and patches is not None:
            lines += [f"  {line}" for line in _memory(recipe, stage, model, patches)]
    return lines


def meta_model(recipe: Recipe) -> VisionLanguageModel | None:
    """The recipe's model on the meta device, before its first stage; None where a part's config isn't known here."""
    import torch

    from visiglot.cli.recipe_check import whole_config
    from visiglot.cli.recipe_parts import has_own_head
    from visiglot.models.vlm import VisionLanguageModel

    config = whole_config(recipe)
    if config is None:
        return None
    with torch.device("meta"):
        model = VisionLanguageModel(config)
        head = model.get_output_embeddings()
        if has_own_head(recipe) and isinstance(head, torch.nn.Linear):
            head.weight = torch.nn.Parameter(torch.empty_like(head.weight))
    return model


# --- a stage ---------------------------------------------------------------------------------------------------------


def _trained(recipe: Recipe, stage: StageSection, model: VisionLanguageModel) -> Iterator[str]:
    """What the stage trains, after its parts were applied to the model."""
    import torch

    from visiglot.models.parts import apply_parts

    with torch.device("meta"):
        groups = [group for group in apply_parts(model, stage) if group.trains and group.size]
    parts = ", ".join(f"{group.path} {group.mode} {_count(group.size)} at {group.lr:.0e}" for group in groups)
    yield f"trains {_count(sum(group.size for group in groups))}: {parts}"


def _draws(recipe: Recipe) -> Iterator[str]:
    """For each stage the examples that it draws, by language."""
    from visiglot.cli.datasets.plan import plans_of
    from visiglot.errors import VisiglotError

    try:
        plans = plans_of(recipe)
    except VisiglotError as error:
        yield from [f"examples: not counted, since {error.message}"] * len(recipe.stages)
        return
    for index, ((_, plan), stage) in enumerate(zip(plans, recipe.stages, strict=True)):
        counts: Counter[str] = Counter()
        for (_, code), count in plan.draws(stage.steps * stage.batch.rows, recipe.train.seed + index).items():
            counts[code] += count
        yield _by_language(counts)


def _by_language(counts: Mapping[str, int]) -> str:
    ordered = sorted(((count, code) for code, count in counts.items() if count), reverse=True)
    named = [f"{code or '(of its own languages)'} {count:,}" for count, code in ordered[:SHOWN]]
    rest = ordered[SHOWN:]
    if rest:
        least, code = rest[-1]
        named.append(f"{len(rest)} more, down to {code or '(of its own languages)'} {least:,}")
    return f"draws {sum(counts.values()):,} examples: {', '.join(named)}"


def _patches(recipe: Recipe, model: VisionLanguageModel) -> int:
    import torch

    from visiglot.models.vision import image_size_of, measure

    with torch.device("meta"):
        size = recipe.model.vision.image_size or image_size_of(model.config.vision_config) or 224
        return int(measure(model.vision, size).patches.shape[1])


def _memory(recipe: Recipe, stage: StageSection, model: VisionLanguageModel, patches: int) -> Iterator[str]:
    """A table of the estimate for one GPU, by the number format of frozen weights."""
    from visiglot.train.memory import FORMATS, longest_pass, stage_memory

    passed = longest_pass(recipe, stage, model, patches, processes=1)
    yield (
        f"memory of one GPU in GiB, an estimate for {passed.rows} rows of {passed.tokens:,} tokens at a time, by the "
        "number format of frozen weights:"
    )
    yield f"{'':8}{'weights':>10}{'gradients':>11}{'optimiser':>11}{'activations':>13}{'copies':>8}{'all':>8}"
    for format in FORMATS:
        yield _row(format, stage_memory(recipe, stage, model, passed, format=format))


def memory_by_part(recipe: Recipe, processes: int) -> list[str]:
    """For each stage what one process takes, part by part, before anything is allocated.

    Frozen weights count in the format that training keeps them in. Empty where a part's config isn't known here.
    """
    from visiglot.models.parts import apply_parts
    from visiglot.train.caching import bytes_of_view
    from visiglot.train.memory import longest_pass, trained_memory

    model = meta_model(recipe)
    if model is None:
        return []
    import torch

    patches = _patches(recipe, model)
    shared = f", one of {processes} ({recipe.train.sharding})" if processes > 1 else ""
    lines = []
    for stage in recipe.stages:
        with torch.device("meta"):
            apply_parts(model, stage)
        passed = longest_pass(recipe, stage, model, patches, processes)
        needs = trained_memory(recipe, stage, model, passed, processes=processes)
        lines.append(
            f"stage {stage.name}: memory of a process{shared} in GiB, an estimate for {passed.rows} rows of "
            f"{passed.tokens:,} tokens at a time"
        )
        lines.append(f"  {'':16}{'numbers':>10}{'trained':>10}{'weights':>10}{'gradients':>11}{'optimiser':>11}")
        for part in needs.parts:
            sizes = (part.weights / GIB, part.gradients / GIB, part.optimiser / GIB)
            cells = f"{sizes[0]:>10.2f}{sizes[1]:>11.2f}{sizes[2]:>11.2f}"
            lines.append(f"  {part.name:16}{_count(part.parameters):>10}{_count(part.trained):>10}{cells}")
        others = {"activations": needs.activations, "copies in bf16": needs.copies, "exchange": needs.exchange}
        said = ", ".join(f"{name} {size / GIB:.2f}" for name, size in others.items())
        lines.append(f"  {said}, all {needs.total / GIB:.2f}")
        if stage.cache_views and not stage.augment:
            view = bytes_of_view(model, patches, passed.bytes, read=stage.cache_read)
            many = 100_000 * stage.cache_views * view / GIB
            lines.append(
                f"  feature cache, on disk: {view / 2**10:,.0f} KiB a view, {many:,.1f} GiB for 100,000 pictures "
                f"(cache_views {stage.cache_views})"
            )
    return lines


def _row(format: str, memory: StageMemory) -> str:
    numbers = (memory.weights, memory.gradients, memory.optimiser, memory.activations, memory.copies, memory.total)
    cells = "".join(f"{n / GIB:>{width}.2f}" for n, width in zip(numbers, (10, 11, 11, 13, 8, 8), strict=True))
    return f"{format:8}{cells}"


def _count(number: int) -> str:
    """A parameter count to two decimals: 124.43M."""
    for unit, size in (("B", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= size:
            return f"{number / size:.2f}{unit}"
    return str(number)

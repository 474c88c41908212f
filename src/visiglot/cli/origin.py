"""What a model's card is to say: from its recipe, those of the models its parts come from, and their own cards."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from visiglot.cli.models import recipe_of, trained_languages
from visiglot.errors import EvaluationError, VisiglotError

if TYPE_CHECKING:
    from visiglot.config import Recipe, SourceSection
    from visiglot.evaluate.summary import Evaluation
    from visiglot.export.card import Facts, Part
    from visiglot.export.targets import Target


PARTS = ("vision", "connector", "language_model")
MBLIP = "mBLIP"
"""What the configs of mBLIP's release call its architecture."""
OF_MBLIP = "It is mBLIP (Geigle et al., 2024), or was made of it: so its config says, as the release's."


def facts_of(name: str, target: Target, *, where: str, scores: Path | None, weights: str | None) -> Facts:
    """What is known of a model.

    Args:
        name: as the user calls it.
        where: what users of the export load.
        scores: an evaluation folder.
        weights: hash of the model's weights, which the evaluation must be of; None without `scores`.

    Raises:
        EvaluationError: the evaluation is of another model, or isn't scored.
        VisiglotError: the recipe beside the model is broken.
    """
    from visiglot.cli.recipes import bibtex
    from visiglot.config import dump_recipe
    from visiglot.export.card import Facts

    recipe = recipe_of(name)
    rows, told = ((), "") if scores is None else _scores(scores, weights)
    sources = _sources(name, recipe)
    is_mblip = any(_is_mblip(source) for source in dict.fromkeys(sources.values()) if source is not None)
    cited = recipe.cite if recipe is not None else ()
    keys = dict.fromkeys([*cited, *(("mblip",) if is_mblip else ()), *target.cite])
    stated = recipe.licence if recipe is not None else ""
    known = Facts(
        name=Path(where).name,
        where=where,
        licence=stated or licence_of(name),
        pictured=trained_languages(name).pictured,
        citations=tuple(map(bibtex, keys)),
        scores=rows,
        scores_told=told,
        command=("visiglot", *sys.argv[1:]),
    )
    if recipe is None:
        return replace(known, about=OF_MBLIP if is_mblip else "", parts=_parts_from(sources))
    stages = [(one.name, one.objective, f"{one.steps:,}", f"{one.batch.rows:,}") for one in recipe.stages]
    return replace(
        known,
        about=recipe.about,
        recipe=dump_recipe(recipe),
        stages=tuple(stages),
        parts=_parts_from(sources),
        data=tuple(dict.fromkeys(_data(recipe))),
    )


# --- parts and data --------------------------------------------------------------------------------------------------


def _sources(name: str, recipe: Recipe | None) -> dict[str, str | None]:
    """By name of the part, where it is from; None for weights that start at random.

    Without a recipe the whole model is where its parts are from; nothing is known of what a YAML file names.
    """
    if recipe is None:
        return {} if name.endswith((".yaml", ".yml")) else dict.fromkeys(PARTS, name)
    model = recipe.model
    return dict(zip(PARTS, (model.vision.from_, model.connector.from_, model.language_model.from_)))


def _is_mblip(name: str) -> bool:
    """Whether a model's config is that of mBLIP's release; False when it isn't at hand."""
    try:
        path = _file_of(name, "config.json")
        values = {} if path is None else json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, VisiglotError):
        return False
    return isinstance(values, dict) and MBLIP in (values.get("architectures") or ())


def _parts_from(sources: Mapping[str, str | None]) -> tuple[Part, ...]:
    """By name of the part, where it is from; None for weights that started at random."""
    from visiglot.export.card import Part

    return tuple(
        Part(name, "new", None) if source is None else Part(name, source, licence_of(source), _on_hub(source))
        for name, source in sources.items()
    )


def _on_hub(name: str) -> bool:
    from visiglot.models.runs import resolve_model

    try:
        return not Path(resolve_model(name)).exists()
    except VisiglotError:
        return False


def licence_of(name: str) -> str | None:
    """The licence that a model states: in its recipe, else in the head of its card; None when that isn't at hand."""
    try:
        recipe = recipe_of(name)
        if recipe is not None and recipe.licence:
            return recipe.licence
        card = _file_of(name, "README.md")
    except VisiglotError:
        return None
    head = {} if card is None else _head(card)
    stated = head.get("license_name") if head.get("license") == "other" else head.get("license")
    return None if stated is None else str(stated)


def _file_of(name: str, file: str) -> Path | None:
    """A file of a model's folder, or of the hub's cache; None when it isn't there. Nothing is fetched.

    Raises:
        CheckpointError: there is no such model.
    """
    from huggingface_hub import try_to_load_from_cache

    from visiglot.models.runs import HUB_ID, resolve_model

    where = resolve_model(name)
    if Path(where).exists():
        path = Path(where) / file
        return path if path.is_file() else None
    found = try_to_load_from_cache(where, file) if HUB_ID.match(where) else None
    return Path(found) if isinstance(found, str) else None


def _head(card: Path) -> dict[str, Any]:
    """The values between the first two lines of dashes; {} when there are none that can be read."""
    try:
        parts = card.read_text(encoding="utf-8").split("---\n", 2)
        values = yaml.safe_load(parts[1]) if len(parts) == 3 and not parts[0].strip() else None
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return values if isinstance(values, dict) else {}


def _data(recipe: Recipe, seen: frozenset[str] = frozenset()) -> Iterator[tuple[str, str | None]]:
    """(what, licence or None) of everything that a recipe trains on, and the recipes of its parts before it."""
    for section in (stage.data or recipe.data for stage in recipe.stages):
        for source in section.sources:
            yield from _nano(source) if source.type == "nano" else [_other(source)]
    model = recipe.model
    for name in (model.vision.from_, model.connector.from_, model.language_model.from_):
        if name is not None and name not in seen:
            try:
                earlier = recipe_of(name)
            except VisiglotError:
                earlier = None
            if earlier is not None:
                yield from _data(earlier, seen | {name})


def _nano(source: SourceSection) -> Iterator[tuple[str, str | None]]:
    """The packages of the built-in data that a source takes its words and pictures from."""
    from visiglot.data.nano.content import TASKS
    from visiglot.data.nano.fetch import load_packages
    from visiglot.data.nano.settings import load_settings

    settings, options = load_settings(), source.options
    of_pictures = {style.package: name for name, style in settings.styles.items()}
    shows = TASKS[options["task"]].pictures and not options.get("as_text")
    styles = (options.get("styles") or settings.training_styles) if shows else ()
    for name, package in load_packages().items():
        if of_pictures.get(name) in (None, *styles):
            yield f"`{name}` {package.version}: {package.purpose}", package.licence


def _other(source: SourceSection) -> tuple[str, str | None]:
    options = ", ".join(f"{key} {value}" for key, value in source.options.items())
    return f"{source.type}{f' ({options})' if options else ''}", None


# --- scores ----------------------------------------------------------------------------------------------------------


def _scores(folder: Path, weights: str | None) -> tuple[tuple[tuple[str, ...], ...], str]:
    """Rows of a table, its head first, and how they were made. Raises EvaluationError."""
    from visiglot.evaluate.summary import load_evaluations

    evaluation = load_evaluations([folder])[0]
    run = evaluation.run
    if run is None or run.model_hash != weights:
        found = "it doesn't say of which" if run is None else f"{run.model}, {run.model_hash[:12]}…"
        raise EvaluationError(
            f"{folder} is an evaluation of other weights ({found})",
            hint="Evaluate this very model, in the number format that it is saved in: `visiglot evaluate MODEL`.",
        )
    rows = tuple(_score_rows(evaluation))
    made = ", then ".join(f"`{shlex.join(command)}`" for command in run.commands)
    told = f"{made}, on the model before it was exported. In parentheses: 95% bootstrap intervals."
    return (("benchmark", "metric", "languages", "answers", "value"), *rows), told


def _score_rows(evaluation: Evaluation) -> Iterator[tuple[str, ...]]:
    """English, and the means over languages, of each metric of each benchmark."""
    from visiglot.evaluate.report.cells import with_interval
    from visiglot.evaluate.summary import is_percent, tables
    from visiglot.languages import ENGLISH

    for key, scores in tables(evaluation).items():
        title = key.benchmark if key.prompt_set == "english" else f"{key.benchmark} ({key.prompt_set})"
        if ENGLISH in scores:
            one = scores[ENGLISH]
            yield title, key.metric, "English", f"{one.n:,}", with_interval(one, percent=is_percent(key.metric))
        for mean in evaluation.means_of(key):
            group = f"{mean.group} ({len(mean.languages)})"
            if mean.relative_to:
                group = f"{group}, relative to {mean.relative_to}"
            percent = is_percent(key.metric) or bool(mean.relative_to)
            yield title, key.metric, group, f"{mean.n:,}", with_interval(mean, percent=percent)

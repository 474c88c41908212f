"""What a cell's result follows from, as one hash; equal identities give equal cells, whatever they are called.

In it: the resolved recipes (seed included), the bytes of the weights that they start from, the data set's card, and
what is asked in the evaluation. Not in it: names of studies, arms, runs and recipes, how often is logged or saved, and
the version of the code, which each row records instead.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from studies.study import LINK, Cell, LinkSection, Study, build_recipe
from visiglot.config import Recipe
from visiglot.errors import DataError, TrainingError
from visiglot.evaluate.benchmark import BENCHMARKS, Benchmark
from visiglot.languages import resolve
from visiglot.models.runs import checkpoints, end_of, resolve_model

FORMAT = 1
"""Raised when the meaning of an identity changes."""

IGNORED: dict[str, Any] = {
    "name": True,
    "about": True,
    "cite": True,
    "licence": True,
    "evaluate": True,
    "train": {"log_every", "save_every", "keep", "on_bad", "max_bad", "sharding", "track", "save_frozen"},
    "stages": {"__all__": {"validate_every"}},
}
"""Keys of a recipe that no weight follows from."""


_NEWER_DATA: dict[str, Any] = {"allocation": None, "licence": "any", "holdout": 0}
_NEWER_SOURCE: dict[str, Any] = {
    "task": None, "task_options": {}, "translate": False, "allocation": None, "examples": None,
}  # fmt: skip

NEWER: dict[str, dict[str, Any]] = {
    "model.language_model": {"adapter": None, "merge": False, "quantize": None},
    "model.vision": {"pad": False, "tiles": 1},
    "model.prompt": {"image_first": False, "image_gap": None, "caption": None, "pivot": False},
    "stages.*": {"cache_read": False},
    "train": {"frozen": "fp32"},
    "stages.*.batch": {"tokens": None, "balance_languages": False},
    "data": _NEWER_DATA,
    "data.sources.*": _NEWER_SOURCE,
    "stages.*.data": _NEWER_DATA,
    "stages.*.data.sources.*": _NEWER_SOURCE,
}
"""Keys that recipes of format 1 hadn't, by where they are, and what they mean where they aren't set: left out then."""


@dataclass(frozen=True)
class PlannedLink:
    """One training of a cell, ready to run.

    Args:
        recipe: `from` of earlier links still as "link:<name>".
        identity: of the model that it ends with.
        weights: SHA-256 of the models that it starts from, by the name that the recipe gives.
        data: hash of each data set's card.
    """

    section: LinkSection
    recipe: Recipe
    identity: str
    weights: Mapping[str, str]
    data: Mapping[str, str]

    @property
    def steps(self) -> int:
        return sum(stage.steps for stage in self.recipe.stages)

    @property
    def examples(self) -> int:
        return sum(stage.steps * stage.batch.rows for stage in self.recipe.stages)


@dataclass(frozen=True)
class PlannedCell:
    """A cell with its trainings and its identity."""

    cell: Cell
    links: tuple[PlannedLink, ...]
    identity: str
    evaluation: Mapping[str, Any]


@dataclass
class Facts:
    """Hashes of weights and data on this machine, each taken once."""

    weights: dict[str, str] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)

    def of_weights(self, name: str) -> str:
        """Raises CheckpointError: there is no such model."""
        if name not in self.weights:
            self.weights[name] = hash_model(name)
        return self.weights[name]

    def of_data(self, folder: str | None) -> str:
        """Hash of the card of the built-in data in `folder`. Raises DataError: it isn't there."""
        key = folder or ""
        if key not in self.data:
            self.data[key] = hash_card(Path(folder) if folder else None)
        return self.data[key]


def plan_cell(study: Study, cell: Cell, facts: Facts) -> PlannedCell:
    """Resolve a cell's recipes and take its identity.

    Raises:
        VisiglotError: a recipe, a model or the data isn't there or is wrong.
    """
    links: list[PlannedLink] = []
    before: dict[str, str] = {}
    for section in study.links(cell.arm):
        recipe = build_recipe(section, cell.seed, {})
        links.append(_plan_link(section, recipe, before, facts))
        before[section.name] = links[-1].identity
    evaluation = evaluation_facts(study)
    identity = _hash({"format": FORMAT, "links": [link.identity for link in links], "evaluation": evaluation})
    return PlannedCell(cell, tuple(links), identity, evaluation)


def _plan_link(section: LinkSection, recipe: Recipe, before: Mapping[str, str], facts: Facts) -> PlannedLink:
    values = recipe.model_dump(mode="json", by_alias=True, exclude=IGNORED)
    for place, keys in NEWER.items():
        for found in _places(values, place):
            for key in [key for key, meaning in keys.items() if found[key] == meaning]:
                del found[key]
    weights: dict[str, str] = {}
    for part in values["model"].values():
        name = part.get("from")
        if name is None:
            continue
        if name.startswith(LINK):
            part["from"] = LINK + before[name.removeprefix(LINK)]
        else:
            weights[name] = part["from"] = facts.of_weights(name)
    data: dict[str, str] = {}
    for section_ in [values["data"], *(stage["data"] for stage in values["stages"] if stage["data"] is not None)]:
        section_["languages"] = list(resolve(section_["languages"]))
        for source in section_["sources"]:
            if source["languages"] is not None:
                source["languages"] = list(resolve(source["languages"]))
            if source["type"] == "nano":
                folder = source["options"].get("folder")
                data[folder or "nano"] = facts.of_data(folder)
    identity = _hash({"format": FORMAT, "recipe": values, "data": sorted(data.values())})
    return PlannedLink(section, recipe, identity, weights, data)


def _places(values: Mapping[str, Any], path: str) -> list[dict[str, Any]]:
    """What stands at a path of keys, where "*" is each item of a list; nothing where a section isn't set."""
    found: list[Any] = [values]
    for key in path.split("."):
        found = [inner for one in found for inner in (one if key == "*" else [one[key]]) if inner is not None]
    return found


def benchmarks_of(study: Study) -> list[tuple[Benchmark, int]]:
    """(benchmark with the study's settings, examples in each language). Raises UnknownNameError."""
    found = []
    for name, limit in study.evaluation.benchmarks.items():
        benchmark = BENCHMARKS.get(name)
        if study.evaluation.max_new_tokens is not None:
            settings = replace(benchmark.settings, max_new_tokens=study.evaluation.max_new_tokens)
            benchmark = replace(benchmark, settings=settings)
        found.append((benchmark, limit))
    return found


def evaluation_facts(study: Study) -> dict[str, Any]:
    """What the evaluation's answers follow from, the model apart. Raises DataError: a benchmark's data isn't there."""
    return {
        "languages": list(resolve(study.evaluation.languages)),
        "benchmarks": {
            benchmark.name: {
                "limit": limit,
                "settings": asdict(benchmark.settings),
                "revision": benchmark.load(None).revision,
            }
            for benchmark, limit in benchmarks_of(study)
        },
    }


def hash_model(name: str) -> str:
    """SHA-256 of the files of a model's folder, but for what is said about it (cards, the recipe that came of it); a
    hub id stands for itself.

    Raises:
        CheckpointError: there is no such model.
        TrainingError: it is a run that isn't finished.
    """
    folder = Path(resolve_model(name))
    if not folder.is_dir():
        return f"hub:{name}"
    _refuse_unfinished(name, folder)
    told = hashlib.sha256()
    files = (path for path in folder.rglob("*") if path.is_file())
    for path in sorted(path for path in files if path.suffix != ".md" and path.name != "recipe.yaml"):
        told.update(f"{path.relative_to(folder)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return told.hexdigest()


def _refuse_unfinished(name: str, model: Path) -> None:
    """A study of a tower that is still being trained would be of whatever it was at that moment."""
    checkpoint = next((one for one in checkpoints(model.parents[2]) if one.folder == model.parent), None)
    end = end_of(checkpoint) if checkpoint is not None else None
    if checkpoint is not None and end is not None and checkpoint.position < end:
        raise TrainingError(
            f"the run {name!r} is at stage {checkpoint.stage}, step {checkpoint.position.step}, and isn't finished",
            hint=f"Finish it first: `visiglot train {name}`.",
        )


def hash_card(folder: Path | None) -> str:
    """SHA-256 of the card of the built-in data set. Raises DataError: it isn't there."""
    from visiglot.data.nano.build import CARD, nano_dir

    path = (folder or nano_dir()) / CARD
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(
            f"the built-in data set isn't in {path.parent}", hint="`visiglot data nano` fetches and builds it."
        ) from error


def _hash(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

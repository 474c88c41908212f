"""What a study is: questions, arms, seeds and how each cell is evaluated; read from studies/<name>.yaml.

An arm is a chain of trainings. Each names a recipe and changes values in it; a stage in a path is named, not numbered
(`stages.realign.steps`), so that a recipe that gains a stage doesn't shift what a study means. `link:<name>` as a value
stands for the model that an earlier training of the same arm ended with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, model_validator

from visiglot.config import Recipe, Section, load_recipe
from visiglot.errors import ConfigError, UnknownNameError
from visiglot.languages import resolve

FOLDER = Path(__file__).parent
LINK = "link:"


class LinkSection(Section):
    """One training of an arm."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    recipe: str = Field(description="a built-in recipe, or the path of one")
    stages: tuple[str, ...] | None = Field(None, description="stages of the recipe that are run; default: all")
    set: dict[str, Any] = Field(default_factory=dict, description="dotted path -> value")


class ArmSection(Section):
    """What one arm does. One that is `like` another takes its links, changed by `set` and without those in `drop`."""

    about: str
    like: str | None = None
    drop: tuple[str, ...] = ()
    set: dict[str, dict[str, Any]] = Field(default_factory=dict, description="link -> dotted path -> value")
    links: tuple[LinkSection, ...] = ()

    @model_validator(mode="after")
    def _has_one_source(self) -> ArmSection:
        if (self.like is None) != bool(self.links):
            raise ValueError("needs `links`, or `like` with another arm's name, and not both")
        if self.links and (self.drop or self.set):
            raise ValueError("has `links` of its own: `set` and `drop` are for an arm that is `like` another")
        return self


class EvaluationSection(Section):
    """What every cell is asked."""

    benchmarks: dict[str, int] = Field(min_length=1, description="benchmark -> examples in each language")
    languages: tuple[str, ...] = Field(min_length=1)
    max_new_tokens: int | None = Field(None, ge=1)


class Column(Section):
    """One number of an arm: the mean of a benchmark's exact matches over some languages."""

    title: str
    benchmark: str
    languages: str = Field(description="a group of the study")


class Comparison(Section):
    """Two arms held against each other in one number."""

    first: str
    second: str
    column: str = Field(description="title of a column")


class Axis(Section):
    """Arms along a line: a number for each."""

    label: str
    values: tuple[float, ...]


class Question(Section):
    """One thing that the study asks, and the arms that answer it."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: str
    asks: str
    arms: tuple[str, ...] = Field(min_length=1)
    columns: tuple[str, ...] = Field(min_length=1, description="titles of columns")
    compare: tuple[Comparison, ...] = ()
    axis: Axis | None = None


class Study(Section):
    """The whole file."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: str
    about: str
    minutes: float = Field(10, gt=0, description="that a cell may take on `cores` cores")
    cores: int = Field(2, ge=1)
    device: str = "cpu"
    seeds: tuple[int, ...] = Field(min_length=1)
    groups: dict[str, tuple[str, ...]] = Field(description="name -> languages over which means are taken")
    evaluation: EvaluationSection
    arms: dict[str, ArmSection] = Field(min_length=1)
    columns: tuple[Column, ...] = Field(min_length=1)
    questions: tuple[Question, ...] = Field(min_length=1)
    define: dict[str, Any] = Field(default_factory=dict, description="values for YAML anchors; not read otherwise")

    @model_validator(mode="after")
    def _names_exist(self) -> Study:
        problems = _dangling(self)
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def column(self, title: str) -> Column:
        return next(column for column in self.columns if column.title == title)

    def codes(self, group: str) -> tuple[str, ...]:
        """FLORES codes of a group."""
        return resolve(self.groups[group])

    def links(self, arm: str) -> tuple[LinkSection, ...]:
        """The arm's trainings, in order, with everything that it inherits."""
        section = self.arms[arm]
        if section.like is None:
            return section.links
        kept = [link for link in self.links(section.like) if link.name not in section.drop]
        return tuple(link.model_copy(update={"set": {**link.set, **section.set.get(link.name, {})}}) for link in kept)


def _dangling(study: Study) -> list[str]:
    """Names of arms, links, groups and columns that lead nowhere."""
    problems = []
    for name, arm in study.arms.items():
        seen = {name}
        above = arm.like
        while above is not None and above in study.arms and above not in seen:
            seen.add(above)
            above = study.arms[above].like
        if above is not None:
            problems.append(
                f"arms.{name}: is like {above!r}, " + ("in a circle" if above in seen else "which isn't there")
            )
    if problems:
        return problems
    for name, arm in study.arms.items():
        known = {link.name for link in study.links(arm.like)} if arm.like is not None else set()
        problems += [f"arms.{name}: has no link {link!r}" for link in (*arm.drop, *arm.set) if link not in known]
        if not study.links(name):
            problems.append(f"arms.{name}: has no links left")
    titles = {column.title for column in study.columns}
    problems += [f"columns: no group {c.languages!r}" for c in study.columns if c.languages not in study.groups]
    problems += [
        f"columns: {c.benchmark!r} isn't evaluated"
        for c in study.columns
        if c.benchmark not in study.evaluation.benchmarks
    ]
    for question in study.questions:
        at = f"questions.{question.name}"
        arms = [*question.arms, *(arm for one in question.compare for arm in (one.first, one.second))]
        problems += [f"{at}: no arm {arm!r}" for arm in dict.fromkeys(arms) if arm not in study.arms]
        asked = [*question.columns, *(one.column for one in question.compare)]
        problems += [f"{at}: no column {title!r}" for title in dict.fromkeys(asked) if title not in titles]
        if question.axis is not None and len(question.axis.values) != len(question.arms):
            problems.append(f"{at}.axis: needs one value for each of the {len(question.arms)} arms")
    return problems


def study_names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_study(name: str) -> Study:
    """Read studies/<name>.yaml, or a file when `name` ends in .yaml.

    Raises:
        UnknownNameError: there is no such study.
        ConfigError: it can't be read, or isn't one.
    """
    path = Path(name) if name.endswith(".yaml") else FOLDER / f"{name}.yaml"
    if not path.is_file():
        raise UnknownNameError("study", name, study_names())
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Study.model_validate(values)
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(str(path), [f"can't be read: {error}"]) from error
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False)]
        raise ConfigError(str(path), problems) from None


# --- recipes ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """One arm with one seed."""

    arm: str
    seed: int

    def __str__(self) -> str:
        return f"{self.arm}, seed {self.seed}"


def cells_of(study: Study) -> list[Cell]:
    """Seed by seed, so that a study that is half done has compared all arms."""
    return [Cell(arm, seed) for seed in study.seeds for arm in study.arms]


def build_recipe(link: LinkSection, seed: int, models: Mapping[str, str]) -> Recipe:
    """The recipe of one training.

    Args:
        models: name of an earlier link -> what stands for its model; a link that isn't in it keeps "link:<name>".

    Raises:
        ConfigError: a stage isn't in the recipe, or a path or value isn't the recipe's.
        UnknownNameError: no such recipe.
    """
    plain = load_recipe(link.recipe)
    names = [stage.name for stage in plain.stages]
    chosen = list(link.stages) if link.stages is not None else names
    where = f"link {link.name} (recipe {link.recipe})"
    if missing := [name for name in chosen if name not in names]:
        raise ConfigError(where, [f"stages: {name!r} isn't there; it has {', '.join(names)}" for name in missing])
    overrides = []
    if chosen != names:
        kept = [plain.stages[names.index(name)].model_dump(mode="json", by_alias=True) for name in chosen]
        overrides.append(f"stages={json.dumps(kept)}")
    overrides += [
        f"{_numbered(path, chosen, where)}={json.dumps(_put(value, models))}" for path, value in link.set.items()
    ]
    return load_recipe(link.recipe, [*overrides, f"train.seed={seed}"])


def _numbered(path: str, stages: Sequence[str], where: str) -> str:
    """`stages.realign.steps` -> `stages.1.steps`."""
    parts = path.split(".")
    if parts[0] != "stages" or len(parts) < 2:
        return path
    if parts[1] not in stages:
        raise ConfigError(where, [f"{path}: no stage {parts[1]!r}; it has {', '.join(stages)}"])
    return ".".join(["stages", str(stages.index(parts[1])), *parts[2:]])


def _put(value: Any, models: Mapping[str, str]) -> Any:
    if isinstance(value, str) and value.startswith(LINK):
        return models.get(value.removeprefix(LINK), value)
    if isinstance(value, dict):
        return {key: _put(item, models) for key, item in value.items()}
    if isinstance(value, list):
        return [_put(item, models) for item in value]
    return value

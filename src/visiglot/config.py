"""The recipe: a typed, closed schema; YAML and dotted overrides in, resolved YAML out.

A recipe is values only. Every key is known here, a misspelt one is an error with the nearest valid name, and all
problems of a recipe are reported at once.
"""

from __future__ import annotations

import os
import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from importlib.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from visiglot.errors import ConfigError, UnknownNameError, nearest

Mode = Literal["full", "lora", "frozen"]
PARTS = (
    "vision",
    "connector",
    "connector.queries",
    "connector.qformer",
    "connector.projection",
    "language_model",
)
"""Module paths that every model has or may have; a recipe may name any path below them."""


class Section(BaseModel):
    """Base of every part of a recipe: closed and frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), validate_default=True)


# --- model -----------------------------------------------------------------------------------------------------------


class PartSource(Section):
    """Where a part of the model comes from: existing weights (`from`), or a new one built by `config`."""

    from_: str | None = Field(None, alias="from", description="a run, a run or model folder, or a hub id")
    config: dict[str, Any] | None = Field(
        None, description="keyword arguments of the Hugging Face config class named by model_type; random weights"
    )

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), populate_by_name=True, validate_default=True
    )

    @model_validator(mode="after")
    def _has_one_source(self) -> PartSource:
        if self.from_ is None and self.config is None:
            raise ValueError("needs `from` (existing weights) or `config` (a new part)")
        if self.from_ is not None and self.config is not None:
            raise ValueError("has both `from` and `config`; keep one")
        return self


class VisionSection(PartSource):
    """The vision encoder: any Hugging Face vision model."""

    layer: int = Field(-1, description="hidden state that the connector reads; -1 is the last")
    image_size: int | None = Field(None, ge=8, description="side in pixels; default: the encoder's own")
    image_mean: tuple[float, float, float] | None = None
    image_std: tuple[float, float, float] | None = None


class ConnectorSection(Section):
    """The connector between the encoder's features and the LLM's embeddings."""

    type: str = Field("qformer", description="a name in the table of connectors")
    options: dict[str, Any] = Field(default_factory=dict, description="keyword arguments of that connector")
    from_: str | None = Field(None, alias="from", description="a run, a run or model folder, or a hub id")
    fresh: tuple[str, ...] = Field((), description="paths below the connector that start anew despite `from`")

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), populate_by_name=True, validate_default=True
    )


class TokenizerSection(Section):
    """A tokenizer to be trained on the recipe's own texts (SentencePiece unigram with byte fallback)."""

    vocabulary: int = Field(8000, ge=300)


class LanguageModelSection(PartSource):
    """The language model: any Hugging Face causal or encoder-decoder LLM."""

    tokenizer: str | TokenizerSection | None = Field(
        None, description="folder or hub id, or {vocabulary: N} to train one; default: the model's own"
    )


class PromptSection(Section):
    """How turns become text, and how long a row may be."""

    template: str | None = Field(None, description="a row of the template table; default: the LLM family's")
    max_length: int = Field(256, ge=8, description="tokens a row may have, image tokens included")


class ModelSection(Section):
    """The three parts and how they are asked."""

    vision: VisionSection
    connector: ConnectorSection = ConnectorSection()
    language_model: LanguageModelSection
    prompt: PromptSection = PromptSection()


# --- data ------------------------------------------------------------------------------------------------------------


class SourceSection(Section):
    """One source of examples: a row of the table of sources, with its own options."""

    type: str = Field(description="a name in the table of sources")
    options: dict[str, Any] = Field(default_factory=dict)
    weight: float = Field(1.0, gt=0, description="share among the sources, relative")
    languages: str | tuple[str, ...] | None = Field(None, description="default: those of the data section")


class DataSection(Section):
    """What a stage draws from: sources by their weights, within a source languages alike or with a share of English."""

    sources: tuple[SourceSection, ...] = Field(min_length=1)
    languages: str | tuple[str, ...] = Field(description="codes, aliases or a named set")
    english_share: float | None = Field(
        None, ge=0, le=1, description="share of English examples, the rest uniform; default: all languages alike"
    )

    @field_validator("languages")
    @classmethod
    def _known_languages(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        from visiglot.languages import resolve

        try:
            resolve(value)
        except UnknownNameError as error:
            raise ValueError(str(error).replace("\n", " ")) from error
        return value


# --- training --------------------------------------------------------------------------------------------------------


class PartSection(Section):
    """How one part is trained in a stage."""

    train: Mode
    lr: float | None = Field(None, gt=0, description="peak learning rate; default: the stage's")


class LoraSection(Section):
    """Low-rank adaptation (Hu et al., 2021, arXiv 2106.09685)."""

    rank: int = Field(8, ge=1)
    alpha: float = Field(16, gt=0)
    dropout: float = Field(0.05, ge=0, lt=1)
    targets: tuple[str, ...] | Literal["all-linear"] = Field(
        "all-linear", description="last names of the adapted linear layers; one that matches nothing is an error"
    )


class BatchSection(Section):
    """How many examples a step has and how they are cut up."""

    rows: int = Field(128, ge=1, description="examples in one optimiser step, over all processes")
    accumulate: int = Field(1, ge=1, description="forward passes that make up one step")
    group_by_length: bool = True

    @model_validator(mode="after")
    def _divides(self) -> BatchSection:
        if self.rows % self.accumulate:
            raise ValueError(f"rows ({self.rows}) must be a multiple of accumulate ({self.accumulate})")
        return self


class StageSection(Section):
    """One stage: what is trained, with which objective, on what, for how long."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$")
    objective: str = Field("generate", description="generate | contrastive | matching | text")
    options: dict[str, Any] = Field(default_factory=dict, description="of the objective")
    parts: dict[str, PartSection] = Field(description="module path -> mode; the longest prefix wins, unlisted = frozen")
    steps: Annotated[int, Field(ge=1)]
    lr: float = Field(1e-4, gt=0, description="peak learning rate of parts that name none")
    warmup_steps: int = Field(0, ge=0)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    weight_decay: float = Field(0.1, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float | None = Field(1.0, gt=0, description="largest norm of the gradient")
    batch: BatchSection = BatchSection()
    lora: LoraSection = LoraSection()
    data: DataSection | None = Field(None, description="default: the recipe's")
    augment: bool = Field(False, description="draw pictures anew each time (crop, shift, colour); bypasses the cache")
    cache_views: int = Field(0, ge=0, description="0: no feature cache; n: n cached views of each picture")

    @model_validator(mode="after")
    def _trains_something(self) -> StageSection:
        if all(part.train == "frozen" for part in self.parts.values()):
            raise ValueError("nothing is trained: every listed part is frozen")
        return self


class TrainSection(Section):
    """What holds for all stages: randomness, number format, logging, checkpoints, memory."""

    seed: int = Field(42, description="of every random choice: new weights, order of data, dropout, sources' own draws")
    precision: Literal["fp32", "bf16", "auto"] = Field("auto", description="auto: bf16 where the machine has it")
    log_every: int = Field(10, ge=1)
    save_every: int = Field(200, ge=1, description="steps between checkpoints")
    keep: int = Field(2, ge=1, description="newest checkpoints kept in each run")
    gradient_checkpointing: bool = False
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2"] = Field(
        "auto", description="the language model's attention; auto: transformers' choice"
    )
    min_supervised: float = Field(0.01, ge=0, le=1, description="smallest share of supervised tokens at the start")
    head_chunk: int = Field(1024, ge=1, description="target positions whose logits exist at one time")


class EvaluateSection(Section):
    """What `visiglot evaluate` takes for a model of this recipe where the command line names nothing else."""

    benchmarks: tuple[str, ...] = Field((), description="names in the table of benchmarks")
    languages: str | tuple[str, ...] | None = Field(None, description="default: those of the benchmark")
    max_new_tokens: int = Field(32, ge=1, description="longest answer, in tokens")
    beams: int = Field(1, ge=1, description="width of beam search; 1 is greedy")


class Recipe(Section):
    """Encoder x connector x LLM, a data mix, a list of stages."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    about: str = ""
    cite: tuple[str, ...] = Field((), description="keys of recipes/citations.toml")
    licence: str = Field("", description="licence that the trained weights carry")
    model: ModelSection
    data: DataSection
    stages: tuple[StageSection, ...] = Field(min_length=1)
    train: TrainSection = TrainSection()
    evaluate: EvaluateSection = EvaluateSection()

    @model_validator(mode="after")
    def _stage_names_differ(self) -> Recipe:
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ValueError(f"stages: names must differ, found {names}")
        return self


# --- in and out ------------------------------------------------------------------------------------------------------


def cache_dir() -> Path:
    """Root of caches and runs: VISIGLOT_CACHE, else ~/.cache/visiglot."""
    return Path(os.environ.get("VISIGLOT_CACHE") or Path.home() / ".cache" / "visiglot").expanduser()


def recipes_folder() -> Traversable:
    return resources.files("visiglot") / "recipes"


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(
        entry.name.removesuffix(".yaml") for entry in recipes_folder().iterdir() if entry.name.endswith(".yaml")
    )


def read_recipe_text(name: str) -> str:
    """The YAML of a built-in recipe or of a file.

    Raises:
        ConfigError: the file can't be read.
        UnknownNameError: no such recipe.
    """
    if name.endswith((".yaml", ".yml")) or os.sep in name:
        try:
            return Path(name).read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(name, [f"can't be read: {error.strerror}"]) from error
        except UnicodeDecodeError as error:
            raise ConfigError(name, [f"is no text in UTF-8 (byte {error.start})"]) from error
    if name not in recipe_names():
        raise UnknownNameError("recipe", name, recipe_names(), hint=_recipe_hint(name))
    return (recipes_folder() / f"{name}.yaml").read_text(encoding="utf-8")


def load_recipe(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe by name or path and apply dotted overrides (`stages.1.lr=2e-4`).

    Raises:
        ConfigError: with every problem found.
        UnknownNameError: no such recipe.
    """
    text = read_recipe_text(name)
    try:
        values = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"recipe {name}", [f"is not YAML: {error}"]) from error
    if not isinstance(values, dict):
        raise ConfigError(f"recipe {name}", [f"must be a mapping, found {type(values).__name__}"])
    problems = [problem for override in overrides if (problem := _apply(values, override))]
    if problems:
        raise ConfigError(f"recipe {name}", problems, hint="Overrides look like stages.1.lr=2e-4")
    return parse_recipe(values, where=f"recipe {name}")


def parse_recipe(values: Mapping[str, Any], *, where: str) -> Recipe:
    """Check `values` against the schema.

    Raises:
        ConfigError: with every problem found.
    """
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise ConfigError(where, _problems(error), hint="`visiglot recipes show nano` prints a whole recipe.") from None


def dump_recipe(recipe: Recipe) -> str:
    """The resolved recipe as YAML; `load_recipe` of it gives the same recipe."""
    return yaml.safe_dump(
        recipe.model_dump(mode="json", by_alias=True), sort_keys=False, allow_unicode=True, default_flow_style=None
    )


class _Loader(yaml.SafeLoader):
    """YAML with 1e-4 read as a number (YAML 1.2), which PyYAML (YAML 1.1) reads as text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*)(\.[\d_]*)?[eE][-+]?\d+$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))


def _apply(values: dict[str, Any], override: str) -> str | None:
    """Set one dotted path in place; the problem as text when that can't be done."""
    path, equals, raw = override.partition("=")
    if not equals or not path:
        return f"override {override!r}: has no `path=value`"
    keys = path.split(".")
    where: Any = values
    for depth, key in enumerate(keys):
        last = depth == len(keys) - 1
        if isinstance(where, list):
            if not key.isdecimal() or int(key) >= len(where):
                return f"override {override!r}: {key!r} is no index of a list of {len(where)}"
            position: Any = int(key)
        elif isinstance(where, dict):
            position = key
            if not last:
                # a module path may hold dots itself (parts."connector.projection".lr)
                joined = next(
                    (c for e in range(len(keys) - 1, depth + 1, -1) if (c := ".".join(keys[depth:e])) in where), None
                )
                if joined is not None and key not in where:
                    rest = ".".join(keys[depth + joined.count(".") + 1 :])
                    return _apply(where[joined], f"{rest}={raw}")
                where.setdefault(key, {})
        else:
            return f"override {override!r}: {'.'.join(keys[:depth])} is a {type(where).__name__}, it has no {key!r}"
        if last:
            try:
                where[position] = yaml.load(raw, Loader=_Loader)
            except yaml.YAMLError as error:
                return f"override {override!r}: its value is not YAML: {' '.join(str(error).split())}"
        else:
            where = where[position]
            if where is None:
                return f"override {override!r}: {'.'.join(keys[: depth + 1])} is empty"
    return None


def _problems(error: ValidationError) -> list[str]:
    lines = []
    for item in error.errors(include_url=False):
        if item["type"] == "too_short" and item["input"]:
            continue  # it isn't empty: each of its items has a problem of its own
        path = ".".join(str(key) for key in item["loc"])
        if item["type"] == "extra_forbidden":
            known = _keys_at(item["loc"][:-1])
            close = nearest(str(item["loc"][-1]), known)
            hint = f"did you mean {' or '.join(repr(c) for c in close)}?" if close else f"known: {', '.join(known)}"
            lines.append(f"{path}: no such key; {hint}")
        elif item["type"] == "missing":
            lines.append(f"{path}: is missing")
        else:
            message = item["msg"].removeprefix("Value error, ")
            shown = repr(item["input"])
            found = f", found {shown}" if len(shown) < 80 and item["type"] != "value_error" else ""
            lines.append(f"{path or 'recipe'}: {message[:1].lower()}{message[1:]}{found}")
    return lines


def _keys_at(path: Iterable[Any]) -> list[str]:
    """The keys that the schema allows at `path`."""
    here: Any = Recipe
    for key in path:
        if isinstance(here, type) and issubclass(here, Section):
            field = next((f for n, f in here.model_fields.items() if key in (n, f.alias)), None)
            if field is None:  # a list position or a mapping key: `here` is already what the container holds
                continue
            here = _section_of(field.annotation)
    if isinstance(here, type) and issubclass(here, Section):
        return [field.alias or name for name, field in here.model_fields.items()]
    return []


def _section_of(annotation: Any) -> Any:
    """The Section inside Optional, tuple and dict annotations, if any."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation
    for argument in typing.get_args(annotation):
        found = _section_of(argument)
        if isinstance(found, type) and issubclass(found, Section):
            return found
    return None


def _recipe_hint(name: str) -> str:
    close = nearest(name, recipe_names())
    known = f"Did you mean {' or '.join(repr(c) for c in close)}? " if close else ""
    return f"{known}Built in: {', '.join(recipe_names()) or 'none'}; or give the path of a .yaml file."

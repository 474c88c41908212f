"""Recipes in and out: YAML and dotted overrides in, all problems at once, resolved YAML out."""

from __future__ import annotations

import os
import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from importlib.abc import Traversable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from visiglot.config.model import ModelSection
from visiglot.config.schema import Recipe
from visiglot.config.section import Section
from visiglot.errors import ConfigError, UnknownNameError, nearest


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
    return parse_recipe(recipe_values(name, overrides), where=f"recipe {name}")


def recipe_values(name: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The values of a recipe with dotted overrides applied, before they are checked.

    Raises:
        ConfigError: the file or an override can't be read.
        UnknownNameError: no such recipe.
    """
    values = _mapping(read_recipe_text(name), name, where=f"recipe {name}")
    problems = [problem for override in overrides if (problem := _apply(values, override))]
    if problems:
        raise ConfigError(f"recipe {name}", problems, hint="Overrides look like stages.1.lr=2e-4")
    return values


def parse_recipe(values: Mapping[str, Any], *, where: str) -> Recipe:
    """Check `values` against the schema.

    Raises:
        ConfigError: with every problem found.
    """
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise ConfigError(where, _problems(error), hint="`visiglot recipes show nano` prints a whole recipe.") from None


def load_model_section(path: str) -> ModelSection:
    """The `model` of a recipe, alone in a YAML file.

    Raises:
        ConfigError: the file can't be read, or with every problem found.
    """
    values = _mapping(read_recipe_text(path), path, where=path)
    try:
        return ModelSection.model_validate(values)
    except ValidationError as error:
        raise ConfigError(path, _problems(error, ModelSection)) from None


def _mapping(text: str, name: str, *, where: str) -> dict[str, Any]:
    """What the YAML of a file says. Raises ConfigError: it is no YAML, or no mapping."""
    try:
        values = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        said = str(error).replace("<unicode string>", name)  # what PyYAML calls a text
        raise ConfigError(where, [f"is not YAML: {said}"]) from error
    if not isinstance(values, dict):
        raise ConfigError(where, [f"must be a mapping, found {type(values).__name__}"])
    return values


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
                return f"override {override!r}: {key!r} is no index of a list of {len(where)}{_indices(len(where))}"
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


def _indices(count: int) -> str:
    """ ": 0 or 1", those of a list; "" of an empty one."""
    return "" if not count else ": " + ("0" if count == 1 else f"0 {'or' if count == 2 else 'to'} {count - 1}")


def _problems(error: ValidationError, root: type[Section] = Recipe) -> list[str]:
    lines = []
    for item in error.errors(include_url=False):
        if item["type"] == "too_short" and item["input"]:
            continue  # it isn't empty: each of its items has a problem of its own
        path = ".".join(str(key) for key in item["loc"])
        if item["type"] == "extra_forbidden":
            known = _keys_at(item["loc"][:-1], root)
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


def _keys_at(path: Iterable[Any], root: type[Section]) -> list[str]:
    """The keys that the schema allows at `path` below `root`."""
    here: Any = root
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

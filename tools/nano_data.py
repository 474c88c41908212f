"""What a recipe was trained on, by package: from the data set's card and packages.toml, never from memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visiglot.config import Recipe
from visiglot.data.nano.build import CARD
from visiglot.data.nano.fetch import Package, load_packages
from visiglot.data.nano.settings import load_settings
from visiglot.data.nano.tasks import NanoSource, load_nano_source
from visiglot.errors import DataError
from visiglot.languages import resolve

SHARE_ALIKE = "CC-BY-SA-4.0"


@dataclass(frozen=True)
class TrainingData:
    """What some recipes, one after the other, were trained on.

    Args:
        card: of the data set.
        packages: trained on, in the order of packages.toml.
        held_out: packages of pictures that were not trained on.
        pictured: languages (FLORES codes) that were trained on with pictures.
    """

    card: Mapping[str, Any]
    packages: tuple[Package, ...]
    held_out: tuple[Package, ...]
    pictured: tuple[str, ...]


def read_card(folder: Path) -> dict[str, Any]:
    """The data set's card, when its files are those that it describes and its packages those that are pinned.

    Raises:
        DataError: they aren't, or there is no card.
    """
    try:
        card: dict[str, Any] = json.loads((folder / CARD).read_text(encoding="utf-8"))
        files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in card["files_sha256"]}
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{folder} isn't the built-in data: {error}", hint="`visiglot data nano` builds it.") from error
    pinned = {package.source: package.sha256 for package in load_packages().values()}
    if files != card["files_sha256"] or pinned != card["packages_sha256"]:
        what = "its files changed" if files != card["files_sha256"] else "it was built from other packages"
        raise DataError(f"{folder}: {what}", hint="Build it again: `visiglot data nano --force`.")
    return card


def training_data(recipes: Sequence[Recipe], folder: Path) -> TrainingData:
    """What `recipes` are trained on together: a model, and the models that its parts are from.

    Raises:
        DataError: a source isn't of the built-in data, so that nothing is known of its licence; or a recipe trains on
            share-alike pictures and states another licence.
    """
    settings, packages = load_settings(), load_packages()
    styles: set[str] = set()
    pictured: set[str] = set()
    for recipe in recipes:
        own, languages = _shown(recipe, folder)
        styles |= own
        pictured |= languages
        share_alike = any(packages[settings.styles[style].package].licence == SHARE_ALIKE for style in own)
        if share_alike and recipe.licence != SHARE_ALIKE:
            raise DataError(
                f"recipe {recipe.name} shows pictures under {SHARE_ALIKE}, and states {recipe.licence!r}",
                hint=f"Its weights carry {SHARE_ALIKE}: say so in the recipe's `licence`.",
            )
    of_pictures = {style.package: name for name, style in settings.styles.items()}
    return TrainingData(
        read_card(folder),
        tuple(one for name, one in packages.items() if of_pictures.get(name) in {None, *styles}),
        tuple(one for name, one in packages.items() if name in of_pictures and of_pictures[name] not in styles),
        tuple(sorted(pictured)),
    )


def _shown(recipe: Recipe, folder: Path) -> tuple[set[str], set[str]]:
    """Styles whose pictures the recipe's stages show, and languages that they are shown in."""
    styles: set[str] = set()
    languages: set[str] = set()
    for section in (stage.data or recipe.data for stage in recipe.stages):
        for row in section.sources:
            if row.type != "nano":
                raise DataError(
                    f"recipe {recipe.name} trains on source {row.type!r}, whose licence the card couldn't state",
                    hint="Models of the package are trained on the built-in data alone.",
                )
            wanted = resolve(row.languages or section.languages)
            source = load_nano_source(
                languages=wanted, seed=recipe.train.seed, **{"folder": str(folder), **row.options}
            )
            assert isinstance(source, NanoSource)
            if source.shows:
                styles |= set(source.styles)
                languages |= {language for language, rows in source.by_language.items() if len(rows)}
    return styles, languages

"""nano.toml as typed values."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Literal


@dataclass(frozen=True, slots=True)
class Style:
    """One artists' set: where its pictures are and how they are called."""

    name: str
    package: str
    folder: str
    by: Literal["codepoints", "slug"]
    optional: bool = False


@dataclass(frozen=True, slots=True)
class NanoSettings:
    """The choices behind the data set; see nano.toml."""

    least_names: int
    styles: Mapping[str, Style]
    test_style: str
    development_style: str
    held_out_one_in: int
    text_only_languages: frozenset[str]
    categories: Mapping[str, str]
    excluded: frozenset[str]

    @property
    def training_styles(self) -> tuple[str, ...]:
        """All styles but the one of the test."""
        return tuple(name for name in self.styles if name != self.test_style)


def resource(name: str) -> bytes:
    """The bytes of a data file that stands next to this module."""
    return resources.files("visiglot.data.nano").joinpath(name).read_bytes()


@cache
def load_settings() -> NanoSettings:
    """The settings that come with the package."""
    table = tomllib.loads(resource("nano.toml").decode("utf-8"))
    splits = table["splits"]
    return NanoSettings(
        least_names=table["least_names"],
        styles=MappingProxyType({name: Style(name=name, **row) for name, row in table["styles"].items()}),
        test_style=splits["test_style"],
        development_style=splits["development_style"],
        held_out_one_in=splits["held_out_one_in"],
        text_only_languages=frozenset(splits["text_only_languages"]),
        categories=MappingProxyType(table["categories"]),
        excluded=frozenset(id for ids in table["exclude"].values() for id in ids),
    )

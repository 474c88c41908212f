"""The drawn pictures, some of them cut short, and rows that can't be read any more."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tests.drawn import Drawn

from visiglot.data.source import SOURCES
from visiglot.errors import DataError
from visiglot.types import Example, ImageRef


class Broken(Drawn):
    """Drawn, but the pictures of the examples named in `cut` are broken and the rows in `gone` can't be read."""

    name = "broken"

    def __init__(self, languages: Sequence[str], cut: Sequence[str] = (), gone: Sequence[str] = ()) -> None:
        super().__init__(languages)
        self.cut = cut
        self.gone = gone

    def __getitem__(self, index: int) -> Example:
        example = super().__getitem__(index)
        if example.id in self.gone:
            raise DataError(f"rows.json, row {index}: it has changed since it was indexed")
        if example.id not in self.cut:
            return example
        (image,) = example.images
        assert image.data is not None
        return dataclasses.replace(example, images=(ImageRef(image.name, data=image.data[:60]),))


def build_broken(*, languages: Sequence[str], seed: int, cut: Sequence[str] = (), gone: Sequence[str] = ()) -> Broken:
    return Broken(languages, cut, gone)


if "broken" not in SOURCES:
    SOURCES.add("broken", build_broken)

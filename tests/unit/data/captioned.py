"""A source of captions in memory, for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from visiglot.data.source import Indices
from visiglot.types import Example, ImageRef, ImageSlot, Message, Provenance


@dataclass(frozen=True)
class Told:
    """A caption, its picture's name, and its language."""

    caption: str
    picture: str
    language: str = "eng_Latn"


class Captioned:
    """Example i is the i-th of `told`; its id is its picture's name and its caption."""

    def __init__(self, told: Sequence[Told], name: str = "captioned") -> None:
        self.name = name
        self.told = list(told)
        self.read = 0
        languages = np.array([one.language for one in told])
        self.by_language: Mapping[str, Indices] = {
            str(code): np.flatnonzero(languages == code).astype(np.int32) for code in np.unique(languages)
        }

    def __len__(self) -> int:
        return len(self.told)

    def __getitem__(self, index: int) -> Example:
        one = self.told[index]
        self.read += 1
        return Example(
            f"{one.picture}: {one.caption}",
            (Message("user", (ImageSlot(0),)), Message("assistant", (one.caption,))),
            one.language,
            (ImageRef(one.picture, path=Path("/pictures") / one.picture),),
            provenance=Provenance(self.name, "CC0-1.0"),
            task="caption",
            facts={"caption": one.caption},
        )

"""Wrong texts for a picture: another example's, which mustn't be right by accident."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Protocol

import numpy as np

from visiglot.data.captions import normal_form
from visiglot.data.permutation import permuted
from visiglot.data.source import Source
from visiglot.data.tasks.choice import Place, coin
from visiglot.data.tasks.desk import Desk
from visiglot.types import Example, ImageRef

TRIES = 1000
"""Examples that are looked at for one that is really wrong."""

SIBLINGS = 16
"""Neighbours of an example in the source's order whose captions are compared where they are of its picture."""


class Ranked(Protocol):
    """Hard negatives from a search."""

    def rank(self, index: int) -> Sequence[int]:
        """Examples of the same source whose texts are like that of `index`, nearest first."""


@dataclass(frozen=True)
class Negatives:
    """Draws for each example another one, whose `fact` is wrong of its picture.

    Args:
        same: facts that wrong examples mustn't share ("wnid"), where they are there.
        hard: those of a search; an example for which none of them is wrong gets a random one.
        random_share: share of examples that get a random one all the same.
    """

    desk: Desk
    fact: str
    same: tuple[str, ...] = ()
    hard: Ranked | None = None
    random_share: float = 0.0

    def find(self, index: int, example: Example, place: Place) -> Example:
        """An example of the same language with another picture and another text than `example`.

        Raises:
            DataError: there is none, as far as one looks.
        """
        wrong = self._judge(example, place)
        for candidate in chain(self._hard(index, place), self._random(place)):
            other = self.desk.source[candidate]
            if other.language == place.language and wrong(other):
                return other
        raise self.desk.error(
            example, f"has no other {self.fact} in {place.language} that is wrong of its picture, among {place.size:,}"
        )

    def _hard(self, index: int, place: Place) -> list[int]:
        """Those of the search, beginning with any of them, so that each rank is used equally often."""
        if self.hard is None:
            return []
        drawn = coin(np.array([place.rank]), self.desk.key(place.language, "random share"))[0]
        if float(drawn) / 2**64 < self.random_share:
            return []
        found = [one for one in self.hard.rank(index) if self.desk.places.find(place.language, one) is not None]
        start = self.desk.pick(place, len(found), "hard") if found else 0
        return found[start:] + found[:start]

    def _random(self, place: Place) -> Iterator[int]:
        """Others of the language on a ring in shuffled order, so that each is drawn about as often as any."""
        indices = self.desk.places.by_language[place.language]
        key = (self.desk.key(place.language, "ring"),)
        for step in range(min(place.size, TRIES)):
            yield int(indices[permuted((place.rank + step) % place.size, place.size, key)])

    def _judge(self, example: Example, place: Place) -> Callable[[Example], bool]:
        """Whether another example's text is wrong of this one's picture."""
        right = {normal_form(self.desk.fact(one, self.fact)) for one in self._of_picture(example, place)}
        classes = [(name, example.facts[name]) for name in self.same if name in example.facts]

        def wrong(other: Example) -> bool:
            return (
                not same_picture(example, other)
                and normal_form(self.desk.fact(other, self.fact)) not in right
                and not any(other.facts.get(name) == value for name, value in classes)
            )

        return wrong

    def _of_picture(self, example: Example, place: Place) -> list[Example]:
        """The example and those before and after it, as far as they are of its picture."""
        indices = self.desk.places.by_language[place.language]
        found = [example]
        for direction in (-1, 1):
            for step in range(1, SIBLINGS + 1):
                rank = place.rank + direction * step
                if not 0 <= rank < place.size:
                    break
                other = self.desk.source[int(indices[rank])]
                if not same_picture(example, other):
                    break
                found.append(other)
        return found


def same_picture(one: Example, other: Example) -> bool:
    """Whether two examples share a picture's file or bytes, or are of one group."""
    if one.group and one.group == other.group:
        return True
    return not {_place_of(ref) for ref in one.images}.isdisjoint(_place_of(ref) for ref in other.images)


def _place_of(ref: ImageRef) -> object:
    return ref.data if ref.path is None else ref.path


def open_ranked(folder: Path, source: Source) -> Ranked:
    """The neighbours that were mined for a source.

    Raises:
        DataError: there are none in the folder, or they are another source's.
    """
    from visiglot.data.mining.neighbours import Neighbours

    found = Neighbours(folder)
    found.check(source)
    return found

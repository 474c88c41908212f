"""Which emoji are concepts of the data set, and which of them are held out from training pictures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from visiglot.data.nano.fetch import read_members
from visiglot.data.nano.names import plain
from visiglot.data.nano.settings import NanoSettings
from visiglot.errors import DataError


@dataclass(frozen=True, slots=True)
class Emoji:
    """A base emoji (no skin tones) as emojibase lists it. `text` is without variation selector; `label` is English."""

    text: str
    label: str
    group: str
    subgroup: str

    @property
    def id(self) -> str:
        """Code points in upper-case hex joined by "-": "1F1E9-1F1EA"."""
        return concept_id(self.text)


@dataclass(frozen=True, slots=True)
class Concept:
    """One thing that has pictures and names.

    Args:
        id: code points of the emoji, without the variation selector, hex joined by "-".
        english: CLDR's English name.
        group, subgroup: emojibase's keys ("animals-nature", "animal-mammal").
        category: key of the category's word in CLDR's character labels ("animal").
        held_out: no picture of it is ever trained on.
    """

    id: str
    emoji: str
    english: str
    group: str
    subgroup: str
    category: str
    held_out: bool


def concept_id(emoji: str) -> str:
    return "-".join(f"{ord(character):04X}" for character in plain(emoji))


def read_emoji(tarball: Path) -> list[Emoji]:
    """The base emoji of emojibase-data, in Unicode's order.

    Raises:
        DataError: the tarball has no English data.
        FetchError: the tarball can't be read.
    """
    wanted = {"en/data.json", "meta/groups.json"}
    files = {name: json.loads(content) for name, content in read_members(tarball, lambda name: name in wanted)}
    missing = wanted - files.keys()
    if missing:
        raise DataError(f"{tarball} has no {' and no '.join(sorted(missing))}", hint="Fetch the package again.")
    groups, subgroups = files["meta/groups.json"]["groups"], files["meta/groups.json"]["subgroups"]
    rows = [row for row in files["en/data.json"] if "subgroup" in row and "order" in row]
    return [
        Emoji(plain(row["emoji"]), row["label"], groups[str(row["group"])], subgroups[str(row["subgroup"])])
        for row in sorted(rows, key=lambda row: row["order"])
    ]


def choose_concepts(
    emoji: Iterable[Emoji], english: Mapping[str, str], pictured: set[str], settings: NanoSettings
) -> list[Concept]:
    """The concepts, in the order of `emoji`: of a concrete subgroup, not excluded, named in English and pictured.

    Args:
        english: English name by emoji text.
        pictured: ids that every obligatory style draws.
    """
    chosen = [
        one
        for one in emoji
        if one.subgroup in settings.categories
        and one.id not in settings.excluded
        and one.text in english
        and one.id in pictured
    ]
    held_out = hold_out(((one.subgroup, one.id) for one in chosen), settings.held_out_one_in)
    return [
        Concept(
            id=one.id,
            emoji=one.text,
            english=english[one.text],
            group=one.group,
            subgroup=one.subgroup,
            category=settings.categories[one.subgroup],
            held_out=one.id in held_out,
        )
        for one in chosen
    ]


def hold_out(members: Iterable[tuple[str, str]], one_in: int) -> set[str]:
    """One id in `one_in` of every stratum, by the SHA-256 of the id; what a small stratum lacks is carried to the next.

    Args:
        members: (stratum, id) pairs, in any order.
    """
    strata: dict[str, list[str]] = {}
    for stratum, id in members:
        strata.setdefault(stratum, []).append(id)
    held_out: set[str] = set()
    seen = 0
    for _, ids in sorted(strata.items()):
        seen += len(ids)
        quota = seen // one_in - len(held_out)
        held_out.update(sorted(ids, key=lambda id: hashlib.sha256(f"held out:{id}".encode()).digest())[:quota])
    return held_out

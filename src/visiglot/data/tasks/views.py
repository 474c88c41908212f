"""Some examples of a source, under the numbers that they have there; and those that have an original in English."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from visiglot.data.hashing import hash64
from visiglot.data.source import ByFact, HasIds, Indices, Source
from visiglot.errors import DataError
from visiglot.languages import ENGLISH
from visiglot.types import Example


class View:
    """A source of which only some examples are in `by_language`.

    Args:
        left_out: reason -> examples that aren't, where that is to be said.
    """

    def __init__(
        self, source: Source, by_language: Mapping[str, Indices], left_out: Mapping[str, int] | None = None
    ) -> None:
        self.source = source
        self.name = source.name
        self.by_language = {code: indices for code, indices in by_language.items() if len(indices)}
        self.left_out = dict(left_out or {})

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Example:
        return self.source[index]

    def by_language_of(self, fact: str) -> Mapping[str, Indices]:
        """`by_language`, by the language of a fact."""
        if not isinstance(self.source, ByFact):
            return self.by_language
        said = self.source.by_language_of(fact)
        if said is self.source.by_language:
            return self.by_language
        own = np.concatenate([*self.by_language.values(), np.zeros(0, dtype=np.int32)])
        found = {code: indices[np.isin(indices, own)] for code, indices in said.items()}
        return {code: indices for code, indices in found.items() if len(indices)}


class Paired(View):
    """Parallel examples: each that isn't English with the facts of the English one of the same id as its originals.

    The id is what stands before the language's code where an id ends with that, as those of translated examples do. An
    example without an English one, or with several, isn't in `by_language`, and is counted.

    Raises:
        DataError: no example is in English, or none of the others has its original there.
    """

    def __init__(self, source: Source) -> None:
        english = source.by_language.get(ENGLISH, np.zeros(0, dtype=np.int32))
        keys = _keys(source)
        hashes, first, times = np.unique(keys[ENGLISH], return_index=True, return_counts=True)
        kept: dict[str, Indices] = {ENGLISH: english}
        partners: list[Indices] = []
        missing = several = 0
        for code, indices in source.by_language.items():
            if code == ENGLISH:
                continue
            at = np.searchsorted(hashes, keys[code])
            there = at < len(hashes)
            there[there] = hashes[at[there]] == keys[code][there]
            one = there.copy()
            one[there] = times[at[there]] == 1
            missing, several = missing + int((~there).sum()), several + int((there & ~one).sum())
            kept[code] = indices[one]
            partners.append(english[first[at[one]]])
        reasons = {"no example in English has its id": missing, "several examples in English have its id": several}
        super().__init__(source, kept, {reason: count for reason, count in reasons.items() if count})
        if set(self.by_language) <= {ENGLISH}:
            counts = ", ".join(f"{count:,}: {reason}" for reason, count in self.left_out.items())
            raise DataError(
                f"{source.name}: no example is there in English and in another language ({counts or 'none'})",
                hint="Both must be in one source, with one id, behind which /<language> may stand; or take "
                "`pairs: facts` for what `visiglot translate` made.",
            )
        numbers = np.concatenate([indices for code, indices in kept.items() if code != ENGLISH])
        order = np.argsort(numbers)
        self._numbers = numbers[order]
        self._partners = np.concatenate(partners)[order]

    def __getitem__(self, index: int) -> Example:
        example = self.source[index]
        at = int(np.searchsorted(self._numbers, index))
        if at == len(self._numbers) or self._numbers[at] != index:
            return example
        original = self.source[int(self._partners[at])]
        facts = {f"source.{name}": text for name, text in original.facts.items() if "." not in name}
        return replace(example, facts={**example.facts, **facts, "source.language": ENGLISH})


def _keys(source: Source) -> dict[str, np.ndarray[tuple[int], np.dtype[np.uint64]]]:
    """64 bits of the id of each of a language's examples, without the language at its end; English is always there."""
    ids = source.ids() if isinstance(source, HasIds) else None
    found = {ENGLISH: np.zeros(0, dtype=np.uint64)}
    for code, indices in source.by_language.items():
        said = (ids[index] if ids is not None else source[index].id for index in map(int, indices))
        found[code] = np.fromiter((hash64(id.removesuffix(f"/{code}")) for id in said), np.uint64, len(indices))
    return found

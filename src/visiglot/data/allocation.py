"""How examples are shared out among languages: the policies, and who gets what by them.

A policy serves twice. A mixture asks it for the `shares` of a source's languages in what it draws. Translation asks how
many of a source's English examples go to which language (`allocate`), and which ones those are (`assign`); English's
own part stays as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visiglot.config import AllocationSection
from visiglot.data.permutation import permuted
from visiglot.errors import ConfigError, LanguageError
from visiglot.languages import ENGLISH, language

_TIES, _ASSIGN = range(2)
"""Streams of random numbers that must not meet: ties in rounding, who is translated into what."""

Shares = Callable[[AllocationSection, Sequence[str], Mapping[str, int]], Sequence[Any]]
Split = Callable[[Sequence[Any], int], Sequence[int]]


def quotas(shares: Sequence[float], total: int, ties: np.random.Generator) -> NDArray[np.int64]:
    """Split `total` by `shares` into whole numbers that add up to it, by largest remainder (Hamilton's method).

    Equal remainders are decided by `ties`, so that no one is favoured for standing first.
    """
    exact = np.asarray(shares, dtype=np.float64) / float(np.sum(shares)) * total
    whole = np.floor(exact).astype(np.int64)
    remainder = np.round(exact - whole, 9)
    left = total - int(whole.sum())
    order = np.lexsort((ties.random(len(exact)), -remainder))
    whole[order[:left]] += 1
    assert whole.sum() == total
    return whole


# --- the policies ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Policy:
    """A row of the table.

    Args:
        shares: (section, languages, examples in each) -> a share for each, relative.
        split: (shares, examples) -> how many of a source's examples go to each language.
        about: for the documentation.
    """

    shares: Shares
    split: Split
    about: str


def _uniform(section: AllocationSection, codes: Sequence[str], sizes: Mapping[str, int]) -> list[float]:
    return [1.0] * len(codes)


def _mc4(section: AllocationSection, codes: Sequence[str], sizes: Mapping[str, int]) -> list[Fraction]:
    """As they stand in the table, exactly. Rows of one language of mC4 (zh, ku) carry one number, which they share."""
    written = [language(code).mc4_share or 0 for code in codes]
    rows = Counter(written)
    return [Fraction(str(share)) / rows[share] for share in written]


def _mc4_alpha(section: AllocationSection, codes: Sequence[str], sizes: Mapping[str, int]) -> list[float]:
    return [float(share) ** section.alpha for share in _mc4(section, codes, sizes)]


def _english_share(section: AllocationSection, codes: Sequence[str], sizes: Mapping[str, int]) -> list[float]:
    """English as asked and the rest uniform. Where there is but one of the two kinds, it gets everything."""
    return _english(section.english, codes)


def _lrm(section: AllocationSection, codes: Sequence[str], sizes: Mapping[str, int]) -> list[float]:
    return _english(0.5, codes)


def _english(share: float, codes: Sequence[str]) -> list[float]:
    others = len(codes) - (ENGLISH in codes)
    if ENGLISH not in codes or not others:
        return [1.0] * len(codes)
    return [share if code == ENGLISH else (1 - share) / others for code in codes]


def _weights(section: AllocationSection, codes: Sequence[str], sizes: Mapping[str, int]) -> list[float]:
    given = {language(name).code: weight for name, weight in section.weights.items()}
    return [given.get(code, 0.0) for code in codes]


def _size(section: AllocationSection, codes: Sequence[str], sizes: Mapping[str, int]) -> list[int]:
    return [sizes[code] for code in codes]


def _exact(shares: Sequence[Any], n: int) -> list[int]:
    return [int(count) for count in quotas(shares, n, np.random.default_rng([n, _TIES]))]


def _rounded_down(shares: Sequence[Any], n: int) -> list[int]:
    whole = sum(shares)
    return [floor(n * share / whole) for share in shares]


def _all(shares: Sequence[Any], n: int) -> list[int]:
    return [n] * len(shares)


POLICIES: dict[str, Policy] = {
    "uniform": Policy(_uniform, _exact, "every language the same"),
    "mc4": Policy(
        _mc4, _rounded_down, "by the size of mC4, each number rounded down and what is left over dropped, as mBLIP does"
    ),
    "mc4_alpha": Policy(_mc4_alpha, _exact, "by the size of mC4 to the power `alpha`, as mT5 is trained"),
    "english_share": Policy(_english_share, _exact, "`english` of it stays English, the others the same (Centurio)"),
    "lrm": Policy(_lrm, _exact, "half of it stays English, the others the same (LRM-LLaVA)"),
    "parallel": Policy(_uniform, _all, "every example in every language"),
    "weights": Policy(_weights, _exact, "by `weights`; a language that has none gets nothing"),
    "size": Policy(_size, _exact, "as many as a source has in each; only for sources that aren't translated"),
}
"""Name -> how it shares out. `AllocationSection.policy` lists the names."""


# --- who gets what ---------------------------------------------------------------------------------------------------


def shares(section: AllocationSection, sizes: Mapping[str, int]) -> list[float]:
    """Share of each language in what is drawn from a source, relative. The only language of a source gets everything.

    Args:
        sizes: FLORES-200 code -> examples of the source, none of them 0.

    Raises:
        ConfigError: the policy says nothing of a language, or gives nothing to any.
    """
    if len(sizes) == 1:
        return [1.0]
    return [float(share) for share in _shares(section, list(sizes), sizes)]


def allocate(section: AllocationSection, n: int, codes: Sequence[str]) -> dict[str, int]:
    """How many of `n` English examples are to be in which language, in the order of `codes`.

    Each example is in one language, except under `parallel`. The counts add up to `n`, except under `mc4`, which leaves
    up to one example a language out, and `parallel`.

    Raises:
        ConfigError: the policy says nothing of a language, or isn't for translation.
    """
    if section.policy == "size":
        raise ConfigError(
            "allocation", ["policy: `size` is for sources that have languages of their own; these are to be translated"]
        )
    found = _shares(section, codes, {})
    return dict(zip(codes, POLICIES[section.policy].split(found, n), strict=True))


def assign(counts: Mapping[str, int], n: int, seed: int, number: int = 0) -> Callable[[int], tuple[str, ...]]:
    """Which example is to be in which language.

    Args:
        counts: of `allocate`.
        n: examples.
        seed: of who is in which.
        number: of the source, so that two that ask about the same rows don't give them the same languages.

    Returns:
        A function from the number of an example to its language; to all under `parallel`, to none for what is left out.
    """
    codes = tuple(code for code, count in counts.items() if count)
    if n and len(codes) > 1 and all(counts[code] == n for code in codes):
        return lambda index: codes
    ends = np.cumsum([counts[code] for code in codes])
    assert not len(ends) or ends[-1] <= n

    def languages_of(index: int) -> tuple[str, ...]:
        place = permuted(index, n, (seed, _ASSIGN, number))
        at = int(np.searchsorted(ends, place, side="right"))
        return codes[at : at + 1]

    return languages_of


def allocation_problems(section: AllocationSection, codes: Sequence[str]) -> list[str]:
    """What a policy can't say of these languages, a line each, below the path of the section."""
    found = []
    if section.policy == "weights":
        for name, weight in section.weights.items():
            try:
                code = language(name).code
            except LanguageError as error:
                found.append(f"weights.{name}: {error!s}".replace("\n", " "))
                continue
            if code not in codes:
                found.append(f"weights.{name}: isn't among the languages")
            if weight < 0:
                found.append(f"weights.{name}: is {weight:g}; it must be 0 or more")
        if not found and not any(section.weights.values()):
            found.append("weights: are missing; give them as {de: 2, sw: 1}")
    return found + _without_shares(section, codes)


def _without_shares(section: AllocationSection, codes: Sequence[str]) -> list[str]:
    lacking = [code for code in codes if language(code).mc4_share is None]
    if section.policy not in ("mc4", "mc4_alpha") or not lacking:
        return []
    return [f"policy: mC4 has no {', '.join(lacking)}; use `weights`, or leave them out"]


def _shares(section: AllocationSection, codes: Sequence[str], sizes: Mapping[str, int]) -> Sequence[Any]:
    problems = _without_shares(section, codes)
    found: Sequence[Any] = [] if problems else POLICIES[section.policy].shares(section, codes, sizes)
    if not problems and not sum(found):
        problems = [f"policy: {section.policy} gives nothing to {', '.join(codes)}"]
    if problems:
        raise ConfigError("allocation", problems)
    return found

"""What became of examples: counts, the ledger's lines, samples; of a shard, and of all together."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from visiglot.data.hashing import hash64
from visiglot.errors import TranslationError
from visiglot.files import write_text

SAMPLES = 8
"""Examples in each language and of each fate (translated, or rejected for one reason) that are kept to be looked at."""


TRANSLATED, INCOMPLETE = "translated", "list incomplete"
"""What becomes of a label: it is translated, or stays since another of its choices has no translation or the same one.
Otherwise it is one of `labels.REASONS`."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An example to be looked at.

    Args:
        id: of the translated example.
        pairs: texts and their translations: some of those of a translated example; the one that a rejected example was
            rejected for.
        reason: why it was rejected; "" where it wasn't.
    """

    id: str
    language: str
    pairs: tuple[tuple[str, str], ...]
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A line of the ledger: an example that isn't there in a language."""

    id: str
    language: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Tally:
    """Examples of one job in one language.

    Args:
        kept: in the language already.
        translated: into it.
        rejected: those that were left out, of one shard; of several `merged` has none, as there may be millions.
        samples: at most SAMPLES of each fate.
        reasons: why examples were rejected, and how many.
        labels: what became of the labels of all examples -> how many, each as often as it stands in one.
    """

    job: str
    language: str
    kept: int = 0
    translated: int = 0
    rejected: tuple[Rejected, ...] = ()
    samples: tuple[Sample, ...] = ()
    reasons: Mapping[str, int] = field(default_factory=dict, hash=False)
    labels: Mapping[str, int] = field(default_factory=dict, hash=False)

    @property
    def examples(self) -> int:
        """Those that there are in the end."""
        return self.kept + self.translated

    @property
    def left_out(self) -> int:
        """Examples that were rejected."""
        return sum(self.reasons.values())


def tally(
    job: str,
    language: str,
    *,
    kept: int = 0,
    translated: int = 0,
    rejected: Iterable[Rejected] = (),
    samples: Iterable[Sample] = (),
    labels: Mapping[str, int] | None = None,
) -> Tally:
    """A tally with its reasons counted and no more samples than are wanted."""
    lines = tuple(rejected)
    reasons = dict(Counter(line.reason for line in lines))
    return Tally(job, language, kept, translated, lines, _some(samples), reasons, dict(labels or {}))


def merged(tallies: Iterable[Tally]) -> list[Tally]:
    """One tally for each job and language, in the order in which these come first: counts and samples, and not who
    was rejected."""
    found: dict[tuple[str, str], Tally] = {}
    for one in tallies:
        key = (one.job, one.language)
        before = found.get(key, Tally(*key))
        found[key] = Tally(
            *key,
            kept=before.kept + one.kept,
            translated=before.translated + one.translated,
            samples=_some((*before.samples, *one.samples)),
            reasons=dict(Counter(before.reasons) + Counter(one.reasons)),
            labels=dict(Counter(before.labels) + Counter(one.labels)),
        )
    return list(found.values())


def write_tally(one: Tally, path: Path) -> None:
    """Write a tally as JSON, whole or not at all. Raises TranslationError."""
    write_text(json.dumps(asdict(one), ensure_ascii=False), path, error=TranslationError)


def read_tally(path: Path) -> Tally:
    """Raises TranslationError: the file isn't what `write_tally` writes."""
    try:
        return tally_of(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TranslationError(f"{path} can't be read: {error}", hint="Delete it; its shard is made anew.") from error


def tally_of(values: Mapping[str, Any]) -> Tally:
    """From JSON. Raises KeyError and TypeError."""
    samples = [
        Sample(one["id"], one["language"], tuple(map(tuple, one["pairs"])), one["reason"], one["detail"])
        for one in values["samples"]
    ]
    return Tally(
        values["job"],
        values["language"],
        values["kept"],
        values["translated"],
        tuple(Rejected(**line) for line in values["rejected"]),
        tuple(samples),
        values["reasons"],
        values["labels"],
    )


def _some(samples: Iterable[Sample]) -> tuple[Sample, ...]:
    """Those of each fate whose ids come first by a hash, so that it doesn't matter in which order they were made."""
    taken: Counter[str] = Counter()
    chosen = []
    for sample in sorted(samples, key=lambda one: (hash64(one.id), one.id)):
        taken[sample.reason] += 1
        if taken[sample.reason] <= SAMPLES:
            chosen.append(sample)
    return tuple(chosen)

"""LRM-LLaVA's three formats on one source of parallel examples, shared out among those that aren't English.

The paper doesn't say how often each format is trained; as often as the others is our choice (AAAI 2025, 39(23)).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, get_args

import numpy as np
from pydantic import Field

from visiglot.data.allocation import quotas
from visiglot.data.source import Indices, Source
from visiglot.data.tasks.bilingual import Pairs, bvqa, ep_vqa, with_originals
from visiglot.data.tasks.choice import ChoiceName, coin, key_of
from visiglot.data.tasks.facts import mvqa
from visiglot.data.tasks.table import TASKS, Task
from visiglot.data.tasks.templates import PromptSet
from visiglot.data.tasks.views import View
from visiglot.errors import ConfigError, DataError
from visiglot.languages import ENGLISH
from visiglot.types import Example

FormatName = Literal["mvqa", "ep-vqa", "bvqa"]
FORMATS: tuple[FormatName, ...] = get_args(FormatName)

Shares = Mapping[FormatName, Annotated[float, Field(ge=0)]]


class Formats:
    """Each example in one of the formats; those in English are MVQA's.

    Args:
        shares: of each format in each language but English, relative, to one example; by a draw that knows nothing of
            what an example says.
        build: makes a format's task of the examples that are its.

    Raises:
        DataError: a format can't be set for what it got.
    """

    def __init__(self, source: Source, shares: Shares, seed: int, options: Mapping[FormatName, Mapping[str, object]]):
        parts: dict[FormatName, dict[str, Indices]] = {name: {} for name in FORMATS}
        for code, indices in source.by_language.items():
            if code == ENGLISH:
                parts["mvqa"][code] = indices
                continue
            for name, own in zip(FORMATS, _shared(indices, [shares.get(name, 0.0) for name in FORMATS], seed, code)):
                parts[name][code] = own
        self.tasks: dict[FormatName, Task] = {
            name: BUILDERS[name](source=View(source, part), seed=seed, **options[name])
            for name, part in parts.items()
            if any(len(indices) for indices in part.values())
        }
        self._source = source
        numbers = [np.concatenate([np.zeros(0, np.int64), *parts[name].values()]) for name in FORMATS]
        order = np.argsort(np.concatenate(numbers))
        self._numbers = np.concatenate(numbers)[order]
        self._formats = np.repeat(np.arange(len(FORMATS), dtype=np.int8), [len(one) for one in numbers])[order]
        self.left_out: dict[str, int] = dict(source.left_out) if isinstance(source, View) else {}
        for name, task in self.tasks.items():
            for reason, count in getattr(task, "left_out", {}).items():
                self.left_out[f"{name}: {reason}"] = count
        found: dict[str, list[Indices]] = {}
        for task in self.tasks.values():
            for code, indices in task.by_language.items():
                found.setdefault(code, []).append(indices)
        self.by_language: dict[str, Indices] = {code: np.sort(np.concatenate(some)) for code, some in found.items()}

    def format_of(self, index: int) -> FormatName | None:
        """In which format an example is; None where its language isn't asked for."""
        at = int(np.searchsorted(self._numbers, index))
        there = at < len(self._numbers) and self._numbers[at] == index
        return FORMATS[self._formats[at]] if there else None

    def write(self, index: int) -> Example:
        name = self.format_of(index)
        if name is None:
            example = self._source[index]
            raise DataError(
                f"{self._source.name}, example {example.id}, task lrm: is in {example.language}, which the source "
                "wasn't opened for"
            )
        return self.tasks[name].write(index)


BUILDERS = {"mvqa": mvqa, "ep-vqa": ep_vqa, "bvqa": bvqa}


def _shared(indices: Indices, shares: list[float], seed: int, code: str) -> list[Indices]:
    """`indices` in as many parts as there are shares, each in the order of the source."""
    counts = quotas(shares, len(indices), np.random.default_rng([key_of(seed, "lrm", code)]))
    order = np.argsort(coin(np.arange(len(indices)), key_of(seed, "lrm", code)), kind="stable")
    ends = np.cumsum(counts)[:-1]
    return [indices[np.sort(places)] for places in np.split(order, ends)]


@TASKS.register("lrm")
def lrm(
    *,
    source: Source,
    seed: int,
    shares: Shares | None = None,
    prompts: PromptSet = "english",
    choice: ChoiceName = "rotation",
    pairs: Pairs = "facts",
    mask_translation: bool = False,
    twins: bool = False,
) -> Task:
    """LRM-LLaVA's formats in one: English as MVQA, each other example as MVQA, EP-VQA or BVQA, by `shares`."""
    chosen: Shares = shares or dict.fromkeys(FORMATS, 1.0)
    if not sum(chosen.values()):
        raise ConfigError("task lrm", ["shares: are all 0; leave them out, or give {mvqa: 1, ep-vqa: 1, bvqa: 1}"])
    common = {"prompts": prompts, "choice": choice}
    options: dict[FormatName, Mapping[str, object]] = {
        "mvqa": {**common, "twins": twins},
        "ep-vqa": {**common, "mask_translation": mask_translation},
        "bvqa": common,
    }
    return Formats(with_originals(source, pairs), chosen, seed, options)

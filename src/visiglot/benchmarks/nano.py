"""The built-in benchmark: naming emoji drawn in a style, or of a thing, that no training picture showed.

Gold answers are CLDR's short names, written and reviewed by people in each language; nothing was machine-translated.

`nano-text` asks the language model alone, without a picture: the English name stands where a picture would. A model
that is re-aligned with its language model frozen can hardly say of a picture what it can't say of the thing's name, so
its score in a language is the ceiling of `nano` there. English itself is a copy task.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from visiglot.evaluate.benchmark import BENCHMARKS, Benchmark, Settings
from visiglot.evaluate.trained import NEVER_PICTURED, WITH_PICTURES
from visiglot.types import Example

if TYPE_CHECKING:
    from visiglot.data.nano.load import NanoData
    from visiglot.data.nano.tasks import Control, NanoSource

CONTROLS: dict[Control, str] = {"wrong-image": "wrong image", "no-image": "no image"}
THINGS = (
    "animal", "plant", "food_drink", "objects", "place", "building", "travel", "weather", "activities", "sport",
)  # fmt: skip
"""CLDR's categories of all concepts but flags, which have a benchmark of their own: the recipe doesn't teach them."""
NAMING = ("caption", "name")
"""Tasks whose answer is a name; those of the others are one of a few given words, so that chrF says nothing."""


@dataclass(frozen=True)
class NanoBenchmarkData:
    """One task on one split of the built-in data."""

    task: str
    split: str
    control: Control
    categories: tuple[str, ...]
    folder: Path
    data: NanoData = field(repr=False)

    @cached_property
    def revision(self) -> str:
        """Hash of the data set's card, which holds the hashes of its files and packages."""
        from visiglot.data.nano.build import CARD

        return f"sha256:{hashlib.sha256((self.folder / CARD).read_bytes()).hexdigest()}"

    @cached_property
    def languages(self) -> tuple[str, ...]:
        """Those that the task has the words for, and that have pictures to ask about."""
        return tuple(self._source(self.data.languages).by_language)

    @cached_property
    def language_groups(self) -> Mapping[str, tuple[str, ...]]:
        """By what the data's training split shows; see `evaluate.trained` for models that say what they saw."""
        unseen = self.data.text_only_languages
        return {
            WITH_PICTURES: tuple(code for code in self.languages if code not in unseen),
            NEVER_PICTURED: tuple(code for code in self.languages if code in unseen),
        }

    def examples(self, language: str, *, split: str, prompt_set: str, limit: int | None) -> Iterable[Example]:
        """In the order of a hash of the concept, so that a limit doesn't take the animals only."""
        assert (split, prompt_set) == (self.split, "english")
        source = self._source([language])
        examples = sorted((source[i] for i in range(len(source))), key=_order)
        return examples if limit is None else examples[:limit]

    def _source(self, languages: Sequence[str]) -> NanoSource:
        from visiglot.data.nano.tasks import build_nano_source

        return build_nano_source(
            self.data,
            task=self.task,
            split=self.split,
            languages=languages,
            categories=self.categories,
            control=self.control,
            prompts="english",
        )


def _order(example: Example) -> tuple[str, str]:
    return hashlib.sha256(example.group.encode()).hexdigest(), example.id


def _open(
    task: str, split: str, control: Control, categories: tuple[str, ...], folder: Path | None
) -> NanoBenchmarkData:
    from visiglot.data.nano.build import nano_dir
    from visiglot.data.nano.load import load_nano_once

    folder = folder or nano_dir()
    return NanoBenchmarkData(task, split, control, categories, folder, load_nano_once(folder))


def _add(
    name: str,
    about: str,
    split: str,
    *,
    task: str = "caption",
    control: Control = "none",
    control_of: str = "nano",
    categories: tuple[str, ...] = THINGS,
    chance: float | None = None,
) -> Benchmark:
    metrics = ("exact", "chrf-sentence") if task in NAMING else ("exact",)
    return BENCHMARKS.add(
        name,
        Benchmark(
            name=name,
            about=about,
            load=partial(_open, task, split, control, categories),
            splits=(split,),
            prompt_sets=("english",),
            metrics={task: metrics},
            settings=Settings(max_new_tokens=48),
            chance={} if chance is None else {task: chance},
            licence="names: Unicode-3.0; pictures: each with its own in the data (see `visiglot data nano`)",
            citation="Unicode CLDR 48 annotations; OpenMoji, Twemoji, Fluent Emoji and Noto Emoji drawings",
            translation="none: names by CLDR's contributors in each language; prompts in English",
            folder="nano",
            control_of=control_of if control != "none" else "",
            control=CONTROLS.get(control, ""),
        ),
    )


_add("nano", "Name the thing in a drawing of the held-out style (Noto).", "test")
_add("nano-train", "Name the thing in a drawing of the training styles: how much was learned at all.", "train-eval")
_add(
    "nano-train-wrong-image",
    "`nano-train` with the picture of another thing: what is right without looking.",
    "train-eval",
    control="wrong-image",
    control_of="nano-train",
)
_add("nano-flags", "Name the country of a flag's drawing in the held-out style.", "test", categories=("flag",))
_add("nano-unseen", "Name things no picture of which was trained on, in the held-out style.", "test-unseen")
_add(
    "nano-wrong-image",
    "`nano` with the picture of another thing: what is right without looking.",
    "test",
    control="wrong-image",
)
_add(
    "nano-no-image",
    "`nano` without a picture: what is right by guessing common names.",
    "test",
    control="no-image",
)
_add(
    "nano-matching",
    "Is this a drawing of that? Yes or no in the language, against a similar thing; held-out style.",
    "test",
    task="matching",
    chance=0.5,
)
_add(
    "nano-matching-no-image",
    "`nano-matching` without a picture: what is right without looking.",
    "test",
    task="matching",
    control="no-image",
    control_of="nano-matching",
    chance=0.5,
)
_add("nano-choice", "Which of four similar things is drawn? Held-out style.", "test", task="choice", chance=0.25)
_add(
    "nano-text",
    "The English name, and no picture, to the name in the language, of things that were pictured in training: the "
    "language model alone, and so the most that aligning it to pictures can reach. In English it is a copy.",
    "train-eval",
    task="name",
)
_add("nano-dev", "Name the thing in a drawing of one style (Fluent), to choose by; trained on unless left out.", "dev")

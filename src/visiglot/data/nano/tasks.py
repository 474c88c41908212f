"""Examples from the data set: a source for one task and one split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from visiglot.data.nano.build import nano_dir
from visiglot.data.nano.content import TASKS, Content, Question, Scope, Task, find_task
from visiglot.data.nano.load import NanoData, load_nano_once
from visiglot.data.nano.pools import draw, hash_order
from visiglot.data.nano.prompts import fill, load_prompts, usable
from visiglot.data.nano.settings import load_settings
from visiglot.data.nano.splits import SPLITS, choose_concepts_of, choose_languages, choose_styles, find_split
from visiglot.data.source import SOURCES, OneOf
from visiglot.errors import DataError, UnknownNameError
from visiglot.languages import ENGLISH
from visiglot.languages import language as find_language
from visiglot.types import Example, ImageRef, ImageSlot, Message, Provenance

Control = Literal["none", "wrong-image", "no-image"]
PromptSet = Literal["english", "native", "both"]


def category_names() -> list[str]:
    """The categories that concepts of the built-in data are in, sorted."""
    return sorted(set(load_settings().categories.values()))


TaskName = Annotated[str, OneOf("task of the built-in data", lambda: TASKS)]
SplitName = Annotated[str, OneOf("split of the built-in data", lambda: SPLITS)]
StyleName = Annotated[str, OneOf("style of the built-in data", lambda: load_settings().styles)]
CategoryName = Annotated[str, OneOf("category of the built-in data", category_names)]
Count = Annotated[int, Field(ge=1, strict=True)]

ASKED = dict.fromkeys(("name", "options", "question"), "")
"""Fields of prompts that belong to what is asked, and not to its language."""

TEXT = "text"
"""What stands for the style in the id of a text-only example."""


@dataclass(frozen=True, eq=False)
class NanoSource:
    """One task on one split. Example i is a pure function of the arguments that built the source, and i.

    Rows are ordered by language, style, concept, draw.

    Args:
        name: "nano/<split>/<task>".
        shows: whether examples have a picture; in a picture task without, the English name stands in its place.
        by_language: the indices of each language's rows; picture tasks of a split that must not show the text-only
            languages don't have them.
    """

    name: str
    task_name: str
    task: Task
    training: bool
    scope: Scope
    styles: tuple[str, ...]
    control: Control
    prompts: PromptSet
    shows: bool
    by_language: Mapping[str, NDArray[np.int64]]
    _languages: tuple[str, ...]
    _rows: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, i: int) -> Example:
        if not 0 <= i < len(self):
            raise IndexError(f"{self.name} has {len(self)} examples, no {i}")
        language_at, style_at, concept_at, nth = (int(value) for value in self._rows[i])
        language, concept = self._languages[language_at], self.scope.ids[concept_at]
        style = self.styles[style_at] if self.shows else None
        question = Question(self.scope, concept, language, style, nth)
        return self._example(question, self.task.content(question))

    def _example(self, question: Question, content: Content) -> Example:
        data, language = self.scope.data, question.language
        sources = [content.source or data.names[language][question.concept].source]
        images: tuple[ImageRef, ...] = ()
        standing: ImageSlot | str | None = content.standing
        if self.task.pictures and not self.shows:
            standing = question.name_in(ENGLISH)
        if question.style is not None:
            shown = self._other(question) if self.control == "wrong-image" else question.concept
            picture = data.pictures[question.style][shown]
            if self.control != "no-image":
                images, standing = (picture.image,), ImageSlot(0)
                sources.insert(0, picture.source)
        prompt = Message("user", fill(self._template(question), {**self._words[language], **content.values}, standing))
        answer = Message("assistant", (content.answer,))
        base = f"nano/{question.style or TEXT}/{question.concept}/{language}/{self.task_name}"
        return Example(
            id=base + self.task.suffix(question.draw),
            messages=(prompt, answer) if self.training else (prompt,),
            language=language,
            images=images,
            references=() if self.training else content.references,
            provenance=Provenance(
                " + ".join(dict.fromkeys(sources)), " AND ".join(dict.fromkeys(data.sources[one] for one in sources))
            ),
            task=self.task_name,
            group=question.concept,
            facts=content.facts,
            choices=() if self.training or self.task.choices is None else self.task.choices(question),
        )

    def _template(self, question: Question) -> str:
        """The prompt, drawn by what the question is about and never by its answer."""
        templates = self._templates[question.language]
        if len(templates) == 1:
            return templates[0]
        key = (self.scope.seed, "prompt", self.task_name, question.concept, question.language, question.style)
        return draw(*key).choice(templates)

    @cached_property
    def _words(self) -> Mapping[str, dict[str, str]]:
        return {language: _words(self.scope.data, language) for language in self._languages}

    @cached_property
    def _templates(self) -> Mapping[str, list[str]]:
        return {
            language: _templates(self.task_name, self.prompts, self._words[language]) for language in self._languages
        }

    def _other(self, question: Question) -> str:
        """A concept of another subgroup that the style draws too."""
        assert question.style is not None
        others = self._others[question.style, self.scope.data.concepts[question.concept].subgroup]
        return draw(self.scope.seed, "wrong image", question.concept, question.style).choice(others)

    @cached_property
    def _others(self) -> Mapping[tuple[str, str], list[str]]:
        """By style and subgroup: the concepts of all other subgroups."""
        data = self.scope.data
        subgroup = {id: data.concepts[id].subgroup for id in self.scope.ids}
        return {
            (style, own): [id for id in self.scope.ids if subgroup[id] != own and id in data.pictures[style]]
            for style in self.styles
            for own in set(subgroup.values())
        }


@SOURCES.register("nano")
def load_nano_source(
    *,
    languages: Sequence[str],
    seed: int,
    task: TaskName,
    split: SplitName = "train",
    styles: Sequence[StyleName] | None = None,
    limit_concepts: Count | None = None,
    categories: Sequence[CategoryName] | None = None,
    control: Control = "none",
    prompts: PromptSet = "english",
    as_text: bool = False,
    folder: str | None = None,
) -> NanoSource:
    """The built-in data: one task on one split, of the data set in `folder` (default: the cache's).

    It is read once in a process. The other options are those of `build_nano_source`.

    Raises:
        DataError: the data set isn't there, and what `build_nano_source` raises.
    """
    return build_nano_source(
        load_nano_once(Path(folder) if folder is not None else nano_dir()),
        task=task,
        split=split,
        languages=languages,
        styles=styles,
        seed=seed,
        limit_concepts=limit_concepts,
        categories=categories,
        control=control,
        prompts=prompts,
        as_text=as_text,
    )


def build_nano_source(
    data: NanoData,
    *,
    task: str,
    split: str,
    languages: Sequence[str],
    styles: Sequence[str] | None = None,
    seed: int = 0,
    limit_concepts: int | None = None,
    categories: Sequence[str] | None = None,
    control: Control = "none",
    prompts: PromptSet = "english",
    as_text: bool = False,
) -> NanoSource:
    """The examples of one task on one split.

    Args:
        task: a row of `content.TASKS`.
        split: a row of `splits.SPLITS`.
        languages: FLORES codes. In training, picture tasks leave out the text-only languages.
        styles: drawing styles; default all that the split may show. Text tasks have none.
        seed: of negatives, sources, orders of options, and choices of prompt.
        limit_concepts: at most so many concepts, chosen by hash and the same for every task and seed.
        categories: only concepts of these ("animal", "flag"); default all.
        control: evaluation only: show the picture of a concept of another subgroup, or none; references stay.
        prompts: in English, in the language itself (languages without the words have no rows then), or drawn from both.
        as_text: the concept's English name stands in the picture's place, so that a language model learns a picture
            task from text; such rows show nothing, so they have every concept and language.

    Raises:
        UnknownNameError: no such task, split or category.
        DataError: a language or style that the data or the split doesn't have, a control that makes no sense, or
            nothing is left.
    """
    row, part = find_task(task), find_split(split)
    if control not in get_args(Control) or prompts not in get_args(PromptSet):
        raise DataError(
            f"no such control or prompt set: {control!r}, {prompts!r}",
            hint=f"control is one of {', '.join(get_args(Control))}; prompts one of {', '.join(get_args(PromptSet))}.",
        )
    shows = row.pictures and not as_text
    if control != "none" and (part.training or not shows):
        raise DataError(
            f"control {control!r} needs a picture task on an evaluation split, not {task!r} on {split!r}",
            hint="Leave `control` at 'none', or evaluate a picture task.",
        )
    shown_styles = choose_styles(data, split, styles) if shows else ()
    shown_languages = choose_languages(data, split, languages, pictures=shows)
    ids = choose_concepts_of(data, split, pictures=shows)
    if categories is not None:
        for category in categories:
            if category not in category_names():
                raise UnknownNameError("category of the built-in data", category, category_names())
        ids = [id for id in ids if data.concepts[id].category in categories]
    if limit_concepts is not None:
        kept = set(hash_order(ids, "limit")[:limit_concepts])
        ids = [id for id in ids if id in kept]
    scope = Scope(data, tuple(ids), shown_languages, seed)
    rows, by_language = _rows(scope, task, row, shown_styles if shows else None, prompts)
    if not len(rows):
        raise DataError(
            f"nothing to ask: task {task!r} on split {split!r} in {', '.join(languages) or 'no language'}",
            hint="Text-only languages have no pictures in training, and some tasks lack words in some languages. "
            "English has all: name it too.",
        )
    source = NanoSource(
        f"nano/{split}/{task}", task, row, part.training, scope, shown_styles, control, prompts, shows,
        by_language, shown_languages, rows,
    )  # fmt: skip
    if control == "wrong-image" and not all(source._others.values()):
        raise DataError(
            "the control 'wrong-image' needs concepts of two subgroups", hint="Take more concepts or categories."
        )
    return source


def _rows(
    scope: Scope, task_name: str, task: Task, styles: Sequence[str] | None, prompts: PromptSet
) -> tuple[NDArray[np.int32], Mapping[str, NDArray[np.int64]]]:
    """[rows, 4] (language, style, concept, draw) as positions, and each language's rows; no styles: text only."""
    data = scope.data
    position = {id: at for at, id in enumerate(scope.ids)}
    blocks: list[NDArray[np.int32]] = []
    by_language: dict[str, NDArray[np.int64]] = {}
    count = 0
    for language_at, language in enumerate(scope.languages):
        first = count
        if _templates(task_name, prompts, _words(data, language)):
            eligible = task.concepts(data, language, scope.ids)
            for style_at, style in enumerate((TEXT,) if styles is None else styles):
                drawn = [position[id] for id in eligible if styles is None or id in data.pictures[style]]
                if len(drawn) > task.negatives:
                    concepts, draws = np.meshgrid(drawn, np.arange(task.draws), indexing="ij")
                    fixed = np.full(concepts.size, language_at), np.full(concepts.size, style_at)
                    blocks.append(np.stack([*fixed, concepts.ravel(), draws.ravel()], axis=1).astype(np.int32))
                    count += concepts.size
        if count > first:
            by_language[language] = np.arange(first, count)
    rows = np.concatenate(blocks) if blocks else np.zeros((0, 4), dtype=np.int32)
    return rows, MappingProxyType(by_language)


def _templates(task: str, prompts: PromptSet, words: Mapping[str, str]) -> list[str]:
    """The templates of a task that a language has all words for; the fields in `ASKED` come with each question."""
    both = load_prompts()[task]
    english = list(both.english) if prompts in ("english", "both") else []
    native = usable(both.native, {**words, **ASKED}) if prompts in ("native", "both") else []
    return english + native


def _words(data: NanoData, language: str) -> dict[str, str]:
    """Fields of prompts that belong to the language: English and native name, literals, CLDR's labels."""
    row = find_language(language)
    return {**row.literals, **data.words.get(language, {}), "language": row.name, "native": row.native}

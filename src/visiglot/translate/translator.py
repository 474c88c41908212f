"""Texts in, translations out: what was translated before, what must survive, the engine, the filters."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from visiglot.errors import LanguageError, Notice
from visiglot.translate.engine import Engine, Output, Remembering, portions_of
from visiglot.translate.labels import NOT_CHECKED, Checked, check_labels
from visiglot.translate.protect import lost, prepare
from visiglot.translate.sentences import split_sentences
from visiglot.translate.store import Outputs
from visiglot.translate.texts import truth_words

if TYPE_CHECKING:
    from visiglot.translate.filters import Filters
    from visiglot.translate.jobs import Shard
    from visiglot.translate.protect import Prepared

ASKED_TOGETHER = 2048
"""Texts that an engine is given at once. One that doesn't hand its outputs over as they come loses so many at most."""

NO_TRANSLATION = "no translation"
"""Why a text is rejected that the engine has nothing for."""


class TranslationNotice(Notice):
    """What an engine can't do, and what is done instead."""


@dataclass(frozen=True, slots=True)
class Translated:
    """A text's translation.

    Args:
        engines: who made it; empty where there was nothing to translate.
    """

    text: str
    engines: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Refused:
    """A text without a translation that may be used.

    Args:
        translation: what the engine said; "" where it said nothing.
        reason: a few words, which are counted.
        detail: a sentence about this text.
    """

    original: str
    translation: str
    reason: str
    detail: str


@dataclass(slots=True)
class Work:
    """What was done so far, for rates.

    Args:
        texts, characters: of the source, each as often as it is asked for.
        made: sentences and labels that the engine translated, into the language or back.
        found: those that were there before.
    """

    texts: int = 0
    characters: int = 0
    made: int = 0
    found: int = 0

    def since(self, before: Work) -> Work:
        """What came to it after `before`."""
        texts, characters = self.texts - before.texts, self.characters - before.characters
        return Work(texts, characters, self.made - before.made, self.found - before.found)

    def and_also(self, other: Work) -> Work:
        """This and other work together."""
        texts, characters = self.texts + other.texts, self.characters + other.characters
        return Work(texts, characters, self.made + other.made, self.found + other.found)


@dataclass(frozen=True, slots=True)
class Questions:
    """The texts of a shard that are to be translated into a language."""

    language: str
    whole: tuple[str, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answers:
    """What a translator says to `Questions`.

    Args:
        work, seconds: that it took.
    """

    whole: Mapping[str, Translated | Refused]
    labels: Mapping[str, Translated | Refused]
    work: Work
    seconds: float


class Cached:
    """An engine that is asked for what its store hasn't.

    Args:
        work: is told what was found and what was made.
        heard: is called after each portion.
    """

    def __init__(self, engine: Engine, store: Outputs, work: Work) -> None:
        self.engine = engine
        self.store = store
        self.work = work
        self.heard: Callable[[], None] = lambda: None
        self.name, self.licence, self.identity = engine.name, engine.licence, engine.identity

    def check(self, source: str, targets: Sequence[str]) -> None:
        """As the engine does."""
        self.engine.check(source, targets)

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[Output]:
        """As the engine does, which gets the texts by length: those that are translated together then take one
        another's time least. Which these are doesn't depend on what was found, so that it is the same after a restart,
        but for what an engine batches by itself. Each portion is stored when it comes."""
        every = sorted(set(texts), key=lambda one: (len(one), one))
        outputs = self.store.find(every, source, target)
        self.work.found += len(outputs)
        for first in range(0, len(every), ASKED_TOGETHER):
            missing = [text for text in every[first : first + ASKED_TOGETHER] if text not in outputs]
            if not missing:
                continue
            with closing(portions_of(self.engine, missing, source, target)) as portions:
                for made in portions:
                    self.work.made += len(made)
                    outputs |= self.store.add(made, source, target)
                    self.heard()
        return [outputs[text] for text in texts]


class Translator:
    """An engine with its store and the filters.

    Args:
        source: FLORES-200 code of all texts.
    """

    def __init__(self, engine: Engine, store: Outputs, filters: Filters, source: str) -> None:
        self.engine = engine
        self.filters = filters
        self.source = source
        self.work = Work()
        self.cached = Cached(engine, store, self.work)
        self._back: dict[str, bool] = {}

    def answers(
        self, shards: Sequence[Shard], ask: Callable[[Shard], Questions], heard: Callable[[Work], None] = lambda _: None
    ) -> Generator[tuple[Shard, Answers]]:
        """The answers for each shard, one after the other, as `pipeline.Crew` says. Raises TranslationError."""
        for shard in shards:
            questions, before = ask(shard), replace(self.work)
            self.cached.heard = lambda before=before: heard(self.work.since(before))  # type: ignore[misc]
            yield shard, self.answer(questions)

    def answer(self, questions: Questions) -> Answers:
        """Translations of whole texts and of labels. Raises TranslationError."""
        before, began = replace(self.work), time.monotonic()
        whole = self.translate(questions.whole, questions.language)
        labels = self.labels(questions.labels, questions.language)
        return Answers(whole, labels, self.work.since(before), time.monotonic() - began)

    def translate(self, texts: Sequence[str], target: str) -> dict[str, Translated | Refused]:
        """A translation of each text, or why there is none.

        Raises:
            TranslationError: the engine or the store can't go on.
        """
        self.work.texts += len(texts)
        self.work.characters += sum(map(len, texts))
        remembered = self._remembered(texts, target)
        prepared = {text: prepare(text, self.source) for text in dict.fromkeys(texts) if text not in remembered}
        outputs = self._outputs([sentence for one in prepared.values() for sentence in one.sentences], target)
        known = {text: self._passed(text, one.text or "", [one], target) for text, one in remembered.items()}
        return known | {text: self._judged(text, one, outputs, target) for text, one in prepared.items()}

    def labels(self, labels: Sequence[str], target: str) -> dict[str, Translated | Refused]:
        """Translations of labels that were translated back to what they were, and why the others have none.

        The words for yes and no are those of the table of languages, and what people have translated needs no check. An
        engine that doesn't translate back into the source's language gives none but these, and a notice says so.

        Raises:
            TranslationError: the engine or the store can't go on.
        """
        self.work.texts += len(labels)
        self.work.characters += sum(map(len, labels))
        own = self.engine.name
        remembered = self._remembered(labels, target)
        by_people = {
            label: Translated(one.text or "", frozenset({one.engine or own})) for label, one in remembered.items()
        }
        known = by_people | {
            label: Translated(word) for label, word in truth_words(labels, self.source, target).items()
        }
        asked = sorted({label for label in labels if label not in known})
        checked = Checked({}, dict.fromkeys(asked, NOT_CHECKED))
        if asked and self._comes_back(target):
            checked = check_labels(self.cached, asked, self.source, target)
        by_engine = {label: Translated(text, checked.engines[label]) for label, text in checked.kept.items()}
        dropped = {label: Refused(label, "", why, f"{label!r}: {why}") for label, why in checked.dropped.items()}
        return known | by_engine | dropped

    def _comes_back(self, target: str) -> bool:
        if target not in self._back:
            try:
                self.engine.check(target, [self.source])
                self._back[target] = True
            except LanguageError:
                self._back[target] = False
                what = "short answers, names and choices stay as they are"
                text = f"{self.engine.name} can't translate from {target} to check labels: {what}"
                warnings.warn(TranslationNotice(text), stacklevel=2)
        return self._back[target]

    def _remembered(self, texts: Sequence[str], target: str) -> dict[str, Output]:
        """What people have translated of whole texts, where nothing that must survive is lost in it."""
        if not isinstance(self.engine, Remembering):
            return {}
        found = self.engine.remembered(list(dict.fromkeys(texts)), self.source, target)
        kept = {
            text: one
            for text, one in found.items()
            if one.text is not None and any(map(str.isalnum, one.text)) and not lost(text, one.text)
        }
        self.work.found += len(kept)
        return kept

    def _outputs(self, sentences: Sequence[str], target: str) -> dict[str, Output]:
        asked = list(dict.fromkeys(sentences))
        return dict(zip(asked, self.cached.translate(asked, self.source, target), strict=True))

    def _judged(self, text: str, prepared: Prepared, outputs: dict[str, Output], target: str) -> Translated | Refused:
        said = [outputs[sentence] for sentence in prepared.sentences]
        if not said:
            return Translated(text)
        words = [one.text for one in said if one.text is not None]
        if len(words) < len(said):
            lacking, one = next(pair for pair in zip(prepared.sentences, said, strict=True) if pair[1].text is None)
            why = f": {one.reason}" if one.reason else ""
            return Refused(text, "", NO_TRANSLATION, f"{self.engine.name} has none of {lacking!r}{why}")
        return self._passed(text, prepared.restore(words, target), said, target)

    def _passed(self, text: str, whole: str, said: Sequence[Output], target: str) -> Translated | Refused:
        """A translation, if no filter has anything against it."""
        rejection = self.filters.reject(
            text,
            whole,
            self.source,
            target,
            finished=all(one.finished for one in said),
            sentences=(len(split_sentences(text, self.source)), len(split_sentences(whole, target))),
        )
        if rejection is not None:
            return Refused(text, whole, rejection.reason, rejection.detail)
        return Translated(whole, frozenset(one.engine or self.engine.name for one in said))

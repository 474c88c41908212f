"""Labels (short answers, names, choices) in other languages, checked by translating them back, as mBLIP does.

A label is translated once for each language, as a text of its own, so that it is the same wherever it stands; what
other labels it is translated together with doesn't matter. One with something in it that must survive is sent in
pieces, as other texts are, both ways.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from visiglot.data.captions import normal_form
from visiglot.errors import TranslationError
from visiglot.languages import language
from visiglot.scripts import made_of, scripts_of
from visiglot.translate.engine import Engine, Output
from visiglot.translate.kept import kept_parts
from visiglot.translate.protect import Piece, Prepared, lost, prepare

NO_TRANSLATION = "no translation"
UNFINISHED = "unfinished"
LOST = "lost placeholder"
COPY = "copy"
CHANGED = "comes back changed"
NOT_CHECKED = "can't be translated back"
REASONS = (NO_TRANSLATION, UNFINISHED, LOST, COPY, CHANGED, NOT_CHECKED)
"""Why a label has no translation."""


@dataclass(frozen=True)
class Checked:
    """Labels in one language.

    Args:
        kept: label -> translation.
        dropped: label -> why it has none: NO_TRANSLATION, UNFINISHED, LOST (something that must survive isn't there, a
            number too), COPY (of a word in a script that the language isn't written in), CHANGED (its back-translation
            is another word) or NOT_CHECKED (the engine doesn't translate back).
        engines: label -> who made its translation; nobody where nothing was sent.
    """

    kept: Mapping[str, str]
    dropped: Mapping[str, str]
    engines: Mapping[str, frozenset[str]] = field(default_factory=dict)


def check_labels(engine: Engine, labels: Sequence[str], source: str, target: str) -> Checked:
    """Translations of labels into one language, and which have none; the source's own language has them as they are.

    Capitals, spaces and punctuation don't matter when a label is compared with its back-translation, but for what must
    survive: 3.5 isn't 35, and {dog} isn't dog.

    Raises:
        TranslationError: the engine can't go on.
    """
    asked = sorted({label for label in labels if label.strip()})
    if source == target:
        return Checked({label: label for label in asked}, {})
    forth = _translations(engine, {label: _sent(label, source) for label in asked}, source, target)
    dropped: dict[str, str] = {}
    said: dict[str, str] = {}
    for label in asked:
        text = (forth[label].text or "").strip()
        reason = _objection(label, text, forth[label].finished, source, target)
        if reason:
            dropped[label] = reason
        else:
            said[label] = text
    returning = {
        label: prepare(text, target) if _protected(label) else _whole(text, target) for label, text in said.items()
    }
    back = _translations(engine, returning, target, source)
    for label in said:
        again = back[label].text or ""
        if normal_form(again) != normal_form(label) or lost(label, again):
            dropped[label] = CHANGED
    kept = {label: text for label, text in said.items() if label not in dropped}
    return Checked(kept, dropped, {label: forth[label].engines for label in kept})


def conflicting(translations: Mapping[str, str], labels: Iterable[str]) -> set[str]:
    """Those labels of one list of choices that aren't the same but whose translations are."""
    meanings: dict[str, set[str]] = {}
    for label in labels:
        if label in translations:
            meanings.setdefault(normal_form(translations[label]), set()).add(label)
    return {label for some in meanings.values() if len({normal_form(label) for label in some}) > 1 for label in some}


def _objection(label: str, text: str, finished: bool, source: str, target: str) -> str | None:
    """Why a translation isn't worth translating back."""
    if not any(map(str.isalnum, text)):
        return NO_TRANSLATION
    if not finished:
        return UNFINISHED
    if lost(label, text):
        return LOST
    foreign = not set(scripts_of(label)) & set(made_of(language(target).script))
    sent = " ".join(_sent(label, source).sentences)
    word = sent == sent.lower() and any(map(str.isalpha, sent))
    if foreign and word and normal_form(text) == normal_form(label):
        return COPY
    return None


@dataclass(frozen=True, slots=True)
class _Said:
    """What an engine makes of a label."""

    text: str | None
    finished: bool
    engines: frozenset[str]


def _sent(label: str, language: str) -> Prepared:
    """A label as it is sent: whole, unless something in it must survive."""
    return prepare(label, language) if _protected(label) else _whole(label, language)


def _protected(label: str) -> bool:
    return any(part.kind != "space" for part in kept_parts(label))


def _whole(text: str, language: str) -> Prepared:
    return Prepared(language, (Piece(text, "sent"),))


def _translations(engine: Engine, labels: Mapping[str, Prepared], source: str, target: str) -> dict[str, _Said]:
    """What the engine makes of each label."""
    sentences = sorted({sentence for parts in labels.values() for sentence in parts.sentences})
    outputs = _outputs(engine, sentences, source, target)
    found = {}
    for label, parts in labels.items():
        said = [outputs[sentence] for sentence in parts.sentences]
        words = [one.text for one in said if one.text is not None]
        found[label] = _Said(
            parts.restore(words, target) if len(words) == len(said) else None,
            all(one.finished for one in said),
            frozenset(one.engine or engine.name for one in said),
        )
    return found


def _outputs(engine: Engine, texts: Sequence[str], source: str, target: str) -> dict[str, Output]:
    outputs = engine.translate(texts, source, target) if texts else []
    if len(outputs) != len(texts):
        raise TranslationError(
            f"engine {engine.name} gave {len(outputs)} outputs for {len(texts)} labels",
            hint="This is a mistake of the engine; use another one, or mend it if it's yours.",
        )
    return dict(zip(texts, outputs, strict=True))

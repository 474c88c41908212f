"""Labels (short answers, names, choices) in other languages, checked by translating them back, as mBLIP does.

A label is translated once for each language, as a text of its own, so that it is the same wherever it stands; what
other labels it is translated together with doesn't matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from visiglot.data.captions import normal_form
from visiglot.errors import TranslationError
from visiglot.languages import language
from visiglot.translate.engine import Engine, Output
from visiglot.translate.scripts import made_of, scripts_of

NO_TRANSLATION = "no translation"
UNFINISHED = "unfinished"
COPY = "copy"
CHANGED = "comes back changed"
NOT_CHECKED = "can't be translated back"
REASONS = (NO_TRANSLATION, UNFINISHED, COPY, CHANGED, NOT_CHECKED)
"""Why a label has no translation."""


@dataclass(frozen=True)
class Checked:
    """Labels in one language.

    Args:
        kept: label -> translation.
        dropped: label -> why it has none: NO_TRANSLATION, UNFINISHED, COPY (of a word in a script that the language
            isn't written in), CHANGED (its back-translation is another word) or NOT_CHECKED (the engine doesn't
            translate back).
        engines: label -> who made its translation, where the engine asks others.
    """

    kept: Mapping[str, str]
    dropped: Mapping[str, str]
    engines: Mapping[str, str] = field(default_factory=dict)


def check_labels(engine: Engine, labels: Sequence[str], source: str, target: str) -> Checked:
    """Translations of labels into one language, and which have none; the source's own language has them as they are.

    Capitals, spaces and punctuation don't matter when a label is compared with its back-translation.

    Raises:
        TranslationError: the engine can't go on.
    """
    asked = sorted({label for label in labels if label.strip()})
    if source == target:
        return Checked({label: label for label in asked}, {})
    forth = _outputs(engine, asked, source, target)
    dropped: dict[str, str] = {}
    said: dict[str, str] = {}
    for label in asked:
        text = (forth[label].text or "").strip()
        reason = _objection(label, text, forth[label].finished, source, target)
        if reason:
            dropped[label] = reason
        else:
            said[label] = text
    back = _outputs(engine, sorted(set(said.values())), target, source)
    for label, text in said.items():
        if normal_form(back[text].text or "") != normal_form(label):
            dropped[label] = CHANGED
    kept = {label: text for label, text in said.items() if label not in dropped}
    return Checked(kept, dropped, {label: name for label in kept if (name := forth[label].engine)})


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
    foreign = not set(scripts_of(label)) & set(made_of(language(target).script))
    word = label == label.lower() and any(map(str.isalpha, label))
    if foreign and word and normal_form(text) == normal_form(label):
        return COPY
    return None


def _outputs(engine: Engine, texts: Sequence[str], source: str, target: str) -> dict[str, Output]:
    outputs = engine.translate(texts, source, target) if texts else []
    if len(outputs) != len(texts):
        raise TranslationError(
            f"engine {engine.name} gave {len(outputs)} outputs for {len(texts)} labels",
            hint="This is a mistake of the engine; use another one, or mend it if it's yours.",
        )
    return dict(zip(texts, outputs, strict=True))

"""Language fidelity: the share of answers that are in the language that was asked for.

Scripts come first. An answer with most of its letters in another script isn't in the language; one in a script that no
other language of the table has is. Where languages share a script, an identifier says which it is: py3langid, or a
fastText model of the user's (`visiglot.language_id`). It is believed where it is SURE.

What can't be told is undetermined: it is counted, and neither right nor wrong. These are texts without letters, texts
of two scripts that are mostly in the other (FEW to MOSTLY), texts of fewer letters than FEWEST_LETTERS (Chinese:
FEWEST_DENSE) where scripts don't tell or where they are Latin (names, abbreviations), languages that the identifier
doesn't know, and texts of which it is sure of no language. A language that it can't well tell from the wanted one (the
groups of language_id.toml: Danish and Norwegian, Indonesian and Malay) is never wrong: the answer is right where the
wanted one is the likelier, else undetermined.

The identifier errs too. `fidelity-references` is the same of the references, the first of each row, which are in the
language: what they lack of 100 % is the identifier's fault, and how many of them are undetermined says how much of a
language it can judge at all.

For free text (captions, questions, conversation), not for letters, numbers or names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from hashlib import file_digest
from importlib import metadata
from pathlib import Path

from visiglot.evaluate.metrics import METRICS, Metric, ScoreSettings, Statistics, mean, mean_statistics
from visiglot.language_id import (
    FEWEST_LETTERS,
    codes_of,
    confusable_with,
    covers,
    languages_by_script,
    load_identifier,
)
from visiglot.languages import language
from visiglot.scripts import made_of, scripts_of, variants
from visiglot.types import Prediction

FIDELITY = ("fidelity", "fidelity-references")
"""Both metrics, for a benchmark's `metrics`."""
RULES = "fidelity-1"
"""Name of the rules in this file, in `scores.jsonl`."""

MOSTLY = 0.5
"""Share of a text's letters from which on the text may be in a language of their script."""
FEW = 0.2
"""Share below which it isn't: a word of a language in a text of another."""
SURE = 0.5
"""Probability from which on the identifier is believed. Of 1,473 stretches of 8 letters or more (1 to 8 words) from
captions and the Declaration of Human Rights in 32 languages of Latin script, py3langid then took two for another
language; undetermined were 36 % of those of 8 to 11 letters, 5 % of 16 to 19 and 1 % from 20 on."""
FEWEST_DENSE = 4
"""Letters of a Chinese text that the identifier is asked about."""


def in_language(text: str, code: str, model: Path | None = None) -> bool | None:
    """Whether a text is in a language; None: it can't be told.

    Args:
        code: FLORES-200.
        model: a fastText model of languages; None: py3langid.

    Raises:
        ModelError: the model can't be read.
        MissingExtraError: py3langid isn't installed.
    """
    found = scripts_of(text)
    total = found.total()
    if not total:
        return None
    script = language(code).script
    own = sum(found[one] for one in made_of(script)) / total
    if own < MOSTLY:
        short_latin = found["Latn"] > MOSTLY * total and total < FEWEST_LETTERS
        return None if own >= FEW or short_latin else False
    if script in ("Hans", "Hant"):
        simplified, traditional = variants(text)
        if simplified != traditional and (simplified > traditional) != (script == "Hans"):
            return False
    if [one.code for one in languages_by_script(text)] == [code]:
        return True
    if total < (FEWEST_DENSE if script in ("Hans", "Hant") else FEWEST_LETTERS):
        return None
    return _identified(text, code, model)


def _identified(text: str, code: str, model: Path | None) -> bool | None:
    """What the identifier says: True where it is sure of the language or languages like it, and of those finds this one
    likeliest; False where it is sure of another language; else None."""
    if not covers(code, model):
        return None
    alike = confusable_with(code)
    wanted, all_alike, most_alike, other = 0.0, 0.0, 0.0, 0.0
    for label, probability in load_identifier(model).rank(text):
        codes = codes_of(label)
        if code in codes:
            wanted += probability
        elif alike & {one[:3] for one in codes}:
            all_alike += probability
            most_alike = max(most_alike, probability)
        else:
            other = max(other, probability)
    if wanted + all_alike >= SURE:
        return True if wanted >= most_alike else None
    return False if other >= SURE else None


def _answers(row: Prediction) -> tuple[str, ...]:
    assert row.text is not None, "rows with an error are counted, never scored"
    return (row.text,)


def _references(row: Prediction) -> tuple[str, ...]:
    return row.references[:1]


def _measure(
    texts: Callable[[Prediction], tuple[str, ...]],
    model: Path | None,
    rows: Sequence[Prediction],
    language: str,
) -> Statistics:
    """1 for each text in the language, 0 for each in another."""
    told = [(row, in_language(text, language, model)) for row in rows for text in texts(row)]
    judged = [(row, right) for row, right in told if right is not None]
    statistics = mean_statistics([float(right) for _, right in judged], [row for row, _ in judged])
    return replace(statistics, undetermined=len(told) - len(judged))


@cache
def _identifier(model: Path | None) -> str:
    """The name of the rules and of the identifier: py3langid's version, or the model's name and hash."""
    if model is not None:
        with model.open("rb") as file:
            return f"{RULES}|{model.name}:sha256:{file_digest(file, 'sha256').hexdigest()[:16]}"
    try:
        return f"{RULES}|py3langid:{metadata.version('py3langid')}"
    except metadata.PackageNotFoundError:
        return f"{RULES}|scripts only"


def _configured(
    name: str, about: str, texts: Callable[[Prediction], tuple[str, ...]], settings: ScoreSettings
) -> Metric:
    """The metric with the user's identifier. Raises ModelError: it can't be read."""
    if settings.lid_model is not None:
        load_identifier(settings.lid_model)
    return _metric(name, about, texts, settings.lid_model)


def _metric(name: str, about: str, texts: Callable[[Prediction], tuple[str, ...]], model: Path | None = None) -> Metric:
    return Metric(
        name=name,
        about=about,
        measure=partial(_measure, texts, model),
        reduce=mean,
        tokenisation=partial(_identifier, model),
        configure=partial(_configured, name, about, texts),
    )


METRICS.add(
    "fidelity",
    _metric(
        "fidelity",
        "Share of answers in the language that was asked for, of those of which it can be told: by their script, else "
        "by a language identifier; the rest is undetermined.",
        _answers,
    ),
)
METRICS.add(
    "fidelity-references",
    _metric(
        "fidelity-references",
        "The same of the references, the first of each row: how often the language identifier is right.",
        _references,
    ),
)

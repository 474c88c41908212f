"""Which translations are no good, and for which reason. Limits by script are in filters.toml.

Whatever a filter can't judge, it lets pass: names, numbers, single words, texts of a few letters, languages that no
identifier knows.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from visiglot.data.captions import normal_form
from visiglot.data.source import factory_problems
from visiglot.errors import ConfigError, UnknownNameError
from visiglot.language_id import confusable_with, rank
from visiglot.languages import language
from visiglot.scripts import letters, made_of, never_without, scripts_of, variants, words_of
from visiglot.translate.kept import kept_parts, without
from visiglot.translate.protect import lost
from visiglot.translate.repetition import loop_in, repeated_share
from visiglot.translate.sentences import ends_are_marked

_Share = Annotated[float, Field(ge=0, le=1)]
_Count = Annotated[int, Field(ge=0)]

_FEWEST_OF_A_VARIANT = 2
"""Characters of the other Chinese writing before a text is taken for it."""

_SHORT_WORD = 3
"""Letters of a word that names have in lower case too ("Bank of America", "Rio de Janeiro")."""

_WHOLE = 0.75
"""Of the letters expected, from which on fewer sentences were joined and not lost."""

_LONG_SHOUT = 4
"""Words in capitals that are no longer taken for a name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is asked of translations into one language.

    Args:
        length: letters and marks of a text for each one of its English counterpart.
        spread: a translation has at most so many times the letters that are expected, and at least one of so many.
        slack: letters, of English, that it may have beyond either; short texts vary more.
        fewest_letters: in a text whose script is looked at.
        latin: most of the letters, as a share, that may be Latin where the language's script isn't.
        foreign: most of the letters that may be of any other script.
        expected_after: letters after which Japanese must have kana and Korean Hangul.
        lid_letters: fewest in a text whose language is identified.
        lid_confidence: in another language, least, for which a text is rejected.
        lid_target: probability of the right language, or one confusable with it, from which on it isn't.
        copied: most of the source's words, names not counted, that may stand in a translation of the same script.
        copied_across: the same, in one of another script.
        copied_words: fewest in a source for that.
        loop_times: in a row that a phrase must not be there.
        loop_characters: shortest such row.
        phrase: characters of a stretch that is looked for again in the text.
        repeated: most of a text's stretches that may have been there before, beyond the source's share.
        sentences: of the source's, as a share, that must be there at least. They aren't counted in languages that
            don't mark where they end.
    """

    length: Annotated[float, Field(gt=0)]
    spread: Annotated[float, Field(ge=1)]
    slack: Annotated[float, Field(ge=0)]
    fewest_letters: _Count
    latin: _Share
    foreign: _Share
    expected_after: _Count
    lid_letters: _Count
    lid_confidence: _Share
    lid_target: _Share
    copied: _Share
    copied_across: _Share
    copied_words: _Count
    loop_times: Annotated[int, Field(ge=2)]
    loop_characters: Annotated[int, Field(ge=2)]
    phrase: Annotated[int, Field(ge=2)]
    repeated: _Share
    sentences: _Share


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a translation is no good.

    Args:
        reason: one of REASONS.
        detail: a line about this text.
    """

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class _Pair:
    """A text and its translation, with what several filters ask of them."""

    original: str
    translated: str
    source: str
    target: str
    finished: bool
    sentences: tuple[int, int]
    limits: Limits
    source_limits: Limits
    words: tuple[list[str], list[str]]
    model: Path | None

    def own_letters(self) -> tuple[int, int]:
        """Letters of the words that aren't the same in both texts."""
        both = set(self.words[0]) & set(self.words[1])
        one, other = (letters(word for word in words if word not in both) for words in self.words)
        return one, other

    def expected(self) -> float:
        """Letters that the translation should have, by the source's."""
        return self.own_letters()[0] * self.limits.length / self.source_limits.length

    def unnamed(self) -> list[str]:
        """The translation's words but for the source's names, and but for a single word that is the source's."""
        named = {word for word in self.words[0] if word != word.lower() or any(map(str.isdigit, word))}
        if len(self.words[1]) == 1:
            named.update(self.words[0])
        return [word for word in self.words[1] if word not in named]


class Filters:
    """All filters, the cheapest and plainest reasons first.

    Args:
        off: reasons that nothing is rejected for ("length ratio" or "length-ratio").
        lid_model: a fastText model of languages; None: py3langid.
        limits: script, language or "any" -> name -> value, instead of those of filters.toml.

    Raises:
        UnknownNameError: there is no such reason.
        ConfigError: limits that there aren't, with all problems.
    """

    def __init__(
        self,
        off: Sequence[str] = (),
        lid_model: Path | None = None,
        limits: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        names = [re.sub(r"[-_\s]+", " ", name.strip().lower()) for name in off]
        for name in names:
            if name not in _FILTERS:
                raise UnknownNameError("reason for a rejection", name, _FILTERS)
        self._filters = {reason: check for reason, check in _FILTERS.items() if reason not in names}
        self._model = lid_model
        self._changed = {place: dict(values) for place, values in (limits or {}).items()}
        if problems := _problems(self._changed):
            raise ConfigError("limits of filters", problems)

    def limits(self, code: str) -> Limits:
        """Those of translations into a language, FLORES-200 code."""
        return _limits(code, tuple((place, tuple(values.items())) for place, values in self._changed.items()))

    def reject(
        self, original: str, translated: str, source: str, target: str, *, finished: bool, sentences: tuple[int, int]
    ) -> Rejection | None:
        """Why a translation is no good; None: nothing speaks against it.

        Args:
            source, target: FLORES-200 codes.
            finished: whether the engine came to its end.
            sentences: of the original and of the translation.

        Raises:
            ModelError: the model of languages can't be read.
            MissingExtraError: py3langid isn't installed.
        """
        pair = _Pair(
            original,
            translated,
            source,
            target,
            finished,
            sentences,
            self.limits(target),
            self.limits(source),
            (_words(original), _words(translated)),
            self._model,
        )
        for reason, check in self._filters.items():
            detail = check(pair)
            if detail is not None:
                return Rejection(reason, detail)
        return None


def _words(text: str) -> list[str]:
    """The words of what is translated in a text."""
    return words_of(without(text, [part for part in kept_parts(text) if part.kind != "space"]))


def _empty(pair: _Pair) -> str | None:
    if any(map(str.isalnum, pair.translated)) or not any(map(str.isalnum, pair.original)):
        return None
    return f"{pair.original!r} became {pair.translated!r}"


def _unfinished(pair: _Pair) -> str | None:
    return None if pair.finished else f"the engine was stopped at its longest, at {pair.translated[-40:]!r}"


def _lost_placeholder(pair: _Pair) -> str | None:
    names = lost(pair.original, pair.translated)
    return f"missing: {', '.join(names)}" if names else None


def _copy(pair: _Pair) -> str | None:
    if pair.target[:3] in confusable_with(pair.source):
        return None
    words, said = pair.words
    words = [word for word in words if any(map(str.isalpha, word))]
    cased = any(word != word.upper() for word in words)
    if normal_form(pair.original) == normal_form(pair.translated):
        short = len(words) <= (1 if cased else _SHORT_WORD)
        return None if short or _is_name(words) else "it is the source"
    common = [word for word in words if word == word.lower()]
    if len(common) < pair.limits.copied_words:
        return None
    share = (Counter(common) & Counter(said)).total() / len(common)
    same_script = set(made_of(language(pair.source).script)) & set(made_of(language(pair.target).script))
    most = pair.limits.copied if same_script else pair.limits.copied_across
    return f"{share:.0%} of the source's words stand in it, more than {most:.0%}" if share > most else None


def _wrong_script(pair: _Pair) -> str | None:
    script = language(pair.target).script
    words = pair.unnamed()
    found = scripts_of("".join(words))
    total = found.total()
    if total < pair.limits.fewest_letters:
        return None
    own = made_of(script)
    latin = 0 if "Latn" in own else found["Latn"]
    foreign = sum(count for other, count in found.items() if other not in (*own, "Latn"))
    for name, count, most in (("Latin", latin, pair.limits.latin), ("other", foreign, pair.limits.foreign)):
        if count > most * total:
            return f"{count} of {total} letters are of {name} script, more than {most:.0%}; {script} is wanted"
    needed = never_without(script)
    if needed and total >= pair.limits.expected_after and not any(found[one] for one in needed):
        return f"none of {total} letters is of {' or '.join(needed)}, which {script} is never without"
    if script in ("Hans", "Hant"):
        simplified, traditional = variants("".join(words))
        right, wrong = (simplified, traditional) if script == "Hans" else (traditional, simplified)
        if wrong >= _FEWEST_OF_A_VARIANT and wrong > right:
            return f"{wrong} characters aren't in {script} and {right} are in it alone"
    return None


def _wrong_language(pair: _Pair) -> str | None:
    words = pair.unnamed()
    if letters(words) < pair.limits.lid_letters:
        return None
    ranking = rank(pair.translated if len(words) == len(pair.words[1]) else " ".join(words), pair.target, pair.model)
    if ranking is None or ranking.target >= pair.limits.lid_target or ranking.confidence < pair.limits.lid_confidence:
        return None
    return f"it is in {ranking.best} ({ranking.confidence:.0%}), not in {pair.target} ({ranking.target:.1%})"


def _repetition(pair: _Pair) -> str | None:
    limits, source = pair.limits, pair.source_limits
    loop = loop_in(pair.translated, limits.loop_times, limits.loop_characters)
    if loop is not None:
        before = loop_in(pair.original, source.loop_times, source.loop_characters)
        if before is None or loop.times > before.times + 1:
            return f"{loop.unit!r} follows itself {loop.times} times"
    share = repeated_share(pair.translated, limits.phrase)
    most = limits.repeated + repeated_share(pair.original, source.phrase)
    if share > most:
        return f"{share:.0%} of it was there before, more than {most:.0%}"
    return None


def _length(pair: _Pair) -> str | None:
    count, expected = pair.own_letters()[1], pair.expected()
    slack = pair.limits.slack * pair.limits.length
    least, most = expected / pair.limits.spread - slack, expected * pair.limits.spread + slack
    if least <= count <= most:
        return None
    return f"{count} letters, and {max(least, 0):.0f} to {most:.0f} were expected"


def _lost_sentence(pair: _Pair) -> str | None:
    if not (ends_are_marked(pair.source) and ends_are_marked(pair.target)):
        return None
    asked, said = pair.sentences
    if said >= pair.limits.sentences * asked or pair.own_letters()[1] >= _WHOLE * pair.expected():
        return None
    return f"{said} of {asked} sentences, and fewer letters than expected"


_FILTERS: dict[str, Callable[[_Pair], str | None]] = {
    "empty": _empty,
    "unfinished": _unfinished,
    "lost placeholder": _lost_placeholder,
    "copy": _copy,
    "wrong script": _wrong_script,
    "repetition": _repetition,
    "lost sentence": _lost_sentence,
    "length ratio": _length,
    "wrong language": _wrong_language,
}

REASONS = tuple(_FILTERS)
"""All reasons, in the order in which they are looked for."""


def _is_name(words: Sequence[str]) -> bool:
    """Whether words look like a name: capitals or digits, but for short words between them."""
    if not words or words[-1] == words[-1].lower() or (len(words) >= _LONG_SHOUT and "".join(words).isupper()):
        return False
    return all(word != word.lower() or len(word) <= _SHORT_WORD for word in words)


@cache
def _limits(code: str, changed: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...]) -> Limits:
    table, given = _table(), {place: dict(values) for place, values in changed}
    script = language(code).script
    values = {**table["any"], **table["scripts"].get(script, {}), **table["languages"].get(code, {})}
    for place in ("any", script, code):
        values |= given.get(place, {})
    return TypeAdapter(Limits).validate_python(values)


def _problems(changed: Mapping[str, Mapping[str, Any]]) -> list[str]:
    table = _table()
    known = {row.name for row in fields(Limits)}
    assert known == table["any"].keys(), "filters.toml: [any] has all limits"
    problems = []
    for place, values in changed.items():
        if place != "any" and place not in _places():
            problems.append(f"{place}: no such script or language; write 'Cyrl', 'deu_Latn' or 'any'")
        problems += factory_problems(Limits, {**table["any"], **values}, given=(), where=place)
    return problems


@cache
def _places() -> frozenset[str]:
    from visiglot.languages import all_languages

    rows = all_languages()
    return frozenset({row.script for row in rows} | {row.code for row in rows})


@cache
def _table() -> dict[str, Any]:
    text = resources.files("visiglot.translate").joinpath("filters.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)

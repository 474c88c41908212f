"""Which option an answer to a multiple-choice question means: a letter, or None and never a guess.

Answers are read in this order, and the first rule that finds something decides; a rule that finds two different
letters gives None.

1. The answer is a letter and nothing else, in any case and with any punctuation around it.
2. The answer is the text of one option.
3. The answer begins with a letter and its stop or bracket ("B. Paris", "(B) Paris"), or with a letter and its option's
   text ("B Paris").
4. A cue for answers ("the answer is B", "答案是B", "Ответ: B", "الإجابة: ب"); if there is none, a cue for options
   ("option B", "B şıkkı").
5. Letters in brackets, boxes or bold.
6. A letter behind which a reason follows, at the beginning ("B because").
7. The text of just one option stands in the answer, whole words only; one that is part of another that stands there
   doesn't count.

Full-width and circled letters are the plain ones; letters of other scripts that look like or stand for a Latin one are
in `letters.toml`. "A cat" has no letter in it.
"""

from __future__ import annotations

import json
import re
import string
import tomllib
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from importlib import resources

from visiglot.errors import EvaluationError
from visiglot.evaluate.metrics.normal import normalised, normalised_words
from visiglot.types import Prediction

LETTERS = string.ascii_uppercase

_OPEN, _CLOSE = r"\(\[\{（【「『〔«“\"'‘", r"\)\]\}）】」』〕»”\"'’"
_MARKUP = re.compile(r"\\boxed|\\text(?:bf)?|</?[a-z]+>|[*_`$#]+")
_STRESSED = re.compile(r"\*\*\s*(.+?)\s*\*\*|\\boxed\s*\{\s*(.+?)\s*\}")
_AROUND = re.compile(r"^[\s\W_]+|[\s\W_]+$")
_SPACELESS = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
"""Thai, Lao, Burmese, Khmer, kana, Han and Hangul: a word's edge can't be told from the letters beside it."""
_MARKS = (
    r"\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0903\u093a-\u094f\u0981-\u0983\u09bc-\u09cd"
)
"""Accents, points and vowel signs on letters of the other scripts, which are no letters to `re`."""


@cache
def _words(kind: str) -> tuple[str, ...]:
    """A list of `letters.toml` in NFKC and lower case, the longest first."""
    words = (unicodedata.normalize("NFKC", word).casefold() for word in _file()["cues"][kind])
    return tuple(sorted(set(words), key=lambda word: (-len(word), word)))


@cache
def _file() -> dict[str, dict[str, list[str]]]:
    text = resources.files("visiglot.evaluate.metrics").joinpath("letters.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


@cache
def _signs() -> dict[str, str]:
    """Sign, upper and lower case -> Latin letter."""
    signs = {letter: letter for letter in LETTERS}
    for letter, others in _file()["letters"].items():
        signs |= {unicodedata.normalize("NFKC", sign): letter for sign in others}
    return signs | {sign.lower(): letter for sign, letter in signs.items() if sign.lower() != sign}


@cache
def _also_words() -> frozenset[str]:
    signs = _file()["words"]["letters"]
    return frozenset(signs) | {sign.lower() for sign in _signs() if sign.lower() == sign}


def _parted(words: Iterable[str]) -> tuple[list[str], list[str]]:
    """(those that end in a letter of a script with spaces, those that end in one of a script without)."""
    words = list(words)
    spaceless = [word for word in words if re.search(rf"[{_SPACELESS}]$", word)]
    return [word for word in words if word not in spaceless], spaceless


@cache
def _patterns() -> dict[str, re.Pattern[str]]:
    """The rules' patterns; group "sign" is the letter's sign, standing alone among letters of alphabets."""
    # Words touch each other in scripts without spaces, and a letter may touch them: "答案是A".
    alphabetic = rf"(?:(?![{_SPACELESS}])[^\W_])"
    signs = sorted(_signs(), key=lambda sign: (-len(sign), sign))
    own, touching = ("|".join(map(re.escape, part)) for part in _parted(signs))
    latin = rf"(?<!{alphabetic})(?:{own})(?!{alphabetic}|[{_MARKS}]|['’]{alphabetic})"
    sign = rf"(?P<sign>{latin}|(?:{touching})(?![\w{_SPACELESS}]))"
    quoted = rf"[{_OPEN}\s]*{sign}"

    def any_of(kind: str) -> str:
        spaced, unspaced = ("|".join(map(re.escape, part)).replace(r"\ ", r"\s+") for part in _parted(_words(kind)))
        return rf"(?:(?:{spaced})(?!{alphabetic})|{unspaced})" if unspaced else rf"(?:{spaced})(?!{alphabetic})"

    gap = rf"(?:\s|[:：=,，\-–—]|{any_of('between')})*"

    def cue(kind: str) -> re.Pattern[str]:
        return re.compile(rf"(?<!{alphabetic})(?:{any_of(kind)}){gap}{quoted}", re.IGNORECASE)

    return {
        "lead": re.compile(rf"^[{_OPEN}\s]*{sign}(?:\s*[{_CLOSE}]|\s*[.．。:：、,，)](?![^\W_]\.))"),
        "bare lead": re.compile(rf"^[{_OPEN}\s]*{sign}(?=\s)"),
        "reason": re.compile(rf"^[{_OPEN}\s]*{sign}\s+{any_of('reasons')}", re.IGNORECASE),
        "answer": cue("answer"),
        "option": cue("option"),
        "behind": re.compile(rf"{sign}\s*{any_of('behind')}", re.IGNORECASE),
        "bracketed": re.compile(rf"[\(\[\{{（【「『〔]\s*{sign}\s*[\)\]\}}）】」』〕]"),
        "listed": re.compile(rf"(?:^|(?<=[\s;；]))[(（]?{sign}\s*[.．:：)）](?=\s*\w)"),
        "joined": re.compile(rf"[{_CLOSE}]?\s*(?:[,，、،/&]|{any_of('joins')})\s*{quoted}", re.IGNORECASE),
        "reasons": re.compile(rf"\s+{any_of('reasons')}", re.IGNORECASE),
    }


@lru_cache(maxsize=2**16)
def extract_letter(text: str, options: tuple[str, ...], language: str) -> str | None:
    """The letter of the option that `text` means.

    Args:
        options: their texts in order, at most 26; an option without a text is "".
        language: FLORES-200 code, for comparing `text` with the options' texts.

    Returns:
        "A" for the first option; None when the answer names no option, several, or one that there isn't.
    """
    plain = unicodedata.normalize("NFKC", text)
    stressed = [one or two for one, two in _STRESSED.findall(plain)]
    plain = _MARKUP.sub("", plain).strip()
    if not _AROUND.sub("", plain):
        return None
    whole = _letter(_AROUND.sub("", plain), len(options))
    if whole is not None:
        return whole
    forms = [normalised(option, language) for option in options]
    answer = normalised(plain, language)
    same = [LETTERS[place] for place, form in enumerate(forms) if form and form == answer]
    if same:
        return _only(same)
    for found in (
        _leading(plain, forms, language),
        _cued("answer", plain, forms, language),
        _cued("option", plain, forms, language) | _behind(plain, len(options)),
        _marked(plain, stressed, len(options)),
        _reasoned(plain, len(options)),
        _contained(plain, forms, language),
    ):
        if found:
            return _only(found)
    return None


def _letter(sign: str, count: int) -> str | None:
    """The Latin letter that `sign` is, if there are so many options."""
    letter = _signs().get(sign)
    return letter if letter is not None and letter in LETTERS[:count] else None


def _only(letters: Iterable[str]) -> str | None:
    found = set(letters)
    return found.pop() if len(found) == 1 else None


def _leading(text: str, forms: Sequence[str], language: str) -> set[str]:
    """Of rule 3. Several numbered options one behind the other are no answer, so all of them are given."""
    patterns = _patterns()
    if match := patterns["lead"].match(text):
        letter = _letter(match["sign"], len(forms))
        rest = text[match.end() :]
        touching = rest[:1].isalnum() and not _starts_with_option(rest, letter, forms, language) and rest[:1].isascii()
        if letter is None or touching or (match["sign"].islower() and not match.group().rstrip().endswith((")", "."))):
            return set()
        listed = {_letter(other["sign"], len(forms)) for other in patterns["listed"].finditer(rest)}
        listed.add(_joined(match.group().rstrip()[-1] + rest if match.group().rstrip()[-1] in ",，、" else rest, forms))
        return {letter} | {other for other in listed if other is not None}
    if match := patterns["bare lead"].match(text):
        letter = _letter(match["sign"], len(forms))
        if letter is not None and normalised(text[match.end() :], language) == forms[LETTERS.index(letter)] != "":
            return {letter}
    return set()


def _joined(rest: str, forms: Sequence[str]) -> str | None:
    """The letter of a second option that is named in one breath with a first: " or B", "/B"."""
    match = _patterns()["joined"].match(rest)
    if match is None or (match["sign"] in _also_words() and re.match(r"\s+\w", rest[match.end() :])):
        return None
    return _letter(match["sign"], len(forms))


def _starts_with_option(rest: str, letter: str | None, forms: Sequence[str], language: str) -> bool:
    form = forms[LETTERS.index(letter)] if letter is not None else ""
    return bool(form) and normalised(rest, language).startswith(form)


def _cued(kind: str, text: str, forms: Sequence[str], language: str) -> set[str]:
    """Letters behind a cue. A letter that is also a word counts if the sentence ends there, a reason follows, or its
    option's text does."""
    found = set()
    for match in _patterns()[kind].finditer(text):
        letter = _letter(match["sign"], len(forms))
        rest = text[match.end() :]
        is_word = match["sign"] in _also_words() and re.match(r"\s+\w", rest) is not None
        explained = _patterns()["reasons"].match(rest) or _starts_with_option(rest, letter, forms, language)
        if letter is not None and (explained or not is_word or _joined(rest, forms)):
            found |= {letter, _joined(rest, forms) or letter}
    return found


def _behind(text: str, count: int) -> set[str]:
    found = (_letter(match["sign"], count) for match in _patterns()["behind"].finditer(text))
    return {letter for letter in found if letter is not None}


def _marked(text: str, stressed: Sequence[str], count: int) -> set[str]:
    signs = [match["sign"] for match in _patterns()["bracketed"].finditer(text)]
    signs += [_AROUND.sub("", part) for part in stressed]
    for part in stressed:
        if match := _patterns()["lead"].match(part):
            signs.append(match["sign"])
    return {letter for sign in signs if (letter := _letter(sign, count)) is not None}


def _reasoned(text: str, count: int) -> set[str]:
    match = _patterns()["reason"].match(text)
    letter = _letter(match["sign"], count) if match is not None and not match["sign"].islower() else None
    return {letter} if letter is not None else set()


def _contained(text: str, forms: Sequence[str], language: str) -> set[str]:
    """Options whose text stands in the answer, but for those that are only part of another such text."""
    answers = " ".join(normalised_words(text, language)), normalised(text, language)
    there = [place for place, form in enumerate(forms) if form and any(_inside(form, answer) for answer in answers)]
    longer = {one for one in there for two in there if forms[one] != forms[two] and forms[one] in forms[two]}
    return {LETTERS[place] for place in there if place not in longer}


def _inside(form: str, joined: str) -> bool:
    """Whether `form` stands in a normalised answer as whole words; letters of scripts without spaces may touch it."""
    alphabetic = rf"(?![{_SPACELESS}])[\w{_MARKS}]"
    return re.search(rf"(?<!{alphabetic}){re.escape(form)}(?!{alphabetic})", joined) is not None


def options_of(row: Prediction) -> tuple[str, ...]:
    """The texts of the row's options: its fact "options", a JSON list, where the choices are letters; else its choices.

    Raises:
        EvaluationError: there are none, or more than there are letters.
    """
    options = row.choices
    if "options" in row.facts:
        try:
            options = tuple(map(str, json.loads(row.facts["options"])))
        except (TypeError, ValueError):
            options = ()
    if not 1 < len(options) <= len(LETTERS):
        raise EvaluationError(
            f"{row.benchmark}, {row.language}: row {row.id!r} has {len(options)} options to choose from",
            hint="Metrics of multiple-choice questions need the options' texts in the rows' `choices`, or as a JSON "
            "list in their fact `options`.",
        )
    return options


def gold_letter(row: Prediction) -> str:
    """The letter of the row's right option: its reference is that letter, or the option's text.

    Raises:
        EvaluationError: the reference is neither.
    """
    options = options_of(row)
    for reference in row.references:
        if len(reference) == 1 and reference in LETTERS[: len(options)]:
            return reference
        if reference in options:
            return LETTERS[options.index(reference)]
    raise EvaluationError(
        f"{row.benchmark}, {row.language}: row {row.id!r}: the reference {', '.join(map(repr, row.references))} is "
        f"none of the {len(options)} options",
        hint="Give an option's letter or its text as the reference.",
    )

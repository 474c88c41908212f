"""What each task asks and what is right: one row in TASKS, one function each."""

from __future__ import annotations

import tomllib
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from visiglot.data.nano.fetch import load_packages
from visiglot.data.nano.load import NanoData
from visiglot.data.nano.pools import draw, successors
from visiglot.data.nano.settings import resource
from visiglot.errors import UnknownNameError
from visiglot.languages import ENGLISH
from visiglot.languages import language as find_language

SEPARATOR = ", "
OPTION_SEPARATOR = "; "

LEAST_KEYWORDS = 2
"""A concept with fewer isn't asked about by keywords: a flag's only one is "flag"."""


@dataclass(frozen=True)
class Scope:
    """What all questions of a source share: the concepts `ids` and the languages that they may show, and the seed."""

    data: NanoData
    ids: tuple[str, ...]
    languages: tuple[str, ...]
    seed: int
    _negatives: dict[tuple[str, str | None, int], dict[str, list[str]]] = field(default_factory=dict, repr=False)

    def negatives(self, language: str, style: str | None, count: int) -> dict[str, list[str]]:
        """`count` hard negatives of each concept, among those that can be asked about in one language and style."""
        key = (language, style, count)
        if key not in self._negatives:
            drawn = self.data.concepts if style is None else self.data.pictures[style]
            named = [id for id in _named(self.data, language, self.ids) if id in drawn]
            self._negatives[key] = successors(named, self.data.concepts, count, self.seed, "negatives", style, language)
        return self._negatives[key]


@dataclass(frozen=True, slots=True)
class Question:
    """Which example is asked for.

    Args:
        style: of the picture; None in a text task.
        draw: 0 to the task's `draws` - 1; the same question drawn anew.
    """

    scope: Scope
    concept: str
    language: str
    style: str | None
    draw: int

    @property
    def data(self) -> NanoData:
        return self.scope.data

    @property
    def name(self) -> str:
        return self.name_in(self.language)

    def name_in(self, language: str) -> str:
        return self.data.names[language][self.concept].text


@dataclass(frozen=True, slots=True)
class Content:
    """The filled-in part of an example.

    Args:
        answer: what training teaches.
        references: what evaluation accepts.
        values: fields of the prompt besides the language's own words.
        standing: text tasks: what stands in the picture's place.
        source: of the answer's words, where it isn't that of the concept's name.
        facts: what tasks of `data.tasks` need to write other turns.
    """

    answer: str
    references: tuple[str, ...]
    values: Mapping[str, str]
    standing: str | None = None
    source: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Task:
    """One row of the table of tasks.

    Args:
        pictures: whether it shows a picture; if not, it is text only.
        draws: examples of one concept, language and style.
        concepts: (data, language, candidate ids) -> those of the candidates that can be asked about.
        content: the example's words.
        negatives: wrong names that a question needs besides the right one.
        suffixes: what tells the draws apart in ids; default: their numbers.
        choices: the answers that can be ranked by likelihood, for evaluation; None: there are none.
    """

    pictures: bool
    draws: int
    concepts: Callable[[NanoData, str, Sequence[str]], Sequence[str]]
    content: Callable[[Question], Content]
    negatives: int = 0
    suffixes: tuple[str, ...] = ()
    choices: Callable[[Question], tuple[str, ...]] | None = None

    def suffix(self, draw: int) -> str:
        if self.draws == 1:
            return ""
        return f"/{self.suffixes[draw] if self.suffixes else draw}"


def find_task(name: str) -> Task:
    """Raises UnknownNameError with the nearest names."""
    if name not in TASKS:
        raise UnknownNameError("task of the built-in data", name, TASKS)
    return TASKS[name]


def _named(data: NanoData, language: str, ids: Sequence[str]) -> list[str]:
    names = data.names[language]
    return [id for id in ids if id in names]


def _named_in_english_too(data: NanoData, language: str, ids: Sequence[str]) -> list[str]:
    return _named(data, language, _named(data, ENGLISH, ids))


def _caption(question: Question) -> Content:
    return Content(question.name, (question.name,), {})


def _name_and_another(question: Question) -> tuple[str, ...]:
    """The right name and that of a similar thing, as `matching` asks about; the name alone where nothing is similar."""
    others = question.scope.negatives(question.language, question.style, 1).get(question.concept, [])
    names = question.data.names[question.language]
    return tuple(dict.fromkeys((question.name, *(names[other].text for other in others))))


@cache
def load_questions() -> Mapping[str, str]:
    """questions.toml: "What is this?" by language."""
    return tomllib.loads(resource("questions.toml").decode("utf-8"))


def _with_question(data: NanoData, language: str, ids: Sequence[str]) -> list[str]:
    return _named_in_english_too(data, language, ids) if language in load_questions() else []


def _what(question: Question) -> Content:
    """The name, after a question in its language; as facts both, and both in English as of a translated example."""
    asked = load_questions()
    facts = {"question": asked[question.language], "answer": question.name}
    if question.language != ENGLISH:
        facts |= {"source.language": ENGLISH, "source.question": asked[ENGLISH]}
        facts["source.answer"] = question.name_in(ENGLISH)
    return Content(question.name, (question.name,), {"question": facts["question"]}, facts=facts)


def _from_english(question: Question) -> Content:
    return Content(question.name, (question.name,), {}, standing=question.name_in(ENGLISH))


def _translate(question: Question) -> Content:
    names, languages = question.data.names, question.scope.languages
    others = [one for one in languages if one != question.language and question.concept in names[one]] or [ENGLISH]
    # The draws of one concept and language walk through one shuffled list, so that they differ while there are others.
    order = draw(question.scope.seed, "translate", question.concept, question.language).sample(others, len(others))
    source = order[question.draw % len(order)]
    return Content(question.name, (question.name,), {}, standing=question.name_in(source))


def english_keywords(data: NanoData, concept: str) -> tuple[str, ...]:
    """CLDR's English keywords of a concept less its name."""
    name = data.names[ENGLISH][concept]
    return tuple(keyword for keyword in name.keywords if keyword.casefold() != name.text.casefold())


def _with_english_keywords(data: NanoData, language: str, ids: Sequence[str]) -> list[str]:
    return [
        id for id in _named_in_english_too(data, language, ids) if len(english_keywords(data, id)) >= LEAST_KEYWORDS
    ]


def _from_keywords(question: Question) -> Content:
    keywords = english_keywords(question.data, question.concept)
    rng = draw(question.scope.seed, "keywords-to-name", question.concept, question.language, question.draw)
    some = rng.sample(keywords, min(3, len(keywords)))
    return Content(question.name, (question.name,), {}, standing=SEPARATOR.join(some))


def _with_keywords(data: NanoData, language: str, ids: Sequence[str]) -> list[str]:
    return [id for id in _named(data, language, ids) if len(data.names[language][id].keywords) >= LEAST_KEYWORDS]


def _keywords(question: Question) -> Content:
    keywords = question.data.names[question.language][question.concept].keywords
    rng = draw(question.scope.seed, "keywords", question.concept, question.language, question.style)
    some = sorted(rng.sample(range(len(keywords)), min(3, len(keywords))))
    return Content(SEPARATOR.join(keywords[at] for at in some), (SEPARATOR.join(keywords),), {})


@dataclass(frozen=True, slots=True)
class YesNo:
    """A language's words; `source` is the package that they are from, None for the table of languages."""

    yes: str
    no: str
    source: str | None


def yes_no(data: NanoData, language: str) -> YesNo | None:
    """The words that `language` says yes and no with: those of the table of languages, else CLDR's.

    CLDR's are left out where they are English's in another language (a locale that was not translated) or hold signs
    that belong to the file and not to the word ("…៖ y"). None: the language has no words that are certain.
    """
    own = find_language(language).literals
    if {"yes", "no"} <= own.keys():
        return YesNo(own["yes"], own["no"], None)
    found = data.words.get(language, {})
    if not {"yes", "no"} <= found.keys():
        return None
    words = YesNo(found["yes"], found["no"], load_packages()["cldr-misc-full"].source)
    english = (words.yes.casefold(), words.no.casefold()) == ("yes", "no")
    foreign = any(unicodedata.category(sign) in ("Po", "Cf") for sign in words.yes + words.no)
    return None if english or foreign or words.yes == words.no else words


def _answerable(data: NanoData, language: str, ids: Sequence[str]) -> list[str]:
    return [] if yes_no(data, language) is None else _named(data, language, ids)


def _matching(question: Question) -> Content:
    words = yes_no(question.data, question.language)
    assert words is not None, "only languages with the words are asked"
    if question.draw == 0:
        return Content(words.yes, (words.yes,), {"name": question.name}, source=words.source)
    (other,) = question.scope.negatives(question.language, question.style, 1)[question.concept]
    name = question.data.names[question.language][other].text
    return Content(words.no, (words.no,), {"name": name}, source=words.source)


def _yes_and_no(question: Question) -> tuple[str, ...]:
    words = yes_no(question.data, question.language)
    assert words is not None, "only languages with the words are asked"
    return words.yes, words.no


def _options(question: Question) -> tuple[str, ...]:
    others = question.scope.negatives(question.language, question.style, 3)[question.concept]
    names = question.data.names[question.language]
    options = [names[id].text for id in (question.concept, *others)]
    draw(question.scope.seed, "choice", question.concept, question.language, question.style).shuffle(options)
    return tuple(options)


def _choice(question: Question) -> Content:
    return Content(question.name, (question.name,), {"options": OPTION_SEPARATOR.join(_options(question))})


def _labelled(data: NanoData, language: str, ids: Sequence[str]) -> list[str]:
    words = data.words.get(language, {})
    return [id for id in ids if f"label:{data.concepts[id].category}" in words]


def _category(question: Question) -> Content:
    label = question.data.words[question.language][f"label:{question.data.concepts[question.concept].category}"]
    return Content(label, (label,), {}, source=load_packages()["cldr-misc-full"].source)


def _with_country(data: NanoData, language: str, ids: Sequence[str]) -> list[str]:
    countries = data.countries[language]
    return [id for id in ids if id in countries]


def _country(question: Question) -> Content:
    country = question.data.countries[question.language][question.concept]
    return Content(country, (country,), {})


TASKS: dict[str, Task] = {
    "caption": Task(True, 1, _named, _caption, choices=_name_and_another),
    "keywords": Task(True, 1, _with_keywords, _keywords),
    "matching": Task(True, 2, _answerable, _matching, negatives=1, suffixes=("yes", "no"), choices=_yes_and_no),
    "choice": Task(True, 1, _named, _choice, negatives=3, choices=_options),
    "category": Task(True, 1, _labelled, _category),
    "country": Task(True, 1, _with_country, _country),
    "question": Task(True, 1, _with_question, _what, choices=_name_and_another),
    "name": Task(False, 1, _named_in_english_too, _from_english),
    "translate": Task(False, 4, _named, _translate),
    "keywords-to-name": Task(False, 2, _with_english_keywords, _from_keywords),
}

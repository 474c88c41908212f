"""M4U's accuracy, with its options read as they are meant and as its release reads them.

The options of M4U are stored as one text, the writing of a Python list. The release (`parse_multi_choice_response` and
`process_records` of its `utils.py`, after MMMU's) takes them for a list and so counts characters: the "options" run A,
B, C ... through as many signs of ASCII and beyond as the text is long, each meaning one character. A lower-case letter
between spaces then counts as an option, and equals the right one since both sides are lower-cased.
`m4u-accuracy-release` does just that; `m4u-accuracy` is the same parser on the options themselves.

For the release's file of GPT-4o's answers the two should give 4,253 and 4,270 of 8,931. That file isn't at hand, so
these two numbers were not reproduced.

Rows must have the fact "published_options": the text as it is in the data set. The reference is the letter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from visiglot.errors import EvaluationError
from visiglot.evaluate.metrics import METRICS, Metric, answer_and_references, mean, of_each_row
from visiglot.evaluate.written import list_in
from visiglot.types import Prediction

_ENDS = ",.!?;:'"
_LONG = 5
"""Words beyond which an answer is searched for the options' texts."""


BRACKETED, SPACED = "({})", " {} "
FORMS = (BRACKETED, "{}.", SPACED)
"""How M4U looks for letters, in this order."""


def last_letter(text: str, options: Mapping[str, str], forms: Sequence[str] = FORMS) -> str | None:
    """The parser of MMMU and of those that changed it: of the letters in the first form that any is found in, the last
    one; else, in an answer of more than five words, the last of the options whose text is there.

    The last bracket is looked for where the form is one, else the last letter between spaces, whatever the form; of
    letters that are nowhere so, the first counts.

    Args:
        options: letter -> text.
        forms: M4U's are a bracket, a stop, spaces.
    """
    for sign in _ENDS:
        text = text.strip(sign)
    text = f" {text} "
    for form in forms:
        found = [letter for letter in options if form.format(letter) in text]
        if found:
            place = BRACKETED if form == BRACKETED else SPACED
            return _last(found, [text.rfind(place.format(letter)) for letter in found])
    low = text.lower()
    found = [letter for letter, option in options.items() if option.lower() in low] if len(text.split()) > _LONG else []
    return _last(found, [low.rfind(options[letter].lower()) for letter in found])


def _last(found: Sequence[str], places: Sequence[int]) -> str | None:
    """The one whose place is the greatest, the first of equals."""
    return found[places.index(max(places))] if found else None


def proper_options(row: Prediction) -> dict[str, str]:
    """Letter -> option.

    Raises:
        EvaluationError: the fact "published_options" isn't the writing of a list.
    """
    listed = list_in(_options(row))
    if not listed:
        raise EvaluationError(
            f"{row.benchmark}, {row.language}: row {row.id!r}: its options are no list: {_options(row)!r}",
            hint="The fact `published_options` must be the text that M4U publishes, like ['one', 'two'].",
        )
    return {chr(ord("A") + place): str(option) for place, option in enumerate(listed)}


def release_options(row: Prediction) -> dict[str, str]:
    """Sign -> character, as the release has it."""
    return {chr(ord("A") + place): character for place, character in enumerate(_options(row))}


def _options(row: Prediction) -> str:
    if "published_options" not in row.facts:
        raise EvaluationError(
            f"{row.benchmark}, {row.language}: row {row.id!r} has no fact `published_options`",
            hint="M4U's metrics need the options as published.",
        )
    return row.facts["published_options"]


def is_right(row: Prediction, language: str, options: Callable[[Prediction], Mapping[str, str]]) -> bool:
    """Whether the parser's letter is the reference in lower case."""
    text, references = answer_and_references(row)
    letter = last_letter(text, options(row))
    return letter is not None and letter.strip().lower() in (gold.strip().lower() for gold in references)


METRICS.add(
    "m4u-accuracy",
    Metric(
        name="m4u-accuracy",
        about="M4U's accuracy by its release's parser, on the options as a list; an answer without a letter is wrong.",
        measure=of_each_row(partial(is_right, options=proper_options)),
        reduce=mean,
        tokenisation=lambda: "m4u-list",
    ),
)
METRICS.add(
    "m4u-accuracy-release",
    Metric(
        name="m4u-accuracy-release",
        about="M4U's accuracy as its release has it, which takes each character of the options' text for an option.",
        measure=of_each_row(partial(is_right, options=release_options)),
        reduce=mean,
        tokenisation=lambda: "m4u-release",
    ),
)

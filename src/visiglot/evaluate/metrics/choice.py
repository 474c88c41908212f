"""Accuracy on multiple-choice questions: the letter that an answer means against the right one.

An answer without a letter is wrong, and `letter-failures` counts them; nothing is drawn by chance. Beside it stands the
accuracy by the matching of VLMEvalKit as it was when MMMB was published (`can_infer`, 18fc37a, May 2024), in its mode
without a judge. That matching knows capital ASCII letters and some ASCII punctuation only: "A cat" is an A for it,
"A。" nothing. Where it finds no letter, the toolkit asks a judge and in the end draws one; here the answer is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from visiglot.evaluate.metrics import METRICS, Metric, always, answer_and_references, mean, of_each_row
from visiglot.evaluate.metrics.letters import LETTERS, extract_letter, gold_letter, options_of
from visiglot.types import Prediction

Reader = Callable[[str, tuple[str, ...], str], str | None]
"""(answer, options, language) -> the letter that it means."""

_NO_ANSWER = "Z"
_REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
_SPACES = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))


def vlmevalkit_letter(text: str, options: tuple[str, ...], language: str) -> str | None:
    """VLMEvalKit's `can_infer` of May 2024: the one capital letter that stands between spaces once some punctuation is
    gone, else the one option whose text is anywhere in the answer, inside a word too. "Z" is a refusal."""
    if "Failed to obtain answer via API" in text:
        return _only_text(text, options)
    if any(refusal in text for refusal in _REFUSALS):
        return _NO_ANSWER
    words = text.translate(_SPACES).split()
    letters = [letter for letter, option in zip(LETTERS, options) if option and letter in words]
    if len(letters) == 1:
        return letters[0]
    if not letters and _NO_ANSWER in words:
        return _NO_ANSWER
    return _only_text(text, options)


def _only_text(text: str, options: Sequence[str]) -> str | None:
    found = [letter for letter, option in zip(LETTERS, options) if option and option.lower() in text.lower()]
    return found[0] if len(found) == 1 else None


READERS: dict[str, Reader] = {"": extract_letter, "-vlmevalkit": vlmevalkit_letter}
"""Ending of a metric's name -> how it reads letters."""
TOKENISATIONS = {"": "letters-1", "-vlmevalkit": "vlmevalkit-2024-05"}
BY = {"": "", "-vlmevalkit": ", letters read as VLMEvalKit did in May 2024, without its judge"}


def is_right(row: Prediction, language: str, read: Reader) -> bool:
    """Whether the letter that the answer means is the right one; without a letter it isn't."""
    text, _ = answer_and_references(row)
    return read(text, options_of(row), language) == gold_letter(row)


def is_unread(row: Prediction, language: str, read: Reader) -> bool:
    """Whether the answer means no letter."""
    return read(answer_and_references(row)[0], options_of(row), language) is None


for ending, reader in READERS.items():
    METRICS.add(
        f"choice-accuracy{ending}",
        Metric(
            name=f"choice-accuracy{ending}",
            about=f"Share of answers that name the right option{BY[ending]}; an answer without a letter is wrong.",
            measure=of_each_row(partial(is_right, read=reader)),
            reduce=mean,
            tokenisation=always(TOKENISATIONS[ending]),
        ),
    )
    METRICS.add(
        f"letter-failures{ending}",
        Metric(
            name=f"letter-failures{ending}",
            about=f"Share of answers in which no option's letter or text was found{BY[ending]}.",
            measure=of_each_row(partial(is_unread, read=reader)),
            reduce=mean,
            tokenisation=always(TOKENISATIONS[ending]),
            higher_is_better=False,
        ),
    )

"""What an engine is sent of a text, and how its words are put back between what is never sent.

Image tokens, placeholders, tags, code, URLs, marks of lists, letters of options, line breaks and indentation stay where
they are, and engines never see them. A sentence that one of them stands in is sent in pieces, which costs what a
translation of the whole would know: word order and agreement across it. Marks that engines are asked to carry through a
sentence come back changed, doubled or not at all, so there are none. Numbers in a sentence are sent, and looked for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from visiglot.languages import language
from visiglot.translate.kept import Kept, kept_parts, verbatim_parts, without
from visiglot.translate.numbers import lost_numbers
from visiglot.translate.sentences import sentence_spans, short_spans

CLOSED_UP = ("Hans", "Hant", "Jpan")
"""Scripts without a space between sentences."""

_FOLLOWING = re.compile(
    r"(?P<ending>['’]s\b|(?:s|st|nd|rd|th|px|x)\b)?(?:[\s,.;:!?)\]}»”’…،。、؟۔।，；：！？）」』-]|[\"'](?=[\s.,;:!?)]|$))*"
)
"""What belongs to something kept before it: an ending, and punctuation that no sentence begins with."""

_LEADING_ON = frozenset("([{«“„‘¿¡\"'#@=/–—-")
_LEADING_ON_WIDE = frozenset("（「『")
"""What belongs to something kept behind it, beside spaces; what isn't wide, from a space on."""

_WIDE = re.compile(r"[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]")
_LINE_BREAK = re.compile(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_NARROW = str.maketrans(
    {"，": ",", "、": ",", "。": ".", "：": ":", "；": ";", "！": "!", "？": "?", "（": "(", "）": ")"}
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text: "sent" to the engine; "between" its words, as punctuation and spaces are; or kept, and then the
    kind is that of `kept.Kept`."""

    text: str
    kind: str


@dataclass(frozen=True)
class Prepared:
    """A text in pieces, which joined are the text.

    Args:
        language: FLORES-200 code of the text.
    """

    language: str
    pieces: tuple[Piece, ...]

    @cached_property
    def sentences(self) -> tuple[str, ...]:
        """What is sent: sentences, or pieces of them, each with a word in it."""
        return tuple(piece.text for piece in self.pieces if piece.kind == "sent")

    def restore(self, outputs: Sequence[str], target: str) -> str:
        """The translated text. Into the text's own language, what was sent gives the text again, to the character.

        Between sentences it has a space where the target writes one. A line break in an output becomes a space.

        Args:
            outputs: a translation of each of `sentences`, in their order.
            target: FLORES-200 code of the outputs.

        Raises:
            ValueError: there are more outputs than sentences, or fewer.
        """
        if len(outputs) != len(self.sentences):
            raise ValueError(f"{len(outputs)} outputs for {len(self.sentences)} sentences")
        said = iter(outputs)
        pieces = [Piece(_one_line(next(said)), "sent") if p.kind == "sent" else p for p in self.pieces]
        if target != self.language:
            pieces = _spaced(pieces, self.language, target)
        return "".join(piece.text for piece in pieces)


def prepare(text: str, language: str) -> Prepared:
    """A text as an engine is sent it.

    Args:
        language: FLORES-200 code of the text.
    """
    return Prepared(language, tuple(piece for piece in _around(text, kept_parts(text), language) if piece.text))


def lost(original: str, translated: str) -> list[str]:
    """What of a text must survive and isn't in its translation, each as often as it is missing: "<image>",
    "placeholder {name}", "tag <b>", "option letter A", "number 12", "line break", "indentation"."""
    needed, there = kept_parts(original), kept_parts(translated)
    missing = Counter((part.kind, part.name) for part in needed if part.kind != "space")
    missing -= Counter((part.kind, part.name) for part in there)
    found = []
    for (kind, name), count in missing.items():
        if kind not in ("option", "mark") and translated.count(name) >= original.count(name):
            continue
        found += [_called(kind, name)] * count
    words, said = without(original, _verbatim(needed)), without(translated, _verbatim(there))
    found += [f"number {number}" for number in lost_numbers(words, said)]
    lines, other_lines = _LINE_BREAK.split(words), _LINE_BREAK.split(said)
    found += ["line break"] * (len(lines) - len(other_lines))
    if len(lines) == len(other_lines):
        pairs = zip(lines, other_lines, strict=True)
        found += ["indentation" for one, other in pairs if one.strip() and _indentation(one) != _indentation(other)]
    return found


def _verbatim(parts: Sequence[Kept]) -> list[Kept]:
    """Those whose numbers and line breaks are their own."""
    return [part for part in parts if part.kind not in ("space", "option", "mark")]


def _called(kind: str, name: str) -> str:
    if kind == "image":
        return name
    return {"option": "option letter {}", "mark": "mark {}"}.get(kind, f"{kind} {{}}").replace("{}", name, 1)


def _indentation(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _around(text: str, parts: Sequence[Kept], language: str) -> Iterator[Piece]:
    """A text in pieces: its kept parts, and what is around them."""
    before: Kept | None = None
    for part in parts:
        yield from _pieces(text[before.end if before else 0 : part.start], language, before, part)
        yield Piece(text[part.start : part.end], part.kind)
        before = part
    yield from _pieces(text[before.end if before else 0 :], language, before, None)


def _pieces(words: str, language: str, before: Kept | None, after: Kept | None) -> Iterator[Piece]:
    """What is between two kept parts (None: the text's ends), in pieces.

    A sentence is looked through once more by itself: where it was cut, something may have come to light.
    """
    start, end = 0, len(words)
    if before is not None and before.kind != "space":
        match = _FOLLOWING.match(words)
        start = match.end() if match else 0
        if match and match["ending"] and before.kind in ("tag", "option", "mark", "emoji"):
            start = 0
    if after is not None and after.kind != "space":
        end = _leading_on(words, start)
    at = 0
    for first, last in sentence_spans(words[start:end], language):
        first, last = first + start, last + start
        for short_first, short_last in short_spans(words[first:last], language):
            piece = words[first + short_first : first + short_last]
            if _has_word(piece):
                yield Piece(words[at : first + short_first], "between")
                kept = verbatim_parts(piece)
                yield from _around(piece, kept, language) if kept else (Piece(piece, "sent"),)
                at = first + short_last
    yield Piece(words[at:], "between")


def _leading_on(words: str, start: int) -> int:
    """Where in `words`, and not before `start`, begins what belongs to something kept behind them."""

    def run(marks: frozenset[str]) -> int:
        place = len(words)
        while place > start and (words[place - 1].isspace() or words[place - 1] in marks):
            place -= 1
        return place

    parted = (place for place in range(run(_LEADING_ON), len(words)) if place == 0 or words[place - 1].isspace())
    return min(next(parted, len(words)), run(_LEADING_ON_WIDE))


def _has_word(text: str) -> bool:
    """Whether there is something to translate: letters, and not one capital alone, which stands for itself."""
    letters = [character for character in text if character.isalpha()]
    return len(letters) > 1 or any(not letter.isupper() for letter in letters)


def _one_line(output: str) -> str:
    return " ".join(filter(None, map(str.strip, _LINE_BREAK.split(output.strip()))))


def _spaced(pieces: Sequence[Piece], source: str, target: str) -> list[Piece]:
    """The pieces with the target's spaces between them."""
    spaced: list[Piece] = []
    closed_up = language(target).script in CLOSED_UP
    glued = language(source).segmentation != "spaces" and language(target).segmentation == "spaces"
    for number, piece in enumerate(pieces):
        before = spaced[-1] if spaced else None
        after = pieces[number + 1] if number + 1 < len(pieces) else None
        if piece.kind == "between":
            piece = _between(piece, before, after, closed_up=closed_up)
        elif before is not None and before.kind == piece.kind == "sent":
            spaced += [] if closed_up else [Piece(" ", "between")]
        elif glued and before is not None and _parted(before, piece):
            spaced.append(Piece(" ", "between"))
        spaced.append(piece)
    return spaced


def _between(piece: Piece, before: Piece | None, after: Piece | None, *, closed_up: bool) -> Piece:
    """Spaces and punctuation between two pieces, as the target writes them."""
    if closed_up:
        amid = before is not None and after is not None and before.kind == after.kind == "sent"
        if amid and not piece.text.strip() and before and after:
            wide = _WIDE.match(before.text[-1:]) or _WIDE.match(after.text[:1])
            return Piece("", "between") if wide else piece
        return piece
    narrow = piece.text.translate(_NARROW)
    follows = after is not None and after.kind != "space"
    if narrow != piece.text and follows and narrow[-1] in ",.:;!?)":
        narrow += " "
    return Piece(narrow, "between")


def _parted(before: Piece, after: Piece) -> bool:
    """Whether a space belongs between words and something kept, which had none in a script without spaces."""
    kinds: set[str] = {before.kind, after.kind}
    if "sent" not in kinds or kinds & {"between", "space", "mark", "option"}:
        return False
    if before.kind == "tag":
        return before.text.startswith("</")
    if after.kind == "tag":
        return after.text.startswith("<") and not after.text.startswith("</")
    return after.text[:1].isalnum() or after.kind != "sent"

"""What of a text is never translated, as patterns: image tokens, placeholders, tags, code, URLs, marks of lists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_VALUE = r"""(?:"[^"\n]*"|'[^'\n]*'|[^\s"'<>=]+)"""
_SWITCHES = "allowfullscreen|async|autoplay|checked|controls|defer|disabled|hidden|loop|muted|open|required|selected"
_BRACES = r"\{(?:[^{}\n]|\{(?:[^{}\n]|\{[^{}\n]{0,200}\}){0,200}\}){0,200}\}"
_LETTER = "[A-Za-z\u00c0-\u024f\u0370-\u03ff\u0400-\u04ff\u05d0-\u05ea\u0620-\u064a]"
_IN_URL = r"(?:\([A-Za-z0-9_./%=&#+-]*\)|[A-Za-z0-9_!#$%&*+,./:;=?@~'\u00c0-\u05ea\u0620-\u064a\u0900-\u0dff-])"
_URL_END = r"(?<![.,:;!?*'])"
_ENDINGS = "avi|bmp|csv|docx?|gif|gz|html?|jpe?g|jsonl?|mov|mp3|mp4|pdf|png|py|svg|tar|tiff?|txt|wav|webp|xlsx?|xml|zip"
_PRINTF = r"%(?:\([^()\s]+\)|\d+\$)?[#0+-]*+\d*(?:\.\d+)?(?:ll?|hh?)?[sdifuxXeEgGcr]"
_ENTITY = r"&(?:#\d{1,7}|#x[0-9A-Fa-f]{1,6}|[A-Za-z]{2,10}\d?);"

_ELEMENTS = ("code", "pre", "script", "style", "math", "svg", "kbd")
_ENCLOSED = (
    ("code", "```", "```"),
    ("code", "~~~", "~~~"),
    *(("code", rf"<{element}\b[^<>]*>", rf"</{element}\s*>") for element in _ELEMENTS),
    ("tag", "<!--", "-->"),
)
"""Kind, what opens a part of it, and what closes that, however far behind."""

_PATTERNS = {
    "code": (
        r"(?<![`A-Za-z])(?P<ticks>`+)(?!`)[^\n]+?(?<!`)(?P=ticks)(?!`)|`[^\s`]+`"
        r"|\$\$[^$]+\$\$|\\\(.{1,1000}?\\\)|\\\[.{1,1000}?\\\]"
        r"|(?<![\w$])\$(?=[^\s{])(?:[^$\n]{0,300}[\\^_={}][^$\n]{0,300}|[A-Za-z])(?<=\S)\$(?![\w$])"
        r"|\\[A-Za-z]+(?:\{[^{}\n]*\})+"
        r"|(?<![A-Za-z])[A-Za-z]:\\[^\s<>\"”|?*()]+(?<![.,;:!?])"
        r"|\\[nrt](?![a-z])"
    ),
    "image": r"<\|[^<>|\n]{1,60}\|>|<(?i:image|img|video)[\w-]*(?: \d+)?>|\[(?:IMG|IMAGE|VIDEO)\d*\]",
    "URL": (
        rf"(?<![A-Za-z0-9])(?:https?|ftp|file)://{_IN_URL}+{_URL_END}"
        rf"|(?<![A-Za-z0-9@.])www\.[A-Za-z0-9-]+\.{_IN_URL}+{_URL_END}"
        rf"|(?<![A-Za-z0-9@._-])(?:[a-z0-9-]+\.)+(?:com|org|net|edu|gov|io)(?![A-Za-z0-9@.-]\w)(?![A-Za-z0-9])"
        rf"(?:/(?:{_IN_URL}+{_URL_END})?)?"
    ),
    "email": r"(?<![A-Za-z0-9._%+-])(?:mailto:)?[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+",
    "placeholder": (
        rf"[$#%]?{_BRACES}"
        r"|\[\[[^\[\]\n]+\]\]|\[/?[A-Z][A-Z0-9_ ]*[A-Z0-9_]\]"
        r"|(?<!\d)%[A-Za-z_]\w*%"
        rf"|{_PRINTF}(?![^\W\d_])|(?<!\d){_PRINTF}(?![^\W\d_]{{3}})"
        r"|(?<!\$)\$[A-Za-z_]\w+"
        r"|(?<!\w)__[A-Za-z]\w*?__(?!_)|(?<![^\W_])_{2,}(?![^\W_])"
    ),
    "tag": (
        rf"</?[A-Za-z][\w:.-]*(?:\s+(?:[\w:@.-]+\s*=\s*{_VALUE}|(?:{_SWITCHES})\b)){{0,40}}\s*/?>"
        r"|<[A-Za-z][\w-]*(?: [\w-]+){1,3}>"
        r"|<![A-Za-z][^<>]*>|<\?[^<>]*\?>"
        r"|\*\*|(?<!\w)__(?=\w)|(?<=\w)__(?!\w)"
        rf"|(?<![^\W\d_]){_ENTITY}|{_ENTITY}(?![^\W\d_])"
    ),
    "name": (
        rf"(?<![\w.-])(?:[\w-]+\.)+(?i:{_ENDINGS})(?![A-Za-z0-9])"
        r"|(?<![A-Za-z0-9_])_*[A-Za-z0-9]+(?:_+[A-Za-z0-9]+)+_*(?![A-Za-z0-9_])"
        r"|[A-Za-z0-9][!-;=?-z|~]{79,}(?<![.,:;!?)\]'\"])"
    ),
    "box": r"[\[(]\s*-?\d+(?:\.\d+)?(?:\s*,\s*-?\d+(?:\.\d+)?)+\s*[\])]",
    "emoji": (
        "[\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff]"
        "[\ufe0e\ufe0f\u200d\u20e3\u2640\u2642\u2764\U0001f000-\U0001faff\U000e0020-\U000e007f]*"
    ),
}
"""Kind -> what else is of it. The first that matches at a place is taken."""

_KEPT = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in _PATTERNS.items()), re.DOTALL)
_OPENED = re.compile("|".join([*(f"({opening})" for _, opening, _ in _ENCLOSED), _KEPT.pattern]), re.DOTALL)
_CLOSINGS = tuple(re.compile(closing) for _, _, closing in _ENCLOSED)
_SPACE = re.compile(r"[\t\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+| {3,}")
_LINE = re.compile(r"[^\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+")
_MARK = re.compile(
    r"(?P<sign>(?:[-*+•·▪◦‣–—]|#{1,6})[ \t]+|>[ \t]*)"
    r"|(?P<number>[(（\[]?\d{1,3}[)）\]](?!\w)[ \t]*|\d{1,3}[.:][ \t]+|\d{1,3}[、．：](?!\d)[ \t]*)"
    rf"|[(（\[]?(?P<bracketed>{_LETTER}|[ivx]{{1,4}}|[IVX]{{1,4}})[)）\]](?![A-Za-z])[ \t]*"
    rf"|(?P<stopped>{_LETTER})(?:[.:][ \t]+|[、．：][ \t]*)"
)
"""What a line may begin with: the sign of a list, a heading or a quotation, a number, an option's letter."""

_INITIALS = re.compile(rf"{_LETTER}\.[ \t]+(?={_LETTER}\.)")
_INLINE = re.compile(
    r"(?<![^\s,;:：，；])(?:[(（](?P<bracketed>[A-Za-z])[)）]|(?P<stopped>[A-Za-z])(?:[.):](?=\s)|[、．]))"
)
_FIRST_INLINE = re.compile(r"(?<![^\s,;:：，；])[(（]?[Aa][)）.、．]")
_LAST = re.compile(r"(?<=[\w:,\0] )[A-H](?=[.!?]?\s*$)")
_HIDDEN = "\0"


@dataclass(frozen=True, slots=True)
class Kept:
    """A part of a text that is never translated.

    Args:
        start, end: where it is.
        kind: "code", "image", "URL", "email", "placeholder", "tag", "name" (a file, an identifier), "box" (numbers in
            brackets), "emoji"; "option" (letter), "mark" (of a list, a heading), "space" (line breaks, tabs, columns).
        name: what it is called where it is missed: the text, or the bare letter of an option.
    """

    start: int
    end: int
    kind: str
    name: str


def kept_parts(text: str) -> list[Kept]:
    """All that is never translated, in its order and without overlaps."""
    parts = verbatim_parts(text)
    hidden = without(text, parts)
    parts += (Kept(m.start(), m.end(), "space", m[0]) for m in _SPACE.finditer(hidden))
    for line in _LINE.finditer(hidden):
        parts += _marks(line)
        parts += _inline_options(line)
    parts.sort(key=lambda part: (part.start, -part.end))
    found: list[Kept] = []
    for part in parts:
        if not found or part.start >= found[-1].end:
            found.append(part)
    return found


def inline_options(text: str) -> list[tuple[int, int, int]]:
    """Options within a line, "(A) left (B) right": where the mark of each begins, where its words begin, and where they
    end, at the next mark or with the line."""
    if not _FIRST_INLINE.search(text):
        return []
    found: list[tuple[int, int, int]] = []
    for line in _LINE.finditer(without(text, verbatim_parts(text))):
        for run in _runs(line[0]):
            ends = [*(mark.start() for mark in run[1:]), len(line[0])]
            words = [line[0][mark.end() : end] for mark, end in zip(run, ends, strict=True)]
            if all(word.strip() for word in words):  # a person's initials have nothing between them
                starts = [end - len(word.lstrip()) for word, end in zip(words, ends, strict=True)]
                places = zip((mark.start() for mark in run), starts, ends, strict=True)
                found += [
                    (line.start() + mark, line.start() + start, line.start() + end) for mark, start, end in places
                ]
    return found


def verbatim_parts(text: str) -> list[Kept]:
    """Those that are known wherever they stand: all but spaces and the marks of lines."""
    found: list[Kept] = []
    unclosed: set[int] = set()
    place = 0
    while match := _OPENED.search(text, place):
        row = (match.lastindex or 0) - 1
        part = _enclosed(text, match, row, unclosed) if row < len(_ENCLOSED) else _matched(match)
        found += [part] if part else []
        place = part.end if part else match.start() + 1
    return found


def _enclosed(text: str, match: re.Match[str], row: int, unclosed: set[int]) -> Kept | None:
    """From an opening to its closing; where nothing closes it, what else is kept there.

    Args:
        row: of _ENCLOSED, that the opening is of.
        unclosed: rows of which no closing is left, so that none is looked for twice up to the text's end.
    """
    closing = None if row in unclosed else _CLOSINGS[row].search(text, match.end())
    if closing is not None:
        return Kept(match.start(), closing.end(), _ENCLOSED[row][0], text[match.start() : closing.end()])
    unclosed.add(row)
    return _matched(_KEPT.match(text, match.start()))


def _matched(match: re.Match[str] | None) -> Kept | None:
    """What one of _PATTERNS matched; groups within a pattern close before it does."""
    return Kept(match.start(), match.end(), match.lastgroup or "", match[0]) if match else None


def without(text: str, parts: list[Kept]) -> str:
    """The text with NUL for every character of `parts`, so that places stay what they are."""
    pieces, end = [], 0
    for part in parts:
        pieces += [text[end : part.start], _HIDDEN * (part.end - part.start)]
        end = part.end
    return "".join([*pieces, text[end:]])


def _marks(line: re.Match[str]) -> Iterator[Kept]:
    """What a line begins with: "- ", "2. ", "> - (A) ". A person's initials are no letters of options."""
    text, place = line[0], len(line[0]) - len(line[0].lstrip())
    while (match := _MARK.match(text, place)) and not _INITIALS.match(text, place):
        letter = match["bracketed"] or match["stopped"]
        yield Kept(
            line.start() + match.start(),
            line.start() + match.end(),
            "option" if letter else "mark",
            letter or match[0].strip(),
        )
        place = match.end()
        if letter:
            return


def _inline_options(line: re.Match[str]) -> Iterator[Kept]:
    """Letters of options amid a line, "(A) left (B) right", and the one that a line ends with, "The answer is B."."""
    for run in _runs(line[0]):
        yield from (_option(line, one, _letter(one)) for one in run)
    if last := _LAST.search(line[0]):
        yield _option(line, last, last[0])


def _runs(line: str) -> Iterator[list[re.Match[str]]]:
    """Marks of options in a line that follow each other: A, B, and so on."""
    run: list[re.Match[str]] = []
    for match in [*_INLINE.finditer(line), None]:
        letter = _letter(match) if match else ""
        if run and letter != chr(ord(_letter(run[-1])) + 1):
            if len(run) > 1:
                yield run
            run = []
        if match and (run or letter in "Aa"):
            run.append(match)


def _letter(mark: re.Match[str]) -> str:
    return mark["bracketed"] or mark["stopped"] or ""


def _option(line: re.Match[str], match: re.Match[str], letter: str) -> Kept:
    return Kept(line.start() + match.start(), line.start() + match.end(), "option", letter)

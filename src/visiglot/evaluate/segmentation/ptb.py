"""`ptb`: words as the caption metrics of COCO see them, without Java.

pycocoevalcap runs the PTB tokeniser of Stanford CoreNLP 3.4.1 with `-preserveLines -lowerCase`, drops the tokens in
`PUNCTUATION`, joins the rest with spaces, and its metrics split at white space. `tokenise` gives what they see at the
end. The rules were found by asking the jar, not by reading it: at each place, each of them is tried, and the one that
matches most characters wins, those that must follow the token included; of equals, the first. How often the result
differs from the jar's: docs/evaluate.md; `benchmarks/ptb.py` measures it.

Its oddities are kept, since published scores have them: "-lrb-" and "-rrb-" stay (the list of PUNCTUATION has them in
capitals, after everything became lower case), so do "??" and "#"; emoji and characters beyond the basic plane
vanish; a sentence without spaces is one word. One isn't kept: the jar looks at the next caption to tell whether "no."
or "A." ends a sentence; here each text stands alone.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from importlib import resources
from itertools import chain, pairwise
from typing import NamedTuple

from visiglot.evaluate.segmentation import SEGMENTATIONS, Segmentation
from visiglot.evaluate.segmentation.chunks import Chunks

PUNCTUATION = frozenset({"''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"})
"""Tokens that pycocoevalcap drops, of those that can occur in lower case."""

BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
ENTITIES = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": "''", "&apos;": "'", "&nbsp;": ""}
REWRITTEN = {
    **dict.fromkeys("\x80\u00a4\u20a0\u20ac", "$"),
    **dict.fromkeys("\x91\u2018\u201b\u2039", "`"),
    **dict.fromkeys("\x92\u2019\u203a", "'"),
    **dict.fromkeys("\x93\u00ab\u201c", "``"),
    **dict.fromkeys('"\x94\u00bb\u201d', "''"),
    **dict.fromkeys("\x96\x97\u2013\u2014\u2015", "--"),
    **dict.fromkeys("\x85\u2026", "..."),
    "\u00a2": "cents",
    "\u00a3": "#",
    "\u00bc": "1/4",
    "\u00bd": "1/2",
    "\u00be": "3/4",
    "\u2153": "1/3",
    "\u2154": "2/3",
}
"""Characters that become something else as tokens of their own. The quotes and dashes are dropped afterwards."""

TWO_WORDS = {word: (word[:3], word[3:]) for word in ("cannot", "gimme", "gonna", "gotta", "lemme", "wanna")}
"""Words that are split in two when they stand alone."""

CLITICS = frozenset({"'s", "'d", "'m", "'ll", "'re", "'ve"})

_LINE_BREAKS = re.compile("[\n\r\x0b\x0c\x1c-\x1e\u2028\u2029]")
_OTHER_SPACES = re.compile(r"[^\S ]")
_PLAIN = re.compile(r"([A-Za-z ]*+(?:,[A-Za-z ]++)*+)([.?!]?)[ \n]*")
_ENDS = "0123456789).k"
"""What a chunk ends with, if a rule reads across the space behind it."""
_OUTSIDE = re.compile(r"[\s,]+(?=[\sA-Za-z]|$)")


def tokenise(texts: Sequence[str], language: str) -> list[list[str]]:
    """The words of each text; the language makes no difference, as in pycocoevalcap.

    Few rules see beyond a space (`_across`). Where none of them can, each chunk between spaces is cut once. A line in
    which a tag may begin, or with other spaces than U+0020, is cut as a whole.
    """
    reading, ends, goes_on = set[str](), *_across()

    def words_of(chunk: str) -> list[str]:
        words = cut(chunk)
        if chunk[-1:] in _ENDS and (ends.search(chunk[-8:]) or (words and words[-1][1:] == ".")):  # "plan A."
            reading.add(chunk)
        return words

    look_up = Chunks(words_of).__getitem__
    found: list[list[str]] = []
    for text in texts:
        words = _plain(text)
        if words is None:
            line = text if text.isprintable() else _LINE_BREAKS.sub(" ", text).replace("\u00ad", "")
            chunks = line.split(" ")
            if len(chunks) == 1 or "<" in line or (not line.isprintable() and _OTHER_SPACES.search(line)):
                words = cut(line)
            else:
                words = list(chain.from_iterable(map(look_up, chunks)))
                if not reading.isdisjoint(chunks) and any(
                    left in reading and goes_on.match(right) for left, right in pairwise(chunks)
                ):
                    words = cut(line)
        found.append(words)
    return found


def signature() -> str:
    return "ptb"


def cut(line: str) -> list[str]:
    """The words of one line by the rules alone, punctuation dropped."""
    whole = _simple()[0].match(line)
    if whole is not None and whole.end() == len(line):
        return _written(line)
    return [word for token in _tokens(line) for word in _written(token) if word not in PUNCTUATION]


def _plain(text: str) -> list[str] | None:
    """The words of a text that has nothing but words that no rule splits or joins, as most English captions."""
    plain = _PLAIN.fullmatch(text)
    if plain is None:
        return None
    words = plain[1].lower().replace(",", " ").split()
    if TWO_WORDS.keys().isdisjoint(words) and not (plain[2] == "." and words and _keeps_full_stop(words[-1])):
        return words
    return None


def _keeps_full_stop(word: str) -> bool:
    """Whether the last word of a text may keep the full stop that ends it."""
    return len(word) == 1 or word in _abbreviations()


def _tokens(text: str) -> Iterator[str]:
    """The tokens of one line as they are written in it."""
    place, end = 0, len(text)
    simple, in_word = _simple()
    rules = None
    while place < end:
        if skipped := _OUTSIDE.match(text, place):
            place = skipped.end()
            continue
        if whole := simple.match(text, place):
            place = whole.end()
            yield whole[0]
            continue
        if rules is None:
            rules = _rules_for(_signs().intersection(text))
        token, longest = "", place
        for rule in rules[0 if in_word.match(text, place) else 1]:
            found = rule.match(text, place)
            if found is not None and found.end() > longest:
                token, longest = found[1], found.end()
        if token:
            yield token
        place += len(token) or 1


def _written(token: str) -> list[str]:
    """The words that a token is written as."""
    word = token.lower()
    if word in TWO_WORDS:
        return list(TWO_WORDS[word])
    if word == "n’t":
        return ["n't"]
    if word[0].isalnum() or len(word) == 1:
        return (REWRITTEN.get(word) or BRACKETS.get(word) or word).split()
    if word[0] in "'’":
        plain = word.replace("’", "'")
        if plain in ("'tis", "'twas"):
            return ["'t", plain[2:]]
        return [plain if plain in CLITICS else word]
    if word in ENTITIES:
        return ENTITIES[word].split()
    if word.startswith("<") and word[1] not in ":;=":
        return word.split()  # a tag counts as one token, and is split afterwards at its spaces
    if len(word) < 5 and not word.strip("-"):
        return ["--"]
    if not word.strip("."):
        return ["..."]
    return "".join(BRACKETS[sign] if sign in "()" else sign for sign in word).split()


# --- the rules -------------------------------------------------------------------------------------------------------


@cache
def _data() -> dict[str, dict[str, str]]:
    text = resources.files("visiglot.evaluate.segmentation").joinpath("ptb.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


@cache
def _abbreviations() -> frozenset[str]:
    return frozenset(word for words in _data()["abbreviations"].values() for word in words.split())


def _class(kind: str) -> str:
    """The characters of one kind, as the inside of a character class."""
    ranges = (item.partition("-") for item in _data()["characters"][kind].split())
    return "".join(f"\\u{first.lower()}{'-' if last else ''}\\u{(last or first).lower()}" for first, _, last in ranges)


def _any_of(words: list[str]) -> str:
    """Longer alternatives first, as Python takes the first that matches."""
    return f"(?:{'|'.join(sorted(words, key=len, reverse=True))})"


class _Rule(NamedTuple):
    """One kind of token.

    Attributes:
        pattern: group 1 is the token, the rest must follow it.
        signs: the rule can match only in a text that has one of these; empty: in any.
    """

    pattern: re.Pattern[str]
    signs: frozenset[str]


@cache
def _simple() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Tokens that need no rule, and how a word begins.

    The first are a word before a space; one that is longer than every abbreviation before a mark that ends a sentence;
    one that begins beyond ASCII before a symbol that no rule is about, as "猫" before "。"; and such a symbol.
    """
    longer = max(map(len, _abbreviations())) + 1
    letters = _class("letters")
    marked, symbols = f"A-Za-z{letters}{_class('marks')}", _class("symbols")
    return (
        re.compile(
            f"[{marked}]++(?=,?(?: |$))|[{marked}]{{{longer},}}+(?=[.?!](?: |$))"
            f"|[{letters}][{marked}]*+(?=[{symbols}])|[{symbols}]"
        ),
        re.compile(f"[A-Za-z{letters}0-9]"),
    )


@cache
def _across() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """How a chunk ends before a space that a rule may read across, and how the chunk after that space begins then.

    The rules are those for "1 1/2", "(555) 123-4567", "no. 5", "rock 'n' roll" and "plan A. The". That of tags isn't
    covered, as it reads across every space. Two spaces in a row count as such a beginning.
    """
    before_number = _any_of(_data()["abbreviations"]["before_number"].split())
    return (
        re.compile(rf"(?:[0-9)]|(?i:{before_number})\.|rock)$"),
        re.compile(rf"[0-9]|$|'n'|{_any_of(_sentence_starts())}"),
    )


def _sentence_starts() -> list[str]:
    starts = [word.capitalize() for word in _data()["sentences"]["starts"].split()]
    return starts + [word.upper() for word in starts]


@cache
def _signs() -> frozenset[str]:
    return frozenset().union(*(rule.signs for rules in _rules() for rule in rules))


@lru_cache(maxsize=4096)
def _rules_for(signs: frozenset[str]) -> tuple[list[re.Pattern[str]], list[re.Pattern[str]]]:
    """The rules that may match in a text with these signs: for what begins as a word, and the others."""
    first, second = (
        [rule.pattern for rule in rules if not rule.signs or not signs.isdisjoint(rule.signs)] for rules in _rules()
    )
    return first, second


@cache
def _rules() -> tuple[list[_Rule], list[_Rule]]:
    """The rules for what begins as a word, and the others."""
    letters = "A-Za-z" + _class("letters")
    marked = letters + _class("marks")
    digits = "0-9"
    known = {kind: words.split() for kind, words in _data()["abbreviations"].items()}
    quotes = "'’"
    quote = f"[{quotes}]"
    not_in_word = f"(?![{marked}{digits}])"
    part = f"(?>[{marked}][{marked}{digits}]*|[{letters}{digits}]+)"
    thing = f"{part}(?:[\\-_\u058a\u2010\u2011]{part})*"
    elided = f"(?:[A-HJ-XZdlno]{quote}[{letters}{digits}]{{2,}}|[{letters}{digits}]+)"  # O'Reilly, l'eau, d'accord
    dotted = f"[{letters}][{letters}{digits}]*(?:\\.[{letters}][{letters}{digits}]*)+"
    piece = "[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}"
    doctor = r"[Pp][Hh]\.[Dd]\."
    acronym = r"[A-Za-z](?:\.[A-Za-z])+\."
    address = r'[^\s"<>|(){}]'
    address_end = r'[^\s"<>|.!?,(){}\-]'
    of_words = [
        (f"(?i:cap{quote}n)", "", quotes),
        (f"[{marked}][{marked}{digits}]*", "", ""),
        (thing, "", ""),
        (f"{elided}(?:[_-]{elided})*", "", ""),
        (f"[A-Za-z]+[aeiouyAEIOUY]{quote}[aeiouA-Z][{letters}]*|(?i:c{quote}est)", "", quotes),  # Hawai'i, qu'une
        (f"{piece}/{piece}(?:/{piece})?", "", "/"),  # and/or, km/h, he/she-like
        ("(?:[0-9]{1,4}[- \u00a0])?[0-9]{1,4}[/\u2044][0-9]{1,4}", "", "/\u2044"),  # 1 1/2
        ("[0-9]{1,2}/[0-9]{1,2}/[0-9]{2,4}", "", "/"),
        ("[0-9]+(?:[.,:\u066b\u066c][0-9]+)+", "", ".,:\u066b\u066c"),
        (r"[A-Za-z0-9]+(?:[.,][A-Za-z0-9]+|[.,](?=-))+(?:-[A-Za-z0-9]+)+", "", "-"),  # 2.6-inch, libfoo1.2-java
        (r"[A-Za-z0-9]*[0-9](?:\.[0-9]+)*(?:\.[xX])+(?:-[A-Za-z0-9]+)*", r"(?=[.,\s]|$)", "."),  # 2.6.x
        # foo.bar, U.S-led, what?no
        (f"(?!{doctor}){dotted}(?:-[A-Za-z0-9]+)*", "", "."),
        (f"(?!{doctor})[{letters}][{letters}{digits}]*(?:[.?!][{letters}][{letters}{digits}]*)+", "", ".?!"),
        # abbreviations
        (f"(?:[A-Za-z0-9]+-)*{acronym}(?:-[A-Za-z0-9.]*[A-Za-z0-9])?", "", "."),
        (f"(?:[A-Za-z0-9]+-)*{acronym}-{acronym}", "", "."),
        (doctor, "", "."),
        (r"[A-Za-z]\.", "", "."),
        ("[A-Za-z]", rf"\.\s+{_any_of(_sentence_starts())}(?=\s)", "."),  # plan A. The
        (rf"(?i:{_any_of(known['always'])})\.(?:-[A-Za-z]+)?", "", "."),
        (rf"{_any_of([f'{word[0].upper()}(?i:{word[1:]})' for word in known['capital']])}\.", "", "."),
        (rf"{_any_of(known['not_upper'] + [word.capitalize() for word in known['not_upper']])}\.", "", "."),
        (rf"(?i:{_any_of(known['before_number'])})\.", r"\s*[0-9]", "."),
        (rf"(?:{thing}|{elided}|{dotted})\.", "[,;:]", "."),
        # contractions
        (part, f"{quote}(?i:s|d|m|ll|re|ve|n|em){not_in_word}", quotes),
        ("[A-Za-z0-9]*[A-MO-Za-mo-z]", f"[nN]{quote}[tT]", quotes),
        (f"[nN]{quote}[tT]", "", quotes),
        (f"(?:[jdlJDL]|[oO]l){quote}", "", quotes),
        (f"[yY]{quote}", f"[{letters}]", quotes),
        # the web
        (f"(?i:https?)://{address}+{address_end}", "", "/"),
        (rf"(?:[a-z]+\.)+(?i:com|net|org|edu)/{address}+{address_end}", "", "/"),
        (rf"(?i:www)\.(?:[A-Za-z0-9\-]+\.)+[A-Za-z]{{2,4}}(?:/{address}+{address_end})?", "", "."),
        (r'[A-Za-z0-9][^\s"<>|(){}@]*@[^\s"<>|(){}.@](?:[^\s"<>|(){}]*[^\s"<>|(){}.])?', "", "@"),
        # AT&T, C++, US$
        ("[A-Z]+(?:[&+][A-Z]+)+", "", "&+"),
        (r"[Cc]\+\+|[CcFf]#", "", "+#"),
        ("rock 'n' roll", "", quotes),
        (r"[A-Z]+\$", "", "$"),
    ]
    every_sign = re.escape("".join(chr(code) for code in range(33, 127) if not chr(code).isalnum()))
    of_signs = [
        (f"[{marked}][{marked}{digits}]*", "", ""),
        (f"[{every_sign}{_class('symbols')}{re.escape(''.join(REWRITTEN))}]", "", ""),
        (r"[+-][0-9]+(?:[.,:\u066b\u066c][0-9]+)*|[+-]?(?:[.,:\u066b\u066c][0-9]+)+", "", "+-.,:\u066b\u066c"),
        # tags and mail addresses in angle brackets
        (
            r"<[!?]?[A-Za-z][A-Za-z0-9_:.\-]*"
            r"(?: [A-Za-z][A-Za-z0-9_:.\-]*| ?[A-Za-z0-9_:.\-]+ ?= ?(?:\"[^\"]*\"|'[^']*'))* ?[/?]?>",
            "",
            "<",
        ),
        (r"</[A-Za-z][A-Za-z0-9_:.\-]*>|<!--[^>]*-->", "", "<"),
        (r'<[A-Za-z0-9][^\s"<>|(){}@]*@[^\s"<>|(){}]+>', "", "<"),
        # contractions
        (f"{quote}(?i:s|d|m|ll|re|ve|n)", f"(?![{marked}])", quotes),
        (f"{quote}[nN]{quote}?", not_in_word, quotes),
        (f"{quote}[nN]{quote}", "", quotes),
        (f"{quote}(?i:em|till?|cause)", "", quotes),
        (f"{quote}[0-9][0-9](?:[sS]{not_in_word}|(?=\\s|$))", "", quotes),  # '90s
        (r"'[tT]", "(?i:is|was)", quotes),
        # names and topics
        ("@[A-Za-z_][A-Za-z0-9_]*", "", "@"),
        (f"#[{marked}]+", "", "#"),
        # signs
        (r"\.\.\.+|--+|[?!]+|``|''|<<|>>|\*+|##+|@@+|__+|(?:\\\*)+", "", ".-?!`'<>*#@_\\"),
        (r"&(?i:amp|lt|gt|quot|apos|nbsp);|&#[0-9]+;", "", "&"),
        (rf"[<>]?[:;=](?:-?[)(\]\[|DPO@dp{{\\]|'[()]){not_in_word}|[:=]-?o[()]", "", ":;="),
        (r"[-^x=~<>']_[-^x=~<>']|\([-^x=~<>'][_.]?[-^x=~<>']\)", "", "_("),
        ("\\([0-9]{3}\\)[ \u00a0]?[0-9]{3}[- ][0-9]{4}", "", "("),
    ]
    first, second = (
        [
            _Rule(re.compile(f"({token})(?:{after})" if after else f"({token})"), frozenset(signs))
            for token, after, signs in rules
        ]
        for rules in (of_words, of_signs)
    )
    return first, second


SEGMENTATIONS.add(
    "ptb",
    Segmentation(
        name="ptb",
        about="Words by an equal of the Stanford PTB tokeniser, as COCO's caption metrics use it; made for English.",
        tokenise=tokenise,
        signature=signature,
    ),
)

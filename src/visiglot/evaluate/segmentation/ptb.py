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
from functools import cache
from importlib import resources

from visiglot.evaluate.segmentation import SEGMENTATIONS, Segmentation

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
_PLAIN = re.compile(r"([A-Za-z ]*+(?:,[A-Za-z ]++)*+)([.?!]?)[ \n]*")
_OUTSIDE = re.compile(r"[\s,]+(?=[\sA-Za-z]|$)")


def tokenise(texts: Sequence[str], language: str) -> list[list[str]]:
    """The words of each text; the language makes no difference, as in pycocoevalcap."""
    return [_words(text) for text in texts]


def signature() -> str:
    return "ptb"


def _words(text: str) -> list[str]:
    """The words of one text, punctuation dropped."""
    plain = _PLAIN.fullmatch(text)
    if plain is not None:  # most captions: nothing but words that no rule splits or joins
        words = plain[1].lower().replace(",", " ").split()
        if TWO_WORDS.keys().isdisjoint(words) and not (plain[2] == "." and words and _keeps_full_stop(words[-1])):
            return words
    text = _LINE_BREAKS.sub(" ", text).replace("\u00ad", "")
    return [word for token in _tokens(text) for word in _written(token) if word not in PUNCTUATION]


def _keeps_full_stop(word: str) -> bool:
    """Whether the last word of a text may keep the full stop that ends it."""
    return len(word) == 1 or word in _abbreviations()


def _tokens(text: str) -> Iterator[str]:
    """The tokens of one line as they are written in it."""
    place, end = 0, len(text)
    simple, in_word, of_words, of_signs = _rules()
    while place < end:
        if skipped := _OUTSIDE.match(text, place):
            place = skipped.end()
            continue
        if whole := simple.match(text, place):
            place = whole.end()
            yield whole[0]
            continue
        token, longest = "", place
        for rule in of_words if in_word.match(text, place) else of_signs:
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


@cache
def _rules() -> tuple[re.Pattern[str], re.Pattern[str], list[re.Pattern[str]], list[re.Pattern[str]]]:
    """Words that need no rule, how a word begins, the rules for what begins so, and the others.

    Group 1 of a rule is the token, the rest must follow it.
    """
    letters = "A-Za-z" + _class("letters")
    marked = letters + _class("marks")
    digits = "0-9"
    known = {kind: words.split() for kind, words in _data()["abbreviations"].items()}
    starts = [word.capitalize() for word in _data()["sentences"]["starts"].split()]
    quote = "['’]"
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
        (f"(?i:cap{quote}n)", ""),
        (f"[{marked}][{marked}{digits}]*", ""),
        (thing, ""),
        (f"{elided}(?:[_-]{elided})*", ""),
        (f"[A-Za-z]+[aeiouyAEIOUY]{quote}[aeiouA-Z][{letters}]*|(?i:c{quote}est)", ""),  # Hawai'i, qu'une
        (f"{piece}/{piece}(?:/{piece})?", ""),  # and/or, km/h, he/she-like
        ("(?:[0-9]{1,4}[- \u00a0])?[0-9]{1,4}[/\u2044][0-9]{1,4}", ""),  # 1 1/2
        ("[0-9]{1,2}/[0-9]{1,2}/[0-9]{2,4}", ""),
        ("[0-9]+(?:[.,:\u066b\u066c][0-9]+)*", ""),
        (r"[A-Za-z0-9]+(?:[.,][A-Za-z0-9]+|[.,](?=-))+(?:-[A-Za-z0-9]+)+", ""),  # 2.6-inch, libfoo1.2-java
        (r"[A-Za-z0-9]*[0-9](?:\.[0-9]+)*(?:\.[xX])+(?:-[A-Za-z0-9]+)*", r"(?=[.,\s]|$)"),  # 2.6.x
        # foo.bar, U.S-led, what?no
        (f"(?!{doctor}){dotted}(?:-[A-Za-z0-9]+)*", ""),
        (f"(?!{doctor})[{letters}][{letters}{digits}]*(?:[.?!][{letters}][{letters}{digits}]*)+", ""),
        # abbreviations
        (f"(?:[A-Za-z0-9]+-)*{acronym}(?:-[A-Za-z0-9.]*[A-Za-z0-9])?", ""),
        (f"(?:[A-Za-z0-9]+-)*{acronym}-{acronym}", ""),
        (doctor, ""),
        (r"[A-Za-z]\.", ""),
        ("[A-Za-z]", rf"\.\s+{_any_of(starts + [word.upper() for word in starts])}(?=\s)"),  # plan A. The
        (rf"(?i:{_any_of(known['always'])})\.(?:-[A-Za-z]+)?", ""),
        (rf"{_any_of([f'{word[0].upper()}(?i:{word[1:]})' for word in known['capital']])}\.", ""),
        (rf"{_any_of(known['not_upper'] + [word.capitalize() for word in known['not_upper']])}\.", ""),
        (rf"(?i:{_any_of(known['before_number'])})\.", r"\s*[0-9]"),
        (rf"(?:{thing}|{elided}|{dotted})\.", "[,;:]"),
        # contractions
        (part, f"{quote}(?i:s|d|m|ll|re|ve|n|em){not_in_word}"),
        ("[A-Za-z0-9]*[A-MO-Za-mo-z]", f"[nN]{quote}[tT]"),
        (f"[nN]{quote}[tT]", ""),
        (f"(?:[jdlJDL]|[oO]l){quote}", ""),
        (f"[yY]{quote}", f"[{letters}]"),
        # the web
        (f"(?i:https?)://{address}+{address_end}", ""),
        (rf"(?:[a-z]+\.)+(?i:com|net|org|edu)/{address}+{address_end}", ""),
        (rf"(?i:www)\.(?:[A-Za-z0-9\-]+\.)+[A-Za-z]{{2,4}}(?:/{address}+{address_end})?", ""),
        (r'[A-Za-z0-9][^\s"<>|(){}@]*@[^\s"<>|(){}.@](?:[^\s"<>|(){}]*[^\s"<>|(){}.])?', ""),
        # AT&T, C++, US$
        ("[A-Z]+(?:[&+][A-Z]+)+", ""),
        (r"[Cc]\+\+|[CcFf]#", ""),
        ("rock 'n' roll", ""),
        (r"[A-Z]+\$", ""),
    ]
    every_sign = re.escape("".join(chr(code) for code in range(33, 127) if not chr(code).isalnum()))
    of_signs = [
        (f"[{marked}][{marked}{digits}]*", ""),
        (f"[{every_sign}{_class('symbols')}{re.escape(''.join(REWRITTEN))}]", ""),
        (r"[+-]?(?:[0-9]+(?:[.,:\u066b\u066c][0-9]+)*|(?:[.,:\u066b\u066c][0-9]+)+)", ""),
        # tags and mail addresses in angle brackets
        (
            r"<[!?]?[A-Za-z][A-Za-z0-9_:.\-]*"
            r"(?: [A-Za-z][A-Za-z0-9_:.\-]*| ?[A-Za-z0-9_:.\-]+ ?= ?(?:\"[^\"]*\"|'[^']*'))* ?[/?]?>",
            "",
        ),
        (r"</[A-Za-z][A-Za-z0-9_:.\-]*>|<!--[^>]*-->", ""),
        (r'<[A-Za-z0-9][^\s"<>|(){}@]*@[^\s"<>|(){}]+>', ""),
        # contractions
        (f"{quote}(?i:s|d|m|ll|re|ve|n)", f"(?![{marked}])"),
        (f"{quote}[nN]{quote}?", not_in_word),
        (f"{quote}[nN]{quote}", ""),
        (f"{quote}(?i:em|till?|cause)", ""),
        (f"{quote}[0-9][0-9](?:[sS]{not_in_word}|(?=\\s|$))", ""),  # '90s
        (r"'[tT]", "(?i:is|was)"),
        # names and topics
        ("@[A-Za-z_][A-Za-z0-9_]*", ""),
        (f"#[{marked}]+", ""),
        # signs
        (r"\.\.\.+|--+|[?!]+|``|''|<<|>>|\*+|##+|@@+|__+|(?:\\\*)+", ""),
        (r"&(?i:amp|lt|gt|quot|apos|nbsp);|&#[0-9]+;", ""),
        (rf"[<>]?[:;=](?:-?[)(\]\[|DPO@dp{{\\]|'[()]){not_in_word}|[:=]-?o[()]", ""),
        (r"[-^x=~<>']_[-^x=~<>']|\([-^x=~<>'][_.]?[-^x=~<>']\)", ""),
        ("\\([0-9]{3}\\)[ \u00a0]?[0-9]{3}[- ][0-9]{4}", ""),
    ]
    first, second = (
        [re.compile(f"({token})(?:{after})" if after else f"({token})") for token, after in rules]
        for rules in (of_words, of_signs)
    )
    return re.compile(f"[{marked}]++(?=,? |$)"), re.compile(f"[{letters}{digits}]"), first, second


SEGMENTATIONS.add(
    "ptb",
    Segmentation(
        name="ptb",
        about="Words by an equal of the Stanford PTB tokeniser, as COCO's caption metrics use it; made for English.",
        tokenise=tokenise,
        signature=signature,
    ),
)

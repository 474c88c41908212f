"""Shortcuts find the same words as the rules do."""

from __future__ import annotations

import random
import re
import unicodedata

import pytest

from visiglot.evaluate.segmentation import ptb, scripts
from visiglot.evaluate.segmentation.chunks import LONGEST, MOST, Chunks

WORDS = (
    "cat dog A b I cannot gonna isn't dog's 'em '90s 'tis rock 'n' roll 1 12 1/2 3.5 1,000 (555) 555-1234 555 no. No. "
    "figs. pp. art. U.S. Ph.D. e.g. 2.6.x foo.bar and/or http://a.b/c www.x.com a@b.c &amp; AT&T C++ US$ $5 :) ... -- "
    "`` '' #tag @x “a” ‘ ’s ½ € — … l'eau O'Reilly x-ray well-lit a. A. The THE He the Then y'all 'nA. 'emA. 5A. Mr. "
    "miss. Miss. etc. 猫 猫。犬 แมว हिन्दी। قطة، é ﬁg. 😀"
)
ENGLISH = WORDS.split()
GAPS = [" "] * 12 + [
    "",
    "",
    ",",
    ".",
    "-",
    "'",
    "  ",
    "\t",
    "\u00a0",
    "\x85 ",
    " \u3000",
    "\n",
    "\u00ad",
    "\u2028",
    "\x1f",
]
TAGS = ["<a", "<b>", "</b>", "<!--", "-->", 'x="1', '2">', "<3"]
ALPHABETS = [
    "abcABCIİıſKÀé",
    " .,:;!?-_'’ʼ`´\"…",
    "0123٣３",
    "猫犬东京々ーカガア゙ﾞｶ・。、，！？「」",
    "แมวนอนเสาร์น้ำๆฯ฿๓ะาิุ่",
    "हिन्दी क्\u200dष",
    "قطة ـ،",
    " \t\n\x1c\x1f\x85\u00a0\u3000\u2028\u200b\u200c\u200d\u00ad\ufeff",
    "😀👨‍👩👍🏽🇩🇪❤️",
    "ကြောင်တစ်ឆ្មាབྱི་ལ",
    'צה״ל"',
    "ΟΔΟΣΣ",
    "ﬁＡ①½ŉǅ\u0301\u0345\u0338<=>",
]
PIECES = ["'s", "'ll", "n't", "can", "not", "gonna", "a.b.", "U.S.", "3.5", "3,5", "10:30"]


def english(pick: random.Random, words: list[str]) -> str:
    return "".join(pick.choice(words) + pick.choice(GAPS) for _ in range(pick.randint(1, 7)))


def mixed(pick: random.Random) -> str:
    parts = []
    for _ in range(pick.randint(1, 4)):
        parts += pick.choices(pick.choice(ALPHABETS), k=pick.randint(1, 5))
        parts.append(pick.choice(["", "", " ", " ", chr(pick.randrange(0x20, 0x3100)), pick.choice(PIECES)]))
    return "".join(parts)


@pytest.mark.parametrize("tags", [[], TAGS * 3])
def test_ptb_by_chunks_equals_its_rules(tags: list[str]) -> None:
    pick = random.Random(1)
    texts = [english(pick, ENGLISH + tags) for _ in range(6000)]
    lines = [re.sub("[\n\u2028]", " ", text.replace("\u00ad", "")) for text in texts]
    assert ptb.tokenise(texts, "eng_Latn") == [ptb.cut(line) for line in lines]


@pytest.mark.parametrize(
    "text", ["call (555) 123-4567", "see no. 5", "plan A. The end", "a <b c='d e'> f", "A. \tThe e"]
)
def test_rules_that_read_across_a_space_are_followed(text: str) -> None:
    found = ptb.tokenise([text], "eng_Latn")[0]
    assert found == ptb.cut(text)
    assert found != [word for chunk in text.split(" ") for word in ptb.cut(chunk)]


def test_a_ptb_rule_that_is_left_out_for_its_signs_would_not_match() -> None:
    pick = random.Random(2)
    words, signs = ptb._rules()
    for _ in range(4000):
        text = english(pick, ENGLISH + TAGS)
        for rule in words + signs:
            if rule.signs and rule.signs.isdisjoint(text):
                assert rule.pattern.search(text) is None, (rule.pattern.pattern, text)


@pytest.mark.parametrize("language", ["eng_Latn", "fra_Latn", "tur_Latn", "jpn_Jpan", "tha_Thai"])
def test_the_default_by_chunks_equals_its_rules(language: str) -> None:
    pick = random.Random(3)
    texts = [mixed(pick) for _ in range(3000)]
    assert scripts.tokenise(texts, language) == [scripts.cut(text, language, shortcut=False) for text in texts]


@pytest.mark.parametrize("language", ["eng_Latn", "tur_Latn", "jpn_Jpan", "tha_Thai"])
def test_the_faster_expression_equals_the_whole_one(language: str) -> None:
    """On texts of the characters that it is for, most of which it takes."""
    pick = random.Random(4)
    simple = scripts._simple()
    alphabet = [chr(code) for code in range(0x20, 0xA000) if simple.text.fullmatch(chr(code).lower())]
    thai = [sign for sign in alphabet if "\u0e00" < sign < "\u0e7f"] + ["\u0e33"]
    texts = [character * 2 for character in alphabet]
    kinds = [alphabet[:90] + more for more in (alphabet, thai, thai)]
    texts += ["".join(pick.choices(pick.choice(kinds), k=pick.randint(1, 6))) for _ in range(5000)]
    assert sum(scripts._cut_simple(text, language) is not None for text in texts) > len(texts) * 0.8
    for text in texts:
        assert scripts.cut(text, language) == scripts.cut(text, language, shortcut=False), ascii(text)


def test_characters_of_the_faster_expression_are_nobody_elses_form() -> None:
    alphabet = [chr(code) for code in range(0x20, 0xA000) if scripts._simple().text.fullmatch(chr(code))]
    assert len(alphabet) > 27_000
    assert [sign for sign in alphabet if unicodedata.normalize("NFKC", sign) != sign or sign.lower() != sign] == []


def test_the_first_clitic_of_a_text_is_one_only_after_a_space() -> None:
    assert scripts.tokenise(["'s a", " 's a", "a 's"], "eng_Latn") == [["s", "a"], ["'s", "a"], ["a", "'s"]]


def test_a_chunk_is_cut_once_and_a_long_one_is_not_kept() -> None:
    asked: list[str] = []

    def cut(chunk: str) -> list[str]:
        asked.append(chunk)
        return [chunk]

    chunks, long = Chunks(cut), "x" * (LONGEST + 1)
    assert [chunks[chunk] for chunk in ("a", "a", long, long)] == [["a"], ["a"], [long], [long]]
    assert asked == ["a", long, long]


def test_no_more_chunks_are_kept_than_the_limit() -> None:
    chunks = Chunks(lambda chunk: [chunk])
    for number in range(MOST + 10):
        assert chunks[str(number)] == [str(number)]
    assert len(chunks) == MOST


def test_words_of_two_texts_are_lists_of_their_own() -> None:
    for tokenise in (ptb.tokenise, scripts.tokenise):
        first, second = tokenise(["猫 é", "猫 é"], "eng_Latn")
        first.append("x")
        assert second == ["猫", "é"] == tokenise(["猫 é"], "eng_Latn")[0]

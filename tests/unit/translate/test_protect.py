"""Nothing that must survive is sent; the words come back around it; what is missing is named."""

from __future__ import annotations

import random
import re

import pytest

from visiglot.translate import kept
from visiglot.translate.kept import kept_parts
from visiglot.translate.protect import lost, prepare
from visiglot.translate.sentences import LONGEST, LONGEST_UNSPACED, LONGEST_WORDS

EN, DE, ZH, JA, TH, FR = "eng_Latn", "deu_Latn", "zho_Hans", "jpn_Jpan", "tha_Thai", "fra_Latn"

KEPT = {
    "image": ["<image>", "<image_placeholder>", "<ImageHere>", "<|image_1|>", "<image 2>", "[IMG]", "<|im_start|>"],
    "placeholder": [
        "{name}", "{}", "{{x}}", "${total}", "%s", "%(name)s", "%1$s", "%.2f", "%NAME%", "[MASK]", "[[link]]",
        "{0:.2f}", "{% if x %}", "__name__", "____", "$user", '{"a": {"b": 1}}',
    ],
    "tag": ["<b>", "</b>", "<br/>", '<a href="https://x.com/a?b=c">', "<img src='dog.jpg' hidden>", "<!-- a -->", "**"],
    "URL": ["https://example.com/a_(b)?q=1&r=2", "http://a.de", "www.example.org/dogs", "example.com/about"],
    "email": ["jane.doe+x@mail.example.org"],
    "code": [
        "`print(x)`", "```\na = 1\n\nb = 2\n```", "<code>x < y</code>", "$x^2$", r"\frac{a}{b}", r"C:\dogs\a.txt",
        r"\n",
    ],
    "name": ["COCO_val2014_000000000139.jpg", "report.pdf", "snake_case_name", "x" * 90],
    "box": ["[0.1, 0.2, 0.3, 0.4]", "(12, 7)"],
    "emoji": ["🙂", "👩‍🚀", "🇩🇪", "❤️"],
}  # fmt: skip
ALL = [(kind, item) for kind, items in KEPT.items() for item in items]

TEXTS = {
    EN: [
        "A dog sits on the grass.",
        "Mr. Smith paid $3.50, i.e. less than 1,000 yen. Why?",
        'She said: "Come in!" Then she left…',
        "the cat isn't here. it's gone",
    ],
    DE: ["Am 3. Oktober ist Feiertag. „Gut!“ Dr. Müller geht.", "Das sind 1.000,5 kg."],
    FR: ["Où est-il ? « Ici ! » dit-elle. L’homme part."],
    ZH: ["这是一只狗。那是猫！“真的吗？”他说。", "价格是3.5元，很便宜。"],
    JA: ["彼は「はい。」と言った。次の日、雨が降った。"],
    TH: ["ผู้ชายคนหนึ่งกำลังขี่ม้าอยู่บนชายหาดในตอนเช้า ผู้หญิงกำลังยืนดูอยู่ข้างๆ ต้นไม้ใหญ่ริมทะเลสีฟ้า"],
    "arb_Arab": ["هل هذا كلب؟ نعم، هذا كلب. عمره ٣ سنوات."],
    "hin_Deva": ["यह कुत्ता है। डॉ. राम आए।"],
    "khm_Khmr": ["នេះជាឆ្កែ។ នោះជាឆ្មា៕"],
}


def texts(code: str, count: int) -> list[str]:
    """Texts of a language with all sorts of things among the words."""
    draw = random.Random(f"{code} 7")
    starts = ["", "", "  ", "\t", "- ", "A. ", "(b) ", "2) ", "# ", "> "]
    between = [" ", " ", "  ", "", "\n", "\r\n", "\n\n  ", "\t", ", ", " (", ") ", "\u00a0", ' "']

    def one() -> str:
        parts = []
        for _ in range(draw.randint(1, 6)):
            words = draw.choice(TEXTS[code])
            if draw.random() < 0.3:
                words = words[draw.randrange(len(words)) :]
            parts.append(draw.choice(starts))
            parts.append(words if draw.random() < 0.6 else draw.choice(ALL)[1])
            parts.append(draw.choice(between))
        return "".join(parts)

    return [one() for _ in range(count)]


@pytest.mark.parametrize("code", TEXTS)
def test_what_was_sent_gives_the_text_again_to_the_character(code: str) -> None:
    for text in texts(code, 400):
        prepared = prepare(text, code)
        assert prepared.restore(prepared.sentences, code) == text
        assert lost(text, text) == []


@pytest.mark.parametrize("code", TEXTS)
def test_nothing_that_must_survive_is_sent(code: str) -> None:
    for text in texts(code, 400):
        for sentence in prepare(text, code).sentences:
            assert any(map(str.isalpha, sentence)), text
            assert sentence == sentence.strip(), text
            assert not re.search(r"[\n\r\t]", sentence), text
            assert {part.kind for part in kept_parts(sentence)} <= {"option", "mark"}, (text, sentence)


@pytest.mark.parametrize("code", TEXTS)
def test_what_is_kept_stands_in_any_translation(code: str) -> None:
    for text in texts(code, 200):
        prepared = prepare(text, code)
        said = [f"Wort {' '.join(re.findall(r'[0-9][0-9.,]*', sentence))}" for sentence in prepared.sentences]
        missing = lost(text, prepared.restore(said, DE))
        assert not [one for one in missing if not one.startswith("number")], text


@pytest.mark.parametrize(("kind", "item"), ALL)
@pytest.mark.parametrize("frame", ["The dog {} barks at it.", "{}, it says", "Look: {}", "“{}”, he said.", "({})"])
def test_each_kind_is_kept_whole_and_missed_when_it_is_gone(kind: str, item: str, frame: str) -> None:
    text = frame.replace("{}", item)
    prepared = prepare(text, EN)
    assert [piece.text for piece in prepared.pieces if piece.kind == kind] == [item]
    assert not any(item in sentence for sentence in prepared.sentences)
    assert lost(text, frame.replace("{}", "")) == [item if kind == "image" else f"{kind} {item}"]
    assert lost(text + " " + text, text) == lost(text, frame.replace("{}", ""))


@pytest.mark.parametrize("item", ["{name}", "<image>", "https://example.com/a", "`x`", "a.b@example.org"])
def test_what_touches_characters_of_scripts_without_spaces_is_kept_too(item: str) -> None:
    assert prepare(f"请看{item}这里。", ZH).sentences == ("请看", "这里。")


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("Which?\nA. red\nB. blue", ["A. ", "B. "]),
        ("(A) red\n  (B) blue", ["(A) ", "(B) "]),
        ("a) red\nb) blue", ["a) ", "b) "]),
        ("- C: red", ["C: "]),
        ("Options: (A) red (B) blue", ["(A)", "(B)"]),
        ("Choose: A. red B. blue C. green", ["A.", "B.", "C."]),
        ("The answer is B.", ["B"]),
        ("J. R. Smith came", []),
        ("I am (sure)", []),
        ("A dog", []),
    ],
)
def test_letters_of_options_are_kept(text: str, letters: list[str]) -> None:
    prepared = prepare(text, EN)
    assert [piece.text for piece in prepared.pieces if piece.kind == "option"] == letters
    for letter in letters:
        assert f"option letter {letter.strip('(). :')}" in lost(text, text.replace(letter, "", 1))


def test_line_breaks_and_indentation_are_missed() -> None:
    assert lost("One.\nTwo.\n  Three.", "Eins. Zwei.\n  Drei.") == ["line break"]
    assert lost("One.\n  Two.", "Eins.\nZwei.") == ["indentation"]
    assert lost("- One\n- Two", "- Eins\nZwei") == ["mark -"]
    assert lost("One.\n\n\tTwo.", "Eins.\n\n\tZwei.") == []


def test_a_text_without_words_is_not_sent() -> None:
    for text in ("", "  ", "12", "3.5 / 7", "A", "<image>", "{name}", "...", "🙂 🙂", "https://a.org", "- \n- "):
        assert prepare(text, EN).sentences == (), text
        assert prepare(text, EN).restore([], ZH).replace(" ", "") == text.replace(" ", "")


def test_a_sentence_is_sent_in_pieces_around_what_stands_in_it() -> None:
    assert prepare("Is {name}'s dog at {n}th place, or {x} here?", EN).sentences == (
        "Is",
        "dog at",
        "place, or",
        "here?",
    )
    assert prepare("The <b>x marks</b> it (see <i>here</i>).", EN).sentences == ("The", "x marks", "it (see", "here")
    assert prepare("Look (at https://a.org/b), then go.", EN).sentences == ("Look (at", "then go.")


def test_numbers_stay_in_their_sentence() -> None:
    assert prepare("It costs 3.50 at 12:30 on 2020-01-05.", EN).sentences == ("It costs 3.50 at 12:30 on 2020-01-05.",)


def test_sentences_are_joined_as_the_target_writes_them() -> None:
    english = prepare("It is red. Is it? Yes.\nNo {name}. Fine.", EN)
    assert english.restore(["是红的。", "是吗？", "是。", "不", "好。"], ZH) == "是红的。是吗？是。\n不 {name}. 好。"
    assert english.restore(["Rot.", "Ja?", "Ja.", "Nein", "Gut."], DE) == "Rot. Ja? Ja.\nNein {name}. Gut."
    assert english.restore(["สีแดง", "ใช่ไหม", "ใช่", "ไม่", "ดี"], TH) == "สีแดง ใช่ไหม ใช่\nไม่ {name}. ดี"
    chinese = prepare("是红的。是吗？{name}，你好。<b>红</b>的", ZH)
    assert chinese.sentences == ("是红的。", "是吗？", "你好。", "红", "的")
    said = ["It is red.", "Is it?", "hello.", "red", "one"]
    assert chinese.restore(said, EN) == "It is red. Is it? {name}, hello. <b>red</b> one"
    assert chinese.restore(["赤い。", "そう？", "やあ。", "赤", "の"], JA) == "赤い。そう？{name}，やあ。<b>赤</b>の"


def test_an_output_can_not_bring_a_line_break_in() -> None:
    prepared = prepare("One.\nTwo.", EN)
    assert prepared.restore(["Eins\n und eins.\n", " Zwei."], DE) == "Eins und eins.\nZwei."


def test_another_number_of_outputs_is_refused() -> None:
    with pytest.raises(ValueError, match="1 outputs for 2"):
        prepare("One. Two.", EN).restore(["Eins."], DE)


def test_long_sentences_are_sent_in_pieces_that_hold_every_word() -> None:
    words = [f"wort{'abcdefghij'[n % 10] * (n % 7)}" + ("," if n % 11 == 10 else "") for n in range(500)]
    text = " ".join(words) + "."
    sent = prepare(text, DE).sentences
    assert " ".join(sent) == text
    assert max(len(one.split()) for one in sent) <= LONGEST_WORDS
    assert max(map(len, sent)) <= LONGEST
    assert sum(one.endswith(",") for one in sent) >= len(sent) // 2, "mostly cut at clauses"
    japanese = "雨が降る" * 300
    sent = prepare(japanese, JA).sentences
    assert "".join(sent) == japanese
    assert max(map(len, sent)) <= LONGEST_UNSPACED


def test_runs_of_marks_that_open_nothing_come_back_whole() -> None:
    for unit in (
        "{",
        "<a ",
        "<a b=",
        "`",
        "$x=",
        "(",
        "[1,",
        "a.",
        "&#",
        "%",
        "__",
        "{a}{",
        "A) ",
        "。",
        "\\(",
        "x@",
        "_",
    ):
        text = unit * 4000
        prepared = prepare(text, EN)
        assert prepared.restore(prepared.sentences, EN) == text


class Counted:
    """A pattern that adds the characters that it looks through to `scanned`."""

    def __init__(self, pattern: re.Pattern[str], scanned: list[int]) -> None:
        self.pattern = pattern
        self.scanned = scanned

    def search(self, text: str, place: int) -> re.Match[str] | None:
        found = self.pattern.search(text, place)
        self.scanned.append((found.end() if found else len(text)) - place)
        return found


@pytest.mark.parametrize("unit", ["<code>", "<!-- a ", "<pre x> ", "<code><pre><!--", "<svg></code>", "``` ~~~ <kbd>"])
def test_openings_that_nothing_closes_are_looked_for_once_to_the_end(
    unit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanned: list[int] = []
    monkeypatch.setattr(kept, "_CLOSINGS", tuple(Counted(one, scanned) for one in kept._CLOSINGS))
    for count in (100, 1000, 2000):
        text = unit * count
        scanned.clear()
        kept_parts(text)
        assert 0 < sum(scanned) <= len(kept._CLOSINGS) * len(text)
    assert not re.search(r"\.[*+]", kept._OPENED.pattern), "no other pattern looks further without a limit"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("<code>a <code>b</code> c</code>", ["<code>a <code>b</code>", "</code>"]),
        ("<code>a <!-- b", ["<code>"]),
        ("<pre>a</code> <code>b</code >", ["<pre>", "</code>", "<code>b</code >"]),
        ("<!-- a <code> --> b </code>", ["<!-- a <code> -->", "</code>"]),
        ("``` a <b>", ["<b>"]),
        ("~~~\na\n~~~ b ~~~", ["~~~\na\n~~~"]),
    ],
)
def test_what_encloses_ends_at_its_first_closing_and_what_is_not_closed_is_a_tag(text: str, parts: list[str]) -> None:
    assert [part.name for part in kept.verbatim_parts(text)] == parts


def test_spaces_without_end_come_back_whole() -> None:
    for text in ("\u00a0(" * 4000 + "dog {a}", "%" + "0" * 4000 + " dogs", " (" * 4000 + "{a}"):
        prepared = prepare(text, EN)
        assert prepared.restore(prepared.sentences, EN) == text
    assert prepare("dog", EN).restore([" Hund \u00a0" + " " * 4000 + "\r\n \n da"], DE) == "Hund da"

"""Reading an option's letter from an answer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.evaluate.conftest import row

from visiglot.errors import EvaluationError
from visiglot.evaluate.metrics.letters import extract_letter, gold_letter, options_of

CARS = ("red car", "cat", "dark red car", "dog")
COLOURS = ("红色", "蓝色", "绿色")


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        *[
            (alone, "B")
            for alone in ("B", "b", " B ", "B.", "B)", "(B)", "[b]", "**B**", "`B`", "B:", "«B»", "“B”", "B。")
        ],
        *[(wide, "B") for wide in ("Ｂ", "Ｂ．", "（Ｂ）", "Ⓑ", "【B】", "\u200fB", "<b>B</b>", "\\boxed{B}", "$B$")],
        *[(other, "B") for other in ("В", "Б", "Β", "ب", "ب.", "ב", "ข", "乙")],
        *[(other, "A") for other in ("А", "Α", "أ", "ا", "الف", "א", "ก", "甲", "ア", "가")],
        *[(other, "C") for other in ("С", "ج", "Γ")],
        *[(other, "D") for other in ("د", "د،", "Δ")],
    ],
)
def test_a_letter_alone_is_the_answer_in_any_dress(answer: str, letter: str) -> None:
    assert extract_letter(answer, CARS, "eng_Latn") == letter


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("Answer: D.", "D"),
        ("The answer is A", "A"),
        ("The answer is A because it is red.", "A"),
        ("The answer is:\nB", "B"),
        ("answer: b", "B"),
        ("The correct answer is (C) dark red car.", "C"),
        ("The final answer is $\\boxed{\\text{C}}$.", "C"),
        ("Option A is wrong. The answer is B.", "B"),
        ("I would choose option C.", "C"),
        ("答案是A", "A"),
        ("答案：B", "B"),
        ("选B", "B"),
        ("我选择 C。", "C"),
        ("正解はDです", "D"),
        ("정답은 B입니다", "B"),
        ("Ответ: B", "B"),
        ("Ответ: В", "B"),
        ("Правильный ответ: С", "C"),
        ("الإجابة: B،", "B"),
        ("الإجابة: ب", "B"),
        ("الإجابة الصحيحة هي ج", "C"),
        ("Cevap A şıkkı", "A"),
        ("B şıkkı", "B"),
        ("Resposta: A", "A"),
        ("A resposta correta é a letra C.", "C"),
        ("La respuesta es la D", "D"),
        ("คำตอบคือ B", "B"),
        ("उत्तर: क", "A"),
    ],
)
def test_a_cue_says_which_letter_is_the_answer(answer: str, letter: str) -> None:
    assert extract_letter(answer, CARS, "eng_Latn") == letter


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B. cat", "B"),
        ("B) cat", "B"),
        ("(B) cat", "B"),
        ("B: cat", "B"),
        ("B cat", "B"),
        ("B.cat", "B"),
        ("**B. cat**", "B"),
        ("B\n\nThe cat sits there.", "B"),
        ("B because it has whiskers", "B"),
        ("C. It is a dark red car, not A or B.", "C"),
        ("B, A cat", "B"),
        ("It is clearly (D), I think", "D"),
    ],
)
def test_a_letter_before_the_words_is_the_answer(answer: str, letter: str) -> None:
    assert extract_letter(answer, CARS, "eng_Latn") == letter


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("cat", "B"),
        ("The cat.", "B"),
        ("A cat", "B"),
        ("A cat is here", "B"),
        ("The answer is A dog", "D"),
        ("red car", "A"),
        ("It is a dark red car", "C"),  # and so not the shorter "red car"
        ("a dog and a cat", None),
        ("catalogue", None),
        ("dogma", None),
    ],
)
def test_an_options_text_is_as_good_as_its_letter(answer: str, letter: str | None) -> None:
    assert extract_letter(answer, CARS, "eng_Latn") == letter


@pytest.mark.parametrize(
    "answer",
    [
        "", " ", "...", "A bird", "A big house", "В корзине кот", "E", "F. bird", "I don't know", "D.C. is the capital",
        "A, B and C", "A/B", "Answer: A or B. Answer: B", "Answer: B or C", "(A) or (B)", "A-frame", "Vitamin C",
        "A. red car B. cat C. dark red car D. dog", "答案是A或B", "B, C", "The answer is A/B",
        "정답은 가방", "คำตอบคือ กรุงเทพ", "答案是甲板", "उत्तर कार", "12", "ABCD", "à",
    ],
)  # fmt: skip
def test_what_names_no_option_or_several_is_a_failure_and_never_a_guess(answer: str) -> None:
    assert extract_letter(answer, CARS, "eng_Latn") is None


@pytest.mark.parametrize(
    ("answer", "letter"),
    [("图中是蓝色的", "B"), ("B选项", "B"), ("绿色和红色", None), ("我认为答案是 A。", "A"), ("蓝 色", "B")],
)
def test_texts_of_options_are_found_without_spaces(answer: str, letter: str | None) -> None:
    assert extract_letter(answer, COLOURS, "zho_Hans") == letter


def test_a_letter_beyond_the_options_is_a_failure() -> None:
    assert extract_letter("D", ("yes", "no"), "eng_Latn") is None
    assert extract_letter("B", ("yes", "no"), "eng_Latn") == "B"


def test_the_right_option_is_given_by_letter_or_by_text() -> None:
    question = replace(row("1", "x", "B"), choices=CARS)
    assert gold_letter(question) == "B"
    assert gold_letter(replace(question, references=("dog",))) == "D"
    with pytest.raises(EvaluationError, match="none of the 4 options"):
        gold_letter(replace(question, references=("bird",)))
    with pytest.raises(EvaluationError, match="has 0 options"):
        gold_letter(replace(question, choices=()))


def test_where_choices_are_letters_the_options_texts_are_a_fact() -> None:
    question = replace(row("1", "x", "B"), choices=("A", "B"), facts={"options": '["cat", "dog"]'})
    assert options_of(question) == ("cat", "dog")
    assert gold_letter(question) == "B"
    with pytest.raises(EvaluationError, match="has 0 options"):
        options_of(replace(question, facts={"options": "cat, dog"}))


@pytest.mark.parametrize(
    "text", ["answer is " * 4000, "(" * 20000, "A, " * 9000, "** " * 9000, "the option " * 3000, " " * 30000]
)
def test_a_model_that_babbles_is_read_to_the_end(text: str) -> None:
    assert extract_letter(text, CARS, "eng_Latn") in (None, *"ABCD")

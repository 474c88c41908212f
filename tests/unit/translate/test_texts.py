"""What of an example is translated, and that a translated example says one thing in one way everywhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from visiglot.translate.texts import has_words, is_label, pieces, texts_of, translated, truth_words
from visiglot.types import Example, ImageRef, ImageSlot, Message, Provenance

GERMAN = "deu_Latn"


def example(*turns: str, facts: dict[str, str] | None = None, **more: Any) -> Example:
    """Turns of user and assistant in turn, the first with a picture."""
    messages = []
    for number, turn in enumerate(turns):
        content = (ImageSlot(0), turn) if number == 0 and turn else (ImageSlot(0),) if number == 0 else (turn,)
        messages.append(Message("assistant" if number % 2 else "user", content))
    values: dict[str, Any] = {"references": (turns[-1],), "provenance": Provenance("set", "CC0-1.0"), **more}
    return Example("7", tuple(messages), "eng_Latn", (ImageRef("a", data=b"a"),), facts=facts or {}, **values)


def into_german(one: Example, *, without: tuple[str, ...] = ()) -> Example:
    """Everything translated as "de:…", but the labels in `without`."""
    texts = texts_of(one)
    whole = {text: f"de:{text}" for text in texts.whole}
    labels = {label: f"de:{label}" for label in texts.labels if label not in without}
    return translated(one, texts, whole, labels, GERMAN, one.provenance)


def words(one: Example) -> list[str]:
    return [message.text for message in one.messages]


def test_a_question_and_its_answer_are_translated_in_facts_and_turns_alike() -> None:
    one = example("What is it?", "a dog", facts={"question": "What is it?", "answer": "a dog"})
    assert texts_of(one).whole == ("What is it?",)
    assert texts_of(one).labels == ("a dog",)
    new = into_german(one)
    assert words(new) == ["de:What is it?", "de:a dog"]
    assert new.facts == {
        "question": "de:What is it?",
        "answer": "de:a dog",
        "source.question": "What is it?",
        "source.answer": "a dog",
    }
    assert (new.id, new.language, new.references) == ("7/deu_Latn", GERMAN, ("de:a dog",))
    assert new.images == one.images
    assert new.messages[0].content[0] == ImageSlot(0)


def test_an_answer_without_a_checked_translation_stays_and_says_its_language() -> None:
    one = example("What is it?", "a bank", facts={"question": "What is it?", "answer": "a bank"})
    new = into_german(one, without=("a bank",))
    assert words(new) == ["de:What is it?", "a bank"]
    assert new.facts["answer"] == "a bank"
    assert new.facts["answer.language"] == "eng_Latn"
    assert new.facts["source.answer"] == "a bank"
    assert new.language == GERMAN


def test_answer_and_choices_stay_together() -> None:
    facts = {"question": "What is it?", "answer": "bank", "choices": "river\nbank\nA. dog\n12"}
    one = example("What is it?", "bank", facts=facts)
    assert texts_of(one).labels == ("bank", "river", "dog")
    assert into_german(one).facts["choices"] == "de:river\nde:bank\nA. de:dog\n12"
    assert into_german(one).facts["answer"] == "de:bank"
    kept = into_german(one, without=("dog",))
    assert kept.facts["choices"] == facts["choices"]
    assert kept.facts["answer"] == "bank"
    assert kept.facts["choices.language"] == kept.facts["answer.language"] == "eng_Latn"


def test_choices_that_would_become_one_stay() -> None:
    one = example("What is it?", "boat", facts={"question": "What is it?", "answer": "boat", "choices": "boat\nship"})
    texts = texts_of(one)
    new = translated(one, texts, {"What is it?": "?"}, {"boat": "das Boot", "ship": "Das Boot"}, GERMAN, one.provenance)
    assert (new.facts["choices"], new.facts["answer"]) == ("boat\nship", "boat")
    assert new.facts["choices.language"] == "eng_Latn"


def test_choices_listed_in_a_turn_are_one_text_each_and_so_is_the_answer() -> None:
    asked = "Which one?\nA. a big dog\nB. a cat\nAnswer with the letter."
    new = into_german(example(asked, "B. a cat"))
    assert words(new) == ["de:Which one?\nA. de:a big dog\nB. de:a cat\nde:Answer with the letter.", "B. de:a cat"]
    facts = {"question": asked, "answer": "a cat"}
    one = example(asked, "a cat", facts=facts)
    assert texts_of(one).labels == ()
    assert into_german(one).facts["answer"] == "de:a cat"
    assert words(into_german(example(asked, "B")))[1] == "B"


@pytest.mark.parametrize("text", ["12", "3.5", "B", "n01440764", "img_12", "000123.jpg", "…", ""])
def test_numbers_identifiers_and_letters_are_never_translated(text: str) -> None:
    assert not has_words(text)
    new = into_german(example("What is it?", text, facts={"question": "What is it?", "answer": text}))
    assert new.facts["answer"] == text
    assert "answer.language" not in new.facts
    assert words(new)[1] == text


@pytest.mark.parametrize("text", ["a dog", "red", "3匹の犬", "it", "2 dogs"])
def test_words_are(text: str) -> None:
    assert has_words(text)


LATE = "Because the cab is late today."


def test_an_answer_of_any_length_is_one_with_its_choices() -> None:
    facts = {"question": "Why?", "answer": LATE, "choices": f"{LATE}\nIt is on time."}
    one = example("Why?", LATE, facts=facts)
    assert texts_of(one).groups == {("answer", "choices"): (LATE, "It is on time.")}
    assert LATE not in texts_of(one).whole
    new = into_german(one, without=(LATE,))
    assert (new.facts["answer"], words(new)[1]) == (LATE, LATE)
    assert new.facts["answer.language"] == new.facts["choices.language"] == "eng_Latn"
    assert "question.language" not in new.facts


def test_whatever_has_a_label_in_common_stays_with_it() -> None:
    facts = {"label": "dog", "answer": "dog", "choices": "dog\ncat", "caption": "dog", "note": "A dog runs."}
    new = into_german(example("", "dog", facts=facts), without=("cat",))
    assert {name for name in facts if f"{name}.language" in new.facts} == {"label", "answer", "choices", "caption"}
    assert all(new.facts[name] == facts[name] for name in ("label", "answer", "choices", "caption"))
    assert new.facts["note"] == "de:A dog runs."
    assert words(new)[1] == "dog"
    assert set(texts_of(example("", "dog", facts=facts)).groups) == {("answer", "choices", "label")}


@pytest.mark.parametrize("answer", ["Red.", "red", "RED"])
def test_an_answer_is_the_choice_that_it_is_but_for_capitals_and_punctuation(answer: str) -> None:
    one = example("Which?", answer, facts={"question": "Which?", "answer": answer, "choices": "Red\nBlue"})
    assert texts_of(one).labels == ("Red", "Blue")
    new = into_german(one)
    assert (new.facts["answer"], words(new)[1]) == ("de:Red", "de:Red")
    assert new.facts["answer"] in new.facts["choices"].splitlines()
    kept = into_german(one, without=("Blue",))
    assert (kept.facts["answer"], words(kept)[1], kept.facts["answer.language"]) == (answer, answer, "eng_Latn")


def test_an_answer_is_no_choice_of_another_number() -> None:
    one = example("How far?", "35 km", facts={"question": "How far?", "answer": "35 km", "choices": "3.5 km\n1 km"})
    assert into_german(one).facts["answer"] == "de:35 km"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("Which side? (A) left (B) right", "de:Which side? (A) de:left (B) de:right"),
        ("Which side? A. left, B. right.", "de:Which side? A. de:left, B. de:right."),
        ("Look here.\nIs it a) left b) right?\nTell me.", "de:Look here.\nIs it a) de:left b) de:right?\nde:Tell me."),
    ],
)
def test_choices_within_a_line_are_one_text_each_and_so_is_the_answer(asked: str, said: str) -> None:
    one = example(asked, "Left", facts={"question": asked, "answer": "left"})
    assert texts_of(one).labels == ()
    new = into_german(one)
    assert words(new) == [said, "de:left"]
    assert (new.facts["question"], new.facts["answer"]) == (said, "de:left")


def test_a_persons_initials_are_no_choices() -> None:
    assert [piece.words for piece in pieces("A photo by A. B. Smith")] == ["A photo by A. B. Smith"]


def test_a_short_answer_of_a_conversation_is_a_turn_as_any_other() -> None:
    for task in ("conversation", "instruction"):
        one = example("Sit down.", "ok then", facts={"question": "Sit down.", "answer": "ok then"}, task=task)
        assert (texts_of(one).labels, texts_of(one).whole) == ((), ("Sit down.", "ok then"))
        assert words(into_german(one)) == ["de:Sit down.", "de:ok then"]
    assert texts_of(replace(one, task="vqa")).labels == ("ok then",)


def test_codes_classes_and_what_is_in_a_language_of_its_own_stay() -> None:
    facts = {"label": "entailment", "premise": "a dog", "hypothesis": "an animal"}
    assert into_german(example("x y", "yes", facts=facts, task="entailment")).facts["label"] == "entailment"
    nlvr = example(
        "Both are dogs.", "yes", facts={"statement": "Both are dogs.", "label": "true", "answer": "yes"}, task="nlvr2"
    )
    new = into_german(nlvr)
    assert (new.facts["label"], new.facts["answer"], "answer.language" in new.facts) == ("true", "yes", False)
    assert words(new) == ["de:Both are dogs.", "de:yes"]
    facts = {"label": "tench", "class": "n01440764", "note": "ein Fisch", "note.language": GERMAN, "source.x": "y z"}
    new = into_german(example("", "tench", facts=facts))
    assert new.facts == {**facts, "label": "de:tench", "source.label": "tench"}


@pytest.mark.parametrize(
    ("name", "text", "label"),
    [
        ("answer", "a red fire truck", True),
        ("answer", "a very big red fire truck", False),
        ("answer", "Yes.", False),
        ("label", "a very big red fire truck", True),
        ("caption", "dog", False),
        ("question", "Dog?", False),
    ],
)
def test_what_a_label_is(name: str, text: str, label: bool) -> None:
    assert is_label(name, text) is label


def test_spaces_around_words_stay() -> None:
    assert words(into_german(example(" What is it?\n", "\ta dog sits there. "))) == [
        " de:What is it?\n",
        "\tde:a dog sits there. ",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\n",
        "A. x y\nB. z w\n\nend",
        "1) one two\n2) three\n",
        "(a) dog\r\n(b) cat",
        "Which? (A) a dog, (B) a cat. \nend",
        "A. x y B. z w",
        " a) b) c) ",
    ],
)
def test_pieces_joined_are_the_text(text: str) -> None:
    assert "".join(piece.before + piece.words + piece.after for piece in pieces(text)) == text


def test_references_are_all_there_or_the_answer_alone_and_say_so() -> None:
    facts = {"question": "What is it?", "answer": "net"}
    whole = into_german(example("What is it?", "net", facts=facts, references=("net", "net", "12")))
    assert whole.references == ("de:net", "de:net", "12")
    assert "source.references" not in whole.facts
    part = into_german(example("What is it?", "net", facts=facts, references=("net", "mesh", "net", "12")))
    assert part.references == ("de:net",), "not three of four"
    assert part.facts["source.references"] == "net\nmesh\nnet\n12"
    stays = into_german(example("What is it?", "net", facts=facts, references=("net", "mesh")), without=("net",))
    assert (stays.references, stays.facts["answer.language"]) == (("net",), "eng_Latn")
    other = into_german(example("What is it?", "net", facts=facts, references=("mesh",)))
    assert other.references == ()


def test_yes_and_no_are_the_tables_words() -> None:
    assert truth_words(["yes", "No", "maybe"], "eng_Latn", GERMAN) == {"yes": "ja", "No": "nein"}
    assert truth_words(["yes"], "eng_Latn", "ibo_Latn") == {}


def test_what_is_translated_from_another_language_says_so() -> None:
    facts = {"question": "Was ist das?", "answer": "ein Hund"}
    one = replace(example("Was ist das?", "ein Hund", facts=facts), language=GERMAN)
    new = translated(one, texts_of(one), {"Was ist das?": "x"}, {"ein Hund": "y"}, "fra_Latn", one.provenance)
    assert new.facts["source.language"] == GERMAN

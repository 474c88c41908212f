"""Tasks in one language: what goes with what (mBLIP's B1, B1b, B1c, B8 and B13's second half)."""

from __future__ import annotations

from collections import Counter

import pytest
from tests.facts import LANGUAGES, Facts, answer_of, every_fact, prompt_of

from visiglot.data.tasks import tasked
from visiglot.data.tasks.templates import load_templates
from visiglot.errors import DataError
from visiglot.languages import ENGLISH, all_languages
from visiglot.types import Example, ImageSlot, Message

GERMAN = "deu_Latn"


@pytest.mark.parametrize("task", ["vqa", "vqg", "explanation", "rationale", "mvqa", "ep-vqa", "bvqa"])
def test_question_answer_and_picture_are_of_one_example(task: str) -> None:
    """mBLIP asked for a question by the answer of another one (B1)."""
    raw = every_fact()
    source = tasked(raw, task, {}, 0)
    for indices in source.by_language.values():
        for index in indices.tolist():
            number = index // len(LANGUAGES)
            example = source[index]
            assert example.images == raw[index].images
            words = f"{prompt_of(example)} {answer_of(example)}"
            for kind in ("question", "answer", "rationale"):
                told = [word.strip("?.,:;)”") for word in words.split(f"{kind} ")[1:]]
                numbers = {word.split()[0].strip("?.,:;)”") for word in told if word[:1].isdigit()}
                assert numbers <= {str(number)}


@pytest.mark.parametrize(("task", "target"), [("vqa", "answer"), ("vqg", "question"), ("mvqa", "answer")])
def test_the_language_named_is_that_of_the_target(task: str, target: str) -> None:
    """mBLIP named the answer's language for a question (B1b), and another than the answer's (B1c)."""
    source = tasked(every_fact(), task, {}, 0)
    names = {row.code: row.name for row in all_languages()}
    for code, indices in source.by_language.items():
        for index in indices.tolist():
            example = source[index]
            assert example.language == code
            assert answer_of(example).startswith(f"{code} {target}")
            assert names[code] in prompt_of(example)


def test_a_target_that_says_to_be_in_another_language_is_refused() -> None:
    """Where question and answer are in two languages, neither is taken for the other's (B1b, B1c)."""
    mixed = {"question": "Was ist das?", "answer": "a dog"}
    german = Facts([(GERMAN, {**mixed, "answer.language": ENGLISH})])
    english = Facts([(ENGLISH, {**mixed, "question.language": GERMAN})])
    with pytest.raises(DataError, match="is in deu_Latn, but its answer is in eng_Latn"):
        tasked(german, "vqa", {}, 0)
    with pytest.raises(DataError, match="is in eng_Latn, but its question is in deu_Latn"):
        tasked(english, "vqg", {}, 0)


@pytest.mark.parametrize(("alias", "name"), [("iw", "Hebrew"), ("fa", "Persian"), ("bn", "Bengali")])
def test_languages_are_called_as_in_the_table(alias: str, name: str) -> None:
    """mBLIP's names were "former Hebrew", "Farsi" and "Bangla" in turn (B8)."""
    row = next(row for row in all_languages() if alias in (row.bcp47, *row.aliases))
    source = tasked(every_fact((row.code,), 12), "caption", {}, 0)
    assert row.name == name
    assert all(name in prompt_of(source[index]) for index in range(12))


def test_both_chinese_scripts_are_named_apart() -> None:
    source = tasked(every_fact(("zho_Hans", "zho_Hant"), 6), "caption", {}, 0)
    words = {code: {prompt_of(source[int(i)]) for i in indices} for code, indices in source.by_language.items()}
    assert not words["zho_Hans"] & words["zho_Hant"]


def test_a_reasoned_answer_says_the_answer_once_and_the_reason_once() -> None:
    """One of mBLIP's forms said "A because A" (B13)."""
    source = tasked(every_fact(), "rationale", {}, 0)
    for code, indices in source.by_language.items():
        for index in indices.tolist():
            target = answer_of(source[index])
            number = index // len(LANGUAGES)
            assert target.count(f"{code} answer {number}") == 1
            assert target.count(f"{code} rationale {number}") == 1


def test_each_form_of_a_reasoned_answer_meets_each_form_of_the_question() -> None:
    raw = every_fact((GERMAN,), 50)
    source = tasked(raw, "rationale", {}, 0)
    pairs: Counter[tuple[str, str]] = Counter()
    for index in range(50):
        example = source[index]
        facts = example.facts
        answer = answer_of(example).replace(facts["answer"], "A").replace(facts["rationale"], "R")
        pairs[prompt_of(example).replace(facts["question"], "Q"), answer] += 1
    assert set(pairs.values()) == {2}
    assert len(pairs) == 25
    assert {answer for _, answer in pairs} == {
        form.replace("{answer}", "A").replace("{rationale}", "R")
        for form in load_templates()["rationale"].answers[GERMAN]
    }


def test_references_stay_where_the_answer_is_one_of_them() -> None:
    class Several(Facts):
        def __getitem__(self, index: int) -> Example:
            raw = super().__getitem__(index)
            return Example(
                raw.id, raw.messages, raw.language, raw.images, ("dog", "a dog"), raw.provenance, facts=raw.facts
            )

    raw = Several([(ENGLISH, {"question": "What?", "answer": "dog"})])
    assert tasked(raw, "vqa", {}, 0)[0].references == ("dog", "a dog")
    assert tasked(raw, "vqg", {}, 0)[0].references == ("What?",)


class Turned(Facts):
    """Examples with given turns."""

    def __init__(self, *messages: Message, caption: str | None = None) -> None:
        super().__init__([(GERMAN, {"caption": caption} if caption else {})])
        self.messages = messages

    def __getitem__(self, index: int) -> Example:
        raw = super().__getitem__(index)
        return Example(raw.id, self.messages, raw.language, raw.images, provenance=raw.provenance, facts=raw.facts)


ASKED = Message("user", (ImageSlot(0), "Beschreibe das Bild."))
BARE = Message("user", (ImageSlot(0),))
TOLD = Message("assistant", ("Ein Hund, …",))


@pytest.mark.parametrize("task", ["conversation", "detail"])
def test_turns_with_an_instruction_stay_as_they_are(task: str) -> None:
    turns = (ASKED, TOLD, Message("user", ("Und?",)), Message("assistant", ("Nichts.",)))
    example = tasked(Turned(*turns, caption="anders"), task, {}, 0)[0]
    assert example.messages == turns
    assert example.task == task


def test_a_detailed_caption_without_an_instruction_gets_one() -> None:
    example = tasked(Turned(BARE, TOLD, caption="Ein Hund, …"), "detail", {}, 0)[0]
    assert "German" in prompt_of(example)
    assert answer_of(example) == "Ein Hund, …"
    native = tasked(Turned(BARE, TOLD, caption="Ein Hund, …"), "detail", {"prompts": "native"}, 0)[0]
    assert prompt_of(native) == load_templates()["detail"].native[GERMAN][0]


def test_a_detailed_caption_with_neither_instruction_nor_caption_is_refused() -> None:
    with pytest.raises(DataError, match="'caption'"):
        tasked(Turned(BARE, TOLD), "detail", {}, 0)


@pytest.mark.parametrize("task", ["conversation", "detail"])
def test_turns_without_an_answer_are_refused(task: str) -> None:
    with pytest.raises(DataError, match="has no answer to its last turn"):
        tasked(Turned(ASKED), task, {}, 0)[0]


def test_a_task_without_words_for_any_language_says_so() -> None:
    with pytest.raises(DataError, match="task caption can't be set in ibo_Latn"):
        tasked(every_fact(("ibo_Latn",), 3), "caption", {"prompts": "native"}, 0)


def test_a_source_without_examples_in_the_languages_asked_for_stays_one() -> None:
    raw = Facts(every_fact((GERMAN,), 3).rows, languages=(ENGLISH,))
    for task in ("caption", "matching", "bvqa", "ep-vqa", "conversation", "detail"):
        assert dict(tasked(raw, task, {}, 0).by_language) == {}

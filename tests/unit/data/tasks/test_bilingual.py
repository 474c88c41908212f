"""LRM-LLaVA's tasks between a language and English."""

from __future__ import annotations

import numpy as np
import pytest
from tests.facts import LANGUAGES, Facts, answer_of, every_fact, prompt_of

from visiglot.data.tasks import tasked
from visiglot.data.tasks.pivot import parse_pivot, pivot_target
from visiglot.errors import DataError
from visiglot.languages import ENGLISH, all_languages

GERMAN, SWAHILI = "deu_Latn", "swh_Latn"
NAMES = {row.code: row.name for row in all_languages()}


def test_the_pivots_target_is_the_english_question_and_the_answer_in_the_language() -> None:
    source = tasked(every_fact(), "ep-vqa", {}, 0)
    assert set(source.by_language) == set(LANGUAGES) - {ENGLISH}
    for code, indices in source.by_language.items():
        for index in indices.tolist():
            example, number = source[index], index // len(LANGUAGES)
            assert example.language == code
            assert f"{code} question {number}?" in prompt_of(example)
            assert "English" in prompt_of(example)
            assert NAMES[code] in prompt_of(example)
            assert parse_pivot(answer_of(example)) == (f"source question {number}?", f"{code} answer {number}")


@pytest.mark.parametrize(
    ("question", "parsed"),
    [
        ("What  is\nthis? ", "What is this?"),
        ("Is a || b true?", "Is a | b true?"),
        ("a ||| b", "a | b"),
        ("a ||", "a"),
        ("p | q", "p | q"),
    ],
)
def test_a_target_is_taken_apart_again_whatever_the_question(question: str, parsed: str) -> None:
    for answer in ("ein Hund", "a || b", "|x|"):
        assert parse_pivot(pivot_target(question, answer)) == (parsed, answer)


@pytest.mark.parametrize("text", ["", "a dog", "question? ||", "|| answer", "question? | answer"])
def test_what_isnt_both_is_no_pivot(text: str) -> None:
    assert parse_pivot(text) is None


@pytest.mark.parametrize("count", [1, 2, 100, 101])
def test_half_of_each_language_is_answered_in_english(count: int) -> None:
    source = tasked(every_fact(count=count), "bvqa", {}, 3)
    others = [code for code in LANGUAGES if code != ENGLISH]
    kept = {code: len(source.by_language.get(code, ())) for code in others}
    assert all(abs(2 * n - count) <= 1 for n in kept.values())
    assert len(source.by_language.get(ENGLISH, ())) == len(others) * count - sum(kept.values())


def test_question_and_answer_are_in_two_languages_of_which_one_is_english() -> None:
    source = tasked(every_fact(), "bvqa", {}, 3)
    for answered, indices in source.by_language.items():
        for index in indices.tolist():
            example, number = source[index], index // len(LANGUAGES)
            own = LANGUAGES[index % len(LANGUAGES)]
            assert example.language == answered
            words = prompt_of(example)
            if answered == ENGLISH:
                assert f"{own} question {number}?" in words
                assert answer_of(example) == f"source answer {number}"
            else:
                assert answered == own
                assert f"source question {number}?" in words
                assert answer_of(example) == f"{own} answer {number}"
            assert NAMES[answered] in words


def test_directions_differ_by_seed_and_have_no_pattern() -> None:
    raw = every_fact((GERMAN,), 400)
    one, other = (tasked(raw, "bvqa", {}, seed).by_language[GERMAN] for seed in (0, 1))
    assert one.tolist() != other.tolist()
    assert abs(np.mean(one % 2) - 0.5) < 0.15


def test_finding_the_languages_reads_one_example() -> None:
    class Counting(Facts):
        read = 0

        def __getitem__(self, index: int) -> object:  # type: ignore[override]
            self.read += 1
            return super().__getitem__(index)

    raw = Counting(every_fact((GERMAN, SWAHILI), 500).rows)
    source = tasked(raw, "bvqa", {}, 0)
    assert sum(map(len, source.by_language.values())) == 1000
    assert raw.read <= 4


def test_native_prompts_ask_for_english_in_the_questions_language() -> None:
    source = tasked(every_fact(), "bvqa", {"prompts": "native"}, 0)
    german = [source[int(i)] for i in source.by_language[ENGLISH] if LANGUAGES[i % len(LANGUAGES)] == GERMAN]
    assert german
    assert all(prompt_of(example).endswith("Antworte auf Englisch.") for example in german)


def test_numbers_stay_as_they_are() -> None:
    facts = {"question": "Wie viele?", "answer": "12.5", "source.question": "How many?"}
    raw = Facts([(GERMAN, facts)] * 10)
    source = tasked(raw, "bvqa", {}, 0)
    assert {answer_of(source[index]) for index in range(10)} == {"12.5"}
    assert {source[index].language for index in range(10)} == {GERMAN, ENGLISH}


@pytest.mark.parametrize(("task", "fact"), [("bvqa", "answer"), ("ep-vqa", "question"), ("bvqa", "question")])
def test_an_example_that_isnt_translated_is_refused(task: str, fact: str) -> None:
    facts = {"question": "Was?", "answer": "Hund", "source.question": "What?", "source.answer": "dog"}
    del facts[f"source.{fact}"]
    with pytest.raises(DataError, match=rf"'source.{fact}', which the task needs: it isn't translated"):
        tasked(Facts([(GERMAN, facts)]), task, {}, 0)


@pytest.mark.parametrize("task", ["bvqa", "ep-vqa"])
def test_english_alone_is_refused(task: str) -> None:
    with pytest.raises(DataError, match=f"task {task} can't be set in eng_Latn"):
        tasked(every_fact((ENGLISH,), 3), task, {}, 0)


def test_a_translation_from_another_language_is_refused() -> None:
    facts = {"question": "Was?", "answer": "Hund", "source.question": "Quoi ?", "source.answer": "chien"}
    with pytest.raises(DataError, match="was translated from fra_Latn"):
        tasked(Facts([(GERMAN, {**facts, "source.language": "fra_Latn"})]), "bvqa", {}, 0)

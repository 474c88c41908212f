"""Picture tasks asked of a language model: the English name in the picture's place."""

from __future__ import annotations

from collections import Counter

import pytest
from tests.unit.data.nano.test_tasks import PICTURE_TASKS, TEXT_ONLY, TEXT_TASKS, examples, make

from visiglot.data.nano.content import TASKS, yes_no
from visiglot.data.nano.load import NanoData
from visiglot.errors import DataError
from visiglot.types import Example


def words_of(example: Example) -> str:
    """The prompt, which must be text alone."""
    assert example.images == ()
    (words,) = example.messages[0].content
    assert isinstance(words, str)
    return words


@pytest.mark.parametrize("task", PICTURE_TASKS)
def test_as_text_the_english_name_stands_where_the_picture_would(data: NanoData, task: str) -> None:
    for example in examples(make(data, task, as_text=True)):
        assert words_of(example).endswith(f" {data.concepts[example.group].english}")


@pytest.mark.parametrize("task", ["caption", "category", "country"])
def test_as_text_nothing_else_of_a_question_changes(data: NanoData, task: str) -> None:
    pictured = examples(make(data, task, "test"))
    as_text = examples(make(data, task, "test", as_text=True))
    for one, other in zip(pictured, as_text, strict=True):
        assert words_of(other) == f"{one.messages[0].text} {data.concepts[one.group].english}"
        assert (other.group, other.language, other.references) == (one.group, one.language, one.references)


@pytest.mark.parametrize("task", PICTURE_TASKS)
def test_as_text_a_picture_task_trains_every_language_that_has_its_words_and_every_concept(
    data: NanoData, task: str
) -> None:
    source = make(data, task, as_text=True)
    has_words = {code for code, names in data.names.items() if len(TASKS[task].concepts(data, code, list(names))) > 3}
    assert set(source.by_language) == has_words
    assert TEXT_ONLY & has_words or task in ("category", "country")
    if task != "country":  # no flag is held out
        assert data.held_out & {example.group for example in examples(source)}


def test_as_text_an_evaluation_split_keeps_its_concepts_and_may_ask_in_every_language(data: NanoData) -> None:
    source = make(data, "caption", "dev", as_text=True)
    assert {example.group for example in examples(source)} == set(data.concepts) - data.held_out
    assert set(source.by_language) == set(data.languages)
    assert all(example.references and words_of(example) for example in examples(source))


def test_captioning_as_text_is_the_name_task(data: NanoData) -> None:
    named, captioned = examples(make(data, "name")), examples(make(data, "caption", as_text=True))
    assert [example.messages for example in captioned] == [example.messages for example in named]
    assert [example.id.replace("/caption", "/name") for example in captioned] == [example.id for example in named]


@pytest.mark.parametrize("task", TEXT_TASKS)
def test_as_text_changes_no_text_task(data: NanoData, task: str) -> None:
    assert examples(make(data, task, as_text=True)) == examples(make(data, task))


@pytest.mark.parametrize("task", PICTURE_TASKS)
def test_ids_as_text_are_unique_say_so_and_are_no_picture_examples(data: NanoData, task: str) -> None:
    ids = [example.id for example in examples(make(data, task, as_text=True))]
    assert len(set(ids)) == len(ids)
    assert {id.split("/")[1] for id in ids} == {"text"}


def test_matching_as_text_asks_of_the_right_and_of_a_wrong_name(data: NanoData) -> None:
    names = {(language, n.text): id for language, own in data.names.items() for id, n in own.items()}
    answers: Counter[tuple[str, str]] = Counter()
    for example in examples(make(data, "matching", as_text=True)):
        words = yes_no(data, example.language)
        assert words is not None
        said = words_of(example).removeprefix("Is this ").rpartition(" in ")[0]
        right = names[example.language, said] == example.group
        assert example.messages[1].text == (words.yes if right else words.no)
        answers[example.language, "yes" if right else "no"] += 1
    assert all(answers[code, "yes"] == answers[code, "no"] > 0 for code, _ in answers)


def test_as_text_there_is_no_picture_to_control(data: NanoData) -> None:
    with pytest.raises(DataError, match="no-image"):
        make(data, "caption", "test", as_text=True, control="no-image")

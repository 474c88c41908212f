"""The task whose prompt the recipe writes, and that fine-tuning asks as the benchmarks do."""

from __future__ import annotations

from typing import Any

import pytest
from tests.facts import Facts, answer_of, prompt_of

from visiglot.benchmarks.wording import asked, words
from visiglot.config import load_recipe
from visiglot.data.tasks import tasked
from visiglot.errors import DataError
from visiglot.languages import ENGLISH
from visiglot.types import Example


def write(facts: dict[str, str], code: str = ENGLISH, pictures: int = 1, **options: Any) -> Example:
    return tasked(Facts([(code, facts)], pictures=pictures), "prompted", options, 0)[0]


def test_facts_the_language_and_its_words_are_filled_in_once() -> None:
    facts = {"question": "Is {language} it?", "answer": "ja"}
    example = write(facts, "deu_Latn", prompt="{question} In {language}, {yes} or {no}:")
    assert prompt_of(example) == "Is {language} it? In German, ja or nein:"
    assert answer_of(example) == "ja"


def test_any_fact_may_answer() -> None:
    example = write({"caption": "A cat."}, prompt="Caption in {language}: ", answer="caption")
    assert (answer_of(example), example.references) == ("A cat.", ("A cat.",))


def test_a_fact_that_is_missing_is_named_when_the_source_is_opened() -> None:
    source = Facts([(ENGLISH, {"question": "Why?", "answer": "so"})])
    with pytest.raises(DataError, match="has no fact 'statement'"):
        tasked(source, "prompted", {"prompt": "{statement}"}, 0)
    with pytest.raises(DataError, match="has no fact 'caption'"):
        tasked(source, "prompted", {"answer": "caption"}, 0)


def test_languages_without_the_words_that_the_prompt_has_are_left_out() -> None:
    rows = [(code, {"question": "?", "answer": "!"}) for code in (ENGLISH, "ibo_Latn")]
    assert set(tasked(Facts(rows), "prompted", {"prompt": "{question} {yes}?"}, 0).by_language) == {ENGLISH}
    assert set(tasked(Facts(rows), "prompted", {"prompt": "{question}"}, 0).by_language) == {ENGLISH, "ibo_Latn"}


@pytest.mark.parametrize(
    ("name", "benchmark", "facts", "pictures"),
    [
        ("finetune-xgqa", "xgqa", {"question": "What is it?", "answer": "cat"}, 1),
        ("finetune-xvnli", "xvnli", {"hypothesis": "A cat sits.", "answer": "maybe"}, 1),
        ("finetune-marvl", "marvl", {"statement": "Both are cats.", "answer": "yes"}, 2),
        ("finetune-flickr", "xm3600", {"caption": "A cat."}, 1),
    ],
)
def test_fine_tuning_asks_as_the_benchmark_does(
    name: str, benchmark: str, facts: dict[str, str], pictures: int
) -> None:
    recipe = load_recipe(name)
    (source,) = recipe.data.sources
    trained = write(facts, pictures=pictures, **source.task_options)
    said = words(benchmark, recipe.evaluate.prompts or "", ENGLISH)
    values = {**said, **facts, "statement": facts.get("hypothesis", facts.get("statement", ""))}
    assert trained.messages[0] == asked(said["ask"], values, pictures)[0]
    assert recipe.evaluate.benchmarks == ("xflickrco" if benchmark == "xm3600" else benchmark,)  # which share words


@pytest.mark.parametrize("name", ["xgqa", "xvnli", "marvl", "xflickrco"])
def test_fine_tuning_is_evaluated_in_every_language_of_the_benchmark(name: str) -> None:
    from importlib import import_module

    recipe = load_recipe("finetune-flickr" if name == "xflickrco" else f"finetune-{name}")
    languages = recipe.evaluate.languages
    assert isinstance(languages, tuple)
    assert set(languages) == {ENGLISH, *import_module(f"visiglot.benchmarks.{name}").LANGUAGES}

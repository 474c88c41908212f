"""Every row of the table of tasks, and every template of templates.toml."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from tests.facts import LANGUAGES, Facts, answer_of, every_fact, prompt_of, with_answers

from visiglot.data.source import Source
from visiglot.data.tasks import TASKS, TaskSource, task_problems, tasked
from visiglot.data.tasks.choice import ChoiceName
from visiglot.data.tasks.formats import FORMATS
from visiglot.data.tasks.templates import ANY, PromptSet, Templates, fields_of, load_templates
from visiglot.errors import ConfigError, DataError, UnknownNameError
from visiglot.languages import ENGLISH, all_languages
from visiglot.types import ImageSlot

NAMES = TASKS.names()
WRITTEN = [name for name in NAMES if name not in ("conversation", "prompted", "lrm")]
"""Tasks that have templates."""

NEEDS = {
    "caption": {"caption"},
    "detail": {"caption"},
    "vqa": {"question", "answer"},
    "vqg": {"question", "answer"},
    "explanation": {"question", "answer", "rationale"},
    "rationale": {"question", "answer", "rationale"},
    "matching": {"caption"},
    "imagenet-name": {"label"},
    "imagenet-decide": {"label"},
    "nlvr2": {"statement", "answer"},
    "mvqa": {"question", "answer"},
    "ep-vqa": {"question", "answer", "source.question"},
    "bvqa": {"question", "answer", "source.question", "source.answer"},
}
SHOWN = {
    "detail": set(),
    "vqg": {"answer"},
    "explanation": {"question", "answer"},
    "matching": {"caption"},
    "imagenet-decide": {"label"},
    "nlvr2": {"statement"},
} | {name: {"question"} for name in ("vqa", "rationale", "mvqa", "ep-vqa", "bvqa")}
"""Facts that a prompt must have; of other tasks none."""

DECISIONS = ("matching", "imagenet-decide", "nlvr2")
BETWEEN_LANGUAGES = ("ep-vqa", "bvqa")


def facts_for(name: str, count: int = 101, languages: tuple[str, ...] = LANGUAGES, **options: Any) -> Facts:
    source = every_fact(languages, count, pictures=2 if name == "nlvr2" else 1, **options)
    return with_answers(source, ("true", "false", "false")) if name == "nlvr2" else source


def opened(name: str, seed: int = 0, **options: Any) -> Source:
    return tasked(facts_for(name), name, options, seed)


def options_of(name: str) -> list[str]:
    return [key for key in inspect.signature(TASKS.get(name)).parameters if key not in ("source", "seed")]


def test_the_table_is_what_the_tests_know() -> None:
    assert sorted(NEEDS) == sorted(WRITTEN)
    assert sorted(load_templates()) == sorted(WRITTEN)


@pytest.mark.parametrize("name", NAMES)
class TestTask:
    def test_its_options_are_closed_and_typed(self, name: str) -> None:
        assert all(
            p.kind is inspect.Parameter.KEYWORD_ONLY for p in inspect.signature(TASKS.get(name)).parameters.values()
        )
        assert task_problems(name, {}) == []
        assert "no such key" in task_problems(name, {"promts": "english"})[0]
        for key in options_of(name):
            problems = task_problems(name, {key: ["nonsense"]})
            assert len(problems) == 1
            assert problems[0].startswith(f"task_options.{key}: ")
        with pytest.raises(ConfigError, match=r"task_options\.promts"):
            opened(name, promts="english")

    def test_it_is_a_source_of_the_same_numbers(self, name: str) -> None:
        raw = facts_for(name)
        source = tasked(raw, name, {}, 3)
        assert isinstance(source, Source)
        assert isinstance(source, TaskSource)
        assert source.name == f"facts/{name}"
        assert len(source) == len(raw)
        with pytest.raises(IndexError):
            source[len(source)]
        with pytest.raises(IndexError):
            source[-1]

    def test_by_language_is_the_language_of_each_answer(self, name: str) -> None:
        source = opened(name)
        assert source.by_language
        found = np.concatenate(list(source.by_language.values()))
        assert len(set(found.tolist())) == len(found)
        for code, indices in source.by_language.items():
            assert len(indices)
            assert (np.diff(indices) > 0).all()
            assert {source[int(index)].language for index in indices} == {code}

    def test_what_isnt_in_by_language_cant_be_had(self, name: str) -> None:
        source = opened(name)
        left_out = set(range(len(source))) - set(np.concatenate(list(source.by_language.values())).tolist())
        for index in left_out:
            with pytest.raises(DataError, match=f"facts/{index}, task {name}"):
                source[index]

    def test_examples_depend_on_options_seed_and_number_alone(self, name: str) -> None:
        one, other = opened(name, seed=5), opened(name, seed=5)
        indices = np.concatenate(list(one.by_language.values())).tolist()
        backwards = {index: other[index] for index in reversed(indices)}
        assert {index: one[index] for index in indices} == backwards

    def test_examples_keep_what_they_are(self, name: str) -> None:
        raw = facts_for(name)
        source = tasked(raw, name, {}, 0)
        for index in np.concatenate(list(source.by_language.values())).tolist()[:40]:
            before, after = raw[index], source[index]
            assert after.task in (FORMATS if name == "lrm" else (name,))
            assert (after.id, after.images, after.facts) == (before.id, before.images, before.facts)
            assert after.provenance == before.provenance
            slots = [p.index for m in after.messages for p in m.content if isinstance(p, ImageSlot)]
            assert slots == list(range(len(after.images)))
            assert [m.role for m in after.messages] == ["user", "assistant"]
            assert answer_of(after).strip()
            assert answer_of(after) in after.references


@pytest.mark.parametrize("name", sorted(set(WRITTEN) - {"detail"}))
class TestWritten:
    def test_a_missing_fact_is_named_at_the_opening(self, name: str) -> None:
        for fact in NEEDS[name]:
            source = facts_for(name)
            source.rows = [(code, {k: v for k, v in facts.items() if k != fact}) for code, facts in source.rows]
            with pytest.raises(DataError, match=rf"facts, example facts/\d+, task {name}: .*'{re.escape(fact)}'"):
                tasked(source, name, {}, 0)

    def test_a_missing_fact_is_named_at_the_example_too(self, name: str) -> None:
        fact = "question" if "question" in NEEDS[name] else min(NEEDS[name])
        raw = facts_for(name)
        source = tasked(raw, name, {}, 0)
        index = int(next(iter(source.by_language.values()))[5])
        raw.rows[index] = (raw.rows[index][0], {**raw.rows[index][1], fact: "  "})
        with pytest.raises(DataError, match=rf"facts/{index}, task {name}: .*'{re.escape(fact)}'"):
            source[index]

    def test_each_template_is_used_equally_often_in_each_language(self, name: str) -> None:
        source = opened(name)
        for code, indices in source.by_language.items():
            used = Counter(template_of(source, name, int(index)) for index in indices)
            assert len(used) == len(load_templates()[name].english)
            assert max(used.values()) - min(used.values()) <= 1, code

    def test_drawn_templates_are_all_used_and_follow_the_seed(self, name: str) -> None:
        source, other = opened(name, choice="draw"), opened(name, choice="draw", seed=1)
        indices = next(iter(source.by_language.values())).tolist()
        used = Counter(template_of(source, name, index) for index in indices)
        assert len(used) == len(load_templates()[name].english)
        common = sorted(set(indices) & set(next(iter(other.by_language.values())).tolist()))
        assert len(common) > 10
        assert any(template_of(other, name, index) != template_of(source, name, index) for index in common)

    def test_rotation_isnt_the_sources_order(self, name: str) -> None:
        source = opened(name)
        indices = max(source.by_language.values(), key=len)
        used = [template_of(source, name, int(index)) for index in indices]
        period = len(load_templates()[name].english)
        assert np.mean([a == b for a, b in zip(used, used[period:], strict=False)]) < 0.6

    def test_native_prompts_are_in_the_language_and_leave_out_those_without(self, name: str) -> None:
        source = opened(name, prompts="native")
        codes = {ENGLISH, "deu_Latn", "zho_Hans"} - ({ENGLISH} if name == "ep-vqa" else set())
        assert set(source.by_language) == codes
        both = opened(name, prompts="both")
        native = load_templates()[name].native["deu_Latn"]
        german = both.by_language["deu_Latn"]
        if name != "bvqa":  # there the question is in English where the answer is German
            assert not {template_of(source, name, int(i)) for i in german} & set(load_templates()[name].english)
            used = Counter(template_of(both, name, int(index)) for index in german)
            assert len(used) == len(load_templates()[name].english + native)

    def test_prompts_name_the_language_of_the_answer_as_the_table_does(self, name: str) -> None:
        source = opened(name)
        rows = {row.code: row.name for row in all_languages()}
        for code, indices in source.by_language.items():
            for index in indices.tolist()[:30]:
                example = source[index]
                named = prompt_of(example)
                for fact in ("question", "answer", "source.question", "source.answer"):
                    named = named.replace(example.facts.get(fact, "\0"), "")
                assert rows[code] in named
                others = {rows[one] for one in LANGUAGES if one != code}
                if name == "ep-vqa":
                    others -= {"English"}
                assert not [other for other in others if other in named]


def template_of(source: Source, name: str, index: int) -> str:
    """Which template an example's prompt was made from: the one that matches it with most words of its own."""
    assert isinstance(source, TaskSource)
    words = load_templates()[name]
    found = prompt_of(source[index])
    candidates = [*words.english, *(t for texts in words.native.values() for t in texts)]
    matching = [t for t in candidates if re.fullmatch(pattern(t), found, re.DOTALL)]
    return max(matching, key=lambda t: len(re.sub(r"\{[a-z]+\}", "", t)))


def pattern(template: str) -> str:
    """A regular expression for what is made of a template; spaces at pictures go or stay."""
    pieces = re.split(r"(\{[a-z]+\})", template)
    parts = [".+" if p.startswith("{") and p != "{image}" else "" if p == "{image}" else re.escape(p) for p in pieces]
    return r"\s*" + "".join(parts).replace(r"\ ", r"\s*") + r"\s*"


CODES = {row.code for row in all_languages()}
ALL = [(name, words) for name, words in load_templates().items()]


@pytest.mark.parametrize(("name", "words"), ALL, ids=[name for name, _ in ALL])
class TestTemplates:
    def test_languages_are_of_the_table(self, name: str, words: Templates) -> None:
        for by_code in (words.native, words.yes, words.no, words.answers):
            assert set(by_code) <= CODES | {ANY}
        assert ENGLISH not in words.native

    def test_each_english_prompt_names_the_language_by_its_field(self, name: str, words: Templates) -> None:
        """No language's name is written out: names come from languages.toml alone."""
        assert len(words.english) >= 4
        names = {row.name.split(" (")[0] for row in all_languages()} - {"English"}
        for template in words.english:
            assert template.count("{language}") == 1
            assert not [one for one in names if re.search(rf"\b{re.escape(one)}\b", template)]

    def test_each_prompt_has_the_facts_that_it_needs_once_and_no_other_field(self, name: str, words: Templates) -> None:
        decides = {"yes", "no"} if name in DECISIONS else set()
        for template in (*words.english, *(t for texts in words.native.values() for t in texts)):
            own = fields_of(template) - {"image", "language"}
            assert own == SHOWN.get(name, set()) | decides
            assert all(template.count(f"{{{field}}}") == 1 for field in own)
            assert template == template.strip()

    def test_no_prompt_tells_an_answer(self, name: str, words: Templates) -> None:
        """A decision's prompt has yes and no, in this order, whatever the answer."""
        for template in (*words.english, *(t for texts in words.native.values() for t in texts)):
            if name in DECISIONS:
                assert template.index("{yes}") < template.index("{no}")
            assert "{rationale}" not in template

    def test_sentences_say_yes_as_often_as_no(self, name: str, words: Templates) -> None:
        assert {code: len(texts) for code, texts in words.yes.items()} == {c: len(t) for c, t in words.no.items()}
        rows = {row.code: row.literals for row in all_languages()}
        for said, texts in (("yes", words.yes), ("no", words.no)):
            for code, sentences in texts.items():
                assert all(s.casefold().startswith(rows[code][said].casefold()) for s in sentences), code

    def test_nothing_is_written_twice(self, name: str, words: Templates) -> None:
        for texts in (words.english, *words.native.values(), *words.answers.values(), *words.yes.values()):
            assert len(set(texts)) == len(texts)


def test_forms_of_a_reasoned_answer_say_answer_and_reason_once() -> None:
    words = load_templates()["rationale"]
    assert len(words.english) == 5
    for code, forms in words.answers.items():
        assert len(forms) == 5, code
        for form in forms:
            assert form.count("{answer}") == form.count("{rationale}") == 1
            assert fields_of(form) == {"answer", "rationale"}


def test_an_unknown_task_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="'vqa'"):
        task_problems("vqaa", {})


def test_choices_are_those_of_the_options() -> None:
    for name in WRITTEN:
        for key, values in (("prompts", get_args(PromptSet)), ("choice", get_args(ChoiceName))):
            assert all(task_problems(name, {key: value}) == [] for value in values)


def test_templates_come_with_the_package() -> None:
    assert (Path(inspect.getfile(TASKS.get("caption"))).parent / "templates.toml").is_file()

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from visiglot.data.nano.concepts import concept_id
from visiglot.data.nano.content import TASKS, load_questions, yes_no
from visiglot.data.nano.load import NanoData
from visiglot.data.nano.pools import pool_concepts
from visiglot.data.nano.prompts import load_prompts
from visiglot.data.nano.splits import SPLITS
from visiglot.data.nano.tasks import NanoSource, build_nano_source
from visiglot.data.source import Source, build_source
from visiglot.data.tasks import tasked
from visiglot.errors import ConfigError, DataError, UnknownNameError
from visiglot.languages import ENGLISH
from visiglot.languages import language as find_language
from visiglot.types import Example, ImageSlot

PICTURE_TASKS = sorted(name for name, task in TASKS.items() if task.pictures)
TEXT_TASKS = sorted(name for name, task in TASKS.items() if not task.pictures)
TEXT_ONLY = {"swh_Latn", "tur_Latn"}


def examples(source: NanoSource) -> list[Example]:
    return [source[i] for i in range(len(source))]


def make(data: NanoData, task: str, split: str = "train", **options: object) -> NanoSource:
    return build_nano_source(data, task=task, split=split, languages=data.languages, **options)  # type: ignore[arg-type]


def shown(data: NanoData, example: Example) -> tuple[str, str]:
    """(style, concept) of the picture that an example shows, found by its bytes."""
    (image,) = example.images
    (found,) = [
        (style, id)
        for style, pictures in data.pictures.items()
        for id, picture in pictures.items()
        if picture.image.data == image.data
    ]
    return found


@pytest.mark.parametrize("task", PICTURE_TASKS)
def test_training_shows_no_test_style_no_held_out_concept_and_no_text_only_language(data: NanoData, task: str) -> None:
    assert data.held_out
    assert data.text_only_languages == TEXT_ONLY
    source = make(data, task)
    for example in examples(source):
        style, concept = shown(data, example)
        assert style != "noto"
        assert concept not in data.held_out
        assert concept == example.group
        assert example.language not in TEXT_ONLY
    assert not TEXT_ONLY & source.by_language.keys()


@pytest.mark.parametrize("task", ["matching", "choice"])
def test_training_never_says_the_name_of_a_held_out_concept_beside_a_picture(data: NanoData, task: str) -> None:
    for example in examples(make(data, task)):
        said = example.messages[0].text
        for id in data.held_out & data.names[example.language].keys():
            assert data.names[example.language][id].text not in said


@pytest.mark.parametrize("task", TEXT_TASKS)
def test_text_tasks_know_every_language_and_show_nothing(data: NanoData, task: str) -> None:
    source = make(data, task)
    assert set(source.by_language) == set(data.languages)
    for example in examples(source):
        assert example.images == ()
        assert all(isinstance(part, str) for message in example.messages for part in message.content)


@pytest.mark.parametrize("task", ["name", "translate"])
def test_text_tasks_train_on_held_out_concepts_too(data: NanoData, task: str) -> None:
    assert data.held_out <= {example.group for example in examples(make(data, task))}


EMPTY = {("country", "dev"), ("country", "test-unseen"), ("choice", "test-unseen")}
"""What the tiny data has nothing for: no flags in Fluent, and only three concepts held out."""


@pytest.mark.parametrize(
    ("task", "split"),
    [(task, split) for task in TASKS for split in SPLITS if split != "train" and (task, split) not in EMPTY],
)
def test_evaluation_has_references_and_no_answer(data: NanoData, task: str, split: str) -> None:
    for example in examples(make(data, task, split)):
        assert [message.role for message in example.messages] == ["user"]
        assert example.references
        assert all(example.references)


def test_the_splits_show_the_styles_and_concepts_they_say(data: NanoData) -> None:
    seen = {
        split: {shown(data, example) for example in examples(make(data, "caption", split))}
        for split in ("train", "train-eval", "dev", "test", "test-unseen")
    }
    styles = {split: {style for style, _ in pairs} for split, pairs in seen.items()}
    assert styles["train"] == styles["train-eval"] == {"openmoji", "twemoji", "fluent"}
    assert styles["dev"] == {"fluent"}
    assert styles["test"] == styles["test-unseen"] == {"noto"}
    assert {concept for _, concept in seen["test-unseen"]} == data.held_out
    assert not {concept for _, concept in seen["test"]} & data.held_out


def test_the_test_asks_in_the_text_only_languages(data: NanoData) -> None:
    for split in ("test", "test-unseen", "train-eval"):
        assert set(make(data, "caption", split).by_language) >= TEXT_ONLY
    assert not TEXT_ONLY & make(data, "caption", "dev").by_language.keys()


@pytest.mark.parametrize(("split", "styles"), [("train", ["noto"]), ("test", ["twemoji"]), ("dev", ["noto"])])
def test_a_style_that_a_split_must_not_show_is_refused(data: NanoData, split: str, styles: list[str]) -> None:
    with pytest.raises(DataError, match="can't show style"):
        make(data, "caption", split, styles=styles)


def test_a_training_style_can_be_left_out(data: NanoData) -> None:
    source = make(data, "caption", styles=["openmoji", "twemoji"])
    assert {shown(data, example)[0] for example in examples(source)} == {"openmoji", "twemoji"}


def test_the_picture_stands_behind_the_words(data: NanoData) -> None:
    source = make(data, "caption")
    example = source[int(source.by_language["deu_Latn"][0])]
    assert example.messages[0].content == ("Caption in German:", ImageSlot(0))
    concept = example.group
    assert example.messages[1].content == (data.names["deu_Latn"][concept].text,)


def test_the_name_task_reads_as_caption_with_the_english_name_in_the_pictures_place(data: NanoData) -> None:
    source = make(data, "name")
    example = source[int(source.by_language["deu_Latn"][0])]
    assert example.messages[0].content == (f"Caption in German: {data.concepts[example.group].english}",)


def test_ids_are_unique_and_readable(data: NanoData) -> None:
    for task in TASKS:
        ids = [example.id for example in examples(make(data, task))]
        assert len(set(ids)) == len(ids)
    first = make(data, "caption", styles=["twemoji"])
    assert "nano/twemoji/1F436/deu_Latn/caption" in [example.id for example in examples(first)]


@pytest.mark.parametrize("split", ["train", "test"])
def test_matching_tells_nothing_without_the_picture(data: NanoData, split: str) -> None:
    asked: Counter[tuple[str, str, str]] = Counter()
    for example in examples(make(data, "matching", split)):
        answer = example.references[0] if split == "test" else example.messages[1].text
        style = example.id.split("/")[1]
        asked[style, example.messages[0].text, answer] += 1
    questions = {(style, text) for style, text, _ in asked}
    for style, text in questions:
        counts = [count for (s, t, _), count in asked.items() if (s, t) == (style, text)]
        assert len(counts) == 2, "both answers occur"
        assert counts[0] == counts[1]


def test_negatives_are_of_the_same_subgroup_where_it_is_large_enough_and_never_right(data: NanoData) -> None:
    by_name = {(language, n.text): id for language, names in data.names.items() for id, n in names.items()}
    alone = {"animal-amphibian", "sky-weather"}
    for example in examples(make(data, "matching", "test")):
        text, language = example.messages[0].text, example.language
        named = [id for (own, name), id in by_name.items() if own == language and f"this {name} in " in text]
        (concept,) = named
        if example.id.endswith("/yes"):
            assert concept == example.group
        else:
            assert concept != example.group
            pair = {data.concepts[example.group].subgroup, data.concepts[concept].subgroup}
            assert len(pair) == 1 or pair & alone


def test_every_name_is_the_right_choice_as_often_as_the_others(data: NanoData) -> None:
    offered: Counter[tuple[str, str]] = Counter()
    positions: Counter[int] = Counter()
    for example in examples(make(data, "choice", "test")):
        words = example.messages[0].text.removeprefix("Which of these is it, in ")
        options = words.partition(": ")[2].removesuffix("?").split("; ")
        assert len(set(options)) == 4
        positions[options.index(example.references[0])] += 1
        offered.update((example.language, option) for option in options)
    assert set(offered.values()) == {4}
    assert set(positions) == {0, 1, 2, 3}


def test_category_is_asked_only_where_cldr_has_the_word(data: NanoData) -> None:
    source = make(data, "category", "test")
    assert "swh_Latn" not in source.by_language
    example = next(one for one in examples(source) if one.id == "nano/noto/1F436/deu_Latn/category")
    assert example.references == ("animal de",)


def test_country_is_asked_only_of_flags_whose_names_say_it(data: NanoData) -> None:
    source = make(data, "country", "test")
    assert "tur_Latn" not in source.by_language
    assert {data.concepts[example.group].subgroup for example in examples(source)} == {"country-flag"}


def test_a_translation_comes_from_another_language(data: NanoData) -> None:
    words = {"deu_Latn": " de", "fra_Latn": " fr", "swh_Latn": " sw", "tur_Latn": " tr", "zho_Hans": " zh"}
    sources = set()
    for example in examples(make(data, "translate")):
        text = example.messages[0].text
        if example.language in words and example.group == concept_id("🐶"):
            assert not text.endswith(words[example.language])
            sources.add((example.language, text))
    assert len(sources) > 3 * len(words)


def test_keywords_to_name_never_gives_the_name_away(data: NanoData) -> None:
    for example in examples(make(data, "keywords-to-name")):
        words = example.messages[0].text.partition(": ")[2].split(", ")
        assert 1 <= len(words) <= 3
        assert data.concepts[example.group].english not in words


@pytest.mark.parametrize("task", PICTURE_TASKS)
def test_a_wrong_image_is_of_another_subgroup_and_nothing_else_changes(data: NanoData, task: str) -> None:
    right, wrong = make(data, task, "test"), make(data, task, "test", control="wrong-image")
    assert len(right) == len(wrong)
    for one, other in zip(examples(right), examples(wrong), strict=True):
        style, concept = shown(data, other)
        assert style == "noto"
        assert data.concepts[concept].subgroup != data.concepts[one.group].subgroup
        assert (one.id, one.messages, one.references) == (other.id, other.messages, other.references)


def test_no_image_leaves_the_words_alone(data: NanoData) -> None:
    right, without = make(data, "caption", "test"), make(data, "caption", "test", control="no-image")
    for one, other in zip(examples(right), examples(without), strict=True):
        assert other.images == ()
        assert other.messages[0].text.rstrip(" ") == one.messages[0].text
        assert other.references == one.references


@pytest.mark.parametrize(("task", "split"), [("caption", "train"), ("name", "test")])
def test_a_control_without_a_picture_to_change_is_refused(data: NanoData, task: str, split: str) -> None:
    with pytest.raises(DataError, match="wrong-image"):
        make(data, task, split, control="wrong-image")


@pytest.mark.parametrize("task", sorted(TASKS))
def test_equal_seeds_give_equal_examples_and_order_of_access_does_not_matter(data: NanoData, task: str) -> None:
    one, other = make(data, task, prompts="both"), make(data, task, prompts="both")
    assert examples(one) == [other[i] for i in reversed(range(len(other)))][::-1]


@pytest.mark.parametrize("task", ["matching", "choice", "translate", "keywords-to-name", "keywords"])
def test_another_seed_draws_anew(data: NanoData, task: str) -> None:
    assert examples(make(data, task, seed=1)) != examples(make(data, task, seed=2))


def test_an_example_does_not_depend_on_which_other_languages_were_asked_for(data: NanoData) -> None:
    alone = build_nano_source(data, task="choice", split="test", languages=["deu_Latn"])
    among = {example.id: example for example in examples(make(data, "choice", "test"))}
    assert all(among[example.id] == example for example in examples(alone))


def test_native_prompts_are_used_only_with_all_their_words(data: NanoData) -> None:
    native = make(data, "country", "test", prompts="native")
    assert "swh_Latn" not in native.by_language
    example = native[int(native.by_language["deu_Latn"][0])]
    assert example.messages[0].content == ("flag de:", ImageSlot(0))
    both = {example.messages[0].text for example in examples(make(data, "matching", "test", prompts="both"))}
    assert any(text.startswith("Is this ") for text in both)
    assert any(text.endswith(" de?") for text in both)


def test_both_halves_of_a_matching_pair_have_the_same_kind_of_prompt(data: NanoData) -> None:
    kinds: dict[str, set[bool]] = {}
    for example in examples(make(data, "matching", "test", prompts="both")):
        kinds.setdefault(example.id.rpartition("/")[0], set()).add(example.messages[0].text.startswith("Is this "))
    assert {len(kind) for kind in kinds.values()} == {1}


def test_limits_choose_the_same_concepts_for_every_task(data: NanoData) -> None:
    groups = {
        task: {example.group for example in examples(make(data, task, limit_concepts=6))}
        for task in ("caption", "matching")
    }
    assert len(groups["caption"]) == 6
    assert groups["caption"] == groups["matching"]
    fruit = make(data, "caption", categories=["food_drink"])
    assert {data.concepts[example.group].category for example in examples(fruit)} == {"food_drink"}


def test_rows_of_a_language_are_its_own(data: NanoData) -> None:
    source = make(data, "caption")
    assert sorted(int(i) for rows in source.by_language.values() for i in rows) == list(range(len(source)))
    for language, rows in source.by_language.items():
        assert {source[int(i)].language for i in rows} == {language}
    with pytest.raises(IndexError):
        source[len(source)]


def test_unknown_things_are_named_with_what_is_known(data: NanoData) -> None:
    with pytest.raises(UnknownNameError, match="caption"):
        make(data, "captoin")
    with pytest.raises(UnknownNameError, match="train-eval"):
        make(data, "caption", "train_eval")
    with pytest.raises(DataError, match=r"no names in ceb_Latn(.|\n)*visiglot languages --set cldr"):
        build_nano_source(data, task="caption", split="test", languages=["ceb_Latn"])
    with pytest.raises(DataError, match=r"nothing to ask(.|\n)*English"):
        build_nano_source(data, task="caption", split="train", languages=["swh_Latn"])


def test_the_table_of_sources_has_it(built: Path) -> None:
    source = build_source("nano", {"task": "caption", "folder": str(built)}, languages=["deu_Latn"], seed=3)
    assert isinstance(source, Source)
    assert set(source.by_language) == {"deu_Latn"}


def test_every_task_has_prompts_and_every_picture_prompt_a_picture() -> None:
    assert set(load_prompts()) == set(TASKS)
    for prompts in load_prompts().values():
        for template in (*prompts.english, *prompts.native):
            assert template.count("{image}") == 1
        assert all("{language}" in template for template in prompts.english)


def test_pools_are_never_too_small(data: NanoData) -> None:
    for least in (1, 2, 4, 6):
        pools = pool_concepts(list(data.concepts), data.concepts, least)
        assert all(len(pool) >= least for pool in pools)
        assert sorted(id for pool in pools for id in pool) == sorted(data.concepts)
    assert pool_concepts(list(data.concepts)[:3], data.concepts, 4) == []


def test_matching_is_answered_in_the_language_of_the_example(data: NanoData) -> None:
    answers = {(e.language, e.messages[-1].text) for e in examples(make(data, "matching"))}
    for code in {language for language, _ in answers}:
        words = yes_no(data, code)
        assert words is not None
        assert {text for own, text in answers if own == code} == {words.yes, words.no}
    assert ("deu_Latn", "nein") in answers


def test_words_for_yes_and_no_that_are_not_the_languages_own_are_not_used(data: NanoData) -> None:
    def with_words(**words: str) -> NanoData:
        return replace(data, words={"mya_Mymr": words})

    assert yes_no(with_words(yes="Yes", no="No"), "mya_Mymr") is None
    assert yes_no(with_words(yes="a៖ y", no="b៖ n"), "mya_Mymr") is None
    assert yes_no(with_words(yes="a"), "mya_Mymr") is None
    found = yes_no(with_words(yes="a", no="b"), "mya_Mymr")
    assert found is not None
    assert (found.yes, found.no) == ("a", "b")


def test_a_category_that_is_not_in_the_table_is_refused_with_the_nearest(data: NanoData) -> None:
    with pytest.raises(UnknownNameError, match="'plnt'") as caught:
        make(data, "caption", categories=["animal", "plnt"])
    assert caught.value.nearest == ["plant"]


def test_all_wrong_options_are_said_at_once_before_any_data_is_opened(tmp_path: Path) -> None:
    options = {"task": "captoin", "categories": ["plnt"], "limit_concepts": "ten", "folder": str(tmp_path / "none")}
    options["as_text"] = "perhaps"
    with pytest.raises(ConfigError) as caught:
        build_source("nano", options, languages=["deu_Latn"], seed=0)
    assert len(caught.value.problems) == 4
    for said in (
        "options.as_text",
        "'caption'",
        "'plant'",
        "options.limit_concepts: input should be a valid integer, found 'ten'",
    ):
        assert any(said in problem for problem in caught.value.problems)


def test_a_missing_task_is_said_with_all_tasks() -> None:
    with pytest.raises(ConfigError, match=r"options\.task: is missing; one of caption, .*matching"):
        build_source("nano", {}, languages=["deu_Latn"], seed=0)


@pytest.mark.parametrize("task", ["mvqa", "ep-vqa", "bvqa"])
def test_the_question_can_be_asked_in_lrm_llavas_formats(data: NanoData, task: str) -> None:
    raw = make(data, "question")
    source = tasked(raw, task, {}, 0)
    for code, indices in source.by_language.items():
        for index in indices.tolist():
            example, own = source[index], raw[index].language
            name = data.names[code][example.group].text
            asked, answer = (message.text for message in example.messages)
            question = load_questions()[ENGLISH if task == "bvqa" and code == own else own]
            assert question in asked
            assert answer == (f"{load_questions()[ENGLISH]} || {name}" if task == "ep-vqa" else name)
    assert (ENGLISH in source.by_language) == (task != "ep-vqa")


def test_a_question_stands_for_each_language_once_and_ends_in_its_way() -> None:
    questions = load_questions()
    assert len(set(questions)) == len(questions) > 60
    for code, text in questions.items():
        assert find_language(code).code == code
        assert text == text.strip()
        assert text[-1] in "?？؟;։။"

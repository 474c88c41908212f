"""LRM-LLaVA's three formats on one source: who gets which, pairs by id, twins, and what of each target is learned."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tests.facts import LANGUAGES, Facts, answer_of, every_fact, prompt_of
from tests.unit.test_render import Words, spec_of

from visiglot.config import SourceSection
from visiglot.data.opening import rows_left_out, with_task
from visiglot.data.parquet_source import ParquetSource, write_examples
from visiglot.data.source import Source
from visiglot.data.tasks import tasked
from visiglot.data.tasks.formats import FORMATS
from visiglot.data.tasks.pivot import PIVOT, pivot_target, read_pivot, shown_part
from visiglot.errors import ConfigError, DataError
from visiglot.languages import ENGLISH
from visiglot.render import render
from visiglot.types import IGNORE, Example, Layout

GERMAN, SWAHILI = "deu_Latn", "swh_Latn"
OTHERS = [code for code in LANGUAGES if code != ENGLISH]


def own_language(index: int) -> str:
    return LANGUAGES[index % len(LANGUAGES)]


def examples(source: Source) -> list[tuple[int, Example]]:
    return [(i, source[i]) for i in np.sort(np.concatenate(list(source.by_language.values()))).tolist()]


# --- shares ----------------------------------------------------------------------------------------------------------


def test_each_language_but_english_is_shared_out_alike_and_english_stays_as_it_is() -> None:
    found = Counter((own_language(i), one.task) for i, one in examples(tasked(every_fact(count=102), "lrm", {}, 1)))
    assert found == {(ENGLISH, "mvqa"): 102} | {(code, name): 34 for code in OTHERS for name in FORMATS}


def test_shares_are_the_recipes() -> None:
    options = {"shares": {"mvqa": 1, "ep-vqa": 2}}
    found = Counter((own_language(i), one.task) for i, one in examples(tasked(every_fact(count=99), "lrm", options, 1)))
    assert found == {(ENGLISH, "mvqa"): 99} | {
        (code, name): n for code in OTHERS for name, n in (("mvqa", 33), ("ep-vqa", 66))
    }
    with pytest.raises(ConfigError, match="are all 0"):
        tasked(every_fact(), "lrm", {"shares": {"mvqa": 0}}, 1)
    with pytest.raises(ConfigError, match=r"task_options\.shares"):
        tasked(every_fact(), "lrm", {"shares": {"evqa": 1}}, 1)


def test_an_example_is_written_as_its_format_writes_it() -> None:
    raw = every_fact(count=30)
    alone = {name: tasked(raw, name, {"choice": "draw"}, 1) for name in FORMATS}
    for index, one in examples(tasked(raw, "lrm", {"choice": "draw"}, 1)):
        number, code = index // len(LANGUAGES), own_language(index)
        if one.task == "ep-vqa":
            assert answer_of(one) == f"source question {number}? {PIVOT} {code} answer {number}"
        elif one.task == "bvqa":
            asked = f"{code} question {number}?" if one.language == ENGLISH else f"source question {number}?"
            assert asked in prompt_of(one)
        else:
            assert answer_of(one) == answer_of(alone["mvqa"][index])


def test_who_gets_which_format_has_no_pattern_and_follows_the_seed() -> None:
    one, other = ([e.task for _, e in examples(tasked(every_fact((GERMAN,), 300), "lrm", {}, seed))] for seed in (0, 1))
    assert one != other
    assert max(Counter(pairwise(one)).values()) < 60


def test_english_alone_is_mvqa_so_that_a_source_to_be_translated_can_name_the_task() -> None:
    source = tasked(every_fact((ENGLISH,), 5), "lrm", {}, 0)
    assert {one.task for _, one in examples(source)} == {"mvqa"}
    assert SourceSection(type="nano", task="lrm", translate=True).translate


# --- pairs by id -----------------------------------------------------------------------------------------------------


class Parallel(Facts):
    """Rows of (id, language, facts): parallel data that say nothing of each other."""

    def __init__(self, rows: list[tuple[str, str, dict[str, str]]]) -> None:
        super().__init__([(code, facts) for _, code, facts in rows])
        self.ids_ = [id for id, _, _ in rows]

    def __getitem__(self, index: int) -> Example:
        return replace(super().__getitem__(index), id=self.ids_[index])


def facts(language: str, number: int) -> dict[str, str]:
    return {"question": f"{language} question {number}?", "answer": f"{language} answer {number}"}


def parallel(*missing: tuple[str, int]) -> Parallel:
    """Six ids in three languages, English's at the end, without some."""
    rows = [(f"q{n}/{code}" if code != ENGLISH else f"q{n}", code, facts(code, n))
            for code in (GERMAN, SWAHILI, ENGLISH) for n in range(6)]  # fmt: skip
    return Parallel([row for row in rows if (row[1], int(row[0][1])) not in missing])


@pytest.mark.parametrize("task", ["ep-vqa", "bvqa", "lrm"])
def test_parallel_examples_are_paired_by_id(task: str) -> None:
    for index, one in examples(tasked(parallel(), task, {"pairs": "id"}, 0)):
        said = one.facts["question"].split()
        if said[0] != ENGLISH:
            assert one.facts["source.question"] == f"{ENGLISH} question {said[2]}"
            assert one.facts["source.answer"] == f"{ENGLISH} answer {said[2][:-1]}"
            assert one.facts["source.language"] == ENGLISH
        assert index < 18


@pytest.mark.parametrize("task", ["ep-vqa", "bvqa", "lrm"])
def test_missing_pairs_are_left_out_and_counted(task: str) -> None:
    source = tasked(parallel((ENGLISH, 2), (GERMAN, 4)), task, {"pairs": "id"}, 0)
    reason = "no example in English has its id"
    assert rows_left_out(source) == {reason: 2}
    said = Counter(one.facts["question"].split()[0] for _, one in examples(source))
    assert (said[GERMAN], said[SWAHILI]) == (4, 5)
    assert not [one for _, one in examples(source) if "question 2?" in one.facts["question"]]


def test_an_id_that_two_english_examples_have_pairs_nothing() -> None:
    rows = parallel()
    rows.ids_[-1] = "q0"
    source = tasked(rows, "ep-vqa", {"pairs": "id"}, 0)
    assert rows_left_out(source) == {
        "no example in English has its id": 2, "several examples in English have its id": 2,
    }  # fmt: skip


def test_languages_without_a_pair_are_refused_with_the_counts() -> None:
    unpaired = Parallel([(f"{code}{n}", code, facts(code, n)) for code in (GERMAN, ENGLISH) for n in range(6)])
    with pytest.raises(DataError, match=r"and in another language \(6: no example in English has its id\)"):
        tasked(unpaired, "bvqa", {"pairs": "id"}, 0)
    with pytest.raises(DataError, match="no example in English has its id"):
        tasked(every_fact((GERMAN,), 3), "ep-vqa", {"pairs": "id"}, 0)


def test_pairs_of_a_parquet_file_are_found_by_its_ids_alone(tmp_path: Path) -> None:
    raw = parallel()
    write_examples(tmp_path / "x.parquet", [raw[i] for i in range(len(raw))], root=Path("/pictures"))
    source = ParquetSource(tmp_path / "x.parquet", root=Path("/pictures"))
    assert list(source.ids()) == raw.ids_
    assert len(tasked(source, "ep-vqa", {"pairs": "id"}, 0).by_language[GERMAN]) == 6


def test_answers_in_a_language_that_isnt_asked_for_are_counted() -> None:
    raw, section = every_fact((GERMAN, SWAHILI), 50), SourceSection(type="any", task="bvqa")
    asked = with_task(raw, section, (GERMAN, SWAHILI), 0)
    assert rows_left_out(asked) == {"the task's answer is in a language that isn't asked for": 50}
    assert rows_left_out(with_task(raw, section, (ENGLISH, GERMAN, SWAHILI), 0)) == {}


# --- twins -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["mvqa", "lrm"])
def test_a_twin_shows_the_same_and_says_the_same_after_the_english_question(task: str) -> None:
    found = examples(tasked(every_fact(count=12), task, {"twins": True}, 0))
    for index, one in found:
        twin = one.twin
        assert (twin is not None) == (one.task == "mvqa" and own_language(index) != ENGLISH)
        if twin is not None:
            number = index // len(LANGUAGES)
            assert (twin.images, answer_of(twin), twin.language) == (one.images, answer_of(one), one.language)
            assert f"source question {number}?" in prompt_of(twin)
            assert f"{own_language(index)} question" not in prompt_of(twin)
            assert (twin.id, twin.task) == (f"{one.id}/twin", "mvqa")
    assert all(one.twin is None for _, one in examples(tasked(every_fact(count=12), task, {}, 0)))


# --- masks -----------------------------------------------------------------------------------------------------------

GERMAN_ROW = {
    "question": "Was ist das?",
    "answer": "ein Hund",
    "source.question": "What is it?",
    "source.answer": "a dog",
}


def german(task: str, **options: object) -> Example:
    """The task on one German question; bvqa's is answered in English."""
    for seed in range(10):
        source = tasked(Facts([(GERMAN, GERMAN_ROW)]), task, {"prompts": "native", **options}, seed)
        if task != "bvqa" or ENGLISH in source.by_language:
            return source[0]
    raise AssertionError


PROMPTS = {
    "mvqa": "Was · ist · das ? · Antworte · auf · Deutsch . <image> <image>",
    "ep-vqa": "Was · ist · das ? · Übersetze · die · Frage · zuerst · ins · Englische · und · antworte · dann , · "
    "nach · | | , · auf · Deutsch . <image> <image>",
    "bvqa": "Was · ist · das ? · Antworte · auf · Englisch . <image> <image>",
}
ANSWERS = {
    "mvqa": ("ein · Hund", "ein · Hund"),
    "ep-vqa": ("What · is · it ? · | | · ein · Hund", "What · is · it ? · | | · ein · Hund"),
    "ep-vqa masked": ("What · is · it ? · | | · ein · Hund", "_ _ _ _ _ _ · | | · ein · Hund"),
    "bvqa": ("a · dog", "a · dog"),
}


def read(words: Words, ids: tuple[int, ...]) -> str:
    return " ".join("·" if token == " " else token for token in words.read(ids))


@pytest.mark.parametrize("case", ANSWERS)
def test_masks_of_a_causal_model_token_by_token(case: str) -> None:
    task, _, masked = case.partition(" ")
    words = Words()
    sample = render(german(task, **({"mask_translation": True} if masked else {})), spec_of(words, "plain"))
    said, learned = ANSWERS[case]
    prompt = f"<bos> {PROMPTS[task]}"
    assert read(words, sample.ids) == f"{prompt} {said} <eos>"
    before = " ".join(["_"] * len(prompt.split()))
    assert read(words, sample.labels) == f"{before} {learned} <eos>"
    assert (read(words, sample.targets) if sample.targets else "") == (f"{before} {said} <eos>" if masked else "")


@pytest.mark.parametrize("case", ANSWERS)
def test_masks_of_an_encoder_decoder_token_by_token(case: str) -> None:
    task, _, masked = case.partition(" ")
    words = Words()
    spec = spec_of(words, "plain", "seq2seq")
    sample = render(german(task, **({"mask_translation": True} if masked else {})), spec)
    said, learned = ANSWERS[case]
    assert read(words, sample.ids) == f"{PROMPTS[task]} <eos>"
    assert read(words, sample.labels) == f"{learned} <eos>"
    assert (read(words, sample.targets) if sample.targets else "") == (f"{said} <eos>" if masked else "")


@pytest.mark.parametrize("layout", ["causal", "seq2seq"])
def test_a_mask_changes_no_id_and_a_token_across_its_end_is_learned(layout: Layout) -> None:
    class Joined(Words):
        """A tokenizer whose token for the question mark has the blank and the bars behind it where they follow."""

        def encode(self, text: str) -> list[int]:
            return super().encode(text.replace("? ||", "<?_||>"))

    words = Joined()
    plain, masked = (
        render(german("ep-vqa", mask_translation=mask), spec_of(words, "plain", layout)) for mask in (False, True)
    )
    assert plain.ids == masked.ids
    assert read(words, masked.labels).lstrip("_ ") == "<?_||> · ein · Hund <eos>"
    same = [(a, b) for a, b in zip(plain.labels, masked.labels, strict=True) if b != IGNORE]
    assert all(a == b for a, b in same)


def test_a_file_of_examples_refuses_what_it_cant_say(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="isn't to be learned"):
        write_examples(tmp_path / "x.parquet", [german("ep-vqa", mask_translation=True)], root=Path("/pictures"))


# --- answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "answer", "translation"),
    [
        (pivot_target("What is it?", "ein Hund"), "ein Hund", "What is it?"),
        ("ein Hund", "ein Hund", None),
        ("What is it? ||", "What is it?", None),
        ("|| ein Hund", "ein Hund", None),
        (" || ", "||", None),
        ("", "", None),
        ("q || a || b", "a || b", "q"),
    ],
)
def test_an_answer_is_never_empty_where_something_was_said(text: str, answer: str, translation: str | None) -> None:
    found = read_pivot(text)
    assert (found.answer, found.translation) == (answer, translation)
    assert bool(found.answer) == bool(text.strip())


@pytest.mark.parametrize("text", ["q || a | b ", " q? ||| a || b", "a dog", "q ||", "|| a", "||", "q | r || | a"])
def test_what_is_shown_of_a_growing_answer_is_never_taken_back(text: str) -> None:
    answer = read_pivot(text).answer
    for length in range(len(text) + 1):
        start, end = shown_part(text[:length], last=False)
        assert answer.startswith(text[start:end])
        assert "q" not in text[start:end]
    start, end = shown_part(text, last=True)
    assert text[start:end] == answer

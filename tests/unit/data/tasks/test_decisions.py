"""Yes or no: balance, and wrong texts that are really wrong (mBLIP's B10 and B11)."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.facts import Facts, answer_of, every_fact, prompt_of, with_answers

from visiglot.data.captions import normal_form
from visiglot.data.mining import Neighbours
from visiglot.data.mining.mine import mine
from visiglot.data.source import Source
from visiglot.data.tasks import decisions, tasked
from visiglot.data.tasks.templates import load_templates
from visiglot.errors import DataError
from visiglot.languages import ENGLISH

GERMAN, SWAHILI, IGBO = "deu_Latn", "swh_Latn", "ibo_Latn"
WORDS = {ENGLISH: ("yes", "no"), GERMAN: ("ja", "nein"), SWAHILI: ("ndiyo", "hapana"), "zho_Hans": ("是", "否")}


def shown(source: Source, index: int, fact: str) -> tuple[str, int]:
    """Language and number of the fact that an example of `every_fact` is asked about."""
    found = re.search(rf"(\w{{3}}_\w{{4}}) {fact} (\d+)", prompt_of(source[index]))
    assert found
    return found[1], int(found[2])


def says_yes(source: Source, index: int) -> bool:
    example = source[index]
    assert answer_of(example) in WORDS[example.language]
    return answer_of(example) == WORDS[example.language][0]


@pytest.mark.parametrize("count", [2, 3, 100, 101])
@pytest.mark.parametrize("task", ["matching", "imagenet-decide"])
def test_half_of_each_language_is_true(task: str, count: int) -> None:
    source = tasked(every_fact(count=count), task, {}, 1)
    assert set(source.by_language) == set(WORDS)
    for indices in source.by_language.values():
        told = [says_yes(source, int(index)) for index in indices]
        assert abs(2 * sum(told) - count) <= 1


def test_no_block_of_examples_is_of_one_polarity() -> None:
    source = tasked(every_fact((ENGLISH,), 500), "matching", {}, 1)
    told = [says_yes(source, index) for index in range(500)]
    assert all(set(told[at : at + 3]) == {True, False} for at in range(498))


def test_the_true_ones_differ_by_seed() -> None:
    raw = every_fact((ENGLISH,), 50)
    one, other = ([says_yes(tasked(raw, "matching", {}, seed), n) for n in range(50)] for seed in (0, 1))
    assert one != other


@pytest.mark.parametrize("task", ["matching", "imagenet-decide"])
def test_a_template_says_nothing_of_the_answer(task: str) -> None:
    """Each template is used equally often for yes and for no, and over both."""
    source = tasked(every_fact((ENGLISH, GERMAN), 607), task, {}, 4)
    for indices in source.by_language.values():
        used: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
        for index in indices.tolist():
            form = re.sub(r"\w+_\w+ (caption|thing) \d+", "…", prompt_of(source[index]))
            used[says_yes(source, index)][form] += 1
        templates = len(load_templates()[task].english)
        assert set(used[True]) == set(used[False])
        assert len(used[True]) == templates
        both = used[True] + used[False]
        for counts in (*used.values(), both):
            assert max(counts.values()) - min(counts.values()) <= 1


def test_a_template_says_nothing_of_an_answer_that_the_source_gives() -> None:
    raw = with_answers(every_fact((ENGLISH,), 6000, pictures=2), ("true", "false"))
    source = tasked(raw, "nlvr2", {}, 0)
    used: Counter[tuple[str, bool]] = Counter()
    for index in range(6000):
        form = re.sub(r"\w+ statement \d+", "…", prompt_of(source[index]))
        used[form, says_yes(source, index)] += 1
    assert len(used) == 2 * len(load_templates()["nlvr2"].english)
    assert all(500 < count < 700 for count in used.values()), "six standard deviations around 600"


def test_a_true_example_shows_its_own_caption_and_a_false_one_anothers_in_its_language() -> None:
    source = tasked(every_fact(), "matching", {}, 2)
    for code, indices in source.by_language.items():
        numbers = []
        for rank, index in enumerate(indices.tolist()):
            said, number = shown(source, index, "caption")
            assert said == code
            assert (number == rank) == says_yes(source, index)
            numbers += [] if number == rank else [number]
        assert len(set(numbers)) > 0.8 * len(numbers), "wrong captions are spread over all"


def captions(*texts: str, same: dict[int, str] | None = None, code: str = ENGLISH) -> Facts:
    return Facts([(code, {"caption": text}) for text in texts], same_picture=same)


def negatives_of(raw: Facts, task: str = "matching", seeds: int = 30, **options: Any) -> dict[int, set[str]]:
    """Wrong texts that examples get over many seeds."""
    fact = "caption" if task == "matching" else "label"
    found: dict[int, set[str]] = {}
    for seed in range(seeds):
        source = tasked(raw, task, options, seed)
        for index in range(len(raw)):
            if says_yes(source, index):
                continue
            words = prompt_of(source[index])
            texts = {one[1][fact] for one in raw.rows if one[1][fact] in words}
            found.setdefault(index, set()).add(max(texts, key=len))
    return found


def test_a_wrong_caption_is_never_the_right_one_in_other_letters() -> None:
    raw = captions("A dog runs.", "a DOG runs", "Ａ dog, runs!", "a  dog-runs", "A cat sleeps.")
    found = negatives_of(raw)
    assert all(found[index] == {"A cat sleeps."} for index in range(4))
    assert found[4] == {"A dog runs.", "a DOG runs", "Ａ dog, runs!", "a  dog-runs"}


def test_a_wrong_caption_is_never_of_the_same_picture() -> None:
    raw = captions("A dog runs.", "An animal.", "A cat.", "A tree.", same={0: "1.jpg", 1: "1.jpg"})
    found = negatives_of(raw)
    assert found[0] == found[1] == {"A cat.", "A tree."}
    assert found[2] == {"A dog runs.", "An animal.", "A tree."}


def test_a_wrong_caption_never_says_what_another_caption_of_the_picture_says() -> None:
    raw = captions("A dog runs.", "An animal", "an animal.", "A tree.", same={0: "1.jpg", 1: "1.jpg"})
    found = negatives_of(raw)
    assert found[0] == found[1] == {"A tree."}


def test_a_source_of_one_caption_has_no_wrong_one_and_says_so() -> None:
    source = tasked(captions("A dog runs.", "a dog runs"), "matching", {}, 0)
    with pytest.raises(DataError, match="has no other caption in eng_Latn that is wrong of its picture, among 2"):
        [source[0], source[1]]


def labels(*pairs: tuple[str, str]) -> Facts:
    return Facts([(ENGLISH, {"label": label, "class": name}) for label, name in pairs])


def test_a_wrong_class_is_neither_the_true_one_nor_one_of_its_name() -> None:
    raw = labels(("crane", "n1"), ("Crane", "n2"), ("crane bird", "n1"), ("pelican", "n3"), ("stork", "n4"))
    found = negatives_of(raw, "imagenet-decide")
    assert found[0] == {"pelican", "stork"}, "not its own other name, not the other crane"
    assert found[1] == {"crane bird", "pelican", "stork"}
    assert found[3] == {"crane", "Crane", "crane bird", "stork"}


def test_each_example_decides_about_its_own_picture() -> None:
    """mBLIP went over the pictures of the naming task a second time, one behind (B11)."""
    raw = every_fact((ENGLISH,), 30)
    name, decide = tasked(raw, "imagenet-name", {}, 0), tasked(raw, "imagenet-decide", {}, 0)
    for index in range(30):
        assert name[index].images == decide[index].images == raw[index].images
        if says_yes(decide, index):
            assert answer_of(name[index]) in prompt_of(decide[index])
        else:
            assert answer_of(name[index]) not in prompt_of(decide[index])


def test_only_examples_of_by_language_become_wrong_captions() -> None:
    raw = captions("A dog.", "A cat.", "A tree.", "Forbidden.")
    raw.by_language = {ENGLISH: np.array([0, 1, 2], dtype=np.int32)}
    found: set[str] = set()
    for seed in range(20):
        source = tasked(raw, "matching", {}, seed)
        found |= {prompt_of(source[index]) for index in range(3)}
    assert not [one for one in found if "Forbidden" in one]


class TestHard:
    @pytest.fixture
    def mined(self, tmp_path: Path) -> tuple[Facts, Path, Neighbours]:
        things = ("dog", "cat", "boat", "kite", "tree")
        doing = ("on a red hill", "in a small house", "under the old bridge", "near blue water", "at night by a lamp")
        raw = captions(*(f"a {thing} {where}" for where in doing for thing in things))
        folder = tmp_path / "mined"
        return raw, folder, mine(raw, "lexical", folder, ranks=(1, 2, 3))

    def test_wrong_captions_are_those_that_were_mined(self, mined: tuple[Facts, Path, Neighbours]) -> None:
        raw, folder, near = mined
        found = negatives_of(raw, negatives=str(folder), random_share=0)
        texts = [facts["caption"] for _, facts in raw.rows]
        for index, wrong in found.items():
            assert wrong <= {texts[one] for one in near.rank(index)}
        assert any(len(wrong) == 3 for wrong in found.values()), "all ranks are used"

    def test_a_share_is_random_all_the_same(self, mined: tuple[Facts, Path, Neighbours]) -> None:
        raw, folder, near = mined
        texts = [facts["caption"] for _, facts in raw.rows]
        found = negatives_of(raw, negatives=str(folder), random_share=0.5)
        assert any(wrong - {texts[one] for one in near.rank(index)} for index, wrong in found.items())

    def test_one_of_the_same_words_or_picture_is_passed_over(self, monkeypatch: pytest.MonkeyPatch) -> None:
        raw = captions("a dog", "A dog!", "a hound", "a tree", "a house", same={0: "1.jpg", 2: "1.jpg"})

        class Near:
            def rank(self, index: int) -> list[int]:
                return [1, 2, 0, 99]

        monkeypatch.setattr(decisions, "open_ranked", lambda folder, source: Near())
        found = negatives_of(raw, negatives="near", random_share=0)
        assert found[0] == {"a tree", "a house"}, "all neighbours are right of the picture, so that it is a random one"
        assert found[3] == {"a dog", "A dog!", "a hound"}

    def test_neighbours_of_another_source_are_refused(self, mined: tuple[Facts, Path, Neighbours]) -> None:
        _, folder, _ = mined
        with pytest.raises(DataError, match="holds the neighbours of"):
            tasked(captions("a", "b"), "matching", {"negatives": str(folder)}, 0)


def test_answers_in_english_count_as_english_whatever_the_caption() -> None:
    source = tasked(every_fact(), "matching", {"answers": "english"}, 0)
    assert list(source.by_language) == [ENGLISH]
    assert source.by_language[ENGLISH].tolist() == list(range(len(source)))
    for index in range(60):
        example = source[index]
        assert example.language == ENGLISH
        assert "English" in prompt_of(example)
        assert answer_of(example) in ("yes", "no")
    assert IGBO in {shown(source, index, "caption")[0] for index in range(60)}


def test_sentences_answer_where_there_are_some() -> None:
    source = tasked(every_fact(), "matching", {"form": "sentence"}, 0)
    words = load_templates()["matching"]
    for code, indices in source.by_language.items():
        told = {answer_of(source[int(index)]) for index in indices}
        known = {*words.sentences(code, True), *words.sentences(code, False)}
        assert told == (known or set(WORDS[code]))


@pytest.mark.parametrize(
    ("code", "answer", "said"), [(ENGLISH, "True", "yes"), (ENGLISH, "no", "no"), (GERMAN, "Ja", "ja")]
)
def test_a_statement_is_judged_as_the_source_says(code: str, answer: str, said: str) -> None:
    raw = Facts([(code, {"statement": "Two dogs.", "answer": answer})], pictures=2)
    assert answer_of(tasked(raw, "nlvr2", {}, 0)[0]) == said


def test_what_is_neither_true_nor_false_is_refused() -> None:
    raw = Facts([(ENGLISH, {"statement": "Two dogs.", "answer": "maybe"})], pictures=2)
    with pytest.raises(DataError, match="'maybe', which is neither true nor false"):
        tasked(raw, "nlvr2", {}, 0)[0]


def test_a_statement_is_about_two_pictures() -> None:
    raw = Facts([(ENGLISH, {"statement": "Two dogs.", "answer": "yes"})], pictures=1)
    with pytest.raises(DataError, match="has 1 pictures, the task is about 2"):
        tasked(raw, "nlvr2", {}, 0)[0]


def test_normal_forms_are_what_the_negatives_are_compared_by() -> None:
    assert normal_form("Ａ dog, runs!") == normal_form("a dog runs")

"""MVL-SIB's questions, drawn from its sentences and pictures as they are published."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from tests.unit.benchmarks.conftest import Examples, Scores

from visiglot.benchmarks.mvl_sib import TASKS, TEXT_TASKS
from visiglot.errors import EvaluationError
from visiglot.evaluate.benchmark import BENCHMARKS
from visiglot.types import Example, ImageSlot


def topic_of(sentence: str) -> str:
    return sentence.split()[1].partition("/")[0]


def options(row: Example) -> list[str]:
    found: list[str] = json.loads(row.facts["options"])
    return found


def test_three_questions_of_each_task_about_each_sentence(examples: Examples) -> None:
    rows = examples("mvl-sib")
    assert Counter(row.task for row in rows.values()) == dict.fromkeys(TASKS, 3 * 35)
    assert Counter(row.group for row in rows.values()) == dict.fromkeys({row.group for row in rows.values()}, 18)
    assert {row.group for row in examples("mvl-sib", split="test").values()} < {row.group for row in rows.values()}


@pytest.mark.parametrize("count", [1, 3, 5])
def test_pictures_of_one_topic_and_one_sentence_of_it_in_four(examples: Examples, count: int) -> None:
    for row in examples("mvl-sib", split="test").values():
        if row.task != f"i2s-{count}":
            continue
        assert len({image.name for image in row.images}) == count
        assert {image.name.partition("_")[0] for image in row.images} == {row.facts["topic"]}
        topics = [topic_of(sentence) for sentence in options(row)]
        assert len(set(topics)) == 4
        assert topics["ABCD".index(row.references[0])] == row.facts["topic"]


@pytest.mark.parametrize("count", [1, 3, 5])
def test_sentences_of_one_topic_and_one_picture_of_it_in_four(examples: Examples, count: int) -> None:
    for row in examples("mvl-sib", "tur_Latn", split="test").values():
        if row.task != f"s2i-{count}":
            continue
        said = [line for line in row.messages[0].text.splitlines() if line.startswith("- ")]
        assert len(set(said)) == count
        assert {topic_of(line.removeprefix("- ")) for line in said} == {row.facts["topic"]}
        topics = [image.name.partition("_")[0] for image in row.images]
        assert len(set(topics)) == 4
        assert topics["ABCD".index(row.references[0])] == row.facts["topic"]


def test_pictures_to_choose_from_stand_behind_their_letters(examples: Examples) -> None:
    row = next(row for row in examples("mvl-sib", split="test").values() if row.task == "s2i-1")
    content = row.messages[0].content
    assert [part for part in content if isinstance(part, ImageSlot)] == [ImageSlot(n) for n in range(4)]
    for letter, slot in zip("ABCD", [place for place, part in enumerate(content) if isinstance(part, ImageSlot)]):
        assert str(content[slot - 1]).endswith(f"\n{letter}. ")


def test_languages_are_asked_the_same_and_more_pictures_are_more_of_the_same(examples: Examples) -> None:
    english, turkish = examples("mvl-sib"), examples("mvl-sib", "tur_Latn")
    assert list(english) == list(turkish)
    for id, row in english.items():
        assert (row.images, row.references) == (turkish[id].images, turkish[id].references)
        if row.task == "i2s-1":
            assert english[id.replace("i2s-1", "i2s-5")].images[:1] == row.images
    assert len(Counter(row.references for row in english.values())) == 4


def test_the_control_names_the_topic_and_needs_no_pictures(root: Path, examples: Examples) -> None:
    for file in (root / "mvl-sib/data/images/sib200").iterdir():
        file.unlink()
    rows = examples("mvl-sib-text")
    assert {row.task for row in rows.values()} == set(TEXT_TASKS)
    assert not any(row.images for row in rows.values())
    row = rows["t2s/2/0"]
    assert row.messages[0].text.startswith("Which sentence is about the topic geography?\nA. eng_Latn: ")
    with pytest.raises(EvaluationError, match=r"has no data/images/sib200/entertainment_0.jpg"):
        BENCHMARKS.get("mvl-sib").open(root)


def test_only_languages_of_the_table_are_there(root: Path) -> None:
    assert set(BENCHMARKS.get("mvl-sib").open(root).languages) == {"eng_Latn", "tur_Latn"}


def test_an_unknown_topic_is_said_with_its_place(root: Path) -> None:
    file = root / "mvl-sib/data/sib200/tur_Latn/test.tsv"
    file.write_text(file.read_text(encoding="utf-8").replace("\thealth\t", "\twealth\t"), encoding="utf-8")
    data = BENCHMARKS.get("mvl-sib").open(root)
    with pytest.raises(EvaluationError, match=r"test.tsv, line 3, field `category`: must be one of .*, found 'wealth'"):
        data.examples("tur_Latn", split="test", prompt_set="native", limit=None)


def test_too_few_sentences_of_a_topic_are_said(root: Path) -> None:
    file = root / "mvl-sib/data/sib200/tur_Latn/test.tsv"
    file.write_text("\n".join(file.read_text(encoding="utf-8").splitlines()[:-5]) + "\n", encoding="utf-8")
    data = BENCHMARKS.get("mvl-sib").open(root)
    with pytest.raises(EvaluationError, match=r"test.tsv: must have 5 sentences or more of each of 4 topics or more"):
        data.examples("tur_Latn", split="test", prompt_set="native", limit=None)


def test_a_wrong_answer_lowers_its_task_only(scores: Scores, examples: Examples) -> None:
    right = examples("mvl-sib")["s2i-3/2/0"].references[0]
    found = scores("mvl-sib", {"s2i-3/2/0": "B" if right == "A" else "A"})
    assert found["s2i-3", "choice-accuracy"].value == pytest.approx(104 / 105)
    assert found["s2i-5", "choice-accuracy"].value == 1

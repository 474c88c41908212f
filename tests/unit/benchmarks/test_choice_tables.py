"""MMMB and multilingual MMBench in Parrot's tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.benchmarks_data import write_table
from tests.drawn import draw
from tests.unit.benchmarks.conftest import Examples, Scores

from visiglot.errors import EvaluationError
from visiglot.evaluate.benchmark import BENCHMARKS

SUFFIX = {
    "eng_Latn": "Answer with the option's letter from the given choices directly.",
    "tur_Latn": "Verilen seçeneklerden doğrudan seçeneğin harfi ile cevap verin.",
    "zho_Hans": "请直接用给定选项中的选项字母回答。",
}


def test_a_prompt_is_the_hint_the_question_the_options_and_what_to_answer(examples: Examples) -> None:
    text = examples("mmmb", "eng_Latn", "paper")["8"].messages[0].text
    assert text == f"Look closely.\nWhat is it?\nA. square\nB. circle\nC. bar\nD. star\n{SUFFIX['eng_Latn']}"


def test_the_prompts_language_is_the_examples_however_many_tables_are_run(examples: Examples) -> None:
    for code, suffix in SUFFIX.items():
        assert all(row.messages[0].text.endswith(suffix) for row in examples("mmmb", code, "paper").values())
    assert all("harfiyle" in row.messages[0].text for row in examples("mmmb", "tur_Latn").values())


def test_parrot_asks_in_chinese_wherever_a_chinese_character_stands(root: Path, examples: Examples) -> None:
    file = root / "mmmb/mmmb_tr.tsv"
    file.write_text(file.read_text(encoding="utf-8").replace("What is it?", "Hangi 字?"), encoding="utf-8")
    assert examples("mmmb", "tur_Latn", "paper")["8"].messages[0].text.endswith(SUFFIX["zho_Hans"])
    assert "harfiyle" in examples("mmmb", "tur_Latn")["8"].messages[0].text


def test_parrot_asks_in_english_where_a_chinese_question_has_no_chinese_character(
    root: Path, examples: Examples
) -> None:
    file = root / "mmmb/mmmb_cn.tsv"
    file.write_text(file.read_text(encoding="utf-8").replace("（图）", ""), encoding="utf-8")
    assert examples("mmmb", "zho_Hans", "paper")["8"].messages[0].text.endswith(SUFFIX["eng_Latn"])
    assert examples("mmmb", "zho_Hans")["8"].messages[0].text.endswith("请只回答正确选项的字母。")


def test_a_question_and_its_counterpart_are_one_group(examples: Examples) -> None:
    rows = examples("mmmb")
    assert {row.group for row in rows.values()} == {"7", "8", "9"}
    assert [id for id, row in rows.items() if row.group == "7"] == ["7", "1000007"]


def test_choices_are_letters_and_the_facts_have_the_options(examples: Examples) -> None:
    row = examples("mmmb")["9"]
    assert row.choices == ("A", "B", "C")
    assert json.loads(row.facts["options"]) == ["red", "green", "blue"]
    assert (row.facts["index"], row.facts["index_rows"], row.facts["category"]) == ("9", "2", "Color")


def test_pictures_are_unpacked_once_for_all_languages_and_found_by_index(examples: Examples) -> None:
    english, turkish = examples("mmmb"), examples("mmmb", "tur_Latn")
    assert english["1000007"].images == english["7"].images
    assert all(english[id].images[0].path == turkish[id].images[0].path for id in english)
    assert english["7"].images[0].read() == draw("green", "square")


def test_a_circle_has_every_rotation_of_the_options(examples: Examples) -> None:
    rows = examples("mmbench")
    assert len(rows) == 7
    for group, count in (("3", 3), ("5", 4)):
        circle = [row for row in rows.values() if row.group == group]
        assert len(circle) == count
        right = [json.loads(row.facts["options"])["ABCD".index(row.references[0])] for row in circle]
        assert len(set(right)) == 1
        assert len({row.references for row in circle}) == count


def table(root: Path, **changes: str) -> Path:
    row = {"index": "1", "question": "Which?", "A": "one", "B": "two", "answer": "A", "image": "aGVsbG8="} | changes
    write_table(root / "mmmb/mmmb_en.tsv", [row])
    return root / "mmmb/mmmb_en.tsv"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"answer": "E"}, "field `answer`: must be one of A, B, found 'E'"),
        ({"B": ""}, "field `A`: must be the first of two options or more, found 1"),
        ({"image": "no base 64!"}, "field `image`: is neither base64 nor the index of another row"),
        ({"image": "17"}, "field `image`: is the index 17, and no row of that index has a picture"),
        ({"index": "one"}, "field `index`: must be a whole number, found 'one'"),
        ({"image": ""}, "field `image`: is missing"),
    ],
)
def test_a_bad_row_is_said_with_file_line_field_and_what_to_do(root: Path, changes: dict[str, str], said: str) -> None:
    file = table(root, **changes)
    with pytest.raises(EvaluationError) as caught:
        BENCHMARKS.get("mmmb").open(root).examples("eng_Latn", split="test", prompt_set="native", limit=None)
    assert caught.value.message.startswith(f"{file}, line 2, {said}")
    assert "huggingface.co/datasets/AIDC-AI/Parrot-dataset" in (caught.value.hint or "")


def test_mmmb_by_rows_and_by_pairs(scores: Scores) -> None:
    found = scores("mmmb", {"1000007": "A", "8": "The answer is C."})
    row, pair = found["choice", "choice-accuracy"], found["choice", "pair-accuracy"]
    assert (row.value, row.n) == (0.8, 5)
    assert (pair.value, pair.n) == (pytest.approx(2 / 3), 3)


def test_a_circle_counts_only_whole(scores: Scores) -> None:
    found = scores("mmbench", {"2000005": "A"})
    circle = found["choice", "circular-accuracy"]
    assert (circle.value, circle.n) == (0.5, 2)
    assert found["choice", "choice-accuracy"].value == pytest.approx(6 / 7)

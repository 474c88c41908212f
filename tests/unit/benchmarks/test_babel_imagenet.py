"""Babel-ImageNet as its authors publish it, ranked and as questions of four names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.benchmarks.conftest import Examples, Scores
from tests.unit.evaluate.conftest import Ranking

from visiglot.benchmarks.babel_imagenet import nearest_names
from visiglot.errors import EvaluationError
from visiglot.evaluate.benchmark import BENCHMARKS
from visiglot.evaluate.generate import collect_predictions
from visiglot.evaluate.score import score_predictions


def test_only_classes_with_a_name_are_there_and_all_names_are_choices(examples: Examples) -> None:
    rows = examples("babel-imagenet", "tha_Thai")
    assert {row.group for row in rows.values()} == {"n01443537", "n01491361"}
    assert {row.choices for row in rows.values()} == {("ปลาทอง", "ฉลามเสือ")}
    assert rows["n01491361/ILSVRC2012_val_00030000"].references == ("ฉลามเสือ",)
    assert len(rows) == 24


def test_english_is_the_classes_own_and_two_of_one_name_are_one_choice(examples: Examples) -> None:
    rows = examples("babel-imagenet")
    assert rows["n01484850/ILSVRC2012_val_00020003"].references == ("great white shark",)
    assert rows["n01484850/ILSVRC2012_val_00020003"].choices.count("crane") == 1
    assert {row.group for row in rows.values() if row.references == ("crane",)} == {"n02012849", "n03126707"}


def test_languages_that_the_table_does_not_have_are_left_out(root: Path) -> None:
    languages = BENCHMARKS.get("babel-imagenet").open(root).languages
    assert set(languages) == {"eng_Latn", "deu_Latn", "tha_Thai"}


def test_chance_and_the_number_of_classes_stand_beside_the_accuracy(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "evaluation"
    ranking = Ranking(["Goldfisch", "Schleie", "Weißer Hai", "Tigerhai", "Kranich", "ปลาทอง", "ฉลามเสือ"])
    languages = ["deu_Latn", "tha_Thai"]
    collect_predictions(
        ranking, BENCHMARKS.get("babel-imagenet"), languages, out, resume=False, root=root, answers="likelihood"
    )
    found = {(score.language, score.metric): score.value for score in score_predictions(out)}
    for code, classes in {"deu_Latn": 5, "tha_Thai": 2}.items():
        assert found[code, "likelihood-accuracy"] == pytest.approx(1 / classes)
        assert found[code, "chance"] == pytest.approx(1 / classes)
        assert found[code, "choices"] == classes


def test_wrong_names_are_those_of_the_nearest_classes() -> None:
    names = {10: "a", 11: "b", 12: "c", 13: "d", 500: "e", 9: "b"}
    assert nearest_names(12, names) == ["b", "d", "a"]
    assert nearest_names(500, names) == ["d", "c", "b"]


def test_four_names_in_their_order_of_letters_and_ten_pictures_a_class(examples: Examples) -> None:
    rows = examples("bin-mc", "deu_Latn")
    assert len(rows) == 5 * 10
    row = rows["n01440764/ILSVRC2012_val_00000000"]
    options = json.loads(row.facts["options"])
    assert sorted(options) == ["Goldfisch", "Schleie", "Tigerhai", "Weißer Hai"]
    assert options["ABCD".index(row.references[0])] == "Schleie"
    assert row.messages[0].text.startswith(f"Was davon ist auf dem Bild?\nA. {options[0]}\nB. {options[1]}\n")
    assert len({row.references for row in rows.values()}) == 4


def test_a_language_with_less_than_four_names_has_no_such_questions(examples: Examples) -> None:
    assert examples("bin-mc", "tha_Thai") == {}


def test_the_papers_prompt_is_centurios(examples: Examples) -> None:
    text = examples("bin-mc", "deu_Latn", "paper")["n01440764/ILSVRC2012_val_00000000"].messages[0].text
    assert text.startswith("Which of these choices (in German) is shown in the image?\n Choices:\nA. ")
    assert text.endswith("\n Answer with the letter from the given choices directly.")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"DE": [[0, 1], ["Schleie"]]}, "field `DE`: must be class numbers and as many names"),
        ({"DE": [[0, 77], ["Schleie", "x"]]}, "field `DE`: 77 must be a class's number and 'x' its name"),
        (["DE"], "must be an object, found list"),
    ],
)
def test_names_of_another_form_are_said_with_their_place(root: Path, names: object, said: str) -> None:
    file = root / "babel-imagenet/babel_imagenet-298.json"
    file.write_text(json.dumps(names), encoding="utf-8")
    with pytest.raises(EvaluationError) as caught:
        BENCHMARKS.get("bin-mc").open(root)
    assert str(file) in caught.value.message
    assert said in caught.value.message


def test_a_wrong_letter_of_fifty(scores: Scores, examples: Examples) -> None:
    id, row = next(iter(examples("bin-mc", "deu_Latn").items()))
    wrong = next(letter for letter in "AB" if letter != row.references[0])
    found = scores("bin-mc", {id: f"{wrong}."}, "deu_Latn")
    assert found["choice", "choice-accuracy"].value == pytest.approx(49 / 50)
    assert (found["choice", "chance"].value, found["choice", "choices"].value) == (0.25, 4)

"""CVQA as its data set publishes it, with labels and with hidden ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.packed_data import cvqa_rows, write_parquet
from tests.unit.benchmarks.conftest import Examples, Scores
from tests.unit.evaluate.conftest import Scripted

from visiglot.errors import EvaluationError, Notice
from visiglot.evaluate.benchmark import BENCHMARKS
from visiglot.evaluate.generate import collect_predictions
from visiglot.evaluate.parts import PARTS
from visiglot.evaluate.score import score_predictions
from visiglot.types import ImageSlot


def test_a_question_is_asked_in_its_language_in_english_or_as_pangea_did(examples: Examples) -> None:
    def asked(prompt_set: str) -> object:
        return examples("cvqa", "spa_Latn", prompt_set)["2_0"].messages[0].content

    assert asked("native") == (
        ImageSlot(0),
        "¿Qué es?\nA. sol\nB. luna\nC. cubo\nD. mar\nResponde solo con la letra de la opción correcta.",
    )
    assert asked("translated") == (
        ImageSlot(0),
        "What is it?\nA. sun\nB. moon\nC. cube\nD. sea\nAnswer with the letter of the right option only.",
    )
    assert asked("paper") == (
        ImageSlot(0),
        "Question: ¿Qué es? Options: A. sol\nB. luna\nC. cubo\nD. mar "
        "Answer with the option's letter from the given choices directly.",
    )


def test_a_subset_gives_language_and_country(examples: Examples) -> None:
    assert list(examples("cvqa", "zho_Hans")) == ["4_0"]
    assert not examples("cvqa", "kor_Hang")
    assert {id: row.facts["subset"] for id, row in examples("cvqa", "spa_Latn").items()} == {
        "2_0": "Spanish (Ecuador)",
        "3_0": "Spanish (Spain)",
    }
    row = examples("cvqa", "arz_Arab")["5_0"]
    assert (row.facts["subset"], row.references, row.facts["category"]) == (
        "Egyptian Arabic (Egypt)",
        ("A",),
        "Objects",
    )
    assert json.loads(row.facts["options"]) == ["مربع", "دايرة", "نجمة", "قمر"]


def test_accuracy_is_given_by_country_and_by_category(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "evaluation"
    collect_predictions(
        Scripted(wrong={"2_0": "D", "1_1": "no idea"}),
        BENCHMARKS.get("cvqa"),
        ["jpn_Jpan", "spa_Latn"],
        out,
        resume=False,
        root=root,
    )
    by_language = {one.language: one for one in score_predictions(out) if one.metric == "choice-accuracy"}
    assert {code: one.value for code, one in by_language.items()} == {"jpn_Jpan": 0.5, "spa_Latn": 0.5}
    rows = [json.loads(line) for line in (out / PARTS).read_text(encoding="utf-8").splitlines()]
    assert {row["metric"] for row in rows} == {"choice-accuracy"}
    assert {(row["fact"], row["part"], row["language"]): (row["value"], row["n"]) for row in rows} == {
        ("category", "Food", "jpn_Jpan"): (0.0, 1),
        ("category", "Food", "spa_Latn"): (1.0, 1),
        ("category", "Food", ""): (0.5, 2),
        ("category", "Objects", "jpn_Jpan"): (1.0, 1),
        ("category", "Objects", "spa_Latn"): (0.0, 1),
        ("category", "Objects", ""): (0.5, 2),
        ("subset", "Japanese (Japan)", "jpn_Jpan"): (0.5, 2),
        ("subset", "Spanish (Ecuador)", "spa_Latn"): (0.0, 1),
        ("subset", "Spanish (Spain)", "spa_Latn"): (1.0, 1),
    }


def test_golden_score_with_chance_beside_it(scores: Scores) -> None:
    found = scores("cvqa", {"3_0": "no idea"}, "spa_Latn", "translated")
    assert {metric: one.value for (_, metric), one in found.items()} == {
        "choice-accuracy": 0.5,
        "letter-failures": 0.5,
        "chance": 0.25,
    }


@pytest.fixture
def hidden(tmp_path: Path) -> Path:
    write_parquet(tmp_path / "hidden/cvqa/data/test-00000-of-00001.parquet", cvqa_rows(Label=-1))
    return tmp_path / "hidden"


class Talker(Scripted):
    """Says B, whatever the question."""

    def answer(self, examples, settings):  # type: ignore[no-untyped-def]
        yield from ((index, "B") for index in range(len(examples)))


def test_with_hidden_labels_answers_are_made_and_scoring_says_so(hidden: Path, root: Path, tmp_path: Path) -> None:
    out = tmp_path / "evaluation"
    done = collect_predictions(Talker(), BENCHMARKS.get("cvqa"), ["spa_Latn"], out, resume=False, root=hidden)
    assert (done.made, done.failed) == (2, 0)
    with pytest.raises(EvaluationError, match="the labels of cvqa are hidden in its data") as caught:
        score_predictions(out)
    assert "eval.ai" in (caught.value.hint or "")
    collect_predictions(Talker(), BENCHMARKS.get("pope"), ["eng_Latn"], out, resume=False, root=root)
    with pytest.warns(Notice, match="the labels of cvqa are hidden"):
        assert {one.benchmark for one in score_predictions(out)} == {"pope"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"Label": 4}, "field `Label`: must be the place of an option, or -1 where it is hidden, found 4"),
        ({"Options": ["one"]}, "field `Options`: must be a list of two options or more, or its writing"),
        ({"Subset": "Spanish"}, "field `Subset`: must be the writing of a language and a country, found 'Spanish'"),
        ({"Subset": "('Klingon', 'Qo')"}, "field `Subset`: names a language that isn't known"),
    ],
)
def test_a_bad_row_is_said_with_its_place(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    file = tmp_path / "cvqa/data/test-00000-of-00001.parquet"
    write_parquet(file, [row | changes for row in cvqa_rows()[2:3]])
    with pytest.raises(EvaluationError) as caught:
        BENCHMARKS.get("cvqa").open(tmp_path).examples("spa_Latn", split="test", prompt_set="native", limit=None)
    assert caught.value.message.startswith(f"{file}, row 0, {said}")
    assert "huggingface.co/datasets/afaji/cvqa" in (caught.value.hint or "")

"""Answers that were made elsewhere, held against the benchmark's data."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.evaluate.conftest import row

from visiglot.errors import EvaluationError
from visiglot.evaluate.benchmark import Benchmark
from visiglot.evaluate.completeness import check_complete
from visiglot.types import Prediction


def all_rows(toy: Benchmark) -> list[Prediction]:
    examples = toy.open(None).examples("deu_Latn", split="test", prompt_set="english", limit=None)
    return [replace(row(one.id, "x", language="deu_Latn"), references=one.references) for one in examples]


def test_answers_to_all_questions_pass_and_so_do_failures(toy: Benchmark) -> None:
    rows, data = all_rows(toy), toy.open(None)
    check_complete(rows, data)
    check_complete([replace(rows[0], text=None, error="it broke"), *rows[1:]], data)
    check_complete([replace(one, prompt_set="english-likelihood") for one in rows], data, prompt_set="english")
    check_complete(rows[:2], data, limit=2)


def test_a_question_without_a_row_is_named(toy: Benchmark) -> None:
    rows, data = all_rows(toy), toy.open(None)
    with pytest.raises(EvaluationError, match=f"1 of {len(rows)} questions have no row: {rows[1].id!r}"):
        check_complete([rows[0], *rows[2:]], data)


def test_rows_of_no_question_and_other_references_are_named(toy: Benchmark) -> None:
    rows, data = all_rows(toy), toy.open(None)
    with pytest.raises(EvaluationError, match="are of no question of split test: 'else'"):
        check_complete([*rows, replace(rows[0], id="else")], data)
    with pytest.raises(EvaluationError, match=f"other references than the data: {rows[0].id!r}"):
        check_complete([replace(rows[0], references=("x",)), *rows[1:]], data)

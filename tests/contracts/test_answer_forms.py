"""Every form of answers from elsewhere is told by the fields of its rows, and by no other's.

The rows are typed by hand in the published forms: COCO's results (cocodataset.org/#format-results), VQA's results
(visualqa.org/evaluation.html), the answer files of LLaVA's scripts, lmms-eval 0.7.3's logs of samples (as it wrote them
with a Visiglot model), and VLMEvalKit's tables of predictions (`vlmeval/inference.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.unit.evaluate.conftest import row

from visiglot.evaluate.elsewhere import FORMS, form_of
from visiglot.evaluate.elsewhere.opened import rows_of
from visiglot.evaluate.predictions import prediction_line

ANSWERS = {"cat": "Katze", "dog": "Wolf", "sun": ""}

ROWS: Mapping[str, Callable[[str, str], dict[str, Any]]] = {
    "coco": lambda id, text: {"image_id": id, "caption": text},
    "vqa": lambda id, text: {"question_id": id, "answer": text},
    "llava": lambda id, text: {
        "question_id": id,
        "prompt": "What is it?",
        "text": text,
        "answer_id": "x7",
        "model_id": "llava-7b",
        "metadata": {},
    },
    "lmms-eval": lambda id, text: {
        "doc_id": list(ANSWERS).index(id),
        "target": "x",
        "filtered_resps": text,
        "token_counts": [None],
        "doc_hash": "74234e98",
        "toy": {"question_id": id, "answer": text},
        "input": "What is it?",
    },
    "vlmevalkit": lambda id, text: {
        "index": id,
        "question": "What is it?",
        "A": "cat",
        "answer": "A",
        "prediction": text,
    },
    "visiglot": lambda id, text: json.loads(prediction_line(row(id, text, language="deu_Latn"))),
}
"""A form -> a row of it."""


def lines(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in rows)


def test_every_form_has_a_row_here() -> None:
    assert sorted(ROWS) == FORMS.names()


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_form_is_told_by_its_fields_from_all_others(name: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(lines([ROWS[name]("cat", "Katze")]), encoding="utf-8")
    (found,) = rows_of(tmp_path / "rows.jsonl")
    assert form_of(found)[0] == name
    assert FORMS.get(name).about.endswith(".")

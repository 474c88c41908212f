"""The forms in which other programs leave answers, one row each. A file's form is told by the fields of its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from visiglot.data.rows import Row
from visiglot.data.rows.base import shown
from visiglot.errors import EvaluationError
from visiglot.evaluate.written import list_in
from visiglot.registry import Registry


@dataclass(frozen=True, slots=True)
class Given:
    """One answer, as a foreign file has it.

    Args:
        where: file and line.
        text: the answer; None where there is none, which `error` explains.
        ids: what the row calls its question, by field, most telling first. May be empty if there is a place.
        place: of the question in the benchmark's order, from 0, where the row says no more.
        targets: right answers that the row has too; they must be the benchmark's where a place is all there is.
        prompt: what was asked, where the row says it.
        model: that answered, where the row says it.
    """

    where: str
    text: str | None
    ids: Mapping[str, str]
    error: str | None = None
    place: int | None = None
    targets: tuple[str, ...] = ()
    prompt: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class Form:
    """A row of the table.

    Args:
        about: whose files these are.
        fields: that every row has.
        read: a row -> the answer. Raises DataError. None: rows are predictions, as Visiglot writes them.
    """

    about: str
    fields: frozenset[str]
    read: Callable[[Row], Given] | None = field(default=None, repr=False)


FORMS: Registry[Form] = Registry("answer form")


def form_of(row: Row) -> tuple[str, Form]:
    """The name and form of a file by one of its rows: of the forms whose fields it has, the one with most.

    Raises:
        EvaluationError: there is none.
    """
    fitting = [(name, form) for name, form in FORMS.items() if form.fields <= row.values.keys()]
    if not fitting:
        told = "; ".join(f"{name} ({', '.join(sorted(form.fields))})" for name, form in FORMS.items())
        raise EvaluationError(
            f"{row.where}: these are no answers in a form that is known; the fields are {', '.join(row.values)}",
            hint=f"Forms and their fields: {told}.",
        )
    return max(fitting, key=lambda one: len(one[1].fields))


# --- how each form is read -------------------------------------------------------------------------------------------

VLMEVALKIT_FAILED = "Failed to obtain answer"
"""How VLMEvalKit writes that there is no answer (`vlmeval/inference.py`)."""

LMMS_EVAL_IDS = ("question_id", "questionId", "image_id", "id", "index", "idx")
"""Fields of the results that lmms-eval's tasks log beside an answer by which questions are called there."""


def _coco(row: Row) -> Given:
    return Given(str(row.where), _said(row, "caption"), {"image_id": row.name("image_id")})


def _vqa(row: Row) -> Given:
    return Given(str(row.where), _said(row, "answer"), {"question_id": row.name("question_id")})


def _llava(row: Row) -> Given:
    return Given(
        str(row.where),
        _said(row, "text"),
        {"question_id": row.name("question_id")},
        prompt=_words(row.get("prompt")),
        model=_words(row.get("model_id")),
    )


def _vlmevalkit(row: Row) -> Given:
    """An empty cell is an empty answer: these tables can't tell one from none, and failures are written out."""
    text = "" if row.get("prediction") is None else str(row.get("prediction"))
    failed = VLMEVALKIT_FAILED in text
    return Given(
        str(row.where),
        None if failed else text,
        {"index": row.name("index")},
        error=text if failed else None,
        prompt=_words(row.get("question")),
    )


def _lmms_eval(row: Row) -> Given:
    """`doc_id` counts the rows of the task's data set; what a task logs beside an answer often has its id."""
    answers = _flat(row.need("filtered_resps"))
    if len(answers) != 1 or not isinstance(answers[0], str):
        raise row.error("filtered_resps", f"must be one text, found {shown(row.get('filtered_resps'))}")
    beside = [value for value in row.values.values() if isinstance(value, Mapping)]
    ids = {name: str(one[name]) for name in LMMS_EVAL_IDS for one in beside if isinstance(one.get(name), int | str)}
    targets = _targets(row.get("target"))
    place = row.integer("doc_id")
    return Given(str(row.where), answers[0], ids, place=place, targets=targets, prompt=_words(row.get("input")))


def _said(row: Row, name: str) -> str:
    """An answer as it stands; it may be empty, but not missing."""
    value = row.need(name)
    if not isinstance(value, str):
        raise row.error(name, f"must be a text, found {shown(value)}")
    return value


def _words(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _flat(value: Any) -> list[Any]:
    return [one for part in value for one in _flat(part)] if isinstance(value, list) else [value]


def _targets(value: Any) -> tuple[str, ...]:
    """A text, or the texts of a list that is written as one."""
    if value is None:
        return ()
    listed = list_in(value) if isinstance(value, str) and value.startswith("[") else None
    found = listed or (value if isinstance(value, list) else [value])
    return tuple(map(str, found))


FORMS.add(
    "visiglot",
    Form(
        "Visiglot's own predictions, complete with questions and references.",
        frozenset({"id", "text", "error", "benchmark", "split", "prompt_set", "language", "references"}),
    ),
)
FORMS.add("coco", Form("Captions in the form of COCO's results.", frozenset({"image_id", "caption"}), _coco))
FORMS.add("vqa", Form("Answers in the form of VQA's results.", frozenset({"question_id", "answer"}), _vqa))
FORMS.add("llava", Form("Answers as LLaVA's scripts write them.", frozenset({"question_id", "text"}), _llava))
FORMS.add(
    "lmms-eval",
    Form("lmms-eval's logs of samples (--log_samples).", frozenset({"doc_id", "filtered_resps"}), _lmms_eval),
)
FORMS.add("vlmevalkit", Form("VLMEvalKit's tables of predictions.", frozenset({"index", "prediction"}), _vlmevalkit))

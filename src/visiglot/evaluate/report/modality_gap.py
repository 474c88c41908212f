"""The part of a report that shows how far pictures lie from words, of several models side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from visiglot.evaluate.modality_gap import MODALITY_GAP, ModalityGap, read_modality_gap
from visiglot.evaluate.summary import Evaluation
from visiglot.languages import language
from visiglot.sheet import Dots, Page, Panel

Rows = Mapping[str, Mapping[str, ModalityGap]]
"""Label of a model -> language -> what was measured."""


def add_modality_gap(page: Page, evaluations: Iterable[Evaluation]) -> None:
    """For each benchmark that some model's gap was measured on: its numbers by language and a drawing, models side by
    side, such as one before and after training.

    Raises:
        EvaluationError: a file is broken.
    """
    found: dict[tuple[str, str], dict[str, dict[str, ModalityGap]]] = {}
    for evaluation in evaluations:
        path = evaluation.folder / MODALITY_GAP
        for row in read_modality_gap(path):
            found.setdefault((row.benchmark, row.prompt_set), {}).setdefault(evaluation.label, {})[row.language] = row
    for (benchmark, prompt_set), rows in found.items():
        page.section(f"Modality gap: {benchmark} ({prompt_set})")
        _add(page, rows)


def _add(page: Page, models: Rows) -> None:
    every = [row for rows in models.values() for row in rows.values()]
    page.paragraph(
        "How far pictures lie from texts where the language model reads both: means of a picture's image tokens "
        f"against means of a reference's word embeddings, of up to {max(row.pictures for row in every):,} pictures and "
        f"{max(row.texts for row in every):,} texts in a language. AUC: how well a linear probe tells the two apart, "
        "0.5 is no gap and 1 a gap without exception. Distance: between the means of vectors brought to length 1. "
        "Length: of pictures over that of texts."
    )
    codes = sorted({row.language for row in every}, key=lambda code: language(code).name)
    columns = ["", *(f"{what}, {label}" for what in ("AUC", "distance", "length") for label in models)]
    table = [
        [
            language(code).name,
            *(_auc(rows.get(code)) for rows in models.values()),
            *(_number(rows.get(code), "distance") for rows in models.values()),
            *(_number(rows.get(code), "length") for rows in models.values()),
        ]
        for code in codes
    ]
    page.table(columns, table, caption="modality gap by language", numeric=range(1, len(columns)))
    panels = [Panel(label, _dots(rows)) for label, rows in models.items()]
    page.scatter(panels, caption="pictures and texts of all languages, on the two axes on which they differ most (PCA)")


def _dots(rows: Mapping[str, ModalityGap]) -> tuple[Dots, ...]:
    """A picture that is the same in all languages is drawn once."""
    pictures = dict.fromkeys(point for row in rows.values() for point in row.picture_points)
    return (
        Dots("pictures", tuple(pictures)),
        Dots("texts", tuple(point for row in rows.values() for point in row.text_points)),
    )


def _auc(row: ModalityGap | None) -> str:
    return "–" if row is None or row.auc is None else f"{row.auc:.3f}"


def _number(row: ModalityGap | None, name: str) -> str:
    return "–" if row is None else f"{getattr(row, name):.3f}"

"""Prediction, score, mean and comparison files: one JSON object a line, UTF-8, in and out."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from visiglot.errors import EvaluationError, LanguageError
from visiglot.evaluate.comparisons import Comparison
from visiglot.evaluate.means import GroupMean
from visiglot.files import split_lines, write_text
from visiglot.languages import language
from visiglot.types import Prediction, Score

FOLDER = "predictions"
SCORES = "scores.jsonl"
MEANS = "means.jsonl"
COMPARISONS = "comparisons.jsonl"
RUN = "run.json"

_KINDS = {Prediction: "prediction", Score: "score", GroupMean: "mean", Comparison: "comparison"}
_NO_TEXT = ("references", "choices", "likelihoods", "facts")
_NAME = re.compile(r"[A-Za-z0-9_-]+")


def prediction_path(out: Path, benchmark: str, prompt_set: str, language: str) -> Path:
    """`<out>/predictions/<benchmark>.<prompt set>.<language>.jsonl`.

    Raises:
        EvaluationError: a part is no name: anything but letters, digits, "-" and "_" could lead elsewhere.
    """
    for kind, name in (("benchmark", benchmark), ("prompt set", prompt_set), ("language", language)):
        if not _NAME.fullmatch(name):
            raise EvaluationError(
                f"{name!r} can't be the name of a {kind}: it would be part of a file's name",
                hint="Use letters, digits, '-' and '_'.",
            )
    return out / FOLDER / f"{benchmark}.{prompt_set}.{language}.jsonl"


def prediction_line(row: Prediction) -> str:
    """One line, newline included. Line separators of Unicode inside texts are escaped."""
    return _line(_values(row))


def read_predictions(path: Path, *, torn: bool = False) -> list[Prediction]:
    """All rows of a prediction file, their languages as FLORES-200 codes, whatever code or name the file has.

    Args:
        torn: a last line without its end is left out (the file of a run that was killed).

    Raises:
        EvaluationError: the file can't be read, a line is no prediction or of an unknown language, or an id is there
            twice.
    """
    rows: dict[tuple[str, str, str, str], Prediction] = {}
    for where, values in _objects(path, torn=torn):
        row = _prediction(values, where)
        key = (row.benchmark, row.prompt_set, row.language, row.id)
        if key in rows:
            raise EvaluationError(f"{where}: id {row.id!r} is there twice", hint="Keep one row for each id.")
        rows[key] = row
    return list(rows.values())


def write_predictions(rows: Iterable[Prediction], path: Path) -> None:
    """Replace the file by `rows`, atomically. Raises VisiglotError."""
    write_text("".join(map(prediction_line, rows)), path)


def read_folder(folder: Path) -> Iterator[tuple[Path, list[Prediction]]]:
    """Every prediction file of an evaluation folder, in the order of the names.

    Raises:
        EvaluationError: there is none, or one can't be read.
    """
    paths = sorted((folder / FOLDER).glob("*.jsonl"))
    if not paths:
        raise EvaluationError(
            f"no predictions in {folder / FOLDER}",
            hint="`visiglot evaluate MODEL --out FOLDER` writes them; files are called "
            "<benchmark>.<prompt set>.<language>.jsonl",
        )
    for path in paths:
        yield path, read_predictions(path)


def write_scores(scores: Iterable[Score], path: Path) -> None:
    """Replace the file by `scores`, atomically; NaN is written as null. Raises VisiglotError."""
    write_text("".join(_line({k: _finite(v) for k, v in _values(score).items()}) for score in scores), path)


def read_scores(path: Path) -> list[Score]:
    """All rows of a score file.

    Raises:
        EvaluationError: the file can't be read, or a line is no score or of an unknown language.
    """
    scores = []
    for where, values in _objects(path, torn=False):
        checked = _checked(Score, _numbers(values), where)
        if not isinstance(checked["language"], str):
            raise EvaluationError(f"{where}: `language` must be text, found {checked['language']!r}")
        checked["language"] = _code(checked["language"], where)
        scores.append(Score(**checked))
    return scores


def write_means(means: Iterable[GroupMean], path: Path) -> None:
    """Replace the file by `means`, atomically; NaN is written as null. Raises VisiglotError."""
    write_text("".join(_line({k: _finite(v) for k, v in _values(mean).items()}) for mean in means), path)


def read_means(path: Path) -> list[GroupMean]:
    """All rows of a file of means. Raises EvaluationError when it can't be read, or a line is no mean."""
    means = []
    for where, values in _objects(path, torn=False):
        checked = _checked(GroupMean, _numbers(values), where)
        if not isinstance(checked["languages"], list):
            raise EvaluationError(f"{where}: `languages` must be a list, found {checked['languages']!r}")
        checked["languages"] = tuple(_code(name, where) for name in checked["languages"])
        means.append(GroupMean(**checked))
    return means


def write_comparisons(comparisons: Iterable[Comparison], path: Path) -> None:
    """Replace the file by `comparisons`, atomically; NaN is written as null. Raises VisiglotError."""
    write_text("".join(_line({k: _finite(v) for k, v in _values(one).items()}) for one in comparisons), path)


def read_comparisons(path: Path) -> list[Comparison]:
    """All rows of a file of comparisons. Raises EvaluationError when it can't be read, or a line is none."""
    found = []
    for where, values in _objects(path, torn=False):
        checked = _checked(Comparison, _numbers(values), where)
        for key in ("languages", "models"):
            if not isinstance(checked.setdefault(key, []), list):
                raise EvaluationError(f"{where}: `{key}` must be a list, found {checked[key]!r}")
        checked["languages"] = tuple(_code(name, where) for name in checked["languages"])
        checked["models"] = tuple(checked["models"])
        found.append(Comparison(**checked))
    return found


def _numbers(values: dict[str, Any]) -> dict[str, Any]:
    """`values` with null read as NaN where a number stands."""
    return {k: math.nan if v is None and k in ("value", "low", "high", "p") else v for k, v in values.items()}


def _values(row: Prediction | Score | GroupMean | Comparison) -> dict[str, Any]:
    """The row's fields by name. (`dataclasses.asdict` copies every value, which takes most of the time of writing.)"""
    return {f.name: getattr(row, f.name) for f in fields(row)}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _line(values: dict[str, Any]) -> str:
    text = json.dumps(values, ensure_ascii=False, allow_nan=False)
    for sign in ("\u0085", "\u2028", "\u2029"):
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text + "\n"


def _objects(path: Path, *, torn: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where, object) of each line."""
    try:
        text = path.read_bytes().decode("utf-8-sig", errors="strict" if not torn else "replace")
    except OSError as error:
        raise EvaluationError(f"{path} can't be read: {error.strerror or error}", hint="Check the path.") from error
    except UnicodeDecodeError as error:
        raise EvaluationError(f"{path} is no UTF-8 text: {error}", hint="Write it as JSON Lines in UTF-8.") from error
    lines, rest = split_lines(text)
    if rest and not torn:
        lines.append(rest)
    for number, line in enumerate(lines, 1):
        where = f"{path}, line {number}"
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except ValueError as error:
            raise EvaluationError(
                f"{where} is no JSON: {error}",
                hint="If the run was interrupted, run the same `visiglot evaluate` again: it keeps what is done.",
            ) from error
        if not isinstance(values, dict):
            raise EvaluationError(f"{where} is a {type(values).__name__}, not an object", hint="One object a line.")
        yield where, values


def _checked(
    kind: type[Prediction | Score | GroupMean | Comparison], values: dict[str, Any], where: str
) -> dict[str, Any]:
    """`values` if its keys are those of `kind`."""
    known = {f.name for f in fields(kind)}
    needed = {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}
    problems = [f"lacks {key!r}" for key in sorted(needed - values.keys())]
    problems += [f"has {key!r}, which isn't known" for key in sorted(values.keys() - known)]
    if problems:
        raise EvaluationError(
            f"{where} is no {_KINDS[kind]}: it {', '.join(problems)}",
            hint=f"Keys: {', '.join(sorted(known))}.",
        )
    return values


def _prediction(values: dict[str, Any], where: str) -> Prediction:
    checked = dict(_checked(Prediction, values, where))
    for key in ("references", "choices"):
        checked[key] = _texts(checked.get(key, []), key, where)
    checked["likelihoods"] = _likelihoods(checked.get("likelihoods", []), len(checked["choices"]), where)
    facts = checked.setdefault("facts", {})
    if not isinstance(facts, dict) or not all(isinstance(fact, str) for fact in facts.values()):
        raise EvaluationError(f"{where}: `facts` must be an object of texts, found {facts!r}")
    for key, value in checked.items():
        empty = key in ("text", "error") and value is None
        if key not in _NO_TEXT and not empty and not isinstance(value, str):
            raise EvaluationError(f"{where}: `{key}` must be text, found {value!r}")
    if (checked["text"] is None) == (checked["error"] is None):
        raise EvaluationError(
            f"{where}: exactly one of `text` and `error` must be null",
            hint='A failed generation has an error and no text; an empty answer has the text "".',
        )
    checked["language"] = _code(checked["language"], where)
    return Prediction(**checked)


def _texts(value: Any, key: str, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise EvaluationError(f"{where}: `{key}` must be a list of texts, found {value!r}")
    return tuple(value)


def _likelihoods(value: Any, choices: int, where: str) -> tuple[float, ...]:
    """Of each choice, or of none."""
    numbers = isinstance(value, list) and all(
        isinstance(one, int | float) and not isinstance(one, bool) and math.isfinite(one) for one in value
    )
    if not numbers or len(value) not in (0, choices):
        raise EvaluationError(
            f"{where}: `likelihoods` must be one finite number for each of the {choices} choices, found {value!r}",
            hint="Leave it out where the choices weren't ranked.",
        )
    return tuple(float(one) for one in value)


def _code(name: str, where: str) -> str:
    try:
        return language(name).code
    except LanguageError as error:
        raise EvaluationError(f"{where}: `language`: {error.message}", hint=error.hint) from error

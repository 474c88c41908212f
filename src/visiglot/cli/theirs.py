"""Files of answers that were made elsewhere: `visiglot evaluate --predictions FILE`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from visiglot.cli.console import say
from visiglot.errors import EvaluationError

if TYPE_CHECKING:
    from visiglot.evaluate.elsewhere import Form, Given
    from visiglot.types import Prediction


@dataclass(frozen=True, slots=True)
class Theirs:
    """A file of answers, and what the command line says of it.

    Args:
        benchmarks, languages, split, prompts: which questions were asked, where the rows don't say it.
        data: the folder of all benchmarks' data; None: rows that say everything are held against nothing, which is
            said on stderr and in their scores.
        limit: as it was when the answers were made.
    """

    file: Path
    benchmarks: Sequence[str]
    languages: str | None
    split: str | None
    prompts: str | None
    data: Path | None
    limit: int | None


def take_in(theirs: Theirs, folder: Path, *, dry_run: bool) -> None:
    """Sort a file's answers into the evaluation folder, a prediction file for each benchmark and language, and account
    for them in `elsewhere.json`.

    Raises:
        EvaluationError: the file is broken or in no known form, not all questions have an answer, or answers of another
            model would be overwritten.
        UnknownNameError: no such benchmark, split, language or prompt set.
    """
    from visiglot.evaluate.elsewhere import Taken, add_taken, form_of
    from visiglot.evaluate.elsewhere.opened import rows_of
    from visiglot.evaluate.predictions import prediction_path, read_predictions, write_predictions

    if (first := next(iter(rows_of(theirs.file)), None)) is None:
        raise EvaluationError(f"{theirs.file} holds no predictions", hint="It needs one answer a row.")
    name, form = form_of(first)
    if form.read is None:
        rows, revisions = _ours(theirs)
    else:
        rows, revisions = _foreign(theirs, form, folder.name)
        say(f"{theirs.file}: {len(rows):,} answers, form {name}")
    parts: dict[Path, list[Prediction]] = {}
    for row in rows:
        parts.setdefault(prediction_path(folder, row.benchmark, row.prompt_set, row.language), []).append(row)
    for path, own in parts.items():
        before = {row.model for row in read_predictions(path)} if path.exists() else set()
        if before - {row.model for row in own}:
            raise EvaluationError(
                f"{path} holds answers of {', '.join(sorted(before))}", hint="Name another folder with --out."
            )
        if dry_run:
            typer.echo(f"{path}: {len(own):,} rows")
    if not all(revisions.get(row.benchmark) for row in rows):
        say("notice  whether each question has a row isn't known: --data FOLDER compares them with the benchmark")
    if not dry_run:
        for path, own in parts.items():
            write_predictions(own, path)
        account = {
            path.name: Taken(theirs.file.name, name, len(own), revisions.get(own[0].benchmark, ""))
            for path, own in parts.items()
        }
        add_taken(folder, account)


def _ours(theirs: Theirs) -> tuple[list[Prediction], Mapping[str, str]]:
    """Predictions in Visiglot's form, and the revision of each benchmark that they were held against."""
    from visiglot.evaluate.benchmark import BENCHMARKS
    from visiglot.evaluate.completeness import check_complete
    from visiglot.evaluate.generate import LIKELIHOOD
    from visiglot.evaluate.predictions import read_predictions

    given = {"--benchmarks": theirs.benchmarks, "--languages": theirs.languages, "--split": theirs.split}
    said = [name for name, value in {**given, "--prompts": theirs.prompts}.items() if value]
    if said:
        raise EvaluationError(f"{', '.join(said)}: the rows of {theirs.file} say it themselves", hint="Leave it out.")
    rows = read_predictions(theirs.file)
    parts: dict[tuple[str, str, str, str], list[Prediction]] = {}
    for row in rows:
        parts.setdefault((row.benchmark, row.split, row.prompt_set, row.language), []).append(row)
        BENCHMARKS.get(row.benchmark).choose("prompt set", row.prompt_set.removesuffix(f"-{LIKELIHOOD}"))
    if theirs.data is None:
        return rows, {}
    opened = {name: BENCHMARKS.get(name).open(theirs.data) for name in dict.fromkeys(row.benchmark for row in rows)}
    for (benchmark, _, prompt_set, _), own in parts.items():
        bare = prompt_set.removesuffix(f"-{LIKELIHOOD}")
        check_complete(own, opened[benchmark], prompt_set=bare, limit=theirs.limit)
    return rows, {name: data.revision for name, data in opened.items()}


def _foreign(theirs: Theirs, form: Form, model: str) -> tuple[list[Prediction], Mapping[str, str]]:
    """The same of answers in another's form, which are held against the data in any case."""
    from visiglot.evaluate.benchmark import BENCHMARKS
    from visiglot.evaluate.elsewhere import Wanted, match
    from visiglot.evaluate.elsewhere.opened import rows_of

    if len(theirs.benchmarks) != 1:
        raise EvaluationError(
            f"{theirs.file} doesn't say which benchmark it answers", hint="Name one with --benchmarks."
        )
    benchmark = BENCHMARKS.get(theirs.benchmarks[0])
    data = benchmark.open(theirs.data)
    wanted = Wanted(
        benchmark,
        data,
        _language(theirs, data.languages),
        benchmark.choose("split", theirs.split),
        None if theirs.prompts is None else benchmark.choose("prompt set", theirs.prompts),
        theirs.limit,
        model,
    )
    assert form.read is not None
    given: Iterable[Given] = map(form.read, rows_of(theirs.file))
    return match(list(given), wanted), {benchmark.name: data.revision}


def _language(theirs: Theirs, known: Sequence[str]) -> str:
    """The one language that a file is in. Raises EvaluationError: it isn't known, or there are several."""
    from visiglot.languages import resolve

    codes = resolve(theirs.languages, all_codes=known) if theirs.languages is not None else tuple(known)
    if len(codes) != 1:
        raise EvaluationError(
            f"{theirs.file} doesn't say which language it is in, and {len(codes)} are asked for: {', '.join(codes)}",
            hint="Name one with --languages, and take in a file for each.",
        )
    return codes[0]

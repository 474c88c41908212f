"""`elsewhere.json`: which files of an evaluation folder were made elsewhere, and what they were held against."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from visiglot.errors import EvaluationError
from visiglot.files import write_text

ACCOUNT = "elsewhere.json"


@dataclass(frozen=True, slots=True)
class Taken:
    """How a prediction file came to be.

    Args:
        file: that it was made from.
        form: of that file, a name in FORMS.
        rows: that were taken from it.
        revision: of the benchmark's data in which each question was found to have its row; "": that wasn't checked.
    """

    file: str
    form: str
    rows: int
    revision: str = ""


def read_taken(folder: Path) -> Mapping[str, Taken]:
    """What was taken in, by the name of the prediction file; empty where nothing was.

    Raises:
        EvaluationError: the account can't be read.
    """
    path = folder / ACCOUNT
    if not path.exists():
        return {}
    try:
        return {name: Taken(**row) for name, row in json.loads(path.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise EvaluationError(
            f"{path} can't be read as the account of answers that were made elsewhere: {error}",
            hint="Remove it, and take the answers in again with --predictions.",
        ) from error


def add_taken(folder: Path, new: Mapping[str, Taken]) -> None:
    """Write the account with `new` in it, atomically. Raises VisiglotError."""
    rows = {**read_taken(folder), **new}
    text = json.dumps({name: asdict(row) for name, row in sorted(rows.items())}, ensure_ascii=False, indent=1)
    write_text(text + "\n", folder / ACCOUNT)

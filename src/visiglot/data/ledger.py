"""The ledger: what was left out, why, and when it is too much."""

from __future__ import annotations

import json
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from visiglot.errors import DataError, VisiglotError
from visiglot.files import split_lines

TOO_LONG, BAD_ROW, BAD_PICTURE = "too long", "bad row", "unreadable picture"
"""Why training leaves an example out."""


@dataclass(frozen=True, slots=True)
class Unusable:
    """An example that can't be used.

    Args:
        id: its id, or its source and number where the row can't be read.
        reason: TOO_LONG, BAD_ROW or BAD_PICTURE.
        error: what is wrong with it.
    """

    id: str
    reason: str
    error: VisiglotError


class Ledger:
    """Counts the examples that were left out and stops the run when they are too many.

    Args:
        path: JSONL file that gets one line for each example left out (`{"id", "reason", "detail"}`); an example that is
            met again is counted again but not written again. None: count only.
        max_share: largest share of examples that may be left out, from 0 to 1.
        grace: the share is taken of at least this many examples, so that one bad row at the start stops nothing.
    """

    def __init__(self, path: Path | None, max_share: float, *, grace: int = 1000) -> None:
        assert 0 <= max_share <= 1
        assert grace > 0
        self.path = path
        self.max_share = max_share
        self.grace = grace
        self.seen = 0
        self.reasons: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._written, self._whole = _load(path)

    @property
    def skipped(self) -> int:
        return self.reasons.total()

    def count(self, examples: int) -> None:
        """Note that so many examples were looked at, whether they were good or not."""
        with self._lock:
            self.seen += examples

    def skip(self, example_id: str, reason: str, detail: str = "") -> None:
        """Leave an example (or a file) out.

        Args:
            example_id: the example's id or the file's name.
            reason: one of a few words ("too long", "unreadable picture"); reasons are what is counted.
            detail: the sentence of the error.

        Raises:
            DataError: more than `max_share` is left out by now, or the file can't be written.
        """
        with self._lock:
            self.reasons[reason] += 1
            self._write(example_id, reason, detail)
            allowed = self.max_share * max(self.seen, self.grace)
            if self.skipped > allowed:
                counts = ", ".join(f"{reason} {count}" for reason, count in self.reasons.most_common())
                where = f"; {self.path} names them" if self.path else ""
                raise DataError(
                    f"{self.skipped} of {self.seen} examples can't be used ({counts}), "
                    f"more than the allowed {self.max_share:.1%}; the last is {example_id}: {detail or reason}",
                    hint=f"Mend the data{where}, or allow a larger share.",
                )

    def _write(self, example_id: str, reason: str, detail: str) -> None:
        if self.path is None or (example_id, reason) in self._written:
            return
        self._written.add((example_id, reason))
        line = json.dumps({"id": example_id, "reason": reason, "detail": detail}, ensure_ascii=False)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                if self._whole is not None:
                    file.truncate(self._whole)
                file.write(f"{line}\n".encode())
        except OSError as error:
            raise DataError(
                f"{self.path} can't be written: {error.strerror or error}",
                hint="Free some space or correct the folder's permissions.",
            ) from error
        self._whole = None


def _load(path: Path | None) -> tuple[set[tuple[str, str]], int | None]:
    """What a run that is resumed has written already, and the bytes to keep where its last line is cut short."""
    if path is None or not path.is_file():
        return set(), None
    content = path.read_bytes()
    lines, rest = split_lines(content.decode("utf-8", errors="replace"))
    try:
        rows = [json.loads(line) for line in lines if line]
        return {(row["id"], row["reason"]) for row in rows}, content.rfind(b"\n") + 1 if rest else None
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no ledger: {error}", hint="Move the file away; a new one is written.") from error

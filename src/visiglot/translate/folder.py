"""The folder that a translation is written into.

    translation.json              how to make it again; counts, when it is finished
    <source>.parquet              the examples, for recipes (type: parquet)
    ledger.jsonl                  examples that aren't there: id, language, reason, detail
    samples.jsonl                 some of each fate, for the report
    log.jsonl                     what each shard took
    report.html
    shards/<source>/<language>/   what is finished, until all is: a .parquet and a .json for each shard

A shard is there once its .json is: everything is written beside its place and renamed.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from visiglot.data.parquet import pyarrow
from visiglot.errors import TranslationError
from visiglot.files import write_pieces, write_text
from visiglot.translate.jobs import Job, Shard
from visiglot.translate.tally import Rejected, Sample, Tally, merged, read_tally, tally_of

ABOUT, LEDGER, SAMPLES, LOG, REPORT, SHARDS, LOCK = (
    "translation.json",
    "ledger.jsonl",
    "samples.jsonl",
    "log.jsonl",
    "report.html",
    "shards",
    "translate.lock",
)

WORDS = {"files": "files of a source (they have changed)", "rules": "rules (visiglot has others now)"}
"""What settings that no user sets are called in messages."""


@dataclass(frozen=True)
class Folder:
    """The paths below --out."""

    root: Path

    def shard(self, shard: Shard) -> Path:
        """Of a shard's examples."""
        return self.root / SHARDS / f"{shard.path}.parquet"

    def tally(self, shard: Shard) -> Path:
        """Of what became of a shard's examples; it is written last."""
        return self.root / SHARDS / f"{shard.path}.json"

    def examples(self, job: str) -> Path:
        """Of all examples of a job."""
        return self.root / f"{job}.parquet"

    def about(self) -> dict[str, Any] | None:
        """What translation.json says; None where there is none. Raises TranslationError: it can't be read."""
        path = self.root / ABOUT
        if not path.is_file():
            return None
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TranslationError(f"{path} can't be read: {error}", hint="Name another --out.") from error
        return found

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Keep other processes out. Raises TranslationError: one is in it, or it holds something else."""
        try:
            self._refuse_foreign()
            self.root.mkdir(parents=True, exist_ok=True)
            file = (self.root / LOCK).open("w")
        except OSError as error:
            raise TranslationError(
                f"{self.root} can't be written: {error.strerror or error}", hint="Name another --out."
            ) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise TranslationError(
                    f"another process is translating into {self.root}", hint="Wait for it, or name another --out."
                ) from error
            yield

    def begin(self, about: Mapping[str, Any], *, resume: bool) -> bool:
        """Get ready to write, and say whether everything is finished.

        Args:
            about: what the result follows from; JSON.
            resume: go on with what is there; otherwise that is deleted.

        Raises:
            TranslationError: what is there was made otherwise, or of what has changed since; or is no translation.
        """
        there = self.about()
        self._refuse_foreign()
        for left in self.root.glob(".*.partial"):
            left.unlink()  # of a process that was killed
        if there is None:
            pass
        elif not resume:
            self._clear(there)
        else:
            made, wanted = there["settings"], json.loads(json.dumps(about))
            other = sorted(key for key in {*made, *wanted} if made.get(key) != wanted.get(key))
            if other:
                raise TranslationError(
                    f"{self.root} was made with other settings: {', '.join(WORDS.get(key, key) for key in other)}",
                    hint=f"{ABOUT} in it has them. Name another --out, or delete what is there with --no-resume; what "
                    "an engine has translated is kept all the same.",
                )
            if there["finished"]:
                shutil.rmtree(self.root / SHARDS, ignore_errors=True)
                return True
            return False
        self.describe({"settings": about, "finished": False})
        return False

    def describe(self, about: Mapping[str, Any]) -> None:
        """Write translation.json. Raises TranslationError."""
        text = json.dumps(about, ensure_ascii=False, indent=2)
        write_text(f"{text}\n", self.root / ABOUT, error=TranslationError)

    def tallies(self) -> list[Tally]:
        """What became of the examples so far, one for each job and language. Raises TranslationError."""
        about = self.about()
        if about is None:
            raise TranslationError(
                f"{self.root} holds no {ABOUT}", hint="Name a folder that `visiglot translate` wrote."
            )
        if about["finished"]:
            samples = self._samples()
            counts = [(one, samples.get((one["job"], one["language"]), [])) for one in about["counts"]]
            return [tally_of({**one, "samples": some, "rejected": []}) for one, some in counts]
        return merged(read_tally(path) for path in sorted((self.root / SHARDS).rglob("*.json")))

    def finish(self, jobs: Sequence[Job], about: Mapping[str, Any]) -> list[Tally]:
        """Bring all shards together, when each is there. Raises TranslationError."""
        for job in jobs:
            join_shards([self.shard(shard) for shard in job.shards()], self.examples(job.name))
        of_shards = [self.tally(shard) for job in jobs for shard in job.shards()]
        tallies = merged(map(read_tally, of_shards))
        rejected = (_line(one.job, line) for one in map(read_tally, of_shards) for line in one.rejected)
        write_pieces(rejected, self.root / LEDGER, error=TranslationError)
        samples = (_line(one.job, sample) for one in tallies for sample in one.samples)
        write_pieces(samples, self.root / SAMPLES, error=TranslationError)
        counts = [
            {name: getattr(one, name) for name in ("job", "language", "kept", "translated", "reasons", "labels")}
            for one in tallies
        ]
        self.describe({**about, "counts": counts, "finished": True})
        shutil.rmtree(self.root / SHARDS, ignore_errors=True)
        return tallies

    def log(self, line: Mapping[str, Any]) -> None:
        """Add a line to the log. Raises TranslationError."""
        try:
            with (self.root / LOG).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        except OSError as error:
            raise TranslationError(
                f"{self.root / LOG} can't be written: {error.strerror or error}",
                hint="Make room, or name another --out.",
            ) from error

    def _refuse_foreign(self) -> None:
        """Raises TranslationError: something else is in the folder; nothing has been written into it then."""
        if not self.root.is_dir() or self.about() is not None:
            return
        ours = (LOCK, *(path.name for path in self.root.glob(f".{ABOUT}.*.partial")))
        if foreign := sorted(path.name for path in self.root.iterdir() if path.name not in ours):
            raise TranslationError(
                f"{self.root} holds {', '.join(foreign[:3])}, but no {ABOUT}: nothing was translated into it",
                hint="Name another --out.",
            )

    def _samples(self) -> dict[tuple[str, str], list[dict[str, Any]]]:
        """The samples, by job and language."""
        found: dict[tuple[str, str], list[dict[str, Any]]] = {}
        with (self.root / SAMPLES).open(encoding="utf-8") as file:
            for text in file:
                line = json.loads(text)
                found.setdefault((line.pop("source"), line["language"]), []).append(line)
        return found

    def _clear(self, about: Mapping[str, Any]) -> None:
        """Delete what was written for `about`, and nothing else."""
        shutil.rmtree(self.root / SHARDS, ignore_errors=True)
        names = [f"{job['name']}.parquet" for job in about["settings"]["jobs"]]
        for name in (*names, LEDGER, SAMPLES, LOG, REPORT):
            (self.root / name).unlink(missing_ok=True)


def _line(job: str, item: Rejected | Sample) -> str:
    return json.dumps({"source": job, **asdict(item)}, ensure_ascii=False) + "\n"


def join_shards(shards: Sequence[Path], path: Path) -> None:
    """Write the rows of several files of examples into one, which appears whole or not at all.

    Raises:
        TranslationError: it can't be written, or a shard can't be read.
        MissingExtraError: pyarrow isn't installed.
    """
    pa, pq = pyarrow()
    part = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with pq.ParquetWriter(part, pq.read_schema(shards[0]), compression="zstd") as writer:
            for shard in shards:
                file = pq.ParquetFile(shard)
                for group in range(file.num_row_groups):
                    writer.write_table(file.read_row_group(group))
        os.replace(part, path)
    except (OSError, pa.ArrowException) as error:
        raise TranslationError(
            f"the shards of {path} can't be brought together: {error}",
            hint="Make room and start again: what was translated is kept.",
        ) from error
    finally:
        part.unlink(missing_ok=True)

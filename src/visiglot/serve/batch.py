"""The running batch: jobs join and leave between steps, and one that fails costs only itself.

Belongs to the model's thread.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from visiglot.errors import ScoresError, ServeError, VisiglotError
from visiglot.models.decode import Decoder, Event
from visiglot.serve.asks import Piece
from visiglot.serve.job import Job
from visiglot.serve.pictures import Pictures
from visiglot.serve.routing import tell_routing

log = logging.getLogger(__name__)


@dataclass
class Counts:
    """What `EngineStats` counts."""

    finished: int = 0
    cancelled: int = 0
    failed: int = 0
    refused: int = 0
    restarted: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Batch:
    """Jobs that have had their turn, most of them rows of the decoder.

    When the decoder breaks, all its rows begin again, without those that are to blame. Who that is the error says, or
    is found out by trying halves, each by itself: groups of suspects. While there are any, nobody else may join.

    Args:
        pictures: where the features of jobs come from.
        counts: what is counted on the way.

    Raises:
        ModelError: the LLM can't be decoded in rows of different ages.
    """

    def __init__(self, model: Any, processor: Any, pictures: Pictures, counts: Counts) -> None:
        self._model = model
        self._processor = processor
        self._pictures = pictures
        self._counts = counts
        self._decoder = Decoder(model, processor)
        self._suspects: deque[list[Job]] = deque()
        self._on_trial = False
        self.jobs: dict[str, Job] = {}
        """All that haven't come to their end, by key. Other threads may read a list of them."""
        self.said: list[tuple[Job, Piece | Exception]] = []
        """What is to be given out."""
        self.ended: list[Job] = []
        """Whose rows have left and may be settled."""

    @property
    def closed(self) -> bool:
        """Whether nobody may join."""
        return self._on_trial

    def join(self, jobs: Sequence[Job]) -> None:
        """Read the prompts of `jobs` and give out their first tokens."""
        self.jobs.update((job.key, job) for job in jobs)
        self._join(jobs)

    def step(self) -> None:
        """One more token for each row, or the next group of suspects begins."""
        if not self._decoder.keys and self._suspects:
            self._join(self._suspects.popleft())
        elif self._decoder.keys:
            self._take(self._decoder.step())
        self._on_trial = self._on_trial and bool(self._decoder.keys or self._suspects)

    def drop(self, keys: Collection[str]) -> None:
        """Rows that nobody waits for leave."""
        self._decoder.drop(keys)
        for group in self._suspects:
            group[:] = [job for job in group if job.key not in keys]
        for key in keys:
            if key in self.jobs:
                self._end(self.jobs[key])

    def recover(self, error: Exception) -> None:
        """The decoder can't go on after `error`: its rows begin again. What was given out isn't given out again."""
        log.error("the running batch failed", exc_info=error)
        torch.zeros(1, device=self._model.device).tolist()  # a GPU that is in error raises here, as in all that follows
        self._decoder = Decoder(self._model, self._processor)
        suspected = {job.key for group in self._suspects for job in group}
        jobs = [job for job in self.jobs.values() if job.key not in suspected]
        guilty = [job for job in jobs if isinstance(error, ScoresError) and job.key in error.keys]
        known = bool(guilty)
        if len(jobs) == 1:
            guilty = jobs
        for job in guilty:
            self._fail(job, error)
        innocent = [job for job in jobs if job not in guilty]
        for job in innocent:
            assert job.speech is not None
            job.speech.restart()
        self._counts.restarted += len(innocent)
        middle = len(innocent) if known else (len(innocent) + 1) // 2
        self._suspects.extendleft(group for group in (innocent[middle:], innocent[:middle]) if group)
        self._on_trial = bool(self._suspects)

    def end_all(self) -> list[Job]:
        """All jobs, which have left without a word."""
        jobs = list(self.jobs.values())
        self._decoder.drop(self._decoder.keys)
        self._suspects.clear()
        self.jobs.clear()
        return jobs

    def _join(self, jobs: Sequence[Job]) -> None:
        """When reading fails, the halves are tried, so that one costs only itself."""
        if not jobs:
            return
        try:
            features = self._pictures.features(jobs)
            rows = [job.row(one) for job, one in zip(jobs, features)]
            tell_routing(self._model, self._processor, jobs, features)
        except Exception as error:
            self._join_halves(jobs, error)
            return
        try:
            events = self._decoder.add(rows)
        except VisiglotError as error:  # nobody has joined; after any other error the decoder isn't to be trusted
            self._join_halves(jobs, error)
            return
        self._take(events)

    def _join_halves(self, jobs: Sequence[Job], error: Exception) -> None:
        if len(jobs) == 1:
            self._fail(jobs[0], error)
            return
        middle = (len(jobs) + 1) // 2
        self._join(jobs[:middle])
        self._join(jobs[middle:])

    def _take(self, events: Sequence[Event]) -> None:
        """Give out what `events` say; rows that a text stops leave."""
        stopped: list[str] = []
        for event in events:
            job = self.jobs[event.key]
            assert job.speech is not None
            before = job.speech.made
            try:
                piece = job.speech.take(event)
            except Exception as error:
                stopped.append(event.key)
                self._fail(job, error)
                continue
            self._counts.completion_tokens += job.speech.made - before
            if piece is None:
                continue
            self.said.append((job, piece))
            if piece.finish is not None:
                stopped.append(event.key)
                self._counts.finished += 1
                self._end(job)
        self._decoder.drop(stopped)

    def _fail(self, job: Job, error: Exception) -> None:
        self._counts.failed += 1
        self.said.append((job, presentable(error, job)))
        self._end(job)

    def _end(self, job: Job) -> None:
        del self.jobs[job.key]
        job.left = True
        self.ended.append(job)


def presentable(error: Exception, job: Job) -> VisiglotError:
    """`error` as whoever asked may see it; what isn't meant for them goes to the log."""
    if isinstance(error, ScoresError):
        return ScoresError((job.ask.example.id,), hint=error.hint)
    if isinstance(error, VisiglotError):
        return error
    log.error("an answer failed", exc_info=error)
    return ServeError(
        f"the model failed on this request: {type(error).__name__}", hint="The server's log says more about it."
    )

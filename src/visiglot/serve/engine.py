"""The engine: asks of all users join one running batch between decode steps, each answered as if it were alone.

    ask --event loop: queue--> --pools: render, open pictures--> --model's thread: encode, add, step, drop--> pieces

One thread owns the model. Between two steps it lets rows go that nobody waits for any more, lets as many join as the
budget holds, in the order of `FairQueue`, and has the pictures opened of those who are next. What the threads share,
the queue and who has left, is behind one lock.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

from visiglot.errors import ModelError, PromptError, QueueFullError, ServeError
from visiglot.memory import release_memory
from visiglot.models.answer import FEATURE_BYTES, MAX_BATCH_TOKENS
from visiglot.render import render
from visiglot.serve.asks import Ask, EngineStats, Piece, TokenLogprob
from visiglot.serve.batch import Batch, Counts, presentable
from visiglot.serve.delivery import broken, closing, deliver
from visiglot.serve.fair import FairQueue
from visiglot.serve.job import Job, check_length, held_tokens, read_tokens
from visiglot.serve.pictures import Pictures, content_of
from visiglot.serve.speech import Speech

__all__ = ["Ask", "Engine", "EngineStats", "Piece", "TokenLogprob"]

MAX_WAITING = 256
"""Asks that may wait to be started."""

MAX_WAIT_SECONDS = 60.0
"""For which an ask may wait to be started."""

READ_TOKENS = 4096
"""Prompt tokens, padding included, that are read between two steps, unless one prompt alone has more. A limit on how
long the answers that are being made pause for those that join, and on the memory that reading takes."""

NEW_PICTURES = 8
"""Pictures that are encoded between two steps, unless one prompt alone shows more. For the same reason: the first of
many who come together needn't wait for the pictures of all."""

RELEASE_SECONDS = 10.0
"""Between two times that memory is given back on a CPU, where batches of every size leave holes of every size."""

AHEAD = 128
"""Asks that are looked at as the next ones."""

AHEAD_PICTURES = 64
"""Pictures that are opened ahead, unless one ask alone has more."""

POOL = 4
"""Threads that render prompts, and as many that open pictures: these may take long, and no prompt waits for them."""

log = logging.getLogger(__name__)


class Engine:
    """Answers the asks of many users with one model.

        engine = Engine(model, processor)
        engine.start()
        async for piece in engine.stream(ask): ...
        engine.close()

    Args:
        model: a VisionLanguageModel in evaluation mode, whose weights don't change any more.
        processor: its processor.
        max_batch_tokens: that the answers being made may hold at their end, padding to the longest included: what they
            take of memory is in proportion. An ask that needs more by itself is refused.
        max_waiting: asks that may wait to be started.
        feature_bytes: of pictures' features that are kept for asks to come.
        max_wait_seconds: for which an ask may wait to be started.

    Raises:
        ModelError: the model is in training mode, or its LLM can't be decoded in rows of different ages.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        *,
        max_batch_tokens: int = MAX_BATCH_TOKENS,
        max_waiting: int = MAX_WAITING,
        feature_bytes: int = FEATURE_BYTES,
        max_wait_seconds: float = MAX_WAIT_SECONDS,
    ) -> None:
        assert max_batch_tokens > 0
        assert max_waiting > 0
        if model.training:
            raise ModelError(
                "the model is in training mode: its dropout would disturb the answers", hint="Call model.eval() first."
            )
        self._model = model
        self._processor = processor
        self._spec = processor.spec()
        self._spec.encode("")  # a tokenizer settles its options in its first call, before threads share it
        self._max_batch_tokens = max_batch_tokens
        self._max_wait_seconds = max_wait_seconds
        self._clock = time.monotonic
        self._pool = ThreadPoolExecutor(POOL, thread_name_prefix="visiglot-prompts")
        self._openers = ThreadPoolExecutor(POOL, thread_name_prefix="visiglot-pictures")
        self._thread = threading.Thread(target=self._run, name="visiglot-model", daemon=True)

        # behind the lock
        self._lock = threading.Condition()
        self._queue: FairQueue[Job] = FairQueue(max_waiting)
        self._leaving: set[str] = set()
        self._changed = False
        self._closed = False
        self._broken = False
        self._arrived = 0
        self._counts = Counts()

        # the model's thread's own
        self._pictures = Pictures(model, processor, self._openers, feature_bytes, self._wake)
        self._batch = Batch(model, processor, self._pictures, self._counts)
        self._given_up: list[tuple[Job, Piece | Exception]] = []
        self._on_cpu = model.device.type == "cpu"
        self._released = self._clock()

    # --- from any thread ---

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """End all answers, those being made with an error, and wait until the model is at rest."""
        with self._lock:
            self._closed = True
        self._wake()
        if self._thread.is_alive():
            self._thread.join()
        with self._lock:  # what is left if it was never started
            self._end_all()
        self._flush()
        self._pool.shutdown(wait=False)
        self._openers.shutdown(wait=False, cancel_futures=True)

    @property
    def alive(self) -> bool:
        """Whether asks are answered."""
        return self._thread.is_alive() and not self._closed

    def stats(self) -> EngineStats:
        with self._lock:
            running = list(self._batch.jobs.values())
            return EngineStats(
                running=len(running),
                waiting=len(self._queue),
                tokens=held_tokens(running, self._spec.layout),
                max_batch_tokens=self._max_batch_tokens,
                feature_bytes=self._pictures.store.size,
                max_feature_bytes=self._pictures.store.limit,
                feature_hits=self._pictures.hits,
                feature_misses=self._pictures.misses,
                **vars(self._counts),
            )

    async def stream(self, ask: Ask) -> AsyncGenerator[Piece, None]:
        """The answer to `ask`, piece by piece. Leaving it early (`aclose`, or cancelling the task) frees the row.

        Raises:
            QueueFullError: too many are waiting, or it has waited too long. Before the first piece.
            VisiglotError: the ask can't be answered: prompt, pictures or settings. Before the first piece.
            ServeError: the engine is closed, or the model failed; maybe after some pieces.
        """
        job = self._enqueue(ask, asyncio.get_running_loop())
        try:
            try:
                await job.loop.run_in_executor(self._pool, self._render, job)
            except Exception as error:
                self._leave(job, failed=True)
                raise self._ended() if self._closed else presentable(error, job) from error
            while True:
                found = await job.channel.get()
                if isinstance(found, Exception):
                    raise found.with_traceback(None)  # asks that show the same broken picture share its error
                yield found
                if found.finish is not None:
                    return
        finally:
            self._leave(job)

    def _enqueue(self, ask: Ask, loop: asyncio.AbstractEventLoop) -> Job:
        if ask.logprobs is not None and ask.decoding.beams > 1:
            raise PromptError(
                f"log-probabilities of tokens were asked for with {ask.decoding.beams} beams, which have none of their "
                "own",
                hint="Ask for one beam, or for no log-probabilities.",
            )
        with self._lock:
            if self._closed:
                raise self._ended()
            self._arrived += 1
            job = Job(ask, self._arrived, self._clock() + self._max_wait_seconds, loop)
            try:
                out = self._queue.push(job)
            except QueueFullError:
                self._counts.refused += 1
                raise
            if out is not None:
                out.left = True
                self._counts.refused += 1
        if out is not None:
            error = QueueFullError(
                "the queue is full, and others have fewer requests in it", hint="Try again in a while."
            )
            deliver([(out, error)])
        return job

    def _leave(self, job: Job, *, failed: bool = False) -> None:
        with self._lock:
            if job.left:
                return
            job.left = True
            self._counts.failed += failed
            self._counts.cancelled += not failed
            if not self._queue.remove(job):
                self._leaving.add(job.key)
            self._wake()

    def _ended(self) -> ServeError:
        return broken() if self._broken else closing()

    def _wake(self) -> None:
        with self._lock:
            self._changed = True
            self._lock.notify_all()

    def _render(self, job: Job) -> None:
        """In the pool: the prompt of `job`, and what its pictures are called in caches."""
        if job.left or self._closed:
            return
        check_length(job.ask.example, min(self._spec.max_length, self._max_batch_tokens))
        job.sample = sample = render(job.ask.example, self._spec, complete=True)
        job.pictures = tuple((content_of(ref), ref) for ref in sample.images)
        needed = held_tokens([job], self._spec.layout)
        if needed > self._max_batch_tokens:
            decoding = job.ask.decoding
            raise PromptError(
                f"{len(sample.ids)} prompt tokens and {decoding.max_new_tokens} new ones with {decoding.beams} beam(s) "
                f"hold {needed} tokens; the server holds {self._max_batch_tokens}",
                hint="Shorten the prompt, lower the number of new tokens or beams, or raise --max-batch-tokens.",
            )
        tokenizer, pivot = self._processor.tokenizer, self._model.config.pivot
        job.speech = Speech(tokenizer, job.ask, len(sample.ids), pivot=pivot)  # it may start from here on
        self._wake()

    # --- the model's thread ---

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException as error:
            log.critical("the engine can't go on", exc_info=error)
            with self._lock:
                self._closed = self._broken = True
                self._end_all()
            self._flush()

    def _serve(self) -> None:
        closed = False
        while not closed:
            try:
                closed = self._turn()
            except Exception as error:
                if self._batch.jobs:
                    self._batch.recover(error)
                else:  # it was no row's fault; those who wait would meet it again
                    log.error("the engine failed", exc_info=error)
                    self._refuse_all(error)
            self._flush()

    def _turn(self) -> bool:
        """Everything between two steps, and a step. Whether the engine is closed."""
        with self._lock:
            while not (self._changed or self._closed or self._batch.jobs):
                self._lock.wait(self._patience())
                self._expire()
            changed, self._changed = self._changed, False
            leaving, self._leaving = self._leaving, set()
            if self._closed:
                self._end_all()
                return True
            ahead = self._next_ones() if changed else []
        self._batch.drop(leaving)
        if changed:
            self._pictures.prepare(ahead)
            joining = self._admitted(ahead)
            if joining:
                self._batch.join(joining)
                self._flush()
        self._batch.step()
        if self._on_cpu and self._clock() > self._released + RELEASE_SECONDS:
            release_memory()
            self._released = self._clock()
        with self._lock:
            self._expire()
        return False

    def _patience(self) -> float | None:
        """Seconds until somebody has waited too long."""
        deadlines = [job.deadline for job in self._queue.oldest()]
        return max(min(deadlines) - self._clock(), 0.0) if deadlines else None

    def _expire(self) -> None:
        now = self._clock()
        for job in [job for job in self._queue.oldest() if job.deadline <= now]:
            self._changed = True
            waited = f"the request waited for {self._max_wait_seconds:g} s and couldn't be started"
            self._counts.refused += self._give_up(job, QueueFullError(waited, hint="Try again in a while."))

    def _next_ones(self) -> list[Job]:
        """Those whose turn it is next, as far as their pictures are opened ahead."""
        ahead: list[Job] = []
        pictures = 0
        for job in islice(self._queue.in_order(), AHEAD):
            pictures += len(job.pictures)
            if ahead and pictures > AHEAD_PICTURES:
                break
            ahead.append(job)
        return ahead

    def _admitted(self, ahead: Sequence[Job]) -> list[Job]:
        """Those of `ahead` that are ready, up to the first for whom there is no room. It is their turn now."""
        joining: list[Job] = []
        held = list(self._batch.jobs.values())
        for job in ahead if not self._batch.closed else ():
            if job.speech is None:
                continue
            try:
                if not self._pictures.are_ready(job):
                    continue
            except Exception as error:
                with self._lock:
                    self._counts.failed += self._give_up(job, error)
                continue
            if held_tokens([*held, *joining, job], self._spec.layout) > self._max_batch_tokens:
                break
            together = [*joining, job]
            if joining and (read_tokens(together) > READ_TOKENS or self._pictures.unseen(together) > NEW_PICTURES):
                self._changed = True
                break
            joining.append(job)
        with self._lock:
            joining = [job for job in joining if not job.left]
            for job in joining:
                self._queue.take(job)
                self._counts.prompt_tokens += job.prompt_tokens
        return joining

    def _give_up(self, job: Job, error: Exception) -> bool:
        """Answer a job with `error` if it still waits. The lock is held."""
        waits = self._queue.remove(job)
        if waits:
            job.left = True
            self._given_up.append((job, presentable(error, job)))
        return waits

    def _refuse_all(self, error: Exception) -> None:
        with self._lock:
            for job in list(self._queue.in_order()):
                self._counts.failed += self._give_up(job, error)

    def _end_all(self) -> None:
        """The lock is held."""
        waiting = list(self._queue.in_order())
        for job in [*self._batch.end_all(), *waiting]:
            self._queue.remove(job)
            self._counts.failed += not job.left
            if not job.left:
                self._given_up.append((job, self._ended()))
            job.left = True

    def _flush(self) -> None:
        """Send what was said since, and settle with the users of those who have left."""
        said, self._batch.said = self._batch.said, []
        ended, self._batch.ended = self._batch.ended, []
        with self._lock:
            given_up, self._given_up = self._given_up, []
            for job in ended:
                made = 0 if job.speech is None else job.speech.made
                decoding = job.ask.decoding
                self._queue.give_back(job.user, (decoding.max_new_tokens - made) * decoding.beams)
            self._changed = self._changed or bool(ended)
        deliver([*said, *given_up])

"""The same translation by many workers, on one machine or on a cluster, over Ray.

The process that was started reads the examples and writes the shards. A worker, with an engine of its own, is sent the
texts of a shard and sends back their translations. One more process, the desk, has the store, beside the one that was
started: so a text has one translation whoever asks for it, and no machine but this one needs to see --out, the sources
or the cache. What every machine needs is visiglot and the engine's files.

Workers are plain actors, not Ray Data's: shards are few and long, which of them is next follows from what is being
done, and what an engine or a dead worker says must reach the user as it is.
"""

from __future__ import annotations

import inspect
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visiglot.environment import versions
from visiglot.errors import Notice, TranslationError
from visiglot.machines import joined, reason, resources, shares
from visiglot.translate.engine import ENGINES, Engine, Output
from visiglot.translate.translator import Work
from visiglot.translate.workers import ALIKE, Desk, Order, Worker, load_ray, value

if TYPE_CHECKING:
    from visiglot.translate.filters import Filters
    from visiglot.translate.jobs import Shard
    from visiglot.translate.translator import Answers, Questions

LOSSES = 3
"""Workers that may die over one shard, or one after the other while they start, before it's given up."""

PATIENCE = 30.0
"""Seconds without a worker that is ready, after which the user is told."""


class ClusterNotice(Notice):
    """What befell workers, and what is done about it."""


@dataclass(frozen=True, slots=True)
class Known:
    """An engine that works elsewhere: what is known of it. Its languages were asked for where it was made."""

    name: str
    licence: str
    identity: str

    def check(self, source: str, targets: Sequence[str]) -> None:
        """Refuses none."""

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[Output]:
        """Raises TranslationError: it isn't here."""
        raise TranslationError(f"engine {self.name} works elsewhere", hint="Ask a worker's.")


@dataclass(frozen=True)
class Cluster:
    """Workers that translate shards: what `pipeline.translate` calls a crew.

    Args:
        engine: that each of them makes; a `Known` does.
        make: makes it, on any machine; must be picklable.
        filters: must be picklable.
        source: FLORES-200 code of all texts.
        store: path of the engine's store, on this machine.
        workers: most that there are at a time.
        gpu: give each a GPU, or its share of one, where the cluster has any.

    Raises:
        MissingExtraError: Ray isn't installed.
    """

    engine: Engine
    make: Callable[[], Engine]
    filters: Filters
    source: str
    store: Path
    workers: int
    gpu: bool = False

    def __post_init__(self) -> None:
        load_ray()

    def answers(
        self, shards: Sequence[Shard], ask: Callable[[Shard], Questions], heard: Callable[[Work], None] = lambda _: None
    ) -> Generator[tuple[Shard, Answers]]:
        """The answers for each shard, as they come.

        Raises:
            TranslationError: Ray, an engine or the store can't go on, or workers die again and again.
        """
        if not shards:
            return
        ray, count = load_ray(), min(self.workers, len(shards))
        with joined(ray, count, TranslationError):
            cpus, gpus = shares(resources(ray), count, gpu=self.gpu)
            version = versions().get("visiglot", "")
            order = Order(self.make, self.filters, self.source, self.engine.identity, version, Path.cwd())
            here = ray.get_runtime_context().get_node_id()
            beside = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(here, soft=False)
            desk = ray.remote(Desk).options(
                num_cpus=0, scheduling_strategy=beside, max_restarts=-1, max_task_retries=-1
            )
            worker = ray.remote(Worker).options(num_cpus=cpus, num_gpus=gpus, scheduling_strategy="SPREAD")
            at_desk = desk.remote(self.store)
            yield from _Shift(ray, lambda: worker.remote(order, at_desk), count, shards, ask, heard).answers()


def takes_gpu(name: str, options: Mapping[str, Any]) -> bool:
    """Whether an engine computes on a GPU where there is one; of a memory: whether the engine behind it does."""
    if options.get("engine"):
        return takes_gpu(options["engine"], options.get("engine_options") or {})
    return "device" in inspect.signature(ENGINES.get(name)).parameters and options.get("device") != "cpu"


@dataclass
class _Shift:
    """Workers at work: shards go out, answers come in, who dies is replaced.

    Args:
        start: starts a worker.
        count: of workers.
    """

    ray: Any
    start: Callable[[], Any]
    count: int
    shards: Sequence[Shard]
    ask: Callable[[Shard], Questions]
    heard: Callable[[Work], None] = lambda _: None
    starting: dict[Any, Any] = field(default_factory=dict)
    working: dict[Any, tuple[Any, Shard]] = field(default_factory=dict)
    asked: dict[str, Any] = field(default_factory=dict)
    losses: Counter[str] = field(default_factory=Counter)
    told: set[str] = field(default_factory=set)

    def answers(self) -> Generator[tuple[Shard, Answers]]:
        self.waiting = list(self.shards)
        for _ in range(self.count):
            self._hire()
        try:
            while self.waiting or self.working:
                done, _ = self.ray.wait([*self.starting, *self.working], timeout=PATIENCE)
                self.heard(Work())
                if not done and not self.working:
                    self._tell(f"{self.count} workers still wait for their engines, or for a place in the cluster")
                for call in done:
                    if call in self.starting:
                        self._greet(call)
                    elif (answered := self._collect(call)) is not None:
                        yield answered
        finally:
            for worker in [*self.starting.values(), *(worker for worker, _ in self.working.values())]:
                self.ray.kill(worker)

    def _hire(self) -> None:
        worker = self.start()
        self.starting[worker.ready.remote()] = worker

    def _greet(self, call: Any) -> None:
        """A worker is ready, or died before."""
        worker = self.starting.pop(call)
        try:
            value(self.ray.get(call))
        except self.ray.exceptions.RayTaskError:
            raise
        except self.ray.exceptions.RayError as error:
            self._lose(worker, "", "while they made their engines", error)
            return
        self.losses.pop("", None)
        self._give(worker)

    def _collect(self, call: Any) -> tuple[Shard, Answers] | None:
        """A worker is done with a shard, or died over it."""
        worker, shard = self.working.pop(call)
        try:
            answers, notices = value(self.ray.get(call))
        except self.ray.exceptions.RayTaskError:
            raise
        except self.ray.exceptions.RayError as error:
            self.waiting.insert(0, shard)
            self._lose(worker, shard.path, f"over shard {shard.path}", error)
            return None
        del self.asked[shard.path]
        for notice in notices:
            self._tell(notice)
        self._give(worker)
        return shard, answers

    def _give(self, worker: Any) -> None:
        """Give a worker the next shard: of the language that fewest work on, since its texts are the likeliest new."""
        if not self.waiting:
            self.ray.kill(worker)
            return
        busy = Counter(shard.language for _, shard in self.working.values())
        shard = min(self.waiting, key=lambda one: busy[one.language])
        self.waiting.remove(shard)
        if shard.path not in self.asked:
            self.asked[shard.path] = self.ask(shard)
        self.working[worker.answer.remote(self.asked[shard.path])] = worker, shard

    def _lose(self, worker: Any, what: str, where: str, error: Exception) -> None:
        """Replace a worker. Raises TranslationError: too many have died."""
        self.ray.kill(worker)
        self.losses[what] += 1
        if self.losses[what] >= LOSSES:
            raise TranslationError(
                f"{LOSSES} workers died {where}: {reason(error)}",
                hint=f"The memory may be too small: try fewer --engine-workers. {ALIKE}",
            ) from error
        self._tell(
            f"a worker died {where.replace('they made their engines', 'it made its engine')}; another takes over"
        )
        self._hire()

    def _tell(self, notice: str) -> None:
        if notice not in self.told:
            self.told.add(notice)
            warnings.warn(ClusterNotice(notice), stacklevel=2)

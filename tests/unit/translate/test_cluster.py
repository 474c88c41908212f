"""Workers of a cluster, without Ray: who gets which shard, what becomes of those that die, what errors they send."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.translating import Marked, Strict

from visiglot.environment import versions
from visiglot.errors import MissingExtraError, TranslationError
from visiglot.machines import joined
from visiglot.translate import cluster, workers
from visiglot.translate.cluster import Cluster, ClusterNotice, Known, shares, takes_gpu
from visiglot.translate.engines.memory import memory_engine
from visiglot.translate.jobs import Shard
from visiglot.translate.translator import Answers, Questions, TranslationNotice
from visiglot.translate.workers import Desk, Order, Worker, value

EN, DE, SW = "eng_Latn", "deu_Latn", "swh_Latn"


class RayError(Exception):
    pass


class RayTaskError(RayError):
    pass


@dataclass(eq=False)
class Call:
    """A call of an actor's method that was made: its result, or the error that getting it raises."""

    found: Any
    done: bool = True


@dataclass
class Method:
    """A method of an actor."""

    actor: Any
    name: str

    def remote(self, *arguments: Any) -> Call:
        return Call(getattr(self.actor.held, self.name)(*arguments))


@dataclass
class Actor:
    held: Any

    def __getattr__(self, name: str) -> Method:
        return Method(self, name)


@dataclass
class FakeRay:
    """One call is done after the other, in their order."""

    killed: list[Any] = field(default_factory=list)
    exceptions: Any = field(default_factory=lambda: SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError))

    def wait(self, calls: Sequence[Call], timeout: float) -> tuple[list[Call], list[Call]]:
        assert timeout > 0
        return [call for call in calls if call.done][:1], []

    def get(self, call: Call) -> Any:
        if isinstance(call.found, Exception):
            raise call.found
        return call.found

    def kill(self, actor: Any) -> None:
        self.killed.append(actor)


@dataclass
class Hand:
    """A worker: echoes, or says what `fate` has for it."""

    fate: Callable[[str], Any]
    given: list[str]
    notices: list[str]

    def ready(self) -> Any:
        return self.fate("ready")

    def answer(self, questions: Questions) -> Any:
        self.given.append(questions.whole[0])
        return self.fate(questions.whole[0]) or (questions.whole[0], self.notices)


def shards(*languages: str, each: int = 2) -> list[Shard]:
    numbers = np.arange(4)
    return [Shard("job", language, True, number, numbers) for language in languages for number in range(each)]


def shift(
    ray: FakeRay, todo: Sequence[Shard], fate: Callable[[str], Any] = lambda _: None, notices: Sequence[str] = ()
) -> tuple[Any, list[str], list[str]]:
    given: list[str] = []
    asked: list[str] = []

    def ask(shard: Shard) -> Questions:
        asked.append(shard.path)
        return Questions(shard.language, (shard.path,), ())

    return cluster._Shift(ray, lambda: Actor(Hand(fate, given, list(notices))), 2, todo, ask), given, asked


def test_workers_are_spread_over_languages_and_all_shards_are_answered_once() -> None:
    todo = shards(DE, SW)
    made, given, asked = shift(FakeRay(), todo, notices=["a notice"])
    with pytest.warns(ClusterNotice, match="a notice") as notices:
        found = list(made.answers())
    assert len(notices) == 1, "what every worker says is said once"
    assert sorted(shard.path for shard, _ in found) == sorted(shard.path for shard in todo)
    assert all(shard.path == said for shard, said in found)
    assert given[:2] == [f"job/{DE}/00000", f"job/{SW}/00000"]
    assert asked == given


def test_a_shard_whose_worker_dies_is_given_to_another_and_asked_for_once() -> None:
    dies = [RayError("it died")]
    lost = f"job/{DE}/00001"

    def fate(what: str) -> Any:
        return dies.pop() if what == lost and dies else None

    ray = FakeRay()
    made, given, asked = shift(ray, shards(DE), fate)
    with pytest.warns(ClusterNotice, match=f"died over shard {lost}; another takes over"):
        found = list(made.answers())
    assert sorted(shard.path for shard, _ in found) == [f"job/{DE}/00000", lost]
    assert given.count(lost) == 2
    assert asked.count(lost) == 1
    assert len(ray.killed) == 3, "none is left"


def test_a_shard_that_kills_every_worker_ends_it() -> None:
    ray = FakeRay()
    made, given, _ = shift(
        ray,
        shards(DE, each=1),
        lambda what: RayError("The actor died.\nThe actor is dead because its memory is full.") if "job" in what else 0,
    )
    with pytest.warns(ClusterNotice), pytest.raises(TranslationError, match="its memory is full") as raised:
        list(made.answers())
    assert "3 workers died over shard job/deu_Latn/00000" in str(raised.value)
    assert raised.value.hint is not None
    assert "fewer --engine-workers" in raised.value.hint
    assert len(given) == 3


def test_workers_that_die_before_they_are_ready_end_it() -> None:
    why = "The actor died.\nModuleNotFoundError: No module named 'visiglot'"
    made, *_ = shift(FakeRay(), shards(DE), lambda _: RayError(why))
    with pytest.warns(ClusterNotice, match="while it made its engine"), pytest.raises(TranslationError) as raised:
        list(made.answers())
    assert "3 workers died while they made their engines: ModuleNotFoundError: No module" in str(raised.value)


def test_a_bug_keeps_its_traceback() -> None:
    made, *_ = shift(FakeRay(), shards(DE), lambda what: RayTaskError("KeyError") if "job" in what else None)
    with pytest.raises(RayTaskError):
        list(made.answers())


def test_one_who_waits_for_workers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[Call] = []

    def remote(self: Method, *arguments: Any) -> Call:
        call = Call(getattr(self.actor.held, self.name)(*arguments), done=self.name != "ready")
        held.append(call)
        return call

    class Slow(FakeRay):
        def wait(self, calls: Sequence[Call], timeout: float) -> tuple[list[Call], list[Call]]:
            found = super().wait(calls, timeout)
            for call in held:
                call.done = True
            return found

    monkeypatch.setattr(Method, "remote", remote)
    made, *_ = shift(Slow(), shards(DE))
    with pytest.warns(ClusterNotice, match="2 workers still wait for"):
        assert len(list(made.answers())) == 2


def test_all_workers_end_when_the_answers_arent_wanted_any_more() -> None:
    ray = FakeRay()
    made, *_ = shift(ray, shards(DE, SW))
    answers = made.answers()
    next(answers)
    answers.close()
    assert len(ray.killed) == 2


# --- what each has of the machines -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nodes", "count", "gpu", "expected"),
    [
        ([{"CPU": 8}], 2, True, (4, 0.0)),
        ([{"CPU": 2}], 4, False, (1, 0.0)),
        ([{"CPU": 16, "GPU": 4}], 4, True, (4, 1.0)),
        ([{"CPU": 16, "GPU": 4}], 2, True, (8, 1.0)),
        ([{"CPU": 16, "GPU": 4}], 4, False, (4, 0.0)),
        ([{"CPU": 8, "GPU": 2}], 3, True, (2, 0.5)),
        ([{"CPU": 8, "GPU": 1}], 3, True, (2, 0.3333)),
        ([{"CPU": 4}, {"CPU": 16, "GPU": 2}], 2, True, (8, 1.0)),
        ([{"CPU": 16}, {"CPU": 4}], 4, False, (2, 0.0)),
        ([{"memory": 1}], 2, True, (1, 0.0)),
    ],
)
def test_workers_share_what_the_machines_have(
    nodes: list[dict[str, float]], count: int, gpu: bool, expected: tuple[int, float]
) -> None:
    assert shares(nodes, count, gpu=gpu) == expected


def test_only_engines_that_compute_on_a_gpu_get_one() -> None:
    assert takes_gpu("ctranslate2", {"model": "m"})
    assert not takes_gpu("ctranslate2", {"model": "m", "device": "cpu"})
    assert not takes_gpu("openai", {"model": "m"})
    assert not takes_gpu("memory", {"path": "m"})
    assert takes_gpu("memory", {"path": "m", "engine": "transformers", "engine_options": {"model": "m"}})


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    known = Known("e", "", "1")
    with pytest.raises(MissingExtraError, match=r"visiglot\[ray\]"):
        Cluster(known, Marked, Strict(), EN, Path("store"), 2)  # type: ignore[arg-type]


def test_a_client_of_a_cluster_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    ray = SimpleNamespace(is_initialized=lambda: False)
    with pytest.raises(TranslationError, match="Ray client"), joined(ray, 2, TranslationError):
        pass


# --- a worker --------------------------------------------------------------------------------------------------------


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Worker]:
    """A worker whose desk is in this process."""
    monkeypatch.setattr(workers, "load_ray", FakeRay)

    def start(make: Callable[[], Marked] = Marked, **order: str) -> Worker:
        given = {"identity": "marked 1", "version": versions()["visiglot"], **order}
        return Worker(Order(make, Strict(), EN, folder=Path.cwd(), **given), Actor(Desk(tmp_path / "store")))  # type: ignore[arg-type]

    return start


def test_workers_share_what_was_translated(worker: Callable[..., Worker]) -> None:
    one, other, gone = worker(), worker(), worker(partial(Marked, fail_after=0))
    asked = Questions(DE, ("What is this?",), ("dog",))
    for each in (one, other, gone):
        value(each.ready())
    first, second, third = (value(each.answer(asked)) for each in (one, other, gone))
    answers: Answers = first[0]
    assert answers.whole["What is this?"].text == "[deu_Latn] What is this?"  # type: ignore[union-attr]
    assert second[0].whole == third[0].whole == answers.whole
    assert (answers.work.made, second[0].work.made, second[0].work.found) == (3, 0, 3)


def test_workers_know_what_people_have_translated_of_whole_texts(worker: Callable[..., Worker], tmp_path: Path) -> None:
    path = tmp_path / "house.tsv"
    path.write_text("en\tde\nA dog. It runs.\tDa rennt ein Hund.\ncouch\tSofa\n", encoding="utf-8")
    make = partial(memory_engine, path)
    one = worker(make, identity=make().identity)
    value(one.ready())
    answers, _ = value(one.answer(Questions(DE, ("A dog. It runs.",), ("couch",))))
    assert answers.whole["A dog. It runs."].text == "Da rennt ein Hund."
    assert answers.labels["couch"].text == "Sofa"


def test_an_engines_error_and_its_hint_come_home(worker: Callable[..., Worker], monkeypatch: Any) -> None:
    failing = worker(partial(Marked, fail_after=0))
    value(failing.ready())
    with pytest.raises(TranslationError, match=r"^the engine is gone$"):
        value(failing.answer(Questions(DE, ("a",), ())))
    with monkeypatch.context() as patch:
        patch.setattr("socket.gethostname", lambda: "node7")
        sent = failing.answer(Questions(DE, ("a",), ()))
    with pytest.raises(TranslationError, match=r"^on node7: the engine is gone$"):
        value(sent)


@pytest.mark.parametrize(("given", "said"), [({"identity": "marked 2"}, "differs"), ({"version": "0"}, "and 0 where")])
def test_a_machine_with_another_engine_or_version_is_refused(
    worker: Callable[..., Worker], given: dict[str, str], said: str
) -> None:
    with pytest.raises(TranslationError, match=said) as raised:
        value(worker(**given).ready())
    assert raised.value.hint is not None
    assert "Every machine needs this version" in raised.value.hint


def test_a_store_that_cant_be_used_is_named(worker: Callable[..., Worker], tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"no database at all" * 100)
    one = worker()
    value(one.ready())
    with pytest.raises(TranslationError, match=r"store of translations .* can't be used"):
        value(one.answer(Questions(DE, ("a",), ())))


def test_a_workers_notices_are_sent(worker: Callable[..., Worker]) -> None:
    class Warns(Marked):
        def translate(self, *arguments: Any) -> Any:
            warnings.warn(TranslationNotice("mind the gap"), stacklevel=2)
            return super().translate(*arguments)

    one = worker(Warns)
    value(one.ready())
    _, notices = value(one.answer(Questions(DE, ("a",), ())))
    assert notices == ["mind the gap"]


def test_an_engine_that_is_elsewhere_translates_nothing() -> None:
    known = Known("e", "MIT", "1")
    known.check(EN, [DE])
    with pytest.raises(TranslationError, match="works elsewhere"):
        known.translate(["a"], EN, DE)

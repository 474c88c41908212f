"""Who waits, who is next, and who isn't let wait; the end of it all."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from tests.unit.serve.asking import ENDLESS, PICTURES, ask, gather, pieces, run, running, text, tiny, until

from visiglot.errors import QueueFullError, ServeError, VisiglotError
from visiglot.models.decode import Decoder, Decoding, Row
from visiglot.serve import pictures as pictures_module
from visiglot.serve.engine import Engine
from visiglot.types import ImageRef

ONE = 6100
"""Tokens: room for one endless answer and none beside it."""


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The asks in the order in which they were begun."""
    order: list[str] = []
    add = Decoder.add

    def watched(self: Decoder, rows: list[Row]) -> Any:
        order.extend(row.sample.id for row in rows)
        return add(self, rows)

    monkeypatch.setattr(Decoder, "add", watched)
    return order


async def held(engine: Engine) -> Any:
    """An answer that takes all the room until it is left."""
    stream = engine.stream(ask("endless", decoding=ENDLESS, user="endless"))
    await anext(stream)
    return stream


def rest(order: list[str]) -> list[str]:
    return [key for key in order if key != "endless"]


def test_one_user_with_fifty_asks_does_not_starve_another(begun: list[str]) -> None:
    async def main(engine: Engine) -> None:
        stream = await held(engine)
        asked = [asyncio.create_task(text(engine, ask(f"many {i}", user="many"))) for i in range(50)]
        await until(lambda: engine.stats().waiting == 50)
        asked += [asyncio.create_task(text(engine, ask(f"few {i}", user="few"))) for i in range(2)]
        await until(lambda: engine.stats().waiting == 52)
        await until(lambda: all(job.speech is not None for job in engine._queue.in_order()))
        await stream.aclose()
        await asyncio.gather(*asked)

    with running(tiny(), max_batch_tokens=ONE) as engine:
        run(main(engine))
    assert [key.split()[0] for key in rest(begun)[:4]] == ["many", "few", "many", "few"]
    assert sorted(rest(begun)) == sorted([f"many {i}" for i in range(50)] + ["few 0", "few 1"])


def test_a_large_ask_is_not_passed_by_for_ever(begun: list[str]) -> None:
    async def main(engine: Engine) -> None:
        small = [asyncio.create_task(text(engine, ask(f"small {i}"))) for i in range(4)]
        await until(lambda: engine.stats().running + engine.stats().finished > 0)
        large = asyncio.create_task(text(engine, ask("large", decoding=Decoding(150))))
        await until(lambda: engine._arrived == 5)
        small += [asyncio.create_task(text(engine, ask(f"late {i}"))) for i in range(20)]
        await asyncio.gather(large, *small)

    with running(tiny(), max_batch_tokens=180) as engine:
        run(main(engine))
    assert len(begun) == 25
    assert begun.index("large") < 24


def test_more_than_may_wait_are_refused_at_once_and_room_is_free_again() -> None:
    async def main(engine: Engine) -> None:
        stream = await held(engine)
        asked = [asyncio.create_task(text(engine, ask(f"{i}"))) for i in range(3)]
        await until(lambda: engine.stats().waiting == 3)
        with pytest.raises(QueueFullError, match="3 requests are waiting"):
            await text(engine, ask("too many"))
        assert engine.stats().refused == 1
        asked[0].cancel()
        await until(lambda: engine.stats().waiting == 2)
        asked.append(asyncio.create_task(text(engine, ask("now"))))
        await until(lambda: engine.stats().waiting == 3)
        await stream.aclose()
        await asyncio.gather(*asked[1:])

    with running(tiny(), max_batch_tokens=ONE, max_waiting=3) as engine:
        run(main(engine))
        assert (engine.stats().finished, engine.stats().cancelled, engine.stats().refused) == (3, 2, 1)


def test_a_user_who_fills_the_queue_makes_room_for_others() -> None:
    async def main(engine: Engine) -> None:
        stream = await held(engine)
        asked = [asyncio.create_task(text(engine, ask(f"{i}", user="many"))) for i in range(3)]
        await until(lambda: engine.stats().waiting == 3)
        other = asyncio.create_task(text(engine, ask("few", user="few")))
        await until(asked[2].done)
        assert isinstance(asked[2].exception(), QueueFullError)
        await stream.aclose()
        await asyncio.gather(other, *asked[:2])
        stats = engine.stats()
        assert (stats.finished, stats.refused, stats.cancelled) == (3, 1, 1)

    with running(tiny(), max_batch_tokens=ONE, max_waiting=3) as engine:
        run(main(engine))


def test_one_who_has_waited_too_long_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    async def main(engine: Engine) -> None:
        monkeypatch.setattr(engine, "_clock", lambda: now[0])
        stream = await held(engine)
        early = asyncio.create_task(text(engine, ask("early")))
        await until(lambda: engine.stats().waiting == 1)
        now[0] = 29.0
        late = asyncio.create_task(text(engine, ask("late")))
        await until(lambda: engine.stats().waiting == 2)
        now[0] = 31.0
        with pytest.raises(QueueFullError, match="waited for 30 s"):
            await early
        assert (engine.stats().waiting, engine.stats().refused, engine.stats().running) == (1, 1, 1)
        await stream.aclose()
        await late

    with running(tiny(), max_batch_tokens=ONE, max_wait_seconds=30) as engine:
        run(main(engine))


def test_an_idle_engine_wakes_up_for_one_who_waits_too_long() -> None:
    """Nothing is decoded: the picture that it waits for never comes."""
    opened = threading.Event()

    async def main(engine: Engine) -> None:
        try:
            with pytest.raises(QueueFullError, match="waited for"):
                await text(engine, ask("a", PICTURES["red"]))
        finally:
            opened.set()

    with pytest.MonkeyPatch.context() as patch, running(tiny(), max_wait_seconds=0.05) as engine:
        patch.setattr(pictures_module, "load_image", lambda ref: opened.wait())
        run(main(engine))


def test_a_picture_that_takes_long_to_open_holds_up_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = threading.Event()
    load = pictures_module.load_image

    def slow(ref: Any) -> Any:
        opened.wait()
        return load(ref)

    monkeypatch.setattr(pictures_module, "load_image", slow)

    async def main(engine: Engine) -> None:
        pictured = asyncio.create_task(text(engine, ask("pictured", PICTURES["red"])))
        await until(lambda: engine.stats().waiting == 1)
        assert await pieces(engine, ask("text"))
        assert not pictured.done()
        opened.set()
        await pictured

    with running(tiny()) as engine:
        try:
            run(main(engine))
        finally:
            opened.set()


def test_pictures_that_take_long_hold_up_no_prompt_and_a_few_are_opened_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = threading.Event()
    begun: list[str] = []
    load = pictures_module.load_image

    def slow(ref: Any) -> Any:
        begun.append(ref.name)
        opened.wait()
        return load(ref)

    monkeypatch.setattr(pictures_module, "load_image", slow)
    monkeypatch.setattr(pictures_module, "AT_ONCE", 5)
    many = [ImageRef(f"{i}", data=PICTURES["red"].data + bytes([i])) for i in range(12)]

    async def main(engine: Engine) -> None:
        pictured = [asyncio.create_task(text(engine, ask(ref.name, ref, user="many"))) for ref in many]
        await until(lambda: len(begun) >= 4)
        assert await pieces(engine, ask("text", user="few"))
        one = ImageRef("one", data=PICTURES["blue"].data)
        few = asyncio.create_task(text(engine, ask("one", one, user="few")))
        await until(lambda: all(job.speech is not None for job in engine._queue.in_order()))
        assert not any(task.done() for task in pictured)
        opened.set()
        await asyncio.gather(few, *pictured)
        assert begun.index("one") < 11

    with running(tiny()) as engine:
        try:
            run(main(engine))
        finally:
            opened.set()


# --- the end ---------------------------------------------------------------------------------------------------------


def test_closing_ends_those_who_run_and_those_who_wait_and_refuses_later_ones() -> None:
    async def main(engine: Engine) -> list[Any]:
        asked = [asyncio.create_task(text(engine, ask(f"{i}", decoding=ENDLESS))) for i in range(3)]
        await until(lambda: (engine.stats().running, engine.stats().waiting) == (1, 2))
        assert engine.alive
        await asyncio.to_thread(engine.close)
        assert not engine.alive
        return [*await gather(*asked), *await gather(text(engine, ask("later")))]

    with running(tiny(), max_batch_tokens=ONE) as engine:
        found = run(main(engine))
        assert (engine.stats().running, engine.stats().waiting, engine.stats().failed) == (0, 0, 3)
    assert len(found) == 4
    assert all(isinstance(one, ServeError) and "closing" in str(one) for one in found)


def test_closing_from_the_event_loop_itself_ends_all() -> None:
    async def main(engine: Engine) -> None:
        asked = asyncio.create_task(text(engine, ask(decoding=ENDLESS)))
        await until(lambda: engine.stats().running == 1)
        engine.close()
        with pytest.raises(ServeError, match="closing"):
            await asked

    with running(tiny()) as engine:
        run(main(engine))


def test_an_engine_that_was_never_started_can_be_closed() -> None:
    built = tiny()
    engine = Engine(built.model, built.processor)

    async def main() -> None:
        asked = asyncio.create_task(text(engine, ask()))
        await until(lambda: engine.stats().waiting == 1)
        engine.close()
        with pytest.raises(ServeError, match="closing"):
            await asked

    run(main())


def test_asks_of_several_event_loops_are_answered() -> None:
    found: list[str | VisiglotError] = []

    def elsewhere(engine: Engine) -> Iterator[threading.Thread]:
        for number in range(3):
            yield threading.Thread(target=lambda n=number: found.append(run(text(engine, ask(str(n))))))

    with running(tiny()) as engine:
        threads = list(elsewhere(engine))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == 3
    assert len(set(found)) == 1

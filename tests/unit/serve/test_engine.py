"""The engine: many answers at once, each as if it were alone; rows that are left; pictures that are shared."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import torch
from tests.unit.serve.asking import ENDLESS, PICTURES, alone, ask, gather, pieces, run, running, text, tiny, until

from visiglot.errors import ModelError, PromptError, TooLongError
from visiglot.models.decode import Decoder, Decoding, Row
from visiglot.serve import engine as engine_module
from visiglot.serve.engine import Ask, Engine
from visiglot.types import VisionFeatures

RED, BLUE = PICTURES["red"], PICTURES["blue"]
MIXED = (
    Decoding(14),
    Decoding(6, beams=3),
    Decoding(14, temperature=0.9, seed=5),
    Decoding(10, repetition_penalty=1.7),
    Decoding(9, beams=4, length_penalty=-1.0),
    Decoding(12, temperature=1.3, top_p=0.8, seed=6),
    Decoding(1),
    Decoding(12, temperature=1.1, top_k=7, seed=7, min_new_tokens=6),
)


def mixed() -> list[Ask]:
    shown = ((RED,), (), (RED, BLUE), (BLUE,))
    words = ("Caption in German: ", "is this a dog? ", "dog cat mouse ", "Question: is this a red tree? Answer ")
    return [
        ask(
            f"ask {i}", *shown[(i + i // 8) % 4], words=words[(i + i // 4) % 4], decoding=decoding, user=f"user {i % 3}"
        )
        for i, decoding in enumerate(MIXED * 3)
    ]


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures each pass of the encoder saw."""
    seen: list[int] = []
    model = type(tiny().model)
    encode = model.encode_images

    def counted(self: Any, pixel_values: torch.Tensor) -> VisionFeatures:
        seen.append(len(pixel_values))
        features: VisionFeatures = encode(self, pixel_values)
        return features

    monkeypatch.setattr(model, "encode_images", counted)
    return seen


@pytest.mark.parametrize(("llm", "connector"), [("mt5", "qformer"), ("llama", "qformer"), ("llama", "reader")])
@pytest.mark.parametrize("max_batch_tokens", [220, 16384])
def test_each_of_many_asks_is_answered_as_if_it_were_alone(llm: str, connector: str, max_batch_tokens: int) -> None:
    built = tiny(llm, connector)
    asks = mixed()
    wanted = [alone(built, one) for one in asks]
    assert len({answer.text for answer in wanted}) > 2 * len(MIXED)

    async def main(engine: Engine) -> None:
        found = await asyncio.gather(*(pieces(engine, one) for one in asks))
        for told, answer, one in zip(found, wanted, asks):
            assert "".join(piece.text for piece in told) == answer.text
            assert [piece.finish for piece in told] == [None] * (len(told) - 1) + [answer.finish]
            assert told[-1].completion_tokens == len(answer.ids)
            assert told[-1].prompt_tokens >= len(one.example.images) * built.processor.tokens_per_image

    with running(built, max_batch_tokens=max_batch_tokens) as engine:
        run(main(engine))
        stats = engine.stats()
    assert (stats.finished, stats.running, stats.waiting, stats.tokens) == (len(asks), 0, 0, 0)
    assert stats.completion_tokens == sum(len(answer.ids) for answer in wanted)


def test_one_who_asks_later_joins_those_who_are_answered_already() -> None:
    built = tiny()
    later = ask("later", BLUE)

    async def main(engine: Engine) -> None:
        endless = engine.stream(ask("endless", RED, decoding=ENDLESS))
        await anext(endless)
        assert await text(engine, later) == alone(built, later).text
        assert engine.stats().running == 1
        await endless.aclose()

    with running(built) as engine:
        run(main(engine))


def test_the_budget_counts_padding_and_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[tuple[int, int]] = []
    step = Decoder.step

    def watched(self: Decoder) -> Any:
        sizes.extend((sum(flight.widths), flight.length) for flight in self._flights)
        return step(self)

    monkeypatch.setattr(Decoder, "step", watched)

    async def main(engine: Engine) -> None:
        asks = [ask(str(i), words="dog " * (1 if i % 5 else 12), decoding=Decoding(20)) for i in range(30)]
        await asyncio.gather(*(text(engine, one) for one in asks))

    with running(tiny("llama"), max_batch_tokens=160) as engine:
        run(main(engine))
    assert max(width * length for width, length in sizes) <= 160
    assert max(width for width, _ in sizes) > 1


def test_an_ask_above_the_budget_is_refused_and_told_what_to_do() -> None:
    async def main(engine: Engine) -> None:
        with pytest.raises(PromptError, match="--max-batch-tokens"):
            await text(engine, ask(decoding=Decoding(50, beams=2)))
        assert engine.stats().failed == 1
        await text(engine, ask(decoding=Decoding(20)))

    with running(tiny(), max_batch_tokens=90) as engine:
        run(main(engine))


def test_a_prompt_of_far_too_many_characters_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "render", lambda *_, **__: pytest.fail("it was read"))

    async def main(engine: Engine) -> None:
        with pytest.raises(TooLongError, match="100,000 characters"):
            await text(engine, ask(words="x" * 100_000))

    with running(tiny()) as engine:
        run(main(engine))


def test_a_model_in_training_is_refused() -> None:
    built = tiny()
    built.model.train()
    try:
        with pytest.raises(ModelError, match="training mode"):
            Engine(built.model, built.processor)
    finally:
        built.model.eval()


# --- leaving ---------------------------------------------------------------------------------------------------------


def test_leaving_an_answer_frees_its_row() -> None:
    async def main(engine: Engine) -> None:
        stream = engine.stream(ask("endless", decoding=ENDLESS))
        await anext(stream)
        assert (engine.stats().running, engine.stats().tokens > 6000) == (1, True)
        await stream.aclose()
        await until(lambda: engine.stats().running == 0)
        stats = engine.stats()
        assert (stats.cancelled, stats.finished, stats.failed, stats.tokens) == (1, 0, 0, 0)

    with running(tiny()) as engine:
        run(main(engine))


def test_cancelling_a_task_frees_its_row_and_those_who_wait_get_the_room() -> None:
    async def main(engine: Engine) -> None:
        asked = [asyncio.create_task(text(engine, ask(f"endless {i}", decoding=ENDLESS))) for i in range(2)]
        await until(lambda: engine.stats().running == 2)
        third = asyncio.create_task(text(engine, ask("third", decoding=ENDLESS)))
        last = asyncio.create_task(text(engine, ask("last")))
        await until(lambda: engine.stats().waiting == 2)
        third.cancel()
        assert engine.stats().waiting == 2  # the task hasn't had a chance to hear of it
        asked[0].cancel()
        await last
        for task in (*asked, third):
            task.cancel()
        found = await gather(*asked, third)
        assert all(isinstance(one, asyncio.CancelledError) for one in found)
        await until(lambda: engine.stats().running == 0)
        assert (engine.stats().cancelled, engine.stats().finished) == (3, 1)

    with running(tiny(), max_batch_tokens=12100) as engine:
        run(main(engine))


def test_an_answer_that_nobody_began_to_read_is_not_made() -> None:
    async def main(engine: Engine) -> None:
        await engine.stream(ask("never")).aclose()
        assert engine.stats() == before

    with running(tiny()) as engine:
        before = engine.stats()
        run(main(engine))


# --- pictures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("connector", ["qformer", "reader"])
def test_a_picture_is_encoded_once_for_all_who_ask_about_it(connector: str, passes: list[int]) -> None:
    built = tiny("llama", connector)
    asks = [ask(str(i), RED, words=("dog " * (i % 3 + 1)), user=str(i % 2)) for i in range(12)]

    async def main(engine: Engine) -> None:
        await asyncio.gather(*(text(engine, one) for one in asks))
        await text(engine, ask("again", RED))
        assert sum(passes) == 1
        stats = engine.stats()
        assert (stats.feature_misses, stats.feature_hits) == (1, 12)
        assert 0 < stats.feature_bytes <= stats.max_feature_bytes

    with running(built) as engine:
        run(main(engine))


def test_the_pictures_of_many_who_come_together_are_encoded_a_few_at_a_time(
    passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "NEW_PICTURES", 2)
    asks = [ask(colour, ref) for colour, ref in PICTURES.items()]
    asks.append(ask("all", *list(PICTURES.values())[:3], words="dog ", decoding=Decoding(2)))

    async def main(engine: Engine) -> None:
        await asyncio.gather(*(text(engine, one) for one in asks))

    with running(tiny("t5"), feature_bytes=0) as engine:
        run(main(engine))
    assert sum(passes) >= 7
    assert set(passes) <= {1, 2, 3}


def test_several_answers_to_one_prompt_share_the_picture_s_features(monkeypatch: pytest.MonkeyPatch) -> None:
    shared: list[int] = []
    add = Decoder.add

    def watched(self: Decoder, rows: list[Row]) -> Any:
        shared.append(len({id(row.features) for row in rows}) - len(rows))
        return add(self, rows)

    monkeypatch.setattr(Decoder, "add", watched)
    built = tiny("llama")
    asks = [ask("n", RED, BLUE, decoding=Decoding(10, temperature=1.5, seed=seed)) for seed in range(5)]

    async def main(engine: Engine) -> list[str]:
        return list(await asyncio.gather(*(text(engine, one) for one in asks)))

    with running(built) as engine:
        found = run(main(engine))
    assert found == [alone(built, one).text for one in asks]
    assert len(set(found)) > 1
    assert sum(shared) < 0, "asks that came together were read apart"


def test_features_keep_to_their_limit_and_forgotten_ones_are_made_again(passes: list[int]) -> None:
    built = tiny()
    asks = [ask(f"{i}", PICTURES[colour]) for i, colour in enumerate([*PICTURES, *PICTURES])]

    async def main(engine: Engine) -> None:
        for one in asks:
            assert await text(engine, one) == alone(built, one).text
            assert engine.stats().feature_bytes <= 5000

    with running(built, feature_bytes=5000) as engine:
        run(main(engine))
        assert engine.stats().feature_bytes > 0
    assert sum(passes) > len(PICTURES)

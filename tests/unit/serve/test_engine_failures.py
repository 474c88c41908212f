"""What fails costs only itself."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import torch
from tests.unit.serve.asking import PICTURES, alone, ask, gather, pieces, run, running, text, tiny, until

from visiglot.errors import ImageError, PromptError, ScoresError, ServeError, TooLongError
from visiglot.models.decode import Decoder, Decoding
from visiglot.models.decode import decoder as decoder_module
from visiglot.serve import batch as batch_module
from visiglot.serve import speech as speech_module
from visiglot.serve.engine import Ask, Engine
from visiglot.types import ImageRef

RED = PICTURES["red"]


def group(decoding: Decoding | None = None) -> list[Ask]:
    words = ("dog cat", "Caption in German: ", "is this a fish? ", "tree car train ", "yes no ", "red green ")
    shown = ((RED,), ())
    chosen = decoding or Decoding(12, min_new_tokens=12)
    return [ask(f"fine {i}", *shown[i % 2], words=words[i], decoding=chosen) for i in range(len(words))]


async def answered(engine: Engine, asks: list[Ask]) -> list[Any]:
    return await gather(*(text(engine, one) for one in asks))


def check(found: list[Any], asks: list[Ask], kind: type[Exception], bad: str) -> None:
    for one, what in zip(asks, found):
        if one.example.id == bad:
            assert isinstance(what, kind)
        else:
            assert what == alone(tiny(), one).text


def test_a_prompt_or_picture_that_cannot_be_used_costs_only_its_ask() -> None:
    broken = ImageRef("broken.png", data=b"no picture")
    asks = [
        *group(),
        ask("broken", broken),
        ask("broken as well", RED, broken, user="b"),
        ask("long", words="red " * 200),
        ask("placeholder", words="<image> "),
    ]

    async def main(engine: Engine) -> None:
        found = await answered(engine, asks)
        check(found[:6], asks[:6], ServeError, "none")
        assert [type(one) for one in found[6:]] == [ImageError, ImageError, TooLongError, PromptError]
        stats = engine.stats()
        assert (stats.finished, stats.failed, stats.cancelled, stats.restarted) == (6, 4, 0, 0)

    with running(tiny()) as engine:
        run(main(engine))


def test_an_ask_that_the_decoder_refuses_costs_only_itself() -> None:
    built = tiny("llama")
    asks = [*(ask(f"fine {i}") for i in range(3)), ask("far", decoding=Decoding(500))]

    async def main(engine: Engine) -> None:
        found = await answered(engine, asks)
        assert found[:3] == [alone(built, one).text for one in asks[:3]]
        assert isinstance(found[3], PromptError)
        assert "positions" in str(found[3])

    with running(built) as engine:
        run(main(engine))


def poisoned(monkeypatch: pytest.MonkeyPatch, error: str, bad: str, after: int) -> None:
    """The row of the ask `bad` breaks every step that it is in when it has `after` tokens: "scores" makes its scores
    no numbers, "other" raises what nobody expects."""
    names: dict[str, str] = {}
    add, choose = Decoder.add, decoder_module.choose

    def watched(self: Decoder, rows: Any) -> Any:
        names.update((row.key, row.sample.id) for row in rows)
        return add(self, rows)

    def breaking(searches: Any, logits: torch.Tensor) -> Any:
        for place, search in enumerate(searches):
            if names[search.key] == bad and search.length == after:
                if error == "other":
                    raise RuntimeError("out of memory")
                logits = logits.clone()
                logits[place] = float("nan")
        return choose(searches, logits)

    monkeypatch.setattr(Decoder, "add", watched)
    monkeypatch.setattr(decoder_module, "choose", breaking)


@pytest.mark.parametrize("after", [0, 5])
@pytest.mark.parametrize(("error", "kind"), [("scores", ScoresError), ("other", ServeError)])
def test_a_row_that_breaks_the_batch_costs_only_itself(
    error: str, kind: type[Exception], after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks = group()
    check([alone(tiny(), one).text for one in asks], asks, kind, "none")
    poisoned(monkeypatch, error, "fine 3", after)

    async def main(engine: Engine) -> None:
        found = await answered(engine, asks)
        monkeypatch.undo()
        check(found, asks, kind, "fine 3")
        assert "fine 3" in str(found[3]) or error == "other"
        assert "out of memory" not in str(found[3])
        stats = engine.stats()
        assert (stats.running, stats.finished, stats.failed) == (0, 5, 1)
        assert await text(engine, asks[3]) == alone(tiny(), asks[3]).text

    with running(tiny()) as engine:
        run(main(engine))


def test_what_was_said_before_the_batch_broke_is_not_said_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asks = [
        *group(Decoding(12, min_new_tokens=12, temperature=1.2, seed=3)),
        ask("beams", decoding=Decoding(8, beams=3)),
        ask("told", decoding=Decoding(12), logprobs=2),
    ]
    wanted = [alone(tiny(), one) for one in asks]
    poisoned(monkeypatch, "other", "fine 3", 7)

    async def main(engine: Engine) -> None:
        found = await gather(*(pieces(engine, one) for one in asks))
        for place, (told, answer) in enumerate(zip(found, wanted)):
            if place == 3:
                continue
            assert not isinstance(told, BaseException)
            assert "".join(piece.text for piece in told) == answer.text
            assert told[-1].completion_tokens == len(answer.ids)
        told = found[-1]
        assert not isinstance(told, BaseException)
        sums = sum(token.logprob for piece in told for token in piece.logprobs)
        assert sums == pytest.approx(wanted[-1].score, rel=1e-3) or wanted[-1].finish == "stop"
        assert engine.stats().restarted > 0
        assert (
            engine.stats().completion_tokens
            == sum(len(answer.ids) for place, answer in enumerate(wanted) if place != 3) + 7
        )

    with running(tiny()) as engine:
        run(main(engine))


def test_a_row_can_be_left_while_its_batch_is_on_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    endless = ask("endless", decoding=Decoding(3000, min_new_tokens=3000))
    poisoned(monkeypatch, "other", "bad", 3)

    async def main(engine: Engine) -> None:
        left = asyncio.create_task(text(engine, endless))
        await until(lambda: engine.stats().running == 1)
        bad = asyncio.create_task(text(engine, ask("bad", decoding=Decoding(9, min_new_tokens=9))))
        await until(lambda: engine.stats().restarted == 2)
        left.cancel()
        with pytest.raises(ServeError):
            await bad
        assert engine.stats().cancelled == 1
        assert await text(engine, ask("next")) == alone(tiny(), ask("next")).text

    with running(tiny()) as engine:
        run(main(engine))


def test_an_error_in_the_text_of_one_row_costs_only_that_row(monkeypatch: pytest.MonkeyPatch) -> None:
    asks = group()
    take = speech_module.Speech.take

    def failing(self: Any, event: Any) -> Any:
        if self._ids and self is bad[0]:
            raise UnicodeError("no such character")
        return take(self, event)

    monkeypatch.setattr(speech_module.Speech, "take", failing)
    bad: list[Any] = [None]
    made = speech_module.Speech.__init__

    def noted(self: Any, tokenizer: Any, one: Ask, prompt_tokens: int, **settings: Any) -> None:
        made(self, tokenizer, one, prompt_tokens, **settings)
        if one.example.id == "fine 2":
            bad[0] = self

    monkeypatch.setattr(speech_module.Speech, "__init__", noted)

    async def main(engine: Engine) -> None:
        found = await answered(engine, asks)
        check(found, asks, ServeError, "fine 2")
        assert engine.stats().running == 0

    with running(tiny()) as engine:
        run(main(engine))


def test_an_error_of_the_engine_itself_is_told_and_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(engine: Engine) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(engine, "_next_ones", lambda: 1 / 0)
            with pytest.raises(ServeError, match="ZeroDivisionError"):
                await text(engine, ask())
        assert await text(engine, ask())

    with running(tiny()) as engine:
        run(main(engine))


def test_an_engine_that_cannot_go_on_tells_all_who_wait_and_is_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a GPU is in error: whatever is tried fails."""

    def broken(self: Decoder) -> Any:
        raise RuntimeError("CUDA error")

    async def main(engine: Engine) -> None:
        monkeypatch.setattr(Decoder, "step", broken)
        found = await answered(engine, [*group(), ask("waits", decoding=Decoding(3000))])
        assert all(isinstance(one, ServeError) and "can't go on" in str(one) for one in found)
        await until(lambda: not engine.alive)
        with pytest.raises(ServeError, match="can't go on"):
            await text(engine, ask())
        assert (engine.stats().running, engine.stats().waiting) == (0, 0)
        assert engine.stats().failed > 0

    with running(tiny(), max_batch_tokens=3100) as engine:
        monkeypatch.setattr(batch_module, "Decoder", lambda *_: 1 / 0)
        run(main(engine))


def test_a_device_in_error_is_found_out_when_a_batch_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.zeros

    def zeros(*size: Any, **options: Any) -> torch.Tensor:
        if options.get("device") is not None and size == (1,):
            raise RuntimeError("CUDA error: device-side assert triggered")
        return real(*size, **options)

    async def main(engine: Engine) -> None:
        poisoned(monkeypatch, "other", "bad", 1)
        monkeypatch.setattr(torch, "zeros", zeros)
        with pytest.raises(ServeError, match="can't go on"):
            await text(engine, ask("bad", decoding=Decoding(9, min_new_tokens=9)))
        await until(lambda: not engine.alive)

    with running(tiny()) as engine:
        run(main(engine))

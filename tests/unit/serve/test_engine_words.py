"""Texts that stop an answer, and what is told of its tokens."""

from __future__ import annotations

import asyncio

import pytest
import torch
from tests.unit.serve.asking import PICTURES, alone, ask, pieces, run, running, text, tiny, until

from visiglot.data.tasks.pivot import read_pivot
from visiglot.errors import PromptError
from visiglot.models.decode import Decoder, Decoding, Event, Row, TextStream
from visiglot.render import render
from visiglot.serve.asks import Ask, Piece
from visiglot.serve.engine import Engine
from visiglot.serve.speech import Speech

WORDS = "a dog and a small cat and a red fish"


def said(words: str, stop: tuple[str, ...] = (), logprobs: int | None = None, *, pivot: bool = False) -> list[Piece]:
    """The pieces of an answer that is `words` and ends by itself."""
    tokenizer = tiny().processor.tokenizer
    speech = Speech(tokenizer, ask(stop=stop, logprobs=logprobs), 5, pivot=pivot)
    ids = [*tokenizer.encode(words, add_special_tokens=False), tokenizer.eos_token_id]
    found: list[Piece] = []
    for place, token in enumerate(ids):
        ends = token == tokenizer.eos_token_id
        piece = speech.take(Event("a", (token,), "stop" if ends else None, -0.5 * (place + 1), ((token, -0.5),)))
        if piece is not None:
            found.append(piece)
            if piece.finish is not None:
                return found
    raise AssertionError("the answer has no last piece")


def joined(found: list[Piece]) -> str:
    return "".join(piece.text for piece in found)


@pytest.mark.parametrize("stop", ["small", "ll c", " and", "a", "g", "fish", "dog and a small cat", "\n", " "])
def test_an_answer_ends_before_a_stop_text_wherever_tokens_begin(stop: str) -> None:
    found = said(WORDS, (stop,))
    at = WORDS.find(stop)
    assert joined(found) == (WORDS if at < 0 else WORDS[:at].rstrip())
    assert found[-1].finish == "stop"


def test_the_first_of_several_stop_texts_counts() -> None:
    assert joined(said(WORDS, ("cat", "fish", "small"))) == "a dog and a"


def test_what_only_begins_like_a_stop_text_is_said_in_the_end() -> None:
    assert joined(said(WORDS, ("fishes", "dogs", "and a red fox"))) == WORDS


def test_no_piece_holds_the_beginning_of_a_stop_text() -> None:
    told = ""
    for piece in said("red green blue yellow", ("green blue yellow",)):
        told += piece.text
        assert "green" not in told
    assert told == "red"


def test_a_line_break_stops_as_soon_as_it_comes() -> None:
    tokenizer = tiny().processor.tokenizer
    stream = TextStream(tokenizer, ("\n",))
    first, second = (tokenizer.encode(part, add_special_tokens=False) for part in ("dog", "\n"))
    assert stream.push(first) == "dog"
    assert stream.push(second) == ""
    assert stream.stopped
    assert stream.push(first) == stream.flush() == ""


def test_a_stop_text_frees_the_row_and_is_the_reason_that_is_told() -> None:
    built = tiny()
    plain = ask("a", PICTURES["red"], decoding=Decoding(40, min_new_tokens=40))

    async def main(engine: Engine) -> None:
        whole = await pieces(engine, plain)
        answer = joined(whole)
        stop = answer[1:4]
        assert stop.isprintable()
        assert "\ufffd" not in stop  # a malformed character stays as it was said
        one = Ask(plain.example, Decoding(3000, min_new_tokens=3000), stop=(stop,))
        found = await pieces(engine, one)
        assert joined(found) == answer[: answer.find(stop)].rstrip()
        assert (whole[-1].finish, found[-1].finish) == ("length", "stop")
        assert found[-1].completion_tokens < 40
        await until(lambda: engine.stats().running == 0)
        assert engine.stats().finished == 2

    with running(built) as engine:
        run(main(engine))


def test_beams_are_cut_too() -> None:
    built = tiny()
    plain = ask("a", PICTURES["red"], decoding=Decoding(12, min_new_tokens=12, beams=3))

    async def main(engine: Engine) -> None:
        answer = await text(engine, plain)
        found = await pieces(engine, Ask(plain.example, plain.decoding, stop=(answer[3:5],)))
        assert joined(found) == answer[: answer.find(answer[3:5])].rstrip()
        assert found[-1].finish == "stop"

    with running(built) as engine:
        run(main(engine))


# --- answers behind a pivot ------------------------------------------------------------------------------------------

PIVOTED = "a red cat || a blue dog and a fish"


@pytest.mark.parametrize(
    "words",
    [
        PIVOTED,
        "a red cat||a blue dog || a fish",
        "a blue dog",
        "a red cat ||",
        "|| a blue dog",
        "||",
        "a | cat ||| a dog",
    ],
)
def test_what_is_served_of_an_answer_with_a_pivot_is_what_is_scored_of_it(words: str) -> None:
    assert joined(said(words, pivot=True)) == read_pivot(words).answer
    assert joined(said(words)) == words


def test_nothing_is_given_out_before_the_pivot_has_passed() -> None:
    found = said(PIVOTED, pivot=True)
    assert len(found) > 2, "the answer is streamed all the same"
    told = ""
    for piece in found:
        told += piece.text
        assert "a blue dog and a fish".startswith(told)
    assert found[0].completion_tokens > 3


@pytest.mark.parametrize("stop", ["cat", "red", "||"])
def test_a_stop_text_in_the_translation_doesnt_end_the_answer(stop: str) -> None:
    assert joined(said(PIVOTED, (stop,), pivot=True)) == "a blue dog and a fish"
    assert joined(said(PIVOTED, (stop, "and"), pivot=True)) == "a blue dog"


def test_tokens_of_the_translation_are_not_told() -> None:
    def told(words: str) -> str:
        return "".join(token.token for piece in said(words, logprobs=1, pivot=True) for token in piece.logprobs)

    assert told(PIVOTED).strip() == "a blue dog and a fish"
    assert told("a blue dog").strip() == "a blue dog"


@pytest.mark.parametrize("pivot", [True, False])
def test_the_engine_takes_the_answer_apart_where_the_model_says_that_it_has_a_pivot(
    pivot: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = tiny()
    one = ask("a", PICTURES["red"], decoding=Decoding(12, min_new_tokens=12))
    whole = alone(built, one).text
    monkeypatch.setattr(built.model.config, "pivot", pivot)
    monkeypatch.setattr("visiglot.serve.speech.shown_part", lambda text, *, last: (min(3, len(text)), len(text)))

    async def main(engine: Engine) -> None:
        assert await text(engine, one) == (whole[3:] if pivot else whole)

    with running(built) as engine:
        run(main(engine))


# --- tokens ----------------------------------------------------------------------------------------------------------


def test_the_texts_of_the_tokens_joined_are_the_answer() -> None:
    found = said(WORDS, logprobs=1)
    tokens = [token for piece in found for token in piece.logprobs]
    assert "".join(token.token for token in tokens).strip() == WORDS
    assert all(token.logprob == -0.5 and token.top[0].token == token.token for token in tokens)
    told = ""
    for piece in found:
        told += piece.text
        assert told.startswith(
            "".join(token.token for p in found[: found.index(piece) + 1] for token in p.logprobs).strip()[: len(told)]
        )


def test_tokens_of_a_stop_text_are_not_told() -> None:
    found = said("red green blue", ("green",), logprobs=0)
    assert "".join(token.token for piece in found for token in piece.logprobs).strip() == "red"
    assert found[-1].completion_tokens > len([token for piece in found for token in piece.logprobs])


def test_nothing_is_told_of_tokens_unless_it_was_asked_for() -> None:
    assert all(piece.logprobs == () for piece in said(WORDS))


@pytest.mark.parametrize("llm", ["mt5", "llama"])
def test_log_probabilities_are_the_model_s_own(llm: str) -> None:
    """Whatever temperature, penalties and the rest of the batch are."""
    built = tiny(llm)
    chosen = Decoding(10, min_new_tokens=10, temperature=1.4, seed=4, repetition_penalty=1.5)
    one = ask("a", words="is this a dog? ", decoding=chosen, logprobs=3)
    sample = render(one.example, built.processor.spec(), complete=True)
    ids = Decoder(built.model, built.processor).run([Row("a", sample, None, chosen)])["a"].ids
    language_model, prompt = built.model.language_model, torch.tensor([sample.ids])
    with torch.no_grad():
        if llm == "mt5":
            fed = torch.tensor([[language_model.config.decoder_start_token_id, *ids[:-1]]])
            logits = language_model(input_ids=prompt, decoder_input_ids=fed).logits[0]
        else:
            logits = language_model(input_ids=torch.tensor([[*sample.ids, *ids[:-1]]])).logits[0, len(sample.ids) - 1 :]
    scores = logits.log_softmax(-1)

    async def main(engine: Engine) -> list[Piece]:
        others = [asyncio.create_task(text(engine, ask(str(i), words="dog " * i))) for i in range(1, 4)]
        found = await pieces(engine, one)
        await asyncio.gather(*others)
        return found

    with running(built) as engine:
        tokens = [token for piece in run(main(engine)) for token in piece.logprobs]
    assert len(tokens) == 10
    for place, token in enumerate(tokens):
        best = scores[place].topk(3)
        assert token.logprob == pytest.approx(float(scores[place, ids[place]]), abs=1e-3)
        assert [other.logprob for other in token.top] == pytest.approx(best.values.tolist(), abs=1e-3)
        assert [other.top for other in token.top] == [()] * 3
        if int(best.indices[0]) == ids[place]:
            assert token.top[0].token == token.token


def test_log_probabilities_with_beams_are_refused() -> None:
    async def main(engine: Engine) -> None:
        with pytest.raises(PromptError, match="3 beams"):
            await text(engine, ask(decoding=Decoding(5, beams=3), logprobs=0))

    with running(tiny()) as engine:
        run(main(engine))

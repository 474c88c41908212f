"""Greedy and beam search give the tokens and scores of `transformers`' `generate`."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.models.decode_llms import (
    CONFIGS,
    ENDS,
    PROCESSOR,
    StandIn,
    oracle,
    padded,
    prompts,
    text_row,
    tiny_llm,
)

from visiglot.models.decode import Decoder, Decoding

pytestmark = pytest.mark.filterwarnings("ignore:Passing `repetition_penalty` with `inputs_embeds`:UserWarning")

FAST = ("t5", "mt5", "bart", "llama", "mistral", "qwen2", "qwen3", "gemma2", "bloom", "gpt2", "opt")
SETTINGS = {
    "greedy": Decoding(10),
    "greedy with repetition penalty": Decoding(10, repetition_penalty=1.5),
    "greedy with a minimum": Decoding(10, min_new_tokens=5),
    "beam 5, length penalty 1": Decoding(10, beams=5),
    "beam 5, length penalty -1": Decoding(8, beams=5, length_penalty=-1.0),
    "beam 5, repetition penalty": Decoding(10, beams=5, repetition_penalty=1.5),
    "beam 3, length penalty 2, a minimum": Decoding(9, beams=3, length_penalty=2.0, min_new_tokens=4),
}


def _generate(llm: Any, decoding: Decoding) -> tuple[list[tuple[int, ...]], list[float]]:
    """`generate` on all prompts in one padded batch.

    With a repetition penalty one by one: given embeddings alone, `generate` takes the padding on a row's left for
    padding among its new tokens and leaves as many of those out of the penalty.
    """
    side = "right" if llm.config.is_encoder_decoder else "left"
    batches = [[prompt] for prompt in prompts()] if decoding.repetition_penalty != 1 else [prompts()]
    answers, scores = [], []
    for batch in batches:
        ids, mask = padded(batch, side)
        found = oracle(llm, llm.get_input_embeddings()(ids), mask, decoding)
        answers += found[0]
        scores += found[1]
    return answers, scores


def _check(kind: str, decoding: Decoding) -> None:
    llm = tiny_llm(kind)
    wanted, scores = _generate(llm, decoding)
    rows = [text_row(str(i), prompt, decoding) for i, prompt in enumerate(prompts())]
    answers = list(Decoder(StandIn(llm), PROCESSOR).run(rows).values())
    assert [answer.ids for answer in answers] == wanted
    for answer, score in zip(answers, scores):
        assert answer.score == pytest.approx(score, rel=1e-4)
    for answer in answers:
        assert answer.finish == ("stop" if answer.ids[-1] in ENDS else "length")


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("kind", FAST)
def test_the_decoder_gives_the_tokens_of_generate(kind: str, setting: str) -> None:
    _check(kind, SETTINGS[setting])


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("kind", sorted(set(CONFIGS) - set(FAST)))
def test_the_decoder_gives_the_tokens_of_generate_for_more_families(kind: str, setting: str) -> None:
    _check(kind, SETTINGS[setting])


@pytest.mark.parametrize("kind", ["llama", "bloom"])
@pytest.mark.parametrize("beams", [1, 4])
def test_a_penalised_prompt_is_what_generate_does_with_input_ids(kind: str, beams: int) -> None:
    llm = tiny_llm(kind)
    decoding = Decoding(10, beams=beams, repetition_penalty=1.5, penalize_prompt=True)
    for prompt in prompts():  # one by one: generate would count padding as a part of the prompt
        ids, mask = padded([prompt], "left")
        wanted, _ = oracle(llm, llm.get_input_embeddings()(ids), mask, decoding, input_ids=ids)
        answer = Decoder(StandIn(llm), PROCESSOR).run([text_row("a", prompt, decoding)])["a"]
        assert answer.ids == wanted[0]


@pytest.mark.parametrize("kind", FAST)
def test_the_oracle_is_no_constant(kind: str) -> None:
    """Answers that are all alike, or all one token, would make the tests above pass too easily."""
    llm = tiny_llm(kind)
    found = {name: _generate(llm, setting)[0] for name, setting in SETTINGS.items()}
    everything = [answer for answers in found.values() for answer in answers]
    assert len(set(everything)) >= 12
    assert len({token for answer in everything for token in answer}) >= 12
    assert any(answer[-1] in ENDS for answer in everything)
    assert any(answer[-1] not in ENDS for answer in everything)
    assert found["greedy"] != found["greedy with repetition penalty"]
    assert found["beam 5, length penalty 1"] != found["beam 5, length penalty -1"]

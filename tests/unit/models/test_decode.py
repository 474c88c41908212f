"""The decoder's own behaviour: events, errors, budget, what it holds on to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tests.unit.models.decode_llms import PROCESSOR, StandIn, prompts, text_row, tiny_llm
from transformers import MambaConfig, MambaForCausalLM

from visiglot.errors import ModelError, PromptError
from visiglot.models.decode import Decoder, Decoding, Row, cost, generate
from visiglot.models.decode import cache as kv
from visiglot.types import ImageRef, Sample, VisionFeatures


def _rows(decoding: Decoding, count: int = 5) -> list[Row]:
    return [text_row(f"row {i}", ids, decoding) for i, ids in enumerate(prompts()[:count])]


def test_each_step_gives_one_token_of_each_row_and_finished_rows_leave() -> None:
    decoder = Decoder(StandIn(tiny_llm("llama")), PROCESSOR)
    rows = _rows(Decoding(6), 3)
    wanted = decoder.run(rows)
    got: dict[str, list[int]] = {row.key: [] for row in rows}
    events = decoder.add(rows)
    while True:
        for event in events:
            got[event.key] += event.token_ids
            assert len(event.token_ids) == 1
            assert (event.key in decoder.keys) == (event.finished is None)
        if not decoder.keys:
            break
        events = decoder.step()
    assert {key: tuple(ids) for key, ids in got.items()} == {key: answer.ids for key, answer in wanted.items()}


def test_beams_give_one_event_with_all_tokens() -> None:
    decoder = Decoder(StandIn(tiny_llm("mt5")), PROCESSOR)
    row = _rows(Decoding(6, beams=3), 1)[0]
    wanted = decoder.run([row])[row.key]
    events = decoder.add([row])
    while decoder.keys:
        events += decoder.step()
    assert [event.token_ids for event in events] == [wanted.ids]
    assert events[0].score == wanted.score


def test_a_stream_joins_to_the_answer_and_leaving_it_frees_the_row() -> None:
    decoder = Decoder(StandIn(tiny_llm("mt5")), PROCESSOR)
    row = _rows(Decoding(8, min_new_tokens=8), 1)[0]
    wanted = decoder.run([row])[row.key]
    pieces = list(decoder.stream(row))
    assert len(pieces) == 8
    assert "".join(pieces) == wanted.text
    stream: Iterator[str] = decoder.stream(row)
    next(stream)
    assert decoder.keys == [row.key]
    stream.close()  # type: ignore[attr-defined]
    assert decoder.keys == []


def test_dropping_rows_frees_their_padding() -> None:
    decoder = Decoder(StandIn(tiny_llm("mt5")), PROCESSOR)
    rows = _rows(Decoding(20, min_new_tokens=20))
    decoder.add(rows)
    for _ in range(3):
        decoder.step()
    young = text_row("young", (3, 4, 5), Decoding(20, min_new_tokens=20, beams=2))
    decoder.add([young])
    decoder.drop([row.key for row in rows])
    flight = decoder._flights[0]
    assert flight.memory is not None
    assert flight.memory.shape[:2] == (1, 3)
    assert {layer.keys.shape[:3] for layer in kv.self_layers(flight.cache)} == {(2, 4, 1)}
    assert {layer.keys.shape[:3] for layer in kv.cross_layers(flight.cache)} == {(1, 4, 3)}
    decoder.drop(["young"])
    assert decoder._flights == []


@pytest.mark.parametrize("kind", ["bart", "mt5"])
def test_only_an_llm_without_shiftable_positions_decodes_ages_apart(kind: str) -> None:
    decoder = Decoder(StandIn(tiny_llm(kind)), PROCESSOR)
    decoding = Decoding(20, min_new_tokens=20)
    decoder.add([text_row("old", (3, 4, 5), decoding)])
    decoder.step()
    decoder.add([text_row("new", (6, 7), decoding), text_row("new too", (8,), decoding)])
    assert len(decoder._flights) == (2 if kind == "bart" else 1)
    assert sorted(decoder.keys) == ["new", "new too", "old"]


def test_the_budget_is_kept_and_rows_are_taken_only_when_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    model = StandIn(tiny_llm("llama"))
    decoding = Decoding(6, min_new_tokens=3)
    rows = [text_row(str(i), ids, decoding) for i, ids in enumerate(prompts((4, 9, 6, 13, 2, 5, 7, 3, 8)))]
    by_key = {row.key: row for row in rows}
    budget = 45
    taken: list[str] = []
    held: list[tuple[int, int]] = []
    step = Decoder.step

    def watched(self: Decoder) -> Any:
        held.append((sum(cost(by_key[key]) for key in self.keys), len(taken)))
        return step(self)

    def source() -> Iterator[Row]:
        for row in rows:
            taken.append(row.key)
            yield row

    monkeypatch.setattr(Decoder, "step", watched)
    answers = dict(generate(model, PROCESSOR, source(), max_batch_tokens=budget))
    assert set(answers) == set(by_key)
    assert max(tokens for tokens, _ in held) <= budget
    assert held[0][1] < len(rows), "all rows were taken at the start"
    assert max(tokens for tokens, _ in held) > budget / 2


def test_a_row_above_the_budget_is_decoded_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    together: list[list[str]] = []
    step = Decoder.step

    def watched(self: Decoder) -> Any:
        together.append(self.keys)
        return step(self)

    monkeypatch.setattr(Decoder, "step", watched)
    rows = _rows(Decoding(4, min_new_tokens=4), 3)
    rows[1] = text_row("large", prompts((30,))[0], Decoding(4, min_new_tokens=4))
    answers = dict(generate(StandIn(tiny_llm("llama")), PROCESSOR, rows, max_batch_tokens=20))
    assert len(answers) == 3
    assert all(keys == ["large"] for keys in together if "large" in keys)


# --- errors ----------------------------------------------------------------------------------------------------------


def test_a_row_without_its_features_is_named_with_both_counts_and_nobody_joins() -> None:
    decoder = Decoder(StandIn(tiny_llm("llama")), PROCESSOR)
    pictured = Row("pictured", Sample("a", (3, 4), (), (ImageRef("a.png", data=b"a"),), "eng_Latn"))
    with pytest.raises(PromptError, match="pictured: the prompt shows 1 image, features of 0 were given"):
        decoder.add([*_rows(Decoding(), 1), pictured])
    assert decoder.keys == []
    features = VisionFeatures(torch.zeros(2, 4, 8), torch.zeros(2, 8))
    with pytest.raises(PromptError, match="shows 1 image, features of 2 were given"):
        decoder.add([Row("two", pictured.sample, features)])


def test_a_prompt_that_leaves_no_room_for_the_answer_is_refused() -> None:
    decoder = Decoder(StandIn(tiny_llm("opt")), PROCESSOR)
    with pytest.raises(PromptError, match="60 prompt tokens and 5 new ones are more than the 64 positions"):
        decoder.add([text_row("a", prompts((60,))[0], Decoding(5))])
    assert len(decoder.run([text_row("a", prompts((60,))[0], Decoding(4))])["a"].ids) <= 4


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(PromptError, match="the prompt is empty"):
        Decoder(StandIn(tiny_llm("llama")), PROCESSOR).add([text_row("a", (), Decoding())])


def test_an_llm_with_recurrent_states_is_refused() -> None:
    llm = MambaForCausalLM(MambaConfig(vocab_size=30, hidden_size=16, num_hidden_layers=1, state_size=4))
    with pytest.raises(ModelError, match="keeps more than keys and values"):
        Decoder(StandIn(llm), PROCESSOR)


def test_a_model_in_training_mode_is_refused() -> None:
    model = StandIn(tiny_llm("llama"))
    model.training = True
    with pytest.raises(AssertionError, match="training mode"):
        Decoder(model, PROCESSOR).add(_rows(Decoding(), 1))

"""Weights of the connector's experts, told with an answer."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.serve.asking import PICTURES, ask, gather, pieces, run, running, tiny
from tests.unit.serve.serving import SERVED, drawn, serving, user

from visiglot.evaluate.routing import expert_weights
from visiglot.models.decode import Decoding
from visiglot.serve.engine import Ask, Engine

LLMS = ("t5", "llama")


def told(llm: str, *asks: Ask) -> list[tuple[tuple[float, ...], ...]]:
    """The weights of each ask's first piece, when all are asked at once."""

    async def main() -> list[Any]:
        with running(tiny(llm, "parrot")) as engine:
            return await gather(*(pieces(engine, one) for one in asks))

    found = run(main())
    for said in found:
        assert all(piece.routing == () for piece in said[1:])
    return [said[0].routing for said in found]


def measured(llm: str, one: Ask) -> tuple[float, ...]:
    """The mean over the pictures of one prompt, as an evaluation measures it."""
    built = tiny(llm, "parrot")
    _, weights = expert_weights(built.model, built.processor, {"eng_Latn": [one.example]})["eng_Latn"]
    return weights


@pytest.mark.parametrize("llm", LLMS)
def test_weights_are_those_that_an_evaluation_measures(llm: str) -> None:
    asks = [
        ask("a", PICTURES["red"], routing=True),
        ask("b", PICTURES["red"], words="dog or cat? ", routing=True),
        ask("c", PICTURES["blue"], PICTURES["red"], PICTURES["blue"], words="mouse ", routing=True),
    ]
    found = told(llm, *asks)
    assert [len(weights) for weights in found] == [1, 1, 3]
    assert found[0] != found[1], "the words decide"
    assert found[2][0] == found[2][2]
    for weights, one in zip(found, asks):
        means = [sum(column) / len(weights) for column in zip(*weights)]
        assert sum(means) == pytest.approx(1, abs=1e-6)
        assert means == pytest.approx(measured(llm, one), abs=1e-5)


def test_nobody_is_told_who_does_not_ask_and_a_prompt_without_pictures_has_none() -> None:
    assert told("t5", ask("a", PICTURES["red"]), ask("b", routing=True)) == [(), ()]


def test_a_connector_without_experts_has_none_to_tell() -> None:
    async def main() -> Any:
        with running(tiny("t5", "reader")) as engine:
            return await pieces(engine, ask("a", PICTURES["red"], routing=True, decoding=Decoding(2)))

    assert run(main())[0].routing == ()
    assert tiny("t5", "reader").model.connector.num_experts == 0


def test_a_request_gets_a_list_of_weights_for_each_picture_whole_and_streamed() -> None:
    built = tiny("t5", "parrot")
    served = replace(SERVED, experts=built.model.connector.num_experts)
    asked: dict[str, Any] = {"languages": ["de", "sw"], "routing": True, "max_tokens": 8}
    with serving(Engine(built.model, built.processor), served=served) as server:
        whole = server.chat(user("dog?", drawn("red")), **asked).json["choices"]
        events = server.chat(user("dog?", drawn("red")), **asked, stream=True).events[:-1]
    streamed: dict[int, list[list[float]]] = {}
    for event in events:
        for choice in json.loads(event)["choices"]:
            if "routing" in choice:
                assert choice["index"] not in streamed, "weights are told once"
                streamed[choice["index"]] = choice["routing"]
    for index, choice in enumerate(whole):
        (weights,) = choice["routing"]
        assert len(weights) == served.experts == 3
        assert sum(weights) == pytest.approx(1, abs=1e-6)
        assert streamed[index][0] == pytest.approx(weights, abs=1e-5)
    assert whole[0]["routing"] != whole[1]["routing"]


def test_routing_of_a_model_without_experts_is_refused() -> None:
    with serving() as server:
        reply = server.chat(routing=True)
        assert (reply.status, reply.error["param"], reply.error["code"]) == (400, "routing", "unsupported_parameter")
        assert server.chat(routing=False).status == 200

"""Image tokens are told the caption's word pieces, and noise widens what the language model reads."""

from __future__ import annotations

import torch
from tests.drawn import Drawn
from tests.tiny import build_tiny

from visiglot.config import TrainSection
from visiglot.data.collate import collate
from visiglot.render import render
from visiglot.train.objectives import OBJECTIVES
from visiglot.train.objectives.assignment import Assignment
from visiglot.train.pictures import Pictures
from visiglot.types import IGNORE


def make(llm: str = "t5"):
    built = build_tiny(llm=llm)
    spec = built.processor.spec()
    objective = OBJECTIVES.get("assignment")(built.model, spec, TrainSection(), {})
    assert isinstance(objective, Assignment)
    samples = [render(example, spec) for example in Drawn(["eng_Latn"]).examples[:4]]
    return built.model, objective, collate(samples, spec, pixels=Pictures(built.processor).plain)


def test_each_slot_is_told_one_piece_and_the_end_marker_fills_the_rest() -> None:
    model, objective, _ = make()
    end = objective.spec.end_ids[0]
    labels = torch.tensor([[7, 8, end, IGNORE, IGNORE, IGNORE], [5, 6, 7, 8, 9, end]])
    assert model.config.tokens_per_image == 4
    assert objective.pieces(labels).tolist() == [[7, 8, end, end], [5, 6, 7, 8]]


def test_tokens_that_lie_on_their_words_cost_no_distance() -> None:
    model, objective, batch = make()
    objective.options = objective.options.model_copy(update={"contrast": 0.0})
    words = model.word_embeddings(objective.pieces(batch.labels)).detach()
    model.slot_tokens = lambda batch, features: words[batch.slot_row]
    assert float(objective(model, batch).sum) == 0.0


def test_a_few_steps_bring_the_tokens_closer() -> None:
    torch.manual_seed(0)
    model, objective, batch = make()
    optimiser = torch.optim.AdamW(model.connector.parameters(), lr=1e-2)
    costs = []
    for _ in range(30):
        cost = objective(model, batch).sum
        cost.backward()
        optimiser.step()
        optimiser.zero_grad()
        costs.append(cost.item())
    assert costs[-1] < 0.7 * costs[0]


def test_noise_moves_what_the_language_model_reads_and_only_when_asked() -> None:
    model, _, batch = make("llama")
    with torch.no_grad():
        plain = model.target_states(batch).states
        assert torch.equal(model.target_states(batch, noise=0.0).states, plain)
        torch.manual_seed(0)
        noisy = model.target_states(batch, noise=0.5).states
        torch.manual_seed(0)
        again = model.target_states(batch, noise=0.5).states
    assert not torch.allclose(noisy, plain, atol=1e-3)
    assert torch.equal(noisy, again)

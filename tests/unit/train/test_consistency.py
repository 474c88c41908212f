"""The regulariser between a question's languages, off by default; and losses of answers that are half learned."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.drawn import Drawn, drawn_recipe
from tests.tiny import build_tiny
from torch import nn
from torch.nn.functional import kl_div

from visiglot.config import TrainSection
from visiglot.data.collate import collate
from visiglot.data.ledger import Ledger
from visiglot.errors import ConfigError
from visiglot.render import render
from visiglot.train.loss import chunked_symmetric_kl
from visiglot.train.objectives import OBJECTIVES, Objective
from visiglot.train.pictures import Pictures
from visiglot.train.precision import build_accelerator
from visiglot.train.stages import Sources, prepare_stage
from visiglot.types import Batch, Example, Message, Sample

LLMS = ("t5", "llama")


def with_prompt(example: Example, prompt: str, id: str) -> Example:
    slot, _ = example.messages[0].content
    return replace(example, id=id, messages=(Message("user", (slot, prompt)), example.messages[1]))


class Twins:
    """A tiny model and rows, of which every other one has a twin."""

    def __init__(self, llm: str, prompt: str, weight: float) -> None:
        built = build_tiny(llm=llm)
        self.model, self.spec = built.model, built.processor.spec()
        self.objective: Objective = OBJECTIVES.get("generate")(
            self.model, self.spec, TrainSection(head_chunk=3), {"consistency": weight}
        )
        examples = Drawn(["deu_Latn"]).examples[:4]
        self.samples: list[Sample] = [render(one, self.spec) for one in examples]
        for at in (0, 2):
            twin = render(with_prompt(examples[at], prompt, f"{examples[at].id}/twin"), self.spec)
            self.samples[at] = replace(self.samples[at], twin=twin)
        self.pictures = Pictures(built.processor)

    def batch(self, rows: list[Sample] | None = None) -> Batch:
        rows = self.objective.rows(self.samples) if rows is None else rows
        return collate(rows, self.spec, pixels=self.pictures.plain)

    def loss(self, batch: Batch | None = None) -> Any:
        return self.objective(self.model, batch or self.batch())


@pytest.mark.parametrize("llm", LLMS)
def test_off_the_loss_is_as_it_was_and_twins_are_no_rows(llm: str) -> None:
    twins = Twins(llm, "Legend: ", 0.0)
    plain = [replace(one, twin=None) for one in twins.samples]
    assert twins.batch().ids == tuple(one.id for one in plain)
    with_, without = twins.loss(), twins.loss(twins.batch(plain))
    assert torch.equal(with_.sum, without.sum)
    assert torch.equal(with_.rows, without.rows)
    assert twins.objective.count(twins.samples) == sum(one.num_targets for one in plain)


@pytest.mark.parametrize("llm", LLMS)
def test_equal_prompts_cost_nothing(llm: str) -> None:
    on, off = (Twins(llm, "Caption: ", weight) for weight in (2.0, 0.0))
    batch = on.batch()
    assert batch.twins == ((0, 1), (3, 4))
    torch.testing.assert_close(on.loss(batch).sum, off.loss(batch).sum, atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize("llm", LLMS)
def test_other_prompts_cost_the_weighted_divergence_of_both_directions(llm: str) -> None:
    on, off = (Twins(llm, "What do you see here? ", weight) for weight in (3.0, 0.0))
    batch = on.batch()
    targets = on.model.target_states(batch)
    logits = on.model.head(targets.states).log_softmax(-1)
    expected = torch.zeros(())
    for one, other in batch.twins:
        p, q = logits[targets.rows == one], logits[targets.rows == other]
        both = kl_div(q, p, reduction="sum", log_target=True) + kl_div(p, q, reduction="sum", log_target=True)
        expected = expected + both / 2
    assert expected > 1e-4
    found = on.objective.differences(on.model, batch, targets)  # type: ignore[operator]
    torch.testing.assert_close(found.sum() / 2, expected, atol=1e-6, rtol=1e-4)
    assert {int(row) for row in targets.rows[found > 0]} == {0, 1, 3, 4}
    loss = on.loss(batch)
    torch.testing.assert_close(loss.sum - off.loss(batch).sum, 3.0 * expected, atol=2e-4, rtol=0.0)
    torch.testing.assert_close(loss.rows.sum(), loss.sum.detach())
    assert (
        int(loss.counts.sum())
        == on.objective.count(on.samples)
        == sum(one.num_targets for one in on.objective.rows(on.samples))
    )


@pytest.mark.parametrize("llm", LLMS)
def test_its_gradient_reaches_connector_and_language_model(llm: str) -> None:
    gradients = []
    for weight in (0.0, 5.0):
        twins = Twins(llm, "What do you see here? ", weight)
        twins.loss(Twins(llm, "What do you see here? ", 5.0).batch()).sum.backward()
        parts = (twins.model.connector, twins.model.language_model)
        gradients.append(
            [torch.cat([p.grad.flatten() for p in part.parameters() if p.grad is not None]) for part in parts]
        )
    for off, on in zip(*gradients, strict=True):
        assert not torch.allclose(off, on)


def test_validation_and_other_objectives_see_no_twins() -> None:
    twins = Twins("llama", "Legend: ", 1.0)
    assert twins.batch(twins.samples).twins == ()
    other = OBJECTIVES.get("contrastive")(twins.model, twins.spec, TrainSection(), {})
    assert other.rows(twins.samples) == twins.samples


@pytest.mark.parametrize("chunk", [1, 4, 100])
def test_the_divergence_is_the_same_in_pieces_and_never_negative(chunk: int) -> None:
    torch.manual_seed(0)
    head = nn.Linear(6, 40)
    one, other = torch.randn(9, 6, requires_grad=True), torch.randn(9, 6, requires_grad=True)
    found = chunked_symmetric_kl(head, one, other, chunk)
    p, q = head(one).softmax(-1), head(other).softmax(-1)
    torch.testing.assert_close(found, ((p - q) * (p.log() - q.log())).sum(-1) / 2)
    assert (found > 0).all()
    assert (chunked_symmetric_kl(head, one, one, chunk) == 0).all()
    found.sum().backward()
    assert one.grad is not None
    assert one.grad.abs().sum() > 0


def test_data_without_twins_are_refused() -> None:
    recipe = drawn_recipe({"options": {"consistency": 0.5}})
    built = build_tiny()
    with pytest.raises(ConfigError, match=r"stages\.stage0\.options: compare twins"):
        prepare_stage(
            recipe, 0, built.model, built.processor, Sources(), build_accelerator("fp32", "cpu"), Ledger(None, 0.01)
        )


@pytest.mark.parametrize("llm", LLMS)
def test_what_isnt_learned_is_read_all_the_same(llm: str) -> None:
    """The losses of the learned part are those that it has when all is learned; the rest has none."""
    built = build_tiny(llm=llm)
    spec, pictures = built.processor.spec(), Pictures(built.processor)
    example = Drawn(["deu_Latn"]).examples[0]
    asked, _ = example.messages
    answers = [Message("assistant", ("What? || Kreis rot",), unlearned=given) for given in (0, len("What?"))]
    found = []
    for answer in answers:
        sample = render(replace(example, messages=(asked, answer)), spec)
        batch = collate([sample, render(Drawn(["deu_Latn"]).examples[1], spec)], spec, pixels=pictures.plain)
        targets = built.model.target_states(batch)
        logits = built.model.head(targets.states).log_softmax(-1)
        found.append(-logits[range(len(targets.labels)), targets.labels][targets.rows == 0])
    whole, part = found
    assert 0 < len(part) < len(whole)
    torch.testing.assert_close(part, whole[-len(part) :])

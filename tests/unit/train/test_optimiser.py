"""Muon gets the hidden matrices and AdamW the rest; together they are one optimiser to whoever holds them."""

import io

import pytest
import torch
from tests.drawn import drawn_recipe
from tests.tiny import build_tiny
from torch import nn

from visiglot.config import TrainSection
from visiglot.models.parts import apply_parts
from visiglot.train.objectives import OBJECTIVES
from visiglot.train.optimiser import MuonAndAdamW, build_optimiser, hidden_matrices

EVERYTHING = {"language_model": {"train": "full"}, "connector": {"train": "full", "lr": 1e-4}}


def muon(llm: str = "t5") -> tuple[nn.Module, MuonAndAdamW]:
    built = build_tiny(llm=llm)
    section = drawn_recipe({"optimiser": "muon", "parts": EVERYTHING}, llm=llm).stages[0]
    groups = apply_parts(built.model, section)
    objective = OBJECTIVES.get("generate")(built.model, built.processor.spec(), TrainSection(), {})
    found = build_optimiser(built.model, groups, objective, section)
    assert isinstance(found, MuonAndAdamW)
    return built.model, found


@pytest.mark.parametrize("llm", ["t5", "llama"])
def test_embeddings_head_norms_and_biases_are_adamws(llm: str) -> None:
    model, optimiser = muon(llm)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    of = {
        kind: {names[id(p)] for group in inner.param_groups for p in group["params"]}
        for kind, inner in optimiser.inner.items()
    }
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert of["muon"] | of["adamw"] == trained
    assert not of["muon"] & of["adamw"]
    vocabulary = model.get_input_embeddings().num_embeddings
    for name, parameter in model.named_parameters():
        if name in of["muon"]:
            assert parameter.ndim == 2
            assert vocabulary not in parameter.shape
    assert any("language_model" in name for name in of["muon"])
    assert any("connector" in name for name in of["muon"])


def test_each_part_keeps_its_rate_and_decay_in_both() -> None:
    _, optimiser = muon()
    rates = {(group["path"], group["peak_lr"]) for group in optimiser.param_groups}
    assert rates == {("connector", 1e-4), ("language_model", 1e-3)}
    for group in optimiser.param_groups:
        if any(parameter.ndim <= 1 for parameter in group["params"]):
            assert group["weight_decay"] == 0


def test_a_rate_that_is_set_is_the_rate_of_the_step() -> None:
    model, optimiser = muon()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    for group in optimiser.param_groups:
        group["lr"] = 0.0
    optimiser.step()
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())
    for group in optimiser.param_groups:
        group["lr"] = 1e-2
    optimiser.step()
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved == {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    optimiser.zero_grad()
    assert all(parameter.grad is None for parameter in model.parameters() if parameter.requires_grad)


def test_what_is_saved_goes_on_as_if_never_stopped() -> None:
    def steps(optimiser: MuonAndAdamW, model: nn.Module, seeds: range) -> None:
        for seed in seeds:
            generator = torch.Generator().manual_seed(seed)
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimiser.step()

    straight, whole = muon()
    steps(whole, straight, range(4))
    stopped, first = muon()
    steps(first, stopped, range(2))
    kept = io.BytesIO()
    torch.save(first.state_dict(), kept)
    kept.seek(0)
    resumed, second = muon()
    resumed.load_state_dict(stopped.state_dict())
    second.load_state_dict(torch.load(kept, weights_only=True))
    steps(second, resumed, range(2, 4))
    for (name, one), other in zip(straight.named_parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other), name


def test_a_tied_head_is_no_hidden_matrix() -> None:
    model = build_tiny(llm="t5").model
    assert model.get_input_embeddings().weight not in hidden_matrices(model)

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.tiny import build_tiny

from visiglot.config import StageSection
from visiglot.errors import ConfigError
from visiglot.models import VisionLanguageModel
from visiglot.models.parts import adapter_names, apply_parts, count, describe_parts, merge_lora


def stage(**parts: Any) -> StageSection:
    named = {name.replace("__", "."): value for name, value in parts.items()}
    return StageSection.model_validate({"name": "one", "steps": 1, "lr": 1e-4, "parts": named})


def trained(model: VisionLanguageModel) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_the_longest_prefix_wins_and_unlisted_parts_freeze() -> None:
    model = build_tiny().model
    groups = apply_parts(
        model,
        stage(
            connector={"train": "full"},
            connector__qformer={"train": "frozen"},
            connector__queries={"train": "full", "lr": 1e-5},
        ),
    )
    names = trained(model)
    assert "connector.queries" in names
    assert any(name.startswith("connector.projection") for name in names)
    assert not any(name.startswith(("connector.qformer", "vision", "language_model")) for name in names)
    assert {group.path: group.lr for group in groups} == {
        "connector": 1e-4,
        "connector.qformer": 1e-4,
        "connector.queries": 1e-5,
    }


def test_lora_trains_its_own_layers_and_leaves_the_llm_frozen() -> None:
    model = build_tiny().model
    apply_parts(model, stage(language_model={"train": "lora", "lr": 2e-4}))
    assert trained(model) == adapter_names(model)
    assert len(adapter_names(model)) > 10


def test_a_second_stage_keeps_the_same_lora() -> None:
    model = build_tiny().model
    apply_parts(model, stage(language_model={"train": "lora"}))
    before = {name: id(parameter) for name, parameter in model.named_parameters()}
    apply_parts(model, stage(language_model={"train": "lora"}, connector={"train": "full"}))
    assert {name: id(parameter) for name, parameter in model.named_parameters()} == before


def test_a_later_stage_that_asks_for_other_low_rank_layers_is_refused() -> None:
    model = build_tiny().model
    first = stage(language_model={"train": "lora"})
    apply_parts(model, first)
    for other in ({"rank": 64}, {"targets": ["q"]}):
        second = first.model_copy(update={"lora": first.lora.model_copy(update=other)})
        with pytest.raises(ConfigError, match=f"lora.{next(iter(other))}: is"):
            apply_parts(model, second)


def test_merged_lora_gives_the_same_logits() -> None:
    model = build_tiny().model
    apply_parts(model, stage(language_model={"train": "lora"}))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    model.eval()  # new low-rank layers start in training mode, with dropout
    ids, labels = torch.tensor([[5, 6, 7]]), torch.tensor([[8, 9, 1]])
    with torch.no_grad():
        adapted = model(ids, labels=labels).logits
        merge_lora(model)
        merged = model(ids, labels=labels).logits
    torch.testing.assert_close(merged, adapted, atol=1e-5, rtol=1e-4)
    assert model.config.lora is None
    assert not adapter_names(model)


def test_a_lora_model_saves_and_loads_equal(tmp_path: Any) -> None:
    model = build_tiny().model
    apply_parts(model, stage(language_model={"train": "lora"}))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    model.save_pretrained(tmp_path)
    again = VisionLanguageModel.from_pretrained(tmp_path)
    ids, labels = torch.tensor([[5, 6, 7]]), torch.tensor([[8, 9, 1]])
    model.eval()
    torch.testing.assert_close(again(ids, labels=labels).logits, model(ids, labels=labels).logits, atol=1e-5, rtol=1e-5)


def test_an_unknown_path_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"conector: the model has no such part; did you mean 'connector'"):
        apply_parts(build_tiny().model, stage(conector={"train": "full"}))


def test_lora_elsewhere_than_in_the_llm_is_refused() -> None:
    with pytest.raises(ConfigError, match="`lora` is for language_model"):
        apply_parts(build_tiny().model, stage(vision={"train": "lora"}))


def test_the_announcement_says_what_is_frozen_and_what_trains() -> None:
    model = build_tiny().model
    lines = describe_parts(model, apply_parts(model, stage(connector={"train": "full", "lr": 1e-3})))
    assert lines[0].startswith("vision  frozen")
    assert "all full" in lines[1]
    assert "lr 1e-03" in lines[1]
    assert lines[2].startswith("language_model  frozen")


def test_counts_are_for_people() -> None:
    assert [count(n) for n in (12, 1_574_912, 124_430_000, 4_840_000_000)] == ["12", "1.6M", "124.4M", "4.8B"]

"""Recipes that start from a whole model: its connector as it is, and its low-rank layers kept or merged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.utils.tqdm import are_progress_bars_disabled
from tests.checkpoints import legacy_mblip, stock_llava
from tests.tiny import build_tiny
from transformers.utils import logging

from visiglot.config import ModelSection, StageSection
from visiglot.errors import CheckpointError, ConfigError
from visiglot.models.build import build_model
from visiglot.models.load import load_model
from visiglot.models.parts import adapter_names, apply_parts
from visiglot.models.vlm import VisionLanguageModel


def section_of(folder: Path, **parts: Any) -> ModelSection:
    return ModelSection.model_validate({"from": str(folder), **parts})


def stage(**lora: Any) -> StageSection:
    values = {"name": "one", "steps": 1, "parts": {"language_model": {"train": "lora"}}, "lora": lora}
    return StageSection.model_validate(values)


@pytest.fixture
def adapted(tmp_path: Path) -> Path:
    """A tiny model of ours with low-rank layers that say something."""
    built = build_tiny()
    apply_parts(built.model, stage(rank=4))
    with torch.no_grad():
        for name, parameter in built.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    built.model.save_pretrained(tmp_path / "adapted")
    built.processor.save_pretrained(tmp_path / "adapted")
    return tmp_path / "adapted"


def logits(model: VisionLanguageModel) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        found: torch.Tensor = model(torch.tensor([[5, 6, 7]]), labels=torch.tensor([[8, 9, 1]])).logits
    return found


def test_a_model_is_loaded_without_a_bar_of_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    built = build_tiny()
    built.model.save_pretrained(tmp_path)
    built.processor.save_pretrained(tmp_path)
    shown = logging.is_progress_bar_enabled()
    logging.enable_progress_bar()
    try:
        capsys.readouterr()
        load_model(str(tmp_path), device="cpu")
        assert capsys.readouterr().err == ""
        assert logging.is_progress_bar_enabled()
        assert not are_progress_bars_disabled()
    finally:
        if not shown:
            logging.disable_progress_bar()


def test_low_rank_layers_are_merged_so_that_a_stage_can_give_new_ones(adapted: Path) -> None:
    kept = build_model(section_of(adapted), languages=(), seed=0).model
    built = build_model(section_of(adapted, language_model={"merge": True}), languages=(), seed=0)
    assert adapter_names(kept)
    assert not adapter_names(built.model)
    assert built.model.config.lora is None
    assert any("its low-rank layers (rank 4) were merged into it" in line for line in built.report)
    torch.testing.assert_close(logits(built.model), logits(kept), rtol=1e-4, atol=1e-4)

    apply_parts(built.model, stage(rank=8))
    assert built.model.config.lora is not None
    assert built.model.config.lora["rank"] == 8
    with pytest.raises(ConfigError, match=r"lora.rank: is 8, but the low-rank layers there have 4"):
        apply_parts(kept, stage(rank=8))


def test_the_connector_is_that_of_the_model(adapted: Path, tmp_path: Path) -> None:
    ours = build_model(section_of(adapted), languages=(), seed=0).model
    assert ours.config.connector["options"]["num_queries"] == 4
    stock_llava(tmp_path / "llava")
    llava = build_model(section_of(tmp_path / "llava"), languages=(), seed=0).model
    assert llava.config.connector["type"] == "mlp"
    assert llava.config.vision_layer == -2


@pytest.mark.parametrize("llm", ["mt5", "bloom"])
def test_the_released_mblip_is_a_start_with_its_own_weights(tmp_path: Path, llm: str) -> None:
    stock = legacy_mblip(tmp_path / "mblip", llm)
    model = build_model(section_of(tmp_path / "mblip"), languages=(), seed=0).model
    for name, theirs, ours in (
        ("encoder", stock.vision_model, model.vision.model),
        ("Q-Former", stock.qformer, model.connector.qformer),
        ("language model", stock.language_model, model.language_model),
    ):
        state = ours.state_dict()
        for key, value in theirs.state_dict().items():
            assert torch.equal(state[key], value), f"{name}: {key}"


def test_a_model_without_a_connector_can_not_say_what_type_it_is(tmp_path: Path) -> None:
    built = build_tiny()
    built.model.language_model.save_pretrained(tmp_path / "llm")
    with pytest.raises(CheckpointError, match="doesn't say of which type its connector is"):
        build_model(section_of(tmp_path / "llm"), languages=(), seed=0)

"""Parrot's release: its names, what it computes, and what becomes of it here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.checkpoints import picture
from tests.parrot_release import EXPERTS, INNER, SIDE, released_parrot

from visiglot.config import ModelSection
from visiglot.errors import CheckpointError, ConfigError, ModelError
from visiglot.export.targets import TARGETS, refuse_obstacles
from visiglot.models.build import Built, build_model
from visiglot.models.load import load_model
from visiglot.prompts import placed, placing_of
from visiglot.render import load_template, render
from visiglot.types import Example, ImageRef, ImageSlot, Message

WORDS = ("is this a dog?", "perro gato ratón", "собака кошка мышь слон дом")


def asked(words: str, answer: str = "") -> Example:
    turns = [Message("user", (ImageSlot(0), words))] + ([Message("assistant", (answer,))] if answer else [])
    return Example("e", tuple(turns), "eng_Latn", (ImageRef("a", data=b"a"),))


def around(ids: list[int], image: int) -> tuple[list[int], list[int]]:
    first = ids.index(image)
    return ids[:first], [token for token in ids[first:] if token != image]


@pytest.mark.parametrize(
    "changes", [{}, {"use_moe_residual": False}, {"use_moe": False}], ids=["released", "bare", "stage-1"]
)
def test_logits_are_those_of_the_equations(changes: dict[str, Any], tmp_path: Path) -> None:
    reference = released_parrot(tmp_path, **changes)
    model, processor = load_model(str(tmp_path), device="cpu")
    spec = processor.spec()
    rows = [placed(asked(words), placing_of(model.config, processor)) for words in WORDS]
    prompts = [list(render(row, spec, complete=True).ids) for row in rows]
    pixels = processor.pixel_values([picture(1), picture(2, (64, 30)), picture(3)])
    length = max(map(len, prompts))
    ids = torch.tensor([[spec.pad_id] * (length - len(row)) + row for row in prompts])
    mask = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in prompts])
    with torch.no_grad():
        ours = model(ids, mask, pixel_values=pixels).logits
        for row, prompt in enumerate(prompts):
            theirs = reference.logits(pixels[row], *around(prompt, spec.image_token_id))
            torch.testing.assert_close(ours[row, length - len(prompt) :], theirs, atol=2e-5, rtol=2e-5)


def test_a_prompt_reads_as_the_authors_format_it(tmp_path: Path) -> None:
    released_parrot(tmp_path)
    model, processor = load_model(str(tmp_path), device="cpu")
    spec = processor.spec()
    assert spec.template == load_template("chatml-assistant")
    ids = list(render(placed(asked("What?"), placing_of(model.config, processor)), spec, complete=True).ids)
    before, after = around(ids, spec.image_token_id)
    assert ids.count(spec.image_token_id) == (SIDE // 7) ** 2 + 1
    system = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    assert before == spec.encode(f"{system}<|im_start|>user\n")
    assert after == spec.encode("\nWhat?<|im_end|>\n<|im_start|>assistant\n")


def test_pictures_are_padded_with_the_mean_colour(tmp_path: Path) -> None:
    released_parrot(tmp_path)
    _, processor = load_model(str(tmp_path), device="cpu")
    wide = processor.pixel_values([picture(1, (64, 32))])[0]
    assert wide.shape == (3, SIDE, SIDE)
    assert wide[:, 0].abs().max() < 0.02  # the mean, in 8 bits
    assert wide[:, SIDE // 2].abs().max() > 0.5


def test_it_is_saved_in_our_format_and_reads_the_same(tmp_path: Path) -> None:
    released_parrot(tmp_path / "theirs")
    model, processor = load_model(str(tmp_path / "theirs"), device="cpu")
    assert "read as parrot" in model.load_report.lines()[0]
    model.save_pretrained(tmp_path / "ours")
    processor.save_pretrained(tmp_path / "ours")
    again, its_processor = load_model(str(tmp_path / "ours"), device="cpu")
    assert its_processor.spec().template == processor.spec().template
    assert again.config.connector == model.config.connector
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    pixels = processor.pixel_values([picture(1, (64, 32))])
    assert torch.equal(its_processor.pixel_values([picture(1, (64, 32))]), pixels)


def built_from(where: str, **options: Any) -> Built:
    """The release's parts, its connector's type named and not `same`."""
    values = {
        "vision": {"from": where, "layer": -2},
        "connector": {"type": "parrot", "from": where, "options": {"experts": EXPERTS, "width": INNER, **options}},
        "language_model": {"from": where},
        "prompt": {"max_length": 128},
    }
    return build_model(ModelSection.model_validate(values), languages=["eng_Latn"], seed=1)


def test_a_connector_with_options_left_at_the_defaults_that_the_release_has_takes_its_weights(tmp_path: Path) -> None:
    released_parrot(tmp_path)
    model, _ = load_model(str(tmp_path), device="cpu")
    built = built_from(str(tmp_path))
    for name, tensor in model.connector.state_dict().items():
        assert torch.equal(built.model.connector.state_dict()[name], tensor), name


def test_options_that_differ_from_the_release_are_named_with_what_it_has(tmp_path: Path) -> None:
    released_parrot(tmp_path, moe_weight=0.25)
    with pytest.raises(ConfigError, match=r"connector\.options\.alpha: is 0\.1, that of .* is 0\.25") as caught:
        built_from(str(tmp_path))
    assert len(caught.value.problems) == 1
    assert built_from(str(tmp_path), alpha=0.25).model.connector.alpha == 0.25


@pytest.mark.parametrize("name", [name for name in TARGETS.names() if name != "visiglot"])
def test_no_stock_class_takes_it(name: str, tmp_path: Path) -> None:
    released_parrot(tmp_path)
    model, _ = load_model(str(tmp_path), device="cpu")
    with pytest.raises(ModelError, match="its connector is 'parrot'"):
        refuse_obstacles(TARGETS.get(name), model.config)


@pytest.mark.parametrize(
    "changes",
    [
        {"mm_vision_select_feature": "patch"},
        {"mm_patch_merge_type": "spatial_unpad"},
        {"image_aspect_ratio": "anyres"},
        {"mm_projector_type": "identity"},
        {"moe_hidden_size": 16},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_options_that_ours_has_not_are_refused_by_name(changes: dict[str, Any], tmp_path: Path) -> None:
    released_parrot(tmp_path, **changes)
    with pytest.raises(CheckpointError, match=next(iter(changes))):
        load_model(str(tmp_path), device="cpu")


def test_a_lost_expert_is_noticed(tmp_path: Path) -> None:
    released_parrot(tmp_path, num_experts=4)
    with pytest.raises(CheckpointError, match=r"connector\.experts\.router\.weight is"):
        load_model(str(tmp_path), device="cpu")


def test_a_checkpoint_without_its_encoder_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    released_parrot(tmp_path)
    file = tmp_path / "model.safetensors"
    save_file({key: value for key, value in load_file(file).items() if "vision_tower" not in key}, file)
    with pytest.raises(CheckpointError, match="no vision encoder"):
        load_model(str(tmp_path), device="cpu")
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "parrot_qwen2"

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.tiny import build_tiny
from transformers import AutoModelForImageTextToText

from visiglot.errors import CheckpointError
from visiglot.models.checkpoint.packed import PACKED, SCALE, pack, unpack
from visiglot.models.load import load_model


def test_a_matrix_in_8_bits_is_off_by_half_a_step_of_its_row_at_most() -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(64, 80, generator=generator) * torch.logspace(-3, 3, 64)[:, None]
    packed = pack({"x": matrix}, "int8")
    assert packed["x"].dtype == torch.int8
    back = unpack(packed)
    assert back.keys() == {"x"}
    step = matrix.abs().amax(1, keepdim=True) / 127
    assert bool(((back["x"] - matrix).abs() <= step * 0.5001).all())


def test_packing_what_was_packed_changes_nothing() -> None:
    once = unpack(pack({"x": torch.randn(64, 80, generator=torch.Generator().manual_seed(0))}, "int8"))
    twice = unpack(pack(once, "int8"))
    assert torch.allclose(once["x"], twice["x"], rtol=1e-6, atol=0)


def test_convolutions_have_a_scale_for_each_output() -> None:
    packed = pack({"x": torch.randn(32, 16, 3, 3, generator=torch.Generator().manual_seed(0))}, "int8")
    assert packed["x"].shape == (32, 16, 3, 3)
    assert packed["x" + SCALE].shape == (32,)
    assert unpack(packed)["x"].shape == (32, 16, 3, 3)


def test_a_row_of_zeros_stays_zero() -> None:
    matrix = torch.zeros(64, 80)
    assert torch.equal(unpack(pack({"x": matrix}, "int8"))["x"], matrix)


@pytest.mark.parametrize("packing", ["bf16", "int8"])
def test_vectors_and_counts_stay_as_they_are(packing: str) -> None:
    tensors = {"norm": torch.randn(5000), "count": torch.tensor(3), "norm.scale": torch.randn(4)}
    packed = pack(tensors, packing)  # type: ignore[arg-type]
    assert all(packed[name] is value for name, value in tensors.items())
    assert unpack(packed).keys() == tensors.keys()


def test_small_matrices_are_bf16_also_among_8_bits() -> None:
    assert pack({"x": torch.ones(2, 8)}, "int8")["x"].dtype == torch.bfloat16


def packed_model(folder: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """A tiny model's folder: its weights file, and what it holds in 8 bits, not yet written."""
    built = build_tiny("vit", "t5")
    built.model.save_pretrained(folder)
    built.processor.save_pretrained(folder)
    path = folder / "model.safetensors"
    return path, pack(load_file(path), "int8")


def test_a_model_in_8_bits_is_read_as_float32_by_our_code_and_by_auto_classes(tmp_path: Path) -> None:
    path, packed = packed_model(tmp_path)
    save_file(packed, path, metadata={"format": "pt", PACKED: "int8"})
    assert any(value.dtype == torch.int8 for value in packed.values())
    expected = unpack(packed)
    for model in (load_model(str(tmp_path), device="cpu")[0], AutoModelForImageTextToText.from_pretrained(tmp_path)):
        state = model.state_dict()
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
        assert all(torch.equal(state[key], value.to(state[key].dtype)) for key, value in expected.items())


def test_a_matrix_without_its_scale_is_refused(tmp_path: Path) -> None:
    path, packed = packed_model(tmp_path)
    lost = next(name for name in packed if name.endswith(SCALE))
    kept = {name: value for name, value in packed.items() if name != lost}
    save_file(kept, path, metadata={"format": "pt", PACKED: "int8"})
    with pytest.raises(CheckpointError, match=f"{lost.removesuffix(SCALE)} has no scale"):
        load_model(str(tmp_path), device="cpu")

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.tiny import TEXTS, tiny_section
from torch import Tensor
from transformers import AutoModelForImageTextToText

from visiglot.config import ModelSection, StageSection
from visiglot.errors import CheckpointError
from visiglot.models.build import Built, build_model
from visiglot.models.checkpoint.shared import PARTS, common_names, write_parts
from visiglot.models.load import load_model
from visiglot.models.parts import ensure_lora
from visiglot.models.vlm import VisionLanguageModel

LORA = {"rank": 2, "alpha": 4, "dropout": 0.0}
DATA = {"languages": "eng_Latn", "sources": [{"type": "nano", "options": {"task": "caption"}}]}


def save(built: Built, folder: Path) -> Path:
    built.model.save_pretrained(folder)
    built.processor.save_pretrained(folder)
    return folder


def build(values: dict[str, Any], seed: int) -> Built:
    section = ModelSection.model_validate(values)
    return build_model(section, languages=["eng_Latn"], seed=seed, texts=lambda: TEXTS)


def put_lora(model: VisionLanguageModel) -> None:
    """Low-rank layers whose product isn't zero, as after training."""
    stage = StageSection.model_validate(
        {"name": "s", "parts": {"language_model": {"train": "lora"}}, "lora": LORA, "steps": 1, "lr": 1.0}
        | {"objective": "generate", "batch": {"rows": 1}}
    )
    ensure_lora(model, stage)
    generator = torch.Generator().manual_seed(5)
    for name, parameter in model.named_parameters():
        if ".lora_B." in name:
            parameter.data = torch.randn(parameter.shape, generator=generator) / 10


@pytest.fixture(params=["t5", "llama"])
def trio(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Built]:
    """A folder with `english`, `lm`, and `model`, which has the encoder of the one and the LLM of the other; `model`
    as it is in memory."""
    english = save(build(tiny_section("resnet", "t5").model_dump(by_alias=True), 0), tmp_path / "english")
    lm = save(build(tiny_section("vit", request.param, "linear").model_dump(by_alias=True), 1), tmp_path / "lm")
    values = tiny_section("resnet", "t5").model_dump(by_alias=True)
    values["vision"] = {"from": str(english)}
    values["language_model"] = {"from": str(lm)}
    built = build(values, 2)
    put_lora(built.model)
    save(built, tmp_path / "model")
    return tmp_path, built


def share(folder: Path) -> Path:
    """Take out of `model` what the others have too, and say where it is."""
    model, others = folder / "model", {"vision": folder / "english", "language_model": folder / "lm"}
    own = load_file(model / "model.safetensors")
    common: set[str] = set()
    for part, other in others.items():
        common |= set(common_names(part, own, load_file(other / "model.safetensors")).values())
    rewrite(model, lambda tensors: {name: value for name, value in tensors.items() if name not in common})
    write_parts(model, others)
    return model


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[key], theirs[key]) for key in mine)


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


def test_a_model_with_shared_parts_is_the_model_that_was_saved_whole(trio: tuple[Path, Built]) -> None:
    folder, built = trio
    model = share(folder)
    assert all(key.startswith("connector.") or ".lora_" in key for key in load_file(model / "model.safetensors"))
    assert same(load_model(str(model), device="cpu")[0], built.model)


def test_stock_auto_classes_find_the_shared_parts_too(trio: tuple[Path, Built]) -> None:
    folder, built = trio
    assert same(AutoModelForImageTextToText.from_pretrained(share(folder)), built.model)


def test_folders_move_together(trio: tuple[Path, Built], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, built = trio
    share(folder)
    (tmp_path / "elsewhere").mkdir()
    for name in ("english", "lm", "model"):
        (folder / name).rename(tmp_path / "elsewhere" / name)
    monkeypatch.chdir(tmp_path / "elsewhere" / "model")
    assert same(load_model(".", device="cpu")[0], built.model)


def test_every_part_can_be_taken_from_a_model_that_shares_it(trio: tuple[Path, Built]) -> None:
    folder, built = trio
    model = str(share(folder))
    values = tiny_section("resnet", "t5").model_dump(by_alias=True)
    values["vision"] = values["language_model"] = {"from": model}
    values["connector"]["from"] = model
    assert same(build(values, 9).model, built.model)


def test_a_model_with_shared_parts_is_saved_whole_again(trio: tuple[Path, Built], tmp_path: Path) -> None:
    folder, built = trio
    model, _ = load_model(str(share(folder)), device="cpu")
    model.save_pretrained(tmp_path / "whole")
    assert not (tmp_path / "whole" / PARTS).exists()
    assert same(VisionLanguageModel.from_pretrained(tmp_path / "whole"), built.model)


def test_bf16_on_disk_is_read_as_the_float32_that_the_config_states(trio: tuple[Path, Built]) -> None:
    folder, built = trio

    def narrow(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {key: value.bfloat16() if value.is_floating_point() else value for key, value in tensors.items()}

    for name in ("english", "lm", "model"):
        rewrite(folder / name, narrow)
    model, _ = load_model(str(share(folder)), device="cpu")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    own = built.model.state_dict()
    assert all(torch.equal(value, own[key].bfloat16().float()) for key, value in model.named_parameters())


def test_a_part_that_isnt_the_others_has_no_common_names(trio: tuple[Path, Built]) -> None:
    folder, _ = trio
    own, theirs = (load_file(folder / name / "model.safetensors") for name in ("model", "english"))
    assert all(key.startswith("vision.") for key in common_names("vision", own, theirs))
    with pytest.raises(CheckpointError, match=r"vision\.model"):
        common_names("vision", own, {key: value + 1 for key, value in theirs.items()})
    with pytest.raises(CheckpointError, match=r"no weights below 'vision\.'"):
        common_names("vision", own, {})


def test_a_shared_file_that_changed_is_refused_by_name(trio: tuple[Path, Built]) -> None:
    folder, _ = trio
    model = share(folder)
    rewrite(folder / "lm", lambda tensors: {key: value * 2 for key, value in tensors.items()})
    for read in (
        lambda: load_model(str(model), device="cpu"),
        lambda: AutoModelForImageTextToText.from_pretrained(model),
    ):
        with pytest.raises(CheckpointError, match=r"its language_model lies in .*lm.*, which has changed"):
            read()


def test_a_shared_folder_that_is_gone_is_named_with_what_to_do(trio: tuple[Path, Built]) -> None:
    folder, _ = trio
    model = share(folder)
    (folder / "english").rename(folder / "gone")
    with pytest.raises(CheckpointError, match=r"its vision lies in .*english.*can't be read: No such file") as caught:
        load_model(str(model), device="cpu")
    assert "Put that folder back" in str(caught.value.hint)


def test_a_weight_in_both_places_is_refused(trio: tuple[Path, Built]) -> None:
    folder, _ = trio
    model = share(folder)
    key, value = next(iter(load_file(folder / "english" / "model.safetensors").items()))
    key, value = "vision.model.embedder.embedder.convolution.weight", value
    assert key in load_file(folder / "english" / "model.safetensors")
    rewrite(model, lambda tensors: tensors | {key: value})
    with pytest.raises(CheckpointError, match=f"{key} in its own weights and in .* too"):
        load_model(str(model), device="cpu")


def test_a_weight_in_neither_place_is_missing(trio: tuple[Path, Built]) -> None:
    folder, _ = trio
    model = share(folder)
    rewrite(model, lambda tensors: {key: value for key, value in tensors.items() if ".lora_B." not in key})
    with pytest.raises(CheckpointError, match=r"missing: language_model\..*lora_B"):
        load_model(str(model), device="cpu")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda values: {"connector": values["vision"]}, "'connector' with .* is no shared part"),
        (lambda values: {"vision": {"folder": "../english"}}, "'vision' with folder is no shared part"),
        (lambda values: {"vision": {**values["vision"], "folder": "/etc"}}, "lies in '/etc'"),
        (lambda values: {"vision": {**values["vision"], "file": "../x"}}, "'../x'"),
        (lambda values: [1], "can't be read"),
    ],
)
def test_a_parts_file_that_says_something_else_is_a_checkpoint_error(
    change: Callable[[Any], Any], said: str, tmp_path: Path
) -> None:
    values = {"vision": {"folder": "../english", "file": "model.safetensors", "sha256": "0"}}
    save(build(tiny_section().model_dump(by_alias=True), 0), tmp_path)
    (tmp_path / PARTS).write_text(json.dumps(change(values)))
    with pytest.raises(CheckpointError, match=said):
        load_model(str(tmp_path), device="cpu")

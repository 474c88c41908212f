"""Frozen matrices in bf16: the same losses to the bit, at half their size."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from tests.drawn import drawn_recipe
from tests.one_step import one_step
from tests.tiny import LLM, VISION, build_tiny, tiny_section
from torch import nn

from visiglot.config import Recipe, TrainSection
from visiglot.models.load import load_model
from visiglot.models.parts import apply_parts
from visiglot.models.runs import checkpoints
from visiglot.train.loop import fit
from visiglot.train.memory import Pass, stage_memory, trained_memory
from visiglot.train.precision import build_accelerator, frozen_matrices, round_frozen, widen_frozen
from visiglot.train.resume import Run
from visiglot.train.track import Tracker

CONNECTOR = {"steps": 2}
LORA = {
    "steps": 3,
    "parts": {"connector": {"train": "full"}, "language_model": {"train": "lora"}},
    "lora": {"rank": 2, "alpha": 4, "dropout": 0.1},
}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISIGLOT_CACHE", str(tmp_path / "cache"))
    torch.set_num_threads(1)


def recipe(
    *stages: dict[str, Any], llm: str = "t5", vision: str = "vit", connector: str = "mlp", **train: Any
) -> Recipe:
    made = drawn_recipe(*stages, llm=llm, **{"precision": "bf16", **train})
    return made.model_copy(update={"model": tiny_section(vision, llm, connector)})


def train(made: Recipe, out: Path, *, said: io.StringIO | None = None) -> Path:
    tracker = Tracker() if said is None else Tracker(Console(file=said, width=300))
    return fit(made, out=out, resume=True, device="cpu", report=tracker)


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "log.jsonl").read_text().splitlines()]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoints(run)[-1].model / "model.safetensors")


@pytest.mark.parametrize("llm", LLM)
def test_losses_are_the_same_to_the_bit_and_so_are_gradients_but_for_t5(llm: str) -> None:
    """T5 casts what its last layers read to their weights' format, so gradients are summed in bf16 there."""
    made = [recipe(LORA, llm=llm, connector="qformer", frozen=frozen) for frozen in ("fp32", "bf16")]
    plain, small = (one_step(one, llm=llm) for one in made)
    assert any(one.dtype == torch.bfloat16 for one in small.model.language_model.parameters())
    assert torch.equal(plain.losses, small.losses)
    assert plain.gradients.keys() == small.gradients.keys()
    assert {gradient.dtype for gradient in small.gradients.values()} == {torch.float32}
    one, other = (torch.cat([g.flatten() for g in step.gradients.values()]) for step in (plain, small))
    if llm in ("t5", "mt5"):
        assert (one - other).norm() <= 0.01 * one.norm()
    else:
        assert torch.equal(one, other)


@pytest.mark.parametrize("vision", VISION)
def test_an_encoder_gives_the_same_features_to_the_bit(vision: str) -> None:
    made = recipe(CONNECTOR, vision=vision, frozen="bf16")
    model = build_tiny(vision=vision).model.eval()
    accelerator = build_accelerator("bf16", "cpu")
    pixels = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    def seen() -> torch.Tensor:
        with torch.no_grad(), accelerator.autocast():
            return model.encode_images(pixels).patches

    before = seen()
    round_frozen(made, model, accelerator)
    rounded = any(parameter.dtype == torch.bfloat16 for parameter in model.vision.parameters())
    assert rounded == (vision != "resnet")  # which has no linear layer
    assert torch.equal(seen(), before)


def test_embeddings_norms_tied_heads_and_a_part_s_first_parameter_stay() -> None:
    made = recipe(LORA, frozen="bf16")
    model = build_tiny().model
    llm = model.language_model
    assert llm.get_output_embeddings().weight is llm.get_input_embeddings().weight
    apply_parts(model, made.stages[0])
    matrices = frozen_matrices(made, model)
    names = {name for name, parameter in model.named_parameters() if parameter in matrices}
    assert "language_model.encoder.block.0.layer.1.DenseReluDense.wo.base_layer.weight" in names
    assert not [name for name in names if "embed" in name or "lm_head" in name or "norm" in name or "lora_" in name]
    assert not [name for name in names if name.startswith("connector")]
    firsts = [next(part.parameters()) for part in (model, model.vision, model.connector, model.language_model)]
    assert not matrices & set(firsts)
    assert model.dtype == torch.float32


def test_what_any_stage_trains_is_never_rounded() -> None:
    model = build_tiny().model
    later = {"parts": {"connector.qformer": {"train": "full"}, "language_model.decoder": {"train": "full"}}}
    made = recipe({"parts": {"connector.projection": {"train": "full"}}}, later, connector="qformer", frozen="bf16")
    round_frozen(made, model, build_accelerator("bf16", "cpu"))
    rounded = [name for name, parameter in model.named_parameters() if parameter.dtype == torch.bfloat16]
    assert {".".join(name.split(".")[:2]) for name in rounded} == {
        "vision.model",
        "language_model.encoder",
    }


@pytest.mark.parametrize("saves", [1, 2])
def test_a_killed_run_resumes_to_the_same_weights_bit_for_bit(
    saves: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = recipe(CONNECTOR, LORA | {"steps": 4}, frozen="bf16", save_every=2)
    straight = train(made, tmp_path / "straight")

    class Killed(BaseException):
        pass

    save, done = Run.save, []

    def dies(self: Run, *given: Any) -> None:
        save(self, *given)
        done.append(given)
        if len(done) == saves:
            raise Killed

    monkeypatch.setattr(Run, "save", dies)
    with pytest.raises(Killed):
        train(made, tmp_path / "killed")
    monkeypatch.setattr(Run, "save", save)
    killed = train(made, tmp_path / "killed")
    assert losses(killed) == losses(straight)
    one, other = weights(straight), weights(killed)
    assert all(torch.equal(tensor, other[name]) and tensor.dtype == other[name].dtype for name, tensor in one.items())


def test_a_checkpoint_loads_in_float32(tmp_path: Path) -> None:
    run = train(recipe(LORA, frozen="bf16"), tmp_path / "run")
    model, _ = load_model(str(run), device="cpu")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_a_line_says_how_much_is_rounded_or_why_nothing_is(tmp_path: Path) -> None:
    said = io.StringIO()
    train(recipe(CONNECTOR, frozen="bf16"), tmp_path / "run", said=said)
    assert "frozen matrices in bf16: " in said.getvalue()
    made = recipe(CONNECTOR, frozen="bf16")
    model = build_tiny().model
    assert round_frozen(made, model, build_accelerator("fp32", "cpu")) == [
        "frozen weights stay in fp32, as the run computes in it"
    ]
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_rounded_weights_are_widened_to_the_numbers_they_have() -> None:
    made = recipe(CONNECTOR, frozen="bf16")
    model = build_tiny().model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    round_frozen(made, model, build_accelerator("bf16", "cpu"))
    rounded = {name for name, tensor in model.state_dict().items() if tensor.dtype == torch.bfloat16}
    widen_frozen(made, model)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name].bfloat16().float() if name in rounded else before[name])


@pytest.mark.parametrize("llm", ["t5", "qwen2", "bloom"])
@pytest.mark.parametrize("stage", [CONNECTOR, LORA])
def test_the_estimate_knows_what_is_rounded(llm: str, stage: dict[str, Any]) -> None:
    made = recipe(stage, llm=llm, frozen="bf16")
    model = build_tiny(llm=llm).model
    apply_parts(model, made.stages[0])
    found = trained_memory(made, made.stages[0], model, Pass(2, 20, 20, 16, 4, 2))
    whole = stage_memory(made, made.stages[0], model, Pass(2, 20, 20, 16, 4, 2))
    round_frozen(made, model, build_accelerator("bf16", "cpu"))
    assert found.weights == sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers())) < whole.weights


def test_options_that_exclude_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="frozen is bf16, but precision fp32"):
        TrainSection(frozen="bf16", precision="fp32")
    with pytest.raises(ValueError, match="frozen is bf16, but sharding fsdp2"):
        TrainSection(frozen="bf16", sharding="fsdp2")


def test_no_layer_that_reads_its_weights_itself_is_rounded() -> None:
    """torch's attention adds what its output layer multiplies without calling it."""
    made = recipe(CONNECTOR, frozen="bf16")
    model = build_tiny().model
    model.vision.add_module("pooling", nn.MultiheadAttention(8, 2))
    inside = set(model.vision.pooling.parameters())
    assert not frozen_matrices(made, model) & inside

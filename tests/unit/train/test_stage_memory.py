"""The estimate of a stage's memory against measured bytes: weights, gradients and optimiser state are exact."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.drawn import drawn_recipe
from tests.tiny import CONNECTOR, LLM, TEXTS, build_tiny, tiny_section
from torch import nn

from visiglot.config import Recipe
from visiglot.models.build import build_model
from visiglot.models.parts import apply_parts
from visiglot.models.quantize import linear_layers, quantize_model
from visiglot.models.quantize.layers import QuantizedLinear
from visiglot.models.vlm import VisionLanguageModel
from visiglot.train.memory import FORMATS, Format, Pass, StageMemory, longest_pass, stage_memory, trained_memory
from visiglot.train.objectives import OBJECTIVES, Objective
from visiglot.train.optimiser import build_optimiser
from visiglot.train.sharding import cut_layers
from visiglot.train.zero import BUCKET

PASS = Pass(rows=2, tokens=20, targets=20, patches=16, image_tokens=4, bytes=2)
TILED = ("multiscale-pool", "window-pool", "window-shuffle")
PARTS: dict[str, dict[str, Any]] = {
    "connector": {"connector": {"train": "full"}},
    "lora": {"connector": {"train": "full"}, "language_model": {"train": "lora"}},
    "everything": {name: {"train": "full"} for name in ("vision", "connector", "language_model")},
}


def recipe_of(parts: str, **values: Any) -> Recipe:
    return drawn_recipe({"parts": PARTS[parts], **values})


def spec_of(built: Any) -> Any:
    return built.processor.spec()


def nbytes(module: nn.Module) -> int:
    """Bytes of all weights and buffers."""
    kept = sum(layer.nbytes for layer in module.modules() if isinstance(layer, QuantizedLinear))
    return kept + sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))


def train_one_step(
    model: VisionLanguageModel, recipe: Recipe, groups: Any, objective: Objective
) -> torch.optim.Optimizer:
    """A step whose gradients are all there, so that all state is made."""
    optimiser = build_optimiser(model, groups, objective, recipe.stages[0])
    for parameter in (*model.parameters(), *objective.parameters()):
        if parameter.requires_grad:
            parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    return optimiser


def state_bytes(optimiser: torch.optim.Optimizer) -> int:
    state = [value for kept in optimiser.state.values() for value in kept.values()]
    return sum(value.nbytes for value in state if isinstance(value, torch.Tensor))


@pytest.mark.parametrize("llm", ["t5", "mt5", "bloom", "qwen3"])
@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_weights_gradients_and_optimiser_are_those_of_a_real_step(llm: str, parts: str, optimiser: str) -> None:
    built = build_tiny(llm=llm)
    model = built.model
    recipe = recipe_of(parts, optimiser=optimiser)
    groups = apply_parts(model, recipe.stages[0])
    objective = OBJECTIVES.get("generate")(model, spec_of(built), recipe.train, {})
    made = train_one_step(model, recipe, groups, objective)
    found = stage_memory(recipe, recipe.stages[0], model, PASS, objective=objective)
    assert found.weights == nbytes(model)
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert found.gradients == sum(gradient.nbytes for gradient in gradients)
    assert found.optimiser == state_bytes(made)
    assert {part.name: part.parameters for part in found.parts} == {
        name: sum(p.numel() for p in module.parameters()) for name, module in model.named_children()
    }
    assert sum(part.trained for part in found.parts) == sum(gradient.numel() for gradient in gradients)


def test_an_objective_s_own_parameters_count() -> None:
    built = build_tiny()
    recipe = recipe_of("connector", objective="contrastive")
    groups = apply_parts(built.model, recipe.stages[0])
    objective = OBJECTIVES.get("contrastive")(built.model, spec_of(built), recipe.train, {})
    made = train_one_step(built.model, recipe, groups, objective)
    found = stage_memory(recipe, recipe.stages[0], built.model, PASS, objective=objective)
    assert found.parts[-1].name == "objective contrastive"
    assert found.parts[-1].weights == nbytes(objective)
    assert found.optimiser == state_bytes(made)


@pytest.mark.parametrize("llm", ["t5", "bloom", "qwen3"])
@pytest.mark.parametrize("format", ["bf16", "int8"])
def test_frozen_weights_in_fewer_bits_are_as_large_as_they_are_made(llm: str, format: Format) -> None:
    model = frozen(llm)
    expected = stage_memory(recipe_of("connector"), recipe_of("connector").stages[0], model, PASS, format=format)
    model.to(torch.bfloat16)
    if format != "bf16":
        quantize_model(model, format)
    assert expected.weights == nbytes(model)


@pytest.mark.parametrize("llm", ["t5", "bloom", "qwen3"])
def test_layers_in_4_bits_are_as_large_as_they_are_made(llm: str) -> None:
    """Of a float32 model, whose scales are float32 as on a GPU; CPU kernels for bf16 keep them in bf16."""
    model, recipe = frozen(llm), recipe_of("connector")
    in_bf16, expected = (
        stage_memory(recipe, recipe.stages[0], model, PASS, format=format).weights for format in ("bf16", "nf4")
    )
    linear = sum(
        model.language_model.get_submodule(name).weight.numel() for name in linear_layers(model.language_model)
    )
    quantize_model(model, "nf4")
    made = sum(layer.nbytes for layer in model.modules() if isinstance(layer, QuantizedLinear))
    assert in_bf16 - expected == 2 * linear - made


def frozen(llm: str) -> VisionLanguageModel:
    return build_tiny(llm=llm).model.requires_grad_(False)


def test_what_trains_stays_in_float32_whatever_the_frozen_weights_are() -> None:
    model = build_tiny().model
    recipe = recipe_of("lora")
    apply_parts(model, recipe.stages[0])
    by_format = {format: stage_memory(recipe, recipe.stages[0], model, PASS, format=format) for format in FORMATS}
    assert len({(found.gradients, found.optimiser, found.activations) for found in by_format.values()}) == 1
    assert len({part.weights for found in by_format.values() for part in found.parts if part.name == "connector"}) <= 2
    sizes = [by_format[format].weights for format in FORMATS]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("quantize", [None, "int8", "nf4"])
def test_training_keeps_frozen_weights_whole_but_for_a_language_model_in_fewer_bits(quantize: Format | None) -> None:
    model, recipe = frozen("bloom"), recipe_of("connector")
    llm = recipe.model.language_model.model_copy(update={"quantize": quantize})
    recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"language_model": llm})})
    stage = recipe.stages[0]
    whole, fewer = (stage_memory(recipe, stage, model, PASS, format=format) for format in ("fp32", quantize or "fp32"))
    found = trained_memory(recipe, stage, model, PASS)
    assert found.parts[:2] == whole.parts[:2]
    assert found.parts[2] == fewer.parts[2]
    assert (found.total < whole.total) is (quantize is not None)


def memory(parts: str, **arguments: Any) -> StageMemory:
    model = build_tiny().model
    recipe = recipe_of(parts)
    apply_parts(model, recipe.stages[0])
    return stage_memory(recipe, recipe.stages[0], model, PASS, **arguments)


def test_ddp_holds_everything_everywhere_and_a_copy_of_the_gradients() -> None:
    alone, shared = memory("lora"), memory("lora", processes=4, sharding="ddp")
    assert (shared.parts, shared.activations) == (alone.parts, alone.activations)
    assert (alone.exchange, shared.exchange) == (0, alone.gradients)


def test_fsdp2_cuts_every_tensor_along_its_first_axis() -> None:
    model = build_tiny().model
    recipe = recipe_of("everything")
    apply_parts(model, recipe.stages[0])
    found = stage_memory(recipe, recipe.stages[0], model, PASS, processes=3, sharding="fsdp2")
    pieces = [torch.chunk(parameter, 3)[0].nbytes for parameter in model.parameters()]
    assert found.gradients == sum(pieces)
    assert found.weights == sum(pieces) + sum(buffer.nbytes for buffer in model.buffers())
    assert found.exchange > 0


def test_zero2_cuts_gradients_and_moments_and_has_a_second_copy_of_what_it_updates() -> None:
    model = build_tiny().model
    recipe = recipe_of("lora")
    apply_parts(model, recipe.stages[0])
    alone, found = (stage_memory(recipe, recipe.stages[0], model, PASS, processes=n, sharding="zero2") for n in (1, 3))
    pieces = [-(-parameter.numel() // 3) for parameter in model.parameters() if parameter.requires_grad]
    assert found.weights == alone.weights
    assert found.gradients == 4 * sum(pieces)
    assert found.optimiser == 12 * sum(pieces) + 4 * len(pieces)
    assert alone.optimiser == alone.gradients * 2 + 4 * len(pieces)
    assert found.exchange > 4 * BUCKET


def test_zero3_cuts_the_large_weights_of_layers_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("visiglot.train.memory.WHOLE_BELOW", 100)
    model = build_tiny().model
    recipe = recipe_of("everything")
    apply_parts(model, recipe.stages[0])
    found = stage_memory(recipe, recipe.stages[0], model, PASS, processes=3, sharding="zero3")
    pieces = {parameter: -(-parameter.numel() // 3) for parameter in model.parameters()}
    inside = {p for layer in cut_layers(model) for p in layer.parameters() if p.numel() > 100}
    whole = sum(parameter.numel() for parameter in pieces if parameter not in inside)
    assert 0 < len(inside) < len(pieces)
    buffers = sum(buffer.nbytes for buffer in model.buffers())
    assert found.weights == 4 * (sum(pieces.values()) + whole) + buffers
    assert found.gradients == 4 * sum(pieces.values())
    assert found.optimiser == 8 * sum(pieces.values()) + 4 * len(pieces)


def test_the_meta_device_gives_the_same_numbers() -> None:
    model = build_tiny(llm="bloom").model
    recipe = recipe_of("lora")
    with torch.device("meta"):
        empty = VisionLanguageModel(model.config)
        apply_parts(empty, recipe.stages[0])
    model.config.lora = None
    apply_parts(model, recipe.stages[0])
    assert stage_memory(recipe, recipe.stages[0], empty, PASS) == stage_memory(recipe, recipe.stages[0], model, PASS)


def test_activations_grow_with_rows_and_shrink_with_checkpointing() -> None:
    model = build_tiny().model
    plain = recipe_of("lora")
    saving = plain.model_copy(update={"train": plain.train.model_copy(update={"gradient_checkpointing": True})})
    apply_parts(model, plain.stages[0])
    passed = longest_pass(plain, plain.stages[0], model, patches=16, processes=1)
    assert passed.rows == plain.stages[0].batch.rows // plain.stages[0].batch.accumulate
    assert passed.tokens == plain.model.prompt.max_length
    more = Pass(2 * passed.rows, passed.tokens, passed.targets, passed.patches, passed.image_tokens, passed.bytes)
    few, many, kept = (
        stage_memory(recipe, recipe.stages[0], model, one).activations
        for recipe, one in ((plain, passed), (plain, more), (saving, passed))
    )
    assert kept < few < many


def test_a_layer_keeps_as_much_as_the_formula_says() -> None:
    """A causal layer of width h with an MLP of 4h: 36 h bytes a token in 16 bits; heads apart."""
    width, vocabulary = 32, 64
    config = {**LLM["bloom"], "hidden_size": width, "n_layer": 1, "vocab_size": vocabulary}
    from transformers import BloomConfig, ViTConfig

    from visiglot.models.config import VisiglotConfig

    recipe = drawn_recipe({"parts": {"language_model": {"train": "full"}}}, llm="bloom")
    with torch.device("meta"):
        model = VisionLanguageModel(
            VisiglotConfig(
                vision_config=ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, image_size=32),
                text_config=BloomConfig(**{key: value for key, value in config.items() if key != "model_type"}),
                connector={**CONNECTOR["linear"], "vision_width": 8, "options": {}},
            )
        )
        apply_parts(model, recipe.stages[0])
    found = stage_memory(recipe, recipe.stages[0], model, PASS)
    tokens = PASS.rows * PASS.tokens
    # BLOOM's query, key and value are one layer of h x 3h, so their input counts once and not three times
    assert found.activations == tokens * 2 * (4 + 2 + 5 + 5) * width + tokens * vocabulary * 12


@pytest.mark.parametrize(
    ("connector", "tiles"),
    [("linear", 1), ("mlp", 1), ("parrot", 1), *((one, m) for one in TILED for m in (1, 2))],
)
def test_a_connector_keeps_what_its_layers_read_and_give_of_all_views_and_nothing_bypassed(
    connector: str, tiles: int
) -> None:
    section = tiny_section("siglip", "llama", connector)
    section = section.model_copy(update={"vision": section.vision.model_copy(update={"tiles": tiles})})
    model = build_model(section, languages=["eng_Latn"], seed=0, texts=lambda: TEXTS).model
    parts = {"language_model": {"train": "full"}, "connector": {"train": "frozen"}}
    parts |= {f"connector.{name}": {"train": "bypassed"} for name in model.connector.can_bypass}
    without, trained = (drawn_recipe({"parts": parts | {"connector": {"train": mode}}}) for mode in ("frozen", "full"))
    apply_parts(model, trained.stages[0])
    seen: list[int] = []
    for layer in model.connector.modules():
        if isinstance(layer, nn.Linear):
            layer.register_forward_hook(lambda _, given, made: seen.append(given[0].numel() + made.numel()))
    features = model.encode_images(torch.zeros(1, 3, 32 * tiles, 32 * tiles))
    count = model.image_tokens(features).shape[1]
    passed = Pass(1, 20, 20, patches=features.patches.shape[1], image_tokens=count, bytes=2)
    apply_parts(model, without.stages[0])
    less = stage_memory(without, without.stages[0], model, passed).activations
    apply_parts(model, trained.stages[0])
    assert stage_memory(trained, trained.stages[0], model, passed).activations - less == 2 * sum(seen)


def test_a_q_former_keeps_nothing_where_only_its_projection_trains() -> None:
    model = build_model(tiny_section("vit", "llama"), languages=["eng_Latn"], seed=0, texts=lambda: TEXTS).model
    kept = {}
    for path in ("connector", "connector.projection", "connector.queries"):
        recipe = drawn_recipe({"parts": {path: {"train": "full"}, "language_model": {"train": "full"}}})
        apply_parts(model, recipe.stages[0])
        kept[path] = stage_memory(recipe, recipe.stages[0], model, PASS).activations
    recipe = drawn_recipe({"parts": {"language_model": {"train": "full"}}})
    apply_parts(model, recipe.stages[0])
    projection = model.connector.projection
    own = PASS.rows * PASS.image_tokens * PASS.bytes * (projection.in_features + projection.out_features)
    assert kept["connector.projection"] - stage_memory(recipe, recipe.stages[0], model, PASS).activations == own
    assert kept["connector.queries"] == kept["connector"] > kept["connector.projection"]

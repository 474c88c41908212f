from __future__ import annotations

from typing import Any

import pytest
from tests.unit.export.conftest import Make

from visiglot.errors import ModelError
from visiglot.export.targets import ANY, TARGETS, refuse_obstacles
from visiglot.models.checkpoint.stock import load_config
from visiglot.models.runs import nano_folder


def test_the_table_has_two_stock_classes_and_our_own() -> None:
    assert TARGETS.names() == ["blip2", "llava", ANY]


@pytest.mark.parametrize(
    ("vision", "llm", "connector", "changes", "said"),
    [
        ("vit", "mt5", "qformer", {}, "its vision encoder is a 'vit'"),
        ("blip2", "mt5", "linear", {}, "its connector is 'linear'; BLIP-2's is 'qformer'"),
        ("blip2", "mt5", "qformer", {"vision": {"layer": -2}}, "its connector reads layer -2 of the encoder"),
        ("blip2", "mt5", "qformer", {"connector": {"words": 0.1}}, "mixtures of words (connector.words)"),
        (
            "blip2",
            "mt5",
            "qformer",
            {"connector": {"options": {"num_queries": 2, "width": 16, "heads": 2, "layers": 1, "normalise": True}}},
            "puts a layer norm before its Q-Former (normalise)",
        ),
        (
            "blip2",
            "mt5",
            "qformer",
            {"connector": {"options": {"num_queries": 2, "width": 16, "heads": 2, "layers": 1, "pooled_tokens": 1}}},
            "makes image tokens from the pooled vector (pooled_tokens)",
        ),
    ],
)
def test_blip2_names_what_it_has_no_place_for(
    make: Make, vision: str, llm: str, connector: str, changes: dict[str, Any], said: str
) -> None:
    config = make(vision, llm, connector, lora=False, **changes).model.config
    (found,) = TARGETS.get("blip2").obstacles(config)
    assert said in found


@pytest.mark.parametrize(
    ("vision", "llm", "connector", "changes", "said"),
    [
        ("clip", "llama", "qformer", {}, "its connector is 'qformer'"),
        ("clip", "llama", "mlp", {"connector": {"options": {"depth": 3}}}, "its connector has 3 layers"),
        ("clip", "llama", "mlp", {"connector": {"options": {"hidden": 20}}}, "its connector is 20 wide inside"),
        ("clip", "llama", "mlp", {"connector": {"words": 0.1}}, "mixtures of words"),
        ("clip", "t5", "mlp", {}, "an encoder-decoder; LLaVA's is causal"),
        ("clip", "gemma2", "mlp", {}, "its language model has a final_logit_softcapping (30.0) after its head"),
        ("clip", "bloom", "mlp", {}, "isn't called 'embed_tokens'"),
        ("resnet", "llama", "mlp", {}, "has no patches"),
        ("blip2", "llama", "mlp", {}, "by AutoModel, which has none for 'blip_2_vision_model'"),
        ("siglip", "llama", "mlp", {}, "reads the last layer of 'siglip_vision_model' after a norm"),
    ],
)
def test_llava_names_what_it_has_no_place_for(
    make: Make, vision: str, llm: str, connector: str, changes: dict[str, Any], said: str
) -> None:
    config = make(vision, llm, connector, lora=False, **changes).model.config
    (found,) = TARGETS.get("llava").obstacles(config)
    assert said in found


@pytest.mark.parametrize(
    ("vision", "changes"),
    [
        ("clip", {}),
        ("siglip", {"vision": {"layer": -2}}),
        ("dinov2", {"vision": {"layer": -2}}),
        ("vit", {"vision": {"layer": 1}}),
        ("clip", {"connector": {"options": {"keep_prefix": True}}}),
    ],
)
def test_llava_takes_any_encoder_whose_hidden_states_are_read(make: Make, vision: str, changes: dict[str, Any]) -> None:
    assert TARGETS.get("llava").obstacles(make(vision, "llama", "mlp", lora=False, **changes).model.config) == []


def test_low_rank_layers_are_no_obstacle(make: Make) -> None:
    config = make("blip2", "mt5", "qformer").model.config
    assert config.lora is not None
    assert TARGETS.get("blip2").obstacles(config) == []
    assert config.lora is not None


def test_a_refusal_has_every_obstacle_and_what_fits() -> None:
    config = load_config(str(nano_folder() / "model"))
    with pytest.raises(ModelError) as caught:
        refuse_obstacles(TARGETS.get("blip2"), config)
    said = str(caught.value)
    for one in ("'resnet'", "pooled_tokens", "normalise", "connector.words", f"`--to {ANY}` takes every model"):
        assert one in said
    refuse_obstacles(TARGETS.get(ANY), config)


def test_a_refusal_names_the_other_stock_class_that_fits(make: Make) -> None:
    config = make("clip", "llama", "mlp").model.config
    with pytest.raises(ModelError, match="It fits `--to llava`"):
        refuse_obstacles(TARGETS.get("blip2"), config)


def test_a_tensor_that_a_class_has_no_place_for_is_an_obstacle(make: Make) -> None:
    config = make("clip", "llama", "mlp", lora=False).model.config
    config.tokens_per_image = 16
    config.text_config.mlp_bias = True
    target = TARGETS.get("llava")
    assert target.obstacles(config) == []
    config.connector["vision_width"] = 20
    (found,) = target.obstacles(config)
    assert found == "its model.multi_modal_projector.linear_1.weight is [32, 24], the model's [32, 20]"

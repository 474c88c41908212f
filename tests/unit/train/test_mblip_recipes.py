"""mBLIP's recipes to the letter: parameter counts, learning rates and the rest, as its authors' code and README say.

The architectures are typed from the published configs of BLIP-2 (Flan-T5-XL), mT0-XL and BLOOMZ-7B1, and built without
weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from transformers import Blip2VisionConfig, BloomConfig, MT5Config

from visiglot.config import Recipe, StageSection, load_recipe
from visiglot.errors import ModelError
from visiglot.models.config import VisiglotConfig
from visiglot.models.parts import PartGroup, adapter_names, apply_parts
from visiglot.models.vlm import VisionLanguageModel
from visiglot.train.objectives import OBJECTIVES
from visiglot.train.optimiser import Group, optimiser_groups
from visiglot.train.stages import schedule


@dataclass(frozen=True)
class Architecture:
    """A model of the paper.

    Args:
        llm: config of the language model.
        language_model: parameters of it, its head apart from its embeddings.
        projection, low_rank: parameters that train.
        layers: linear layers that are adapted.
    """

    llm: type
    values: Mapping[str, Any]
    language_model: int
    projection: int
    low_rank: int
    layers: int


VIT = {
    "hidden_size": 1408, "intermediate_size": 6144, "num_hidden_layers": 39, "num_attention_heads": 16,
    "image_size": 224, "patch_size": 14, "qkv_bias": True,
}  # fmt: skip
VIT_PARAMETERS, QFORMER_PARAMETERS, QUERY_PARAMETERS = 985_952_256, 105_137_664, 24_576

MT0 = Architecture(
    MT5Config,
    {
        "d_model": 2048, "d_kv": 64, "d_ff": 5120, "num_layers": 24, "num_decoder_layers": 24, "num_heads": 32,
        "feed_forward_proj": "gated-gelu", "vocab_size": 250112,
    },
    language_model=3_742_619_648,
    projection=1_574_912,
    low_rank=17_694_720,
    layers=432,
)  # fmt: skip
BLOOMZ = Architecture(
    BloomConfig,
    {"hidden_size": 4096, "n_layer": 30, "n_head": 32, "vocab_size": 250880},
    language_model=7_069_016_064,
    projection=3_149_824,
    low_rank=15_728_640,
    layers=120,
)
ARCHITECTURES = {"mblip-mt0-xl": MT0, "mblip-bloomz-7b": BLOOMZ}


def build(architecture: Architecture) -> VisionLanguageModel:
    with torch.device("meta"):
        model = VisionLanguageModel(
            VisiglotConfig(
                vision_config=Blip2VisionConfig(**VIT),
                text_config=architecture.llm(**architecture.values),
                connector={"type": "qformer", "vision_width": 1408, "options": {"num_queries": 32}},
                tokens_per_image=32,
            )
        )
        if architecture is MT0:  # transformers ties every mT5 that is made from a config; mT0's checkpoint isn't tied
            head = model.language_model.lm_head
            head.weight = torch.nn.Parameter(torch.empty_like(head.weight))
    return model


def apply(model: VisionLanguageModel, stage: StageSection) -> list[PartGroup]:
    with torch.device("meta"):
        return apply_parts(model, stage)


@cache
def recipe(name: str) -> Recipe:
    return load_recipe(name)


def stage(name: str, which: str) -> StageSection:
    return next(one for one in recipe(name).stages if one.name == which)


def trained(model: VisionLanguageModel) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def groups_of(groups: list[PartGroup], section: StageSection, model: VisionLanguageModel) -> list[Group]:
    from visiglot.render import load_template
    from visiglot.types import PromptSpec

    spec = PromptSpec(model.layout, lambda text: [], "<image>", 0, 32, load_template("plain"), 0)
    objective = OBJECTIVES.get(section.objective)(model, spec, recipe("mblip-mt0-xl").train, section.options)
    return optimiser_groups(groups, objective, section)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_parameters_are_those_of_the_paper(name: str) -> None:
    architecture = ARCHITECTURES[name]
    model = build(architecture)
    counted = {part: sum(p.numel() for p in module.parameters()) for part, module in model.named_children()}
    assert counted == {
        "vision": VIT_PARAMETERS,
        "connector": QFORMER_PARAMETERS + QUERY_PARAMETERS + architecture.projection,
        "language_model": architecture.language_model,
    }

    apply(model, stage("mblip-mt0-xl", "warmup"))
    assert trained(model) == architecture.projection
    assert {"mblip-mt0-xl": 1.57, "mblip-bloomz-7b": 3.15}[name] == round(trained(model) / 1e6, 2)

    section = stage(name, "instruct")
    groups = apply(model, section)
    assert {group.path: group.size for group in groups} == {
        "connector": QFORMER_PARAMETERS + QUERY_PARAMETERS + architecture.projection,
        "language_model": architecture.low_rank,
    }
    assert len(adapter_names(model)) == 2 * architecture.layers
    assert {"mblip-mt0-xl": 124.43, "mblip-bloomz-7b": 124.04}[name] == round(trained(model) / 1e6, 2)
    rates = {group["path"]: group["peak_lr"] for group in groups_of(groups, section, model)}
    assert rates == {"connector": 1e-5, "language_model": 2e-4}


def test_the_first_version_adapts_q_and_v_and_has_one_learning_rate() -> None:
    model = build(MT0)
    section = stage("mblip-mt0-xl-v1", "instruct")
    groups = apply(model, section)
    adapted = adapter_names(model)
    assert len(adapted) == 2 * 144
    assert {name.split(".lora_")[0].rpartition(".")[2] for name in adapted} == {"q", "v"}
    assert {group.path: group.size for group in groups}["language_model"] == 4_718_592
    assert {group["peak_lr"] for group in groups_of(groups, section, model)} == {5e-5}


@pytest.mark.parametrize("target", [".k", ".o"])
def test_a_target_that_matches_nothing_is_an_error(target: str) -> None:
    model = build(MT0)
    section = stage("mblip-mt0-xl", "instruct")
    lora = section.lora.model_copy(update={"targets": ("q", target, "v", "wi_0", "wi_1", "wo")})
    with pytest.raises(ModelError, match=rf"is called '\{target}'"):
        apply(model, section.model_copy(update={"lora": lora}))


@pytest.mark.parametrize(
    ("name", "which", "lr"),
    [
        ("mblip-mt0-xl", "warmup", 5e-3),
        ("mblip-mt0-xl", "instruct", None),
        ("mblip-bloomz-7b", "instruct", None),
        ("mblip-mt0-xl-v1", "warmup", 5e-3),
        ("mblip-mt0-xl-v1", "instruct", 5e-5),
    ],
)
def test_optimisation_is_that_of_the_authors(name: str, which: str, lr: float | None) -> None:
    section = stage(name, which)
    assert (section.optimiser, section.betas, section.weight_decay, section.clip) == ("adamw", (0.9, 0.999), 0.1, 1.0)
    assert section.batch.rows == 128
    assert (section.warmup_steps, section.schedule) == (1000, "cosine")
    assert [schedule(section, step) for step in (0, 499, 999, 1000)] == [0.001, 0.5, 1.0, 1.0]
    assert schedule(section, section.steps - 1) < 1e-6
    if lr is not None:
        assert section.lr == lr
        assert all(part.lr is None for part in section.parts.values())
    if which == "instruct":
        assert (section.lora.rank, section.lora.alpha, section.lora.dropout) == (8, 16, 0.05)
    assert recipe(name).train.seed == 42
    assert recipe(name).data.allocation is not None
    assert recipe(name).data.allocation.policy == "mc4"


def test_stages_are_as_long_as_the_authors_say() -> None:
    assert stage("mblip-mt0-xl", "warmup").steps == 8000
    for name in ("mblip-mt0-xl", "mblip-bloomz-7b"):
        section, data = stage(name, "instruct"), recipe(name).data
        examples = sum(source.examples or 0 for source in data.sources)
        assert section.steps == pytest.approx(2 * examples / section.batch.rows, rel=1e-4)
    first = recipe("mblip-mt0-xl-v1").data
    assert [source.task for source in first.sources] == [
        "caption", "caption", "detail", "conversation", "rationale", "explanation", "vqa", "vqg",
    ]  # fmt: skip
    assert sum(source.examples or 0 for source in first.sources) / 128 == pytest.approx(30_331, rel=2e-3)
    assert stage("mblip-mt0-xl-v1", "instruct").steps == 60_663


@pytest.mark.parametrize("name", ["mblip-mt0-xl-plus", "mblip-bloomz-7b-plus"])
def test_the_better_recipe_keeps_half_in_english_and_one_lora(name: str) -> None:
    plus = recipe(name)
    sections = [plus.data, *(one.data for one in plus.stages if one.data is not None)]
    for section in sections:
        assert section.allocation is not None
        assert (section.allocation.policy, section.allocation.english) == ("english_share", 0.5)
    loras = [one.lora for one in plus.stages if any(part.train == "lora" for part in one.parts.values())]
    assert len(loras) == 2
    assert loras[0] == loras[1]
    assert not any(one.augment for one in plus.stages)


@pytest.mark.parametrize(
    ("name", "rows", "epochs"),
    [("xgqa", 256, 5), ("xvnli", 128, 10), ("marvl", 128, 20), ("flickr", 128, 10)],
)
def test_fine_tuning_has_the_authors_values(name: str, rows: int, epochs: int) -> None:
    found = recipe(f"finetune-{name}")
    (section,) = found.stages
    (source,) = found.data.sources
    assert section.batch.rows == rows
    assert section.steps == round(epochs * (source.examples or 0) / rows)
    assert (section.lr, section.weight_decay, section.clip, section.warmup_steps) == (5e-5, 0.1, 1.0, 1000)
    assert section.schedule == "cosine"
    assert {path: (part.train, part.lr) for path, part in section.parts.items()} == {
        "connector": ("full", None),
        "language_model": ("lora", None),
    }
    assert (section.lora.rank, section.lora.alpha, section.lora.targets) == (8, 16, "all-linear")
    assert found.model.language_model.merge
    assert found.data.languages == "eng_Latn"

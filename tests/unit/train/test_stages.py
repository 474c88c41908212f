"""Learning rates, decay, what trains and what is refused before the first step."""

import numpy as np
import pytest
import torch
from tests.drawn import drawn_recipe
from tests.tiny import build_tiny

from visiglot.config import StageSection, TrainSection
from visiglot.data.ledger import Ledger
from visiglot.errors import ConfigError, ModelError, TrainingError
from visiglot.models.parts import apply_parts
from visiglot.train.caching import count_pictures
from visiglot.train.feed import split_by_tokens, split_rows
from visiglot.train.objectives import OBJECTIVES
from visiglot.train.optimiser import optimiser_groups
from visiglot.train.precision import build_accelerator
from visiglot.train.stages import (
    Sources,
    languages_of,
    prepare_stage,
    schedule,
    set_modes,
    texts_of,
)


def stage(**values: object) -> StageSection:
    plain = {"name": "s", "parts": {"connector": {"train": "full"}}, "steps": 10}
    return StageSection.model_validate(plain | values)


def test_warm_up_is_linear_and_reaches_the_peak() -> None:
    section = stage(warmup_steps=4, schedule="constant")
    assert [schedule(section, step) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


@pytest.mark.parametrize(("curve", "half"), [("cosine", 0.5), ("linear", 0.5), ("constant", 1.0)])
def test_each_curve_starts_at_the_peak_and_passes_its_middle(curve: str, half: float) -> None:
    section = stage(warmup_steps=2, steps=10, schedule=curve)
    assert schedule(section, 2) == 1.0
    assert schedule(section, 6) == pytest.approx(half)


def test_vectors_do_not_decay_and_each_part_has_its_own_rate() -> None:
    built = build_tiny()
    section = stage(
        parts={"connector": {"train": "full", "lr": 1e-5}, "language_model": {"train": "lora"}},
        lr=2e-4,
        weight_decay=0.1,
        objective="contrastive",
    )
    groups = apply_parts(built.model, section)
    spec = built.processor.spec()
    objective = OBJECTIVES.get("contrastive")(built.model, spec, TrainSection(), {})
    found = optimiser_groups(groups, objective, section)
    for group in found:
        decays = {parameter.ndim > 1 for parameter in group["params"]}
        assert decays == {group["weight_decay"] > 0}
    rates = {group["path"]: group["peak_lr"] for group in found}
    assert rates == {"connector": 1e-5, "language_model": 2e-4, "objective.contrastive": 2e-4}
    in_groups = {id(parameter) for group in found for parameter in group["params"]}
    wanted = {id(p) for module in (built.model, objective) for p in module.parameters() if p.requires_grad}
    assert in_groups == wanted


def test_frozen_parts_run_without_dropout() -> None:
    model = build_tiny().model
    apply_parts(model, stage())
    set_modes(model)
    assert model.connector.training
    assert not model.vision.training
    assert not model.language_model.training


def test_rows_are_split_in_order_over_passes_and_processes() -> None:
    parts = split_rows(10, accumulate=2, processes=2)  # pass 0: processes 0 and 1, then pass 1
    assert [place for places in parts for place in places] == list(range(10))
    assert sorted(map(len, parts)) == [2, 2, 3, 3]


def test_a_training_step_makes_transformers_gelu_in_one_operation() -> None:
    stock, model = (build_tiny(llm="mt5").model.eval() for _ in range(2))
    set_modes(model)
    model.eval()
    words = torch.arange(12).view(2, 6)
    costs = [one.language_model(input_ids=words, labels=words).loss for one in (stock, model)]
    assert costs[1].item() == pytest.approx(costs[0].item(), abs=1e-6)
    gradients = [
        torch.autograd.grad(cost, list(one.language_model.encoder.parameters()))
        for cost, one in zip(costs, (stock, model), strict=True)
    ]
    for expected, found in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)
    saved = []
    for one in (stock, model):
        (act, *_) = [module for name, module in one.named_modules() if name.endswith("DenseReluDense.act")]
        kept: list[torch.Tensor] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor, kept=kept: kept.append(tensor), lambda _: None):
            act(torch.randn(3, requires_grad=True))
        saved.append(len(kept))
    assert saved == [4, 1]


def test_a_short_step_leaves_passes_out() -> None:
    assert [len(places) for places in split_rows(3, accumulate=8, processes=1)] == [1, 1, 1]
    with pytest.raises(TrainingError, match="3 rows for 2 forward passes on each of 2"):
        split_rows(3, accumulate=2, processes=2)


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_passes_by_tokens_hold_every_row_once_and_no_more_than_asked(processes: int) -> None:
    lengths = np.random.default_rng(3).integers(5, 60, (40, 2)).tolist()
    parts = split_by_tokens([tuple(pair) for pair in lengths], 200, processes)
    assert sorted(place for places in parts for place in places) == list(range(40))
    assert len(parts) % processes == 0
    for places in parts:
        padded = len(places) * (max(lengths[place][0] for place in places) + max(lengths[place][1] for place in places))
        assert padded <= 200
    assert len(parts) < 25  # rows of 2 x 32 tokens in the mean: 13 passes if none were padded


def test_a_row_longer_than_the_tokens_of_a_pass_has_one_of_its_own() -> None:
    assert split_by_tokens([(4, 0), (90, 0), (5, 0)], 20, 1) == [[1], [2, 0]]
    assert split_by_tokens([(4, 0), (90, 0), (5, 0), (5, 0)], 20, 2) == [[1], [2, 3, 0]]


def test_processes_that_cannot_have_as_many_passes_each_are_an_error() -> None:
    with pytest.raises(TrainingError, match="3 rows"):
        split_by_tokens([(4, 0)] * 3, 4, 2)


def prepare(recipe):
    built = build_tiny()
    accelerator = build_accelerator("fp32", "cpu")
    return prepare_stage(recipe, 0, built.model, built.processor, Sources(), accelerator, Ledger(None, 0.01))


def test_the_announcement_names_parts_rates_data_and_supervision() -> None:
    text = "\n".join(prepare(drawn_recipe({"lr": 3e-4})).lines)
    assert "vision  frozen" in text
    assert "connector  all full" in text
    assert "lr 3e-04" in text
    assert "drawn: 32 draws in 2 languages" in text
    assert "supervised:" in text


def test_too_few_supervised_tokens_stop_the_run() -> None:
    with pytest.raises(TrainingError, match="less than 90"):
        prepare(drawn_recipe({}, min_supervised=0.9))


def test_a_cache_of_an_encoder_that_trains_is_refused() -> None:
    with pytest.raises(ConfigError, match="vision trains"):
        prepare(drawn_recipe({"cache_views": 1, "parts": {"vision": {"train": "full"}}}))


def test_text_objective_refuses_pictures() -> None:
    with pytest.raises(TrainingError, match="takes no pictures"):
        prepare(drawn_recipe({"objective": "text"}))


def test_contrast_refuses_rows_without_pictures() -> None:
    recipe = drawn_recipe({"objective": "contrastive"}, data={"pictures": False, "text": True})
    with pytest.raises(TrainingError, match="one picture per example"):
        prepare(recipe)


def test_different_pictures_are_counted_and_projected() -> None:
    recipe = drawn_recipe({"steps": 20})
    mixture = Sources().mixture(recipe, recipe.stages[0], seed=0)
    image, number = count_pictures(mixture)
    assert image is not None
    assert number == 12


def test_tokenizer_texts_hold_every_answer_and_the_card_every_language() -> None:
    recipe = drawn_recipe({})
    texts = set(texts_of(recipe, Sources())())
    assert {"red circle", "Kreis rot", "Caption: "} <= texts
    assert languages_of(recipe) == ("eng_Latn", "deu_Latn")


def test_sources_are_built_once_for_all_stages() -> None:
    recipe = drawn_recipe({}, {})
    sources = Sources()
    first, second = (sources.mixture(recipe, section, seed=0) for section in recipe.stages)
    assert first.sources[0] is second.sources[0]


def test_a_source_is_seeded_by_the_recipe_whoever_asks_first() -> None:
    own = drawn_recipe({}, {}, data={"seeded": True}).data.model_dump(mode="json")
    recipe = drawn_recipe({}, {"data": own | {"languages": ["deu_Latn"]}}, data={"seeded": True})
    for order in ((0, 1), (1, 0)):
        sources = Sources()
        for index in order:
            mixture = sources.mixture(recipe, recipe.stages[index], seed=recipe.train.seed + index)
            assert mixture[0].messages[0].content[-1] == f"{recipe.train.seed}: "


def test_an_unknown_device_is_refused() -> None:
    for name in ("tpu", "meta", "cuda:x"):
        with pytest.raises(ModelError, match="no such device"):
            build_accelerator("fp32", name)
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="PyTorch sees 0"):
            build_accelerator("fp32", "cuda")

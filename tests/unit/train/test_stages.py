"""Learning rates, decay, what trains and what is refused before the first step."""

import pytest
import torch
from tests.drawn import drawn_recipe
from tests.tiny import build_tiny

from visiglot.config import StageSection, TrainSection
from visiglot.data.ledger import Ledger
from visiglot.errors import ConfigError, ModelError, TrainingError
from visiglot.models.parts import apply_parts
from visiglot.train.feed import split_rows
from visiglot.train.objectives import OBJECTIVES
from visiglot.train.optimiser import optimiser_groups
from visiglot.train.precision import build_accelerator
from visiglot.train.stages import (
    Sources,
    count_pictures,
    languages_of,
    prepare_stage,
    schedule,
    set_modes,
    texts_of,
)
from visiglot.types import Sample


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
    set_modes(model, gradient_checkpointing=False)
    assert model.connector.training
    assert not model.vision.training
    assert not model.language_model.training


def test_rows_are_split_in_order_over_passes_and_processes() -> None:
    samples = [Sample(str(i), (1,), (1,), (), "eng_Latn") for i in range(10)]
    parts = [split_rows(samples, 2, rank, 2) for rank in (0, 1)]
    ids = [[[sample.id for sample in rows] for rows in own] for own in parts]
    # pass 0: processes 0 and 1, then pass 1
    assert ids[0][0] + ids[1][0] + ids[0][1] + ids[1][1] == [str(i) for i in range(10)]
    assert all(rows for own in ids for rows in own)


def test_a_short_step_leaves_passes_out() -> None:
    samples = [Sample(str(i), (1,), (1,), (), "eng_Latn") for i in range(3)]
    assert [len(rows) for rows in split_rows(samples, 8, 0, 1)] == [1, 1, 1]


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

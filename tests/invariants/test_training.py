"""Trajectories that must not depend on how the work is cut up, cached or interrupted."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.drawn import Drawn, drawn_recipe
from tests.tiny import build_tiny

from visiglot.config import Recipe, TrainSection
from visiglot.data.collate import collate
from visiglot.render import render
from visiglot.train.checkpoint import last_complete
from visiglot.train.loop import fit
from visiglot.train.objectives import OBJECTIVES
from visiglot.train.pictures import Pictures
from visiglot.train.resume import Run
from visiglot.train.track import Tracker

LORA = {"connector": {"train": "full"}, "language_model": {"train": "lora", "lr": 5e-3}}
MIXED = {"pictures": True, "text": True}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISIGLOT_CACHE", str(tmp_path / "cache"))
    torch.set_num_threads(1)


def train(recipe: Recipe, out: Path, *, resume: bool = False) -> Path:
    return fit(recipe, out=out, resume=resume, device="cpu", report=Tracker())


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "log.jsonl").read_text().splitlines()]


def norms(run: Path) -> list[float]:
    return [json.loads(line)["gradient_norm"] for line in (run / "log.jsonl").read_text().splitlines()]


def weights(run: Path) -> dict[str, torch.Tensor]:
    last = last_complete(run)
    assert last is not None
    return load_file(last / "model" / "model.safetensors")


@pytest.mark.parametrize("llm", ["t5", "llama"])
def test_eight_passes_of_one_row_walk_the_path_of_one_pass_of_eight(llm: str, tmp_path: Path) -> None:
    # rows differ in supervised tokens, so a mean of means would part from the path at once
    runs = []
    for accumulate in (1, 8):
        stage = {
            "parts": {"connector": {"train": "full"}, "language_model": {"train": "full"}},
            "batch": {"rows": 8, "accumulate": accumulate},
            "lr": 3e-3,
            "steps": 6,
        }
        recipe = drawn_recipe(stage, llm=llm, data=MIXED)
        # dropout draws differ by shape; everything else must not
        if llm == "t5":
            values = recipe.model_dump(by_alias=True)
            values["model"]["language_model"]["config"]["dropout_rate"] = 0.0
            recipe = Recipe.model_validate(values)
        runs.append(train(recipe, tmp_path / str(accumulate)))
    together, apart = map(losses, runs)
    assert len(together) == 6
    assert together == pytest.approx(apart, abs=2e-4)
    assert norms(runs[0]) == pytest.approx(norms(runs[1]), rel=1e-3)
    assert abs(together[0] - together[-1]) > 0.1  # a path, not a standstill


@pytest.mark.parametrize("llm", ["t5", "llama"])
def test_a_text_only_row_costs_the_same_alone_and_beside_pictures(llm: str) -> None:
    built = build_tiny(llm=llm)
    spec = built.processor.spec()
    objective = OBJECTIVES.get("generate")(built.model, spec, TrainSection(), {})
    pixels = Pictures(built.processor).plain
    examples = Drawn(["eng_Latn", "deu_Latn"], text=True).examples
    samples = [render(example, spec) for example in examples[:7]]
    text = next(i for i, sample in enumerate(samples) if not sample.images)
    with torch.no_grad():
        mixed = objective(built.model, collate(samples, spec, pixels=pixels)).rows[text]
        alone = objective(built.model, collate([samples[text]], spec, pixels=pixels)).rows[0]
    torch.testing.assert_close(mixed, alone, atol=2e-5, rtol=1e-5)


def test_a_killed_run_resumes_to_the_same_weights_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # LoRA dropout and augmentation draw random numbers; both must be the straight run's
    recipe = drawn_recipe(
        {"steps": 3, "augment": True, "schedule": "cosine", "warmup_steps": 2},
        {"steps": 6, "parts": LORA, "cache_views": 3, "schedule": "cosine"},
        {"steps": 2, "objective": "contrastive"},
        {"steps": 4, "optimiser": "muon"},
        save_every=2,
    )
    straight = train(recipe, tmp_path / "straight")

    broken = train_with_deaths(recipe, tmp_path / "broken", ((0, 2), (1, 4), (1, 6), (2, 2), (3, 2)), monkeypatch)
    assert_same_path(broken, straight)


def test_a_stage_that_a_resumed_run_begins_with_draws_the_examples_of_the_straight_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the source's own draws depend on its seed; the tokenizer's texts ask for it first, and only in a fresh run
    recipe = drawn_recipe({"steps": 2}, {"steps": 3}, data={"seeded": True}, save_every=2)
    straight = train(recipe, tmp_path / "straight")
    assert_same_path(train_with_deaths(recipe, tmp_path / "broken", ((1, 2),), monkeypatch), straight)


def train_with_deaths(
    recipe: Recipe, out: Path, deaths: Sequence[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A run that is killed once before each save of `deaths` (stage, step) and resumed."""
    save = Run.save
    died = set()

    class Killed(BaseException):
        pass

    def dies(self, of, position, *rest) -> None:
        at = (position.stage_index, position.step)
        if at in deaths and at not in died:
            died.add(at)
            raise Killed
        save(self, of, position, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "save", dies)
        for _ in deaths:
            with pytest.raises(Killed):
                train(recipe, out, resume=True)
    return train(recipe, out, resume=True)


def assert_same_path(run: Path, other: Path) -> None:
    """The same losses and the same weights, bit for bit."""
    assert losses(run) == losses(other)
    expected, found = weights(other), weights(run)
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_cached_features_are_the_encoders_own(tmp_path: Path) -> None:
    runs = [train(drawn_recipe({"cache_views": views}), tmp_path / str(views)) for views in (0, 1)]
    assert losses(runs[0]) == losses(runs[1])
    without, with_cache = map(weights, runs)
    assert all(torch.equal(with_cache[name], tensor) for name, tensor in without.items())
    assert list((tmp_path / "cache" / "features").glob("*/*.safetensors"))


@pytest.mark.parametrize("parts", [LORA, {"language_model": {"train": "full"}}], ids=["frozen-head", "trained-head"])
def test_the_loss_in_chunks_walks_the_path_of_the_full_loss(parts: dict, tmp_path: Path) -> None:
    runs = [
        train(drawn_recipe({"parts": parts, "lr": 3e-3}, head_chunk=chunk), tmp_path / str(chunk))
        for chunk in (1024, 3)
    ]
    assert losses(runs[0]) == pytest.approx(losses(runs[1]), abs=2e-5)


def test_what_is_frozen_stays_bit_for_bit_and_what_trains_moves(tmp_path: Path) -> None:
    before = build_tiny_weights(tmp_path)
    run = train(drawn_recipe({"steps": 2}, {"steps": 2, "parts": LORA}, keep=9), tmp_path / "run")
    first = load_file(run / "checkpoints" / "stage0-2" / "model" / "model.safetensors")
    second = load_file(run / "checkpoints" / "stage1-2" / "model" / "model.safetensors")

    moved = {name for name, tensor in first.items() if not torch.equal(tensor, before[name])}
    assert moved
    assert all(name.startswith("connector.") for name in moved)

    adapters = {name for name in second if "lora_" in name}
    base = {name.replace(".base_layer", ""): tensor for name, tensor in second.items() if name not in adapters}
    assert adapters
    assert base.keys() == first.keys()
    moved = {name for name, tensor in base.items() if not torch.equal(tensor, first[name])}
    assert moved
    assert all(name.startswith("connector.") for name in moved)
    grown = [name for name in adapters if "lora_B" in name and second[name].abs().sum() > 0]
    assert grown


def build_tiny_weights(tmp_path: Path) -> dict[str, torch.Tensor]:
    """The weights before the first step: those of a run whose only step has a vanishing learning rate."""
    run = train(drawn_recipe({"steps": 1, "lr": 1e-30}), tmp_path / "start")
    return weights(run)


def test_the_same_recipe_gives_the_same_weights_whatever_was_drawn_before(tmp_path: Path) -> None:
    runs = []
    for seed in (1, 2):
        torch.manual_seed(seed)  # low-rank layers and projections must not start from it
        stages = ({"steps": 1, "parts": LORA}, {"steps": 1, "objective": "contrastive"})
        runs.append(weights(train(drawn_recipe(*stages), tmp_path / str(seed))))
    assert all(torch.equal(runs[1][name], tensor) for name, tensor in runs[0].items())


def test_recomputed_activations_walk_the_path_of_kept_ones(tmp_path: Path) -> None:
    runs = [train(drawn_recipe({"parts": LORA}, gradient_checkpointing=on), tmp_path / str(on)) for on in (False, True)]
    assert losses(runs[0]) == pytest.approx(losses(runs[1]), abs=1e-5)

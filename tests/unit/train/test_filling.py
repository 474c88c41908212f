"""Feature caches that several processes fill and stages share, also of what a frozen Q-Former reads."""

import json
import multiprocessing
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from tests.drawn import Drawn, drawn_recipe
from tests.tiny import build_tiny

from visiglot.config import AugmentationSection, cache_dir
from visiglot.data.ledger import Ledger
from visiglot.errors import ConfigError
from visiglot.models.parts import apply_parts
from visiglot.train.caching import bytes_of_view, frozen_encoder, stage_cache
from visiglot.train.features import FeatureCache, part_of
from visiglot.train.filling import fill_caches
from visiglot.train.loop import fit
from visiglot.train.pictures import Pictures
from visiglot.train.precision import build_accelerator
from visiglot.train.stages import Sources, prepare_stage
from visiglot.train.track import Tracker

PROJECTION = {"connector.projection": {"train": "full"}}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISIGLOT_CACHE", str(tmp_path / "cache"))


def images():
    return [example.images[0] for example in Drawn(["eng_Latn"]).examples]


def open_cache(folder: Path, built) -> FeatureCache:
    encode = frozen_encoder(built.model, build_accelerator("fp32", "cpu"), torch.float32)
    return FeatureCache(folder, encode, Pictures(built.processor), AugmentationSection())


def listening() -> tuple[Tracker, StringIO]:
    said = StringIO()
    return Tracker(Console(file=said)), said


def shards(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


# --- several processes -----------------------------------------------------------------------------------------------


def test_a_process_finds_what_another_wrote_after_it_had_opened_the_cache(tmp_path: Path) -> None:
    built = build_tiny()
    first, second = (open_cache(tmp_path / "features", built) for _ in range(2))
    expected = first.features(images()[:4], [0, 1, 0, 2])
    first.flush()
    found = second.features(images()[:4], [0, 1, 0, 2])
    assert (first.computed, second.computed) == (4, 0)
    assert torch.equal(found.patches, expected.patches)


def fill_part(folder: Path, part: int, parts: int, start, told) -> None:
    """One of several processes; says how many views it computed."""
    torch.set_num_threads(1)
    cache = open_cache(folder, build_tiny())
    start.wait()
    for view in range(3):
        own = [image for image in images() if part_of(image, parts) == part]
        for image in own:
            cache.fill([image], [view])
            cache.flush()  # as many shards as can be, to meet the other's
    told.put((part, cache.computed))


@pytest.mark.slow
def test_two_processes_compute_each_view_once_and_leave_whole_shards(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    start, told = spawn.Barrier(2), spawn.Queue()
    workers = [spawn.Process(target=fill_part, args=(tmp_path / "features", part, 2, start, told)) for part in (0, 1)]
    for worker in workers:
        worker.start()
    computed = dict(told.get(timeout=600) for _ in workers)
    for worker in workers:
        worker.join(60)
    assert all(worker.exitcode == 0 for worker in workers)
    assert all(count > 0 for count in computed.values())
    assert sum(computed.values()) == 3 * len(images())

    built = build_tiny()
    both = open_cache(tmp_path / "features", built)
    assert (len(both), both.broken) == (3 * len(images()), [])
    views = [view for view in range(3) for _ in images()]
    found = both.features(images() * 3, views)
    assert both.computed == 0
    torch.testing.assert_close(
        found.patches, open_cache(tmp_path / "other", built).features(images() * 3, views).patches
    )


# --- ahead of training -----------------------------------------------------------------------------------------------


def test_filling_computes_all_that_stages_and_runs_then_share(tmp_path: Path) -> None:
    recipe = drawn_recipe({"cache_views": 2}, {"cache_views": 2, "parts": {"language_model": {"train": "lora"}}})
    tracker, said = listening()
    assert fill_caches(recipe, device="cpu", report=tracker) == 2 * len(images())
    there = shards(cache_dir() / "features")
    assert fill_caches(recipe, device="cpu", report=Tracker()) == 0
    for run in ("one", "two"):
        fit(recipe, out=tmp_path / run, device="cpu", report=Tracker())
    assert shards(cache_dir() / "features") == there
    assert "24 views there already" in next(line for line in said.getvalue().splitlines() if "stage1" in line)


def test_a_rehearsal_says_the_size_that_the_cache_then_has(tmp_path: Path) -> None:
    recipe = drawn_recipe({"cache_views": 3, "steps": 40})
    tracker, said = listening()
    fit(recipe, out=tmp_path / "run", device="cpu", dry_run=True, report=tracker)
    (line,) = [line for line in said.getvalue().splitlines() if "feature cache" in line]
    assert "about 12 pictures x 3 views = 0 MB" in line
    assert not (cache_dir() / "features").exists()


@pytest.mark.parametrize("read", [False, True])
def test_the_size_of_a_view_is_known_from_shapes_before_any_is_computed(read: bool) -> None:
    built = build_tiny()
    stage = prepare(drawn_recipe({"parts": PROJECTION, "cache_views": 1, "cache_read": read}), built)
    foretold = bytes_of_view(built.model, patches=17, number=4, read=read)
    stage.feed.cache.fill(images(), [0] * len(images()))
    stage.feed.close()
    tensors = [load_file(path) for path in shards(stage.feed.cache.folder)]
    assert sum(tensor.nbytes for shard in tensors for tensor in shard.values()) == len(images()) * foretold


def test_features_that_an_earlier_stage_changes_are_not_filled(tmp_path: Path) -> None:
    recipe = drawn_recipe({"parts": {"vision": {"train": "full"}}}, {"cache_views": 1})
    tracker, said = listening()
    assert fill_caches(recipe, device="cpu", report=tracker) == 0
    assert "stage stage1: nothing to fill yet, an earlier stage trains vision" in said.getvalue()


def test_augmented_pictures_bypass_the_cache_and_the_announcement_says_so() -> None:
    recipe = drawn_recipe({"cache_views": 2, "augment": True})
    stage = prepare(recipe)
    assert stage.feed.cache is None
    assert "  feature cache: not used, since augment draws pictures anew" in stage.lines


# --- what a Q-Former reads -------------------------------------------------------------------------------------------


def prepare(recipe, built=None):
    built = built or build_tiny()
    accelerator = build_accelerator("fp32", "cpu")
    return prepare_stage(recipe, 0, built.model, built.processor, Sources(), accelerator, Ledger(None, 0.01))


def test_a_model_says_the_same_of_what_its_frozen_q_former_read(tmp_path: Path) -> None:
    built = build_tiny()
    losses = []
    for read in (False, True):
        stage = prepare(drawn_recipe({"parts": PROJECTION, "cache_views": 1, "cache_read": read}), built)
        batch = stage.loader.load(0).batches[0]
        assert batch.features.read == read
        assert batch.features.patches.shape[1:] == ((4, 16) if read else (17, 24))
        losses.append(stage.objective(built.model, batch).sum)
        stage.feed.close()
    torch.testing.assert_close(*losses)
    again = prepare(drawn_recipe({"parts": PROJECTION, "cache_views": 1, "cache_read": True}), built)
    assert again.loader.load(0).batches[0].features.read
    assert again.feed.cache.computed == 0


def test_training_on_what_was_read_is_training_on_patches(tmp_path: Path) -> None:
    losses = []
    for read in (False, True):
        recipe = drawn_recipe({"parts": PROJECTION, "cache_views": 2, "cache_read": read})
        run = fit(recipe, out=tmp_path / str(read), device="cpu", report=Tracker())
        rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        losses.append([row["loss"] for row in rows if "loss" in row])
    assert len(losses[0]) == 4
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_what_is_read_has_a_key_of_its_own_that_changes_with_the_q_former() -> None:
    folders = []
    for read, change in ((False, None), (True, None), (True, "qformer"), (True, "projection")):
        built = build_tiny()
        if change:
            with torch.no_grad():
                next(getattr(built.model.connector, change).parameters()).add_(1e-3)
        recipe = drawn_recipe({"parts": PROJECTION, "cache_views": 1, "cache_read": read})
        folders.append(prepare(recipe, built).feed.cache.folder)
    assert len(set(folders)) == 3
    assert folders[1] == folders[3]  # the projection is behind what is kept


def test_what_a_q_former_reads_needs_it_whole_and_one_process_alone_has_it_whole() -> None:
    built = build_tiny()
    recipe = drawn_recipe({"parts": PROJECTION, "cache_views": 1, "cache_read": True}, sharding="fsdp2")
    assert prepare(recipe, built).loader.load(0).batches[0].features.read
    two = SimpleNamespace(num_processes=2, mixed_precision="no")
    with pytest.raises(ConfigError, match=r"cache_read: needs a whole connector"):
        stage_cache(recipe, recipe.stages[0], built.model, built.processor, Pictures(built.processor), None, two)


def test_what_trains_or_reads_nothing_is_refused() -> None:
    stage = {"cache_views": 1, "cache_read": True}
    with pytest.raises(ConfigError, match=r"connector\.qformer, connector\.queries trains in this stage"):
        prepare(drawn_recipe(stage))
    with pytest.raises(ConfigError, match="keeps nothing"):
        drawn_recipe({"cache_read": True, "parts": PROJECTION})
    linear = build_tiny(connector="linear")
    section = drawn_recipe({**stage, "parts": {"language_model": {"train": "lora"}}}).stages[0]
    apply_parts(linear.model, section)
    recipe = drawn_recipe({**stage, "parts": {"language_model": {"train": "lora"}}})
    with pytest.raises(ConfigError, match="LinearConnector reads nothing"):
        stage_cache(
            recipe,
            section,
            linear.model,
            linear.processor,
            Pictures(linear.processor),
            None,
            build_accelerator("fp32", "cpu"),
        )

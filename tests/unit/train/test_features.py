"""Features are computed once, found again, and never mistaken for those of another encoder."""

from pathlib import Path

import pytest
import torch
from tests.drawn import Drawn
from tests.tiny import TEXTS, build_tiny, tiny_section
from torch import Tensor

from visiglot.config import AugmentationSection
from visiglot.errors import CheckpointError, ImageError, TrainingError
from visiglot.models.build import build_model
from visiglot.models.load import load_model
from visiglot.train import features as module
from visiglot.train.features import FeatureCache, cache_key
from visiglot.train.pictures import Pictures
from visiglot.types import ImageRef, VisionFeatures

IMAGES = [example.images[0] for example in Drawn(["eng_Latn"]).examples][:5]


@pytest.fixture(scope="module")
def built():
    return build_tiny()


class Encoder:
    """Counts the pictures that go through the model."""

    def __init__(self, model) -> None:
        self.model = model
        self.pictures = 0

    def __call__(self, pixels: Tensor) -> VisionFeatures:
        self.pictures += len(pixels)
        with torch.no_grad():
            return self.model.encode_images(pixels)


def open_cache(folder: Path, built, encoder: Encoder) -> FeatureCache:
    return FeatureCache(folder, encoder, Pictures(built.processor), AugmentationSection())


def test_features_from_disk_are_those_that_were_computed(tmp_path: Path, built) -> None:
    encoder = Encoder(built.model)
    cache = open_cache(tmp_path, built, encoder)
    fresh = cache.features(IMAGES, [0] * 5)
    cache.flush()
    again = open_cache(tmp_path, built, encoder).features(IMAGES, [0] * 5)
    assert encoder.pictures == 5
    assert torch.equal(fresh.patches, again.patches)
    assert torch.equal(fresh.pooled, again.pooled)
    assert again.grid == fresh.grid == (4, 4)


def test_features_of_tiles_are_cached_as_such(tmp_path: Path) -> None:
    plain = tiny_section("clip", "qwen2", "multiscale-pool")
    section = plain.model_copy(update={"vision": plain.vision.model_copy(update={"tiles": 2})})
    built = build_model(section, languages=["eng_Latn"], seed=0, texts=lambda: TEXTS)
    built.model.eval()
    encoder = Encoder(built.model)
    cache = open_cache(tmp_path, built, encoder)
    fresh = cache.features(IMAGES, [0, 1, 0, 0, 0])
    cache.flush()
    again = open_cache(tmp_path, built, encoder).features(IMAGES, [0, 1, 0, 0, 0])
    assert encoder.pictures == 5
    assert (again.tiles, again.views, again.grid) == (2, 5, (4, 4))
    with torch.no_grad():
        torch.testing.assert_close(built.model.image_tokens(again), built.model.image_tokens(fresh))


def test_only_missing_views_are_computed_whatever_the_order(tmp_path: Path, built) -> None:
    encoder = Encoder(built.model)
    cache = open_cache(tmp_path, built, encoder)
    first = cache.features(IMAGES[:3], [0, 1, 0])
    both = cache.features([IMAGES[3], *IMAGES[:3]], [0, 0, 1, 0])
    assert encoder.pictures == 4
    torch.testing.assert_close(both.patches[1:], first.patches)


def test_view_zero_is_the_plain_picture_and_others_are_not(tmp_path: Path, built) -> None:
    encoder = Encoder(built.model)
    views = open_cache(tmp_path, built, encoder).features([IMAGES[0]] * 3, [0, 1, 2])
    plain = encoder(Pictures(built.processor).plain(IMAGES[:1]))
    torch.testing.assert_close(views.patches[:1], plain.patches)
    assert not torch.allclose(views.patches[1], views.patches[0], atol=1e-3)
    assert not torch.allclose(views.patches[1], views.patches[2], atol=1e-3)


def test_shards_are_written_while_the_cache_grows(
    tmp_path: Path,
    built,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SHARD", 2)
    cache = open_cache(tmp_path, built, Encoder(built.model))
    for image in IMAGES:
        cache.features([image], [0])
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    assert len(cache) == 5


def test_the_key_changes_with_weights_layer_preprocessing_and_format(built) -> None:
    vision = build_tiny().model.vision
    keys = [
        cache_key(vision, -1, "a", torch.float32),
        cache_key(vision, -2, "a", torch.float32),
        cache_key(vision, -1, "b", torch.float32),
        cache_key(vision, -1, "a", torch.bfloat16),
        cache_key(vision, -1, "a", torch.float32, tiles=2),
    ]
    assert cache_key(vision, -1, "a", torch.float32) == keys[0]
    with torch.no_grad():
        next(vision.parameters()).view(-1)[0] += 1e-3
    keys.append(cache_key(vision, -1, "a", torch.float32))
    assert len(set(keys)) == 6


def test_the_key_of_what_a_connector_read_has_its_weights_and_options() -> None:
    vision = build_tiny().model.vision
    plain, other = {"a": torch.ones(3)}, {"a": torch.zeros(3)}
    keys = [
        cache_key(vision, -1, "a", torch.float32, options={"heads": 2}),
        cache_key(vision, -1, "a", torch.float32, reader=plain, options={"heads": 2}),
        cache_key(vision, -1, "a", torch.float32, reader=plain, options={"heads": 4}),
        cache_key(vision, -1, "a", torch.float32, reader=other, options={"heads": 2}),
    ]
    assert len(set(keys)) == 4
    assert cache_key(vision, -1, "a", torch.float32, options={"heads": 4}) == keys[0]  # patches are the encoder's alone


def test_the_key_changes_with_what_an_encoder_computes_and_not_with_where_it_was_loaded_from(tmp_path: Path) -> None:
    for name in ("vit", "clip", "resnet"):
        built = build_tiny(name)
        built.model.save_pretrained(tmp_path / name)
        built.processor.save_pretrained(tmp_path / name)
        again, _ = load_model(str(tmp_path / name), device="cpu")
        of_built, of_loaded = (cache_key(one.vision, -1, "a", torch.float32) for one in (built.model, again))
        assert of_built == of_loaded
        again.vision.model.config.hidden_act = "tanh"
        assert cache_key(again.vision, -1, "a", torch.float32) != of_built


def test_features_that_are_not_finite_are_an_error_and_are_not_kept(tmp_path: Path, built) -> None:
    def overflows(pixels: Tensor) -> VisionFeatures:
        found = Encoder(built.model)(pixels)
        return found.like(found.patches.index_fill(0, torch.tensor([2]), torch.inf), found.pooled)

    cache = open_cache(tmp_path, built, overflows)
    with pytest.raises(TrainingError, match=f"picture {IMAGES[2].name} aren't finite"):
        cache.features(IMAGES, [0] * 5)
    cache.flush()
    assert len(open_cache(tmp_path, built, Encoder(built.model))) == 2


def test_a_full_disk_is_one_error_and_leaves_no_shard(
    tmp_path: Path,
    built,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache = open_cache(tmp_path, built, Encoder(built.model))
    cache.features(IMAGES, [0] * 5)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "save_file", full)
    with pytest.raises(CheckpointError, match="No space left"):
        cache.flush()
    assert not list(tmp_path.glob("*.safetensors")) + list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("left", [0, 10, 200])
def test_a_shard_that_was_cut_short_is_computed_again(tmp_path: Path, built, left: int) -> None:
    encoder = Encoder(built.model)
    cache = open_cache(tmp_path, built, encoder)
    expected = cache.features(IMAGES, [0] * 5)
    cache.flush()
    (shard,) = tmp_path.glob("*.safetensors")
    shard.write_bytes(shard.read_bytes()[:left])
    again = open_cache(tmp_path, built, encoder)
    assert again.broken == [shard]
    assert torch.equal(again.features(IMAGES, [0] * 5).patches, expected.patches)
    assert encoder.pictures == 10


def test_features_of_an_unknown_grid_are_computed_again(tmp_path: Path, built) -> None:
    cache = open_cache(tmp_path, built, Encoder(built.model))
    cache.features(IMAGES, [0] * 5)
    cache.flush()
    (tmp_path / "meta.json").write_bytes(b"")
    again = open_cache(tmp_path, built, Encoder(built.model))
    assert len(again) == 0
    assert again.features(IMAGES, [0] * 5).grid == (4, 4)


def test_looking_at_a_cache_writes_nothing(tmp_path: Path, built) -> None:
    assert len(open_cache(tmp_path / "new", built, Encoder(built.model))) == 0
    assert not (tmp_path / "new").exists()


def test_a_missing_picture_is_named(tmp_path: Path, built) -> None:
    missing = ImageRef("gone.png", path=tmp_path / "gone.png")
    with pytest.raises(ImageError, match=r"gone\.png can't be read: No such file"):
        Pictures(built.processor).plain([missing])


def test_pictures_come_as_the_processor_gives_them(built) -> None:
    from visiglot.images import load_image

    direct = built.processor.pixel_values([load_image(image) for image in IMAGES])
    store = Pictures(built.processor)
    torch.testing.assert_close(store.plain(IMAGES), direct, atol=1e-5, rtol=0)
    torch.testing.assert_close(store.plain(IMAGES[::-1]), direct.flip(0), atol=1e-5, rtol=0)


def test_pictures_beyond_the_memory_limit_are_decoded_again(built) -> None:
    room_for_two = Pictures(built.processor, memory=2 * 3 * 32 * 32)
    first = room_for_two.plain(IMAGES)
    assert torch.equal(first, room_for_two.plain(IMAGES))
    assert len(room_for_two._held) == 2

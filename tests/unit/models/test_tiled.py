"""Pictures in tiles: how they are cut, and Centurio's three connectors against their equations, patch by patch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from tests.tiny import TEXTS, VISION, tiny_section
from torch import Tensor, nn

from visiglot.config import ModelSection
from visiglot.data.collate import collate
from visiglot.errors import ConfigError, ModelError
from visiglot.models.build import Built, build_model
from visiglot.models.connectors import CONNECTORS, Connector, count_tokens
from visiglot.models.values import config_of
from visiglot.models.vision import VisionEncoder, cut
from visiglot.render import render
from visiglot.types import Example, ImageRef, ImageSlot, Message, VisionFeatures, views_of

WIDTH, TEXT, PREFIX = 3, 5, 2
ROWS, COLUMNS = 4, 6


def seen(tiles: int, pictures: int = 2) -> VisionFeatures:
    generator = torch.Generator().manual_seed(tiles)
    count = views_of(tiles) * (PREFIX + ROWS * COLUMNS)
    patches = torch.randn(pictures, count, WIDTH, generator=generator, dtype=torch.float64)
    return VisionFeatures(patches, patches[:, 0], (ROWS, COLUMNS), tiles)


def connector(name: str, **options: int) -> Connector:
    torch.manual_seed(0)
    return CONNECTORS.get(name)(WIDTH, TEXT, **options).double()


def view(features: VisionFeatures, picture: int, number: int) -> NDArray[np.float64]:
    """[h, w, Dv] of one view, read out by counting."""
    each = PREFIX + ROWS * COLUMNS
    rows = features.patches[picture, number * each + PREFIX : (number + 1) * each].numpy()
    return rows.reshape(ROWS, COLUMNS, WIDTH)


def perceptron(module: nn.Module, patch: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear, GELU (its definition by the normal distribution), linear."""
    first, second = (layer for layer in module.children() if isinstance(layer, nn.Linear))
    inner = first.weight.detach().numpy() @ patch + first.bias.detach().numpy()
    inner = np.array([0.5 * x * (1 + math.erf(x / math.sqrt(2))) for x in inner])
    outer: NDArray[np.float64] = second.weight.detach().numpy() @ inner + second.bias.detach().numpy()
    return outer


@pytest.mark.parametrize("tiles", [1, 2, 3])
def test_multiscale_pool_reads_each_place_of_the_overview_beside_the_mean_of_its_tiles_patches(tiles: int) -> None:
    features, own = seen(tiles), connector("multiscale-pool")
    tokens = own(features)
    assert tokens.shape == (2, ROWS * COLUMNS, TEXT)
    for picture in range(2):
        overview = view(features, picture, 0)
        for row in range(ROWS):
            for column in range(COLUMNS):
                near = []
                for y in range(tiles * row, tiles * row + tiles):  # in the picture of m h x m w patches
                    for x in range(tiles * column, tiles * column + tiles):
                        number = (y // ROWS) * tiles + x // COLUMNS
                        tile = view(features, picture, 0 if tiles == 1 else 1 + number)
                        near.append(tile[y % ROWS, x % COLUMNS])
                patch = np.concatenate([overview[row, column], np.mean(near, axis=0)])
                expected = perceptron(own.projection, patch)  # type: ignore[arg-type]
                np.testing.assert_allclose(tokens[picture, row * COLUMNS + column].detach(), expected, atol=1e-12)


def test_multiscale_pool_sees_the_overview_alone_when_what_reads_the_tiles_is_zero() -> None:
    features, own = seen(2), connector("multiscale-pool")
    first = own.projection[0]  # type: ignore[index]
    with torch.no_grad():
        first.weight[:, WIDTH:] = 0
    other = features.patches.clone()
    other[:, PREFIX + ROWS * COLUMNS :] = 7
    torch.testing.assert_close(own(features), own(features.like(other, features.pooled)))


@pytest.mark.parametrize("tiles", [1, 2])
def test_window_pool_averages_the_tokens_of_each_view_over_adaptive_bins(tiles: int) -> None:
    features, own = seen(tiles), connector("window-pool", side=3)
    tokens = own(features)
    assert tokens.shape == (2, views_of(tiles) * 9, TEXT)
    for number in range(views_of(tiles)):
        shown = view(features, 1, number)
        made = np.array([[perceptron(own.projection, patch) for patch in row] for row in shown])  # type: ignore[arg-type]
        for row in range(3):
            for column in range(3):
                top, bottom = row * ROWS // 3, -(-(row + 1) * ROWS // 3)
                left, right = column * COLUMNS // 3, -(-(column + 1) * COLUMNS // 3)
                expected = made[top:bottom, left:right].mean(axis=(0, 1))
                place = number * 9 + row * 3 + column
                np.testing.assert_allclose(tokens[1, place].detach(), expected, atol=1e-12)


@pytest.mark.parametrize("tiles", [1, 2])
def test_window_shuffle_joins_neighbours_channel_by_channel(tiles: int) -> None:
    features, own = seen(tiles), connector("window-shuffle", factor=2)
    tokens = own(features)
    each = ROWS * COLUMNS // 4
    assert tokens.shape == (2, views_of(tiles) * each, TEXT)
    for number in range(views_of(tiles)):
        shown = view(features, 0, number)
        for row in range(ROWS // 2):
            for column in range(COLUMNS // 2):
                four = [shown[2 * row + y, 2 * column + x] for y in range(2) for x in range(2)]
                patch = np.stack(four, axis=1).reshape(-1)  # all four neighbours of a channel side by side
                place = number * each + row * (COLUMNS // 2) + column
                expected = perceptron(own.projection, patch)  # type: ignore[arg-type]
                np.testing.assert_allclose(tokens[0, place].detach(), expected, atol=1e-12)


def test_token_counts_of_siglip_at_384_pixels_are_those_of_the_paper() -> None:
    patches, grid = 729, (27, 27)
    assert connector("multiscale-pool").num_tokens(patches, grid, 2) == 729
    assert connector("window-pool").num_tokens(patches, grid, 2) == 5 * 64
    assert connector("window-shuffle", factor=3).num_tokens(patches, grid, 2) == 5 * 81
    with pytest.raises(ModelError, match=r"27 x 27(.|\n)*factor to 3 or 9 or 27"):
        connector("window-shuffle").num_tokens(patches, grid, 2)


@pytest.mark.parametrize("name", ["multiscale-pool", "window-pool", "window-shuffle"])
def test_an_encoder_without_a_grid_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match="no grid"):
        connector(name).num_tokens(7, None)


def test_a_picture_is_cut_into_an_overview_and_its_tiles_row_by_row() -> None:
    picture = torch.zeros(1, 3, 4, 6)
    for number in range(4):
        row, column = divmod(number, 2)
        picture[:, :, 2 * row : 2 * row + 2, 3 * column : 3 * column + 3] = number
    views = cut(picture, 2)
    assert views.shape == (1, 5, 3, 2, 3)
    assert [views[0, 1 + number].unique().tolist() for number in range(4)] == [[0], [1], [2], [3]]
    overview = views[0, 0, 0]
    assert overview[0, 0] < overview[0, 2] < overview[1, 0] < overview[1, 2]


def test_the_encoder_sees_each_view_as_it_would_see_it_alone() -> None:
    torch.manual_seed(0)
    encoder = VisionEncoder(config_of("", VISION["clip"]), tiles=2).eval()
    alone = VisionEncoder(config_of("", VISION["clip"])).eval()
    alone.load_state_dict(encoder.state_dict())
    pictures = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        found = encoder(pictures)
        views = cut(pictures, 2)
        assert (found.tiles, found.views, found.num_patches, found.grid) == (2, 5, 17, (4, 4))
        for number in range(5):
            single = alone(views[:, number])
            part = found.patches[:, number * 17 : (number + 1) * 17]
            torch.testing.assert_close(part, single.patches, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.pooled, alone(views[:, 0]).pooled, atol=1e-5, rtol=1e-5)


def section(connector: str, tiles: int) -> ModelSection:
    plain = tiny_section("clip", "qwen2", connector, max_length=160)
    return plain.model_copy(update={"vision": plain.vision.model_copy(update={"tiles": tiles})})


def build(connector: str = "multiscale-pool", tiles: int = 2) -> Built:
    built = build_model(section(connector, tiles), languages=["eng_Latn"], seed=0, texts=lambda: TEXTS)
    built.model.eval()
    return built


def example(*pictures: int) -> Example:
    """Pictures at the start, in the middle and at the end of the text."""
    refs, content = [], []
    for place, number in enumerate(pictures):
        image = Image.fromarray(np.random.default_rng(number).integers(0, 255, (50, 70, 3), dtype=np.uint8))
        from io import BytesIO

        file = BytesIO()
        image.save(file, "PNG")
        refs.append(ImageRef(f"{number}", data=file.getvalue()))
        content += [ImageSlot(place), " dog" if place < len(pictures) - 1 else ""]
    said: tuple[str | ImageSlot, ...] = ("small ", *[part for part in content if part])
    return Example(str(pictures), (Message("user", said), Message("assistant", ("cat",))), "eng_Latn", tuple(refs))


def pixels(built: Built, refs: list[ImageRef]) -> Tensor:
    from visiglot.images import load_image

    return built.processor.pixel_values([load_image(ref) for ref in refs])


def test_a_model_reads_tiled_pictures_at_any_place_of_the_text_as_in_a_row_alone() -> None:
    built = build()
    model, spec = built.model, built.processor.spec()
    assert model.config.vision_tiles == model.vision.tiles == 2
    assert model.config.tokens_per_image == 16
    samples = [render(example(*numbers), spec) for numbers in ((1, 2, 1), (2,), ())]
    together = collate(samples, spec, pixels=lambda refs: pixels(built, list(refs)))
    assert together.pixel_values is not None
    assert together.pixel_values.shape == (2, 3, 64, 64)
    assert together.slot_image.tolist() == [0, 1, 0, 1]
    with torch.no_grad():
        for row, sample in enumerate(samples):
            alone = collate([sample], spec, pixels=lambda refs: pixels(built, list(refs)))
            states = model.target_states(together).states[model.target_states(together).rows == row]
            torch.testing.assert_close(states, model.target_states(alone).states, atol=1e-4, rtol=1e-4)


def test_what_only_a_tile_shows_reaches_the_model() -> None:
    built = build()
    fine = torch.zeros(1, 3, 64, 64)
    fine[:, :, ::2, ::2], fine[:, :, 1::2, 1::2] = 1, 1  # a checkerboard of single pixels, grey when scaled down
    grey = torch.full_like(fine, 0.5)
    assert (cut(fine, 2)[:, 0] - cut(grey, 2)[:, 0]).abs().max() < 0.1
    with torch.no_grad():
        first, second = (built.model.image_tokens(built.model.encode_images(one)) for one in (fine, grey))
    assert (first - second).abs().max() > 10 * torch.finfo(torch.float32).eps


def test_a_connector_that_reads_whole_pictures_is_refused_tiles_before_anything_is_trained() -> None:
    with pytest.raises((ModelError, ConfigError), match="tiles: is 2"):
        build("mlp")


def test_parrots_experts_stand_behind_a_connector_that_reads_tiles() -> None:
    inner = {"type": "multiscale-pool"}
    own = CONNECTORS.get("parrot")(WIDTH, TEXT, inner=inner, experts=2, width=4, bypassed=True)
    assert own.reads_tiles
    assert count_tokens(own, seen(2)) == ROWS * COLUMNS
    assert own(VisionFeatures(seen(2).patches.float(), seen(2).pooled.float(), (ROWS, COLUMNS), 2)).shape[1] == 24

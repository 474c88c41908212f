"""A view follows from picture and noise alone, stays a picture, and is the picture when nothing may change."""

import pytest
import torch

from visiglot.config import AugmentationSection
from visiglot.train.augment import NOISE, augment, draw_noise, noise_of

STILL = AugmentationSection(
    scale=(1.0, 1.0),
    shift=0,
    rotation=0,
    brightness=0,
    contrast=0,
    saturation=0,
    hue=0,
    grey=0,
    background=0,
    blur=0,
    cutout=0,
)


def pictures(count: int = 3) -> torch.Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def noise(count: int = 3, seed: int = 0) -> torch.Tensor:
    return draw_noise(count, torch.Generator().manual_seed(seed))


def test_no_strength_gives_the_picture_itself() -> None:
    torch.testing.assert_close(augment(pictures(), noise(), STILL), pictures(), atol=1e-5, rtol=0)


def test_the_same_noise_gives_the_same_view_and_other_noise_another() -> None:
    first = augment(pictures(), noise(), AugmentationSection())
    assert torch.equal(first, augment(pictures(), noise(), AugmentationSection()))
    assert not torch.allclose(first, augment(pictures(), noise(seed=1), AugmentationSection()), atol=0.05)


def test_a_view_does_not_depend_on_the_rest_of_the_batch() -> None:
    together = augment(pictures(), noise(), AugmentationSection())
    alone = augment(pictures()[1:2], noise()[1:2], AugmentationSection())
    torch.testing.assert_close(together[1:2], alone, atol=1e-6, rtol=0)


def test_views_stay_in_range_and_shape() -> None:
    views = augment(pictures(8), noise(8), AugmentationSection(brightness=0.9, contrast=0.9, saturation=0.9, hue=0.5))
    assert views.shape == (8, 3, 16, 16)
    assert views.min() >= 0
    assert views.max() <= 1


def changed_by(**strengths: float | tuple[float, float]) -> torch.Tensor:
    return augment(pictures(16), noise(16), STILL.model_copy(update=strengths)) - pictures(16)


@pytest.mark.parametrize(
    "strength",
    [
        {"scale": (0.5, 0.6)},
        {"shift": 0.3},
        {"rotation": 40.0},
        {"flip": 1.0},
        {"brightness": 0.5},
        {"contrast": 0.5},
        {"saturation": 0.9},
        {"hue": 0.3},
        {"grey": 1.0},
        {"blur": 1.0},
        {"cutout": 1.0},
        {"stretch": 0.4},
        {"shear": 0.4},
        {"bend": 0.3},
        {"lines": 1.0},
        {"shade": 0.5},
        {"tint": 0.5},
    ],
    ids=lambda strength: next(iter(strength)),
)
def test_each_strength_changes_pictures_by_itself(strength: dict[str, float]) -> None:
    assert changed_by(**strength).abs().amax(dim=(1, 2, 3)).gt(0.02).float().mean() > 0.6


def test_pictures_are_never_mirrored_unless_asked() -> None:
    assert AugmentationSection().flip == 0
    mirrored = augment(pictures(), noise(), STILL.model_copy(update={"flip": 1.0}))
    torch.testing.assert_close(mirrored, pictures().flip(-1), atol=1e-5, rtol=0)


def test_turning_the_hue_leaves_grey_grey_and_brightness_equal() -> None:
    grey = pictures()[:, :1].expand(-1, 3, -1, -1)
    turned = augment(grey, noise(), STILL.model_copy(update={"hue": 0.5}))
    torch.testing.assert_close(turned, grey, atol=1e-5, rtol=0)


def test_a_third_of_a_turn_makes_red_green_or_blue() -> None:
    red = torch.zeros(1, 3, 4, 4)
    red[:, 0] = 0.4
    turned = augment(red, torch.ones(1, NOISE), STILL.model_copy(update={"hue": 1 / 3}))
    assert turned[0, :, 0, 0].argmax() in (1, 2)


def test_only_near_white_pixels_take_the_background() -> None:
    half = torch.ones(1, 3, 8, 8)
    half[..., 4:] = 0.3
    view = augment(half, noise(1), STILL.model_copy(update={"background": 1.0}))
    torch.testing.assert_close(view[..., 5:7], half[..., 5:7], atol=1e-5, rtol=0)
    assert (view[..., :3] < 1).any()


def test_a_name_is_noise_enough() -> None:
    assert torch.equal(noise_of("a/1"), noise_of("a/1"))
    assert not torch.equal(noise_of("a/1"), noise_of("a/2"))
    assert noise_of("a").shape == (1, NOISE)

"""Random views of pictures, a whole batch at once, on the device the pictures are on.

A view is a pure function of the picture and of `NOISE` uniform numbers, so who owns the numbers owns the randomness:
the loop draws them anew each step, the feature cache from the picture's key and the number of the view.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, conv2d, grid_sample, pad

NOISE = 22
"""Uniform numbers that make one view."""

_LUMA = (0.299, 0.587, 0.114)
"""Rec. 601 weights of red, green and blue in brightness."""

_BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
"""Five-tap binomial filter, close to a Gaussian of one pixel."""


@dataclass(frozen=True)
class Augmentation:
    """How far a view may be from its picture. Shares are probabilities, the rest are largest deviations.

    The defaults suit drawings of single objects. `flip` is off because left and right are often part of the caption.
    """

    scale: tuple[float, float] = (0.7, 1.1)  # side of the picture in the view, relative
    shift: float = 0.1  # of the side
    rotation: float = 12.0  # degrees
    flip: float = 0.0  # share
    brightness: float = 0.3  # factor 1 ± this
    contrast: float = 0.3  # factor 1 ± this
    saturation: float = 0.5  # factor 1 ± this
    hue: float = 0.06  # turns of the colour circle, ±
    grey: float = 0.1  # share without colour
    background: float = 0.3  # share whose near-white pixels take a random light colour
    blur: float = 0.3  # share; the strength is uniform
    cutout: float = 0.3  # share with a grey rectangle
    cutout_side: float = 0.3  # its longest side, relative


def draw_noise(count: int, generator: torch.Generator) -> Tensor:
    """[count, NOISE] uniform numbers."""
    return torch.rand(count, NOISE, generator=generator)


def augment(pixels: Tensor, noise: Tensor, how: Augmentation) -> Tensor:
    """Views of `pixels` [I, 3, H, W] in 0..1, made by `noise` [I, NOISE]; same shape and range.

    What the frame shows beyond the picture's edge continues the edge.
    """
    noise = noise.to(pixels.device, pixels.dtype)
    take = iter(noise.unbind(1))
    views = _background(pixels, how, next(take), torch.stack([next(take) for _ in range(3)], dim=1))
    views = _affine(views, how, next(take), next(take), next(take), next(take), next(take))
    views = _colour(views, how, next(take), next(take), next(take), next(take), next(take))
    views = _blur(views, how, next(take), next(take))
    views = _cutout(views, how, next(take), torch.stack([next(take) for _ in range(5)], dim=1))
    return views.clamp(0, 1)


def _spread(noise: Tensor, width: float) -> Tensor:
    """Uniform noise in -width..width."""
    return (noise * 2 - 1) * width


def _each(values: Tensor) -> Tensor:
    """[I] -> [I, 1, 1, 1]."""
    return values[:, None, None, None]


def _background(pixels: Tensor, how: Augmentation, chance: Tensor, colour: Tensor) -> Tensor:
    near_white = ((pixels.amin(dim=1, keepdim=True) - 0.9) * 10).clamp(0, 1)  # [I, 1, H, W] 0 below .9, 1 at white
    share = near_white * _each((chance < how.background).to(pixels.dtype))
    return pixels + share * ((0.6 + 0.4 * colour)[:, :, None, None] - pixels)


def _affine(
    pixels: Tensor, how: Augmentation, scale: Tensor, turn: Tensor, right: Tensor, down: Tensor, flip: Tensor
) -> Tensor:
    low, high = how.scale
    zoom = 1 / (low + (high - low) * scale)  # the grid holds, for each place of the view, its place in the picture
    angle = _spread(turn, math.radians(how.rotation))
    mirror = 1 - 2 * (flip < how.flip).to(pixels.dtype)
    rows = torch.stack(
        [
            torch.stack([zoom * mirror * angle.cos(), -zoom * angle.sin(), _spread(right, 2 * how.shift)], dim=1),
            torch.stack([zoom * mirror * angle.sin(), zoom * angle.cos(), _spread(down, 2 * how.shift)], dim=1),
        ],
        dim=1,
    )  # [I, 2, 3]
    grid = affine_grid(rows, list(pixels.shape), align_corners=False)
    return grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _colour(
    pixels: Tensor, how: Augmentation, light: Tensor, contrast: Tensor, saturation: Tensor, hue: Tensor, grey: Tensor
) -> Tensor:
    pixels = pixels * _each(1 + _spread(light, how.brightness))
    luma = torch.tensor(_LUMA, device=pixels.device, dtype=pixels.dtype)[None, :, None, None]
    mean = (pixels * luma).sum(dim=1, keepdim=True).mean(dim=(2, 3), keepdim=True)
    pixels = mean + (pixels - mean) * _each(1 + _spread(contrast, how.contrast))
    brightness = (pixels * luma).sum(dim=1, keepdim=True)
    colour = (pixels - brightness) * _each(
        (1 + _spread(saturation, how.saturation)) * (grey >= how.grey).to(pixels.dtype)
    )
    return brightness + _turn_hue(colour, _spread(hue, 2 * math.pi * how.hue))


def _turn_hue(colour: Tensor, angle: Tensor) -> Tensor:
    """Rotate [I, 3, H, W] about the grey axis by `angle` [I] (Rodrigues' formula about (1, 1, 1) / sqrt 3)."""
    cos, sin = _each(angle.cos()), _each(angle.sin())
    across = (colour[:, [2, 0, 1]] - colour[:, [1, 2, 0]]) / math.sqrt(3)  # the axis x colour
    along = colour.mean(dim=1, keepdim=True)
    return colour * cos + across * sin + along * (1 - cos)


def _blur(pixels: Tensor, how: Augmentation, chance: Tensor, strength: Tensor) -> Tensor:
    taps = torch.tensor(_BINOMIAL, device=pixels.device, dtype=pixels.dtype).expand(3, 1, 5)
    blurred = pad(pixels, (2, 2, 2, 2), mode="replicate")
    blurred = conv2d(conv2d(blurred, taps[:, :, None, :], groups=3), taps[:, :, :, None], groups=3)
    return pixels + _each(strength * (chance < how.blur).to(pixels.dtype)) * (blurred - pixels)


def _cutout(pixels: Tensor, how: Augmentation, chance: Tensor, box: Tensor) -> Tensor:
    """`box` [I, 5]: centre x and y, width, height, grey level; all 0..1."""
    height, width = pixels.shape[2:]
    x = (torch.arange(width, device=pixels.device, dtype=pixels.dtype) + 0.5) / width
    y = (torch.arange(height, device=pixels.device, dtype=pixels.dtype) + 0.5) / height
    half = box[:, 2:4] * how.cutout_side / 2
    inside_x = (x[None, :] - box[:, :1]).abs() < half[:, :1]  # [I, W]
    inside_y = (y[None, :] - box[:, 1:2]).abs() < half[:, 1:2]  # [I, H]
    hole = inside_y[:, :, None] & inside_x[:, None, :] & (chance < how.cutout)[:, None, None]
    return torch.where(hole[:, None], _each(box[:, 4]), pixels)


def noise_of(name: str) -> Tensor:
    """[1, NOISE] that follows from a name alone."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1
    return draw_noise(1, torch.Generator().manual_seed(seed))

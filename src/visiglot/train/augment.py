"""Random views of pictures, a whole batch at once, on the device the pictures are on.

A view is a pure function of the picture and of `NOISE` uniform numbers, so who owns the numbers owns the randomness:
the loop draws them anew each step, the feature cache from the picture's key and the number of the view.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, conv2d, grid_sample, interpolate, max_pool2d, pad

from visiglot.config import AugmentationSection

NODES = 4
"""Points on each side of the coarse fields that bend and shade a picture."""

NOISE = 32 + 3 * NODES * NODES
"""Uniform numbers that make one view."""

_LUMA = (0.299, 0.587, 0.114)
"""Rec. 601 weights of red, green and blue in brightness."""

_BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
"""Five-tap binomial filter, close to a Gaussian of one pixel."""


def draw_noise(count: int, generator: torch.Generator) -> Tensor:
    """[count, NOISE] uniform numbers."""
    return torch.rand(count, NOISE, generator=generator)


def augment(
    pixels: Tensor, noise: Tensor, how: AugmentationSection, *, may_mirror: Sequence[bool] | None = None
) -> Tensor:
    """Views of `pixels` [I, 3, H, W] in 0..1, made by `noise` [I, NOISE]; same shape and range.

    What the frame shows beyond the picture's edge continues the edge.

    Args:
        may_mirror: [I] False where `how.flip` doesn't count; None: it counts for all.
    """
    draws = _Draws(noise.to(pixels.device, pixels.dtype))
    views = _background(pixels, how, draws)
    views = _lines(views, how, draws)
    views = _shade(views, how, draws)
    views = _place(views, how, draws, torch.tensor(may_mirror or [True] * len(pixels), device=pixels.device))
    views = _colour(views, how, draws)
    views = _blur(views, how, draws)
    views = _cutout(views, how, draws)
    return views.clamp(0, 1)


class _Draws:
    """Hands out the columns of a noise table, each once."""

    def __init__(self, noise: Tensor) -> None:
        self.noise = noise
        self.used = 0

    def some(self, count: int) -> Tensor:
        """[I, count] numbers in 0..1."""
        self.used += count
        return self.noise[:, self.used - count : self.used]

    def one(self) -> Tensor:
        """[I] numbers in 0..1."""
        return self.some(1)[:, 0]

    def spread(self, width: float) -> Tensor:
        """[I] numbers in -width..width."""
        return (self.one() * 2 - 1) * width

    def field(self, channels: int, strength: float) -> Tensor:
        """[I, channels, NODES, NODES] numbers of standard deviation `strength` times a strength of each picture's own.

        Uniform numbers in -sqrt 3..sqrt 3 have standard deviation 1.
        """
        nodes = (self.some(channels * NODES * NODES) * 2 - 1) * math.sqrt(3) * strength
        return nodes.view(-1, channels, NODES, NODES) * self.one()[:, None, None, None]


def _each(values: Tensor) -> Tensor:
    """[I] -> [I, 1, 1, 1]."""
    return values[:, None, None, None]


def _where(chosen: Tensor, pixels: Tensor, change: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """`pixels` with those that `chosen` [I] names changed; `change` is given them and their numbers."""
    rows = chosen.nonzero()[:, 0]
    if not len(rows):
        return pixels
    return pixels.index_copy(0, rows, change(pixels[rows], rows))


def _near_white(pixels: Tensor) -> Tensor:
    """[I, 1, H, W]: 0 below .9, 1 at white."""
    return ((pixels.amin(dim=1, keepdim=True) - 0.9) * 10).clamp(0, 1)


def _background(pixels: Tensor, how: AugmentationSection, draws: _Draws) -> Tensor:
    chance, colour = draws.one(), draws.some(3)

    def fill(some: Tensor, rows: Tensor) -> Tensor:
        return some + _near_white(some) * ((0.6 + 0.4 * colour[rows])[:, :, None, None] - some)

    return _where(chance < how.background, pixels, fill)


def _lines(pixels: Tensor, how: AugmentationSection, draws: _Draws) -> Tensor:
    """Draw outlines, as far as brightness changes within a pixel's neighbours, or close dark lines over."""
    draw, strength, close = draws.one(), draws.one(), draws.one()

    def outline(some: Tensor, rows: Tensor) -> Tensor:
        light = some.mean(dim=1, keepdim=True)
        edge = max_pool2d(light, 3, 1, 1) + max_pool2d(-light, 3, 1, 1)
        return some * (1 - (0.3 + 0.7 * _each(strength[rows])) * (1.5 * edge).clamp(0, 1))

    def smooth(some: Tensor, rows: Tensor) -> Tensor:
        return -max_pool2d(-max_pool2d(some, 3, 1, 1), 3, 1, 1)  # morphological closing

    return _where(close < how.lines, _where(draw < how.lines, pixels, outline), smooth)


def _shade(pixels: Tensor, how: AugmentationSection, draws: _Draws) -> Tensor:
    nodes = draws.field(1, how.shade)
    if not how.shade:
        return pixels
    light = interpolate(nodes, pixels.shape[2:], mode="bicubic", align_corners=True)
    return pixels * (1 + light * (1 - _near_white(pixels)))


def _place(pixels: Tensor, how: AugmentationSection, draws: _Draws, may_mirror: Tensor) -> Tensor:
    """Where the picture is in the view: zoom, turn, mirror, shift, stretch, shear and bend at once."""
    low, high = how.scale
    zoom = 1 / (low + (high - low) * draws.one())  # the grid says for each place of the view where it is in the picture
    angle = draws.spread(math.radians(how.rotation))
    right, down = draws.spread(2 * how.shift), draws.spread(2 * how.shift)
    mirror = 1 - 2 * ((draws.one() < how.flip) & may_mirror).to(pixels.dtype)
    stretch, shear = draws.spread(how.stretch), draws.spread(how.shear)
    wide, high_ = zoom * mirror * stretch.exp(), zoom * (-stretch).exp()
    rows = torch.stack(
        [
            torch.stack([wide * angle.cos(), high_ * (shear - angle.sin()), right], dim=1),
            torch.stack([wide * angle.sin(), high_ * angle.cos(), down], dim=1),
        ],
        dim=1,
    )  # [I, 2, 3]
    grid = affine_grid(rows, list(pixels.shape), align_corners=False)
    nodes = draws.field(2, how.bend)
    if how.bend:
        bend = interpolate(nodes, pixels.shape[2:], mode="bicubic", align_corners=True)
        grid = grid + bend.permute(0, 2, 3, 1)
    return grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _colour(pixels: Tensor, how: AugmentationSection, draws: _Draws) -> Tensor:
    """Light, contrast, saturation, hue and greyness as one matrix and offset a picture; then each channel's gamma."""
    light, contrast = 1 + draws.spread(how.brightness), 1 + draws.spread(how.contrast)
    saturation, turn = 1 + draws.spread(how.saturation), draws.spread(2 * math.pi * how.hue)
    saturation = saturation * (draws.one() >= how.grey).to(pixels.dtype)
    luma = torch.tensor(_LUMA, device=pixels.device, dtype=pixels.dtype)
    grey = luma.expand(3, 3)  # [3, 3] colour -> its brightness in each channel
    identity = torch.eye(3, device=pixels.device, dtype=pixels.dtype)
    colours = grey + saturation[:, None, None] * _turn_hue(turn) @ (identity - grey)  # [I, 3, 3]
    mean = pixels.mean(dim=(2, 3)) @ luma * light  # [I] brightness after `light`
    matrix = colours * (light * contrast)[:, None, None]
    offset = ((1 - contrast) * mean)[:, None, None]  # grey, which no turn of the hue changes
    changed = torch.baddbmm(offset, matrix, pixels.flatten(2)).view_as(pixels)
    gamma = (draws.some(3) * 2 - 1) * how.tint
    if not how.tint:
        return changed
    return changed.clamp(1e-3, 1) ** gamma.exp()[:, :, None, None]


def _turn_hue(angle: Tensor) -> Tensor:
    """[I] -> [I, 3, 3] rotations about the grey axis (Rodrigues' formula about (1, 1, 1) / sqrt 3)."""
    across = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]], device=angle.device, dtype=angle.dtype)
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    return cos * torch.eye(3, device=angle.device, dtype=angle.dtype) + sin * across / math.sqrt(3) + (1 - cos) / 3


def _blur(pixels: Tensor, how: AugmentationSection, draws: _Draws) -> Tensor:
    chance, strength = draws.one(), draws.one()
    taps = torch.tensor(_BINOMIAL, device=pixels.device, dtype=pixels.dtype).expand(3, 1, 5)

    def blur(some: Tensor, rows: Tensor) -> Tensor:
        wide = pad(some, (2, 2, 2, 2), mode="replicate")
        blurred = conv2d(conv2d(wide, taps[:, :, None, :], groups=3), taps[:, :, :, None], groups=3)
        return some + _each(strength[rows]) * (blurred - some)

    return _where(chance < how.blur, pixels, blur)


def _cutout(pixels: Tensor, how: AugmentationSection, draws: _Draws) -> Tensor:
    chance, box = draws.one(), draws.some(5)  # centre x and y, width, height, grey level
    height, width = pixels.shape[2:]
    x = (torch.arange(width, device=pixels.device, dtype=pixels.dtype) + 0.5) / width
    y = (torch.arange(height, device=pixels.device, dtype=pixels.dtype) + 0.5) / height

    def cut(some: Tensor, rows: Tensor) -> Tensor:
        own = box[rows]
        half = own[:, 2:4] * how.cutout_side / 2
        inside_x = (x[None, :] - own[:, :1]).abs() < half[:, :1]  # [I, W]
        inside_y = (y[None, :] - own[:, 1:2]).abs() < half[:, 1:2]  # [I, H]
        return torch.where((inside_y[:, :, None] & inside_x[:, None, :])[:, None], _each(own[:, 4]), some)

    return _where(chance < how.cutout, pixels, cut)


def noise_of(name: str) -> Tensor:
    """[1, NOISE] that follows from a name alone."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1
    return draw_noise(1, torch.Generator().manual_seed(seed))

"""Which features a stage keeps, under which key, and how much room they'll take."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from visiglot.config import Recipe, StageSection, cache_dir
from visiglot.data.mixture import Mixture
from visiglot.errors import ConfigError, DataError, ImageError
from visiglot.models.connectors import Connector
from visiglot.models.processor import VisiglotProcessor
from visiglot.models.vlm import VisionLanguageModel
from visiglot.train.features import FeatureCache, cache_key, predicted_bytes
from visiglot.train.pictures import Pictures
from visiglot.train.sharding import cuts_weights
from visiglot.types import ImageRef, VisionFeatures

if TYPE_CHECKING:
    from accelerate import Accelerator

ENCODE_ROWS = 64
"""Pictures that go through the frozen encoder together."""

COUNTED_DRAWS = 50_000
"""Draws that are looked through for different pictures before a cache is filled."""


def stage_cache(
    recipe: Recipe,
    section: StageSection,
    model: VisionLanguageModel,
    processor: VisiglotProcessor,
    pictures: Pictures,
    mixture: Mixture,
    accelerator: Accelerator,
) -> tuple[FeatureCache | None, str]:
    """The stage's cache and a line about it; None when it asks for none.

    Args:
        model: with the stage's parts applied.

    Raises:
        ConfigError: what would be kept trains in this stage, or isn't whole on any process.
        DataError, ImageError: a row, or the picture whose features are measured, can't be read.
    """
    if section.cache_views == 0:
        return None, ""
    if section.augment:
        return None, "feature cache: not used, since augment draws pictures anew"
    _refuse(recipe, section, model, accelerator.num_processes)
    dtype = torch.bfloat16 if accelerator.mixed_precision == "bf16" else torch.float32
    key = cache_key(
        model.vision,
        model.config.vision_layer,
        processor.fingerprint(),
        dtype,
        tiles=model.config.vision_tiles,
        reader=_reader(model.connector) if section.cache_read else None,
        options=model.connector.settled(model.config.connector["options"]),
    )
    folder = cache_dir() / "features" / key
    encode = frozen_encoder(model, accelerator, dtype, read=section.cache_read)
    cache = FeatureCache(folder, encode, pictures, section.augmentation)
    skip_bad = recipe.train.on_bad == "skip"
    example, number = count_pictures(mixture, skip_bad=skip_bad)
    if example is None:
        return cache, "feature cache: the data has no pictures"
    size = ""
    with contextlib.suppress(*((ImageError,) if skip_bad else ())):
        found = encode(pictures.plain([example]))
        size = f" = {predicted_bytes(found, number, section.cache_views) / 2**20:,.0f} MB"
    return cache, (
        f"feature cache: about {number:,} pictures x {section.cache_views} views{size} in {folder}, "
        f"{len(cache):,} views there already"
        + (f"; {len(cache.broken)} broken files passed over" if cache.broken else "")
    )


def reading_problems(connector: Connector, section: StageSection) -> list[str]:
    """Why what the connector reads can't be kept in a stage that asks for it, a line each."""
    if not section.cache_read:
        return []
    where = f"stages.{section.name}.cache_read"
    if not connector.reading:
        return [f"{where}: {type(connector).__name__} reads nothing that could be kept; leave it off"]
    trained = set()
    for name in _reader(connector):
        owners = [path for path in section.parts if name == path or name.startswith(f"{path}.")]
        if owners and section.parts[max(owners, key=len)].train == "full":
            trained.add(".".join(name.split(".")[:2]))
    return [f"{where}: is set, but {', '.join(sorted(trained))} trains in this stage"] if trained else []


def bytes_of_view(model: VisionLanguageModel, patches: int, number: int, *, read: bool) -> int:
    """What a view takes in a cache, from shapes; a model on the meta device will do.

    Args:
        patches: of a picture, those of its tiles included.
        number: bytes of each.
        read: whether it's what the connector reads that is kept.
    """
    width = model.connector.vision_width
    with torch.no_grad():
        one = next(model.connector.parameters())
        features = VisionFeatures(one.new_empty(1, patches, width), one.new_empty(1, width))
        kept = model.connector.read(features) if read else features
    return number * (kept.patches.numel() + kept.pooled.numel())


def frozen_encoder(
    model: VisionLanguageModel, accelerator: Accelerator, dtype: torch.dtype, *, read: bool = False
) -> Callable[[Tensor], VisionFeatures]:
    """Pixel values [I, 3, H, W] on the CPU -> features on the CPU, in slices that fit the device.

    Args:
        read: give what the connector reads in them, without dropout.
    """

    def see(pixels: Tensor) -> VisionFeatures:
        features = model.encode_images(pixels.to(accelerator.device))
        return model.connector.read(features) if read else features

    def encode(pixels: Tensor) -> VisionFeatures:
        for name in model.connector.reading if read else ():
            part = getattr(model.connector, name)
            if isinstance(part, nn.Module):
                part.eval()  # the rest of the connector may be training
        with torch.no_grad(), accelerator.autocast():
            found = [see(part) for part in torch.split(pixels, ENCODE_ROWS)]
        return found[0].like(
            torch.cat([part.patches.to("cpu", dtype) for part in found]),
            torch.cat([part.pooled.to("cpu", dtype) for part in found]),
        )

    return encode


def _refuse(recipe: Recipe, section: StageSection, model: VisionLanguageModel, processes: int) -> None:
    """Raises ConfigError when what the stage would keep trains in it, or is cut up."""
    problems = reading_problems(model.connector, section)
    if any(parameter.requires_grad for parameter in model.vision.parameters()):
        problems.append(f"stages.{section.name}.cache_views: is {section.cache_views}, but vision trains in this stage")
    if section.cache_read and cuts_weights(recipe, processes):
        problems.append(f"stages.{section.name}.cache_read: needs a whole connector; use train.sharding=ddp or zero2")
    if problems:
        raise ConfigError(
            f"recipe {recipe.name}",
            problems,
            hint="Only what is frozen can be kept: set cache_views to 0, cache_read to false, or the part to frozen.",
        )


def _reader(connector: Connector) -> dict[str, Tensor]:
    """Weights of `connector.reading`, by their names in the model."""
    return {
        f"connector.{name}": tensor
        for name, tensor in connector.state_dict().items()
        if name.partition(".")[0] in connector.reading
    }


def pictures_of(mixture: Mixture, *, skip_bad: bool = False) -> Iterator[ImageRef]:
    """Each different picture when it is first drawn; files needn't be read to be told apart.

    Raises:
        DataError: a row can't be read, unless such are passed over.
    """
    for _, image in _draws_of_new(mixture, len(mixture), skip_bad):
        yield image


def count_pictures(mixture: Mixture, *, skip_bad: bool = False) -> tuple[ImageRef | None, int]:
    """A picture of the mixture and about how many different ones it has.

    Exact up to COUNTED_DRAWS draws; beyond, new pictures are taken to keep coming as in the last tenth of those.

    Raises:
        DataError: a row can't be read, unless such are passed over.
    """
    looked = min(len(mixture), COUNTED_DRAWS)
    found = list(_draws_of_new(mixture, looked, skip_bad))
    if not found:
        return None, 0
    last_tenth = looked * 9 // 10
    rate = sum(draw >= last_tenth for draw, _ in found) / max(looked - last_tenth, 1)
    return found[0][1], len(found) + round(rate * (len(mixture) - looked))


def _draws_of_new(mixture: Mixture, draws: int, skip_bad: bool) -> Iterator[tuple[int, ImageRef]]:
    """The draws among the first that bring a picture which none before did, and it. Raises DataError."""
    passed_over = (DataError,) if skip_bad else ()
    seen: set[Path | str] = set()
    for k in range(draws):
        images: Sequence[ImageRef] = ()
        with contextlib.suppress(*passed_over):
            images = mixture[k].images
        for image in images:
            name = image.path or image.key
            if name not in seen:
                seen.add(name)
                yield k, image

"""Features of a frozen encoder, computed once and kept on disk.

    <cache>/features/<key>/meta.json                 what the features are of
    <cache>/features/<key>/<shard>.safetensors       patches [n, N, Dv], pooled [n, Dv]; metadata: the n views' names

Where a connector's lower part is frozen too, what it makes of a view may be kept instead (`Connector.read`); the shards
then hold that as patches [n, K, width], under a key that its weights are part of.

The key is a hash of the encoder's weights and config, the layer it is read at, the preprocessing, the tiling and the
number format, so a changed encoder never meets old features. A view's name is the hash of the picture's bytes and its
number; view 0 is the plain picture, the others are augmented by noise that follows from their name. Shards are written
aside, synced and renamed, and several processes may add to one folder: each looks for what the others have written
before it computes anything. Two compute a view both only if neither has written it yet; `part_of` gives them views
apart. A shard that can't be read is passed over, and its views are computed again.

Shapes: I pictures, N patches (of all tiles, where a picture is seen in tiles), Dv vision width.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from visiglot.config import AugmentationSection
from visiglot.errors import CheckpointError, TrainingError
from visiglot.files import write_text
from visiglot.models.vision import VisionEncoder
from visiglot.train.augment import noise_of
from visiglot.train.pictures import Pictures
from visiglot.types import ImageRef, VisionFeatures

SHARD = 512
"""Views in one file."""

BESIDE = ("architectures", "dtype", "transformers_version")
"""What an encoder's config says beside what it computes; the weights have their format by themselves."""

Encode = Callable[[Tensor], VisionFeatures]
"""Pixel values [I, 3, H, W] on the CPU -> features on the CPU, without gradient."""


class FeatureCache:
    """Features of views of pictures, from disk where they are there, else computed and kept.

    Args:
        folder: of one key, see `cache_key`.
        encode: the frozen encoder.
        pictures: where pixel values come from.
        how: the augmentation of views beyond 0.
    """

    def __init__(self, folder: Path, encode: Encode, pictures: Pictures, how: AugmentationSection) -> None:
        self.folder = folder
        self.encode = encode
        self.pictures = pictures
        self.how = how
        self._how_hash = hashlib.sha256(how.model_dump_json().encode()).hexdigest()[:12]
        self._where: dict[str, tuple[Any, int]] = {}  # name of a view -> open shard, row
        self._fresh: dict[str, tuple[Tensor, Tensor]] = {}  # computed and not yet on disk
        self._grid: tuple[int, int] | None = None
        self._tiles = 1
        self._read = False
        self._described = False
        self._opened: set[Path] = set()
        self.broken: list[Path] = []
        """Shards that can't be read."""
        self.computed = 0
        """Views that this process has computed."""
        self._open_folder()

    def __len__(self) -> int:
        return len(self._where) + len(self._fresh)

    def features(self, images: Sequence[ImageRef], views: Sequence[int]) -> VisionFeatures:
        """Features of view `views[i]` of `images[i]`.

        Raises:
            ImageError: a picture can't be read.
            TrainingError: what the encoder makes of one isn't finite.
            CheckpointError: the cache can't be written.
        """
        names = self._prepare(images, views)
        rows = [self._row(name) for name in names]
        return VisionFeatures(
            torch.stack([patches for patches, _ in rows]),
            torch.stack([pooled for _, pooled in rows]),
            self._grid,
            self._tiles,
            self._read,
        )

    def fill(self, images: Sequence[ImageRef], views: Sequence[int]) -> int:
        """Compute what isn't there, as `features` does, and look at nothing; how many views were computed."""
        before = self.computed
        self._prepare(images, views)
        return self.computed - before

    def _prepare(self, images: Sequence[ImageRef], views: Sequence[int]) -> list[str]:
        """Names of the views, all of which are there afterwards."""
        names = [self.name(image, view) for image, view in zip(images, views, strict=True)]
        if not all(map(self._has, names)):
            self._open_folder()  # another process may have written them
        self._compute({name: place for place, name in enumerate(names) if not self._has(name)}, images, views)
        return names

    def name(self, image: ImageRef, view: int) -> str:
        return f"{image.key}/0" if view == 0 else f"{image.key}/{view}.{self._how_hash}"

    def flush(self) -> None:
        """Write what is only in memory. Raises CheckpointError."""
        if not self._fresh:
            return
        names = list(self._fresh)
        tensors = {
            "patches": torch.stack([self._fresh[name][0] for name in names]),
            "pooled": torch.stack([self._fresh[name][1] for name in names]),
        }
        path = self.folder / f"{uuid.uuid4().hex}.safetensors"
        aside = path.with_suffix(".partial")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_file(tensors, aside, metadata={"names": json.dumps(names)})
            with aside.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(aside, path)
        except Exception as error:
            aside.unlink(missing_ok=True)
            raise CheckpointError(
                f"features can't be written to {self.folder}: {error}",
                hint="Make room there, point VISIGLOT_CACHE elsewhere, or set cache_views to 0.",
            ) from error
        self._fresh.clear()
        self._open_shard(path)

    def _has(self, name: str) -> bool:
        return name in self._where or name in self._fresh

    def _compute(self, missing: dict[str, int], images: Sequence[ImageRef], views: Sequence[int]) -> None:
        if not missing:
            return
        plain = {name: place for name, place in missing.items() if views[place] == 0}
        other = {name: place for name, place in missing.items() if views[place] != 0}
        pixels = []
        if plain:
            pixels.append(self.pictures.plain([images[place] for place in plain.values()]))
        if other:
            noise = torch.cat([noise_of(name) for name in other])
            pixels.append(self.pictures.views([images[place] for place in other.values()], noise, self.how))
        found = self.encode(torch.cat(pixels))
        if not self._described:
            self._described, self._grid, self._tiles, self._read = True, found.grid, found.tiles, found.read
            meta = {"grid": found.grid} | ({} if found.tiles == 1 else {"tiles": found.tiles})
            meta |= {"read": True} if found.read else {}
            write_text(json.dumps(meta) + "\n", self.folder / "meta.json", error=CheckpointError)
        self.computed += len(missing)
        for row, (name, place) in enumerate([*plain.items(), *other.items()]):
            if not (found.patches[row].isfinite().all() and found.pooled[row].isfinite().all()):
                raise TrainingError(
                    f"the encoder's features of picture {images[place].name} aren't finite, and aren't kept",
                    hint="Use train.precision=fp32, or look at the encoder's weights.",
                )
            self._fresh[name] = (found.patches[row].clone(), found.pooled[row].clone())
        if len(self._fresh) >= SHARD:
            self.flush()

    def _row(self, name: str) -> tuple[Tensor, Tensor]:
        if name in self._fresh:
            return self._fresh[name]
        shard, row = self._where[name]
        return shard.get_slice("patches")[row], shard.get_slice("pooled")[row]

    def _open_folder(self) -> None:
        """Find what is there; nothing is written. Without a whole meta.json nothing counts."""
        try:
            meta = json.loads((self.folder / "meta.json").read_text(encoding="utf-8"))
            grid = meta["grid"]
            self._grid = None if grid is None else (int(grid[0]), int(grid[1]))
            self._tiles = int(meta.get("tiles", 1))
            self._read = bool(meta.get("read", False))
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            return
        self._described = True
        for path in sorted(set(self.folder.glob("*.safetensors")) - self._opened):
            try:
                self._open_shard(path)
            except (OSError, ValueError, KeyError, TypeError, SafetensorError):  # cut short, or not ours
                self.broken.append(path)
                self._opened.add(path)

    def _open_shard(self, path: Path) -> None:
        """Map a shard; its tensors are read when they are asked for."""
        shard = safe_open(path, framework="pt")
        metadata = shard.metadata()  # type: ignore[no-untyped-call]
        for row, name in enumerate(json.loads(metadata["names"])):
            self._where.setdefault(name, (shard, row))
        self._opened.add(path)


def part_of(image: ImageRef, parts: int) -> int:
    """Which of `parts` processes computes all views of a picture, by its bytes. Raises OSError as `ImageRef.key`."""
    return int(image.key[:15], 16) % parts


def cache_key(
    vision: VisionEncoder,
    layer: int,
    fingerprint: str,
    dtype: torch.dtype,
    *,
    tiles: int = 1,
    reader: Mapping[str, Tensor] | None = None,
    options: Mapping[str, Any] | None = None,
) -> str:
    """Hash of all that decides a picture's features.

    Args:
        vision: the encoder.
        layer: hidden state that is read.
        fingerprint: of the preprocessing.
        dtype: of the computation.
        tiles: that the encoder sees a picture in, to a side.
        reader: weights of the connector's part that reads the features, where it's what that makes that is kept.
        options: of that connector.
    """
    config: Any = vision.model.config  # heads and activation change features, and no weight's shape
    values = config.to_dict().items()
    computed = {name: value for name, value in values if name not in BESIDE and not name.startswith("_")}
    stated = [layer, fingerprint, str(dtype), *([] if tiles == 1 else [tiles]), computed]
    stated += [] if reader is None else [dict(options or {})]
    found = hashlib.sha256(json.dumps(stated, sort_keys=True, default=str).encode())
    named = [*sorted(vision.state_dict().items()), *sorted((reader or {}).items())]
    for name, tensor in named:
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()[:32]


def predicted_bytes(features: VisionFeatures, pictures: int, views: int) -> int:
    """Size on disk of `views` views of `pictures` pictures like the one in `features`."""
    return pictures * views * (features.patches[0].nbytes + features.pooled[0].nbytes)

"""The few pictures that an evaluation folder keeps for its report, chosen so that nobody picks them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from visiglot.errors import ImageError, VisiglotError
from visiglot.evaluate.answers import picture_id
from visiglot.types import Example, ImageRef

FOLDER = "pictures"
COUNT = 12
SIDE = 256
"""Pixels of the longer side of a kept picture."""


def image_name(images: Sequence[ImageRef]) -> str:
    """`Prediction.image`: the pictures' names, joined by "; "."""
    return "; ".join(ref.name for ref in images)


def picture_file(out: Path, image: str) -> Path:
    """Where the copy of the picture that predictions call `image` is, if one was kept."""
    return out / FOLDER / f"{_rank(image)[:16]}.png"


def sampled(images: Sequence[str], count: int = COUNT) -> list[str]:
    """`count` of the names, chosen and ordered by their hash."""
    return sorted(dict.fromkeys(images), key=_rank)[:count]


def keep_pictures(examples: Sequence[Example], out: Path) -> None:
    """Write small copies of the sampled pictures. Those that can't be read are left out: they have error rows.

    Raises:
        VisiglotError: a copy can't be written.
    """
    from visiglot.images import load_image

    refs: dict[str, dict[str, ImageRef]] = {}
    for example in examples:
        if example.images:
            first = example.images[0]
            refs.setdefault(image_name(example.images), {})[picture_id(first)] = first
    # A name that two pictures share could show the wrong one.
    told_apart = {name: next(iter(by_id.values())) for name, by_id in refs.items() if len(by_id) == 1}
    for name in sampled(list(told_apart)):
        try:
            picture = load_image(told_apart[name])
        except ImageError:
            continue
        picture.thumbnail((SIDE, SIDE))
        buffer = BytesIO()
        picture.save(buffer, format="PNG")
        path = picture_file(out, name)
        try:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(buffer.getvalue())
        except OSError as error:
            raise VisiglotError(
                f"{path} can't be written: {error.strerror or error}", hint="Free some space and run it again."
            ) from error


def _rank(image: str) -> str:
    return hashlib.sha256(image.encode()).hexdigest()

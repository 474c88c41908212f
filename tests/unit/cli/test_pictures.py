"""Pictures on a page."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from tests.drawn import draw

from visiglot.cli.pictures import CARD_GAP, card_image
from visiglot.types import ImageRef


@pytest.mark.parametrize(
    ("pictures", "columns", "lines"), [(1, 1, 1), (2, 2, 1), (3, 3, 1), (4, 2, 2), (5, 3, 2), (9, 3, 3), (10, 4, 3)]
)
def test_all_pictures_of_an_example_are_on_its_card(pictures: int, columns: int, lines: int) -> None:
    data = card_image(*[ImageRef(str(n), data=draw("red", "square")) for n in range(pictures)])
    assert data is not None
    card = np.asarray(Image.open(BytesIO(data)).convert("RGB"))
    step = 32 + CARD_GAP
    assert card.shape == (lines * step - CARD_GAP, columns * step - CARD_GAP, 3)
    centres = [
        tuple(card[top + 16, left + 16])
        for top in range(0, lines * step, step)
        for left in range(0, columns * step, step)
    ]
    assert centres == [(255, 0, 0)] * pictures + [(255, 255, 255)] * (columns * lines - pictures)


def test_a_card_without_pictures_or_with_a_broken_one_has_none() -> None:
    assert card_image() is None
    assert card_image(ImageRef("good", data=draw("red", "square")), ImageRef("bad", data=b"x")) is None

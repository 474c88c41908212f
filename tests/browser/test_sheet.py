"""The sheet as a browser lays it out: it isn't blank, and right-to-left text runs from right to left."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.browser.chromium import edges, screenshot

from visiglot.sheet import Card, Page, Text, write_page

pytestmark = pytest.mark.browser


def write_card(folder: Path, name: str, language: str, text: str) -> Path:
    png = io.BytesIO()
    Image.new("RGB", (64, 64), (255, 0, 0)).save(png, "PNG")
    page = Page("Captions", "One picture.")
    page.cards([Card(png.getvalue(), "a red square", (Text(language, text),))])
    path = folder / f"{name}.html"
    write_page(page, path)
    return path


def test_a_sheet_shows_its_picture_and_its_words(tmp_path: Path) -> None:
    shown = screenshot(write_card(tmp_path, "german", "deu_Latn", "rotes Quadrat"), tmp_path)
    red = (shown[..., 0] > 200) & (shown[..., 1] < 60) & (shown[..., 2] < 60)
    assert red.sum() > 500, "the picture is missing"
    dark = shown.sum(-1) < 250
    assert dark.sum() > 300, "the words are missing"


def test_arabic_starts_at_the_right_of_its_box_and_german_at_the_left(tmp_path: Path) -> None:
    """Pages that differ in one caption only differ where that caption's ink is."""
    centre = {}
    for name, language, text in (("german", "deu_Latn", "rot"), ("arabic", "arb_Arab", "أحمر")):
        shown = screenshot(write_card(tmp_path, name, language, text), tmp_path)
        other = screenshot(write_card(tmp_path, f"{name}2", language, text + text), tmp_path)
        columns = np.where(np.any(np.abs(shown.astype(int) - other.astype(int)).sum(-1) > 60, axis=0))[0]
        assert len(columns), "a longer caption must change the page"
        centre[name] = float(columns.mean())
    # a longer German caption grows to the right of its start, a longer Arabic one to the left of its own
    assert centre["german"] < centre["arabic"]


def test_what_ends_an_arabic_caption_stands_at_its_left(tmp_path: Path) -> None:
    """A mark at the end takes its side from the direction of the whole text, letters from their own."""
    for name, tag, language, text in (("a", "de", "deu_Latn", "rot!"), ("b", "ar", "arb_Arab", "أحمر!")):
        first, last = edges(write_card(tmp_path, name, language, text), tmp_path)[f"{tag} {text}"]
        assert (last > first) == (tag == "de")

"""Words on pictures, to be read: text in pictures in every language that the built-in data has names in.

In the manner of SynthDoG (Kim et al., 2022, arXiv 2111.15664), which Centurio trains on in a hundred languages (Geigle
et al., 2025, arXiv 2501.05122): words of a language on a sheet of paper before a picture that has nothing to do with
them. Theirs are sentences of Wikipedia before photographs of ImageNet; these are names of things, from one to a few of
them, before the built-in drawings. Every picture is a pure function of the seed, its language and its number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydantic import Field

from visiglot.data.fonts import load_fonts
from visiglot.data.nano.build import nano_dir
from visiglot.data.nano.load import NanoData, Picture, load_nano_once
from visiglot.data.nano.pools import draw
from visiglot.data.nano.splits import choose_concepts_of, choose_languages, choose_styles, find_split
from visiglot.data.nano.tasks import Count, SplitName
from visiglot.data.source import SOURCES
from visiglot.errors import DataError
from visiglot.images import load_image
from visiglot.lettering import Fonts, draw_text, text_mask
from visiglot.types import Example, ImageRef, ImageSlot, Message, Provenance

TASK = "reading"

PROMPTS = ("Read the text in the picture.", "What is written in the picture?", "Write down the words in the picture.")

MARGIN = 0.08
"""Least space around the paper, and between its edge and the words, of the side."""

LINE = 0.2
"""Greatest height of a line, of the side."""

LEGIBLE = 12
"""Size of the font, in pixels, that a word must fit in with."""

PAPER_LIGHT, INK_DARK = (215, 255), (0, 90)
"""Ranges of each colour channel; half of the pictures have them the other way round."""


@dataclass(frozen=True, eq=False)
class LetteredSource:
    """Pictures with words on them, and what is written there.

    Args:
        by_language: `pictures` numbers of each language that has words.
        left_out: reason -> names that can't be drawn so that they can be read.
        size: of the pictures, in pixels to a side.
        most: words on a picture.
    """

    name: str
    by_language: Mapping[str, NDArray[np.int64]]
    left_out: Mapping[str, int]
    size: int
    most: int
    training: bool
    seed: int
    _data: NanoData
    _fonts: Fonts
    _styles: tuple[str, ...]
    _words: Mapping[str, tuple[str, ...]]

    def __len__(self) -> int:
        return sum(len(rows) for rows in self.by_language.values())

    def __getitem__(self, i: int) -> Example:
        if not 0 <= i < len(self):
            raise IndexError(f"{self.name} has {len(self)} examples, no {i}")
        language = next(code for code, rows in self.by_language.items() if i <= rows[-1])
        number = i - int(self.by_language[language][0])
        rng = draw(self.seed, "lettered", language, number)
        ids = rng.sample(self._words[language], min(rng.randint(1, self.most), len(self._words[language])))
        names = self._data.names[language]
        words = [names[id].text for id in ids]
        behind = self._background(rng, ids)
        id = f"{self.name}/{language}/{number}"
        picture = _picture(words, language, load_image(behind.image), self._fonts, self.size, rng)
        prompt = Message("user", (ImageSlot(0), rng.choice(PROMPTS)))
        text = "\n".join(words)
        sources = list(dict.fromkeys([behind.source, *(names[one].source for one in ids)]))
        licences = dict.fromkeys(self._data.sources[one] for one in sources)
        return Example(
            id=id,
            messages=(prompt, Message("assistant", (text,))) if self.training else (prompt,),
            language=language,
            images=(ImageRef(f"{id}.png", data=picture),),
            references=() if self.training else (text,),
            provenance=Provenance(" + ".join(sources), " AND ".join(licences)),
            task=TASK,
            group=ids[0],
        )

    def _background(self, rng: Random, ids: Sequence[str]) -> Picture:
        """A drawing of something else than the words say, where there is one."""
        drawn = self._data.pictures[rng.choice(self._styles)]
        found = rng.choice(list(drawn))
        others = drawn.keys() - set(ids)
        while others and found in ids:
            found = rng.choice(list(drawn))
        return drawn[found]


@SOURCES.register("lettered")
def load_lettered(
    *,
    languages: Sequence[str],
    seed: int,
    pictures: Count = 10_000,
    words: Annotated[int, Field(ge=1, le=8)] = 4,
    size: Annotated[int, Field(ge=64, le=2048)] = 384,
    split: SplitName = "train",
    fonts: str | None = None,
    folder: str | None = None,
) -> LetteredSource:
    """Words on pictures, to be read.

    Args:
        languages: FLORES-200 codes; of a training split the text-only ones are left out, as pictures are.
        seed: of which words come together, and of colours and places.
        pictures: in each language.
        words: most on one picture, each in a line of its own.
        size: of the pictures, in pixels to a side.
        split: of the built-in data, whose concepts and drawings are used.
        fonts: a folder of fonts; default: those of `visiglot data fonts`.
        folder: of the built-in data; default: the cache's.

    Raises:
        DataError: data or fonts aren't there, or no word can be drawn.
    """
    data = load_nano_once(Path(folder) if folder is not None else nano_dir())
    return build_lettered(
        data,
        load_fonts(Path(fonts).expanduser() if fonts is not None else None),
        languages=languages,
        seed=seed,
        pictures=pictures,
        words=words,
        size=size,
        split=split,
    )


def build_lettered(
    data: NanoData,
    fonts: Fonts,
    *,
    languages: Sequence[str],
    seed: int = 0,
    pictures: int = 10_000,
    words: int = 4,
    size: int = 384,
    split: str = "train",
) -> LetteredSource:
    """`load_lettered` of data and fonts that are open already."""
    chosen = choose_languages(data, split, languages, pictures=True)
    ids = choose_concepts_of(data, split, pictures=True)
    left_out: dict[str, int] = {}
    able: dict[str, tuple[str, ...]] = {}
    for language in chosen:
        named = [id for id in ids if id in data.names[language]]
        drawable = [id for id in named if not fonts.missing(data.names[language][id].text, language)]
        fitting = [id for id in drawable if _fits(data.names[language][id].text, language, fonts, size, words)]
        for reason, count in (
            ("no font has a letter of it", len(named) - len(drawable)),
            (f"too long for {size} pixels", len(drawable) - len(fitting)),
        ):
            if count:
                left_out[reason] = left_out.get(reason, 0) + count
        if fitting:
            able[language] = tuple(fitting)
    if not able:
        said = "; ".join(f"{count} {reason}" for reason, count in left_out.items()) or "it may show none of these"
        raise DataError(
            f"no word of {', '.join(languages) or 'no language'} can be drawn on a picture: {said}",
            hint="Name other languages, raise `size`, or give a folder of `fonts` that has their letters.",
        )
    by_language = {language: np.arange(at * pictures, (at + 1) * pictures) for at, language in enumerate(able)}
    return LetteredSource(
        f"lettered/{split}", MappingProxyType(by_language), MappingProxyType(left_out), size, words,
        find_split(split).training, seed, data, fonts, choose_styles(data, split, None), MappingProxyType(able),
    )  # fmt: skip


def _line(size: int, words: int) -> tuple[int, int, int]:
    """Of a picture's lines: where they begin and what they leave free at the end, their height, that of their ink."""
    space = round(MARGIN * size)
    height = min(round(LINE * size), (size - 4 * space) // words)
    return space, height, height - 2 * (height // 10)


def _fits(word: str, language: str, fonts: Fonts, size: int, words: int) -> bool:
    """Whether a word can be read in one of `words` lines."""
    space, _, height = _line(size, words)
    mask = text_mask(word, fonts=fonts, language=language, size=LEGIBLE)
    return mask.width <= size - 4 * space and mask.height <= height


def _picture(words: Sequence[str], language: str, behind: Image.Image, fonts: Fonts, size: int, rng: Random) -> bytes:
    """A sheet of paper with the words, each in its line, before a drawing: the bytes of a PNG."""
    image = behind.resize((size, size), Image.Resampling.BICUBIC)
    space, height, inside = _line(size, len(words))
    top = rng.randint(space, size - 3 * space - height * len(words))
    paper, ink = (tuple(rng.randint(*of) for _ in range(3)) for of in rng.sample((PAPER_LIGHT, INK_DARK), 2))
    ImageDraw.Draw(image).rectangle((space, top, size - space, top + height * len(words) + 2 * space), fill=paper)
    align = rng.choice(("left", "center", "right"))
    for number, word in enumerate(words):
        line = top + space + number * height + height // 10
        box = (2 * space, line, size - 2 * space, line + inside)
        draw_text(image, word, box, fonts=fonts, language=language, colour=ink, align=align)  # type: ignore[arg-type]
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()

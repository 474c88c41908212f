"""The prompts of a benchmark with their pictures, in passes that a connector looks at together; nothing is decoded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from visiglot.errors import VisiglotError
from visiglot.evaluate.benchmark import Benchmark
from visiglot.prompts import placed, placing_of
from visiglot.types import Batch, Example, ImageRef, Sample

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from visiglot.models.processor import VisiglotProcessor
    from visiglot.models.vlm import VisionLanguageModel

ROWS_PER_PASS = 32


def asked_of(
    benchmark: Benchmark, languages: Sequence[str], root: Path | None, *, split: str, prompt_set: str, limit: int
) -> dict[str, list[Example]]:
    """By language the first `limit` examples of a benchmark; languages that it lacks are left out."""
    data = benchmark.open(root)
    return {
        code: list(data.examples(code, split=split, prompt_set=prompt_set, limit=limit))
        for code in languages
        if code in data.languages
    }


_Row = tuple[str, Example, Sample, "list[Image]"]


def passes_of(
    model: VisionLanguageModel, processor: VisiglotProcessor, examples: Mapping[str, Sequence[Example]]
) -> Iterator[tuple[list[tuple[str, Example]], Batch]]:
    """Language and example of each row, and the rows on the model's device, with `pixel_values`.

    Examples that show nothing, whose picture can't be read or whose prompt is too long are left out. All languages of a
    picture lie side by side.

    Args:
        examples: by language.
    """
    from visiglot.data.collate import collate, to_device

    spec = processor.spec()
    for rows in _passes(model, processor, examples):
        pictures = {ref.key: picture for *_, sample, shown in rows for ref, picture in zip(sample.images, shown)}
        batch = collate([row[2] for row in rows], spec, pixels=partial(_pixels, processor, pictures))
        yield [(code, example) for code, example, _, _ in rows], to_device(batch, model.device)


def _pixels(processor: VisiglotProcessor, pictures: Mapping[str, Image], refs: Sequence[ImageRef]) -> Tensor:
    return processor.pixel_values([pictures[ref.key] for ref in refs])


def _passes(
    model: VisionLanguageModel, processor: VisiglotProcessor, examples: Mapping[str, Sequence[Example]]
) -> Iterator[list[_Row]]:
    from visiglot.images import load_image
    from visiglot.render import render

    spec, placing = processor.spec(), placing_of(model.config, processor)
    asked = [(code, example) for code, rows in examples.items() for example in rows if example.images]
    rows: list[_Row] = []
    for code, example in sorted(asked, key=lambda one: [ref.name for ref in one[1].images]):
        try:
            sample = render(placed(example, placing), spec, complete=True)
            rows.append((code, example, sample, list(map(load_image, example.images))))
        except VisiglotError:
            continue
        if len(rows) == ROWS_PER_PASS:
            yield rows
            rows = []
    if rows:
        yield rows

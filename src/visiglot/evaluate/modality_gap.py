"""How far pictures lie from words where the language model reads both: `modality_gap.jsonl` of an evaluation folder.

A picture's feature is the mean of its image tokens, a text's the mean of its word embeddings, both as the language
model takes them in (LRM-LLaVA, AAAI 2025, draws the same features before and after training). The texts are the
references of the benchmark's examples, so that they should be captions or names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from visiglot.errors import EvaluationError
from visiglot.evaluate.benchmark import Benchmark
from visiglot.evaluate.gap import Cloud, distance_of_means, flattened, length_ratio, probe_auc
from visiglot.evaluate.lines import number, read_lines, write_lines
from visiglot.evaluate.passes import asked_of, passes_of
from visiglot.types import Example, PromptSpec

if TYPE_CHECKING:
    from visiglot.models.processor import VisiglotProcessor
    from visiglot.models.vlm import VisionLanguageModel

MODALITY_GAP = "modality_gap.jsonl"
EXAMPLES = 256
"""Of each language."""
DRAWN = 64
"""Pictures and texts of each language that are drawn."""

Points = tuple[tuple[float, float], ...]
POINTS = ("picture_points", "text_points")


@dataclass(frozen=True, slots=True)
class ModalityGap:
    """Pictures and the texts of one language.

    Args:
        model_hash: of the model, as in run.json.
        pictures, texts: how many different ones.
        distance: of the means of normalised features, see `gap.distance_of_means`.
        length: of pictures over that of texts, see `gap.length_ratio`.
        auc: of a linear probe, see `gap.probe_auc`; None where there are too few.
        picture_points, text_points: some of them on the plane of `gap.flattened`, which all languages share.
    """

    benchmark: str
    prompt_set: str
    language: str
    model_hash: str
    pictures: int
    texts: int
    distance: float
    length: float
    auc: float | None
    picture_points: Points
    text_points: Points


def record_modality_gap(
    model: VisionLanguageModel,
    processor: VisiglotProcessor,
    benchmark: Benchmark,
    languages: Sequence[str],
    out: Path,
    *,
    model_hash: str,
    split: str | None = None,
    prompt_set: str | None = None,
    limit: int | None = None,
    root: Path | None = None,
) -> list[ModalityGap]:
    """Measure the gap on a benchmark's examples, and write it into `out` beside that of other benchmarks.

    Rows of other models, and older ones of the same benchmark and prompt set, go.

    Args:
        languages: FLORES-200 codes; those that the benchmark lacks are left out.
        limit: examples in each language; at most `EXAMPLES`.

    Raises:
        EvaluationError: no example has a picture and a reference, or the file that is there is broken.
        VisiglotError: it can't be written.
    """
    split, prompt_set = benchmark.choose("split", split), benchmark.choose("prompt set", prompt_set)
    most = min(limit or EXAMPLES, EXAMPLES)
    examples = asked_of(benchmark, languages, root, split=split, prompt_set=prompt_set, limit=most)
    clouds = {code: both for code, both in features(model, processor, examples).items() if min(map(len, both))}
    if not clouds:
        raise EvaluationError(
            f"benchmark {benchmark.name}: no example has a picture and a reference, so that there is no gap to measure",
            hint="Take a benchmark of captions or names, such as nano or xm3600.",
        )
    drawn = flattened(*(cloud[:DRAWN] for both in clouds.values() for cloud in both))
    found = [
        ModalityGap(
            benchmark=benchmark.name,
            prompt_set=prompt_set,
            language=code,
            model_hash=model_hash,
            pictures=len(pictures),
            texts=len(texts),
            distance=distance_of_means(pictures, texts),
            length=length_ratio(pictures, texts),
            auc=probe_auc(pictures, texts),
            picture_points=_points(drawn[2 * at]),
            text_points=_points(drawn[2 * at + 1]),
        )
        for at, (code, (pictures, texts)) in enumerate(clouds.items())
    ]
    path = out / MODALITY_GAP
    kept = [
        row
        for row in read_modality_gap(path)
        if row.model_hash == model_hash and (row.benchmark, row.prompt_set) != (benchmark.name, prompt_set)
    ]
    write_lines((*kept, *found), path)
    return found


def features(
    model: VisionLanguageModel, processor: VisiglotProcessor, examples: Mapping[str, Sequence[Example]]
) -> dict[str, tuple[Cloud, Cloud]]:
    """By language: the features of its pictures [n, D] and of its texts [m, D], each picture and each text once.

    Of an example's references the first counts. A connector that reads the prompt gives a picture a feature in each
    language.

    Args:
        model: in evaluation mode.
        examples: by language. Those that can't be shown are left out.
    """
    import torch

    spec = processor.spec()
    pictures: dict[str, dict[str, np.ndarray]] = {code: {} for code in examples}
    for rows, batch in passes_of(model, processor, examples):
        assert batch.pixel_values is not None
        with torch.inference_mode():
            tokens = model.slot_tokens(batch, model.encode_images(batch.pixel_values)).mean(1).double().cpu()  # [S, D]
        shown = [0] * len(rows)
        for row, feature in zip(batch.slot_row.tolist(), tokens.numpy()):
            code, example = rows[row]
            pictures[code].setdefault(example.images[shown[row]].key, feature)
            shown[row] += 1
    found = {}
    for code, asked in examples.items():
        texts = dict.fromkeys(example.references[0] for example in asked if example.references)
        said = [_text(model, spec, text) for text in texts if text.strip()]
        found[code] = _cloud(list(pictures[code].values())), _cloud(said)
    return found


def _text(model: VisionLanguageModel, spec: PromptSpec, text: str) -> np.ndarray:
    """The mean of a text's word embeddings [D]."""
    import torch

    with torch.inference_mode():
        ids = torch.tensor([spec.encode(text)], device=model.device)
        mean: np.ndarray = model.word_embeddings(ids)[0].mean(0).double().cpu().numpy()
    return mean


def _cloud(vectors: Sequence[np.ndarray]) -> Cloud:
    return np.stack(vectors) if vectors else np.zeros((0, 1))


def _points(plane: Cloud) -> Points:
    return tuple((round(float(x), 4), round(float(y), 4)) for x, y in plane)


def read_modality_gap(path: Path) -> list[ModalityGap]:
    """All rows of a file; none where there is no file.

    Raises:
        EvaluationError: it can't be read, or a line is none.
    """
    return read_lines(
        path,
        ModalityGap,
        lambda row: {
            **{name: number(row[name]) for name in ("distance", "length")},
            **{name: tuple((x, y) for x, y in row[name]) for name in POINTS},
        },
        hint="Delete it; `visiglot evaluate --modality-gap` writes it again.",
    )

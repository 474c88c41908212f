"""Which experts a model's connector turns to in which language: `routing.jsonl` of an evaluation folder.

The weights follow from pictures and prompts alone, so that they are taken from a few examples of each language, in a
pass of their own that costs no decoding. They are there whether the answers were made now or kept from before.

Shapes: S image slots, E experts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from visiglot.evaluate.benchmark import Benchmark
from visiglot.evaluate.lines import read_lines, write_lines
from visiglot.evaluate.passes import asked_of, passes_of
from visiglot.types import Example

if TYPE_CHECKING:
    from visiglot.models.processor import VisiglotProcessor
    from visiglot.models.vlm import VisionLanguageModel

ROUTING = "routing.jsonl"
EXAMPLES = 64
"""Of each language."""


@dataclass(frozen=True, slots=True)
class Routing:
    """The mean weight of each expert in a language.

    Args:
        model_hash: of the model, as in run.json.
        n: pictures in prompts over which the mean is.
        weights: of each expert; they sum to one.
    """

    benchmark: str
    prompt_set: str
    language: str
    model_hash: str
    n: int
    weights: tuple[float, ...]


def record_routing(
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
) -> list[Routing]:
    """Measure the experts' weights on a benchmark, and write them into `out` beside those of other benchmarks.

    Rows of other models, and older ones of the same benchmark, prompt set and language, go. A model without experts has
    none, and writes nothing.

    Args:
        languages: FLORES-200 codes; those that the benchmark lacks are left out.
        limit: examples in each language; at most `EXAMPLES`.

    Raises:
        EvaluationError: the file that is there is broken.
        VisiglotError: it can't be written.
    """
    if not model.connector.needs_context:  # experts are weighed by the prompt
        return []
    split, prompt_set = benchmark.choose("split", split), benchmark.choose("prompt set", prompt_set)
    most = min(limit or EXAMPLES, EXAMPLES)
    examples = asked_of(benchmark, languages, root, split=split, prompt_set=prompt_set, limit=most)
    found = [
        Routing(benchmark.name, prompt_set, code, model_hash, n, weights)
        for code, (n, weights) in expert_weights(model, processor, examples).items()
    ]
    if not found:
        return []
    path = out / ROUTING
    new = {(row.benchmark, row.prompt_set, row.language) for row in found}
    kept = [
        row
        for row in read_routing(path)
        if row.model_hash == model_hash and (row.benchmark, row.prompt_set, row.language) not in new
    ]
    write_lines((*kept, *found), path)
    return found


def expert_weights(
    model: VisionLanguageModel, processor: VisiglotProcessor, examples: Mapping[str, Sequence[Example]]
) -> dict[str, tuple[int, tuple[float, ...]]]:
    """By language, over how many pictures in prompts, and the mean weight of each expert; empty without experts.

    Examples whose picture can't be read or whose prompt is too long are left out; so is a language without any other.

    Args:
        model: in evaluation mode.
        examples: by language.
    """
    import torch

    sums: dict[str, tuple[int, torch.Tensor]] = {}
    for rows, batch in passes_of(model, processor, examples):
        assert batch.pixel_values is not None
        with torch.inference_mode():
            weights = model.connector.routing(model.encode_images(batch.pixel_values), model.slot_context(batch))
        if weights is None:
            return {}
        for row, one in zip(batch.slot_row.tolist(), weights.double().cpu()):
            count, total = sums.get(rows[row][0], (0, torch.zeros_like(one)))
            sums[rows[row][0]] = (count + 1, total + one)
    return {code: (sums[code][0], tuple((sums[code][1] / sums[code][0]).tolist())) for code in examples if code in sums}


def read_routing(path: Path) -> list[Routing]:
    """All rows of a file of weights; none where there is no file.

    Raises:
        EvaluationError: it can't be read, or a line is none.
    """
    return read_lines(
        path,
        Routing,
        lambda row: {"weights": tuple(map(float, row["weights"]))},
        hint="Delete it; `visiglot evaluate` writes it again.",
    )


def largest_difference(rows: Iterable[Routing]) -> float:
    """The share of weight that lies elsewhere between the two languages that differ most (total variation distance)."""
    weights = [row.weights for row in rows]
    return max((sum(abs(a - b) for a, b in zip(one, other)) / 2 for one in weights for other in weights), default=0.0)

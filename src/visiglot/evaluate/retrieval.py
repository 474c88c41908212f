"""Retrieval by a model's vectors: which pictures belong to a text, and which texts to a picture, in each language.

An example of task `text-to-image` has one text, the picture that belongs to it and that picture's name as reference;
one of `image-to-text` has one picture and the ids of the texts' examples. All pictures, or all texts, of the language
are candidates, also under a limit, which only makes fewer queries. An answer is the best candidates' names, one a line.

Shapes: Q queries, N candidates, W width of the vectors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from visiglot.data.progress import Progress
from visiglot.errors import EvaluationError, ModelError, VisiglotError
from visiglot.evaluate.benchmark import Benchmark
from visiglot.evaluate.metrics.recall import DEPTH
from visiglot.types import Example, ImageRef

Vectors = NDArray[np.float32]
TO_IMAGE, TO_TEXT = "text-to-image", "image-to-text"
BLOCK = 2**22
"""Products of a query and a candidate that are ranked at a time: 16 MiB, of which some copies are held."""


@runtime_checkable
class Embedder(Protocol):
    """Something with a space that pictures and texts meet in: the better two belong together, the greater the product
    of their vectors."""

    def embed_images(self, images: Sequence[ImageRef]) -> Iterator[tuple[int, Vectors | VisiglotError]]:
        """(place of the picture, its unit vector [W] or why there is none), each place once; few pictures are in memory
        at a time."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> Iterator[tuple[int, Vectors | VisiglotError]]:
        """(place of the text, its unit vector [W] or why there is none), likewise. Long texts may be cut off."""
        ...


def embedder_of(answerer: Any, benchmark: str) -> Embedder:
    """`answerer` as one that embeds.

    Raises:
        EvaluationError: it isn't; says what is.
    """
    if isinstance(answerer, Embedder):
        return answerer
    raise EvaluationError(
        f"{answerer.name} gives no vectors of pictures and texts, by which {benchmark} is ranked",
        hint="Name a CLIP or SigLIP model of the hub or a folder, or a run of ours whose newest checkpoint is of a "
        "stage with objective contrastive.",
    )


def check_kind(answerer: Any, benchmark: Benchmark, *, ranks: bool) -> None:
    """Say before anything is written that a model can't do what a benchmark asks of it.

    Args:
        ranks: whether choices are to be ranked by likelihood.

    Raises:
        EvaluationError: it can't.
    """
    if benchmark.embeds:
        embedder_of(answerer, benchmark.name)
        if ranks:
            raise EvaluationError(
                f"{benchmark.name} is ranked by vectors, its questions have no choices with likelihoods",
                hint="Leave out --answers likelihood.",
            )
    elif getattr(answerer, "embeds_only", False):
        raise EvaluationError(
            f"{answerer.name} embeds pictures and texts, and writes no answers to {benchmark.name}",
            hint="Ask it for retrieval (--benchmarks xtd,iglue-wit), or name a model that writes.",
        )


def retrieve(
    embedder: Embedder, asked: Sequence[tuple[str, Example]], candidates: Mapping[str, Sequence[Example]]
) -> Iterator[tuple[tuple[str, Example], str | VisiglotError]]:
    """(language and example, its answer or why there is none) of each in `asked`.

    Every picture is embedded once for all languages. A picture or text without a vector is no candidate. Examples that
    ask with it have its error, and so have those of which it is all that could be right: they can't be answered.

    Args:
        candidates: by language, all examples of both tasks.
    """
    refs = {ref.name: ref for code in candidates for example in candidates[code] for ref in example.images}
    pictures = _embedded("pictures", list(refs), embedder.embed_images(list(refs.values())))
    for code, examples in candidates.items():
        said = {example.id: example.messages[0].text for example in examples if example.task == TO_IMAGE}
        texts = _embedded("texts", list(said), embedder.embed_texts(list(said.values())))
        shown = pictures.only({ref.name for example in examples for ref in example.images})
        own = [example for language, example in asked if language == code]
        for task, queries, found in ((TO_IMAGE, texts, shown), (TO_TEXT, shown, texts)):
            rows = [example for example in own if example.task == task]
            keys = [example.id if task == TO_IMAGE else example.images[0].name for example in rows]
            for row, answer in zip(rows, _ranked(keys, queries, found), strict=True):
                lost = found.why_lost(row.references)
                yield (code, row), answer if lost is None else lost


@dataclass(frozen=True)
class _Embedded:
    """Things by their names, their vectors [N, W], and why the others have none."""

    names: list[str]
    vectors: Vectors
    broken: Mapping[str, VisiglotError]

    def only(self, names: set[str]) -> _Embedded:
        """Those of these names, in the same order."""
        kept = [name for name in self.names if name in names]
        return _Embedded(kept, self.of(kept), self.broken)

    def why_lost(self, names: Sequence[str]) -> VisiglotError | None:
        """Why the first of `names` has no vector, where none of them has one; None where there is one."""
        found = [self.broken.get(name) for name in names]
        return found[0] if all(found) else None

    def of(self, names: Sequence[str]) -> Vectors:
        """[R, W]."""
        rows = {name: row for row, name in enumerate(self.names)}
        found: Vectors = self.vectors[[rows[name] for name in names]]
        return found


def _embedded(what: str, names: Sequence[str], found: Iterator[tuple[int, Vectors | VisiglotError]]) -> _Embedded:
    broken: dict[str, VisiglotError] = {}
    vectors: dict[int, Vectors] = {}
    progress = Progress(f"embedding {what}", what, len(names))
    for place, vector in found:
        progress.advance()
        if isinstance(vector, VisiglotError):
            broken[names[place]] = vector
        elif not np.isfinite(vector).all():
            broken[names[place]] = ModelError(f"{names[place]}: its vector isn't finite")
        else:
            vectors[place] = vector
    progress.done()
    places = sorted(vectors)
    stacked = np.stack([vectors[place] for place in places]) if places else np.zeros((0, 0), np.float32)
    return _Embedded([names[place] for place in places], stacked, broken)


def _ranked(keys: Sequence[str], queries: _Embedded, found: _Embedded) -> Iterator[str | VisiglotError]:
    """The answer to each query."""
    good = [key for key in dict.fromkeys(keys) if key not in queries.broken]
    answers: dict[str, str | VisiglotError] = dict(queries.broken)
    if found.names:
        best = best_of(queries.of(good), found.vectors, DEPTH)
        answers |= {key: "\n".join(found.names[place] for place in row) for key, row in zip(good, best, strict=True)}
    else:
        answers |= dict.fromkeys(good, EvaluationError("none of the candidates could be embedded"))
    for key in keys:
        yield answers[key]


def best_of(queries: Vectors, candidates: Vectors, depth: int) -> Iterator[list[int]]:
    """The places of the `depth` best candidates [N, W] of each query [Q, W], best first; of equals the first.

    Some queries at a time, so that memory grows with N and not with Q times N.
    """
    depth = min(depth, len(candidates))
    rows = max(1, BLOCK // len(candidates))
    for start in range(0, len(queries), rows):
        products = queries[start : start + rows] @ candidates.T
        edges = np.partition(products, -depth, axis=1)[:, -depth]
        for row, edge in zip(products, edges):
            places = np.flatnonzero(row >= edge)
            yield places[np.lexsort((places, -row[places]))][:depth].tolist()

"""How far two clouds of vectors are apart: the distance of their means, how well a line tells them apart, a drawing.

Shapes: n and m vectors of width D.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Cloud = NDArray[np.float64]
"""[n, D], a vector a row."""

FOLDS = 5
PENALTY = 1.0
"""Half of the squared norm of the probe's weights costs so much, beside the sum of the losses."""
ROUNDS = 50
TOLERANCE = 1e-8


def distance_of_means(one: Cloud, other: Cloud) -> float:
    """Between the means of the vectors brought to length 1, from 0 to 2.

    The modality gap of Liang et al., 2022 (arXiv 2203.02053): the difference of the centres of normalised embeddings.
    """
    return float(np.linalg.norm(_normalised(one).mean(0) - _normalised(other).mean(0)))


def length_ratio(one: Cloud, other: Cloud) -> float:
    """The mean length of one's vectors over that of the other's, which the distance of means doesn't see."""
    return float(np.linalg.norm(one, axis=1).mean() / np.linalg.norm(other, axis=1).mean())


def probe_auc(one: Cloud, other: Cloud, *, folds: int = FOLDS, seed: int = 0) -> float | None:
    """How well a linear probe tells the two apart: 0.5 when it can't, 1 when it always does.

    The mean over folds of the area under the ROC curve (the chance that a vector of `one` scores above one of `other`;
    Hanley and McNeil, 1982) of a logistic regression with an L2 penalty, which never saw the fold's vectors. The two
    count alike, however many there are of each. None where either has fewer vectors than folds.
    """
    if min(len(one), len(other)) < folds:
        return None
    random = np.random.default_rng(seed)
    places = [random.permutation(len(cloud)) % folds for cloud in (one, other)]
    areas = []
    for fold in range(folds):
        kept = [cloud[place != fold] for cloud, place in zip((one, other), places)]
        held = [cloud[place == fold] for cloud, place in zip((one, other), places)]
        score = _probe(*kept)
        areas.append(area(score(held[0]), score(held[1])))
    return float(np.mean(areas))


def area(above: NDArray[np.float64], below: NDArray[np.float64]) -> float:
    """The share of pairs in which the first is larger, ties counted half."""
    order = np.sort(below)
    less, upto = np.searchsorted(order, above, "left"), np.searchsorted(order, above, "right")
    return float((less + upto).mean() / 2 / len(below))


class _Probe:
    """Scores vectors, which are centred and scaled as those were that it learned from. One scale serves all axes, so
    that a gap along one of them isn't made small among many."""

    def __init__(self, mean: Cloud, scale: float, weights: Cloud, bias: float) -> None:
        self.mean, self.scale, self.weights, self.bias = mean, scale, weights, bias

    def __call__(self, cloud: Cloud) -> NDArray[np.float64]:
        scores: NDArray[np.float64] = (cloud - self.mean) / self.scale @ self.weights + self.bias
        return scores


def _probe(one: Cloud, other: Cloud) -> _Probe:
    """Logistic regression of one (1) against other (0) by Newton's method.

    With an L2 penalty the weights lie in the span of the vectors, so that it is solved there: as many unknowns as there
    are vectors, whatever D.
    """
    cloud = np.concatenate([one, other])
    label = np.concatenate([np.ones(len(one)), np.zeros(len(other))])
    share = np.concatenate([np.full(len(one), 0.5 / len(one)), np.full(len(other), 0.5 / len(other))]) * len(cloud)
    mean = cloud.mean(0)
    scale = float(np.sqrt(((cloud - mean) ** 2).mean())) or 1.0
    left, size, right = np.linalg.svd((cloud - mean) / scale, full_matrices=False)
    rank = int((size > size[:1].max(initial=0.0) * 1e-10).sum())
    inside = np.concatenate([left[:, :rank] * size[:rank], np.ones((len(cloud), 1))], axis=1)  # [n, rank + 1]
    penalty = np.diag(np.append(np.full(rank, PENALTY), 0.0))
    weights = np.zeros(rank + 1)
    for _ in range(ROUNDS):
        chance = 1 / (1 + np.exp(-np.clip(inside @ weights, -30, 30)))
        slope = inside.T @ (share * (chance - label)) + penalty @ weights
        curve = (inside * (share * chance * (1 - chance))[:, None]).T @ inside + penalty
        step = np.linalg.lstsq(curve, slope, rcond=None)[0]
        weights -= step
        if np.abs(step).max() < TOLERANCE:
            break
    return _Probe(mean, scale, right[:rank].T @ weights[:-1], float(weights[-1]))


def flattened(*clouds: Cloud) -> list[Cloud]:
    """The clouds on the plane on which their vectors, brought to length 1, differ most (PCA): [n, 2] of each."""
    joined = np.concatenate([_normalised(cloud) for cloud in clouds])
    centred = joined - joined.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axes = np.vstack([axes, np.zeros((2, joined.shape[1]))])[:2]
    signs = np.sign(axes[np.arange(2), np.abs(axes).argmax(1)])
    plane = centred @ (axes * np.where(signs == 0, 1.0, signs)[:, None]).T  # an axis has no direction of its own
    return np.split(plane, np.cumsum([len(cloud) for cloud in clouds])[:-1])


def _normalised(cloud: Cloud) -> Cloud:
    directions: Cloud = cloud / np.maximum(np.linalg.norm(cloud, axis=1, keepdims=True), 1e-12)
    return directions

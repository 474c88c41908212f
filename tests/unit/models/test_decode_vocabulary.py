"""Passes over a large vocabulary find what PyTorch finds."""

from __future__ import annotations

import pytest
import torch

from visiglot.models.decode.vocabulary import BLOCK, likeliest, norms_of, top

SIZES = (7, BLOCK, 2 * BLOCK, 2 * BLOCK + 1, 50 * BLOCK, 50 * BLOCK + 123)


def _scores(size: int, *, half: bool = False) -> torch.Tensor:
    scores = torch.randn(6, size, generator=torch.Generator().manual_seed(size)) * 3
    return scores.bfloat16().float() if half else scores


@pytest.mark.parametrize("size", SIZES)
def test_the_likeliest_is_the_first_of_the_largest(size: int) -> None:
    for scores in (_scores(size), _scores(size, half=True), torch.zeros(2, size)):
        assert torch.equal(likeliest(scores), scores.argmax(-1))
    scores = _scores(size)
    for place in {0, size // 2, size - 1}:
        scores[:, place] = 99.0
        assert set(likeliest(scores).tolist()) == {place}
        scores[:, place] = 0.0


@pytest.mark.parametrize("count", [1, 2, 10])
@pytest.mark.parametrize("size", SIZES[1:])
def test_the_top_are_the_largest_wherever_they_stand(size: int, count: int) -> None:
    for scores in (_scores(size), _scores(size, half=True)):
        scores[0, -count:] += 40  # all in the last block, or in the rest behind it
        scores[1, :count] += 40
        values, ids = top(scores, count)
        assert torch.equal(values, scores.topk(count).values)
        assert torch.equal(scores.gather(1, ids), values)
        assert all(len(set(row)) == count for row in ids.tolist())


@pytest.mark.parametrize("size", SIZES)
def test_norms_are_logsumexp(size: int) -> None:
    scores = _scores(size)
    scores[2] += 1e4
    scores[3, :5] = float("-inf")
    assert torch.allclose(norms_of(scores), scores.logsumexp(-1), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_the_norm_of_broken_scores_is_not_finite(bad: float) -> None:
    scores = _scores(3 * BLOCK)
    scores[1, 700] = bad
    scores[2] = float("-inf")
    assert norms_of(scores).isfinite().tolist() == [True, False, False, True, True, True]

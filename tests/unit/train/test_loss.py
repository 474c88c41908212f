"""The chunked loss is the plain one, in value and gradient, and never holds more logits than it may."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from visiglot.train.loss import chunked_cross_entropy

POSITIONS, WIDTH, VOCABULARY = 23, 16, 211


def parts() -> tuple[nn.Linear, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    head = nn.Linear(WIDTH, VOCABULARY)
    states = torch.randn(POSITIONS, WIDTH, requires_grad=True)
    labels = torch.randint(VOCABULARY, (POSITIONS,))
    weights = torch.rand(POSITIONS)  # of each position, so that no gradient can be right by chance
    return head, states, labels, weights


@pytest.mark.parametrize("chunk", [1, 7, 23, 100])
@pytest.mark.parametrize("head_trains", [True, False])
def test_value_and_gradients_equal_the_full_loss(chunk: int, head_trains: bool) -> None:
    head, states, labels, weights = parts()
    head.requires_grad_(head_trains)
    full = cross_entropy(head(states), labels, reduction="none")
    (full * weights).sum().backward()
    expected = [states.grad, head.weight.grad, head.bias.grad]
    states.grad = head.weight.grad = head.bias.grad = None

    chunked = chunked_cross_entropy(head, states, labels, chunk)
    (chunked * weights).sum().backward()

    torch.testing.assert_close(chunked, full, atol=1e-6, rtol=1e-6)
    for found, wanted in zip([states.grad, head.weight.grad, head.bias.grad], expected, strict=True):
        assert (found is None) == (wanted is None)
        if wanted is not None:
            torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("head_trains", [True, False])
def test_the_head_never_sees_more_positions_than_a_chunk(head_trains: bool) -> None:
    head, states, labels, _ = parts()
    head.requires_grad_(head_trains)
    seen = []

    def watched(piece: Tensor) -> Tensor:
        seen.append(len(piece))
        return head(piece)

    chunked_cross_entropy(watched, states, labels, 5).sum().backward()
    assert max(seen) == 5


def test_the_gradient_passes_through_a_frozen_head_into_what_made_the_states() -> None:
    head, states, labels, _ = parts()
    head.requires_grad_(False)
    chunked_cross_entropy(head, states * 2, labels, 4).sum().backward()
    assert states.grad is not None
    assert states.grad.abs().sum() > 0


def test_no_positions_cost_nothing() -> None:
    head, states, labels, _ = parts()
    assert chunked_cross_entropy(head, states[:0], labels[:0], 4).sum() == 0

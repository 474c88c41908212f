"""The chunked loss is the plain one, in value and gradient, and never holds more logits than it may."""

import pytest
import torch
from tests.tiny import build_tiny
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from visiglot.models.language_model import linear_head, logits_of
from visiglot.train import loss as module
from visiglot.train.loss import chunked_cross_entropy, linear_cross_entropy

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


@pytest.mark.parametrize("chunk", [1, 7, 100])
@pytest.mark.parametrize("block", [1, 50, 211, 1000])
@pytest.mark.parametrize("scale", [1, 300])
def test_blocks_of_words_give_the_full_loss_and_its_gradient(
    chunk: int, block: int, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    head, states, labels, weights = parts()
    head.requires_grad_(False)
    full = cross_entropy(head(states * scale), labels, reduction="none")
    (full * weights).sum().backward()
    wanted, states.grad = states.grad, None

    found = linear_cross_entropy(head, states * scale, labels, chunk)
    (found * weights).sum().backward()

    torch.testing.assert_close(found, full, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(states.grad, wanted, atol=1e-5, rtol=1e-5)


def test_in_bf16_blocks_are_as_near_to_the_exact_loss_as_all_logits_are() -> None:
    head, states, labels, weights = parts()
    head.requires_grad_(False)
    exact = cross_entropy(head(states), labels, reduction="none")
    (exact * weights).sum().backward()
    gradients = [states.grad]
    losses = []
    for of in (
        lambda: chunked_cross_entropy(head, states, labels, 100),
        lambda: linear_cross_entropy(head, states, labels, 7),
    ):
        states.grad = None
        with torch.autocast("cpu", torch.bfloat16):
            losses.append(of())
        (losses[-1] * weights).sum().backward()
        gradients.append(states.grad)
    off = [(loss - exact).abs().max().item() for loss in losses]
    off_gradient = [(gradient - gradients[0]).norm().item() for gradient in gradients[1:]]
    assert losses[1].dtype == torch.float32
    assert off[1] <= 1.1 * off[0] < 0.05
    assert off_gradient[1] <= 1.1 * off_gradient[0] < 0.05


def test_blocks_refuse_a_head_that_trains_and_take_no_gradient_where_none_is_wanted() -> None:
    head, states, labels, _ = parts()
    with pytest.raises(ValueError, match="a head that trains"):
        linear_cross_entropy(head, states, labels, 4)
    head.requires_grad_(False)
    with torch.no_grad():
        assert not linear_cross_entropy(head, states, labels, 4).requires_grad
    assert linear_cross_entropy(head, states[:0], labels[:0], 4).sum() == 0


@pytest.mark.parametrize("llm", ["t5", "mt5", "bloom", "llama", "qwen3", "gemma", "gemma2"])
def test_a_head_is_linear_only_where_the_logits_are(llm: str) -> None:
    model = build_tiny(llm=llm).model.language_model
    states = torch.randn(3, model.config.get_text_config().hidden_size)
    found = linear_head(model, states)
    assert (found is None) == (llm == "gemma2")  # which caps its logits
    if found is not None:
        head, read = found
        torch.testing.assert_close(head(read), logits_of(model, states))

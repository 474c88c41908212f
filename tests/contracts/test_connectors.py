"""Every row of the table of connectors keeps the same promises."""

from __future__ import annotations

import pytest
import torch
from tests.tiny import CONNECTOR

from visiglot.models.connectors import CONNECTORS, Connector
from visiglot.types import TextContext, VisionFeatures

VISION_WIDTH, TEXT_WIDTH, PREFIX, GRID = 12, 20, 1, (2, 3)
PATCHES = PREFIX + GRID[0] * GRID[1]


def build(name: str) -> Connector:
    torch.manual_seed(0)
    options = CONNECTOR[name].get("options", {})
    return CONNECTORS.get(name)(VISION_WIDTH, TEXT_WIDTH, **options).eval()


def features(count: int, seed: int = 0) -> VisionFeatures:
    generator = torch.Generator().manual_seed(seed)
    patches = torch.randn(count, PATCHES, VISION_WIDTH, generator=generator)
    return VisionFeatures(patches, patches[:, 0], GRID)


def context(slots: int, pictures: int) -> TextContext:
    index = torch.arange(slots) % pictures
    return TextContext(torch.randn(slots, 5, TEXT_WIDTH), torch.ones(slots, 5, dtype=torch.bool), index)


def test_the_tiny_models_cover_the_whole_table() -> None:
    assert sorted(CONNECTOR) == CONNECTORS.names()


@pytest.mark.parametrize("name", CONNECTORS.names())
def test_it_makes_as_many_tokens_as_it_says(name: str) -> None:
    connector = build(name)
    expected = connector.num_tokens(PATCHES, GRID)
    given = context(6, 3) if connector.needs_context else None
    tokens = connector(features(3), given)
    assert tokens.shape == (6 if connector.needs_context else 3, expected, TEXT_WIDTH)


@pytest.mark.parametrize("name", CONNECTORS.names())
def test_a_picture_is_connected_alone_as_in_a_batch(name: str) -> None:
    connector = build(name)
    many = features(3)
    given = context(3, 3) if connector.needs_context else None
    together = connector(many, given)
    for row in range(3):
        alone = many.select(torch.tensor([row]))
        own = (
            None
            if given is None
            else TextContext(given.embeddings[row : row + 1], given.mask[row : row + 1], torch.tensor([0]))
        )
        torch.testing.assert_close(connector(alone, own)[0], together[row], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", CONNECTORS.names())
def test_two_pictures_give_two_sets_of_tokens(name: str) -> None:
    connector = build(name)
    given = context(2, 2) if connector.needs_context else None
    first, second = connector(features(2), given)
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("name", CONNECTORS.names())
def test_gradient_reaches_every_weight_that_forward_uses(name: str) -> None:
    connector = build(name)
    given = context(2, 2) if connector.needs_context else None
    connector(features(2), given).square().sum().backward()
    idle = [key for key, weight in connector.named_parameters() if weight.grad is None]
    # transformers' Q-Former holds text weights that queries don't pass through
    assert all(".intermediate." in key or ".output." in key for key in idle if key.startswith("qformer")), idle
    assert not [key for key in idle if not key.startswith("qformer")]


@pytest.mark.parametrize("name", [name for name in CONNECTORS.names() if CONNECTORS.get(name).can_bypass])
def test_what_can_be_bypassed_leaves_a_connector_that_needs_no_prompt(name: str) -> None:
    options = CONNECTOR[name].get("options", {})
    connector = CONNECTORS.get(name)(VISION_WIDTH, TEXT_WIDTH, **options, bypassed=True).eval()
    inside = dict(connector.named_children())
    assert set(connector.can_bypass) <= set(inside)
    assert not connector.needs_context
    assert connector.routing(features(2), context(2, 2)) is None
    bare = connector(features(2))
    assert bare.shape == (2, connector.num_tokens(PATCHES, GRID), TEXT_WIDTH)
    connector.bypass(False)
    assert connector.needs_context
    assert not torch.allclose(connector(features(2), context(2, 2)), bare)

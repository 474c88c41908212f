"""Every row of the table of connectors keeps the same promises."""

from __future__ import annotations

import pytest
import torch
from tests.drawn import draw
from tests.tiny import CONNECTOR, build_tiny
from torch import Tensor

from visiglot.data.collate import collate
from visiglot.errors import ModelError
from visiglot.models.connectors import CONNECTORS, Connector, count_tokens
from visiglot.models.vlm import VisionLanguageModel
from visiglot.render import render
from visiglot.train.pictures import Pictures
from visiglot.types import Example, ImageRef, ImageSlot, Message, TextContext, VisionFeatures, views_of

VISION_WIDTH, TEXT_WIDTH, PREFIX, GRID = 12, 20, 1, (2, 4)
PATCHES = PREFIX + GRID[0] * GRID[1]


def build(name: str) -> Connector:
    torch.manual_seed(0)
    options = CONNECTOR[name].get("options", {})
    return CONNECTORS.get(name)(VISION_WIDTH, TEXT_WIDTH, **options).eval()


def features(count: int, seed: int = 0, tiles: int = 1) -> VisionFeatures:
    generator = torch.Generator().manual_seed(seed)
    patches = torch.randn(count, views_of(tiles) * PATCHES, VISION_WIDTH, generator=generator)
    return VisionFeatures(patches, patches[:, 0], GRID, tiles)


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


@pytest.mark.parametrize("tiles", [2, 3])
@pytest.mark.parametrize("name", [name for name in CONNECTORS.names() if CONNECTORS.get(name).reads_tiles])
def test_pictures_in_tiles_make_as_many_tokens_as_it_says_and_every_patch_counts(name: str, tiles: int) -> None:
    connector = build(name)
    seen = features(2, tiles=tiles)
    seen.patches.requires_grad_()
    tokens = connector(seen)
    assert tokens.shape == (2, count_tokens(connector, seen), TEXT_WIDTH)
    tokens.square().sum().backward()
    assert seen.patches.grad is not None
    moved = seen.patches.grad.abs().sum(-1).view(2, seen.views, PATCHES)
    assert bool((moved[:, :, PREFIX:] > 0).all())
    assert not moved[:, :, :PREFIX].any()


@pytest.mark.parametrize("name", [name for name in CONNECTORS.names() if not CONNECTORS.get(name).reads_tiles])
def test_pictures_in_tiles_are_refused_by_who_does_not_read_them(name: str) -> None:
    with pytest.raises(ModelError, match=r"tiles: is 2.*\n.*multiscale-pool"):
        count_tokens(build(name), features(1, tiles=2))


@pytest.mark.parametrize("llm", ["t5", "llama"])
@pytest.mark.parametrize("name", CONNECTORS.names())
def test_a_picture_that_no_row_shows_changes_nothing_and_reaches_every_parameter(name: str, llm: str) -> None:
    # what a process does whose rows show no picture while another's do, where the model is cut up over both
    built = build_tiny(llm=llm, connector=name)
    model, spec = built.model, built.processor.spec()
    for part in (model.vision, model.connector):
        part.requires_grad_(True)
    text = Example("text", (Message("user", ("Say red: ",)), Message("assistant", ("red",))), "eng_Latn")
    shown = Example(
        "shown", (Message("user", (ImageSlot(0), "Caption: ")), Message("assistant", ("red",))), "eng_Latn",
        (ImageRef("red", data=draw("red", "bar")),),
    )  # fmt: skip
    pixels = Pictures(built.processor).plain
    plain = collate([render(text, spec)], spec, pixels=pixels)
    beside = collate([render(text, spec)], spec, pixels=pixels, unseen=shown.images[0])
    assert beside.pixel_values is not None
    assert not len(beside.slot_image)
    states = model.target_states(beside).states
    torch.testing.assert_close(states, model.target_states(plain).states, atol=0, rtol=0)

    used = gradients(model, model.target_states(collate([render(shown, spec)], spec, pixels=pixels)).states.sum())
    unseen = gradients(model, states.sum())
    assert unseen.keys() >= used.keys()
    assert used
    assert not any(gradient.any() for gradient in unseen.values())


def gradients(model: VisionLanguageModel, total: Tensor) -> dict[str, Tensor]:
    """Of the encoder's and the connector's parameters, those that get any."""
    model.zero_grad()
    total.backward()
    parts = [*model.vision.named_parameters("vision"), *model.connector.named_parameters("connector")]
    return {name: parameter.grad for name, parameter in parts if parameter.grad is not None}

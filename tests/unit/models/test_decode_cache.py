"""Keys and values of rows that start at different times."""

from __future__ import annotations

import torch

from visiglot.models.decode.cache import ROOM, RowsLayer, align, join, select, spread, trim


def _states(rows: int, length: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, 2, length, 3, generator=torch.Generator().manual_seed(seed))


def _layer(keys: torch.Tensor) -> RowsLayer:
    layer = RowsLayer()
    layer.update(keys, -keys)
    return layer


def test_steps_append_and_most_of_them_copy_nothing() -> None:
    past = _states(2, 4)
    layer = _layer(past)
    addresses = []
    for step in range(ROOM + 2):
        new = _states(2, 1, seed=step + 1)
        keys, values = layer.update(new, -new)
        past = torch.cat([past, new], dim=2)
        assert torch.equal(keys, past)
        assert torch.equal(values, -past)
        assert layer.get_seq_length() == past.shape[2]
        addresses.append(keys.data_ptr())
    assert len(set(addresses)) == 2


def test_the_shorter_rows_are_padded_on_the_left() -> None:
    long, short = _states(1, 5), _states(2, 3, seed=1)
    for first, second in ((long, short), (short, long)):
        layer = _layer(first)
        join([layer], [_layer(second)], side="left")
        parts = layer.keys.split([len(first), len(second)])
        assert layer.keys.shape == (3, 2, 5, 3)
        for part, whole in zip(parts, (first, second)):
            assert torch.equal(part[:, :, 5 - whole.shape[2] :], whole)
            assert not part[:, :, : 5 - whole.shape[2]].any()


def test_selected_rows_go_on_alone() -> None:
    keys = _states(3, 4)
    layer = _layer(keys)
    layer.update(_states(3, 1, seed=1), _states(3, 1, seed=2))
    before = layer.keys.clone()
    select([layer], torch.tensor([2, 0, 2]))
    assert torch.equal(layer.keys, before[[2, 0, 2]])
    new = _states(3, 1, seed=3)
    layer.update(new, new)
    assert torch.equal(layer.keys, torch.cat([before[[2, 0, 2]], new], dim=2))


def test_trimming_forgets_the_padding_of_its_side() -> None:
    keys = _states(2, 5)
    left, right = _layer(keys), _layer(keys)
    trim([left], 3, side="left")
    trim([right], 3, side="right")
    assert torch.equal(left.keys, keys[:, :, 2:])
    assert torch.equal(right.values, -keys[:, :, :3])


def test_beams_that_swap_are_copied_in_place() -> None:
    keys = _states(4, 4)
    layer = _layer(keys)
    layer.update(_states(4, 1, seed=1), _states(4, 1, seed=2))
    before, where = layer.keys.clone(), layer.keys.data_ptr()
    select([layer], torch.tensor([1, 1, 0, 3]))
    assert torch.equal(layer.keys, before[[1, 1, 0, 3]])
    assert layer.keys.data_ptr() == where
    new = _states(4, 1, seed=3)
    layer.update(new, new)
    assert layer.keys.data_ptr() == where
    assert torch.equal(layer.keys, torch.cat([before[[1, 1, 0, 3]], new], dim=2))


def test_aligned_rows_end_together() -> None:
    keys = _states(3, 6)
    layer = _layer(keys)
    align([layer], torch.tensor([2, 5, 4]))
    assert layer.keys.shape == (3, 2, 5, 3)
    for row, end in enumerate((2, 5, 4)):
        assert torch.equal(layer.keys[row, :, 5 - end :], keys[row, :, :end])
        assert torch.equal(layer.values[row, :, 5 - end :], -keys[row, :, :end])


def test_spread_prompts_are_put_back() -> None:
    keys = _states(2, 3)
    layer = _layer(keys)
    with spread([layer], torch.tensor([0, 1, 1])):
        assert torch.equal(layer.keys, keys[[0, 1, 1]])
    assert torch.equal(layer.keys, keys)
    assert torch.equal(layer.values, -keys)

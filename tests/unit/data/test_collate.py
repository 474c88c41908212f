"""Padding on both sides, and each picture once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from visiglot.data.collate import collate
from visiglot.errors import ImageError
from visiglot.render import load_template
from visiglot.types import IGNORE, ImageRef, PromptSpec, Sample, VisionFeatures

CAUSAL = PromptSpec(
    layout="causal",
    encode=lambda text: [],
    image_token="<image>",
    image_token_id=0,
    tokens_per_image=1,
    template=load_template("plain"),
    pad_id=7,
)
SEQ2SEQ = dataclasses.replace(CAUSAL, layout="seq2seq")

DOG, CAT = b"dog", b"cat"


def sample(ids: Sequence[int], labels: Sequence[int], *pictures: bytes, name: str = "s") -> Sample:
    images = tuple(ImageRef(f"{name}{i}", data=data) for i, data in enumerate(pictures))
    return Sample(name, tuple(ids), tuple(labels), images, "deu_Latn", "caption")


def pixels_of(refs: Sequence[ImageRef]) -> Tensor:
    return torch.stack([torch.full((3, 2, 2), float(ref.read()[0])) for ref in refs])


def features_of(refs: Sequence[ImageRef]) -> VisionFeatures:
    return VisionFeatures(pixels_of(refs).flatten(2), pixels_of(refs).flatten(1))


SHORT = sample([4, 5], [IGNORE, 5], name="short")
LONG = sample([1, 2, 3, 4], [IGNORE, IGNORE, 3, 4], name="long")


def test_right_padding() -> None:
    batch = collate([SHORT, LONG], CAUSAL)
    assert batch.input_ids.tolist() == [[4, 5, 7, 7], [1, 2, 3, 4]]
    assert batch.attention_mask.tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert batch.labels.tolist() == [[IGNORE, 5, IGNORE, IGNORE], [IGNORE, IGNORE, 3, 4]]
    assert batch.ids == ("short", "long")
    assert batch.languages == ("deu_Latn", "deu_Latn")
    assert batch.tasks == ("caption", "caption")


def test_left_padding_moves_causal_labels_with_their_ids() -> None:
    batch = collate([SHORT, LONG], CAUSAL, padding_side="left")
    assert batch.input_ids.tolist() == [[7, 7, 4, 5], [1, 2, 3, 4]]
    assert batch.attention_mask.tolist() == [[0, 0, 1, 1], [1, 1, 1, 1]]
    assert batch.labels.tolist() == [[IGNORE, IGNORE, IGNORE, 5], [IGNORE, IGNORE, 3, 4]]


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_prompt_mask_leaves_out_pictures_answers_and_padding(side: str) -> None:
    picture = dataclasses.replace(sample([0, 5, 6, 8], [IGNORE, IGNORE, 6, IGNORE], DOG), first_answer=2)
    batch = collate([picture, sample([3], ())], CAUSAL, padding_side=side, pixels=pixels_of)  # type: ignore[arg-type]
    assert batch.prompt_mask is not None
    only = [False, False, False, True] if side == "left" else [True, False, False, False]
    assert batch.prompt_mask.tolist() == [[False, True, False, False], only]


@pytest.mark.parametrize("side", ["left", "right"])
def test_seq2seq_labels_are_always_padded_on_the_right(side: str) -> None:
    rows = [sample([1], [5, 6, 7]), sample([1, 2], [8])]
    batch = collate(rows, SEQ2SEQ, padding_side=side)  # type: ignore[arg-type]
    assert batch.labels.tolist() == [[5, 6, 7], [8, IGNORE, IGNORE]]
    assert batch.input_ids.tolist() == ([[7, 1], [1, 2]] if side == "left" else [[1, 7], [1, 2]])


def test_a_pad_id_that_is_also_a_word_stays_attended_to() -> None:
    batch = collate([sample([7, 4], [IGNORE, 4]), LONG], CAUSAL, padding_side="left")
    assert batch.attention_mask.tolist()[0] == [0, 0, 1, 1]


def test_rows_for_completion_have_no_labels() -> None:
    rows = [sample([1, 2], ()), sample([3], ())]
    assert collate(rows, CAUSAL).labels.tolist() == [[IGNORE, IGNORE], [IGNORE, IGNORE]]
    assert collate(rows, SEQ2SEQ).labels.shape == (2, 0)


def test_a_picture_of_many_rows_is_looked_up_once() -> None:
    rows = [
        sample([0, 0], [1, 1], DOG, CAT, name="a"),
        sample([1], [1], name="text"),
        sample([0, 0, 0], [1, 1, 1], CAT, DOG, CAT, name="b"),
    ]
    asked: list[list[str]] = []

    def pixels(refs: Sequence[ImageRef]) -> Tensor:
        asked.append([ref.name for ref in refs])
        return pixels_of(refs)

    batch = collate(rows, CAUSAL, pixels=pixels)
    assert asked == [["a0", "a1"]]
    assert batch.slot_image.tolist() == [0, 1, 1, 0, 1]
    assert batch.slot_row.tolist() == [0, 0, 2, 2, 2]
    assert batch.pixel_values is not None
    assert batch.pixel_values[:, 0, 0, 0].tolist() == [DOG[0], CAT[0]]
    assert batch.features is None


def test_cached_features_stand_in_for_pixels() -> None:
    batch = collate([sample([0], [1], CAT)], CAUSAL, features=features_of)
    assert batch.pixel_values is None
    assert batch.features is not None
    assert batch.features.patches.shape == (1, 3, 4)


def test_text_alone_asks_for_no_picture() -> None:
    def never(refs: Sequence[ImageRef]) -> Tensor:
        raise AssertionError("no picture stands in these rows")

    batch = collate([SHORT, LONG], CAUSAL, pixels=never)
    assert batch.pixel_values is None
    assert batch.slot_image.shape == batch.slot_row.shape == (0,)


def test_a_missing_picture_is_named_with_its_example(tmp_path: object) -> None:
    from pathlib import Path

    row = dataclasses.replace(SHORT, images=(ImageRef("gone.png", path=Path(str(tmp_path)) / "gone.png"),))
    with pytest.raises(ImageError, match=r"example short: picture gone\.png can't be read: No such file"):
        collate([row], CAUSAL, pixels=pixels_of)

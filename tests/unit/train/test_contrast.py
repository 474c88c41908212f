"""The arithmetic of the objectives that compare pictures with texts."""

import math

import torch
from torch.nn.functional import cross_entropy

from visiglot.train.objectives.answers import read_answers
from visiglot.train.objectives.contrastive import info_nce, pair_table
from visiglot.train.objectives.matching import draw_negatives
from visiglot.types import IGNORE, Batch, PromptSpec, Template


def test_three_by_three_equals_the_sum_done_by_hand() -> None:
    logits = torch.tensor([[2.0, 0.0, 1.0], [0.0, 3.0, 0.0], [1.0, 1.0, 1.0]])
    rows = torch.arange(3)
    found = info_nce(logits, pair_table(rows, rows, 3, 3), rows, rows)
    e = math.exp
    pictures = [
        -math.log(e(2) / (e(2) + e(0) + e(1))),
        -math.log(e(3) / (e(0) + e(3) + e(0))),
        -math.log(e(1) / (3 * e(1))),
    ]
    texts = [
        -math.log(e(2) / (e(2) + e(0) + e(1))),
        -math.log(e(3) / (e(0) + e(3) + e(1))),
        -math.log(e(1) / (e(1) + e(0) + e(1))),
    ]
    expected = torch.tensor([(p + t) / 2 for p, t in zip(pictures, texts, strict=True)])
    torch.testing.assert_close(found, expected)


def test_a_text_of_two_pictures_asks_for_both_alike() -> None:
    # rows: (picture 0, text 0), (picture 1, text 0)
    pictures, texts = torch.tensor([0, 1]), torch.tensor([0, 0])
    pairs = pair_table(pictures, texts, 2, 1)
    assert pairs.all()
    found = info_nce(torch.zeros(2, 1), pairs, pictures, texts)
    # each picture has one text, so nothing to choose; the text splits between two pictures: entropy ln 2
    torch.testing.assert_close(found, torch.full((2,), math.log(2) / 2))


def test_smoothing_spreads_its_share_over_the_whole_batch() -> None:
    logits = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    rows = torch.arange(4)
    found = info_nce(logits, pair_table(rows, rows, 4, 4), rows, rows, smoothing=0.2)
    wanted = [
        (cross_entropy(logits, rows, reduction="none", label_smoothing=0.2)),
        (cross_entropy(logits.T, rows, reduction="none", label_smoothing=0.2)),
    ]
    torch.testing.assert_close(found, sum(wanted) / 2)


def test_negatives_are_never_right() -> None:
    torch.manual_seed(0)
    wrong = torch.tensor([[False, True, True], [True, False, False]])
    for _ in range(50):
        index, found = draw_negatives(torch.randn(2, 3) * 5, wrong)
        assert wrong[torch.arange(2), index].all()
        assert found.all()


def test_negatives_that_look_right_are_drawn_more_often() -> None:
    torch.manual_seed(0)
    likeness = torch.tensor([[9.0, 3.0, 0.0]])
    wrong = torch.tensor([[False, True, True]])
    draws = torch.cat([draw_negatives(likeness, wrong)[0] for _ in range(200)])
    assert (draws == 1).float().mean() > 0.85


def test_a_row_without_a_negative_says_so() -> None:
    index, found = draw_negatives(torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.bool))
    assert found.tolist() == [0.0]
    assert 0 <= int(index) < 2


def test_answers_are_read_once_without_padding_and_end() -> None:
    spec = PromptSpec(
        layout="seq2seq",
        encode=lambda text: [],
        image_token="<image>",
        image_token_id=99,
        tokens_per_image=1,
        template=Template("plain", {}, {}),
        pad_id=0,
        suffix_ids=(1,),
        end_ids=(1,),
    )
    labels = torch.tensor([[5, 6, 1, IGNORE], [7, 1, IGNORE, IGNORE], [5, 6, 1, IGNORE]])
    nothing = torch.zeros(0, dtype=torch.long)
    batch = Batch(labels, labels, labels, nothing, nothing, ("a", "b", "c"), ("",) * 3, ("",) * 3)
    answers = read_answers(batch, spec)
    assert answers.ids.tolist() == [[5, 6, 1], [7, 1, 0]]
    assert answers.mask.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert answers.of_row.tolist() == [0, 1, 0]

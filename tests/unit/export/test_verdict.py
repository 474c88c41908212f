from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.unit.export.conftest import Make

from visiglot.errors import CheckpointError
from visiglot.export.probe import Case, Probe
from visiglot.export.targets import TARGETS
from visiglot.export.verdict import APART_BF16, compare, tolerance
from visiglot.images import load_image
from visiglot.types import ImageRef, Sample

LOGITS = torch.tensor([[9.0, 8.9, 0.0], [0.0, 4.0, 1.0]])
SAMPLE = Sample("x", (5, 6), (), (), "eng_Latn")


def probe() -> Probe:
    first = Case("a.png", "placeholder", ("", ""), "text", SAMPLE, (0, 1), LOGITS)
    second = replace(first, picture="b.png", logits=LOGITS + torch.tensor([0.5, 0.0, 0.0]))
    return Probe((first, second), {"a.png": torch.zeros(3, 2, 2), "b.png": torch.ones(3, 2, 2)})


def answers(**changes: torch.Tensor) -> dict[str, torch.Tensor]:
    found = {}
    for number, case in enumerate(probe().cases):
        found[f"ids.{number}"] = torch.tensor(case.sample.ids)
        found[f"pixels.{number}"] = probe().pixels[case.picture]
        found[f"logits.{number}"] = case.logits
        found[f"greedy.{number}"] = torch.tensor(case.answer)
    return found | {name.replace("_", "."): value for name, value in changes.items()}


def test_what_is_the_same_passes_with_its_numbers() -> None:
    verdict = compare(probe(), answers(), TARGETS.get("blip2"), dtype="fp32")
    assert (verdict.apart, verdict.moved, verdict.tokens, verdict.cases, verdict.pictures) == (0.0, 0.5, 4, 2, 2)
    assert "the same 4 greedy tokens to 2 questions about 2 pictures" in str(verdict)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"logits_0": LOGITS + 6e-4}, r"logits differ by 0.0006, 0.0005 are allowed in fp32"),
        ({"logits_0": LOGITS[:1]}, r"logits are \[1, 3\], the model's \[2, 3\]"),
        ({"logits_0": LOGITS * torch.nan}, "logits differ by inf"),
        ({"greedy_0": torch.tensor([1, 1])}, "greedy token 0 is 1, the model's 0, whose logit is 0.1 larger"),
        ({"greedy_0": torch.tensor([0])}, "its greedy answer has 1 tokens, the model's 2"),
        ({"ids_0": torch.tensor([5, 7])}, "its processor makes other tokens"),
        ({"pixels_0": torch.full((3, 2, 2), 0.25)}, "pixel values differ by 0.25"),
    ],
)
def test_what_differs_is_said_with_its_number(changes: dict[str, torch.Tensor], said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        compare(probe(), answers(**changes), TARGETS.get("blip2"), dtype="fp32")


def test_in_bf16_answers_may_go_apart_where_two_logits_are_as_good_as_one() -> None:
    assert tolerance(LOGITS, "bf16") == pytest.approx(9 * APART_BF16)
    said = answers(greedy_0=torch.tensor([1, 2]), logits_0=LOGITS + 0.01)
    assert compare(probe(), said, TARGETS.get("blip2"), dtype="bf16").tokens == 2
    with pytest.raises(CheckpointError, match="greedy token 1 is 2"):
        compare(probe(), answers(greedy_0=torch.tensor([0, 2])), TARGETS.get("blip2"), dtype="bf16")


def test_pictures_that_move_nothing_are_not_seen() -> None:
    same = {"logits_1": LOGITS}
    still = replace(probe(), cases=tuple(replace(case, logits=LOGITS) for case in probe().cases))
    with pytest.raises(CheckpointError, match="another one moves its logits by 0"):
        compare(still, answers(**same), TARGETS.get("blip2"), dtype="fp32")


def test_the_composed_picture_is_wide_and_each_column_differs_from_the_next(tmp_path: Path) -> None:
    from visiglot.export.probe import wide_picture

    picture = np.asarray(load_image(ImageRef("wide", path=wide_picture(tmp_path))))
    height, width, _ = picture.shape
    assert width == 3 * height
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 10_000
    assert not np.array_equal(picture[:, : width // 3], picture[:, width // 3 : 2 * (width // 3)])


def test_the_two_first_questions_differ_in_the_picture_alone(make: Make) -> None:
    from visiglot.export.probe import build_probe, example_pictures

    built = make("resnet", "t5", "linear")
    target = TARGETS.get("visiglot")
    asked = build_probe(built.model, built.processor, target, built.processor, example_pictures())
    first, second, *rest = asked.cases
    assert first.text == second.text
    assert first.picture != second.picture
    assert {case.text for case in rest} == {"Caption in German:<image>", "English:<image>", "Deutsch:<image>"}

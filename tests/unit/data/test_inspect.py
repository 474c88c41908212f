"""Looking into a source: which examples, how often each picture is decoded, and what is remembered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.drawn import draw

from visiglot.data import inspect as room
from visiglot.data import looking
from visiglot.data.inspect import inspect, problem_of, spread
from visiglot.data.looking import Looker
from visiglot.errors import DataError
from visiglot.images import load_image
from visiglot.types import Example, ImageRef, ImageSlot, Message

RED, BLUE = draw("red", "circle"), draw("blue", "square")


class Listed:
    """Examples from memory; None can't be read."""

    name = "listed"

    def __init__(self, *examples: Example | None) -> None:
        self.examples = examples
        codes = sorted({one.language for one in examples if one is not None})
        self.by_language = {
            code: np.array([n for n, one in enumerate(examples) if one is None or one.language == code], np.int32)
            for code in codes
        }

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Example:
        example = self.examples[index]
        if example is None:
            raise DataError(f"listed, row {index}: is no row")
        return example


def shown(name: str, *images: ImageRef, answer: str = "yes", language: str = "eng_Latn") -> Example:
    slots = tuple(ImageSlot(n) for n in range(len(images)))
    return Example(name, (Message("user", (*slots, "?")), Message("assistant", (answer,))), language, images)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the pictures that were decoded."""
    names: list[str] = []

    def spy(ref: ImageRef) -> object:
        names.append(ref.name)
        return load_image(ref)

    monkeypatch.setattr(looking, "load_image", spy)
    return names


def test_a_sample_is_spread_over_languages_and_in_order() -> None:
    source = Listed(*[shown(str(n), language="deu_Latn" if n % 4 == 3 else "eng_Latn") for n in range(80)])
    assert spread(source, None).tolist() == list(range(80))
    chosen = spread(source, 8)
    assert len(chosen) == 8
    assert sorted(chosen.tolist()) == chosen.tolist()
    assert sum(number % 4 == 3 for number in chosen.tolist()) == 2
    for limit in (1, 7, 79, 80, 500):
        assert len(set(spread(source, limit).tolist())) == min(limit, 80)
    assert len(spread(Listed(), 5)) == 0


def test_a_picture_is_decoded_once_however_often_it_is_shown(tmp_path: Path, decoded: list[str]) -> None:
    (tmp_path / "a.png").write_bytes(RED)
    by_path = ImageRef("a.png", path=tmp_path / "a.png")
    source = Listed(*[shown(str(n), by_path, ImageRef("b", data=BLUE), answer=str(n)) for n in range(300)])
    found = inspect(source, spread(source, None))
    assert sorted(decoded) == ["a.png", "b"]
    assert (found.pictures, found.files) == (600, 2)


def test_what_is_forgotten_is_decoded_again_and_still_counted_once(
    monkeypatch: pytest.MonkeyPatch, decoded: list[str]
) -> None:
    monkeypatch.setattr(looking, "KEPT", 1)
    monkeypatch.setattr(room, "CHUNK", 1)
    refs = (ImageRef("red", data=RED), ImageRef("blue", data=BLUE))
    source = Listed(*[shown(str(n), refs[n % 2], answer=str(n)) for n in range(6)])
    found = inspect(source, spread(source, None))
    assert len(decoded) == 6
    assert (found.pictures, found.files, found.same_bytes.count) == (6, 2, 0)


def test_a_bad_picture_is_counted_once_and_each_of_its_examples(tmp_path: Path) -> None:
    gone = ImageRef("gone.png", path=tmp_path / "gone.png")
    source = Listed(shown("a", gone), shown("b", gone, answer="no"), shown("c", ImageRef("red", data=RED)))
    found = inspect(source, spread(source, None))
    assert {reason: (some.count, some.first) for reason, some in found.bad_pictures.items()} == {
        "missing": (1, ("gone.png",))
    }
    assert found.unusable.count == 2
    assert found.unusable_numbers == (0, 1)
    assert found.hints == ("Check the path and the folder it starts from.",)


def test_missing_pictures_are_not_the_same_bytes(tmp_path: Path) -> None:
    source = Listed(*[shown("same", ImageRef(str(n), path=tmp_path / f"{n}.png")) for n in range(3)])
    found = inspect(source, spread(source, None))
    assert found.same_bytes.count == 0
    assert found.same_example.count == 0, "other pictures, as far as anyone knows"
    assert found.same_id.count == 2


def test_a_row_that_cannot_be_read_is_counted_or_ends_it() -> None:
    source = Listed(shown("a"), None, shown("b", answer="no"))
    found = inspect(source, [0, 1, 2])
    assert (found.looked_at, found.unusable.count) == (3, 1)
    assert found.unusable.first == ("listed, row 1: is no row",)
    assert found.unusable_numbers == ()
    assert found.same_id.count == 0
    with pytest.raises(DataError, match="row 1"):
        inspect(source, [0, 1, 2], stop=True)


def test_of_many_troubles_the_first_are_named() -> None:
    source = Listed(*[shown(str(n), answer=" ") for n in range(500)])
    found = inspect(source, spread(source, None))
    assert (found.unusable.count, found.empty_answers.count, found.same_example.count) == (500, 500, 499)
    assert found.empty_answers.first == tuple(str(n) for n in range(room.NAMED))
    assert len(found.unusable.first) == len(found.same_example.first) == room.NAMED


def test_a_look_keeps_no_picture_by_its_error() -> None:
    with Looker() as looker:
        (look,) = looker.look([ImageRef("cut", data=RED[:60])])
    assert look.error is not None
    assert look.error.reason == "broken"
    assert look.error.__traceback__ is None
    assert look.error.__context__ is None


@pytest.mark.parametrize(
    ("example", "problem"),
    [
        (Example("e", (), "eng_Latn"), "no messages"),
        (Example("e", (Message("user", ("?",)),), "eng_Latn"), "neither an answer nor references"),
        (Example("e", (Message("user", ("?",)),), "eng_Latn", references=("yes",)), None),
        (shown("e", answer="\n"), "its answer is empty"),
        (shown("e", ImageRef("a", data=RED)), None),
        (
            Example("e", (Message("user", (ImageSlot(1),)),), "eng_Latn", (ImageRef("a", data=RED),) * 2, ("yes",)),
            "it has 2 pictures, of which its text shows number 2",
        ),
    ],
)
def test_what_cannot_be_trained_on_is_said(example: Example, problem: str | None) -> None:
    found = problem_of(example)
    assert (found is None) == (problem is None)
    assert problem is None or problem in str(found)

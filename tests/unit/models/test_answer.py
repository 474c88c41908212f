"""Requests to answers: what is encoded when, what is kept, and what a failure costs."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.drawn import draw
from tests.tiny import build_tiny

from visiglot.errors import DataError, ImageError, ModelError, TooLongError, VisiglotError
from visiglot.models import answer as module
from visiglot.models import decode
from visiglot.models.answer import Answering, FeatureStore, Request, row_seed
from visiglot.models.build import Built
from visiglot.models.decode import Answer, Decoding
from visiglot.prompts import with_images
from visiglot.types import Example, ImageRef, Message, VisionFeatures

COLOURS = ("red", "green", "blue", "yellow")
PICTURES = {colour: ImageRef(colour, data=draw(colour, "circle")) for colour in COLOURS}
SHORT = Decoding(max_new_tokens=3)


@pytest.fixture(scope="module")
def built() -> Built:
    return build_tiny()


def request(key: str, *refs: ImageRef, words: str = "Caption: ", decoding: Decoding = SHORT) -> Request:
    return Request(key, Example(key, (Message("user", with_images(words, len(refs))),), "eng_Latn", refs), decoding)


def ask(answering: Answering, *requests: Request) -> dict[str, Answer | VisiglotError]:
    return dict(answering.answer(requests))


def scores(found: dict[str, Answer | VisiglotError]) -> dict[str, float]:
    return {key: one.score for key, one in found.items() if isinstance(one, Answer)}


@pytest.fixture
def passes(built: Built, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures each pass of the encoder saw."""
    seen: list[int] = []
    encode = type(built.model).encode_images

    def counted(self: Any, pixel_values: torch.Tensor) -> VisionFeatures:
        seen.append(len(pixel_values))
        features: VisionFeatures = encode(self, pixel_values)
        return features

    monkeypatch.setattr(type(built.model), "encode_images", counted)
    return seen


def test_a_picture_is_encoded_once_although_its_requests_come_apart(
    built: Built, passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROWS_PER_WINDOW", 2)
    answering = Answering(built.model, built.processor)
    order = ("red", "green", "blue", "red", "blue", "green", "red")
    found = ask(answering, *(request(f"{i}", PICTURES[colour]) for i, colour in enumerate(order)))
    assert len(found) == len(order)
    assert sum(passes) == 3
    ask(answering, request("again", PICTURES["green"]))
    assert sum(passes) == 3


def test_pictures_are_encoded_together(built: Built, passes: list[int]) -> None:
    ask(Answering(built.model, built.processor), *(request(colour, PICTURES[colour]) for colour in COLOURS))
    assert passes == [4]


def test_a_picture_whose_features_are_forgotten_is_encoded_again(built: Built, passes: list[int]) -> None:
    answering = Answering(built.model, built.processor, feature_bytes=1)
    first = ask(answering, request("one", PICTURES["red"]))
    assert ask(answering, request("one", PICTURES["red"])) == first
    assert passes == [1, 1]


def test_the_longest_unused_features_go_first() -> None:
    one = VisionFeatures(torch.zeros(1, 2, 4), torch.zeros(1, 4))
    store = FeatureStore(2 * 12 * 4)
    for key in "ab":
        store.put(key, one)
    assert store.get("a") is one
    store.put("c", one)
    assert [key in store for key in "abc"] == [True, False, True]
    assert store.get("b") is None


def test_kept_features_hold_on_to_no_other_picture_s(built: Built) -> None:
    answering = Answering(built.model, built.processor)
    ask(answering, *(request(colour, PICTURES[colour]) for colour in COLOURS))
    features = answering._features.get(PICTURES["red"].key)
    assert features is not None
    assert features.patches.untyped_storage().nbytes() == features.patches.nbytes


def test_a_file_that_has_changed_is_looked_at_again(built: Built, tmp_path: Path) -> None:
    answering = Answering(built.model, built.processor)
    path = tmp_path / "frame.png"
    found = []
    for moment, colour in enumerate(("red", "blue")):
        path.write_bytes(draw(colour, "circle"))
        os.utime(path, ns=(moment, moment))
        found.append(scores(ask(answering, request("frame", ImageRef("frame.png", path=path)))))
    assert found[0] == pytest.approx(scores(ask(answering, request("frame", PICTURES["red"]))))
    assert found[1] == pytest.approx(scores(ask(answering, request("frame", PICTURES["blue"]))))
    assert found[0] != found[1]


def test_the_order_of_a_prompt_s_pictures_counts(built: Built) -> None:
    red, blue = PICTURES["red"], PICTURES["blue"]
    found = scores(
        ask(
            Answering(built.model, built.processor),
            request("red blue", red, blue),
            request("blue red", blue, red),
            request("red red", red, red),
        )
    )
    assert len(set(found.values())) == 3


def test_requests_may_be_a_stream_without_end(built: Built, passes: list[int]) -> None:
    taken: list[int] = []

    def endless() -> Iterator[Request]:
        for number in itertools.count():
            taken.append(number)
            yield request(str(number), PICTURES[COLOURS[number % 4]])

    answering = Answering(built.model, built.processor, max_batch_tokens=60)
    found = list(itertools.islice(answering.answer(endless()), 20))
    assert sorted(int(key) for key, _ in found) == list(range(20))
    assert len(taken) <= module.ROWS_PER_WINDOW
    assert sum(passes) == 4


def test_what_cannot_be_asked_costs_only_itself(built: Built, tmp_path: Path) -> None:
    found = ask(
        Answering(built.model, built.processor),
        request("missing", ImageRef("missing.png", path=tmp_path / "missing.png")),
        request("broken", ImageRef("broken.png", data=b"no picture")),
        request("both", PICTURES["red"], ImageRef("its copy.png", data=b"no picture")),
        request("long", PICTURES["red"], words="red " * 200),
        request("fine", PICTURES["red"]),
    )
    kinds = {key: type(one) for key, one in found.items()}
    assert kinds == {
        "missing": ImageError,
        "broken": ImageError,
        "both": ImageError,
        "long": TooLongError,
        "fine": Answer,
    }
    assert "its copy.png" in str(found["both"])
    assert "broken.png" in str(found["broken"])


def test_a_request_that_breaks_the_decoder_costs_only_itself_and_the_stream_goes_on(
    built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = decode.generate

    def fragile(model: Any, processor: Any, rows: Iterator[decode.Row], *, max_batch_tokens: int) -> Iterator[Any]:
        def checked() -> Iterator[decode.Row]:
            for row in rows:
                if row.key == "3":
                    raise ModelError("scores aren't finite")
                yield row

        yield from whole(model, processor, checked(), max_batch_tokens=max_batch_tokens)

    monkeypatch.setattr(decode, "generate", fragile)
    answering = Answering(built.model, built.processor, max_batch_tokens=60)
    found = ask(answering, *(request(str(i), PICTURES[COLOURS[i % 4]]) for i in range(9)))
    assert sorted(found) == [str(i) for i in range(9)]
    assert [key for key, one in found.items() if isinstance(one, ModelError)] == ["3"]


def test_an_error_of_the_requests_is_raised_when_what_came_before_is_answered(built: Built) -> None:
    def broken() -> Iterator[Request]:
        yield request("fine", PICTURES["red"])
        raise DataError("stdin is gone")

    found = []
    with pytest.raises(DataError, match="stdin is gone"):
        found.extend(Answering(built.model, built.processor).answer(broken()))
    assert found == []  # the requests of a window are read before any of them is encoded


def test_a_model_in_training_is_refused() -> None:
    built = build_tiny()
    built.model.train()
    with pytest.raises(ModelError, match="training mode"):
        Answering(built.model, built.processor)


def test_the_seed_of_an_answer_follows_from_every_fact() -> None:
    seeds = {row_seed(seed, *facts) for seed in (0, 1) for facts in ((), ("a",), ("a", None), (0, 1), (1, 0))}
    assert len(seeds) == 10
    assert all(torch.Generator().manual_seed(seed) for seed in seeds)

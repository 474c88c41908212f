"""`model.generate` and `model.stream`: pictures and prompts in, texts out."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.checkpoints import legacy_mblip, picture, stock_blip2, stock_llava
from tests.drawn import draw
from tests.tiny import build_tiny

from visiglot import load_model
from visiglot.errors import ImageError, ModelError, PromptError
from visiglot.models.build import Built
from visiglot.models.decode import Decoder, Decoding, Row
from visiglot.models.vlm import VisionLanguageModel
from visiglot.render import render
from visiglot.types import Example, ImageRef, ImageSlot, Message

RED, BLUE = draw("red", "circle"), draw("blue", "square")
SHORT = Decoding(max_new_tokens=4)
DRAWN = Decoding(max_new_tokens=8, temperature=2.0)


@pytest.fixture(scope="module", params=["t5", "llama"])
def built(request: pytest.FixtureRequest) -> Built:
    return build_tiny(llm=request.param)


def opened(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data))


def scores(model: VisionLanguageModel, images: Sequence[Any], prompts: Sequence[Any]) -> list[list[float]]:
    return [[answer.score for answer in own] for own in model.generate(images, prompts, SHORT, details=True)]


def test_every_picture_answers_the_same_prompts(built: Built) -> None:
    found = built.model.generate([RED, BLUE], ["dog ", "cat ", "mouse "], SHORT)
    assert [len(own) for own in found] == [3, 3]
    assert all(isinstance(text, str) for own in found for text in own)


def test_each_picture_answers_its_own_prompts(built: Built) -> None:
    whole = scores(built.model, [RED, BLUE], [["dog ", "cat "], ["mouse "]])
    assert [len(own) for own in whole] == [2, 1]
    assert whole[1] == pytest.approx(scores(built.model, [BLUE], ["mouse "])[0], abs=1e-4)
    assert whole[0] == pytest.approx(scores(built.model, [RED], ["dog ", "cat "])[0], abs=1e-4)


def test_an_answer_is_the_decoder_s(built: Built) -> None:
    model, processor = built.model, built.processor
    features = model.encode_images(processor.pixel_values([opened(RED)]))
    example = Example("x", (Message("user", ("dog", ImageSlot(0))),), "eng_Latn", (ImageRef("x", data=RED),))
    row = Row("x", render(example, processor.spec(), complete=True), features, SHORT)
    wanted = Decoder(model, processor).run([row])["x"]
    ((found,),) = model.generate([RED], ["dog"], SHORT, details=True)
    assert (found.ids, found.text, found.finish) == (wanted.ids, wanted.text, wanted.finish)
    assert found.score == pytest.approx(wanted.score, abs=1e-4)
    assert model.generate([RED], ["dog"], SHORT) == [[wanted.text]]


def test_a_picture_may_be_in_memory_a_path_or_bytes(built: Built, tmp_path: Path) -> None:
    path = tmp_path / "red.png"
    path.write_bytes(RED)
    found = scores(built.model, [RED, path, str(path), opened(RED), opened(RED).convert("RGBA"), BLUE], ["dog "])
    assert found[:5] == [pytest.approx(found[0], abs=1e-4)] * 5
    assert found[5] != pytest.approx(found[0], abs=1e-4)


def test_each_picture_is_encoded_once_and_all_prompts_are_read_together(
    built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    read: list[int] = []
    encode, add = VisionLanguageModel.encode_images, Decoder.add
    monkeypatch.setattr(
        VisionLanguageModel, "encode_images", lambda self, px: (encoded.append(len(px)), encode(self, px))[1]
    )
    monkeypatch.setattr(Decoder, "add", lambda self, rows: (read.append(len(rows)), add(self, rows))[1])
    red = opened(RED)
    built.model.generate([red, BLUE, [red, red]], ["dog ", "cat ", "mouse ", "tree "], SHORT)
    assert encoded == [2]
    assert read == [12]


def test_the_batch_is_split_by_tokens_and_answers_stay_the_same(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = ["dog ", "cat mouse elephant house ", "tree "]
    whole = built.model.generate([RED, BLUE], prompts, DRAWN)
    read: list[int] = []
    add = Decoder.add
    monkeypatch.setattr(Decoder, "add", lambda self, rows: (read.append(len(rows)), add(self, rows))[1])
    assert built.model.generate([RED, BLUE], prompts, DRAWN, max_batch_tokens=1) == whole
    assert read == [1] * 6


def test_draws_differ_from_place_to_place_and_follow_the_seed(built: Built) -> None:
    first = built.model.generate([RED], ["dog "] * 4, DRAWN)
    assert len(set(first[0])) > 1
    assert built.model.generate([RED], ["dog "] * 4, DRAWN) == first
    assert built.model.generate([RED], ["dog "] * 4, Decoding(max_new_tokens=8, temperature=2.0, seed=1)) != first


def test_several_pictures_stand_in_one_prompt_and_none_in_another(built: Built) -> None:
    model = built.model
    one_way, other_way = scores(model, [[RED, BLUE], [BLUE, RED]], ["same?"])
    assert one_way != pytest.approx(other_way, abs=1e-4)
    placed = scores(model, [[RED, BLUE]], ["{image}{image}same?", "{image} same? {image}"])
    assert placed[0][0] == pytest.approx(one_way[0], abs=1e-4)
    assert placed[0][1] != pytest.approx(one_way[0], abs=1e-4)
    assert len(model.generate([[]], ["dog cat"], SHORT)) == 1


def test_a_model_that_learned_pictures_first_gets_them_first() -> None:
    built = build_tiny()
    placed = scores(built.model, [RED], ["dog {image}", "{image}dog"])[0]
    last = scores(built.model, [RED], ["dog"])[0]
    built.model.config.image_first = True
    first = scores(built.model, [RED], ["dog"])[0]
    assert [*last, *first] == pytest.approx(placed, abs=1e-4)
    assert last != pytest.approx(first, abs=1e-4)


@pytest.mark.parametrize("decoding", [SHORT, DRAWN, Decoding(max_new_tokens=4, beams=2)])
def test_a_stream_joins_to_the_answer(built: Built, decoding: Decoding, monkeypatch: pytest.MonkeyPatch) -> None:
    # a model that knows nothing writes bytes that are no characters, whose text changes with what follows
    monkeypatch.setattr(built.processor.tokenizer, "decode", lambda ids, **_: " ".join(map(str, ids)))
    pieces = list(built.model.stream(RED, "dog ", decoding))
    assert "".join(pieces) == built.model.generate([RED], ["dog "], decoding)[0][0]
    assert len(pieces) == (1 if decoding.beams > 1 else decoding.max_new_tokens)


def test_a_picture_that_cannot_be_read_is_an_error_at_once(built: Built, tmp_path: Path) -> None:
    missing = tmp_path / "missing.png"
    with pytest.raises(ImageError, match=r"missing\.png"):
        built.model.generate([RED, missing], ["dog "], SHORT)
    with pytest.raises(ImageError, match=r"missing\.png"):
        built.model.stream(missing, "dog ")


@pytest.mark.parametrize(
    ("images", "prompts", "said"),
    [
        (RED, ["dog"], "images: a list is expected, found bytes"),
        ("red.png", ["dog"], "images: a list is expected, found str"),
        ([RED], "dog", "prompts: a list is expected, found str"),
        ([RED], ["dog", ["cat"]], "some are texts, some are lists"),
        ([RED, BLUE], [["dog"]], "1 lists of them for 2 entries"),
        ([RED, 7], ["dog"], r"images\[1\]: a picture is expected, found int"),
        ([None], ["dog"], r"images\[0\]: a picture is expected, found NoneType"),
        ([RED], [3], r"prompts\[0\]: a text is expected, found int"),
        ([RED], ["dog", None], r"prompts\[1\]: a text is expected, found NoneType"),
        ([RED, BLUE], [["dog"], ["cat", b"cat"]], r"prompts\[1\]\[1\]: a text is expected, found bytes"),
        ([[RED, 7]], ["dog"], r"images\[0\]\[1\]: a picture is expected, found int"),
        ([[RED, BLUE]], ["{image} dog"], "1 times, and 2 pictures"),
    ],
)
def test_what_is_no_list_of_pictures_and_prompts_is_refused(built: Built, images: Any, prompts: Any, said: str) -> None:
    with pytest.raises(PromptError, match=said):
        built.model.generate(images, prompts)


@pytest.mark.parametrize(
    ("image", "prompt", "said"),
    [(None, "dog", "image: a picture is expected, found NoneType"), (RED, 3, "prompt: a text is expected, found int")],
)
def test_a_stream_of_no_picture_or_text_is_refused_at_once(built: Built, image: Any, prompt: Any, said: str) -> None:
    with pytest.raises(PromptError, match=said):
        built.model.stream(image, prompt)


def test_a_model_finds_its_processor_where_it_came_from(tmp_path: Path) -> None:
    built = build_tiny()
    assert built.model.processor is built.processor
    built.model.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="its processor can't be read"):
        _ = VisionLanguageModel.from_pretrained(tmp_path).processor
    built.processor.save_pretrained(tmp_path)
    alone = VisionLanguageModel.from_pretrained(tmp_path)
    assert alone.generate([RED], ["dog "], SHORT) == built.model.generate([RED], ["dog "], SHORT)
    model, processor = load_model(str(tmp_path), device="cpu")
    assert model.processor is processor


@pytest.mark.parametrize("write", [stock_blip2, legacy_mblip, stock_llava])
def test_a_model_of_another_format_answers_too_and_sees_its_pictures(write: Any, tmp_path: Path) -> None:
    write(tmp_path)
    model = VisionLanguageModel.from_pretrained(tmp_path)
    assert model.config.image_first
    red, blue = scores(model, [picture(0), picture(1)], ["perro gato", "gato"])
    assert [abs(one - other) > 1e-3 for one, other in zip(red, blue)] == [True, True]
    loaded, processor = load_model(str(tmp_path), device="cpu")
    assert loaded.processor is processor
    assert scores(loaded, [picture(0)], ["perro gato", "gato"]) == [pytest.approx(red, abs=1e-4)]


def test_a_model_from_nowhere_says_that_it_has_no_processor() -> None:
    model = VisionLanguageModel(build_tiny().model.config).eval()
    with pytest.raises(ModelError, match="no processor"):
        model.generate([RED], ["dog "])

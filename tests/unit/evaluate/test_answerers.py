from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tests.chat_server import StandIn, chat, serving
from tests.checkpoints import picture, stock_llava, stock_paligemma
from tests.tiny import build_tiny
from tests.unit.evaluate.conftest import PICTURES, Ranking, ToyData, toy_benchmark

from visiglot.data.collate import collate
from visiglot.endpoint import Endpoint, Pace
from visiglot.errors import CheckpointError, EndpointError, EvaluationError, VisiglotError
from visiglot.evaluate.answers import ModelAnswerer
from visiglot.evaluate.benchmark import Settings
from visiglot.evaluate.chat import ChatAnswerer, parse_name
from visiglot.evaluate.generate import collect_predictions
from visiglot.evaluate.predictions import prediction_path, read_predictions
from visiglot.evaluate.ranking import with_answer
from visiglot.evaluate.stock import StockAnswerer, load_stock
from visiglot.models.load import load_model
from visiglot.render import render
from visiglot.types import Example, ImageRef, ImageSlot, Message

CHOICES = ("red circle", "blue bar", "a green square on the left")


def png(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def question(id: str = "1", images: Sequence[ImageRef] = (PICTURES["cat"],), words: str = "What is it?") -> Example:
    slots = tuple(ImageSlot(index) for index in range(len(images)))
    return Example(id, (Message("user", (*slots, words)),), "eng_Latn", tuple(images), ("cat",), choices=CHOICES)


# --- likelihoods of a model of ours ----------------------------------------------------------------------------------


@pytest.mark.parametrize("llm", ["t5", "llama"])
def test_a_likelihood_is_what_training_would_lose_on_that_answer(llm: str) -> None:
    built = build_tiny(llm=llm)
    answerer = ModelAnswerer(built.model, built.processor, name="tiny", max_batch_tokens=512)
    example = question()
    ((_, found),) = list(answerer.rank([example]))
    assert isinstance(found, tuple)
    spec = built.processor.spec()
    image = Image.open(BytesIO(PICTURES["cat"].read())).convert("RGB")
    for choice, likelihood in zip(CHOICES, found, strict=True):
        # placed as the model's prompts are: one picture stands behind the words
        turn = Message("user", ("What is it?", ImageSlot(0)))
        sample = render(with_answer(replace(example, messages=(turn,)), choice), spec)
        batch = collate([sample], spec, pixels=lambda refs: built.processor.pixel_values([image]))
        with torch.no_grad():
            loss = built.model(
                input_ids=batch.input_ids,
                attention_mask=batch.attention_mask,
                labels=batch.labels,
                pixel_values=batch.pixel_values,
            ).loss
        tokens = int((batch.labels != -100).sum())
        assert likelihood == pytest.approx(-float(loss) * tokens, rel=1e-4)


def test_likelihoods_do_not_depend_on_what_is_ranked_beside_them() -> None:
    built = build_tiny()
    answerer = ModelAnswerer(built.model, built.processor, name="tiny", max_batch_tokens=200)
    examples = [question("1"), question("2", (PICTURES["dog"], PICTURES["sun"])), question("3", (), "And this one?")]
    together = dict(answerer.rank(examples))
    for index, example in enumerate(examples):
        ((_, alone),) = list(answerer.rank([example]))
        assert together[index] == pytest.approx(alone, rel=1e-4)
    assert len({together[0], together[1], together[2]}) == 3


def test_what_cannot_be_ranked_fails_alone() -> None:
    built = build_tiny()
    answerer = ModelAnswerer(built.model, built.processor, name="tiny", max_batch_tokens=512)
    broken = question("2", (ImageRef("sun", data=b"no"),))
    found = dict(answerer.rank([question("1"), broken, replace(question("3"), choices=("one",))]))
    assert isinstance(found[0], tuple)
    assert isinstance(found[1], VisiglotError)
    assert isinstance(found[2], EvaluationError)
    assert "'one'" in found[2].message


# --- ranked answers in a benchmark -----------------------------------------------------------------------------------


class Choosing(ToyData):
    def examples(self, language: str, *, split: str, prompt_set: str, limit: int | None) -> Iterator[Example]:
        for example in super().examples(language, split=split, prompt_set=prompt_set, limit=limit):
            yield replace(example, choices=("dog", "cat", "sun"))


def test_ranked_answers_are_the_likeliest_choices_under_a_name_of_their_own(out: Path) -> None:
    benchmark = toy_benchmark(data=Choosing())
    done = collect_predictions(
        Ranking(["cat", "dog", "sun"], broken="sun"), benchmark, ["eng_Latn"], out, resume=True, answers="likelihood"
    )
    assert done.prompt_set == "english-likelihood"
    rows = {row.id: row for row in read_predictions(prediction_path(out, "toy", "english-likelihood", "eng_Latn"))}
    assert rows["cat"].text == rows["dog"].text == "cat"
    assert rows["dog"].likelihoods == (-1.0, 0.0, -2.0)
    assert rows["dog"].choices == ("dog", "cat", "sun")
    assert (rows["sun"].text, rows["sun"].likelihoods) == (None, ())
    generated = collect_predictions(Ranking(["cat"]), benchmark, ["eng_Latn"], out, resume=True)
    assert generated.made == 3


# --- a stock model ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llava")
    stock_llava(folder)
    return folder


def test_a_stock_model_answers_and_ranks_as_our_reading_of_it_does(llava: Path) -> None:
    settings = Settings(max_new_tokens=6)
    model, processor = load_stock(str(llava), device=torch.device("cpu"), dtype="auto")
    stock = StockAnswerer(model, processor, name="llava", rows=2)
    ours_model, ours_processor = load_model(str(llava), device="cpu")
    ours = ModelAnswerer(ours_model, ours_processor, name="llava", max_batch_tokens=512)
    shown = [ImageRef(f"picture {seed}", data=png(picture(seed))) for seed in range(3)]
    examples = [
        question("1", shown[:1]),
        question("2", shown[1:2], "And what is this thing here?"),
        question("3", shown[2:]),
    ]
    assert dict(stock.answer(examples, settings)) == dict(ours.answer(examples, settings))
    found, expected = dict(stock.rank(examples)), dict(ours.rank(examples))
    # our template of a LLaVA has a space before an answer, which the stock one leaves to the answer
    assert {index: len(one) for index, one in found.items()} == {index: len(one) for index, one in expected.items()}
    alone = dict(stock.rank(examples[1:2]))
    assert alone[0] == pytest.approx(found[1])


def test_a_model_that_is_none_of_our_formats_answers_alike_alone_and_beside_others(tmp_path: Path) -> None:
    stock_paligemma(tmp_path)
    model, processor = load_stock(str(tmp_path), device=torch.device("cpu"), dtype="auto")
    stock = StockAnswerer(model, processor, name="paligemma", rows=2)
    examples = [
        question(str(seed), (ImageRef(f"picture {seed}", data=png(picture(seed))),), "What is it? " * (seed + 1))
        for seed in range(3)
    ]
    settings = Settings(max_new_tokens=8, min_new_tokens=8)
    together = dict(stock.answer(examples, settings))
    assert together == {i: next(stock.answer([example], settings))[1] for i, example in enumerate(examples)}
    assert all(together.values())
    # step by step, nothing that comes later in an answer is seen by what comes before
    both = replace(examples[0], choices=("red", "red circle"))
    ((_, (first, second)),) = list(stock.rank([both]))  # type: ignore[misc]
    tokens = processor.tokenizer(["red", "red circle"], add_special_tokens=False)["input_ids"]
    assert tokens[1][: len(tokens[0])] == tokens[0]
    with torch.no_grad():
        inputs = processor(text="<image>What is it? ", images=[[picture(0)]], return_tensors="pt")
        text = {key: value for key, value in inputs.items() if key != "labels"}
        expected = 0.0
        for token in [*tokens[0], processor.tokenizer.eos_token_id]:
            logits = model(**text).logits[0, -1].log_softmax(-1)
            expected += float(logits[token])
            extra = torch.tensor([[token]])
            text["input_ids"] = torch.cat([text["input_ids"], extra], 1)
            text["attention_mask"] = torch.cat([text["attention_mask"], torch.ones_like(extra)], 1)
            if "token_type_ids" in text:
                text["token_type_ids"] = torch.cat([text["token_type_ids"], torch.ones_like(extra)], 1)
    assert first == pytest.approx(expected, rel=1e-4)
    assert second < first


def test_rows_of_a_stock_model_fail_alone(llava: Path) -> None:
    model, processor = load_stock(str(llava), device=torch.device("cpu"), dtype="auto")
    stock = StockAnswerer(model, processor, name="llava")
    long = question("3", (), "red " * 5000)
    found = dict(stock.answer([question("1"), question("2", (ImageRef("sun", data=b"no"),)), long], Settings(2)))
    assert isinstance(found[0], str)
    assert isinstance(found[1], VisiglotError)
    assert isinstance(found[2], VisiglotError)
    assert "the model takes" in found[2].message


def test_a_stock_models_fingerprint_follows_its_weights(llava: Path) -> None:
    model, processor = load_stock(str(llava), device=torch.device("cpu"), dtype="auto")
    first = StockAnswerer(model, processor, name="llava").fingerprint
    assert StockAnswerer(model, processor, name="another name").fingerprint == first
    with torch.no_grad():
        next(model.parameters()).add_(1.0)
    assert StockAnswerer(model, processor, name="llava").fingerprint != first


def test_a_folder_without_such_a_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="image-text-to-text"):
        load_stock(str(tmp_path), device=torch.device("cpu"), dtype="auto")


# --- an endpoint -----------------------------------------------------------------------------------------------------


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    monkeypatch.setenv("NO_PROXY", "*")
    with serving() as stand_in:
        yield stand_in


def asking(server: StandIn, *, retries: int = 0, concurrent: int = 4) -> ChatAnswerer:
    endpoint = Endpoint(server.url, None, timeout=5.0, retries=retries, pace=Pace(None), total_tokens=None)
    return ChatAnswerer(endpoint, "their-model", name=f"openai:{server.url}#their-model", concurrent=concurrent)


def said(body: dict[str, Any]) -> str:
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def test_an_endpoint_is_sent_words_and_pictures_in_their_order(server: StandIn) -> None:
    server.answer = lambda body, number: (200, {}, chat(" a cat\n"))
    webp = BytesIO()
    Image.new("RGB", (8, 8), "blue").save(webp, "WEBP")
    images = (PICTURES["cat"], ImageRef("blue", data=webp.getvalue()))
    example = question("1", images)
    turn = Message("user", ("Left: ", ImageSlot(0), " right: ", ImageSlot(1)))
    example = replace(example, messages=(Message("system", ("Be brief.",)), turn, Message("assistant", ("cat",))))
    assert list(asking(server).answer([example], Settings(max_new_tokens=7))) == [(0, "a cat")]
    (body,) = server.bodies
    assert {key: body[key] for key in body if key != "messages"} == {
        "model": "their-model", "max_tokens": 7, "temperature": 0,
    }  # fmt: skip
    system, user = body["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    assert [part["type"] for part in user["content"]] == ["text", "image_url", "text", "image_url"]
    first, second = (part["image_url"]["url"] for part in user["content"] if part["type"] == "image_url")
    assert first == "data:image/png;base64," + base64.b64encode(PICTURES["cat"].read()).decode()
    sent = Image.open(BytesIO(base64.b64decode(second.removeprefix("data:image/png;base64,"))))
    assert sent.getpixel((0, 0))[2] > 200  # type: ignore[index]


def test_what_an_endpoint_refuses_costs_that_row_only(server: StandIn) -> None:
    def answer(body: dict[str, Any], number: int) -> tuple[int, dict[str, str], bytes]:
        if "filtered" in said(body):
            return 400, {}, b'{"error": {"code": "content_filter", "message": "no"}}'
        return 200, {}, chat(None, refusal="I won't.") if "declined" in said(body) else chat("yes")

    server.answer = answer
    broken = question("4", (ImageRef("sun", data=b"no"),))
    asked = [question("1"), question("2", (), "filtered?"), question("3", (), "declined?"), broken]
    found = dict(asking(server).answer(asked, Settings()))
    assert found[0] == "yes"
    assert all(isinstance(found[index], VisiglotError) for index in (1, 2, 3))
    assert "I won't." in str(found[2])


def test_an_endpoint_that_breaks_ends_the_run_and_keeps_what_came(server: StandIn, out: Path) -> None:
    server.answer = lambda body, number: (200, {}, chat("cat")) if number < 2 else (401, {}, b"who are you")
    with pytest.raises(EndpointError, match="401"):
        collect_predictions(asking(server, concurrent=1), toy_benchmark(), ["eng_Latn"], out, resume=True)
    rows = read_predictions(prediction_path(out, "toy", "english", "eng_Latn"))
    assert [row.text for row in rows] == ["cat", "cat"]
    server.answer = lambda body, number: (200, {}, chat("dog"))
    done = collect_predictions(asking(server), toy_benchmark(), ["eng_Latn"], out, resume=True)
    assert (done.made, done.kept, done.failed) == (1, 2, 0)


def test_settings_that_an_endpoint_has_no_word_for_are_refused(server: StandIn) -> None:
    with pytest.raises(EvaluationError, match="beams=5"):
        list(asking(server).answer([question()], Settings(beams=5)))
    with pytest.raises(EvaluationError, match="how likely"):
        asking(server).rank([question()])
    assert server.bodies == []


@pytest.mark.parametrize("name", ["openai:http://127.0.0.1:8000/v1", "openai:#m", "http://127.0.0.1/v1#m"])
def test_a_name_that_lacks_a_part_is_told_how_it_looks(name: str) -> None:
    with pytest.raises(EvaluationError) as raised:
        parse_name(name)
    assert "openai:http://" in (raised.value.hint or "")
    assert parse_name("openai:http://127.0.0.1:8000/v1#org/m") == ("http://127.0.0.1:8000/v1", "org/m")

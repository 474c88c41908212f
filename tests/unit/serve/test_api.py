"""The official client, unchanged, against a server with a real engine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
from tests.unit.serve.asking import alone, ask, tiny
from tests.unit.serve.serving import SECONDS, SERVED, Running, Stub, drawn, serving, user

from visiglot.models.answer import row_seed
from visiglot.models.decode import Decoding
from visiglot.serve.asks import Ask
from visiglot.serve.engine import Engine
from visiglot.types import Example, ImageRef, ImageSlot, Message


@pytest.fixture(scope="module")
def engine() -> Engine:
    built = tiny()
    return Engine(built.model, built.processor)


@pytest.fixture(scope="module")
def running(engine: Engine) -> Iterator[Running]:
    with serving(engine) as found:
        yield found


def text_of(completion: Any, index: int = 0) -> str:
    found: str = completion.choices[index].message.content
    return found


def expected(words: str, *colours: str, tokens: int = 12, **decoding: Any) -> str:
    """What the model says when it is asked in Python and nobody else asks."""
    from tests.drawn import draw

    refs = tuple(ImageRef(colour, data=draw(colour, "circle")) for colour in colours)
    content = (*(ImageSlot(place) for place in range(len(refs))), words) if len(refs) > 1 else (words, ImageSlot(0))
    example = Example("a", (Message("user", content),), "eng_Latn", refs)
    return alone(tiny(), Ask(example, Decoding(tokens, **decoding))).text


def test_a_picture_and_a_question_are_answered_as_in_python(running: Running) -> None:
    completion = running.client().chat.completions.create(
        model="tiny", messages=[user("Caption in German:", drawn("red"))], max_tokens=12
    )
    assert text_of(completion) == expected("Caption in German:", "red")
    assert completion.object == "chat.completion"
    assert completion.choices[0].finish_reason in ("stop", "length")
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens
    assert completion.usage.completion_tokens <= 12


def test_a_stream_says_the_same_in_pieces(running: Running) -> None:
    asked: dict[str, Any] = {"model": "tiny", "messages": [user("dog cat", drawn("blue"))], "max_tokens": 12}
    client = running.client()
    whole = client.chat.completions.create(**asked)
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    *spoken, last = chunks
    assert "".join(chunk.choices[0].delta.content or "" for chunk in spoken) == text_of(whole)
    assert spoken[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in spoken[:-1]] == [None] * (len(spoken) - 1)
    assert spoken[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    assert last.choices == []
    assert last.usage == whole.usage
    assert len(spoken) > 2


def test_several_pictures_and_several_turns_are_taken(running: Running) -> None:
    messages = [
        {"role": "system", "content": "dog"},
        user(drawn("red"), drawn("green"), "dog or cat?"),
        {"role": "assistant", "content": "cat"},
        user("and this? ", drawn("blue")),
    ]
    completion = running.client().chat.completions.create(model="tiny", messages=messages, max_tokens=8)
    assert completion.usage.prompt_tokens > 3 * tiny().model.config.tokens_per_image
    other = [*messages[:1], user(drawn("red"), drawn("yellow"), "dog or cat?"), *messages[2:]]
    again = running.client().chat.completions.create(model="tiny", messages=other, max_tokens=8)
    assert again.usage.prompt_tokens == completion.usage.prompt_tokens


def test_pictures_of_a_turn_are_seen_in_their_order(running: Running) -> None:
    completion = running.client().chat.completions.create(
        model="tiny", messages=[user(drawn("red"), drawn("blue"), "dog cat mouse")], max_tokens=12
    )
    assert text_of(completion) == expected("dog cat mouse", "red", "blue")


def test_one_picture_is_encoded_once_for_many_languages(engine: Engine, running: Running) -> None:
    before = engine.stats()
    picture = drawn("yellow", "square")
    completion = running.client().chat.completions.create(
        model="tiny",
        messages=[user("What is this?", picture)],
        max_tokens=8,
        extra_body={"languages": ["de", "Swahili", "all"]},
    )
    assert [choice.language for choice in completion.choices] == ["deu_Latn", "swh_Latn", "eng_Latn"]
    assert [choice.index for choice in completion.choices] == [0, 1, 2]
    after = engine.stats()
    assert after.feature_misses - before.feature_misses == 1
    assert after.finished - before.finished == 3


def test_a_language_s_answer_is_what_its_prompt_alone_gets(running: Running) -> None:
    client = running.client()
    many = client.chat.completions.create(
        model="tiny",
        messages=[user("dog?", drawn("red"))],
        max_tokens=12,
        extra_body={"languages": ["de", "sw"]},
    )
    assert text_of(many, 0) == expected("dog? Answer in German.", "red")
    assert text_of(many, 1) == expected("dog? Answer in Swahili.", "red")


def test_many_clients_get_what_each_gets_alone(running: Running) -> None:
    asked = [(colour, words) for colour in ("red", "green", "blue") for words in ("dog", "cat and mouse", "perro gato")]

    def answer(one: tuple[str, str]) -> str:
        colour, words = one
        return text_of(
            running.client().chat.completions.create(
                model="tiny", messages=[user(words, drawn(colour))], max_tokens=12, timeout=SECONDS
            )
        )

    with ThreadPoolExecutor(len(asked)) as pool:
        together = list(pool.map(answer, asked))
    assert together == [expected(words, colour) for colour, words in asked]


def test_n_answers_are_drawn_apart_and_a_seed_draws_them_again(running: Running) -> None:
    asked: dict[str, Any] = {
        "model": "tiny",
        "messages": [user("dog", drawn("red"))],
        "n": 3,
        "temperature": 1.5,
        "top_p": 0.95,
        "seed": 4,
        "max_tokens": 12,
    }
    client = running.client()
    first, second = (client.chat.completions.create(**asked) for _ in range(2))
    texts = [text_of(first, place) for place in range(3)]
    assert len(set(texts)) == 3
    assert texts == [text_of(second, place) for place in range(3)]
    assert texts[1] == expected("dog", "red", temperature=1.5, top_p=0.95, seed=row_seed(4, None, 1))
    assert client.chat.completions.create(**{**asked, "seed": 5}).choices[0].message.content != texts[0]
    assert first.usage.prompt_tokens == client.chat.completions.create(**{**asked, "n": 1}).usage.prompt_tokens


def test_stop_texts_end_an_answer(running: Running) -> None:
    client = running.client()
    asked: dict[str, Any] = {"model": "tiny", "messages": [user("dog", drawn("red"))], "max_tokens": 12}
    whole = text_of(client.chat.completions.create(**asked))
    stop = whole[4:6]
    cut = client.chat.completions.create(**asked, stop=stop)
    assert text_of(cut) == whole[: whole.find(stop)].rstrip()
    assert cut.choices[0].finish_reason == "stop"


def test_log_probabilities_have_openai_s_shape(running: Running) -> None:
    completion = running.client().chat.completions.create(
        model="tiny", messages=[user("dog", drawn("red"))], max_tokens=6, logprobs=True, top_logprobs=2
    )
    tokens = completion.choices[0].logprobs.content
    assert tokens
    assert "".join(token.token for token in tokens).strip() == text_of(completion)
    for token in tokens:
        assert token.logprob <= 0
        assert [other.logprob for other in token.top_logprobs] == sorted(
            (other.logprob for other in token.top_logprobs), reverse=True
        )
        assert token.top_logprobs[0].token == token.token
        assert token.bytes is None or bytes(token.bytes).decode() == token.token
    plain = running.client().chat.completions.create(model="tiny", messages=[user("dog")], max_tokens=2)
    assert plain.choices[0].logprobs is None


def test_the_async_client_works_too(running: Running) -> None:
    async def main() -> str:
        async with openai.AsyncOpenAI(
            base_url=f"http://127.0.0.1:{running.port}/v1", api_key="none", max_retries=0
        ) as client:
            stream = await client.chat.completions.create(
                model="tiny", messages=[user("dog", drawn("red"))], max_tokens=12, stream=True
            )
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert asyncio.run(main()) == expected("dog", "red")


def test_the_model_is_listed(running: Running) -> None:
    client = running.client()
    (model,) = client.models.list()
    assert (model.id, model.object, model.created) == ("tiny", "model", SERVED.created)
    assert model.languages == list(SERVED.languages)
    assert client.models.retrieve("tiny") == model
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other/model")


@pytest.mark.parametrize("key", ["wrong", "secret-1x", "secret", "", "sécret"])
def test_a_wrong_key_is_refused_before_anything_is_read(key: str) -> None:
    stub = Stub()
    with serving(stub, keys=["secret-1", "secret-2"]) as running:
        for path, method in (("/v1/chat/completions", "POST"), ("/v1/models", "GET"), ("/metrics", "GET")):
            reply = running.ask(b"x", path=path, method=method, Authorization=f"Bearer {key}")
            assert reply.status == 401
            assert reply.error["code"] == "invalid_api_key"
            assert key not in reply.error["message"] or not key
        assert running.ask(method="GET", path="/health").status == 200
        with pytest.raises(openai.AuthenticationError):
            running.client("wrong").models.list()
        for right in ("secret-1", "secret-2"):
            assert running.client(right).chat.completions.create(model="tiny", messages=[user("x")]).choices
    assert len(stub.asks) == 2
    assert [one.user for one in stub.asks] == ["key 0", "key 1"]


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_hangs_up_ends_its_answers(stream: bool) -> None:
    stub = Stub(endless=True)
    with serving(stub) as running:
        client = running.client(timeout=None if stream else 0.3)
        asked: dict[str, Any] = {"model": "tiny", "messages": [user("hello")], "n": 3, "stream": stream}
        if stream:
            with client.chat.completions.create(**asked) as chunks:
                next(iter(chunks))
        else:
            with pytest.raises(openai.APITimeoutError):
                client.chat.completions.create(**asked)
        assert stub.cancelled.wait(SECONDS)
        assert len(stub.asks) == 3
        metrics = running.ask(method="GET", path="/metrics").body.decode()
    assert 'visiglot_http_requests_total{route="/v1/chat/completions",status="499"} 1' in metrics
    assert "\nvisiglot_held_bytes 0\n" in metrics


def test_a_client_that_hangs_up_frees_the_rows_of_the_real_engine() -> None:
    built = tiny()
    engine = Engine(built.model, built.processor, max_batch_tokens=10**6)
    with serving(engine, new_tokens=10**5) as running:
        with running.client().chat.completions.create(
            model="tiny",
            messages=[user("dog", drawn("red"))],
            stream=True,
            max_tokens=50_000,
            temperature=2,
            extra_body={"languages": ["all"]},
        ) as chunks:
            next(iter(chunks))
            assert engine.stats().running + engine.stats().waiting > 0
        wait_for(lambda: engine.stats().running + engine.stats().waiting == 0)
        assert engine.stats().cancelled > 0
        assert engine.stats().cancelled + engine.stats().finished == 3


def wait_for(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_what_the_engine_is_asked_is_what_the_tests_ask(running: Running) -> None:
    assert alone(tiny(), ask("a", words="dog")).text == text_of(
        running.client().chat.completions.create(model="tiny", messages=[user("dog")], max_tokens=8)
    )

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import pytest
from tests.chat_server import StandIn, chat, serving, text_in

from visiglot import endpoint
from visiglot.data.source import factory_problems
from visiglot.endpoint import Pace, Reply, backoff, pause_asked
from visiglot.errors import ConfigError, EngineError, LanguageError
from visiglot.translate.engine import ENGINES, Engine, Output, portions_of
from visiglot.translate.engines.answers import output_of

KEY = "sk-very/secret-0123456789"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    monkeypatch.setenv("NO_PROXY", "*")
    with serving() as stand_in:
        yield stand_in


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the engine would have waited, without waiting."""
    seconds: list[float] = []
    monkeypatch.setattr(endpoint, "wait", lambda stopped, wanted: seconds.append(wanted))
    monkeypatch.setattr(endpoint.Pace, "hold", lambda self, wanted: seconds.append(wanted))
    return seconds


def build(server: StandIn, **options: Any) -> Engine:
    values: dict[str, Any] = {"base_url": server.url, "model": "tests/chat", **options}
    factory = ENGINES.get("openai")
    assert factory_problems(factory, values, given=()) == []
    return factory(**values)


def german(engine: Engine, *texts: str) -> list[Output]:
    return engine.translate(texts, "eng_Latn", "deu_Latn")


# --- what is asked ---------------------------------------------------------------------------------------------------


def test_the_prompt_names_both_languages_and_holds_the_text(server: StandIn) -> None:
    assert german(build(server), "A {dog}.") == [Output("<A {dog}.>")]
    (body,) = server.bodies
    assert server.paths == ["/v1/chat/completions"]
    (message,) = body["messages"]
    assert "from English into German" in message["content"]
    assert "translation only" in message["content"]
    assert message["content"].endswith("\n\nA {dog}.")
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("tests/chat", 0, 2048)


def test_extra_fields_are_added_and_null_takes_one_out(server: StandIn) -> None:
    german(build(server, extra={"max_tokens": None, "max_completion_tokens": 99}), "A dog.")
    assert "max_tokens" not in server.bodies[0]
    assert server.bodies[0]["max_completion_tokens"] == 99


def test_a_prompt_of_ones_own_may_have_braces_and_its_texts_too(server: StandIn) -> None:
    german(build(server, prompt='{"a": 1} {source}>{target}\n\n{text}'), "{target} {x}")
    assert server.bodies[0]["messages"][0]["content"] == '{"a": 1} English>German\n\n{target} {x}'


def test_the_key_is_sent_and_only_where_a_variable_is_named(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTS_KEY", f" {KEY}\n")
    german(build(server, key_variable="TESTS_KEY"), "A dog.")
    german(build(server), "A dog.")
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert "authorization" not in server.headers[1]


@pytest.mark.parametrize("value", [None, "", "two words", "line\nbreak", "schlüssel"])
def test_a_missing_or_broken_key_is_said_by_its_variable_and_never_by_itself(
    server: StandIn, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("TESTS_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("TESTS_KEY", value)
    with pytest.raises(ConfigError, match="TESTS_KEY") as caught:
        build(server, key_variable="TESTS_KEY")
    assert not value or value not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "api.example.org/v1",
        "file:///etc/passwd",
        "http://",
        "http://me:secret@host/v1",
        "http://host/v1?key=secret",
        "http://host/v1/chat/completions",
        "http://host:port/v1",
        "http://host/v1\nHost: other",
    ],
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="base_url"):
        ENGINES.get("openai")(base_url=url, model="m")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"concurrent": 0}, "concurrent"),
        ({"retries": "many"}, "retries"),
        ({"prompt": "Translate {text}"}, "must have {source}, {target}"),
        ({"extra": {"stream": True}}, "can't change stream"),
        ({"api_key": KEY}, "api_key: no such key"),
    ],
)
def test_options_are_checked_before_anything_is_asked(options: dict[str, Any], problem: str) -> None:
    values = {"base_url": "http://127.0.0.1:1/v1", "model": "m", **options}
    (said,) = factory_problems(ENGINES.get("openai"), values, given=())
    assert problem in said


def test_what_outputs_follow_from_is_in_the_identity_and_how_fast_they_come_is_not(server: StandIn) -> None:
    engine = build(server)
    assert build(server, concurrent=2, retries=0, requests_per_minute=9).identity == engine.identity
    other: list[dict[str, Any]] = [
        {"model": "b"},
        {"extra": {"seed": 1}},
        {"max_tokens": 9},
        {"prompt": "{source}{target}{text}"},
    ]
    assert len({build(server, **options).identity for options in other} | {engine.identity}) == 5


def test_its_licence_is_unknown_unless_stated(server: StandIn) -> None:
    engine = build(server, name="lab/chat", licence="CC0-1.0")
    assert (build(server).licence, engine.licence, engine.name) == ("unknown", "CC0-1.0", "lab/chat")
    assert build(server).name == "tests/chat"


def test_a_language_that_nobody_knows_is_refused(server: StandIn) -> None:
    build(server).check("eng_Latn", ["deu_Latn", "swh_Latn"])
    with pytest.raises(LanguageError):
        build(server).check("eng_Latn", ["xxx_Latn"])


# --- many requests ---------------------------------------------------------------------------------------------------


def test_outputs_come_in_the_order_of_the_texts_whatever_comes_first(server: StandIn) -> None:
    later = threading.Event()

    def answer(body: dict[str, Any], number: int) -> tuple[int, dict[str, str], bytes]:
        if text_in(body) == "text 0":
            assert later.wait(30)
        if text_in(body) == "text 9":
            later.set()
        return 200, {}, chat(f"<{text_in(body)}>")

    server.answer = answer
    texts = [f"text {number}" for number in range(10)]
    assert [one.text for one in german(build(server, concurrent=2), *texts)] == [f"<{text}>" for text in texts]


def test_as_many_requests_are_in_flight_as_asked_for_and_no_more(server: StandIn) -> None:
    together = threading.Barrier(3)
    now = most = 0

    def answer(body: dict[str, Any], number: int) -> tuple[int, dict[str, str], bytes]:
        nonlocal now, most
        with server.lock:
            now += 1
            most = max(most, now)
        together.wait(30)  # is met by three at a time, or breaks
        with server.lock:
            now -= 1
        return 200, {}, chat("x")

    server.answer = answer
    german(build(server, concurrent=3), *(f"text {number}" for number in range(9)))
    assert most == 3


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 529])
def test_what_may_pass_is_tried_again(server: StandIn, waits: list[float], status: int) -> None:
    server.answer = lambda body, number: (status, {}, b"busy") if number < 2 else (200, {}, chat("Hund"))
    assert german(build(server), "dog") == [Output("Hund")]
    assert len(server.bodies) == 3
    assert 0.5 <= waits[0] <= 1.5 <= waits[1] * 1.5 <= 4.5


def test_retry_after_is_honoured_by_all_requests(server: StandIn, waits: list[float]) -> None:
    server.answer = lambda body, number: (429, {"Retry-After": "17"}, b"") if not number else (200, {}, chat("Hund"))
    german(build(server), "dog")
    assert waits[0] == 17


def test_a_pause_that_is_too_long_ends_the_work(server: StandIn, waits: list[float]) -> None:
    server.answer = lambda body, number: (429, {"Retry-After": "7200"}, b"")
    with pytest.raises(EngineError, match="120 minutes"):
        german(build(server), "dog")
    assert len(server.bodies) == 1


def test_both_forms_of_retry_after_are_read() -> None:
    assert pause_asked("2") == 2
    assert 3000 < (pause_asked(formatdate(time.time() + 3600, usegmt=True)) or 0) <= 3600
    assert pause_asked(formatdate(0, usegmt=True)) == 0
    assert [pause_asked(text) for text in (None, "soon", "nan", "inf")] == [None] * 4


def test_waits_grow_and_have_an_end() -> None:
    assert all(0.5 * 2**attempt <= backoff(attempt) <= 1.5 * 2**attempt for attempt in range(6))
    assert backoff(20) <= 90


def test_after_the_last_try_the_error_says_status_and_first_line(server: StandIn, waits: list[float]) -> None:
    server.answer = lambda body, number: (503, {}, b"model is\x1b[31m loading\nsecond line")
    with pytest.raises(EngineError, match=r"status 503: model is \[31m loading, at 3 tries") as caught:
        german(build(server, retries=2), "dog")
    assert len(server.bodies) == 3
    assert "second line" not in str(caught.value)


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"choices": []}', b'{"choices": [{"message": null}]}', chat(["a"])])
def test_a_reply_that_is_no_chat_completion_is_tried_again_and_then_an_error(
    server: StandIn, waits: list[float], body: bytes
) -> None:
    server.answer = lambda _, number: (200, {}, body) if number < 1 else (200, {}, chat("Hund"))
    assert german(build(server), "dog") == [Output("Hund")]
    server.answer = lambda *_: (200, {}, body)
    with pytest.raises(EngineError, match="no chat completion"):
        german(build(server, retries=1), "dog")


def test_a_reply_that_breaks_off_is_tried_again(server: StandIn, waits: list[float]) -> None:
    def answer(body: dict[str, Any], number: int) -> tuple[int, dict[str, str], bytes]:
        whole = chat("Hund")
        return (
            (200, {"Content-Length": str(len(whole) + 9), "Connection": "close"}, whole)
            if not number
            else (
                200,
                {},
                whole,
            )
        )

    server.answer = answer
    assert german(build(server), "dog") == [Output("Hund")]
    assert len(server.bodies) == 2


def test_a_request_that_takes_too_long_is_tried_again(server: StandIn, waits: list[float]) -> None:
    over = threading.Event()

    def answer(body: dict[str, Any], number: int) -> tuple[int, dict[str, str], bytes]:
        if not number:
            over.wait(30)
        return 200, {}, chat("Hund")

    server.answer = answer
    assert german(build(server, timeout=0.3), "dog") == [Output("Hund")]
    over.set()
    assert len(waits) == 1


def test_a_reply_without_end_is_given_up(server: StandIn, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "LARGEST_REPLY", 1000)
    server.answer = lambda *_: (200, {}, chat("x" * 2000))
    with pytest.raises(EngineError, match="more than 1,000 bytes"):
        german(build(server, retries=0), "dog")


def test_nobody_there_is_said(waits: list[float]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    engine = ENGINES.get("openai")(base_url=f"http://127.0.0.1:{port}/v1", model="m", retries=1)
    with pytest.raises(EngineError, match="can't be reached: Connection refused, at 2 tries"):
        german(engine, "dog")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_what_won_t_pass_isn_t_tried_again(server: StandIn, waits: list[float], status: int) -> None:
    server.answer = lambda *_: (status, {}, b'{\n"error": {"message": "no such thing\\nat all", "code": null}}')
    with pytest.raises(EngineError, match=f"status {status}: no such thing") as caught:
        german(build(server), "dog")
    assert len(server.bodies) == 1
    assert ("key_variable" in str(caught.value.hint)) == (status in (401, 403))


def test_an_empty_account_isn_t_asked_again(server: StandIn, waits: list[float]) -> None:
    server.answer = lambda *_: (429, {}, b'{"error": {"message": "quota", "code": "insufficient_quota"}}')
    with pytest.raises(EngineError, match="429: quota"):
        german(build(server), "dog")
    assert len(server.bodies) == 1


def test_redirects_aren_t_followed(server: StandIn, waits: list[float]) -> None:
    for status in (301, 302, 303, 307, 308):
        server.answer = lambda *_, status=status: (status, {"Location": f"{server.url}/elsewhere"}, b"")
        with pytest.raises(EngineError, match=f"status {status}") as caught:
            german(build(server), "dog")
        assert "isn't followed" in str(caught.value.hint)
    assert set(server.paths) == {"/v1/chat/completions"}


def test_the_key_is_in_no_error_and_no_log(
    server: StandIn, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, waits: list[float]
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("TESTS_KEY", KEY)
    engine = build(server, key_variable="TESTS_KEY", retries=0)
    escaped = json.dumps({"error": {"message": f"bad {KEY}"}}).replace("/", "\\/").encode()
    padded = ("x" * 290 + KEY).encode()
    for status, body in ((401, f"bad key {KEY}".encode()), (401, escaped), (500, padded), (200, padded)):
        server.answer = lambda *_, status=status, body=body: (status, {}, body)
        with pytest.raises(EngineError) as caught:
            german(engine, "dog")
        shown = f"{caught.value} {caught.value.__cause__!r} {vars(engine)} {engine.identity} {caplog.text}"
        assert KEY[:10] not in shown


def test_what_was_made_before_an_error_isn_t_lost(server: StandIn, waits: list[float]) -> None:
    def answer(body: dict[str, Any], number: int) -> tuple[int, dict[str, str], bytes]:
        return (400, {}, b"no") if text_in(body) == "text 3" else (200, {}, chat(f"<{text_in(body)}>"))

    server.answer = answer
    with pytest.raises(EngineError, match="status 400: no") as caught:
        german(build(server, concurrent=1), *(f"text {number}" for number in range(9)))
    assert caught.value.made == {f"text {number}": Output(f"<text {number}>") for number in range(3)}
    assert len(server.bodies) <= 5


def test_an_error_about_one_text_costs_that_text(server: StandIn) -> None:
    refusal = b'{"error": {"message": "filtered", "code": "content_filter"}}'
    server.answer = lambda body, _: (400, {}, refusal) if text_in(body) == "b" else (200, {}, chat("x"))
    outputs = german(build(server), "a", "b", "c")
    assert [one.text for one in outputs] == ["x", None, "x"]
    assert outputs[1] == Output(None, finished=False, reason="status 400: filtered")


def test_answers_are_handed_over_as_they_come(server: StandIn) -> None:
    held = threading.Event()

    def answer(body: dict[str, Any], _: int) -> tuple[int, dict[str, str], bytes]:
        if text_in(body) == "b":
            assert held.wait(20)
        return 200, {}, chat(f"<{text_in(body)}>")

    server.answer = answer
    portions = portions_of(build(server, concurrent=2), ["a", "b", "c"], "eng_Latn", "deu_Latn")
    made: dict[str, Output] = {}
    while len(made) < 2:
        made |= next(portions)
    assert made == {"a": Output("<a>"), "c": Output("<c>")}
    held.set()
    assert dict(next(portions)) == {"b": Output("<b>")}
    assert list(portions) == []


def test_an_interrupt_waits_for_what_is_in_flight_and_asks_no_more(server: StandIn, monkeypatch: Any) -> None:
    def interrupted(_: Any) -> Any:
        while len(server.bodies) < 2:
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr("visiglot.translate.engines.openai._ready", interrupted)
    asked = threading.Event()

    def answer(body: dict[str, Any], _: int) -> tuple[int, dict[str, str], bytes]:
        asked.wait(0.3)
        return 200, {}, chat(f"<{text_in(body)}>")

    server.answer = answer
    portions = portions_of(build(server, concurrent=2), [f"text {n}" for n in range(50)], "eng_Latn", "deu_Latn")
    made = next(portions)
    assert set(made) == {text_in(body) for body in server.bodies}
    with pytest.raises(KeyboardInterrupt):
        next(portions)
    assert 2 <= len(server.bodies) <= 4


def test_one_who_wants_no_more_ends_the_requests(server: StandIn) -> None:
    portions = portions_of(build(server, concurrent=1), [f"text {n}" for n in range(500)], "eng_Latn", "deu_Latn")
    next(portions)
    portions.close()
    count = len(server.bodies)
    assert count < 500
    time.sleep(0.1)
    assert len(server.bodies) == count


# --- limits ----------------------------------------------------------------------------------------------------------


def test_requests_start_evenly_over_the_minute() -> None:
    now = 100.0
    pace = Pace(30, lambda: now)
    assert [pace.reserve() for _ in range(3)] == [0, 2, 4]
    now = 200.0
    assert [pace.reserve() for _ in range(2)] == [0, 2]
    pace.hold(10)
    assert pace.held()
    assert [pace.reserve() for _ in range(2)] == [10, 12]
    now = 210.0
    assert not pace.held()
    assert [Pace(None, lambda: now).reserve() for _ in range(3)] == [0, 0, 0]


def test_the_engine_keeps_to_the_requests_per_minute(server: StandIn, waits: list[float]) -> None:
    german(build(server, requests_per_minute=6, concurrent=1), "a", "b", "c")
    assert [round(seconds) for seconds in waits] == [10, 20]


def test_the_work_ends_when_the_tokens_are_used_up_and_keeps_what_was_made(server: StandIn) -> None:
    engine = build(server, total_tokens=25, concurrent=1)
    with pytest.raises(EngineError, match="30 tokens are used, and total_tokens is 25") as caught:
        german(engine, *"abcdef")
    assert list(caught.value.made) == ["a", "b", "c"]
    with pytest.raises(EngineError):
        german(engine, "d")
    assert len(server.bodies) == 3


def test_a_limit_on_tokens_that_can_t_be_kept_is_an_error(server: StandIn) -> None:
    server.answer = lambda *_: (200, {}, chat("x", tokens=None))
    assert german(build(server), "a") == [Output("x")]
    with pytest.raises(EngineError, match="total_tokens can't be kept"):
        german(build(server, total_tokens=25), "a")


# --- what is used of an answer ---------------------------------------------------------------------------------------


def read(content: str | None, text: str = "A dog.", target: str = "deu_Latn", finish: str | None = "stop") -> Output:
    return output_of(Reply(content, None, finish), text, target)


def test_an_answer_that_was_cut_off_isn_t_finished(server: StandIn) -> None:
    server.answer = lambda *_: (200, {}, chat("Ein Hu", "length"))
    (output,) = german(build(server), "A dog.")
    assert (output.text, output.finished) == ("Ein Hu", False)
    assert read("", finish="length").text is None


def test_a_refusal_has_no_translation_and_says_so(server: StandIn) -> None:
    server.answer = lambda *_: (200, {}, chat(None, "stop", refusal="I won't."))
    (output,) = german(build(server), "A dog.")
    assert (output.text, output.finished, output.reason) == (None, False, 'it declines: "I won\'t."')


@pytest.mark.parametrize("finish", ["content_filter", "tool_calls", None])
def test_an_answer_that_ended_otherwise_isn_t_used(finish: str | None) -> None:
    output = read("Ein Hund.", finish=finish)
    assert output.text is None
    assert output.passing, "it may be well the next time"


@pytest.mark.parametrize("content", [None, "", " \n", '""', "« »"])
def test_an_empty_answer_is_no_translation(content: str | None) -> None:
    output = read(content)
    assert (output.text, output.finished) == (None, False)
    assert output.reason == "its answer is empty"
    assert output.passing


def test_what_a_model_always_says_doesn_t_pass() -> None:
    for answer in (read("Here is the translation: Ein Hund."), read("Ein Hu", finish="length"), read("Ein Hund.")):
        assert not answer.passing
    assert not output_of(Reply(None, "I won't.", "stop"), "A dog.", "deu_Latn").passing


@pytest.mark.parametrize("finish", ["stop", "length"])
def test_half_a_character_is_no_translation(server: StandIn, finish: str) -> None:
    server.answer = lambda *_: (200, {}, chat("Ein Hund \ud83d", finish))
    (output,) = german(build(server), "A dog.")
    assert output == Output(None, finished=False, reason="there is half a character in it: 'Ein Hund \\ud83d'")


@pytest.mark.parametrize(
    "content", ['"Ein Hund."', "„Ein Hund.“", "“Ein Hund.”", "« Ein Hund. »", "'Ein Hund.'", "`Ein Hund.`"]
)
def test_marks_around_the_whole_go_where_the_text_has_none(content: str) -> None:
    assert read(content) == Output("Ein Hund.")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('"Ein Hund."', '"A dog."'),
        ("„Ein Hund“", "It says “dog”"),
        ('"Ja" und "nein"', "yes and no"),
        ('Er sagt "Hund"', "He says dog"),
        ("'n Hund, der nicht spielt wie 'n Kind'", "A dog"),
    ],
)
def test_marks_that_belong_to_the_text_stay(content: str, text: str) -> None:
    assert read(content, text) == Output(content)


@pytest.mark.parametrize(
    "content",
    [
        "Here is the translation: Ein Hund.",
        "Translation: Ein Hund.",
        "The German translation of the text is: Ein Hund.",
        "German: Ein Hund.",
        "Deutsch: Ein Hund.",
        "Hier ist die Übersetzung: Ein Hund.",
        "以下是翻译：一只狗。",
        "Sure! Ein Hund.",
        "Ein Hund. (Note: informal)",
        "Ein Hund.\n\nI chose the nominative.",
        "```\nEin Hund.\n```",
        "<think>A dog is ein Hund</think>Ein Hund.",
        "I'm sorry, but I can't do that.",
        "As an AI, I have no pets.",
        "I cannot translate this text.",
    ],
)
def test_what_was_added_makes_an_answer_unusable_and_is_shown(content: str) -> None:
    output = read(content)
    assert (output.text, output.finished) == (None, False)
    assert output.reason is not None
    assert content[:8].strip("`\n") in output.reason


@pytest.mark.parametrize(
    ("content", "text", "target"),
    [
        ("Übersetzung: Hund", "Translation: dog", "deu_Latn"),
        ("I'm sorry, I can't come.", "Es tut mir leid, ich kann nicht kommen.", "eng_Latn"),
        ("Sure, a dog.", "Klar, ein Hund.", "eng_Latn"),
        ('Auf dem Schild steht: "Hund"', 'The sign says "dog"', "deu_Latn"),
        ("Die Übersetzung eines Hundes", "The translation of a dog", "deu_Latn"),
        ("Note: Hund", "Note: dog", "deu_Latn"),
    ],
)
def test_what_the_text_says_itself_is_no_addition(content: str, text: str, target: str) -> None:
    assert read(content, text, target) == Output(content)

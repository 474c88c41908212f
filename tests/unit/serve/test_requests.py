"""What a request may say: every parameter has its effect, asks for nothing, or is refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.serve.serving import drawn, image, user

from visiglot.errors import LanguageError
from visiglot.prompts import with_images
from visiglot.serve.chat import Choice, Served, choices_of
from visiglot.serve.errors import ApiError, api_error
from visiglot.serve.limits import Limits
from visiglot.serve.schema import OF_A_TURN, VALUES, WITHOUT_EFFECT, ChatRequest, ImagePart, parse_request
from visiglot.types import ImageRef, ImageSlot, Message, Placing

SERVED = Served("tiny", ("eng_Latn", "deu_Latn"), Placing(), "Caption in {language}: ", 0)


def parsed(*messages: dict[str, Any], **parameters: Any) -> ChatRequest:
    return parse_request(body(*messages, **parameters))


def body(*messages: dict[str, Any], **parameters: Any) -> bytes:
    return json.dumps({"model": "tiny", "messages": list(messages) or [user("hello")], **parameters}).encode()


def choices(*messages: dict[str, Any], served: Served = SERVED, limits: Any = None, **parameters: Any) -> list[Choice]:
    request = parsed(*messages, **parameters)
    pictures = {
        (message, part): ImageRef(f"{message}.{part}", data=b"x")
        for message, turn in enumerate(request.messages)
        for part, content in enumerate(turn.content)
        if isinstance(content, ImagePart)
    }
    return choices_of(request, pictures, served, limits or Limits(), "someone")


def turns(*messages: dict[str, Any], **parameters: Any) -> tuple[Message, ...]:
    (choice,) = choices(*messages, **parameters)
    return choice.ask.example.messages


def error(*messages: dict[str, Any], **parameters: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        choices(*messages, **parameters)
    return caught.value


# --- parameters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WITHOUT_EFFECT)
def test_a_parameter_that_does_nothing_here_is_taken_where_it_asks_for_nothing(name: str) -> None:
    for value in (None, *WITHOUT_EFFECT[name]):
        assert parsed(**{name: value})


@pytest.mark.parametrize("name", WITHOUT_EFFECT)
@pytest.mark.parametrize("value", [0.5, "other", ["x"], {"x": 1}])
def test_a_parameter_that_would_do_something_is_refused_by_name(name: str, value: Any) -> None:
    found = error(**{name: value})
    assert (found.status, found.param, found.code) == (400, name, "unsupported_parameter")
    assert f"`{name}`" in found.message


@pytest.mark.parametrize("name", OF_A_TURN)
def test_the_same_holds_for_what_a_turn_says(name: str) -> None:
    assert parsed({**user("x"), name: None})
    found = error({**user("x"), name: "something"})
    assert (found.status, found.param) == (400, f"messages[0].{name}")


def test_an_answer_can_be_sent_back_as_the_client_got_it() -> None:
    answer = {"role": "assistant", "content": "a dog", "refusal": None, "annotations": None, "tool_calls": None}
    assert turns(user("x"), answer, user("y"))[1] == Message("assistant", ("a dog",))


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"temprature": 1}, "temprature"),
        ({"n": 0}, "n"),
        ({"n": True}, "n"),
        ({"n": "2"}, "n"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "0.5"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
        ({"top_p": 0.9}, "top_p"),
        ({"top_k": 5}, "top_k"),
        ({"top_k": -1}, "top_k"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1025}, "max_tokens"),
        ({"max_completion_tokens": 1025}, "max_completion_tokens"),
        ({"max_tokens": 4, "max_completion_tokens": 5}, "max_completion_tokens"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"stop": ["a", ""]}, "stop[1]"),
        ({"stop": "x" * 257}, "stop[0]"),
        ({"stop": 3}, "stop"),
        ({"seed": 2**63}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": {"x": 1}}, "stream_options.x"),
        ({"stream": 1}, "stream"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"user": "x" * 257}, "user"),
        ({"languages": []}, "languages"),
        ({"languages": "de"}, "languages"),
        ({"languages": [3]}, "languages[0]"),
        ({"n": 129}, "n"),
        ({"n": 64, "languages": ["de", "en", "sw"]}, "languages"),
        ({"model": 3}, "model"),
        ({"model": "other"}, "model"),
    ],
)
def test_a_wrong_value_is_told_with_its_place(parameters: dict[str, Any], param: str) -> None:
    found = error(**parameters)
    assert found.status == (404 if parameters.get("model") == "other" else 400)
    assert found.param == param
    assert param.split("[")[0].split(".")[0] in found.message or param == "model"


@pytest.mark.parametrize(
    ("turn", "param"),
    [
        ("x", "messages[1]"),
        ({"role": "tool", "content": "x"}, "messages[1].role"),
        ({"role": "user"}, "messages[1].content"),
        ({"role": "user", "content": None}, "messages[1].content"),
        ({"role": "user", "content": 5}, "messages[1].content"),
        ({"role": "user", "content": ["x"]}, "messages[1].content[0]"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "messages[1].content[0].type"),
        ({"role": "user", "content": [{"type": "text"}]}, "messages[1].content[0].text"),
        ({"role": "user", "content": [{"type": "text", "text": 3}]}, "messages[1].content[0].text"),
        ({"role": "user", "content": [{"type": "text", "text": "", "x": 3}]}, "messages[1].content[0].x"),
        (user("x", {"type": "image_url", "image_url": "data:,x"}), "messages[1].content[1].image_url"),
        (user("x", {"type": "image_url", "image_url": {"url": 5}}), "messages[1].content[1].image_url.url"),
        (
            user("x", {"type": "image_url", "image_url": {"url": "data:,x", "detail": "high"}}),
            "messages[1].content[1].image_url.detail",
        ),
        ({"role": "assistant", "content": "so far"}, "messages[1]"),
    ],
)
def test_a_wrong_turn_is_told_with_its_place(turn: Any, param: str) -> None:
    found = error(user("first"), turn)
    assert (found.status, found.param) == (400, param)


@pytest.mark.parametrize(
    "written",
    [b"", b"{", b"[]", b"3", b"nan", b'{"temperature": NaN}', b'{"a":' * 10_000, b"\xff\xfe", b'{"a": "\xff"}'],
)
def test_what_is_no_json_object_is_refused(written: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        parse_request(written)
    assert (caught.value.status, caught.value.code) == (400, "invalid_json")


@pytest.mark.parametrize("written", [b'{"x": [%s0]}' % (b"0," * VALUES), b'{"x": [%s{}]}' % (b"{}," * VALUES)])
def test_a_body_of_nothing_but_values_is_refused_before_it_is_read(written: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        parse_request(written)
    assert (caught.value.status, caught.value.code) == (400, "too_many_values")


@pytest.mark.parametrize(
    ("written", "name"),
    [
        (b'{"model": "tiny", "messages": [], "model": "other"}', "model"),
        (b'{"model": "tiny", "messages": [], "mod\\u0065l": "tiny"}', "model"),
        (b'{"model": "tiny", "messages": [{"role": "user", "content": "x", "content": "y"}]}', "content"),
        (b'{"%s": 1, "%s": 1}' % (b"x" * 9000, b"x" * 9000), "x" * 64),
    ],
)
def test_a_name_that_stands_twice_in_an_object_is_refused(written: bytes, name: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse_request(written)
    found = caught.value
    assert (found.status, found.code, found.param) == (400, "duplicate_parameter", name)
    assert f"`{name}` stands twice" in found.message


def test_log_probabilities_of_all_answers_to_a_request_are_limited() -> None:
    limits = Limits(logprobs=2 * 2 * 10 * 4)
    ask: dict[str, Any] = {"languages": ["de", "en"], "n": 2, "max_tokens": 10, "logprobs": True, "limits": limits}
    assert len(choices(**ask, top_logprobs=3)) == 4
    found = error(**ask, top_logprobs=4)
    assert (found.status, found.param) == (400, "top_logprobs")
    assert "may be 200 log-probabilities; this server tells 160" in found.message
    assert error(**{**ask, "max_tokens": 41}).param == "logprobs"
    assert len(choices(**{**ask, "max_tokens": 41, "logprobs": False})) == 4


def test_a_name_of_a_language_has_a_length_and_an_error_about_it_too() -> None:
    assert error(languages=["x" * 257]).param == "languages[0]"
    told = api_error(LanguageError("language", "," * 100_000, ["deu_Latn"], hint="x" * 100_000))
    assert len(told.message) < 2100


def test_no_message_repeats_what_was_sent() -> None:
    secret = "c2VjcmV0" * 2000
    for found in (
        error({"role": "user", "content": [{"type": secret}]}),
        error({"role": secret, "content": "x"}),
        error(model=secret),
        error(**{secret: 1}),
        error({"role": "user", "content": {"a": secret}}),
        error(stop=[secret]),
        error(languages=[5], user=secret),
    ):
        assert len(str(found.body())) < 700


def test_a_temperature_of_0_makes_top_p_mean_nothing_and_is_taken() -> None:
    (choice,) = choices(temperature=0, top_p=0.5)
    assert choice.ask.decoding.temperature == 0


def test_parameters_reach_the_decoder() -> None:
    (choice,) = choices(
        max_completion_tokens=7,
        temperature=0.7,
        top_p=0.8,
        top_k=9,
        repetition_penalty=1.2,
        stop="end",
        logprobs=True,
        top_logprobs=3,
    )
    decoding = choice.ask.decoding
    assert (decoding.max_new_tokens, decoding.temperature, decoding.top_p, decoding.top_k) == (7, 0.7, 0.8, 9)
    assert decoding.repetition_penalty == 1.2
    assert (choice.ask.stop, choice.ask.logprobs, choice.ask.user) == (("end",), 3, "someone")
    (plain,) = choices()
    assert (plain.ask.decoding.max_new_tokens, plain.ask.decoding.temperature) == (256, 0.0)
    assert (plain.ask.stop, plain.ask.logprobs) == ((), None)


def test_draws_without_a_seed_differ_and_with_one_do_not_depend_on_what_is_asked_beside() -> None:
    def seeds(**parameters: Any) -> list[int]:
        return [choice.ask.decoding.seed for choice in choices(temperature=1, **parameters)]

    assert seeds() != seeds()
    assert seeds(seed=3) == seeds(seed=3)
    assert seeds(seed=3, languages=["sw", "de"])[1:] == seeds(seed=3, languages=["de"])
    assert seeds(seed=3, n=4)[:2] == seeds(seed=3, n=2)
    assert len(set(seeds(seed=-3, n=4, languages=["sw", "de"]))) == 8


# --- turns -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("placing", [Placing(), Placing(first=True), Placing(first=True, gap="\n", keeps_space=True)])
def test_a_picture_at_an_end_stands_where_the_model_wants_it(placing: Placing) -> None:
    served = Served("tiny", (), placing, "", 0)
    expected = with_images("What is this?", 1, placing)
    for parts in (("What is this?", drawn("red")), (drawn("red"), "What is this?")):
        assert turns(user(*parts), served=served)[0].content == expected


def test_pictures_amid_words_stay_there() -> None:
    (message,) = turns(user("Is ", drawn("red"), " like ", drawn("blue"), "?"))
    assert message.content == ("Is ", ImageSlot(0), " like ", ImageSlot(1), "?")


def test_system_and_developer_turns_are_one_thing() -> None:
    found = turns({"role": "developer", "content": "Be brief."}, user("hello"))
    assert found == (Message("system", ("Be brief.",)), Message("user", ("hello",)))


# --- languages -------------------------------------------------------------------------------------------------------


def test_a_language_is_filled_in_where_the_prompt_says() -> None:
    german, swahili = choices(
        {"role": "system", "content": "You speak {language}."},
        user("x"),
        {"role": "assistant", "content": "{language}"},
        user("In {language}, please: ", drawn("red")),
        languages=["de", "sw"],
    )
    assert (german.language, swahili.language) == ("deu_Latn", "swh_Latn")
    texts = [turn.text for turn in german.ask.example.messages]
    assert texts == ["You speak German.", "x", "{language}", "In German, please:"]
    assert german.ask.example.language == "deu_Latn"
    assert swahili.ask.example.messages[0].text == "You speak Swahili."
    assert german.ask.example.images[0] is swahili.ask.example.images[0]


def test_without_a_place_the_last_turn_says_the_language_as_ask_does() -> None:
    from visiglot.cli.prompts import content

    for parts in (("Which animal?", drawn("red")), (drawn("red"), "Which animal?")):
        found = turns(user("x"), {"role": "assistant", "content": "y"}, user(*parts), languages=["de"])
        assert found[-1].content == content("Which animal? Answer in {language}.", "German")
        assert found[0].text == "x"


def test_pictures_without_words_are_captioned_as_caption_does() -> None:
    (message,) = turns(user(drawn("red")), languages=["sw"])
    assert message.content == with_images("Caption in Swahili: ", 1)
    placing = Placing(first=True, gap="\n", keeps_space=True)
    served = Served("tiny", (), placing, "{image}\nDescribe the image in {language}.", 0)
    (message,) = turns(user(" ", drawn("red")), languages=["sw"], served=served)
    assert message.content == (ImageSlot(0), "\nDescribe the image in Swahili.")


def test_a_caption_in_a_later_turn_shows_that_turn_s_pictures() -> None:
    found = turns(user(drawn("red"), "x"), {"role": "assistant", "content": "y"}, user(drawn("blue")), languages=["de"])
    assert found[-1].content == ("Caption in German:", ImageSlot(1))


def test_without_languages_braces_are_only_braces() -> None:
    assert turns(user("f'{language}' {image}"))[0].content == ("f'{language}' {image}",)


def test_all_are_the_languages_of_the_card() -> None:
    assert [choice.language for choice in choices(languages=["all"])] == list(SERVED.languages)
    found = error(languages=["all"], served=Served("tiny", (), Placing(), "", 0))
    assert (found.status, found.param) == (400, "languages")


def test_only_user_turns_may_show_pictures() -> None:
    request = parsed({"role": "system", "content": [image("data:,x")]}, user("x"))
    assert isinstance(request.messages[0].content[0], ImagePart)  # it is refused with the pictures, see test_limits.py

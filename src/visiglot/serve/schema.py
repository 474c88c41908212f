"""A body of `POST /v1/chat/completions` -> what is asked, checked key by key.

OpenAI's parameters are of three kinds: those that do something (`ChatRequest`), those that are taken as long as they
say what happens anyway (`WITHOUT_EFFECT`), and all others, which are refused by name. Nothing is ignored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import from_json

from visiglot.errors import nearest
from visiglot.serve.errors import ApiError, invalid

STOPS, STOP_LENGTH = 4, 256
"""Texts that may end an answer, and characters of each."""

TOP_LOGPROBS = 20
NAME_LENGTH = 256

VALUES = 100_000
"""Values that a body may hold, told by its brackets, braces and commas. Each is two bytes there and a hundred here."""

WITHOUT_EFFECT: Mapping[str, tuple[Any, ...]] = {
    "audio": (),
    "frequency_penalty": (0,),
    "function_call": ("none",),
    "functions": ([],),
    "logit_bias": ({},),
    "metadata": ({},),
    "modalities": (["text"],),
    "parallel_tool_calls": (True, False),
    "prediction": (),
    "presence_penalty": (0,),
    "reasoning_effort": ("none",),
    "response_format": ({"type": "text"},),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "verbosity": ("medium",),
    "web_search_options": (),
}
"""OpenAI's parameters that do nothing here, and the values, besides null, that ask for nothing."""

OF_A_TURN: Mapping[str, tuple[Any, ...]] = {
    "annotations": ([],),
    "audio": (),
    "function_call": (),
    "name": (),
    "refusal": (),
    "tool_calls": ([],),
}
"""The same of a turn: what comes back when a client sends on the answer that it got."""


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class TextPart(_Closed):
    type: Literal["text"]
    text: str


class ImageUrl(_Closed):
    url: Annotated[str, Field(min_length=1)]
    detail: Literal["auto"] | None = None


class ImagePart(_Closed):
    type: Literal["image_url"]
    image_url: ImageUrl


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


class Turn(_Closed):
    role: Literal["system", "developer", "user", "assistant"]
    content: list[Part]

    @field_validator("content", mode="before")
    @classmethod
    def _in_parts(cls, value: Any) -> Any:
        if isinstance(value, str):
            return [{"type": "text", "text": value}]
        if not isinstance(value, list):
            raise ValueError("Input should be a text or a list of parts")
        return value


class StreamOptions(_Closed):
    include_usage: bool = False
    include_obfuscation: Literal[False] | None = None


class ChatRequest(_Closed):
    """What is asked. `languages`, `top_k`, `repetition_penalty` and `routing` are ours; the rest is OpenAI's.

    None means that the request doesn't say.
    """

    model: str
    messages: Annotated[list[Turn], Field(min_length=1)]
    languages: (
        Annotated[list[Annotated[str, Field(max_length=NAME_LENGTH)]], Field(min_length=1, max_length=512)] | None
    ) = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: list[Annotated[str, Field(min_length=1, max_length=STOP_LENGTH)]] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=TOP_LOGPROBS)] | None = None
    routing: bool | None = None
    user: Annotated[str, Field(max_length=NAME_LENGTH)] | None = None

    @field_validator("stop", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        stops = [value] if isinstance(value, str) else value
        if isinstance(stops, list) and len(stops) > STOPS:
            raise ValueError(f"at most {STOPS} texts, found {len(stops)}")
        return stops


def parse_request(body: bytes) -> ChatRequest:
    """What a body asks.

    Raises:
        ApiError: 400; the first thing that is wrong, with its place as `param`. No value is repeated in its message.
    """
    if sum(body.count(sign) for sign in (b"{", b"[", b",")) > VALUES:
        raise invalid(f"The body holds more than {VALUES:,} values or commas.", None, "too_many_values")
    try:
        values = from_json(body, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        raise invalid(f"The body isn't JSON: {error}", None, "invalid_json") from None
    if not isinstance(values, dict):
        raise invalid("The body must be a JSON object.", None, "invalid_json")
    _refuse_twice(body)
    values = _settled(values, WITHOUT_EFFECT, "")
    turns = values.get("messages")
    if isinstance(turns, list):
        values["messages"] = [
            _settled(turn, OF_A_TURN, f"messages[{place}].") if isinstance(turn, dict) else turn
            for place, turn in enumerate(turns)
        ]
    try:
        request = ChatRequest.model_validate(values)
    except ValidationError as error:
        raise _told(error) from None
    _check_together(request)
    return request


def _refuse_twice(body: bytes) -> None:
    """Raise ApiError: an object of a body, which is JSON, has a name twice; the parser takes the last one's value."""

    def names(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise invalid(f"`{name[:64]}` stands twice in one object.", name[:64], "duplicate_parameter")
            seen.add(name)

    json.loads(body, object_pairs_hook=names, parse_int=len, parse_float=len)


def _settled(values: Mapping[str, Any], without_effect: Mapping[str, tuple[Any, ...]], place: str) -> dict[str, Any]:
    """`values` less what asks for nothing. Raises ApiError: something would have an effect and can't."""
    found = {}
    for name, value in values.items():
        if name not in without_effect:
            found[name] = value
        elif value is not None and not any(_same(value, one) for one in without_effect[name]):
            allowed = " or ".join(map(json.dumps, without_effect[name])) or "null"
            raise invalid(
                f"`{place}{name}` isn't supported by this server. Leave it out, or send {allowed}.",
                f"{place}{name}",
                "unsupported_parameter",
            )
    return found


def _same(value: Any, other: Any) -> bool:
    """Equal in JSON, where true isn't 1."""
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def _told(error: ValidationError) -> ApiError:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = first["loc"]
    param = _param(place)
    if first["type"] == "extra_forbidden":
        name = str(place[-1])
        known = [*ChatRequest.model_fields, *WITHOUT_EFFECT] if len(place) == 1 else []
        near = nearest(name[:64], known, count=1)
        hint = f" Did you mean `{near[0]}`?" if near else ""
        return invalid(f"`{param[:128]}` isn't a parameter of this server.{hint}", param[:128], "unknown_parameter")
    if first["type"] == "missing":
        return invalid(f"`{param}` is missing.", param, "missing_required_parameter")
    if first["type"] == "union_tag_invalid":
        return invalid(f"`{param}.type` must be 'text' or 'image_url'.", f"{param}.type")
    return invalid(f"`{param}`: {first['msg'].removeprefix('Value error, ')}.", param)


def _param(place: tuple[int | str, ...]) -> str:
    """("messages", 0, "content", 1, "image_url", "image_url", "url") -> messages[0].content[1].image_url.url

    What follows a part's number is its type, by which pydantic chose.
    """
    text = ""
    for position, one in enumerate(place):
        if isinstance(one, int):
            text += f"[{one}]"
        elif place[max(position - 2, 0)] != "content" or position < 2:
            text += f".{one}" if text else one
    return text


def _check_together(request: ChatRequest) -> None:
    """Parameters that mean something only beside others."""
    limits = (request.max_tokens, request.max_completion_tokens)
    if None not in limits and limits[0] != limits[1]:
        raise invalid("`max_tokens` and `max_completion_tokens` differ; send one of them.", "max_completion_tokens")
    if request.top_logprobs is not None and not request.logprobs:
        raise invalid("`top_logprobs` needs `logprobs`: true.", "top_logprobs")
    if request.stream_options is not None and not request.stream:
        raise invalid("`stream_options` needs `stream`: true.", "stream_options")
    for name, drawn in (("top_p", (request.top_p or 1.0) < 1), ("top_k", bool(request.top_k))):
        if drawn and request.temperature is None:
            raise invalid(
                f"`{name}` cuts what is drawn, and without `temperature` the likeliest tokens are taken. "
                "Send `temperature` too.",
                name,
            )
    if request.messages[-1].role == "assistant":
        raise invalid(
            "The last message is the assistant's; this server doesn't go on with an answer that was begun.",
            f"messages[{len(request.messages) - 1}]",
        )

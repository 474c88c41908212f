"""A request and its pictures -> what the engine is asked: one ask for each choice."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from visiglot.languages import ENGLISH, language, resolve
from visiglot.models.answer import row_seed
from visiglot.models.decode import Decoding
from visiglot.prompts import ANSWER_IN, LANGUAGE, placed, with_images
from visiglot.serve.asks import Ask
from visiglot.serve.errors import ApiError, invalid
from visiglot.serve.limits import Limits
from visiglot.serve.media import Where
from visiglot.serve.schema import ChatRequest, ImagePart
from visiglot.types import Example, ImageRef, ImageSlot, Message, Placing

ID = "of the request"
"""What errors of the library call an example."""


@dataclass(frozen=True)
class Served:
    """What is known of the model that is served.

    Args:
        name: that requests call it.
        languages: on its card.
        placing: where it reads pictures that nobody placed.
        caption_prompt: what it is asked for a caption, with {language} in place.
        created: when it was loaded, in seconds since 1970.
        licence: of its weights; None where nothing states one.
        experts: of its connector, weighed by the prompt; 0 where there are none.
    """

    name: str
    languages: tuple[str, ...]
    placing: Placing
    caption_prompt: str
    created: int
    licence: str | None = None
    experts: int = 0


@dataclass(frozen=True)
class Choice:
    """One answer to be.

    Args:
        language: FLORES-200 code; None when the request names none.
    """

    ask: Ask
    language: str | None


def choices_of(
    request: ChatRequest, pictures: Mapping[Where, ImageRef], served: Served, limits: Limits, caller: str
) -> list[Choice]:
    """The choices of a request: for each of its languages `n`, which follow each other.

    A choice's draws follow from seed, language and number, so an answer is the same whatever is asked beside it.

    Args:
        caller: whose turn it is.

    Raises:
        ApiError: 400 or 404; another model, too many choices, tokens or log-probabilities.
        LanguageError: no such language.
    """
    if request.model != served.name:
        raise ApiError(
            404,
            f"There is no model {request.model[:100]!r} here; this server has {served.name!r}.",
            param="model",
            code="model_not_found",
        )
    if len(request.messages) > limits.messages:
        raise invalid(f"At most {limits.messages} messages, found {len(request.messages)}.", "messages")
    codes = _codes(request, served)
    repeated = request.n or 1
    count = len(codes) * repeated
    if count > limits.choices:
        name = "n" if request.languages is None else "languages"
        raise invalid(f"`{name}`: {count} answers are asked for; this server gives {limits.choices} at a time.", name)
    if request.routing and not served.experts:
        raise invalid("`routing`: the model's connector has no experts.", "routing", "unsupported_parameter")
    decoding = _decoding(request, limits)
    seed = secrets.randbits(63) if request.seed is None else request.seed
    told = (request.top_logprobs or 0) if request.logprobs else None
    if told is not None:
        _check_logprobs(count, decoding.max_new_tokens, told, limits)
    found = []
    for code in codes:
        example = _example(request, pictures, served, code)
        for number in range(repeated):
            own = replace(decoding, seed=row_seed(seed, code, number))
            ask = Ask(example, own, tuple(request.stop or ()), caller, told, bool(request.routing))
            found.append(Choice(ask, code))
    return found


def _check_logprobs(count: int, tokens: int, top: int, limits: Limits) -> None:
    """Raise ApiError: `count` answers of `tokens` tokens with the `top` likeliest beside each might be too much."""
    most = count * tokens * (1 + top)
    if most > limits.logprobs:
        name = "top_logprobs" if top else "logprobs"
        raise invalid(
            f"`{name}`: {count} answer(s) of up to {tokens} tokens, with {top} others beside each, may be {most:,} "
            f"log-probabilities; this server tells {limits.logprobs:,} at a time. Ask for fewer, or lower "
            "`max_tokens`.",
            name,
        )


def _codes(request: ChatRequest, served: Served) -> Sequence[str | None]:
    if request.languages is None:
        return [None]
    if not served.languages and "all" in (one.strip().lower() for one in request.languages):
        raise invalid("The model's card lists no languages; name them.", "languages", "unknown_language")
    return resolve(request.languages, all_codes=served.languages)


def _decoding(request: ChatRequest, limits: Limits) -> Decoding:
    wanted = request.max_completion_tokens if request.max_tokens is None else request.max_tokens
    if wanted is not None and wanted > limits.new_tokens:
        name = "max_completion_tokens" if request.max_tokens is None else "max_tokens"
        raise invalid(f"`{name}`: an answer may have {limits.new_tokens} tokens on this server.", name)
    return Decoding(
        max_new_tokens=wanted or min(limits.default_new_tokens, limits.new_tokens),
        temperature=request.temperature or 0.0,
        top_p=1.0 if request.top_p is None else request.top_p,
        top_k=request.top_k or 0,
        repetition_penalty=1.0 if request.repetition_penalty is None else request.repetition_penalty,
    )


def _example(request: ChatRequest, pictures: Mapping[Where, ImageRef], served: Served, code: str | None) -> Example:
    """The turns with their pictures; in a language, if one is asked for, as `visiglot caption` and `ask` say it."""
    refs: list[ImageRef] = []
    turns: list[Message] = []
    for message, turn in enumerate(request.messages):
        content: list[str | ImageSlot] = []
        for part, one in enumerate(turn.content):
            if isinstance(one, ImagePart):
                content.append(ImageSlot(len(refs)))
                refs.append(pictures[message, part])
            elif one.text:
                content.append(one.text)
        turns.append(Message("system" if turn.role == "developer" else turn.role, tuple(content)))
    last = turns[-1]
    if not last.text.strip() and not any(isinstance(part, ImageSlot) for part in last.content):
        raise invalid("The last message is empty.", f"messages[{len(turns) - 1}].content", "invalid_prompt")
    if code is None:
        return placed(Example(ID, tuple(turns), ENGLISH, tuple(refs)), served.placing)
    name = language(code).name
    example = placed(Example(ID, _in_language(turns, name), code, tuple(refs)), served.placing)
    if last.text.strip():
        return example
    return replace(example, messages=(*example.messages[:-1], _caption(last, name, served)))


def _in_language(turns: Sequence[Message], name: str) -> tuple[Message, ...]:
    """The turns asking for a language: {language} is its name, and where no turn has that, the last one says it."""
    *before, last = turns
    if not any(LANGUAGE in turn.text for turn in turns if turn.role != "assistant"):
        last = _with_words(last, ANSWER_IN)
    return tuple(_named(turn, name) for turn in (*before, last))


def _caption(turn: Message, name: str, served: Served) -> Message:
    """A turn of nothing but pictures, which asks for their caption."""
    slots = [part for part in turn.content if isinstance(part, ImageSlot)]
    words = served.caption_prompt.replace(LANGUAGE, name)
    content = with_images(words, len(slots), served.placing)
    first = slots[0].index
    return Message(
        turn.role, tuple(part if isinstance(part, str) else ImageSlot(part.index + first) for part in content)
    )


def _named(turn: Message, name: str) -> Message:
    if turn.role == "assistant":
        return turn
    parts = (part.replace(LANGUAGE, name) if isinstance(part, str) else part for part in turn.content)
    return Message(turn.role, tuple(parts))


def _with_words(turn: Message, words: str) -> Message:
    """`turn` with `words` behind the last of its own."""
    content = list(turn.content)
    place = max((place for place, part in enumerate(content) if isinstance(part, str)), default=None)
    if place is None:
        content.append(words.strip())
    else:
        content[place] = f"{content[place]}{words}"
    return Message(turn.role, tuple(content))

"""Errors as OpenAI's API gives them: a status, and a body with message, type, param and code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from visiglot.errors import (
    ConfigError,
    ImageError,
    LanguageError,
    PromptError,
    QueueFullError,
    TooLongError,
    VisiglotError,
)

INVALID, SERVER, BUSY = "invalid_request_error", "server_error", "rate_limit_error"
MESSAGE_LENGTH = 1000
"""Characters of a message; a client's own words may stand in it."""

RETRY_SECONDS = 2
"""After which one who found the server busy may ask again."""


class ApiError(Exception):
    """What a client is told.

    Args:
        status: of HTTP.
        message: in plain words; never a picture's bytes or a key.
        type, code: as OpenAI's, for programs.
        param: which part of the request it is about.
        headers: of the response.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        type: str = INVALID,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.type = type
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


def invalid(message: str, param: str | None, code: str = "invalid_value", status: int = 400) -> ApiError:
    """Something in the request that can't be done."""
    return ApiError(status, message, param=param, code=code)


def busy(message: str) -> ApiError:
    """Too much is asked at a time."""
    return ApiError(429, message, type=BUSY, code="rate_limit_exceeded", headers={"Retry-After": str(RETRY_SECONDS)})


def timed_out(seconds: float) -> ApiError:
    """A request wasn't answered in time. Asked again by itself it would take as long."""
    message = f"The request wasn't answered within {seconds:g} s. Ask for fewer tokens or choices."
    return ApiError(504, message, type=SERVER, code="timeout", headers={"X-Should-Retry": "false"})


def failed() -> ApiError:
    """The server's own fault, which its log knows."""
    return ApiError(500, "The server failed on this request; its log says more.", type=SERVER, code="server_error")


def api_error(error: VisiglotError, *, closing: bool = False) -> ApiError:
    """How a client is told of an error of the library.

    Args:
        closing: whether the server is on its way out.
    """
    message = error.message if len(error.message) <= MESSAGE_LENGTH else f"{error.message[:MESSAGE_LENGTH]}…"
    if error.hint and len(error.hint) <= MESSAGE_LENGTH:
        message = f"{message}. {error.hint}"
    if isinstance(error, QueueFullError):
        return busy(message)
    if isinstance(error, ImageError):
        return invalid(message, "messages", "invalid_image")
    if isinstance(error, TooLongError):
        return invalid(message, "messages", "context_length_exceeded")
    if isinstance(error, PromptError):
        return invalid(message, "messages", "invalid_prompt")
    if isinstance(error, LanguageError):
        return invalid(message, "languages", "unknown_language")
    if isinstance(error, ConfigError):
        return invalid("; ".join(error.problems), None)
    if closing:
        return ApiError(503, message, type=SERVER, code="server_closing", headers={"Retry-After": "10"})
    return ApiError(500, message, type=SERVER, code="server_error")

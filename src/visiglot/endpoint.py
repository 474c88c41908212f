"""Questions to an OpenAI-compatible chat endpoint: retries, limits, and errors that never show the key."""

from __future__ import annotations

import email.utils
import http.client
import json
import math
import os
import random
import re
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from visiglot.errors import ConfigError, EndpointError

LONGEST_PAUSE = 600.0
"""Seconds that an endpoint may ask us to wait; for a longer pause it is better to come back."""

LONGEST_BACKOFF = 60.0
"""Seconds between two tries where the endpoint doesn't say how long to wait."""

LARGEST_REPLY = 2**22
"""Bytes; an answer of a few sentences has some hundred."""

ABOUT_THE_TEXT = frozenset({"content_filter", "context_length_exceeded", "string_above_max_length"})
"""Codes of errors that are about one request; the next one may pass."""

WITHOUT_END = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
"""Codes that come with status 429 and that no waiting helps against."""

_KEY = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Reply:
    """The first choice of a chat completion.

    Args:
        content: of its message; None where there is none.
        refusal: the model's words where it declines, by the field of that name.
        finish_reason: "stop", "length" or another.
    """

    content: str | None
    refusal: str | None
    finish_reason: str | None


class TextRefusedError(Exception):
    """The endpoint doesn't take this request; it may take others."""


class StoppedError(Exception):
    """Another request met an error that ends the work."""


class Pace:
    """When requests may start.

    Args:
        per_minute: requests, evenly spread; None: as many as there are.
        clock: seconds.
    """

    def __init__(self, per_minute: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 60.0 / per_minute if per_minute else 0.0
        self._clock = clock
        self._lock = threading.Lock()
        self._free = self._held = -math.inf

    def reserve(self) -> float:
        """Seconds until the next request may start; its place is taken."""
        with self._lock:
            now = self._clock()
            start = max(now, self._free, self._held)
            self._free = start + self._interval
            return start - now

    def hold(self, seconds: float) -> None:
        """Let nothing start for so long."""
        with self._lock:
            self._held = max(self._held, self._clock() + seconds)

    def held(self) -> bool:
        """Whether nothing may start now, whatever was reserved."""
        with self._lock:
            return self._clock() < self._held


class Endpoint:
    """Asks a chat endpoint. Several threads may.

    Args:
        base_url: up to and without "/chat/completions".
        key_variable: the environment variable with the key; None: no key is sent. It is read at each request and kept
            nowhere.
        timeout: seconds that one request may take.
        retries: after the first try, for status 408, 429 and 5xx, broken replies, broken connections and timeouts.
        pace: when requests may start; retries count.
        total_tokens: that all replies together may have cost, prompts included; requests in flight may go beyond.

    Raises:
        ConfigError: the URL or the key can't be used.
    """

    def __init__(
        self,
        base_url: str,
        key_variable: str | None,
        *,
        timeout: float,
        retries: int,
        pace: Pace,
        total_tokens: int | None,
    ) -> None:
        self.base_url = _checked(base_url)
        self.key_variable = key_variable
        self.timeout = timeout
        self.retries = retries
        self.pace = pace
        self.total_tokens = total_tokens
        self.spent = 0
        self._lock = threading.Lock()
        self._opener = urllib.request.build_opener(_NoRedirects)
        self._key()

    def ask(self, body: Mapping[str, Any], stopped: threading.Event) -> Reply:
        """The reply to one request, after as many tries as it takes.

        Raises:
            EndpointError: the endpoint can't be used, or the limit on tokens is reached.
            TextRefusedError: the endpoint doesn't take this text.
            StoppedError: `stopped` was set.
        """
        data = json.dumps(body, ensure_ascii=False).encode()
        for attempt in range(self.retries + 1):
            self._start(stopped)
            try:
                return self._read(self._send(data))
            except _RetryError as error:
                if attempt == self.retries:
                    raise EndpointError(
                        f"{self.base_url}: {error}, at {attempt + 1} tries",
                        hint="Start again when the endpoint is well; what was answered is kept. Fewer `concurrent` "
                        "requests or `requests_per_minute` ask less of it.",
                    ) from error
                if error.pause is not None:
                    self.pace.hold(error.pause)
                wait(stopped, backoff(attempt))
        raise AssertionError("the last try returns or raises")

    def _start(self, stopped: threading.Event) -> None:
        while True:
            if stopped.is_set():
                raise StoppedError
            if self.total_tokens is not None and self.spent >= self.total_tokens:
                raise EndpointError(
                    f"{self.base_url}: {self.spent:,} tokens are used, and total_tokens is {self.total_tokens:,}",
                    hint="What was answered is kept: start again to spend as much once more, or raise the limit.",
                )
            delay = self.pace.reserve()
            if delay > 0:
                wait(stopped, delay)
            if not self.pace.held():
                return

    def _send(self, data: bytes) -> bytes:
        request = urllib.request.Request(f"{self.base_url}/chat/completions", data=data, method="POST")
        request.add_header("Content-Type", "application/json")
        request.add_header("Accept", "application/json")
        request.add_header("User-Agent", "visiglot")
        if key := self._key():
            request.add_unredirected_header("Authorization", f"Bearer {key}")
        until = time.monotonic() + self.timeout
        try:
            with self._opener.open(request, timeout=self.timeout) as response:
                return _whole(response, until)
        except urllib.error.HTTPError as error:
            with error:
                raise self._failure(error, until) from None
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                raise EndpointError(
                    f"{self.base_url}: its certificate isn't valid: {error.reason.verify_message}",
                    hint="Check the URL, or name the authority's certificates in SSL_CERT_FILE.",
                ) from error
            raise _RetryError(f"can't be reached: {_unreached(error.reason)}") from error
        except (OSError, http.client.HTTPException) as error:
            raise _RetryError(f"the connection broke: {_unreached(error)}") from error

    def _failure(self, error: urllib.error.HTTPError, until: float) -> Exception:
        """What an answer with another status than 200 means."""
        try:
            body = _whole(error, until)
        except (OSError, http.client.HTTPException, _RetryError):
            body = b""
        code, message = _error_of(body)
        line = self._line(message)
        said = f"status {error.code}" + (f": {line}" if line else "")
        where = f"{self.base_url}: {said}"
        if error.code in (408, 429) or error.code >= 500:
            pause = pause_asked(error.headers.get("Retry-After"))
            if code in WITHOUT_END:
                return EndpointError(where, hint="Add credit, then start again; what was answered is kept.")
            if pause is not None and pause > LONGEST_PAUSE:
                hint = f"It asks for a pause of {pause / 60:,.0f} minutes. Start again then; what was answered is kept."
                return EndpointError(where, hint=hint)
            return _RetryError(said, pause)
        if code in ABOUT_THE_TEXT:
            return TextRefusedError(said)
        hint = "Check base_url, the model's name and `extra`."
        if 300 <= error.code < 400:
            hint = "It points to another place, which isn't followed; check base_url."
        elif error.code in (401, 403):
            hint = "Name the environment variable that has the key of this endpoint in key_variable."
        return EndpointError(where, hint=hint)

    def _read(self, body: bytes) -> Reply:
        try:
            reply = json.loads(body)
            choice = reply["choices"][0]
            message = choice["message"]
            found = Reply(message.get("content"), message.get("refusal"), choice.get("finish_reason"))
            if not all(part is None or isinstance(part, str) for part in (found.content, found.refusal)):
                raise TypeError
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
            line = self._line(body.decode("utf-8", errors="replace"))
            raise _RetryError(f"its reply is no chat completion: {line!r}") from error
        self._count(reply.get("usage"))
        return found

    def _count(self, usage: Any) -> None:
        tokens = usage.get("total_tokens") if isinstance(usage, dict) else None
        if isinstance(tokens, int):
            with self._lock:
                self.spent += tokens
        elif self.total_tokens is not None:
            raise EndpointError(
                f"{self.base_url} doesn't say how many tokens it used, so total_tokens can't be kept",
                hint="Leave total_tokens out; requests_per_minute works all the same.",
            )

    def _key(self) -> str | None:
        if self.key_variable is None:
            return None
        key = os.environ.get(self.key_variable, "").strip()
        if not _KEY.fullmatch(key):
            what = "holds characters that no key has" if key else "isn't set"
            raise ConfigError(self.base_url, [f"key_variable: the environment variable {self.key_variable} {what}"])
        return key

    def _line(self, text: str) -> str:
        """The first line without the key, as much as a message can hold, and nothing that a terminal obeys."""
        key = self._key()
        line = next(iter((text.replace(key, "***") if key else text).strip().splitlines()), "")
        return "".join(c if c.isprintable() else " " for c in line[:300])


def backoff(attempt: int) -> float:
    """Seconds to wait after a failed try, 0 being the first: about 1, 2, 4; at random, so that not all come at once."""
    return random.uniform(0.5, 1.5) * min(2.0**attempt, LONGEST_BACKOFF)


def pause_asked(retry_after: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, in either of its forms; None: it asks for nothing."""
    if retry_after is None:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def wait(stopped: threading.Event, seconds: float) -> None:
    """Sleep, unless it is over. Raises StoppedError: `stopped` was set."""
    if stopped.wait(seconds):
        raise StoppedError


class _RetryError(Exception):
    """A try failed, and the next one may not. `pause`: seconds that the endpoint asks for."""

    def __init__(self, message: str, pause: float | None = None) -> None:
        super().__init__(message)
        self.pause = pause


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The key and the texts go to the place that was named and to no other."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        well = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        well = False
    if not well or re.search(r"[\s\x00-\x1f]", url):
        problem = f"base_url: {url!r} is no address; it looks like https://api.example.org/v1"
    elif "@" in parts.netloc:
        problem = "base_url: has a name or password in it; keys come from the environment variable in key_variable"
    elif parts.query or parts.fragment:
        problem = f"base_url: {url!r} ends with a query or a fragment; /chat/completions is put behind it"
    elif parts.path.rstrip("/").endswith("/chat/completions"):
        problem = f"base_url: leave /chat/completions out of {url!r}"
    else:
        return url.rstrip("/")
    raise ConfigError("endpoint", [problem])


def _whole(response: Any, until: float) -> bytes:
    """The body. Raises _RetryError: it is too large, or takes too long."""
    parts: list[bytes] = []
    size = 0
    while part := response.read1(65536):
        parts.append(part)
        size += len(part)
        if size > LARGEST_REPLY:
            raise _RetryError(f"its reply has more than {LARGEST_REPLY:,} bytes")
        if time.monotonic() > until:
            raise _RetryError("its reply takes too long")
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    return b"".join(parts)


def _error_of(body: bytes) -> tuple[str | None, str]:
    """Code and message of an error's body; the body itself where it has none."""
    text = body.decode("utf-8", errors="replace")
    try:
        error = json.loads(text)["error"]
        code, message = (error.get("code"), error.get("message")) if isinstance(error, dict) else (None, error)
    except (ValueError, KeyError, TypeError, RecursionError):
        code, message = None, text
    return (code if isinstance(code, str) else None), str(message or text)


def _unreached(reason: object) -> str:
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    if isinstance(reason, OSError):
        return reason.strerror or type(reason).__name__
    return type(reason).__name__ if isinstance(reason, Exception) else str(reason)

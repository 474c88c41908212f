"""What one request, and all of them together, may ask of the server."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """Limits of the HTTP side; those of the queue and the running batch are the engine's.

    Args:
        body_bytes: of a request's body.
        held_bytes: of all bodies and fetched pictures that requests hold at a time.
        requests: that are worked on or wait at a time.
        images: in one request.
        image_bytes: encoded, of one picture.
        image_pixels: width times height of one picture, told by its header.
        messages: turns of one request.
        choices: answers to one request, languages times `n`.
        logprobs: of chosen tokens and of the likeliest ones beside them, in all answers to one request.
        new_tokens: that an answer may have.
        default_new_tokens: that it may have if the request doesn't say.
        body_seconds: for a body to arrive.
        fetch_seconds: for a picture to be fetched, redirects included.
        request_seconds: for a request to be answered, its wait in the queue included.
    """

    body_bytes: int = 32 * MIB
    held_bytes: int = 512 * MIB
    requests: int = 512
    images: int = 8
    image_bytes: int = 16 * MIB
    image_pixels: int = 25_000_000
    messages: int = 128
    choices: int = 128
    logprobs: int = 100_000
    new_tokens: int = 1024
    default_new_tokens: int = 256
    body_seconds: float = 30.0
    fetch_seconds: float = 10.0
    request_seconds: float = 300.0

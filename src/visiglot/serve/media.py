"""The pictures of a request: from URLs to encoded bytes in memory, of which nothing but the header was read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import Executor
from functools import partial

from visiglot.errors import ImageError
from visiglot.images import DATA, data_url_bytes, picture_size
from visiglot.serve.errors import invalid
from visiglot.serve.fetch import Fetcher
from visiglot.serve.limits import Limits
from visiglot.serve.load import Held
from visiglot.serve.schema import ChatRequest, ImagePart
from visiglot.types import ImageRef

Where = tuple[int, int]
"""Message and part of a picture, from 0."""


class Media:
    """Reads the pictures of requests. Paths and `file:` are never read.

    Args:
        fetcher: of pictures from the web; None: none is ever fetched.
        pool: threads that decode base64 and read headers.
    """

    def __init__(self, limits: Limits, fetcher: Fetcher | None, pool: Executor) -> None:
        self._limits = limits
        self._fetcher = fetcher
        self._pool = pool

    async def pictures(self, request: ChatRequest, held: Held) -> Mapping[Where, ImageRef]:
        """Every picture of `request`; those of one URL are one object.

        Args:
            held: gets the bytes that are fetched.

        Raises:
            ApiError: 400; too many, or one can't be read or fetched. 429; see `Held.add`.
        """
        urls = {
            (message, part): content.image_url.url
            for message, turn in enumerate(request.messages)
            for part, content in enumerate(turn.content)
            if isinstance(content, ImagePart)
        }
        for message, turn in enumerate(request.messages):
            if turn.role != "user" and any(isinstance(content, ImagePart) for content in turn.content):
                raise invalid("Pictures may stand in user messages only.", f"messages[{message}]")
        if len(urls) > self._limits.images:
            raise invalid(
                f"The request shows {len(urls)} pictures; this server takes {self._limits.images} "
                "(--limit-mm-per-prompt).",
                "messages",
                "too_many_images",
            )
        loaded: dict[str, ImageRef] = {}
        for where, url in urls.items():
            if url not in loaded:
                loaded[url] = await self._load(url, param_of(where), held)
        return {where: loaded[url] for where, url in urls.items()}

    async def _load(self, url: str, param: str, held: Held) -> ImageRef:
        loop = asyncio.get_running_loop()
        limits = self._limits
        try:
            if url[: len(DATA)].lower() == DATA:
                decode = partial(data_url_bytes, url, max_bytes=limits.image_bytes)
                data = await loop.run_in_executor(self._pool, decode)
            else:
                data = await self._fetched(url, param, held)
            ref = ImageRef(param, data=data)
            look = partial(picture_size, ref, max_pixels=limits.image_pixels, max_bytes=limits.image_bytes)
            await loop.run_in_executor(self._pool, look)
        except ImageError as error:
            raise invalid(error.message, param, "invalid_image") from None
        return ref

    async def _fetched(self, url: str, param: str, held: Held) -> bytes:
        scheme = url.partition(":")[0].lower()
        if scheme not in ("http", "https"):
            why = "it is no data URL"
        elif self._fetcher is None:
            why = "this server fetches no pictures"
        else:
            held.add(self._limits.image_bytes)
            data = await self._fetcher.fetch(url, param)
            held.add(len(data) - self._limits.image_bytes)
            return data
        raise invalid(
            f"`{param}`: {why}. Send the picture's bytes (data:image/png;base64,...).", param, "invalid_image_url"
        )


def param_of(where: Where) -> str:
    """What a picture is called in errors."""
    return f"messages[{where[0]}].content[{where[1]}].image_url"

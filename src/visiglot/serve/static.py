"""The page at `/`: files of the package, read once, and the headers that say what a browser may do with them."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import tomllib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from fastapi import FastAPI, Request, Response

from visiglot.languages import Language, all_languages, language

PAGE = "index.html"
FOLDER = "/page"
"""Where everything lies that the page loads."""

CAMERA = "camera=(self), microphone=(), geolocation=()"

_PACKAGE = resources.files("visiglot")
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".json": "application/json",
}
_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


@dataclass(frozen=True)
class File:
    """What is sent for a path.

    Args:
        kind: its media type.
        policy: content security policy.
    """

    kind: str
    data: bytes
    policy: str = "default-src 'none'; frame-ancestors 'none'"

    def response(self) -> Response:
        return Response(
            self.data,
            headers={
                "Content-Type": self.kind,
                "Content-Security-Policy": self.policy,
                "Cache-Control": "no-cache",
                "Cross-Origin-Opener-Policy": "same-origin",
                "Cross-Origin-Resource-Policy": "same-origin",
                "Permissions-Policy": CAMERA,
                "Referrer-Policy": "no-referrer",
                "X-Content-Type-Options": "nosniff",
            },
        )


def add_page(app: FastAPI) -> None:
    """Serve the page and what it loads. Nobody needs a key for them: they say nothing of the model."""
    for name, file in page_files():
        app.add_route("/" if name == PAGE else f"{FOLDER}/{name}", _sender(file))


def _sender(file: File) -> Callable[[Request], Awaitable[Response]]:
    async def send(_: Request) -> Response:
        return file.response()

    return send


def page_files() -> Iterator[tuple[str, File]]:
    """The page, its icon, the table that it reads and the example pictures, by name."""
    own = _PACKAGE / "serve" / "page"
    html = (own / PAGE).read_bytes()
    yield PAGE, File(_KINDS[".html"], html, page_policy(html.decode("utf-8")))
    yield "icon.svg", File(_KINDS[".svg"], (own / "icon.svg").read_bytes())
    pictures = sorted(
        (one for one in (_PACKAGE / "nano" / "examples").iterdir() if one.name.endswith(".png")),
        key=lambda one: one.name,
    )
    words = tomllib.loads((own / "words.toml").read_text(encoding="utf-8"))
    table = page_table(words, [one.name for one in pictures])
    yield "table.json", File(_KINDS[".json"], json.dumps(table, ensure_ascii=False).encode("utf-8"))
    for one in pictures:
        yield one.name, File(_KINDS[".png"], one.read_bytes())


def page_policy(html: str) -> str:
    """The policy of a page that runs its own script and style alone, by their hashes, and writes text only as text."""
    allowed: dict[str, list[str]] = {"script": [], "style": []}
    for kind, text in _INLINE.findall(html):
        digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode()
        allowed[kind].append(f"'sha256-{digest}'")
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {' '.join(allowed['script'])}",
            f"style-src {' '.join(allowed['style'])}",
            "img-src 'self' blob:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def page_table(words: Mapping[str, Mapping[str, str]], examples: list[str]) -> dict[str, Any]:
    """What the page reads: the languages by all their names, its own words, and which pictures there are."""
    return {
        "languages": [_row(row) for row in all_languages()],
        "words": {language(code).code: dict(row) for code, row in words.items()},
        "examples": examples,
    }


def _row(row: Language) -> dict[str, Any]:
    names = dict.fromkeys((row.native, row.name, row.code, row.bcp47, *row.aliases))
    return {
        "code": row.code,
        "tag": row.bcp47,
        "name": row.name,
        "native": row.native,
        "names": list(names),
        "script": row.script,
        "dir": row.direction,
    }

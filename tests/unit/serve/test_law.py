"""One fetcher only: nothing else in this room can reach the web or open what a request names."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import visiglot.serve

ROOM = Path(next(iter(visiglot.serve.__path__)))
MODULES = sorted(ROOM.rglob("*.py"))

CLIENTS = frozenset(
    {
        "aiohttp",
        "datasets",
        "fsspec",
        "ftplib",
        "h11",
        "http",
        "httpcore",
        "httpx",
        "httpx2",
        "huggingface_hub",
        "openai",
        "pycurl",
        "requests",
        "smtplib",
        "socket",
        "ssl",
        "subprocess",
        "telnetlib",
        "urllib",
        "urllib3",
        "websockets",
        "xmlrpc",
        "visiglot.endpoint",
    }
)
"""Modules that a request could be sent with."""

CALLS = frozenset(
    {"create_connection", "open_connection", "open_unix_connection", "sock_connect", "urlopen", "urlretrieve"}
)

MAY = {
    "fetch.py": {"h11", "socket", "ssl", "urllib", "open_connection", "sock_connect"},
    "server.py": {"socket"},
    "access.py": {"urllib"},
    "static.py": {"read_bytes", "read_text"},
}
"""Files and what they may use: the fetcher; the server's own socket, on which it listens; `urlsplit` of a header; the
package's own files, which are read before anybody asks for one."""


def used(source: str) -> set[str]:
    """Of CLIENTS and CALLS what a module uses, and `open` where it opens a file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            found |= {name} & (
                CALLS | {"open", "read_bytes", "read_text", "import_module", "__import__", "eval", "exec"}
            )
        for name in names:
            found |= {name, name.split(".")[0]} & CLIENTS
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_no_module_but_the_fetcher_reaches_the_web(path: Path) -> None:
    assert used(path.read_text(encoding="utf-8")) <= MAY.get(path.name, set())


def test_what_a_module_may_use_it_does_use() -> None:
    assert {name: used((ROOM / name).read_text(encoding="utf-8")) for name in MAY} == MAY


@pytest.mark.parametrize(
    "source",
    [
        "import requests",
        "def f():\n    import urllib.request",
        "from urllib.request import urlopen",
        "from http import client",
        "from visiglot.endpoint import Endpoint",
        "from visiglot import endpoint",
        "import httpx as h",
        "async def f(loop): await loop.create_connection(None)",
        "import asyncio\nasyncio.open_connection('x', 80)",
        "open('/etc/passwd')",
        "from pathlib import Path\nPath('/etc/passwd').read_bytes()",
        "__import__('requests')",
    ],
)
def test_a_breach_is_found(source: str) -> None:
    assert used(source)

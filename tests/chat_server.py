"""A chat endpoint on this machine that stands in for an OpenAI-compatible one."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[dict[str, Any], int], tuple[int, dict[str, str], bytes]]


def chat(content: Any, finish: Any = "stop", *, tokens: int | None = 10, **message: Any) -> bytes:
    reply: dict[str, Any] = {
        "choices": [{"message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}]
    }
    if tokens is not None:
        reply["usage"] = {"total_tokens": tokens}
    return json.dumps(reply).encode()


def text_in(body: dict[str, Any]) -> str:
    content: str = body["messages"][0]["content"]
    return content.rpartition("\n\n")[2]


@dataclass
class StandIn:
    """A chat endpoint on this machine. `answer(body, number)` says status, headers and body of each request."""

    url: str = ""
    answer: Answer = lambda body, number: (200, {}, chat(f"<{text_in(body)}>"))
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def serving() -> Iterator[StandIn]:
    """A stand-in that serves until the end of the block."""
    stand_in = StandIn()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with stand_in.lock:
                number = len(stand_in.bodies)
                stand_in.bodies.append(body)
                stand_in.headers.append({name.lower(): value for name, value in self.headers.items()})
                stand_in.paths.append(self.path)
            status, headers, data = stand_in.answer(body, number)
            try:
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(data))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)
            except (BrokenPipeError, ConnectionResetError):
                pass

        def do_GET(self) -> None:
            with stand_in.lock:
                stand_in.paths.append(self.path)
            self.send_error(404)

        def log_message(self, *_: Any) -> None:
            pass

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.daemon_threads = True
    thread = threading.Thread(target=served.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    stand_in.url = f"http://127.0.0.1:{served.server_address[1]}/v1"
    try:
        yield stand_in
    finally:
        served.shutdown()
        served.server_close()

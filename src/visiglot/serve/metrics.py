"""What `/metrics` tells, in Prometheus' text format (version 0.0.4)."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate

from visiglot.serve.asks import EngineStats

SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Upper ends of the histograms' buckets."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

GAUGES = {
    "running": "Answers that are being made.",
    "waiting": "Asks that haven't started.",
    "tokens": "Tokens that the running answers may hold at their end.",
    "max_batch_tokens": "Limit of visiglot_tokens.",
    "feature_bytes": "Bytes of pictures' features that are kept.",
    "max_feature_bytes": "Limit of visiglot_feature_bytes.",
}
COUNTERS = {
    "feature_hits": "Pictures whose features were there.",
    "feature_misses": "Pictures that had to be encoded.",
    "finished": "Answers that came to their end.",
    "cancelled": "Answers that were left by who asked.",
    "failed": "Answers that ended in an error.",
    "refused": "Asks that found the queue full or waited too long.",
    "restarted": "Answers that were begun again because another one broke their batch.",
    "prompt_tokens": "Tokens of prompts that were read.",
    "completion_tokens": "Tokens that were made.",
}
"""Of the engine, by the fields of EngineStats."""


class Histogram:
    """Seconds by bucket."""

    def __init__(self) -> None:
        self._counts = [0] * (len(SECONDS) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(SECONDS, seconds)] += 1
        self._sum += seconds

    def lines(self, name: str) -> Iterator[str]:
        totals = list(accumulate(self._counts))
        yield from (f'{name}_bucket{{le="{end:g}"}} {total}' for end, total in zip(SECONDS, totals))
        yield f'{name}_bucket{{le="+Inf"}} {totals[-1]}'
        yield f"{name}_sum {self._sum:.6f}"
        yield f"{name}_count {totals[-1]}"


class Metrics:
    """Counts of the HTTP side. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._whole = Histogram()
        self._first = Histogram()

    def request(self, route: str, status: int) -> None:
        """A request that was answered, or left by its client (status 499)."""
        with self._lock:
            self._requests[route, status] += 1

    def first_piece(self, seconds: float) -> None:
        """From a chat request's first byte to the first piece of an answer."""
        with self._lock:
            self._first.add(seconds)

    def answered(self, seconds: float) -> None:
        """From a chat request's first byte to the end of its last answer."""
        with self._lock:
            self._whole.add(seconds)

    def text(self, stats: EngineStats, *, requests: int, held_bytes: int) -> str:
        """The page.

        Args:
            requests, held_bytes: that are worked on now, and the bytes of their bodies and pictures.
        """
        with self._lock:
            lines = [
                *_family("http_requests_total", "counter", "Requests by route and status."),
                *(
                    f'visiglot_http_requests_total{{route="{route}",status="{status}"}} {count}'
                    for (route, status), count in sorted(self._requests.items())
                ),
                *_family("first_piece_seconds", "histogram", "To the first piece of an answer."),
                *self._first.lines("visiglot_first_piece_seconds"),
                *_family("request_seconds", "histogram", "To the end of a request's last answer."),
                *self._whole.lines("visiglot_request_seconds"),
            ]
        lines += _one("http_requests", "gauge", "Chat requests that are worked on.", requests)
        lines += _one("held_bytes", "gauge", "Bytes of bodies and fetched pictures that are held.", held_bytes)
        for name, text in GAUGES.items():
            lines += _one(name, "gauge", text, getattr(stats, name))
        for name, text in COUNTERS.items():
            lines += _one(f"{name}_total", "counter", text, getattr(stats, name))
        return "\n".join(lines) + "\n"


def _family(name: str, kind: str, text: str) -> list[str]:
    return [f"# HELP visiglot_{name} {text}", f"# TYPE visiglot_{name} {kind}"]


def _one(name: str, kind: str, text: str, value: int) -> list[str]:
    return [*_family(name, kind, text), f"visiglot_{name} {value}"]

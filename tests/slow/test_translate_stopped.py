"""`visiglot translate` with a slow engine that is paid, killed and interrupted: next to nothing is asked for again."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.chat_server import StandIn, chat, serving, text_in
from tests.slow.test_translate_end_to_end import files

pytestmark = pytest.mark.slow

TEXTS, CONCURRENT = 300, 4


@pytest.fixture
def endpoint() -> Iterator[StandIn]:
    """Translates a sentence in a hundredth of a second."""

    def answer(body: dict[str, Any], _: int) -> tuple[int, dict[str, str], bytes]:
        time.sleep(0.01)
        return 200, {}, chat(text_in(body).replace("a dog with number", "ein Hund mit Nummer"))

    with serving() as stand_in:
        stand_in.answer = answer
        yield stand_in


def start(folder: Path, name: str, endpoint: StandIn) -> subprocess.Popen[str]:
    """Translate captions into `folder`/`name`, with a cache of its own."""
    captions = folder / "captions.jsonl"
    if not captions.exists():
        rows = [{"image": f"{n}.jpg", "caption": f"a dog with number {n}"} for n in range(TEXTS)]
        captions.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
        (folder / "pictures").mkdir()
    options = [f"base_url={endpoint.url}", "model=tests/chat", f"concurrent={CONCURRENT}"]
    command = [sys.executable, "-c", "from visiglot.cli import main; main()", "translate", "capfilt"]
    command += [f"path={captions}", f"images={folder / 'pictures'}", "--languages", "de", "--engine", "openai"]
    command += [word for option in options for word in ("--engine-option", option)] + ["--out", str(folder / name)]
    return subprocess.Popen(
        command,
        env={**os.environ, "VISIGLOT_CACHE": str(folder / f"{name}.cache"), "NO_PROXY": "*"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def finish(process: subprocess.Popen[str], *, code: int = 0) -> None:
    _, complained = process.communicate(timeout=120)
    assert process.returncode == code, complained


def stored(folder: Path, name: str) -> set[str]:
    """The texts that are in the store."""
    (path,) = (folder / f"{name}.cache" / "translations").glob("*.sqlite")
    with sqlite3.connect(path) as connection:
        return {text for (text,) in connection.execute("SELECT text FROM outputs")}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_what_was_answered_before_it_was_stopped_isnt_asked_again(
    tmp_path: Path, endpoint: StandIn, number: signal.Signals
) -> None:
    finish(start(tmp_path, "straight", endpoint))
    assert len(endpoint.bodies) == TEXTS

    endpoint.bodies.clear()
    for wanted in (60, 150):
        process = start(tmp_path, "stopped", endpoint)
        deadline = time.monotonic() + 60
        while len(endpoint.bodies) < wanted:
            assert time.monotonic() < deadline, "nothing happened"
            time.sleep(0.005)
        process.send_signal(number)
        process.communicate(timeout=60)
        assert process.returncode
        before, kept = Counter(map(text_in, endpoint.bodies)), stored(tmp_path, "stopped")
        lost = set(before) - kept
        assert len(lost) <= 2 * CONCURRENT, "those that were in flight or just came"
        assert not (tmp_path / "stopped" / "capfilt.parquet").exists()
    finish(start(tmp_path, "stopped", endpoint))
    asked = Counter(map(text_in, endpoint.bodies))
    assert all(asked[text] == before[text] for text in kept), "what is stored is never asked for again"
    assert len(asked) == TEXTS
    assert asked.total() <= TEXTS + 2 * 2 * CONCURRENT
    assert files(tmp_path / "stopped") == files(tmp_path / "straight")

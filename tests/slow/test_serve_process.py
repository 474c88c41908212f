"""`visiglot serve` as a process of its own: asked by OpenAI's client, told to stop in the midst of an answer."""

from __future__ import annotations

import re
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import openai
import pytest
from tests.drawn import draw
from tests.unit.serve.asking import tiny
from tests.unit.serve.serving import drawn, shown, user

SECONDS = 120

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    built = tiny()
    built.model.save_pretrained(folder)
    built.processor.save_pretrained(folder)
    return folder


class Process:
    """A server; `said` are the lines of its stderr."""

    def __init__(self, *arguments: object, environment: Mapping[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "visiglot", "serve", *map(str, arguments), "--port", "0"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        assert self.process.stderr is not None
        self.said: list[str] = []
        self.url = self._wait_for_url(self.process.stderr)
        self._reader = threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True)
        self._reader.start()

    def client(self, key: str = "none") -> openai.OpenAI:
        return openai.OpenAI(base_url=self.url, api_key=key, max_retries=0, timeout=SECONDS)

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        code = self.process.wait(SECONDS)
        self._reader.join(SECONDS)
        return code

    def _wait_for_url(self, stderr: IO[str]) -> str:
        for line in stderr:
            self.said.append(line)
            if found := re.search(r"is served at (http://\S+);", line):
                return found[1]
        raise AssertionError("".join(self.said))

    def _read(self, stderr: IO[str]) -> None:
        self.said += list(stderr)


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    found: list[Process] = []
    yield found
    for one in found:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_answer_under_way_comes_to_its_end_when_the_server_is_told_to_stop(
    model: Path, processes: list[Process], number: signal.Signals
) -> None:
    server = Process(model)
    processes.append(server)
    asked = {"model": "tiny", "messages": [user("dog", drawn("red"))], "max_tokens": 600, "temperature": 1.5, "seed": 3}
    asked["n"] = 16
    client = server.client()
    whole = client.chat.completions.create(**asked)  # type: ignore[call-overload]
    assert whole.usage.completion_tokens > 1000
    texts = dict.fromkeys(range(16), "")
    ended: list[int] = []
    stopping = threading.Thread(target=lambda: ended.append(server.end(number)))
    for chunk in client.chat.completions.create(**asked, stream=True):  # type: ignore[call-overload]
        if not stopping.ident:
            stopping.start()
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    stopping.join(SECONDS)
    assert list(texts.values()) == [choice.message.content for choice in whole.choices]
    assert ended == [0]
    assert server.said[-1] == "stopped\n"
    with pytest.raises(openai.APIConnectionError):
        client.models.list()


def test_a_server_with_a_key_answers_who_has_it(
    model: Path, processes: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_KEY", "s3cret")
    server = Process(model, "--api-key-variable", "THE_KEY", "--host", "0.0.0.0", "--served-model-name", "mine")
    processes.append(server)
    server.url = server.url.replace("0.0.0.0", "127.0.0.1")
    with pytest.raises(openai.AuthenticationError):
        server.client().models.list()
    assert [one.id for one in server.client("s3cret").models.list()] == ["mine"]
    assert server.end(signal.SIGTERM) == 0
    assert "s3cret" not in "".join(server.said)


def test_many_requests_leave_memory_as_it_was(model: Path, processes: list[Process]) -> None:
    """Pictures that are all different, a limit on features that a few of them reach."""
    server = Process(model, "--feature-mb", "0")
    processes.append(server)
    client = server.client()
    sizes = []
    padding = draw("red", "circle")
    for number in range(300):
        other = padding + bytes(20_000) + str(number).encode()  # behind its end a PNG may have anything
        client.chat.completions.create(model="tiny", messages=[user("dog", shown(other))], max_tokens=4)
        sizes.append(_resident(server.process.pid))
    assert max(sizes[200:]) - max(sizes[50:150]) < 20 * 2**20


def _resident(process: int) -> int:
    """Bytes of a process in memory."""
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()

"""Replicas over Ray Serve on this machine: one is killed in the midst of answers; the documented file is served."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest
import yaml
from tests.docs.test_serving_page import serve_file
from tests.slow.test_serve_process import Process, model, processes  # noqa: F401
from tests.unit.serve.serving import drawn, user

pytestmark = pytest.mark.slow

SEEDS, CHOICES = 4, 4
REQUESTS, STREAMS = 8, 8
SECONDS = 300
"""For anything; the processes of Ray are many."""

Outcome = list[str | None] | str
"""The texts of an answer, or status and code of the error in its place."""

LOST = "503 replica_lost"


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """Of processes that can be told from all others. None is left at the end."""
    token = secrets.token_hex(32)
    ray = {"RAY_ADDRESS": "local", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, "RAY_worker_niceness": "0"}
    yield {**os.environ, **ray}
    wait_for(lambda: not named("", token))


def named(name: str, token: str) -> set[int]:
    """Processes of one test whose command begins with `name`."""
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if token in (path / "environ").read_text("utf-8", "replace") and (path / "cmdline").read_text().startswith(
                name
            ):
                found.add(int(path.name))
        except OSError:
            continue
    return found


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.05)


def asked(seed: int) -> dict[str, Any]:
    """Several answers, which take a while."""
    said = [user("dog", drawn("red"))]
    return {"model": "tiny", "messages": said, "max_tokens": 600, "temperature": 1.5, "seed": seed, "n": CHOICES}


def whole(client: openai.OpenAI, seed: int) -> Outcome:
    try:
        answer = client.chat.completions.create(**asked(seed))
    except openai.InternalServerError as error:
        return f"{error.status_code} {error.code}"
    return [choice.message.content for choice in answer.choices]


def streamed(client: openai.OpenAI, seed: int, begun: threading.Event) -> tuple[Outcome, list[str]]:
    """How it ended, and what was said of each choice by then."""
    texts = [""] * CHOICES
    try:
        for chunk in client.chat.completions.create(**asked(seed), stream=True):
            begun.set()
            texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    except openai.InternalServerError as error:
        return f"{error.status_code} {error.code}", texts
    except openai.APIError as error:  # an event in the stream
        return f"503 {error.code}", texts
    return list(texts), texts


def test_when_a_replica_is_killed_every_request_ends_once_and_can_be_asked_again(
    model: Path,  # noqa: F811
    processes: list[Process],  # noqa: F811
    environment: dict[str, str],
) -> None:
    server = Process(model, "--replicas", "2", environment=environment)
    processes.append(server)

    def replicas() -> set[int]:
        return named("ray::ServeReplica:visiglot", environment["RAY_AUTH_TOKEN"])

    client = server.client().with_options(timeout=SECONDS)
    expected = [whole(client, seed) for seed in range(SEEDS)]
    assert all(isinstance(texts, list) and len("".join(map(str, texts))) > 500 for texts in expected)
    before = replicas()
    assert len(before) == 2

    begun = [threading.Event() for _ in range(STREAMS)]
    with ThreadPoolExecutor(REQUESTS + STREAMS) as pool:
        answers = [pool.submit(whole, client, number % SEEDS) for number in range(REQUESTS)]
        streams = [pool.submit(streamed, client, number % SEEDS, begun[number]) for number in range(STREAMS)]
        assert all(event.wait(SECONDS) for event in begun)
        killed = min(before)
        os.kill(killed, signal.SIGKILL)
        ended = [answer.result(SECONDS) for answer in answers]
        ended_streams = [stream.result(SECONDS) for stream in streams]

    lost = [number for number, found in enumerate(ended) if found == LOST]
    lost_streams = [number for number, (found, _) in enumerate(ended_streams) if found == LOST]
    assert lost or lost_streams, "the killed one worked on nothing"
    for number, found in enumerate(ended):
        assert number in lost or found == expected[number % SEEDS]
    for number, (found, texts) in enumerate(ended_streams):
        assert number in lost_streams or found == expected[number % SEEDS]
        assert all(str(own).startswith(text) for own, text in zip(expected[number % SEEDS], texts))
    assert len(lost) + len(lost_streams) < REQUESTS + STREAMS, "the other one goes on"

    again = client.with_options(max_retries=5)
    for number in (*lost[:2], *lost_streams[:2]):
        assert whole(again, number % SEEDS) == expected[number % SEEDS]
    wait_for(lambda: len(replicas() - {killed}) == 2)
    assert whole(again, 0) == expected[0]

    assert server.end(signal.SIGTERM) == 0
    assert server.said[-1] == "stopped\n"


def test_a_documented_file_is_served_with_its_keys_and_errors_of_openais_shape(
    model: Path,  # noqa: F811
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    values = serve_file()
    (application,) = values["applications"]
    application["args"] |= {"model": str(model), "replicas": 1, "cpus": 1, "gpus": 0}
    values["http_options"] |= {"host": "127.0.0.1", "port": port}
    file = tmp_path / "visiglot.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    command = [str(Path(sys.executable).with_name("serve")), "run", str(file)]
    variable = application["args"]["api_key_variable"]
    environment |= {"RAY_USAGE_STATS_ENABLED": "0", variable: "s3cret"}
    with (
        (tmp_path / "said").open("w", encoding="utf-8") as said,
        subprocess.Popen(
            command,
            env=environment,
            stdout=said,
            stderr=said,
            # a command in the background is born deaf to it
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        ) as process,
    ):
        try:
            client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="s3cret", max_retries=0)
            wait_for(lambda: answers(client) or process.poll() is not None)
            assert process.poll() is None, (tmp_path / "said").read_text(encoding="utf-8")
            with pytest.raises(openai.AuthenticationError) as error:
                client.with_options(api_key="other").models.list()
            assert error.value.code == "invalid_api_key"
            asking = {"model": "tiny", "messages": [user("dog", drawn("red"))], "max_tokens": 8}
            answer = client.chat.completions.create(**asking)  # type: ignore[call-overload]
            chunks = client.chat.completions.create(**asking, stream=True)  # type: ignore[call-overload]
            assert (
                "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == answer.choices[0].message.content
            )
            with pytest.raises(openai.BadRequestError):
                client.chat.completions.create(**{**asking, "max_tokens": 10**6})  # type: ignore[call-overload]
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()  # leaving the block waits for it without an end
                raise


def answers(client: openai.OpenAI) -> bool:
    """Whether the model is there; until then the proxy isn't, or says in OpenAI's shape that nobody answers."""
    try:
        return bool(list(client.models.list()))
    except openai.APIConnectionError:
        return False
    except openai.InternalServerError as error:
        if f"{error.status_code} {error.code}" != LOST:
            raise
        return False

"""What holds for every test: no network, its own cache, one thread, and in CI no slow or browser test that is skipped.

All of it works in each pytest-xdist worker alike, since a worker loads this file too.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

MUST_RUN = ("slow", "browser")
"""Markers of tests that may be left out by choice, but in CI (CI=true) never by a skip."""

_CACHE = pytest.StashKey[Path]()

os.environ.update(
    HF_HUB_OFFLINE="1",
    TRANSFORMERS_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    TOKENIZERS_PARALLELISM="false",
    OMP_WAIT_POLICY="PASSIVE",
    OMP_NUM_THREADS="1",  # read by torch when it is imported, here and in child processes
    MKL_NUM_THREADS="1",
)


class NetworkError(RuntimeError):
    """A test tried to reach something beyond this machine. No OSError, so that no code under test takes it for one."""


def pytest_configure(config: pytest.Config) -> None:
    """Before anything is collected: an empty cache of this process, and no user's one."""
    config.stash[_CACHE] = cache = Path(tempfile.mkdtemp(prefix="visiglot-tests-"))
    os.environ["VISIGLOT_CACHE"] = str(cache / "visiglot")
    os.environ["HF_HOME"] = str(cache / "huggingface")


def pytest_unconfigure(config: pytest.Config) -> None:
    cache = config.stash.get(_CACHE, None)
    if cache is not None:
        shutil.rmtree(cache, ignore_errors=True)


def is_local(address: Any) -> bool:
    """Whether a socket address stays on this machine: AF_UNIX (text or bytes), or a loopback (host, port, ...)."""
    if not isinstance(address, tuple):
        return True
    host = str(address[0])
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@pytest.fixture(scope="session", autouse=True)
def _no_network() -> Iterator[None]:
    """Connecting a socket to anything but this machine raises NetworkError."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))
        yield


def _guarded(connect: Any) -> Any:
    def guarded(self: socket.socket, address: Any) -> Any:
        if not is_local(address):
            raise NetworkError(f"a test tried to connect to {address!r}; tests draw and write all they need")
        return connect(self, address)

    return guarded


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """In CI, turn the skip of a slow or browser test into a failure."""
    report = yield
    must_run = [name for name in MUST_RUN if item.get_closest_marker(name)]
    if _in_ci() and must_run and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} ({', '.join(must_run)}) was skipped, which CI forbids: {_reason(report)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """In CI, a module that skips itself whole fails: nobody knows which markers its tests would have had."""
    report = yield
    if _in_ci() and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} was skipped whole, which CI forbids: {_reason(report)}"
    return report


def _in_ci() -> bool:
    return os.environ.get("CI") == "true"


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """The reason of a skip, which pytest keeps as (path, line, text)."""
    return str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else str(report.longrepr)

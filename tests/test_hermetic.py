"""The tests' own rules are in force: see conftest.py."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from visiglot.config import cache_dir

CONFTEST = Path(__file__).with_name("conftest.py")


@pytest.mark.parametrize("method", ["connect", "connect_ex"])
@pytest.mark.parametrize("host", ["192.0.2.1", "example.org"])
def test_connecting_beyond_this_machine_raises(host: str, method: str) -> None:
    with socket.socket() as client, pytest.raises(RuntimeError, match="tried to connect"):
        getattr(client, method)((host, 80))


def test_connecting_to_this_machine_works() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()


def test_the_cache_is_an_empty_folder_of_the_test_session() -> None:
    assert cache_dir().is_relative_to(Path(tempfile.gettempdir()))
    assert not cache_dir().is_relative_to(Path.home() / ".cache")


def test_torch_has_one_thread() -> None:
    import torch

    assert torch.get_num_threads() == 1


OUTCOMES = """
import pytest

@pytest.mark.slow
def test_slow(): pytest.skip("no reason")

@pytest.mark.browser
@pytest.mark.skipif(True, reason="no chromium")
def test_browser(): pass

def test_fast(): pytest.skip("elsewhere")

@pytest.mark.slow
@pytest.mark.xfail
def test_expected(): assert False
"""


@pytest.mark.parametrize(
    ("ci", "expected"),
    [("true", "1 failed, 1 skipped, 1 xfailed, 1 error"), ("", "3 skipped, 1 xfailed")],
)
def test_a_skipped_slow_or_browser_test_fails_in_ci_only(tmp_path: Path, ci: str, expected: str) -> None:
    assert expected in _pytest(tmp_path, OUTCOMES, ci)


@pytest.mark.parametrize(("ci", "expected"), [("true", "1 error"), ("", "1 skipped")])
def test_a_module_that_skips_itself_fails_in_ci_only(tmp_path: Path, ci: str, expected: str) -> None:
    assert expected in _pytest(tmp_path, 'import pytest\npytest.skip("whole", allow_module_level=True)\n', ci)


def _pytest(folder: Path, test: str, ci: str) -> str:
    """The output of pytest on one file, beside a copy of our conftest.py."""
    (folder / "conftest.py").write_text(CONFTEST.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "test_one.py").write_text(test, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "--rootdir", str(folder)]
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n  slow\n  browser\n", encoding="utf-8")
    environment = {**os.environ, "CI": ci}
    environment.pop("PYTEST_ADDOPTS", None)
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False).stdout

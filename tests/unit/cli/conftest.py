"""The command line run inside the test's process, on tiny models and drawn pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw
from typer.testing import CliRunner, Result

from visiglot.cli import app

Run = Callable[..., Result]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("VISIGLOT_CACHE", str(folder))
    return folder


@pytest.fixture
def run(cache: Path) -> Run:
    """`run("train", "nano")`: the command's result; an error that isn't turned into a sentence is raised.

    With `stdin=rows` the command reads those, a JSON object a line; a text stands as it is.
    """

    def invoke(*arguments: object, stdin: Sequence[object] | None = None) -> Result:
        lines = [row if isinstance(row, str) else json.dumps(row) for row in stdin or ()]
        return CliRunner().invoke(
            app, [str(argument) for argument in arguments], input="\n".join(lines), catch_exceptions=False
        )

    return invoke


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model with random weights; English and German are on its card."""
    from tests.tiny import build_tiny

    folder = tmp_path_factory.mktemp("models") / "tiny"
    built: Any = build_tiny()
    built.model.save_pretrained(folder)
    built.processor.save_pretrained(folder)
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with two pictures, one of them further down, and a file that only looks like one."""
    folder = tmp_path / "pictures"
    for name, colour in (("a.png", "red"), ("below/b.png", "blue")):
        picture = Image.new("RGB", (32, 32), "white")
        ImageDraw.Draw(picture).ellipse((4, 4, 28, 28), fill=colour)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(folder / name)
    (folder / "bad.jpg").write_bytes(b"no picture")
    return folder

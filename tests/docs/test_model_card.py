"""Every line of docs/from-the-model-card.md runs, on tiny checkpoints in the format of mBLIP's release."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.checkpoints import legacy_mblip
from tests.docs.test_blocks import PACKAGE, ROOT, blocks

PAGE = ROOT / "docs" / "from-the-model-card.md"
COMMANDS = [line for block in blocks(PAGE) if block.info == "sh" for line in block.code.splitlines()]
RUN = """
import shlex, sys
from visiglot.cli import app
for line in sys.stdin:
    app(shlex.split(line)[1:], standalone_mode=False)
"""
"""One process runs all commands: to start one for each takes longer than the answers."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory in which the released names are folders."""
    folder = tmp_path_factory.mktemp("card")
    shutil.copy(PACKAGE / "nano" / "examples" / "penguin.png", folder)
    legacy_mblip(folder / "Gregor" / "mblip-mt0-xl", "mt5")
    legacy_mblip(folder / "Gregor" / "mblip-bloomz-7b", "bloom")
    return folder


def run(folder: Path, script: str, stdin: str = "") -> str:
    environment = {**os.environ, "VISIGLOT_CACHE": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env=environment,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_its_commands_run(folder: Path) -> None:
    assert len(COMMANDS) >= 8
    assert all(shlex.split(line)[0] == "visiglot" for line in COMMANDS)
    printed = run(folder, RUN, "\n".join(COMMANDS))
    assert printed.count("penguin.png") == len(COMMANDS)
    assert printed.count("deu_Latn") == printed.count("arb_Arab") == 2


def test_its_yaml_names_known_keys(folder: Path) -> None:
    from visiglot.config import ModelSection

    text = next(block.code for block in blocks(PAGE) if block.info == "text")
    section = ModelSection.model_validate(yaml.safe_load(text))
    assert section.language_model.adapter == "path/to/adapter"
    assert section.prompt.image_first

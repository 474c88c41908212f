"""A disk that is full at any point of a run is one paragraph with exit code 2, and nothing is half-written.

The disk is a limit on the size of files that the kernel enforces on the process (RLIMIT_FSIZE): what writes beyond it
gets an OSError, at whichever write that happens to be.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from tests.drawn import drawn_recipe

from visiglot.config import dump_recipe
from visiglot.models.runs import checkpoints
from visiglot.train.checkpoint import check_contents

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
MAIN = "import tests.drawn; from visiglot.cli import main; main()"
KIB = 1024


def visiglot(folder: Path, *arguments: str, largest: int | None = None) -> subprocess.CompletedProcess[str]:
    """The command line in its own process, whose files may not grow beyond `largest` bytes."""

    def limit() -> None:
        if largest is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))

    environment = {
        **os.environ,
        "VISIGLOT_CACHE": str(folder / "cache"),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-c", MAIN, *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False,
        preexec_fn=limit,
    )  # fmt: skip


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "drawn.yaml"
    stages = ({"steps": 12}, {"steps": 2})
    path.write_text(dump_recipe(drawn_recipe(*stages, save_every=2)), encoding="utf-8")
    return path


CASES = {
    "lock": (0, []),
    "recipe": (KIB, []),
    "features": (2 * KIB, ["stages.0.cache_views=2"]),
    "log": (2 * KIB, ["train.save_every=100"]),
    "model": (100 * KIB, []),
    "trainer": (340 * KIB, ["stages.0.parts={language_model: {train: full}}"]),
}
"""What is being written when the disk is full -> bytes that fit into a file, and changes of the recipe."""


@pytest.mark.parametrize("case", CASES)
def test_a_run_on_a_full_disk_exits_with_2_and_leaves_what_was_whole(recipe: Path, tmp_path: Path, case: str) -> None:
    largest, changes = CASES[case]
    command = ["train", str(recipe), *changes, "--out", "run", "--device", "cpu"]
    found = visiglot(tmp_path, *command, largest=largest)
    said = found.stderr
    assert found.returncode == 2, said
    assert "Traceback" not in said, said
    paragraph = said[said.rindex("error  ") :]
    assert "File too large" in paragraph
    assert re.search(r"\brun\b|cache", paragraph), "it doesn't say where"
    for path in tmp_path.rglob("*"):
        assert ".partial" not in path.name, f"{path} is half-written"
    for checkpoint in checkpoints(tmp_path / "run"):
        check_contents(checkpoint)

    again = visiglot(tmp_path, *command)
    assert again.returncode == 0, again.stderr
    assert checkpoints(tmp_path / "run")[-1].folder.name == "stage1-2"
    lines = (tmp_path / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in lines] == [*range(1, 13), 1, 2]

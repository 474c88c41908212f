"""Several processes answer what one answers, each row once, also after one of them was killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def answer(out: Path, *launcher: str, kill_at: int = 0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *launcher, "-m", "tests.slow.answerer", str(out), str(kill_at)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def files(out: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in sorted((out / "predictions").iterdir())}


def noted(out: Path) -> list[str]:
    return [line for path in out.parent.glob(f"{out.name}.notes*") for line in path.read_text().splitlines()]


def test_two_processes_write_the_files_of_one_and_answer_nothing_twice(tmp_path: Path) -> None:
    one, two, killed = tmp_path / "one", tmp_path / "two", tmp_path / "killed"
    done = answer(one)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.split() == ["15", "0", "0"]
    done = answer(two, *TWO)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.split() == ["15", "0", "0"]
    assert files(two) == files(one)
    assert sorted(noted(two)) == sorted(noted(one))
    assert all((tmp_path / f"two.notes{rank}").read_text() for rank in (0, 1))

    assert answer(killed, *TWO, kill_at=3).returncode != 0
    before = len(noted(killed))
    assert 0 < before < 15
    done = answer(killed)
    assert done.returncode == 0, done.stderr[-4000:]
    made, kept, failed = map(int, done.stdout.split())
    assert (made + kept, failed) == (15, 0)
    assert kept >= before - 1  # the last may have been answered and not yet written
    assert files(killed) == files(one)

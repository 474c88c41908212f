"""Workers over Ray: the same files as a single process writes, whatever befalls the workers."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.formats import picture
from tests.slow.test_translate_end_to_end import files

from visiglot.data.parquet_source import ParquetSource

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),  # Ray writes one into the user's home otherwise
}


def start(folder: Path, name: str, workers: int, *options: str, ray: str = "local") -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.slow.crew", name, str(workers), *options]
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**ENVIRONMENT, "RAY_ADDRESS": ray},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    """What the process said to stderr."""
    said, complained = process.communicate(timeout=240)
    assert process.returncode == code, complained
    assert said == ""
    return complained


def run(folder: Path, name: str, workers: int, *options: str, code: int = 0, ray: str = "local") -> str:
    return finish(start(folder, name, workers, *options, ray=ray), code)


def noted(folder: Path, name: str) -> dict[int, list[str]]:
    """Process -> "language<tab>text" of all that its engine was asked for."""
    notes = [path for path in (folder / f"{name}.notes").iterdir() if path.name.isdecimal()]
    return {int(path.name): path.read_text(encoding="utf-8").splitlines() for path in notes}


def shards(out: Path) -> dict[Path, int]:
    """The shards that are there, with when they were written."""
    return {path: path.stat().st_mtime_ns for path in (out / "shards").rglob("*.json")}


@pytest.fixture
def alone(tmp_path: Path) -> Path:
    """What a single process writes."""
    run(tmp_path, "alone", 0)
    return tmp_path / "alone"


def test_two_workers_write_what_one_process_writes(tmp_path: Path, alone: Path) -> None:
    process = start(tmp_path, "crew", 2)
    said = finish(process)
    assert files(tmp_path / "crew") == files(alone)
    assert said == "", "Ray is quiet"
    asked = noted(tmp_path, "crew")
    assert len(asked) == 2, "each worker has an engine, and the process that was started translates nothing"
    assert process.pid not in asked
    lines = [json.loads(line) for line in (tmp_path / "crew" / "log.jsonl").read_text().splitlines()]
    assert sum(line["examples"] for line in lines) == 120
    translated = {line for own in asked.values() for line in own}
    assert translated == {line for own in noted(tmp_path, "alone").values() for line in own}
    run(tmp_path, "again", 2, f"store={tmp_path / 'crew.store'}")
    assert not (tmp_path / "again.notes").exists(), "all is in the store, which workers share"
    assert files(tmp_path / "again") == files(alone)


def test_a_killed_worker_costs_nothing_but_its_time(tmp_path: Path, alone: Path) -> None:
    said = run(tmp_path, "crew", 2, "kill=2")
    assert files(tmp_path / "crew") == files(alone)
    assert len(noted(tmp_path, "crew")) >= 3
    assert {path.name for path in (tmp_path / "crew.notes").glob("killed.*")} == {"killed.0", "killed.1"}
    assert "a worker died over shard facts/" in said


def test_what_one_process_began_workers_finish_and_the_other_way_round(tmp_path: Path, alone: Path) -> None:
    assert "the engine is gone" in run(tmp_path, "crew", 0, "fail_after=9", code=2)
    done = shards(tmp_path / "crew")
    assert done
    said = run(tmp_path, "crew", 2, "fail_after=4", code=2)
    assert said.splitlines()[-1] == "the engine is gone", "an engine's error is the user's, without Ray's"
    assert "Traceback" not in said
    assert shards(tmp_path / "crew").items() > done.items()
    run(tmp_path, "crew", 0)
    assert files(tmp_path / "crew") == files(alone)


def test_workers_that_die_again_and_again_are_given_up(tmp_path: Path) -> None:
    said = run(tmp_path, "crew", 2, "kill=1000", "kill_at=1", code=2)
    assert "3 workers died over shard facts/" in said
    assert "fewer --engine-workers" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_command_leaves_no_process_and_goes_on(tmp_path: Path, alone: Path, number: int) -> None:
    process = start(tmp_path, "crew", 2, "pause=0.2")
    wait_for(lambda: (tmp_path / "crew.notes").is_dir())
    workers = list(noted(tmp_path, "crew"))
    assert workers
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode
    assert json.loads((tmp_path / "crew" / "translation.json").read_text())["finished"] is False
    wait_for(lambda: not any(map(runs, workers)))
    run(tmp_path, "crew", 2)
    assert files(tmp_path / "crew") == files(alone)


@pytest.fixture
def cluster() -> Iterator[str]:
    """The address of a cluster that `ray start` has started."""
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # its sockets' paths must be short
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--port=0", "--num-cpus=2"]
    command += ["--include-dashboard=false", "--disable-usage-stats", f"--temp-dir={folder}"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, **quiet) as head:
        wait_for((folder / "ray_current_cluster").is_file)
        yield (folder / "ray_current_cluster").read_text(encoding="utf-8")
        assert head.poll() is None, "it is left as it was"
        head.terminate()
    shutil.rmtree(folder, ignore_errors=True)


def test_a_running_cluster_is_joined(tmp_path: Path, alone: Path, cluster: str) -> None:
    for name in ("crew", "again"):
        run(tmp_path, name, 2, ray=cluster)
        assert files(tmp_path / name) == files(alone)
        assert len(noted(tmp_path, name)) == 2, "relative paths lead where they lead from where it was started"


def test_the_command_line_does_it_with_an_engine_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    picture(folder, *(f"{n}.jpg" for n in range(8)))
    rows = [{"image": f"{n}.jpg", "caption": f"There are {n} dogs in the snow."} for n in range(8)]
    captions = folder / "captions.jsonl"
    captions.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    memory = tmp_path / "memory.tsv"
    words = [f"{rows[n]['caption']}\tEs sind {n} Hunde im Schnee.\tKuna mbwa {n} kwenye theluji." for n in range(8)]
    memory.write_text("\n".join(["en\tde\tsw", *words]), encoding="utf-8")
    command = [sys.executable, "-c", "from visiglot.cli import main; main()", "translate", "capfilt"]
    command += [
        f"path={captions}",
        f"images={folder}",
        "-l",
        "de,sw",
        "-e",
        "memory",
        "--engine-option",
        f"path={memory}",
    ]
    for workers in ("1", "2"):
        done = subprocess.run(
            [*command, "-o", str(tmp_path / workers), "--engine-workers", workers],
            env={**ENVIRONMENT, "RAY_ADDRESS": "local"},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert files(tmp_path / "1") == files(tmp_path / "2")
    made = ParquetSource(tmp_path / "2" / "capfilt.parquet", root=folder)
    said = [made[n].facts["caption"] for n in range(len(made))]
    assert said == [f"Es sind {n} Hunde im Schnee." for n in range(8)] + [
        f"Kuna mbwa {n} kwenye theluji." for n in range(8)
    ]


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not what():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.02)


def runs(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state.rpartition(")")[2].split()[0] != "Z"

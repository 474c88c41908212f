"""`visiglot train` as each launcher starts it: the first lines say what was found, the weights are the same."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tests.drawn import COLOURS, SHAPES, draw, drawn_recipe

from visiglot.config import Recipe, dump_recipe
from visiglot.models.runs import checkpoints

pytestmark = pytest.mark.slow

TRAIN = ("-m", "visiglot", "train", "recipe.yaml")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
ACCELERATE = ("-m", "accelerate.commands.launch", "--num_processes", "2", "--num_machines", "1",
              "--mixed_precision", "no", "--dynamo_backend", "no")  # fmt: skip
LAUNCHERS = {
    "torchrun": (TORCHRUN, "ddp"),
    "accelerate launch": ((*ACCELERATE, "--multi_gpu"), "ddp"),
    "fsdp": ((*ACCELERATE, "--use_fsdp", "--fsdp_version", "2"), "fsdp2"),
    "zero": ((*ACCELERATE, "--use_deepspeed", "--zero_stage", "2"), "zero2"),
}
"""Name of a run -> what starts it, and the recipe's sharding."""


def write_data(folder: Path) -> None:
    """Conversations about one picture, two or none."""
    (folder / "pictures").mkdir()
    rows = []
    for colour in COLOURS:
        for shape in SHAPES:
            (folder / "pictures" / f"{colour}-{shape}.png").write_bytes(draw(colour, shape))
            asked = {"from": "human", "value": "<image>\nWhat?"}
            row = {"id": colour, "image": f"{colour}-{shape}.png", "conversations": [asked]}
            rows.append(row | {"conversations": [asked, {"from": "gpt", "value": f"{colour} {shape}"}]})
        both = [f"{colour}-square.png", f"{colour}-bar.png"]
        asked = {"from": "human", "value": "<image> and <image>?"}
        rows.append({"id": "two", "image": both, "conversations": [asked, {"from": "gpt", "value": colour}]})
        asked = {"from": "human", "value": f"Is {colour} a colour?"}
        rows.append({"id": "none", "conversations": [asked, {"from": "gpt", "value": "yes"}]})
    (folder / "rows.json").write_text(json.dumps(rows), encoding="utf-8")


def recipe(folder: Path) -> Recipe:
    stage = {"steps": 3, "batch": {"rows": 6, "accumulate": 1}}
    values = drawn_recipe(stage, llm="llama").model_dump(mode="json", by_alias=True, exclude_none=True)
    options = {"path": str(folder / "rows.json"), "images": str(folder / "pictures")}
    values["data"] = {"sources": [{"type": "llava", "options": options}], "languages": ["eng_Latn"]}
    return Recipe.model_validate(values)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def start(
    folder: Path, name: str, launcher: tuple[str, ...] = (), *, sharding: str = "ddp", **variables: str
) -> subprocess.Popen[str]:
    command = [sys.executable, *launcher, *TRAIN, f"train.sharding={sharding}", "--out", name, "--device", "cpu"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM", "ACCELERATE"))}
    environment |= {"VISIGLOT_CACHE": str(folder / "cache"), **variables}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(*processes: subprocess.Popen[str]) -> list[tuple[str, str]]:
    """What each printed and said."""
    found = [process.communicate(timeout=300) for process in processes]
    for process, (_, said) in zip(processes, found, strict=True):
        assert process.returncode == 0, said[-4000:]
    return found


def test_the_same_command_trains_under_every_launcher(tmp_path: Path) -> None:
    write_data(tmp_path)
    (tmp_path / "recipe.yaml").write_text(dump_recipe(recipe(tmp_path)), encoding="utf-8")
    ((printed, said),) = finish(start(tmp_path, "python"))
    assert printed == "python\n"
    assert "started by python: one process" in said

    for name, (launcher, sharding) in LAUNCHERS.items():
        ((printed, said),) = finish(start(tmp_path, name, launcher, sharding=sharding))
        assert printed.splitlines()[-1] == name  # DeepSpeed says in accelerate's own process that it found no GPU
        by = "torchrun" if name == "torchrun" else "accelerate launch"
        assert said.count(f"started by {by}: process 0 of 2, 2 of them on this machine") == 1
        assert f"  {sharding}: " in said or sharding == "ddp"  # what each process holds

    job = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_NNODES": "1",
           "SLURM_JOB_NODELIST": "localhost", "MASTER_PORT": str(free_port())}  # fmt: skip
    tasks = [
        start(tmp_path, "srun", **job, SLURM_PROCID=number, SLURM_LOCALID=number, SLURM_NODEID="0")
        for number in ("0", "1")
    ]
    (printed, said), (printed_by_other, _) = finish(*tasks)
    assert (printed, printed_by_other) == ("srun\n", "")
    assert (
        f"started by srun: process 0 of 2, 2 of them on this machine, meeting at localhost:{job['MASTER_PORT']}" in said
    )

    expected = load_file(checkpoints(tmp_path / "python")[-1].model / "model.safetensors")
    for name in (*LAUNCHERS, "srun"):
        found = load_file(checkpoints(tmp_path / name)[-1].model / "model.safetensors")
        assert found.keys() == expected.keys()
        for tensor, weight in expected.items():
            torch.testing.assert_close(found[tensor], weight, atol=1e-5, rtol=1e-5)


def test_two_processes_start_a_run_anew_once(tmp_path: Path) -> None:
    write_data(tmp_path)
    made = recipe(tmp_path)
    (tmp_path / "recipe.yaml").write_text(dump_recipe(made), encoding="utf-8")
    finish(start(tmp_path, "run"))
    before = (tmp_path / "run" / "log.jsonl").read_text(encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text(
        dump_recipe(made.model_copy(update={"train": made.train.model_copy(update={"seed": 7})})), encoding="utf-8"
    )
    fresh = subprocess.run(
        [sys.executable, *TORCHRUN, *TRAIN, "--out", "run", "--device", "cpu", "--fresh"],
        cwd=tmp_path, env={**os.environ, "VISIGLOT_CACHE": str(tmp_path / "cache")},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert fresh.returncode == 0, fresh.stderr[-4000:]
    assert fresh.stderr.count("rehearsing") == 1
    after = (tmp_path / "run" / "log.jsonl").read_text(encoding="utf-8")
    assert len(after.splitlines()) == 3
    assert after != before


def test_two_processes_of_torchrun_fill_a_cache_together_and_compute_no_view_twice(tmp_path: Path) -> None:
    write_data(tmp_path)
    made = recipe(tmp_path)
    (tmp_path / "recipe.yaml").write_text(dump_recipe(made), encoding="utf-8")
    # 20 examples are drawn in 4 steps of 6, so all of them
    asked = [*TRAIN, "stages.0.cache_views=2", "stages.0.steps=4", "--device", "cpu", "--only-features"]
    for launcher, computed in ((TORCHRUN, 2 * len(COLOURS) * len(SHAPES)), ((), 0)):
        filled = subprocess.run(
            [sys.executable, *launcher, *asked],
            cwd=tmp_path, env={**os.environ, "VISIGLOT_CACHE": str(tmp_path / "cache")},
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert filled.returncode == 0, filled.stderr[-4000:]
        if launcher:
            names = [name for path in (tmp_path / "cache" / "features").rglob("*.safetensors") for name in _names(path)]
            assert len(names) == len(set(names)) == computed
        else:
            assert f"{computed} views computed by this process, of 1" in filled.stderr
    assert not list((tmp_path / "cache").glob("runs/*"))


def _names(shard: Path) -> list[str]:
    """Of the views in a shard of a feature cache."""
    with safe_open(shard, framework="pt") as opened:
        return list(json.loads(opened.metadata()["names"]))

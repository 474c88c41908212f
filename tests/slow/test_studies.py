"""A study from towers to page on tiny packages, killed on the way and run again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.nano_runs import shortened
from tests.unit.data.nano.conftest import pin, unpin
from tests.unit.data.nano.packages import write_packages

from studies import memory
from studies.rows import read_rows
from studies.run import note_plan, plan
from studies.study import Study
from visiglot.config import load_recipe
from visiglot.data.nano.build import build_nano, nano_dir
from visiglot.train.loop import fit

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CATEGORIES = ["animal", "food_drink"]
LANGUAGES = ["eng_Latn", "deu_Latn", "fra_Latn", "tur_Latn"]
ENGLISH = {"type": "nano", "options": {"task": "caption", "categories": CATEGORIES}, "languages": ["eng_Latn"]}
OTHERS = {
    "type": "nano",
    "options": {"task": "caption", "categories": CATEGORIES},
    "languages": ["deu_Latn", "fra_Latn"],
}
NAMES = {"type": "nano", "options": {"task": "name", "categories": CATEGORIES}}
SHORT = {"train.log_every": 1, "train.save_every": 4, "train.min_supervised": 0}
STEPS = 12


def stage(name: str) -> dict[str, Any]:
    return {f"stages.{name}.steps": STEPS, f"stages.{name}.warmup_steps": 1, f"stages.{name}.batch": {"rows": 8}}


STUDY: dict[str, Any] = {
    "name": "tiny",
    "title": "A tiny study",
    "about": "Nothing is learned in so few steps.",
    "seeds": [1, 2],
    "groups": {"English": ["eng_Latn"], "others": ["deu_Latn", "tur_Latn"]},
    "evaluation": {
        "benchmarks": {"nano": 4, "nano-train": 6, "nano-wrong-image": 2},
        "languages": ["eng_Latn", "deu_Latn", "tur_Latn"],
        "max_new_tokens": 6,
    },
    "arms": {
        "warm": {
            "about": "two links",
            "links": [
                {
                    "name": "english",
                    "recipe": "nano-english",
                    "stages": ["generate"],
                    "set": {
                        "model.vision": {"from": "nano-english"},
                        "model.language_model": {"from": "nano-english"},
                        "data": {"languages": ["eng_Latn"], "sources": [ENGLISH]},
                        "stages.generate.data": None,
                        **stage("generate"),
                        **SHORT,
                    },
                },
                {
                    "name": "realign",
                    "recipe": "nano",
                    "stages": ["warmup", "realign"],
                    "set": {
                        "model.connector.from": "link:english",
                        "model.connector.options": dict(load_recipe("nano-english").model.connector.options),
                        "data": {"languages": LANGUAGES, "sources": [ENGLISH, OTHERS, NAMES]},
                        "stages.warmup.data": {"languages": ["eng_Latn"], "sources": [ENGLISH]},
                        "stages.realign.data": None,
                        **stage("warmup"),
                        **stage("realign"),
                        **SHORT,
                    },
                },
            ],
        },
        "frozen": {
            "about": "no LoRA",
            "like": "warm",
            "set": {
                "realign": {"stages.realign.parts.language_model.train": "frozen", "data.sources": [ENGLISH, OTHERS]}
            },
        },
        "scratch": {
            "about": "a new connector",
            "like": "warm",
            "drop": ["english"],
            "set": {"realign": {"model.connector.from": None, "model.connector.fresh": []}},
        },
    },
    "columns": [{"title": "others", "benchmark": "nano", "languages": "others"}],
    "questions": [
        {
            "name": "which",
            "title": "Which one?",
            "asks": "Is one better?",
            "arms": ["warm", "frozen", "scratch"],
            "columns": ["others"],
            "compare": [{"first": "warm", "second": "frozen", "column": "others"}],
        }
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with packages, and a cache with data and the two towers."""
    folder = tmp_path_factory.mktemp("towers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISIGLOT_CACHE", str(folder / "cache"))
        packages = write_packages(folder / "packages")
        (folder / "packages.toml").write_text(packages, encoding="utf-8")
        pin(patch, packages)
        build_nano(nano_dir(), packages=folder / "packages")
        for name in ("nano-english", "nano-lm"):
            fit(load_recipe(name, shortened(name)), device="cpu")
        yield folder
    unpin()


def start(folder: Path, cells: int | None = None) -> subprocess.Popen[str]:
    arguments = ["packages.toml", "tiny.yaml", "results", *([str(cells)] if cells is not None else [])]
    environment = {**os.environ, "VISIGLOT_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.slow.student", *arguments],
        cwd=folder, env=environment, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> str:
    _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said
    return said


def workplace(towers: Path, folder: Path) -> Path:
    shutil.copytree(towers, folder)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False), encoding="utf-8")
    return folder


def rows(folder: Path) -> list[dict[str, Any]]:
    return [row for row in read_rows(folder / "results" / "tiny.jsonl") if row["kind"] == "cell"]


def kill_in_training(process: subprocess.Popen[str], cache: Path, *, runs: int, steps: int) -> None:
    """SIGKILL once the `runs`-th training of the study has logged so many steps."""
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline:
        logs = sorted((cache / "runs").glob("study-tiny-*/log.jsonl"), key=lambda path: path.stat().st_mtime)
        if len(logs) >= runs and logs[-1].read_text(encoding="utf-8").count("\n") >= steps:
            process.kill()
            process.communicate()
            return
        time.sleep(0.01)
    process.kill()
    raise AssertionError(f"never in the middle of training {runs}: {process.communicate()[1]}")


def test_a_study_that_is_killed_ends_with_the_numbers_of_one_that_isnt(towers: Path, tmp_path: Path) -> None:
    straight, broken = (workplace(towers, tmp_path / name) for name in ("straight", "broken"))
    finish(start(straight))

    kill_in_training(start(broken), broken / "cache", runs=1, steps=6)  # in the English link
    kill_in_training(start(broken), broken / "cache", runs=2, steps=STEPS + 5)  # in the second stage of its successor
    assert not rows(broken)
    finish(start(broken, cells=1))
    (first,) = rows(broken)
    assert first["resumed"]
    with (broken / "results" / "tiny.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"kind": "cell", "arm": "fro')  # as if killed while writing
    finish(start(broken))

    expected, found = rows(straight), rows(broken)
    assert [(row["arm"], row["seed"]) for row in expected] == [(arm, seed) for seed in (1, 2) for arm in STUDY["arms"]]
    assert [row["identity"] for row in found] == [row["identity"] for row in expected]
    for one, other in zip(expected, found):
        assert other["right"] == one["right"]
        assert other["scores"] == one["scores"]
    assert not any(row["resumed"] for row in expected)
    assert not list((broken / "cache" / "runs").glob("study-*")), "what the cells trained is still there"
    assert not list((broken / "cache" / "studies").glob("tiny-*"))

    warm = expected[0]
    assert warm["examples"] == 3 * STEPS * 8
    assert warm["scores"]["nano"].keys() == {"eng_Latn", "deu_Latn", "tur_Latn"}
    german = warm["right"]["nano-train"]["languages"]["deu_Latn"]
    assert len(german) == len(warm["right"]["nano-train"]["groups"])
    assert len(german.replace("-", "")) == 6
    assert warm["seconds"]["training"] > 0
    assert {name for link in warm["links"] for name in link["weights"]} == {"nano-english", "nano-lm"}
    # the English link of a seed is trained once and counted in both arms that begin with it
    assert expected[1]["links"][0]["seconds"] == warm["links"][0]["seconds"]

    page = (broken / "results" / "tiny.md").read_text(encoding="utf-8")
    assert "6 of 6 cells" in page
    assert "![" in page
    before = (broken / "results" / "tiny.jsonl").read_bytes()
    assert "6 of 6 cells are measured" in finish(start(broken))
    assert (broken / "results" / "tiny.jsonl").read_bytes() == before
    assert json.loads(before.splitlines()[0])["kind"] == "plan"


def test_the_memory_of_each_arm_is_measured_once(towers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study.model_validate(STUDY)
    note_plan(study, plan(study), tmp_path)
    monkeypatch.setattr(memory, "apart", memory.peak_of)  # the packages of these tests are pinned in this process alone
    memory.measure_memory(study, tmp_path, 2)
    found = read_rows(tmp_path / "tiny.jsonl")[1:]
    assert [(row["kind"], row["arm"], row["steps"]) for row in found] == [("memory", arm, 2) for arm in STUDY["arms"]]
    assert all(row["peak_mb"] > 50 for row in found)
    memory.measure_memory(study, tmp_path, 2)
    assert len(read_rows(tmp_path / "tiny.jsonl")) == 4

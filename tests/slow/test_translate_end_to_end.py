"""Every format goes through translate, a mixture and some training; and a killed translation loses nothing."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tests.translating
import yaml
from tests.formats import fixtures
from tests.slow.test_formats_end_to_end import STEPS, recipe, tokenizer, visiglot

from visiglot.data.adapter import FORMATS
from visiglot.data.parquet_source import ParquetSource
from visiglot.data.source import SOURCES

pytestmark = pytest.mark.slow

__all__ = ["tokenizer"]

SOURCES.names()  # fills the table
ROOT = Path(__file__).parents[2]
ENGLISH = "eng_Latn"


def task_for(facts: set[str]) -> str | None:
    """A task that asks for what each example of a source says."""
    needs = {
        "nlvr2": {"statement"},
        "caption": {"caption"},
        "imagenet-name": {"label", "class"},
        "vqa": {"question", "answer"},
    }
    return next((task for task, names in needs.items() if names <= facts), None)


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_translated_mixed_and_trained_on(
    name: str, tmp_path: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("visiglot.translate.filters.Filters", lambda *a, **b: tests.translating.Strict())
    folder = tmp_path / "data" / "set"
    folder.mkdir(parents=True)
    fixture = fixtures()[name](folder)
    english = [one for one in fixture.expected if one.language == ENGLISH]
    assert english
    options = [f"{key}={json.dumps(value)}" for key, value in fixture.options.items()]
    out, memory = tmp_path / "out", tmp_path / "memory.tsv"
    words = sorted({one.answer for one in english if one.answer.isalpha()})
    memory.write_text("\n".join(["en\tde", *(f"{word}\tMensch {word}" for word in words)]), encoding="utf-8")
    engine = ("memory", "--engine-option", f"path={memory}", "--engine-option", "engine=marked")
    command = ("translate", name, *options, "--languages", "en,de", "--engine", *engine, "--out", str(out))
    printed = visiglot(*command, "--labels", "reject")
    line = yaml.safe_load(re.findall(r"^  - (\{type: parquet.*)$", printed, re.MULTILINE)[0])

    made = ParquetSource(out / f"{name}.parquet", root=Path("/"))
    translated = [one for one in map(made.__getitem__, range(len(made))) if one.id.endswith("/deu_Latn")]
    assert len(translated) == len(english)
    for one, before in zip(translated, english, strict=True):
        assert one.id == f"{before.id}/deu_Latn"
        assert tuple(image.name for image in one.images) == before.images or len(one.images) == len(before.images)
        said = "".join(message.text for message in one.messages)
        assert "[deu_Latn]" in said or "Mensch" in said
        if before.answer in words and before.answer not in ("yes", "no"):
            assert one.messages[-1].text == f"Mensch {before.answer}", "what people translated comes first"

    source = {**line, "task": task_for(set.intersection(*(set(one.facts) for one in translated)))}
    path = recipe(tmp_path, tokenizer, {key: value for key, value in source.items() if value}, [ENGLISH, "deu_Latn"])
    assert f"{STEPS * 2}" in visiglot("data", "plan", str(path))
    visiglot("train", str(path), "--out", str(tmp_path / "run"), "--device", "cpu")
    lines = [json.loads(text) for text in (tmp_path / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [one["loss"] for one in lines if "loss" in one]
    assert len(losses) >= STEPS
    assert all(loss > 0 for loss in losses)


def start(folder: Path, name: str, kill_at: int) -> int:
    command = [sys.executable, "-m", "tests.slow.translator", str(folder / name), str(folder / f"{name}.store")]
    done = subprocess.run([*command, str(kill_at)], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in (0, -9), done.stderr
    return done.returncode


def files(folder: Path) -> dict[str, Any]:
    names = sorted(path.name for path in folder.iterdir() if path.name not in ("log.jsonl", "translation.json"))
    return {name: (folder / name).read_bytes() for name in names}


@pytest.mark.parametrize("seed", [1, 2])
def test_a_killed_translation_ends_where_the_undisturbed_one_ends(tmp_path: Path, seed: int) -> None:
    assert start(tmp_path, "straight", 0) == 0
    random_steps = random.Random(seed)
    kills = 0
    while start(tmp_path, "killed", random_steps.randrange(6, 20)):
        kills += 1
        assert kills < 40, "it never gets on"
    assert kills >= 3
    assert files(tmp_path / "killed") == files(tmp_path / "straight")

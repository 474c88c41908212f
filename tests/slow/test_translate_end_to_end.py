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
from tests.formats import fixtures, picture
from tests.slow.test_formats_end_to_end import STEPS, recipe, tokenizer, visiglot

from visiglot.data.adapter import FORMATS
from visiglot.data.parquet_source import ParquetSource, write_examples
from visiglot.data.source import SOURCES
from visiglot.types import Example, ImageRef, ImageSlot, Message, Provenance

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


GERMAN = {
    "Which animal is lying on the sofa in the living room?": "Welches Tier liegt auf dem Sofa im Wohnzimmer?",
    "What does the man at the table hold in his 2 hands?": "Was hält der Mann am Tisch in seinen 2 Händen?",
    "What are the children in the garden playing with?": "Womit spielen die Kinder im Garten?",
    "How many of the 12 birds are sitting on the roof?": "Wie viele der Vögel sitzen auf dem Dach?",
    "It can be seen in the middle of the picture.": "Man kann es in der Mitte des Bildes sehen.",
    "a dog": "ein Hund",
    "a newspaper": "eine Zeitung",
}
"""What people have translated: the number of the birds is missing, and so is the ball."""

ASKED = [
    ("Which animal is lying on the sofa in the living room?", "a dog"),
    ("What does the man at the table hold in his 2 hands?", "a newspaper"),
    ("What are the children in the garden playing with?", "a beach ball"),
    ("How many of the 12 birds are sitting on the roof?", "7"),
]


def test_by_default_a_label_stays_english_and_real_filters_reject(tmp_path: Path, tokenizer: Path) -> None:
    picture(tmp_path, *(f"{number}.png" for number in range(16)))
    examples = []
    for number in range(16):
        question, answer = ASKED[(number + 2) % 4]  # the first one is that with the ball
        facts = {
            "question": question,
            "answer": answer,
            "rationale": "It can be seen in the middle of the picture.",
            "label": answer,
            "class": answer,
        }
        turns = (Message("user", (ImageSlot(0), question)), Message("assistant", (answer,)))
        image = ImageRef(f"{number}.png", path=tmp_path / f"{number}.png")
        provenance = Provenance("set", "CC0-1.0")
        examples.append(Example(str(number), turns, ENGLISH, (image,), (answer,), provenance, "vqa", facts=facts))
    write_examples(tmp_path / "set.parquet", examples)
    memory = tmp_path / "memory.tsv"
    memory.write_text("\n".join(["en\tde", *(f"{en}\t{de}" for en, de in GERMAN.items())]), encoding="utf-8")
    out = tmp_path / "out"
    engine = ("--engine", "memory", "--engine-option", f"path={memory}")
    printed = visiglot("translate", str(tmp_path / "set.parquet"), "-l", "de", *engine, "--out", str(out))
    (line,) = re.findall(r"^  - (\{type: parquet.*)$", printed, re.MULTILINE)
    rejected = [json.loads(text) for text in (out / "ledger.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {(one["reason"], one["detail"]) for one in rejected} == {("lost placeholder", "missing: number 12")}
    assert len(rejected) == 4

    source = {**yaml.safe_load(line), "languages": [ENGLISH, "deu_Latn"]}
    made = ParquetSource(Path(source["options"]["path"]))
    facts = [made[number].facts for number in range(len(made))]
    assert {(one["answer"], one.get("answer.language"), one.get("label.language")) for one in facts} == {
        ("ein Hund", None, None),
        ("eine Zeitung", None, None),
        ("a beach ball", ENGLISH, ENGLISH),
    }
    for task in ("vqa", "imagenet-name", "rationale", "imagenet-decide", "ep-vqa", "bvqa"):
        path = recipe(tmp_path, tokenizer, {**source, "task": task}, [ENGLISH, "deu_Latn"])
        (plan,) = json.loads(visiglot("data", "plan", str(path), "--json"))["data"]["data"]["sources"]
        elsewhere = task in ("vqa", "imagenet-name")
        english = 4 if elsewhere or task == "bvqa" else 0
        assert plan["languages"] == {ENGLISH: english, "deu_Latn": 4 if task == "bvqa" else 8}
        assert sum(plan["rows_left_out"].values()) == (0 if elsewhere else 4)
        visiglot("train", str(path), "--out", str(tmp_path / f"run-{task}"), "--device", "cpu")
        log = (tmp_path / f"run-{task}" / "log.jsonl").read_text(encoding="utf-8").splitlines()
        assert len([one for one in map(json.loads, log) if one.get("loss", 0) > 0]) >= STEPS


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

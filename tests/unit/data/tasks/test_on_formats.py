"""Sources and tasks meet by the names of facts: what the adapters say is what the tasks need (mBLIP's B13)."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.facts import answer_of, prompt_of
from tests.formats import fixtures

from visiglot.data.source import build_source
from visiglot.data.tasks import tasked
from visiglot.languages import all_languages

CODES = [row.code for row in all_languages()]

MEETINGS = {
    "coco-captions": ("caption", "matching"),
    "coco-karpathy": ("caption", "matching"),
    "capfilt": ("caption", "matching"),
    "multi30k": ("caption", "matching"),
    "wit": ("caption",),
    "llava": ("conversation", "detail"),
    "sharegpt4v": ("conversation", "detail"),
    "vqav2": ("vqa", "vqg", "mvqa"),
    "okvqa": ("vqa", "vqg", "mvqa"),
    "gqa": ("vqa", "vqg", "mvqa"),
    "aokvqa": ("vqa", "vqg", "explanation", "rationale"),
    "imagenet": ("imagenet-name", "imagenet-decide"),
    "nlvr2": ("nlvr2",),
}


@pytest.mark.parametrize(("name", "task"), [(name, task) for name, tasks in MEETINGS.items() for task in tasks])
def test_a_task_finds_its_facts_in_a_source(name: str, task: str, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "set"
    folder.mkdir(parents=True)
    languages = ["eng_Latn"] if task in ("matching", "imagenet-decide") else CODES
    raw = build_source(name, fixtures()[name](folder).options, languages=languages, seed=0)
    source = tasked(raw, task, {}, 0)
    assert {code: len(indices) for code, indices in source.by_language.items()} == {
        code: len(indices) for code, indices in raw.by_language.items()
    }
    for indices in source.by_language.values():
        for index in indices.tolist():
            example = source[index]
            assert prompt_of(example).strip()
            assert answer_of(example).strip()
            assert example.images == raw[index].images

"""A section becomes a source with its task, and what can't be drawn from is said before anything is opened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from visiglot.config import DataSection, SourceSection
from visiglot.data.mixture import Mixture
from visiglot.data.opening import allocation_of, awaits_translation, open_section, section_problems
from visiglot.errors import ConfigError, UnknownNameError

ENGLISH, GERMAN = "eng_Latn", "deu_Latn"


@pytest.fixture
def captions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Options of a file of twenty English captions."""
    monkeypatch.setenv("VISIGLOT_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "captions.jsonl"
    rows = [{"image": f"{n}.jpg", "caption": f"a picture of {n} things"} for n in range(20)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return {"path": str(path), "images": str(tmp_path)}


def section(options: dict[str, Any], **values: Any) -> tuple[SourceSection, DataSection]:
    source = SourceSection(type="capfilt", options=options, **values)
    return source, DataSection(sources=(source,), languages=(ENGLISH, GERMAN))


def test_a_section_with_a_task_gives_its_prompts_and_answers(captions: dict[str, Any]) -> None:
    source, data = section(captions, task="caption")
    opened = open_section(source, data, [ENGLISH], seed=1)
    example = opened[3]
    assert example.task == "caption"
    assert example.messages[0].text
    assert example.messages[-1].text == "a picture of 3 things"
    bare = open_section(section(captions)[0], data, [ENGLISH], seed=1)
    assert bare[3].messages[0].text == ""


def test_a_mixture_draws_from_tasks_and_names_them(captions: dict[str, Any]) -> None:
    source, _ = section(captions, task="caption")
    other, _ = section(captions, task="matching")
    data = DataSection(sources=(source, other), languages=(ENGLISH,), holdout=2)
    mixture = Mixture(data, total=36, seed=1)
    assert mixture.table() == {("capfilt/caption", ENGLISH): 18, ("capfilt/matching", ENGLISH): 18}
    assert {mixture[k].task for k in range(36)} == {"caption", "matching"}
    held = mixture.held_out()
    assert {index for number, index in held if number == 0} == {index for number, index in held if number == 1}


def test_unknown_tasks_and_options_are_errors_when_it_is_opened(captions: dict[str, Any]) -> None:
    with pytest.raises(UnknownNameError, match="no such task: 'captoin'"):
        open_section(*section(captions, task="captoin"), [ENGLISH], seed=1)
    with pytest.raises(ConfigError, match="task_options"):
        open_section(*section(captions, task="caption", task_options={"form": "x"}), [ENGLISH], seed=1)


def test_problems_of_a_section_come_together_and_open_nothing() -> None:
    problems = section_problems(*section({"pth": "x"}, task="captoin", languages="germn"))
    assert [line.partition(":")[0] for line in problems] == [
        "options.pth",
        "options.path",
        "options.images",
        "task",
        "languages",
    ]
    assert section_problems(*section({"path": "x", "images": "y"}, task="caption", translate=True)) == []


def test_only_what_goes_into_another_language_awaits_translation() -> None:
    assert awaits_translation(*section({}, translate=True))
    assert not awaits_translation(*section({}, translate=True, languages=ENGLISH))
    assert not awaits_translation(*section({}))


def test_to_translate_by_the_sizes_of_languages_is_a_problem() -> None:
    (problem,) = section_problems(*section({"path": "x", "images": "y"}, translate=True, allocation={"policy": "size"}))
    assert "`size` is for sources that have languages of their own" in problem


def test_a_source_shares_by_its_own_allocation_then_by_the_sections_then_by_the_share_of_english() -> None:
    source = SourceSection(type="capfilt")
    own = SourceSection.model_validate({"type": "capfilt", "allocation": {"policy": "size"}})
    data = DataSection.model_validate(
        {"sources": [own.model_dump()], "languages": [ENGLISH], "allocation": {"policy": "lrm"}}
    )
    old = DataSection(sources=(source,), languages=(ENGLISH,), english_share=0.2)
    assert allocation_of(own, data).policy == "size"
    assert allocation_of(source, data).policy == "lrm"
    assert (allocation_of(source, old).policy, allocation_of(source, old).english) == ("english_share", 0.2)
    assert allocation_of(source, old.model_copy(update={"english_share": None})).policy == "uniform"

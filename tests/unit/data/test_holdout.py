"""What is held out is decided by the rows of a source, before any task."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from visiglot.config import DataSection, SourceSection
from visiglot.data.holdout import held, held_out
from visiglot.data.mixture import Mixture
from visiglot.data.parquet_source import write_examples
from visiglot.data.source import Indices, Source
from visiglot.errors import DataError
from visiglot.types import Example, ImageRef, ImageSlot, Message

ENGLISH, GERMAN, HINDI = "eng_Latn", "deu_Latn", "hin_Deva"

TASKS: dict[str, dict[str, Any]] = {
    "caption": {"task": "caption"},
    "matching": {"task": "matching"},
    "matching english": {"task": "matching", "task_options": {"answers": "english"}},
    "vqa": {"task": "vqa"},
    "bvqa": {"task": "bvqa"},
    "ep-vqa": {"task": "ep-vqa"},
}


def translated(number: int, code: str) -> Example:
    facts = {
        "caption": f"caption {number}",
        "question": f"question {number}?",
        "answer": f"answer {number}",
        "source.question": f"english question {number}?",
        "source.answer": f"english answer {number}",
    }
    messages = (Message("user", (ImageSlot(0),)), Message("assistant", (facts["caption"],)))
    refs = (ImageRef(f"{number}.jpg", data=f"{number}".encode()),)
    if number % 5 == 0:
        facts["answer.language"] = ENGLISH
    return Example(f"{number}", messages, code, refs, facts=facts)


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    """Forty rows of each of three languages, in turn; every fifth has an English answer."""
    rows = [translated(n, (ENGLISH, GERMAN, HINDI)[n % 3]) for n in range(120)]
    write_examples(tmp_path / "rows.parquet", rows)
    return tmp_path / "rows.parquet"


def mixture(path: Path, *names: str, holdout: int = 6, total: int = 3000) -> Mixture:
    sections = tuple(SourceSection(type="parquet", options={"path": str(path)}, **TASKS[name]) for name in names)
    data = DataSection(sources=sections, languages=(ENGLISH, GERMAN, HINDI), holdout=holdout)
    return Mixture(data, total=total, seed=1)


@pytest.mark.parametrize("other", [name for name in TASKS if name != "caption"])
def test_no_row_that_one_task_holds_out_is_drawn_by_another(parquet: Path, other: str) -> None:
    both = mixture(parquet, "caption", other)
    out = {index for _, index in both.held_out()}
    drawn = [both.draw(k) for k in range(len(both))]
    assert len(out) == 18
    assert {number for number, _ in drawn} == {0, 1}
    assert not out & {index for _, index in drawn}


def test_a_task_that_regroups_languages_holds_out_the_same_rows(parquet: Path) -> None:
    rows = [
        {index for _, index in mixture(parquet, name).held_out()} for name in ("caption", "matching english", "vqa")
    ]
    assert rows[0] == rows[1] == rows[2]
    bilingual = {index for _, index in mixture(parquet, "bvqa").held_out()}
    expected = {index for index in rows[0] if index % 3 and index % 5}
    assert bilingual == expected, "it has no English rows and none whose answer stayed English"


def test_a_task_draws_all_that_is_not_held_out(parquet: Path) -> None:
    one = mixture(parquet, "matching english", total=102)
    out, drawn = {index for _, index in one.held_out()}, [one.draw(k)[1] for k in range(102)]
    assert sorted([*out, *drawn]) == list(range(120))


def test_what_is_held_out_depends_on_no_other_language_and_no_seed(parquet: Path) -> None:
    def of(*languages: str, seed: int) -> set[int]:
        section = SourceSection(type="parquet", options={"path": str(parquet)}, task="caption")
        data = DataSection(sources=(section,), languages=languages, holdout=6)
        return {index for _, index in Mixture(data, total=9, seed=seed).held_out()}

    assert of(GERMAN, seed=3) < of(GERMAN, HINDI, ENGLISH, seed=4)


# --- rows with several examples ---------------------------------------------------------------------------------------


@pytest.fixture
def aokvqa(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Options of A-OKVQA with twenty questions, each with three rationales."""
    monkeypatch.setenv("VISIGLOT_CACHE", str(tmp_path / "cache"))
    rows = [
        {
            "question_id": f"q{n}",
            "image_id": n,
            "split": "train",
            "question": f"What is {n}?",
            "choices": ["a", "b"],
            "correct_choice_idx": 0,
            "rationales": [f"reason {n} {r}" for r in range(3)],
        }
        for n in range(20)
    ]
    (tmp_path / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    return {"path": str(tmp_path / "rows.json"), "images": str(tmp_path)}


def test_rationales_of_one_question_are_held_out_together_for_every_task(aokvqa: dict[str, Any]) -> None:
    sections = tuple(SourceSection(type="aokvqa", options=aokvqa, task=task) for task in ("rationale", "explanation"))
    made = Mixture(DataSection(sources=sections, languages=(ENGLISH,), holdout=4), total=400, seed=1)

    def questions(pairs: Sequence[tuple[int, int]]) -> Counter[str]:
        return Counter(made.sources[number][index].id.partition("/")[0] for number, index in pairs)

    out = questions(made.held_out())
    assert len(out) == 2, "four examples are in two rows"
    assert set(out.values()) == {6}
    drawn = questions([made.draw(k) for k in range(400)])
    assert not out.keys() & drawn.keys()
    assert len(drawn) == 18


class Several:
    """Rows of examples in several languages; `told` has the languages of each row's."""

    name = "several"

    def __init__(self, told: Sequence[Sequence[str]]) -> None:
        self.codes = [code for row in told for code in row]
        self.row_numbers = np.repeat(np.arange(len(told)), [len(row) for row in told]).astype(np.int32)
        codes = np.array(self.codes)
        self.by_language: Mapping[str, Indices] = {
            code: np.flatnonzero(codes == code).astype(np.int32) for code in sorted(set(self.codes))
        }

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, index: int) -> Example:
        return Example(str(index), (), self.codes[index])


def numbers(source: Source, holdout: int) -> dict[str, list[int]]:
    return {
        code: [int(source.by_language[code][place]) for place in places]
        for code, places in held_out(source, holdout).items()
    }


def test_translations_in_one_row_are_held_out_together_and_no_more_of_them_than_asked() -> None:
    source = Several([(ENGLISH, GERMAN, HINDI)] * 40)
    found = numbers(source, 5)
    rows = [set(source.row_numbers[indices].tolist()) for indices in found.values()]
    assert rows[0] == rows[1] == rows[2]
    assert len(rows[0]) == 5


@pytest.mark.parametrize("holdout", [1, 3, 10, 1000])
def test_never_more_than_half_of_a_language_whatever_shares_its_rows(holdout: int) -> None:
    source = Several([(ENGLISH,)] * 20 + [(ENGLISH, GERMAN)] * 3 + [(ENGLISH, HINDI, HINDI)] * 4 + [(HINDI,) * 5])
    for code, indices in numbers(source, holdout).items():
        assert len(indices) <= len(source.by_language[code]) // 2
        rows = set(source.row_numbers[indices].tolist())
        everywhere = {row for found in numbers(source, holdout).values() for row in source.row_numbers[found].tolist()}
        assert rows == everywhere & set(source.row_numbers[source.by_language[code]].tolist()), "whole rows"


def test_a_source_whose_numbers_are_in_no_order_holds_out_as_many() -> None:
    source = Several([(GERMAN,)] * 30)
    del source.row_numbers
    before = numbers(source, 4)
    source.by_language = {GERMAN: np.random.default_rng(1).permutation(30).astype(np.int32)}
    assert numbers(source, 4) == before
    assert len(before[GERMAN]) == 4


def test_millions_of_rows_are_gone_through_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Several([(GERMAN, GERMAN)] * 50 + [(HINDI,)] * 50)
    whole = numbers(source, 7)
    monkeypatch.setattr("visiglot.data.holdout.CHUNK", 9)
    assert numbers(source, 7) == whole
    assert len(whole[GERMAN]) == 8, "whole rows"


def test_how_many_are_held_out() -> None:
    assert [held(size, 3) for size in (0, 1, 2, 5, 6, 100)] == [0, 0, 1, 2, 3, 3]


def test_a_task_that_has_nothing_but_what_is_held_out_is_refused(
    parquet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Few:
        name = "few"

        def __init__(self) -> None:
            self.raw = Several([(GERMAN,)] * 4)
            first = held_out(self.raw, 2)[GERMAN]
            self.by_language = {GERMAN: self.raw.by_language[GERMAN][list(first)]}

        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> Example:
            return self.raw[index]

    data = DataSection(sources=(SourceSection(type="rows"),), languages=(GERMAN,), holdout=2)
    with pytest.raises(DataError, match="few has nothing left to train on"):
        Mixture(data, total=8, seed=1, sources=[Few()])

"""The benchmark of captions runs, goes on where it was stopped, and doesn't print what can't be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def captions(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    import captions  # type: ignore[import-not-found]

    return captions  # type: ignore[no-any-return]


def _found(tokens: list[list[int]], way: str = "visiglot") -> dict[str, object]:
    return {"tokens": tokens, "way": way, "beams": 1}


def test_answers_may_part_from_the_cards_at_ties_only(captions: ModuleType) -> None:
    card = {"tokens": [[1, 2, 3], [4, 5, 6]], "gaps": [[2.0, 0.03, 2.0], [1.0, 1.0, 1.0]]}
    assert captions.check_tokens(_found([[1, 2, 3], [4, 5, 6], [7, 8, 9]]), card) == "2 of 2"
    assert captions.check_tokens(_found([[1, 9, 9], [4, 5, 6]]), card) == "1 + 1 ties of 2"
    with pytest.raises(SystemExit, match="visiglot, language 1: token 2 isn't the card's"):
        captions.check_tokens(_found([[1, 2, 3], [4, 5, 7]]), card)
    assert captions.check_tokens(_found([[1, 2, 3], [4, 5, 7]], way="int8"), card) == "1 of 2"


def test_a_step_takes_at_least_its_weights_or_its_products(captions: ModuleType) -> None:
    from machine import Peaks, Work  # type: ignore[import-not-found]

    work, peaks = Work(once=10.0, prompt=4.0, first=0.0, weights=100.0, steps=3), Peaks({"bf16": 2.0}, 5.0)
    assert work.limit(1, 1, peaks, "bf16", 2) == (10 + 4) / 2 + 3 * 100.0  # 2 * 100 products / 2 = 100 s, 40 s to read
    assert work.limit(1, 1, Peaks({"bf16": 20.0}, 5.0), "bf16", 2) == (10 + 4) / 20 + 3 * 40.0
    assert work.limit(2, 5, peaks, "bf16", 2) == (10 + 8) / 2 + 3 * 1000.0


@pytest.mark.slow
def test_it_measures_each_line_once_and_finds_the_cards_tokens(tmp_path: Path) -> None:
    out = tmp_path / "captions.jsonl"

    def run(*more: str) -> str:
        command = [sys.executable, str(FOLDER / "captions.py"), "--size", "tiny", "--out", str(out), "--no-fp32", *more]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("--llm", "mt0", "--languages", "1,3", "--tiled", "3")
    before = out.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line).get("way") for line in before] == [None, "card", "tiled", "visiglot", "visiglot"]
    table = run("--llm", "mt0", "bloom", "--languages", "1,3", "--tiled", "3")
    after = out.read_text(encoding="utf-8").splitlines()
    assert after[: len(before)] == before
    assert len(after) == len(before) + 4
    assert "| card, bf16 | each |" in table
    assert table.count("of 3 |") == 4
    # a machine that is slower than it was measured to be is fine, a faster one is a mistake
    peaks = {**json.loads(before[0]), "peaks": {"flops": {"bf16": 1.0, "fp32": 1.0}, "bandwidth": 1.0}}
    out.write_text("\n".join([json.dumps(peaks), *after[1:]]) + "\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="a measuring error"):
        run("--languages", "1,3", "--tiled", "3")

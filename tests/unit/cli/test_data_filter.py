"""`visiglot data filter` and `data mine`: from captions to fewer captions and to hard negatives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.cli.conftest import Run

from visiglot.data.mining import Neighbours
from visiglot.data.source import build_source

COLOURS = ("red", "blue", "green", "grey")
THINGS = ("dog", "cat", "boat")


@pytest.fixture
def captions(tmp_path: Path) -> list[str]:
    """The source `coco-captions` as the command line names it: 48 captions, four of each of twelve pictures."""
    images = [{"id": n, "file_name": f"{n:012d}.jpg"} for n in range(12)]
    rows = [
        {"id": n, "image_id": n % 12, "caption": f"a {COLOURS[n % 4]} {THINGS[n % 3]} near number{n}"}
        for n in range(48)
    ]
    path = tmp_path / "captions.json"
    path.write_text(json.dumps({"images": images, "annotations": rows}))
    return ["coco-captions", f"path={path}", f"images={tmp_path}"]


def test_filter_says_what_it_kept_and_writes_it(run: Run, captions: list[str], tmp_path: Path) -> None:
    out = tmp_path / "kept.jsonl"
    result = run("data", "filter", *captions, "--out", out, "--min-captions", 4, "--per-phrase", 2)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "captions      48",
        "phrases       60",
        "kept phrases  12 in 4 captions or more",
        "kept captions 24 (50.0%)",
        str(out),
    ]
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 24
    for colour in COLOURS:
        for thing in THINGS:
            assert sum(f"{colour} {thing}" in row["caption"] for row in rows) == 2
    assert all(row["image"] == f"{row['image_id']:012d}.jpg" for row in rows)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--out", "kept.txt"), "--out: must be a .jsonl or .json file"),
        (("--out", "kept.json", "--phrases", "nltk"), "no such finder of phrases: 'nltk'"),
        (("--out", "kept.json", "--min-captions", "5"), "no phrase stands in 5 of 48 captions"),
    ],
    ids=["out", "phrases", "nothing kept"],
)
def test_filter_says_what_is_wrong(
    run: Run, captions: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("data", "filter", *captions, *options)
    assert result.exit_code == 2
    assert problem in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) in (["captions.json"], ["cache", "captions.json"])


def test_filter_leaves_no_work_behind(run: Run, captions: list[str], tmp_path: Path, cache: Path) -> None:
    run("data", "filter", *captions, "--out", tmp_path / "kept.json", "--min-captions", 4)
    assert [path.name for path in cache.iterdir()] == ["index"]


def test_mine_writes_neighbours_that_fit_the_source(run: Run, captions: list[str], tmp_path: Path) -> None:
    out = tmp_path / "neighbours"
    command = ("data", "mine", *captions, "--encoder", "lexical", "--out", out, "--ranks", "1, 5,45", "--device", "cpu")
    result = run(*command)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "coco-captions: 48 examples; with a neighbour of",
        "  rank 1: 48",
        "  rank 5: 48",
        "  rank 45: 0",
        str(out),
    ]
    assert "no example has a neighbour at rank 45; eng_Latn, the largest language, has 48 captions" in result.stderr
    options = dict(option.split("=") for option in captions[1:])
    source = build_source("coco-captions", options, languages=["eng_Latn"], seed=0)
    neighbours = Neighbours(out)
    neighbours.check(source)
    for index in range(48):
        one, near = source[index], source[neighbours.rank(index)[0]]
        assert one.images[0].name != near.images[0].name
        shared = set(one.facts["caption"].split()) & set(near.facts["caption"].split())
        assert shared > {"a", "near"}
    assert run(*command).stdout == result.stdout


def test_mine_says_nothing_of_ranks_that_some_have(run: Run, captions: list[str], tmp_path: Path) -> None:
    result = run("data", "mine", *captions, "--encoder", "lexical", "--out", tmp_path / "n", "--ranks", "1")
    assert result.exit_code == 0
    assert "notice" not in result.stderr


@pytest.mark.parametrize("ranks", ["", "0,3", "3,x", "3;10", "-1", "1.5"])
def test_mine_takes_ranks_from_one(run: Run, captions: list[str], tmp_path: Path, ranks: str) -> None:
    out = tmp_path / "n"
    result = run("data", "mine", *captions, "--encoder", "lexical", "--out", out, f"--ranks={ranks}")
    assert result.exit_code == 2
    assert "--ranks: must be whole numbers from 1 with commas" in result.stderr
    assert not out.exists()


def test_mine_names_an_encoder_that_is_not_there(run: Run, captions: list[str], tmp_path: Path) -> None:
    result = run("data", "mine", *captions, "--encoder", tmp_path / "none", "--out", tmp_path / "n")
    assert result.exit_code == 2
    assert "none' can't be loaded" in result.stderr

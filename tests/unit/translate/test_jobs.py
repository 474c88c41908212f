"""Which examples go into which language: as `visiglot data plan` says, for a source and for a recipe."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.drawn import drawn_recipe
from tests.facts import Facts, every_fact

from visiglot.config import AllocationSection, Recipe, SourceSection
from visiglot.data.allocation import allocate, assign
from visiglot.data.parquet_source import ParquetSource, write_examples
from visiglot.data.planning import plan_data
from visiglot.errors import ConfigError, DataError, TranslationError
from visiglot.translate.jobs import SHARD, Job, file_names, picture_root, plan_recipe, plan_source

EN, DE, SW = "eng_Latn", "deu_Latn", "swh_Latn"


def planned(source: Facts, *languages: str, policy: str = "parallel", **more: Any) -> Job:
    allocation = AllocationSection(policy=policy)  # type: ignore[arg-type]
    return plan_source(source, SourceSection(type="vqav2"), languages, allocation=allocation, seed=3, **more)


def captions(folder: Path, name: str, count: int) -> dict[str, Any]:
    path = folder / name
    rows = [{"image": f"{n}.jpg", "caption": f"a picture of {n} things"} for n in range(count)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    source = {"type": "capfilt", "options": {"path": str(path), "images": str(folder / "pictures")}, "translate": True}
    (folder / "pictures").mkdir(exist_ok=True)
    return source


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """Two tasks on one file and one source of another, which both stages have; one that isn't translated."""
    monkeypatch.setenv("VISIGLOT_CACHE", str(tmp_path / "cache"))
    one, other = captions(tmp_path, "one.jsonl", 23), captions(tmp_path, "other.jsonl", 11)
    data = {
        "sources": [
            {**one, "task": "caption"},
            {**other, "translate": False},
            {**one, "task": "matching"},
            {**other, "weight": "size"},
        ],
        "languages": [EN, DE, SW],
        "allocation": {"policy": "lrm"},
    }
    first = {**data, "sources": [{**one, "task": "caption", "weight": 2.0}]}
    return drawn_recipe({"data": first}, {"data": data}).model_copy(
        update={"data": drawn_recipe({"data": data}).stages[0].data}
    )


def test_a_recipes_counts_are_those_of_its_plan(recipe: Recipe) -> None:
    plan = plan_data(recipe.data, recipe.train.seed)
    wanted = [dict(source.counts) for source in plan.sources if source.translated]
    found = plan_recipe(recipe)
    assert [{code: job.counts.get(code, 0) for code in (EN, DE, SW)} for job in found] == wanted
    assert [job.name for job in found] == ["capfilt-caption", "capfilt-matching", "capfilt"]


def test_a_recipes_examples_are_assigned_by_its_seed_and_the_sources_place(recipe: Recipe) -> None:
    for job, number in zip(plan_recipe(recipe), (0, 2, 3), strict=True):
        size = len(job.source)
        assert recipe.data.allocation is not None
        languages_of = assign(allocate(recipe.data.allocation, size, [EN, DE, SW]), size, recipe.train.seed, number)
        for code, numbers in {**job.kept, **job.translated}.items():
            assert [n for n in range(size) if languages_of(n) == (code,)] == numbers.tolist()


def test_a_recipe_without_anything_to_translate_says_so() -> None:
    with pytest.raises(TranslationError, match="no source with `translate: true`"):
        plan_recipe(drawn_recipe({}))


def test_each_example_is_once_in_a_shard_of_its_language() -> None:
    job = planned(every_fact((EN,), 1300), EN, DE, SW, policy="uniform")
    shards = list(job.shards())
    assert all(0 < len(shard.examples) <= SHARD for shard in shards)
    assert sorted(number for shard in shards for number in shard.examples.tolist()) == list(range(1300))
    assert len({shard.path for shard in shards}) == len(shards)
    assert {shard.language for shard in shards if not shard.translate} == {EN}


def test_a_limit_is_spread_evenly() -> None:
    job = planned(every_fact((EN,), 100), DE, limit=4)
    assert job.translated[DE].tolist() == [0, 25, 50, 75]


def test_texts_in_another_language_can_be_the_source() -> None:
    job = planned(every_fact((EN, DE), 5), EN, SW, source_language=DE)
    assert (job.translated[SW].tolist(), job.translated[EN].tolist()) == ([1, 3, 5, 7, 9], [1, 3, 5, 7, 9])
    assert job.kept[EN].tolist() == [0, 2, 4, 6, 8]
    with pytest.raises(DataError, match="has no examples in swh_Latn to translate; it has eng_Latn, deu_Latn"):
        planned(every_fact((EN, DE), 5), DE, source_language=SW)


def test_a_policy_for_languages_of_ones_own_is_refused() -> None:
    with pytest.raises(ConfigError, match="`size`"):
        planned(every_fact((EN,), 5), DE, policy="size")


def test_the_root_of_pictures_is_above_all_files_of_the_source(tmp_path: Path) -> None:
    (tmp_path / "coco" / "train2014").mkdir(parents=True)
    (tmp_path / "coco" / "captions.json").touch()

    def section(**options: str) -> SourceSection:
        return SourceSection(type="coco-captions", options=options)

    path, images = str(tmp_path / "coco" / "captions.json"), str(tmp_path / "coco" / "train2014")
    assert picture_root(section(path=path, images=images)) == tmp_path / "coco"
    assert picture_root(section(path=path)) == tmp_path / "coco"
    assert picture_root(SourceSection(type="drawn")) == Path("/")


@pytest.mark.parametrize(
    "names",
    [
        ["set 1", "set-1"],
        ["a", "a", "a#2"],
        ["a#2", "a", "a"],
        ["Coco", "coco"],
        ["coco", "Coco"],
        ["caf\u00e9", "cafe\u0301"],
        ["...", "source", "-"],
    ],
)
def test_sources_whose_names_are_alike_have_files_of_their_own(names: list[str]) -> None:
    found = file_names(names)
    assert len({name.casefold() for name in found}) == len(names)
    assert found[0] == file_names(names[:1])[0]


def test_two_sources_of_a_recipe_whose_names_differ_in_punctuation_are_both_translated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISIGLOT_CACHE", str(tmp_path / "cache"))
    sources = [captions(tmp_path, f"{count}.jsonl", count) for count in (5, 7)]
    for source, name in zip(sources, ("set 1", "set-1"), strict=True):
        source["options"]["name"] = name
    data = {"sources": sources, "languages": [EN, DE], "allocation": {"policy": "parallel"}}
    found = plan_recipe(drawn_recipe({"data": data}))
    assert [len(job.translated[DE]) for job in found] == [5, 7]
    paths = [shard.path.casefold() for job in found for shard in job.shards()]
    assert len(set(paths)) == len(paths) == 4


def test_places_take_no_memory_for_each_language_of_a_parallel_set() -> None:
    job = planned(every_fact((EN,), 100), EN, DE, SW)
    assert job.translated[DE] is job.translated[SW]
    assert job.translated[DE].tolist() == list(range(100))


def test_a_job_knows_the_files_of_its_source(tmp_path: Path) -> None:
    path = tmp_path / "set.parquet"
    write_examples(path, map(every_fact((EN,), 5).__getitem__, range(5)), root=Path("/"))
    before = planned(ParquetSource(path), DE).files  # type: ignore[arg-type]
    assert before == planned(ParquetSource(path), DE).files  # type: ignore[arg-type]
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert before != planned(ParquetSource(path), DE).files  # type: ignore[arg-type]
    assert planned(every_fact((EN,), 5), DE).files is None

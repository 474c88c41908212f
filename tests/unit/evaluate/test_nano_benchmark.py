"""The built-in benchmark on a small data set built from packages that the test writes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.data.nano.conftest import tiny_data
from tests.unit.evaluate.conftest import Scripted

from visiglot.evaluate.benchmark import BENCHMARKS, BenchmarkData
from visiglot.evaluate.generate import collect_predictions
from visiglot.evaluate.score import score_predictions
from visiglot.types import Example

TEXT_ONLY = {"swh_Latn", "tur_Latn"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with tiny_data(tmp_path_factory) as built:
        yield built


def load(name: str, folder: Path) -> BenchmarkData:
    return BENCHMARKS.get(name).load(folder)


def examples(name: str, folder: Path, language: str = "eng_Latn", limit: int | None = None) -> list[Example]:
    benchmark = BENCHMARKS.get(name)
    data = load(name, folder)
    return list(data.examples(language, split=benchmark.splits[0], prompt_set="english", limit=limit))


@pytest.mark.parametrize("name", [name for name in BENCHMARKS.names() if name.startswith("nano")])
def test_every_example_can_be_scored_and_ids_differ(name: str, folder: Path) -> None:
    rows = examples(name, folder)
    assert rows
    assert len({row.id for row in rows}) == len(rows)
    assert all(row.references and row.group and row.task in BENCHMARKS.get(name).metrics for row in rows)
    assert all(row.messages[-1].role == "user" for row in rows)


def test_the_test_shows_the_held_out_style_only(folder: Path) -> None:
    assert {row.images[0].name.split("/")[1] for row in examples("nano", folder)} == {"noto"}
    assert "noto" not in {row.images[0].name.split("/")[1] for row in examples("nano-train", folder)}


def test_unseen_things_are_not_among_the_seen(folder: Path) -> None:
    unseen = {row.group for row in examples("nano-unseen", folder)}
    assert unseen
    assert not unseen & {row.group for row in examples("nano", folder)}


def test_controls_keep_the_answer_and_change_the_picture(folder: Path) -> None:
    plain = {row.id: row for row in examples("nano", folder)}
    wrong = {row.id: row for row in examples("nano-wrong-image", folder)}
    none = {row.id: row for row in examples("nano-no-image", folder)}
    assert plain.keys() == wrong.keys() == none.keys()
    for id, row in plain.items():
        assert row.references == wrong[id].references == none[id].references
        assert row.images[0].key != wrong[id].images[0].key
        assert none[id].images == ()


def test_the_language_model_alone_is_asked_for_the_same_names_from_english(folder: Path) -> None:
    pictured = {row.group: row for row in examples("nano", folder, "swh_Latn")}
    alone = {row.group: row for row in examples("nano-text", folder, "swh_Latn")}
    assert alone.keys() == pictured.keys()
    for group, row in alone.items():
        assert row.images == ()
        assert row.messages[0].text.startswith("Caption in Swahili: ")
        assert row.references == pictured[group].references
    copied = examples("nano-text", folder, "eng_Latn")
    assert all(row.messages[0].text == f"Caption in English: {row.references[0]}" for row in copied)


def test_yes_or_no_without_the_picture_is_the_same_question(folder: Path) -> None:
    plain = {row.id: row for row in examples("nano-matching", folder, "deu_Latn")}
    blind = {row.id: row for row in examples("nano-matching-no-image", folder, "deu_Latn")}
    assert plain.keys() == blind.keys()
    assert all(row.images == () and row.references == plain[id].references for id, row in blind.items())
    assert {row.references[0] for row in blind.values()} == {"ja", "nein"}


def test_languages_fall_into_those_with_and_those_without_pictures_in_training(folder: Path) -> None:
    groups = load("nano", folder).language_groups
    assert set(groups["never pictured"]) == TEXT_ONLY
    assert not set(groups["trained with pictures"]) & TEXT_ONLY
    assert not set(load("nano-dev", folder).languages) & TEXT_ONLY


def test_a_limit_takes_the_first_and_languages_share_one_order(folder: Path) -> None:
    english, german = ([row.group for row in examples("nano", folder, code)] for code in ("eng_Latn", "deu_Latn"))
    assert [row.group for row in examples("nano", folder, limit=5)] == english[:5]
    both = set(english) & set(german)
    assert len(both) > 5
    assert [one for one in english if one in both] == [one for one in german if one in both]


def test_the_revision_follows_the_data(folder: Path, tmp_path: Path) -> None:
    assert load("nano", folder).revision.startswith("sha256:")
    assert load("nano", folder).revision == load("nano-matching", folder).revision
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    card = copy / "card.json"
    card.write_bytes(card.read_bytes() + b" ")
    assert load("nano", copy).revision != load("nano", folder).revision


def test_the_whole_way_gives_scores(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("sacrebleu")
    nano = BENCHMARKS.get("nano")
    root = tmp_path / "data"
    root.mkdir()
    (root / "nano").symlink_to(folder)
    collect_predictions(Scripted(), nano, ["eng_Latn", "swh_Latn"], tmp_path, resume=True, root=root)
    assert {(s.language, s.metric, s.value) for s in score_predictions(tmp_path)} == {
        (code, metric, best)
        for code in ("eng_Latn", "swh_Latn")
        for metric, best in (("exact", 1), ("chrf-sentence", 100))
    }

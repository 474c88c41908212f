"""The filter of web captions by their phrases."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.unit.data.captioned import Captioned, Told

from visiglot.data import caption_filter as module
from visiglot.data.caption_filter import Filtered, filter_captions, write_kept
from visiglot.data.phrases import between_stop_words
from visiglot.data.source import Source, build_source
from visiglot.errors import DataError
from visiglot.types import Example

ADJECTIVES = ("red", "blue", "old", "small", "wooden")
THINGS = ("dog", "cat", "boat", "house", "tree", "kite", "lamp")


def captions(count: int = 600, seed: int = 0) -> list[Told]:
    """Captions with two or three phrases each, some of them common and some rare; a few captions stand twice."""
    draw = random.Random(seed)

    def phrase() -> str:
        rare = draw.random() < 0.3
        return f"{draw.choice(ADJECTIVES)} {draw.choice(THINGS)}{draw.randrange(40) if rare else ''}"

    texts = [f"a {phrase()} near the {phrase()} and a {phrase()}" for _ in range(count)]
    return [Told(texts[n // 2] if n % 10 == 1 else text, f"{n}.jpg") for n, text in enumerate(texts)]


def kept(told: list[Told], **options: int) -> Filtered:
    return filter_captions(Captioned(told), between_stop_words, **{"min_captions": 8, "per_phrase": 4, **options})


def by_phrase(told: list[Told]) -> dict[str, set[int]]:
    """Phrase -> the captions that it stands in, the plain way."""
    found: dict[str, set[int]] = {}
    for number, phrases in enumerate(between_stop_words([one.caption for one in told])):
        for phrase in phrases:
            found.setdefault(phrase, set()).add(number)
    return found


@pytest.mark.parametrize("chunk", [7, 100, 2**22])
def test_counts_are_those_of_a_plain_count(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(module, "CHUNK", chunk)
    told = captions()
    found = kept(told)
    plain = by_phrase(told)
    common = [phrase for phrase, numbers in plain.items() if len(numbers) >= 8]
    assert 0 < len(common) < len(plain)
    assert (found.captions, found.phrases, found.kept_phrases) == (600, len(plain), len(common))


def test_what_is_kept_has_a_common_phrase_and_every_common_phrase_has_its_share() -> None:
    told = captions()
    chosen = set(kept(told).numbers.tolist())
    common = {phrase: numbers for phrase, numbers in by_phrase(told).items() if len(numbers) >= 8}
    assert chosen <= set().union(*common.values())
    assert all(len(numbers & chosen) >= 4 for numbers in common.values())
    assert len(chosen) <= 4 * len(common)
    assert len(chosen) < len(told) / 2


def test_no_more_than_asked_are_drawn_for_a_phrase() -> None:
    told = [Told(f"a dog near word{n}", f"{n}.jpg") for n in range(50)]
    assert len(kept(told, min_captions=10, per_phrase=30).numbers) == 30
    assert len(kept(told, min_captions=10, per_phrase=60).numbers) == 50
    assert len(kept(told, min_captions=50, per_phrase=30).numbers) == 30
    assert len(kept(told, min_captions=51).numbers) == 0


def test_a_phrase_counts_once_in_a_caption() -> None:
    told = [Told("a dog and a dog and a dog", "a.jpg"), Told("a dog", "b.jpg")]
    assert len(kept(told, min_captions=3).numbers) == 0
    assert len(kept(told, min_captions=2).numbers) == 2


@pytest.mark.parametrize("chunk", [11, 2**22])
def test_the_order_of_rows_means_nothing(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    told = captions()
    first = {told[number] for number in kept(told).numbers}
    monkeypatch.setattr(module, "CHUNK", chunk)
    monkeypatch.setattr(module, "BATCH", 13)
    other = random.Random(1).sample(told, len(told))
    assert {other[number] for number in kept(other).numbers} == first


def test_the_seed_decides_what_is_drawn() -> None:
    told = captions()
    assert np.array_equal(kept(told, seed=1).numbers, kept(told, seed=1).numbers)
    assert not np.array_equal(kept(told, seed=1).numbers, kept(told, seed=2).numbers)


def test_drawing_favours_no_caption_over_seeds() -> None:
    told = [Told(f"a dog near word{n}", f"{n}.jpg") for n in range(20)]
    times = Counter(int(n) for seed in range(200) for n in kept(told, per_phrase=5, seed=seed).numbers)
    assert len(times) == 20
    assert all(25 < times[n] < 75 for n in range(20)), times  # 50 expected, 6 the standard deviation


def test_the_same_caption_of_several_pictures_is_drawn_picture_by_picture() -> None:
    told = [Told("a dog", f"{n}.jpg") for n in range(40)]
    assert len(kept(told, per_phrase=7).numbers) == 7


def test_other_languages_are_left_out_and_a_source_without_english_is_refused() -> None:
    english, german = [Told("a dog", f"{n}.jpg") for n in range(9)], [Told("ein Hund", "x.jpg", "deu_Latn")]
    found = kept([*german, *english], per_phrase=100)
    assert found.captions == 9
    assert found.numbers.tolist() == list(range(1, 10))
    with pytest.raises(DataError, match="has no English examples"):
        kept(german)


def coco(folder: Path, name: str = "captions.json") -> Path:
    """COCO's captions: three of each of 12 pictures."""
    images = [{"id": n, "file_name": f"{n:012d}.jpg"} for n in range(12)]
    rows = [{"id": 100 + n, "image_id": n % 12, "caption": f"a dog near a tree{n}", "segments": [1]} for n in range(36)]
    path = folder / name
    path.write_text(json.dumps({"images": images, "annotations": rows}))
    return path


@pytest.mark.parametrize("name", ["kept.jsonl", "kept.json"])
def test_rows_keep_their_plain_fields_and_name_their_pictures(tmp_path: Path, name: str) -> None:
    options = {"path": str(coco(tmp_path)), "images": str(tmp_path)}
    source = build_source("coco-captions", options, languages=["eng_Latn"], seed=0)
    write_kept(source, [3, 20], tmp_path / name)
    text = (tmp_path / name).read_text()
    rows = json.loads(text) if name.endswith(".json") else [json.loads(line) for line in text.splitlines()]
    assert rows == [
        {"id": 103, "image_id": 3, "caption": "a dog near a tree3", "image": f"{3:012d}.jpg"},
        {"id": 120, "image_id": 8, "caption": "a dog near a tree20", "image": f"{8:012d}.jpg"},
    ]


@pytest.mark.parametrize("name", ["kept.jsonl", "kept.json"])
def test_capfilt_reads_what_was_kept_of_it_with_the_same_pictures(tmp_path: Path, name: str) -> None:
    rows = [{"caption": one.caption, "url": f"https://example.org/{one.picture}"} for one in captions(60)]
    (tmp_path / "ccs.json").write_text(json.dumps(rows))

    def opened(path: str) -> Source:
        options = {"path": str(tmp_path / path), "images": str(tmp_path)}
        return build_source("capfilt", options, languages=["eng_Latn"], seed=0)

    source = opened("ccs.json")
    numbers = filter_captions(source, between_stop_words, min_captions=4, per_phrase=2).numbers
    assert 5 < len(numbers) < 50
    write_kept(source, numbers, tmp_path / name)
    kept = opened(name)
    assert len(kept) == len(numbers)
    for place, number in enumerate(numbers):
        assert kept[place].images == source[int(number)].images
        assert kept[place].images[0].name == f"{number:08d}.jpg"
        assert kept[place].facts == source[int(number)].facts
    written = (tmp_path / name).read_text()
    assert all(json.dumps(rows[number]["url"]) in written for number in numbers)


def test_nothing_kept_is_an_empty_list(tmp_path: Path) -> None:
    write_kept(Captioned([]), [], tmp_path / "none.json")
    assert json.loads((tmp_path / "none.json").read_text()) == []


class Questions(Captioned):
    """Examples without a caption."""

    def __getitem__(self, index: int) -> Example:
        return replace(super().__getitem__(index), facts={"question": "?"})


def test_an_example_without_a_caption_is_named(tmp_path: Path) -> None:
    source = Questions([Told("a dog", "a.jpg")])
    with pytest.raises(DataError, match=r"example a.jpg: a dog: has no caption; it has question"):
        filter_captions(source, between_stop_words)
    with pytest.raises(DataError, match="has no caption"):
        write_kept(source, [0], tmp_path / "kept.jsonl")
    assert not list(tmp_path.iterdir())

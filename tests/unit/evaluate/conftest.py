"""A toy benchmark with drawn pictures, an answerer that needs no model, and rows written by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from visiglot.errors import ModelError, VisiglotError
from visiglot.evaluate.benchmark import BENCHMARKS, Benchmark, Settings
from visiglot.types import Example, ImageRef, ImageSlot, Message, Prediction

WORDS = {
    "eng_Latn": {"cat": "cat", "dog": "dog", "sun": "sun"},
    "deu_Latn": {"cat": "Katze", "dog": "Hund", "sun": "Sonne"},
    "arb_Arab": {"cat": "قطة", "dog": "كلب", "sun": "شمس"},
    "heb_Hebr": {"cat": "חתול", "dog": "כלב", "sun": "שמש"},
    "jpn_Jpan": {"cat": "猫", "dog": "犬", "sun": "太陽"},
}


def png(colour: str = "red") -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (24, 24), colour).save(buffer, "PNG")
    return buffer.getvalue()


PICTURES = {
    "cat": ImageRef("toy/cat", data=png("red")),
    "dog": ImageRef("toy/dog", data=png("green")),
    "sun": ImageRef("toy/sun", data=png("yellow")),
}


@dataclass(frozen=True)
class ToyData:
    pictures: Mapping[str, ImageRef] = field(default_factory=lambda: PICTURES)
    revision: str = "toy-1"
    languages: tuple[str, ...] = tuple(WORDS)
    language_groups: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {"pictured": ("eng_Latn", "deu_Latn", "arb_Arab"), "never pictured": ("jpn_Jpan",)}
    )

    def examples(self, language: str, *, split: str, prompt_set: str, limit: int | None) -> Iterable[Example]:
        for thing, name in list(WORDS[language].items())[:limit]:
            turn = Message("user", (ImageSlot(0), f"Caption in {language}: "))
            image = self.pictures[thing]
            yield Example(thing, (turn,), language, (image,), (name,), task="caption", group=thing)


def toy_benchmark(name: str = "toy", data: ToyData | None = None, **changes: str) -> Benchmark:
    return Benchmark(
        name=name,
        about="Name the toy.",
        load=lambda root: data or ToyData(),
        splits=("test",),
        prompt_sets=("english",),
        metrics={"caption": ("exact", "chrf-sentence")},
        licence="CC0-1.0",
        citation="none",
        translation="none",
        settings=Settings(max_new_tokens=4),
        **changes,
    )


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[[Benchmark], Benchmark]:
    """Put a benchmark into the table for the time of the test."""

    def put(benchmark: Benchmark) -> Benchmark:
        monkeypatch.setitem(BENCHMARKS._things, benchmark.name, benchmark)
        return benchmark

    return put


@pytest.fixture
def toy(register: Callable[[Benchmark], Benchmark]) -> Benchmark:
    return register(toy_benchmark())


@dataclass
class Scripted:
    """Answers with the reference but for the ids in `wrong`; fails on those in `broken`; remembers what it was asked.

    `patience`: how many answers it gives before the process dies.
    """

    name: str = "scripted"
    fingerprint: str = "weights-1"
    device: str = "cpu"
    wrong: Mapping[str, str] = field(default_factory=dict)
    broken: tuple[str, ...] = ()
    patience: int | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)
    calls: list[list[str]] = field(default_factory=list)

    def answer(self, examples: Sequence[Example], settings: Settings) -> Iterator[tuple[int, str | VisiglotError]]:
        self.calls.append([example.images[0].name for example in examples])
        for index, example in reversed(list(enumerate(examples))):
            if self.patience is not None and len(self.asked) >= self.patience:
                raise KeyboardInterrupt
            self.asked.append((example.language, example.id))
            if example.id in self.broken:
                yield index, ModelError(f"{example.id}: scores aren't finite")
            else:
                yield index, self.wrong.get(example.id, example.references[0])


def row(id: str = "1", text: str | None = "cat", *references: str, **changes: str) -> Prediction:
    """A prediction row; `text=None` makes it a failure."""
    values = {
        "image": f"toy/{id}",
        "language": "eng_Latn",
        "prompt": "Caption: ",
        "benchmark": "toy",
        "split": "test",
        "prompt_set": "english",
        "model": "scripted",
        "settings_hash": "s1",
        "task": "caption",
        "group": id,
    } | changes
    return Prediction(
        id=id, text=text, error=None if text is not None else "it broke", references=references or ("cat",), **values
    )


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "evaluation"


class Ranking(Scripted):
    """Finds each choice as likely as its place in `preferred` says: the first most; and fails at `broken`."""

    def __init__(self, preferred: Sequence[str], broken: str = "") -> None:
        super().__init__()
        self.preferred = preferred
        self.broken = broken

    def rank(self, examples: Sequence[Example]) -> Iterator[tuple[int, tuple[float, ...] | VisiglotError]]:
        for index, example in enumerate(examples):
            if example.id == self.broken:
                yield index, ModelError("scores aren't finite")
            else:
                yield index, tuple(-float(self.preferred.index(choice)) for choice in example.choices)

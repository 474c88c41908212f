"""Answers of a model that puts the question into English first: the answer alone is scored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.tiny import build_tiny
from tests.unit.evaluate.conftest import row

from visiglot.errors import VisiglotError
from visiglot.evaluate.answers import ModelAnswerer, fingerprint_model
from visiglot.evaluate.benchmark import Benchmark, Settings
from visiglot.evaluate.generate import Generated, collect_predictions
from visiglot.evaluate.pivoted import NO_PIVOT, TRANSLATION, without_pivot
from visiglot.evaluate.predictions import prediction_path, read_predictions
from visiglot.evaluate.score import score_predictions
from visiglot.models.build import Built
from visiglot.types import Example

SAID = {"cat": "What is it? || cat", "dog": "dog", "sun": "What is it? ||"}


@pytest.fixture(scope="module")
def built() -> Built:
    return build_tiny(llm="llama", pivot=True)


def ask(built: Built, benchmark: Benchmark, out: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Generated, list[str]]:
    asked = []

    def answer(
        self: ModelAnswerer, examples: Sequence[Example], settings: Settings
    ) -> Iterator[tuple[int, str | VisiglotError]]:
        for index, example in enumerate(examples):
            asked.append(example.id)
            yield index, SAID[example.id]

    monkeypatch.setattr(ModelAnswerer, "answer", answer)
    answerer = ModelAnswerer(built.model, built.processor, name="tiny", max_batch_tokens=128)
    return collect_predictions(answerer, benchmark, ["eng_Latn"], out, resume=True), asked


def test_what_stands_behind_the_pivot_is_scored_and_nothing_is_empty(
    built: Built, toy: Benchmark, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sacrebleu")
    ask(built, toy, out, monkeypatch)
    rows = {one.id: one for one in read_predictions(prediction_path(out, "toy", "english", "eng_Latn"))}
    assert {id: one.text for id, one in rows.items()} == {"cat": "cat", "dog": "dog", "sun": "What is it?"}
    assert {id: dict(one.facts) for id, one in rows.items()} == {
        "cat": {TRANSLATION: "What is it?"}, "dog": {NO_PIVOT: "true"}, "sun": {NO_PIVOT: "true"},
    }  # fmt: skip
    (exact,) = (score for score in score_predictions(out) if score.metric == "exact")
    assert (exact.n, exact.missing, exact.value) == (3, 0, pytest.approx(2 / 3))


def test_such_answers_are_kept_when_they_are_asked_for_again(
    built: Built, toy: Benchmark, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ask(built, toy, out, monkeypatch)[0].made == 3
    done, asked = ask(built, toy, out, monkeypatch)
    assert (done.made, done.kept, done.dropped, asked) == (0, 3, 0, [])


def test_another_model_keeps_its_bars(toy: Benchmark, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(build_tiny(llm="llama"), toy, out, monkeypatch)
    rows = read_predictions(prediction_path(out, "toy", "english", "eng_Latn"))
    assert {one.id: one.text for one in rows} == SAID
    assert not any(one.facts for one in rows)


def test_the_fingerprint_tells_the_two_ways_apart(built: Built) -> None:
    plain = build_tiny(llm="llama")
    assert fingerprint_model(built.model, built.processor) != fingerprint_model(plain.model, plain.processor)


def test_a_failure_stays_one() -> None:
    failed = row("1", None)
    assert without_pivot(failed) is failed

"""An evaluation folder never shows a row as what it isn't."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.unit.evaluate.conftest import Scripted, ToyData, row, toy_benchmark

from visiglot.errors import EvaluationError
from visiglot.evaluate.benchmark import Benchmark
from visiglot.evaluate.generate import collect_predictions
from visiglot.evaluate.predictions import prediction_path, read_predictions, write_predictions
from visiglot.evaluate.score import score_predictions
from visiglot.evaluate.sharing import Share, device_of
from visiglot.types import Example, Message


@dataclass(frozen=True)
class Reworded(ToyData):
    ask: str = "Caption: "
    gold: str = ""

    def examples(self, language: str, *, split: str, prompt_set: str, limit: int | None) -> Iterable[Example]:
        for one in super().examples(language, split=split, prompt_set=prompt_set, limit=limit):
            turn = Message("user", (*one.messages[0].content[:1], self.ask))
            yield replace(one, messages=(turn,), references=(self.gold,) if self.gold else one.references)


def test_two_models_in_one_folder_are_not_scored_as_one(register: Callable[[Benchmark], Benchmark], out: Path) -> None:
    first, second = register(toy_benchmark("first")), register(toy_benchmark("second"))
    collect_predictions(Scripted(), first, ["eng_Latn"], out, resume=True)
    collect_predictions(Scripted(name="other", fingerprint="weights-2"), second, ["eng_Latn"], out, resume=True)
    with pytest.raises(EvaluationError, match=r"first\.english\.eng_Latn\.jsonl: its answers aren't of the run"):
        score_predictions(out)
    prediction_path(out, "first", "english", "eng_Latn").unlink()
    assert {score.benchmark for score in score_predictions(out)} == {"second"}


def test_a_failure_is_still_missing_after_a_run_that_did_not_ask_it(toy: Benchmark, out: Path) -> None:
    collect_predictions(Scripted(broken=("sun",)), toy, ["eng_Latn"], out, resume=True)
    assert {score.missing for score in score_predictions(out)} == {1}
    collect_predictions(Scripted(), toy, ["eng_Latn"], out, resume=True, limit=1)
    assert {score.missing for score in score_predictions(out)} == {1}
    done = collect_predictions(Scripted(), toy, ["eng_Latn"], out, resume=True)
    assert (done.made, done.kept) == (1, 2)
    assert {score.missing for score in score_predictions(out)} == {0}


@pytest.mark.parametrize("changed", [Reworded(ask="Name it: "), Reworded(gold="a thing")])
def test_answers_to_another_question_are_asked_again(changed: Reworded, out: Path) -> None:
    collect_predictions(Scripted(), toy_benchmark(data=Reworded()), ["eng_Latn"], out, resume=True)
    done = collect_predictions(Scripted(), toy_benchmark(data=changed), ["eng_Latn"], out, resume=True)
    assert (done.made, done.kept, done.dropped) == (3, 0, 3)
    (first, *_) = read_predictions(prediction_path(out, "toy", "english", "eng_Latn"))
    assert first.prompt == changed.ask


def test_one_file_may_have_an_id_in_each_language_and_not_twice_in_one(tmp_path: Path) -> None:
    file = tmp_path / "theirs.jsonl"
    write_predictions([row("1"), row("1", language="deu_Latn")], file)
    assert [one.language for one in read_predictions(file)] == ["eng_Latn", "deu_Latn"]
    write_predictions([row("1"), row("1")], file)
    with pytest.raises(EvaluationError, match="there twice"):
        read_predictions(file)


def test_processes_share_the_gpus_of_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert device_of(Share(3, 4), "auto") == device_of(Share(3, 4), "cuda") == "cuda:1"
    assert device_of(Share(3, 4), "cuda:0") == "cuda:0"
    assert device_of(Share(), "auto") == "auto"
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert device_of(Share(3, 4), "auto") == "auto"

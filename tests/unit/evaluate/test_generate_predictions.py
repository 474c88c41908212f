"""Benchmark -> prediction files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.tiny import build_tiny
from tests.unit.evaluate.conftest import PICTURES, Scripted, ToyData, row, toy_benchmark

from visiglot.errors import EvaluationError, ModelError, VisiglotError
from visiglot.evaluate.answers import ModelAnswerer, fingerprint_model
from visiglot.evaluate.benchmark import Benchmark
from visiglot.evaluate.generate import collect_predictions, generate_predictions
from visiglot.evaluate.predictions import prediction_line, prediction_path, read_predictions, write_predictions
from visiglot.evaluate.provenance import read_run
from visiglot.evaluate.score import score_predictions
from visiglot.types import ImageRef

LANGUAGES = ["eng_Latn", "arb_Arab"]


def rows_of(out: Path, language: str) -> dict[str, str | None]:
    return {r.id: r.text for r in read_predictions(prediction_path(out, "toy", "english", language))}


def test_each_language_gets_a_file_in_the_benchmarks_order(toy: Benchmark, out: Path) -> None:
    done = collect_predictions(Scripted(), toy, LANGUAGES, out, resume=True)
    assert rows_of(out, "arb_Arab") == {"cat": "قطة", "dog": "كلب", "sun": "شمس"}
    assert list(rows_of(out, "eng_Latn")) == ["cat", "dog", "sun"]
    assert (done.made, done.kept, done.failed) == (6, 0, 0)


def test_all_languages_of_a_picture_are_asked_together(toy: Benchmark, out: Path) -> None:
    scripted = Scripted()
    collect_predictions(scripted, toy, LANGUAGES, out, resume=True)
    assert scripted.calls == [["toy/cat", "toy/cat", "toy/dog", "toy/dog", "toy/sun", "toy/sun"]]


def test_a_chunk_is_never_larger_than_the_limit(toy: Benchmark, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("visiglot.evaluate.generate.ROWS_AT_ONCE", 2)
    scripted = Scripted()
    collect_predictions(scripted, toy, LANGUAGES, out, resume=True)
    assert [len(call) for call in scripted.calls] == [2, 2, 2]


def test_a_failure_becomes_a_row_with_an_error(toy: Benchmark, out: Path) -> None:
    done = collect_predictions(Scripted(broken=("dog",)), toy, ["eng_Latn"], out, resume=True)
    rows = read_predictions(prediction_path(out, "toy", "english", "eng_Latn"))
    assert [(r.id, r.text, r.error) for r in rows][1] == ("dog", None, "dog: scores aren't finite")
    assert done.failed == 1


def test_a_run_that_died_goes_on_where_it_was_and_gives_the_same_files(toy: Benchmark, tmp_path: Path) -> None:
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    collect_predictions(Scripted(), toy, LANGUAGES, whole, resume=True)
    first = Scripted(patience=4)
    with pytest.raises(KeyboardInterrupt):
        collect_predictions(first, toy, LANGUAGES, halves, resume=True)
    second = Scripted()
    done = collect_predictions(second, toy, LANGUAGES, halves, resume=True)
    assert done.kept == 4
    assert sorted(first.asked + second.asked) == sorted((code, id) for code in LANGUAGES for id in PICTURES)
    for code in LANGUAGES:
        one, other = (prediction_path(folder, "toy", "english", code) for folder in (whole, halves))
        assert one.read_bytes() == other.read_bytes()


def test_a_cut_last_line_is_asked_again(toy: Benchmark, out: Path) -> None:
    collect_predictions(Scripted(), toy, ["eng_Latn"], out, resume=True)
    path = prediction_path(out, "toy", "english", "eng_Latn")
    path.write_text(path.read_text()[:-20])
    again = Scripted()
    collect_predictions(again, toy, ["eng_Latn"], out, resume=True)
    assert again.asked == [("eng_Latn", "sun")]


def test_nothing_is_asked_twice_and_failures_are_tried_again(toy: Benchmark, out: Path) -> None:
    collect_predictions(Scripted(broken=("dog",)), toy, LANGUAGES, out, resume=True)
    again = Scripted()
    done = collect_predictions(again, toy, LANGUAGES, out, resume=True)
    assert sorted(again.asked) == [("arb_Arab", "dog"), ("eng_Latn", "dog")]
    assert (done.made, done.kept, done.failed) == (2, 4, 0)


@pytest.mark.parametrize("changed", ["model", "settings", "revision"])
def test_answers_made_with_other_settings_are_made_anew(toy: Benchmark, out: Path, changed: str) -> None:
    collect_predictions(Scripted(), toy, ["eng_Latn"], out, resume=True)
    answerer, benchmark = Scripted(), toy
    if changed == "model":
        answerer = Scripted(fingerprint="weights-2")
    elif changed == "settings":
        benchmark = replace(toy, settings=replace(toy.settings, beams=2))
    else:
        benchmark = replace(toy, load=lambda root: ToyData(revision="toy-2"))
    done = collect_predictions(answerer, benchmark, ["eng_Latn"], out, resume=True)
    assert (done.made, done.dropped) == (3, 3)


def test_without_resume_everything_is_asked_again(toy: Benchmark, out: Path) -> None:
    collect_predictions(Scripted(), toy, ["eng_Latn"], out, resume=True)
    again = Scripted(wrong={"cat": "dog"})
    collect_predictions(again, toy, ["eng_Latn"], out, resume=False)
    assert len(again.asked) == 3
    assert rows_of(out, "eng_Latn")["cat"] == "dog"


def test_a_smaller_limit_loses_no_answer(toy: Benchmark, out: Path) -> None:
    collect_predictions(Scripted(), toy, ["eng_Latn"], out, resume=True)
    collect_predictions(Scripted(), toy, ["eng_Latn"], out, resume=True, limit=1)
    assert len(rows_of(out, "eng_Latn")) == 3


def test_languages_that_the_benchmark_lacks_are_named(toy: Benchmark, out: Path) -> None:
    done = collect_predictions(Scripted(), toy, ["eng_Latn", "yor_Latn"], out, resume=True)
    assert done.lacking == ("yor_Latn",)
    with pytest.raises(EvaluationError, match="no examples in yor_Latn"):
        collect_predictions(Scripted(), toy, ["yor_Latn"], out, resume=True)


def test_progress_counts_what_is_there_and_what_failed(toy: Benchmark, out: Path) -> None:
    told: list[tuple[int, int, int]] = []
    collect_predictions(
        Scripted(broken=("cat",)), toy, ["eng_Latn"], out, resume=True, progress=lambda *numbers: told.append(numbers)
    )
    assert told == [(1, 3, 0), (2, 3, 0), (3, 3, 1)]


def test_run_json_says_how_to_make_it_again(toy: Benchmark, out: Path) -> None:
    command = ["visiglot", "evaluate", "nano", "--out", "a folder"]
    collect_predictions(Scripted(), toy, ["eng_Latn"], out, resume=True, recipe="nano", command=command)
    collect_predictions(Scripted(), toy, ["arb_Arab"], out, resume=True, recipe="nano", command=command)
    run = read_run(out)
    assert run is not None
    assert (run.model, run.model_hash, run.recipe, list(run.command)) == ("scripted", "weights-1", "nano", command)
    assert {"python", "visiglot", "torch"} <= run.versions.keys()
    asked = run.benchmarks["toy.english"]
    assert asked.rows == {"eng_Latn": 3, "arb_Arab": 3}
    assert (asked.revision, asked.licence, asked.settings["max_new_tokens"]) == ("toy-1", "CC0-1.0", 4)
    assert asked.language_groups["never pictured"] == ("jpn_Jpan",)


def test_run_json_keeps_every_command_whose_answers_count(
    register: Callable[[Benchmark], Benchmark], out: Path
) -> None:
    first, second = register(toy_benchmark("first")), register(toy_benchmark("second"))
    wide, narrow, other = (("visiglot", "evaluate", name) for name in ("wide", "narrow", "other"))
    for benchmark in (first, second):
        collect_predictions(Scripted(), benchmark, ["eng_Latn", "arb_Arab"], out, resume=True, command=wide)
    done = collect_predictions(Scripted(), first, ["eng_Latn"], out, resume=True, limit=1, command=narrow)
    assert done.earlier == 5
    run = read_run(out)
    assert run is not None
    assert (run.command, run.commands) == (narrow, (wide, narrow))
    assert [run.benchmarks[f"{name}.english"].commands for name in ("first", "second")] == [(wide, narrow), (wide,)]
    collect_predictions(Scripted(fingerprint="weights-2"), first, ["eng_Latn"], out, resume=True, command=other)
    run = read_run(out)
    assert run is not None
    assert run.commands == (other,)  # the others' answers are of other weights


def test_what_is_made_anew_is_of_the_new_command_alone(toy: Benchmark, out: Path) -> None:
    first, half, whole = (("visiglot", "evaluate", name) for name in ("first", "half", "whole"))
    collect_predictions(Scripted(), toy, ["eng_Latn", "arb_Arab"], out, resume=True, command=first)
    done = collect_predictions(Scripted(), toy, ["eng_Latn"], out, resume=False, limit=1, command=half)
    run = read_run(out)
    assert run is not None
    assert done.earlier == 3  # the other language's
    assert run.benchmarks["toy.english"].rows == {"eng_Latn": 1, "arb_Arab": 3}
    assert run.commands == (first, half)
    score_predictions(out)  # all rows that are said to be there are
    collect_predictions(Scripted(), toy, ["eng_Latn", "arb_Arab"], out, resume=False, limit=1, command=whole)
    run = read_run(out)
    assert run is not None
    assert run.commands == (whole,)


def test_a_run_json_from_before_commands_were_kept_by_benchmark_keeps_its_own(toy: Benchmark, out: Path) -> None:
    collect_predictions(Scripted(), toy, ["eng_Latn"], out, resume=True, command=("old",))
    path = out / "run.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    del values["benchmarks"]["toy.english"]["commands"]
    path.write_text(json.dumps(values), encoding="utf-8")
    run = read_run(out)
    assert run is not None
    assert run.commands == (("old",),)
    collect_predictions(Scripted(), toy, ["arb_Arab"], out, resume=True, command=("new",))
    run = read_run(out)
    assert run is not None
    assert run.commands == (("old",), ("new",))


def test_a_file_with_rows_still_to_come_is_not_scored(toy: Benchmark, out: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        collect_predictions(Scripted(patience=2), toy, ["eng_Latn"], out, resume=True)
    with pytest.raises(EvaluationError, match="2 of 3 rows"):
        score_predictions(out)


def test_a_foreign_prediction_file_can_be_scored(toy: Benchmark, out: Path) -> None:
    pytest.importorskip("sacrebleu")
    write_predictions([row("1")], prediction_path(out, "toy", "english", "eng_Latn"))
    assert read_run(out) is None
    assert {score.value for score in score_predictions(out)} == {1.0, 100.0}


# --- a model answers -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def answerer() -> ModelAnswerer:
    built = build_tiny()
    return ModelAnswerer(built.model, built.processor, name="tiny", max_batch_tokens=256)


def test_a_model_answers_every_example_and_reads_each_picture_once(
    toy: Benchmark, monkeypatch: pytest.MonkeyPatch
) -> None:
    from visiglot.models import answer

    loaded: list[str] = []
    whole = answer.load_image

    def counted(ref: ImageRef) -> object:
        loaded.append(ref.name)
        return whole(ref)

    monkeypatch.setattr(answer, "load_image", counted)
    built = build_tiny()
    answerer = ModelAnswerer(built.model, built.processor, name="tiny", max_batch_tokens=256)
    examples = [e for code in LANGUAGES for e in toy.load(None).examples(code, split="", prompt_set="", limit=None)]
    found = dict(answerer.answer(examples, toy.settings))
    assert sorted(found) == list(range(6))
    assert all(isinstance(text, str) for text in found.values())
    assert sorted(loaded) == ["toy/cat", "toy/dog", "toy/sun"]


def test_answers_do_not_depend_on_what_is_asked_beside_them(answerer: ModelAnswerer, toy: Benchmark) -> None:
    examples = [e for code in LANGUAGES for e in toy.load(None).examples(code, split="", prompt_set="", limit=None)]
    together = dict(answerer.answer(examples, toy.settings))
    alone = {i: next(answerer.answer([example], toy.settings))[1] for i, example in enumerate(examples)}
    assert alone == together


def test_a_picture_that_cannot_be_read_fails_alone(answerer: ModelAnswerer, out: Path, tmp_path: Path) -> None:
    missing = {**PICTURES, "dog": ImageRef("dog.png", path=tmp_path / "dog.png"), "sun": ImageRef("sun", data=b"no")}
    collect_predictions(answerer, toy_benchmark(data=ToyData(missing)), ["eng_Latn"], out, resume=True)
    rows = {r.id: r for r in read_predictions(prediction_path(out, "toy", "english", "eng_Latn"))}
    assert rows["cat"].error is None
    assert rows["dog"].text is None
    assert "dog.png" in (rows["dog"].error or "")
    assert "sun" in (rows["sun"].error or "")


def test_a_prompt_that_does_not_fit_fails_alone(answerer: ModelAnswerer, toy: Benchmark) -> None:
    fine, long = toy.load(None).examples("eng_Latn", split="", prompt_set="", limit=2)
    long = replace(long, messages=(replace(long.messages[0], content=(*long.messages[0].content, "red " * 200)),))
    found = dict(answerer.answer([fine, long], toy.settings))
    assert isinstance(found[0], str)
    assert isinstance(found[1], VisiglotError)
    assert "tokens" in found[1].message


def test_one_row_that_breaks_the_decoder_costs_only_itself(
    answerer: ModelAnswerer, toy: Benchmark, monkeypatch: pytest.MonkeyPatch
) -> None:
    from visiglot.models import decode

    whole = decode.generate

    def fragile(model: object, processor: object, rows: object, *, max_batch_tokens: int) -> Iterator[object]:
        rows = list(rows)  # type: ignore[call-overload]
        if any(r.sample.id == "dog" for r in rows):
            raise ModelError("scores aren't finite")
        yield from whole(model, processor, rows, max_batch_tokens=max_batch_tokens)

    monkeypatch.setattr(decode, "generate", fragile)
    examples = list(toy.load(None).examples("eng_Latn", split="", prompt_set="", limit=None))
    found = dict(answerer.answer(examples, toy.settings))
    assert isinstance(found[1], ModelError)
    assert isinstance(found[0], str)
    assert isinstance(found[2], str)


def test_the_fingerprint_follows_the_weights() -> None:
    built, same, other = build_tiny(), build_tiny(), build_tiny(seed=1)
    first = fingerprint_model(built.model, built.processor)
    assert fingerprint_model(same.model, same.processor) == first
    assert fingerprint_model(other.model, other.processor) != first


def test_the_fingerprint_follows_the_place_of_pictures_only_where_they_are_moved() -> None:
    built = build_tiny()
    last = fingerprint_model(built.model, built.processor)
    built.model.config.image_gap = "\n"
    assert fingerprint_model(built.model, built.processor) == last
    built.model.config.image_first = True
    gap = fingerprint_model(built.model, built.processor)
    built.model.config.image_gap = ""
    assert len({last, gap, fingerprint_model(built.model, built.processor)}) == 3


def test_the_whole_way_with_a_tiny_model(toy: Benchmark, out: Path) -> None:
    pytest.importorskip("sacrebleu")
    built = build_tiny(llm="llama")
    done = generate_predictions(
        built.model, built.processor, toy, ["eng_Latn"], out, resume=True, model_name="tiny", max_batch_tokens=128
    )
    assert done.made == 3
    assert {score.n for score in score_predictions(out)} == {3}
    line = prediction_line(read_predictions(prediction_path(out, "toy", "english", "eng_Latn"))[0])
    assert "Caption in eng_Latn" in line

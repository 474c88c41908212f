"""What a report says beside the values: classes of languages, fidelity, failures, pairs of models; and its JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.evaluate.conftest import WORDS, ToyData, row, toy_benchmark

from visiglot.evaluate.benchmark import Benchmark
from visiglot.evaluate.pictures import keep_pictures
from visiglot.evaluate.predictions import prediction_path, read_comparisons, read_means, read_scores, write_predictions
from visiglot.evaluate.provenance import BenchmarkRun, Run, write_run
from visiglot.evaluate.report import Written, build_report
from visiglot.evaluate.report.samples import TEXTS, _cards, pick
from visiglot.evaluate.score import score_predictions
from visiglot.evaluate.summary import load_evaluations
from visiglot.languages import all_languages
from visiglot.sheet import format_value
from visiglot.types import Prediction

SENTENCES = {
    "eng_Latn": "A small cat is sitting on the old wooden table in the garden.",
    "deu_Latn": "Eine kleine Katze sitzt auf dem alten Holztisch im Garten.",
    "arb_Arab": "قطة صغيرة تجلس على الطاولة الخشبية القديمة في الحديقة.",
    "heb_Hebr": "חתול קטן יושב על שולחן העץ הישן שבגינה.",
    "jpn_Jpan": "小さな猫が庭の古い木のテーブルの上に座っています。",
}

Table = Mapping[str, list[Prediction]]


def named(**texts: str | None) -> Table:
    """Answers of the toy benchmark, right but for the things in `texts`."""
    return {
        code: [row(id, texts.get(id, name), name, language=code) for id, name in words.items()]
        for code, words in WORDS.items()
    }


def write(folder: Path, table: Table, model: str = "scripted", **about: Any) -> Path:
    """An evaluation folder with a run.json."""
    for code, rows in table.items():
        write_predictions([replace(one, model=model) for one in rows], prediction_path(folder, "toy", "english", code))
    values = {
        "about": "Name the toy.", "split": "test", "revision": "toy-1", "settings": {"beams": 1}, "settings_hash": "s1",
        "metrics": {}, "chance": {}, "licence": "CC0-1.0", "citation": "none", "translation": "none", "control_of": "",
        "control": "", "language_groups": {}, "rows": {code: len(rows) for code, rows in table.items()},
    }  # fmt: skip
    run = Run(model, f"hash of {model}", benchmarks={"toy.english": BenchmarkRun(**{**values, **about})})
    write_run(run, folder)
    return folder


def reported(*folders: Path, out: Path) -> tuple[str, str, dict[str, Any]]:
    for folder in folders:
        score_predictions(folder)
    written: Written = build_report(folders, out)
    html, markdown, values = (path.read_text(encoding="utf-8") for path in written)
    return html, markdown, json.loads(values)


def cells(markdown: str, caption: str, first: str) -> list[str]:
    """Of the row that begins with `first`, in the table below `caption`."""
    below = markdown[markdown.index(caption) :]
    found = below[below.index(f"\n| {first} |") + 1 :].splitlines()[0]
    return [cell.strip() for cell in found.strip("| ").split(" | ")]


def test_the_json_holds_the_numbers_of_the_score_files(toy: Benchmark, tmp_path: Path) -> None:
    folder = write(tmp_path / "e", named(cat="dog"))
    _, markdown, values = reported(folder, out=tmp_path)
    assert values["format"] == 1
    result = values["results"][0]
    assert (result["key"]["metric"], result["key"]["tokenisation"]) == ("exact", "nfc")
    model = result["models"][0]
    scores = {score.language: score for score in read_scores(folder / "scores.jsonl") if score.metric == "exact"}
    assert {code: one["value"] for code, one in model["scores"].items()} == {c: s.value for c, s in scores.items()}
    means = [mean for mean in read_means(folder / "means.jsonl") if mean.metric == "exact"]
    assert [(one["group"], one["low"]) for one in model["means"]] == [(mean.group, mean.low) for mean in means]
    compared = [one for one in read_comparisons(folder / "comparisons.jsonl") if one.metric == "exact"]
    assert [one["value"] for one in model["comparisons"]] == [one.value for one in compared]
    shown = format_value(model["scores"]["deu_Latn"]["value"], percent=True)
    assert cells(markdown, "exact by language", "German")[1].startswith(f"{shown} (")


def test_the_prompt_set_and_the_tokenisation_are_in_every_heading(toy: Benchmark, tmp_path: Path) -> None:
    _, markdown, _ = reported(write(tmp_path / "e", named()), out=tmp_path)
    assert "## toy (english): exact, tokenisation nfc" in markdown
    assert "exact by language (nfc)" in markdown


def test_bars_stand_by_class_of_resources_those_with_most_first(toy: Benchmark, tmp_path: Path) -> None:
    _, markdown, _ = reported(write(tmp_path / "e", named(cat="dog")), out=tmp_path)
    table = markdown[markdown.index("exact by language") :].split("\n\n")[1].splitlines()
    groups = [line.strip("| ").split(" | ")[-1] for line in table[2:]]
    assert [group.partition(":")[0] for group in groups] == ["Class 5"] * 4 + ["Class 3"]
    assert groups[-1] == "Class 3: mean 66.7 % (0.0–100.0)"  # Hebrew: one of three is wrong


def test_chance_is_marked_where_there_is_such_a_thing(toy: Benchmark, tmp_path: Path) -> None:
    html, markdown, values = reported(write(tmp_path / "e", named(), chance={"caption": 0.25}), out=tmp_path)
    assert html.count('<span class="mark"') == len(WORDS)
    assert "(chance: 25.0 %)" in markdown
    assert [result["chance"] for result in values["results"]] == [0.25, None]  # of the main metric only


def test_failed_answers_are_counted_beside_each_bar(toy: Benchmark, tmp_path: Path) -> None:
    table = {**named(), "deu_Latn": named(dog=None, sun=None)["deu_Latn"]}
    _, markdown, _ = reported(write(tmp_path / "e", table), out=tmp_path)
    assert cells(markdown, "exact by language", "German")[2:4] == ["1", "2"]
    assert cells(markdown, "exact by language", "Hebrew")[2:4] == ["3", "0"]
    assert cells(markdown, "The five worst languages", "German")[2:4] == ["1", "2"]


def test_what_was_never_held_against_the_data_has_a_mark(toy: Benchmark, tmp_path: Path) -> None:
    _, markdown, values = reported(write(tmp_path / "e", named(dog=None), rows={"deu_Latn": 3}), out=tmp_path)
    assert cells(markdown, "exact by language", "German")[3] == "1"
    assert cells(markdown, "exact by language", "Hebrew")[3] == "1 + ?"
    assert "whether each question has one was never checked" in markdown
    scores = values["results"][0]["models"][0]["scores"]
    assert [scores[code]["unchecked"] for code in ("deu_Latn", "heb_Hebr")] == [False, True]
    assert "never checked" not in reported(write(tmp_path / "f", named()), out=tmp_path)[1]


def test_fidelity_stands_beside_quality_with_what_the_identifier_makes_of_references(
    register: Callable[[Benchmark], Benchmark], tmp_path: Path
) -> None:
    pytest.importorskip("py3langid")
    metrics = {"caption": ("exact", "fidelity", "fidelity-references")}
    register(replace(toy_benchmark(), metrics=metrics))
    english = SENTENCES["eng_Latn"]
    table = {
        code: [row("1", text, text, language=code), row("2", english, text, language=code)]
        for code, text in SENTENCES.items()
    }
    _, markdown, values = reported(write(tmp_path / "e", table), out=tmp_path)
    assert cells(markdown, "exact by language", "English")[-2] == "100.0 % (100.0)"
    assert cells(markdown, "exact by language", "Hebrew")[-2] == "50.0 % (100.0)"
    model = values["results"][0]["models"][0]
    assert model["fidelity"]["heb_Hebr"]["value"] == 0.5
    assert model["identified"]["heb_Hebr"]["value"] == 1.0


def test_answers_without_a_letter_are_seen_beside_the_accuracy(
    register: Callable[[Benchmark], Benchmark], tmp_path: Path
) -> None:
    register(replace(toy_benchmark(), metrics={"choice": ("choice-accuracy", "letter-failures")}))
    options = json.dumps(["cat", "dog", "sun"])
    table = {
        code: [
            row(id, text, "A", language=code, task="choice", facts={"options": options})  # type: ignore[arg-type]
            for id, text in (("1", "A"), ("2", "who knows"))
        ]
        for code in ("eng_Latn", "deu_Latn")
    }
    _, markdown, values = reported(write(tmp_path / "e", table), out=tmp_path)
    assert cells(markdown, "choice-accuracy by language", "German")[-2] == "50.0 %"
    assert values["results"][0]["models"][0]["unread"]["deu_Latn"]["value"] == 0.5


def test_an_answer_is_marked_by_the_main_metric_and_both_models_stand_under_one_question(
    register: Callable[[Benchmark], Benchmark], tmp_path: Path
) -> None:
    register(replace(toy_benchmark(), metrics={"choice": ("choice-accuracy", "letter-failures")}))
    options = json.dumps(["cat", "dog", "sun"])
    folders = []
    for model, said in (("first", "The answer is A."), ("second", "B")):
        rows = [
            row(id, said, "A", language="deu_Latn", task="choice", prompt=f"Was ist {id}?", facts={"options": options})  # type: ignore[arg-type]
            for id in ("cat", "dog")
        ]
        folder = write(tmp_path / model, {"deu_Latn": rows}, model)
        keep_pictures(list(ToyData().examples("deu_Latn", split="", prompt_set="", limit=None)), folder)
        folders.append(folder)
    html, markdown, _ = reported(*folders, out=tmp_path)
    samples = markdown[markdown.index("## Samples") :]
    assert "Was ist cat? → ✓ The answer is A. (first)" in samples
    assert "Was ist cat? → ✗ B" in samples
    assert html.count('<small lang="de" dir="auto">Was ist cat?</small>') == 1


def test_a_card_shows_as_many_languages_as_fit_when_ids_name_theirs(toy: Benchmark, tmp_path: Path) -> None:
    codes = [one.code for one in all_languages() if one.code != "eng_Latn"][:64]
    table = {
        code: [row(f"toy/{thing}/{code}", "cat", language=code, image=f"toy/{thing}") for thing in ("cat", "dog")]
        for code in ("eng_Latn", *codes)
    }
    folder = write(tmp_path / "e", table)
    keep_pictures(list(ToyData().examples("eng_Latn", split="", prompt_set="", limit=None)), folder)
    score_predictions(folder)
    picked = pick(load_evaluations([folder])[0], set())
    cards = _cards(("toy", "english"), [picked], {})
    assert len(cards) == 2
    assert [len({text.language for text in card.texts}) for card in cards] == [TEXTS, TEXTS]


def test_two_models_are_compared_answer_by_answer(toy: Benchmark, tmp_path: Path) -> None:
    good = write(tmp_path / "good", named(), "good")
    poor = write(tmp_path / "poor", {**named(cat="dog"), "eng_Latn": named(cat=None)["eng_Latn"]}, "poor")
    _, markdown, values = reported(good, poor, out=tmp_path)
    caption = "Paired differences, poor less good,"
    assert cells(markdown, caption, "German")[1].startswith("−33.3 % (")
    english = cells(markdown, caption, "English")
    assert english[1].startswith("0.0 %")  # on the two that both answered
    assert english[3:] == ["2", "1"]
    differences = [one for one in values["results"][0]["differences"] if one["kind"] == "difference"]
    assert differences[0]["models"] == ["good", "poor"]


def test_models_that_were_asked_other_questions_stand_side_by_side_uncompared(toy: Benchmark, tmp_path: Path) -> None:
    one = write(tmp_path / "one", named(), "one")
    other = {code: [replace(row, references=("something else",)) for row in rows] for code, rows in named().items()}
    _, markdown, values = reported(one, write(tmp_path / "other", other, "other"), out=tmp_path)
    assert "Paired differences" not in markdown
    assert "could not be compared one by one" in markdown
    assert "references" in values["unpaired"]


def test_the_english_gap_of_all_languages_has_its_interval(toy: Benchmark, tmp_path: Path) -> None:
    table = {**named(cat="dog"), "eng_Latn": named()["eng_Latn"]}
    folder = write(tmp_path / "e", table)
    _, markdown, values = reported(folder, out=tmp_path)
    assert cells(markdown, "The English gap", "other languages")[1:] == ["100.0 %", "66.7 %", "33.3 % (0.0–100.0)"]
    gap = values["results"][0]["models"][0]["english_gap"][0]
    (compared,) = [
        one
        for one in read_comparisons(folder / "comparisons.jsonl")
        if (one.metric, one.kind, one.name) == ("exact", "English gap", "")
    ]
    assert (gap["gap"], gap["low"], gap["high"]) == pytest.approx((-compared.value, -compared.high, -compared.low))


def test_chance_that_differs_by_language_stands_beside_each_bar(
    register: Callable[[Benchmark], Benchmark], tmp_path: Path
) -> None:
    register(replace(toy_benchmark(), metrics={"choice": ("exact", "chance", "choices")}))
    choices = {"eng_Latn": ("cat", "dog"), "deu_Latn": ("cat", "dog", "sun", "tree")}
    table = {
        code: [replace(row("1", "cat", language=code, task="choice"), choices=those)] for code, those in choices.items()
    }
    _, markdown, values = reported(write(tmp_path / "e", table), out=tmp_path)
    assert cells(markdown, "exact by language", "German")[4:6] == ["25.0 %", "4.00"]
    assert cells(markdown, "exact by language", "English")[4:6] == ["50.0 %", "2.00"]
    questions = values["results"][0]["models"][0]["questions"]
    assert questions["chance"]["deu_Latn"]["value"] == 0.25

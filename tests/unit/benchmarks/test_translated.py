"""MME, MMBench, POPE and SEED-Bench in other languages, from translations of their English questions."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from tests.lrm_data import MACHINE
from tests.unit.benchmarks.conftest import Examples, Scores

from visiglot.benchmarks.translated import ORIGINALS, write_questions
from visiglot.data.parquet_source import ParquetSource, write_examples
from visiglot.errors import EvaluationError, Notice, UnknownNameError
from visiglot.evaluate.benchmark import BENCHMARKS
from visiglot.languages import resolve
from visiglot.types import Example

GERMAN = "deu_Latn"


def rewritten(root: Path, name: str, change: dict[str, dict[str, str] | None]) -> list[Example]:
    """German examples of a translation in which some are changed, or gone."""
    file = root / f"{name}-mt/{name}.parquet"
    source = ParquetSource(file)
    kept = []
    for one in [source[n] for n in range(len(source))]:
        new = change.get(one.id, {})
        if new is not None:
            kept.append(replace(one, facts={**one.facts, **new}))
    write_examples(file, kept)
    data, split = BENCHMARKS.get(f"{name}-mt").open(root), BENCHMARKS.get(name).splits[0]
    with pytest.warns(Notice, match=rf"{name}-mt, deu_Latn: \d+ of \d+ questions aren't translated"):
        return list(data.examples(GERMAN, split=split, prompt_set="native", limit=None))


def test_questions_are_taken_apart_without_answers_and_letters(root: Path, tmp_path: Path) -> None:
    write_questions("mmbench", root, tmp_path / "q.parquet")
    source = ParquetSource(tmp_path / "q.parquet")
    first = next(source[n] for n in range(len(source)) if source[n].id == "1000003")
    assert dict(first.facts) == {
        "question": "en: which one, 3?",
        "A": "green",
        "B": "blue",
        "C": "red",
        "instruction": "Answer with the option's letter from the given choices directly.",
    }
    assert (first.references, first.messages, first.images) == ((), (), ())
    with pytest.raises(UnknownNameError, match="benchmark to translate"):
        write_questions("xgqa", root, tmp_path / "x.parquet")


def test_labels_and_pictures_stay_the_originals(examples: Examples) -> None:
    for name in ORIGINALS:
        english, german = examples(name), examples(f"{name}-mt", GERMAN)
        assert english.keys() == german.keys()
        for id, row in german.items():
            assert row.images == english[id].images
            assert row.facts.get("label") == english[id].facts.get("label")
            assert row.facts["translated_by"] == MACHINE
            if ORIGINALS[name].kind == "choice":
                assert row.references == english[id].references
            else:
                assert row.references == ({"yes": "ja", "no": "nein"}[row.facts["label"]],)


def test_native_prompts_ask_in_our_words_and_the_papers_in_the_engines(examples: Examples) -> None:
    id = "existence/0001.png/1"
    assert examples("mme-mt", GERMAN)[id].messages[0].text == (
        "[deu_Latn] Is there a square 0? Antworte mit ja oder nein."
    )
    paper = examples("mme-mt", GERMAN, prompt_set="paper")[id]
    assert paper.messages[0].text == "[deu_Latn] Is there a square 0? [deu_Latn] Please answer yes or no."
    assert paper.choices == ("ja", "nein")
    assert examples("pope-mt", GERMAN, prompt_set="paper")["random/2"].messages[0].text == (
        "[deu_Latn] Is there a random 2 in the image?"
    )
    assert examples("seed-bench-mt", GERMAN)["101661"].messages[0].text == (
        "[deu_Latn] How many things are in picture 1?\nA. [deu_Latn] one 1\nB. [deu_Latn] two 1\n"
        "C. [deu_Latn] ten 1\nD. [deu_Latn] six 1\nAntworte nur mit dem Buchstaben der richtigen Option."
    )


def test_english_is_asked_as_it_was(examples: Examples) -> None:
    for name in ORIGINALS:
        own = examples(f"{name}-mt")
        assert all(row.facts["translated_by"] == "" for row in own.values())
        assert [row.references for row in own.values()] == [row.references for row in examples(name).values()]


def test_scores_are_named_as_those_of_translations(scores: Scores) -> None:
    found = scores("mme-mt", {"code_reasoning/0020.png/1": "Nein."}, GERMAN)
    assert {one.benchmark for one in found.values()} == {"mme-mt"}
    assert found["cognition", "mme-score"].value == 50
    assert found["perception", "mme-score"].value == 400
    assert found["perception", "mme-score-official"].value < 400, "the tool's rule knows English only"


def test_a_pair_of_which_a_question_is_lacking_is_left_out_and_counted(root: Path) -> None:
    rows = rewritten(root, "mme", {f"existence/0001.png/2/{GERMAN}": None})
    assert {row.group for row in rows} == {"existence/0002.png", "code_reasoning/0020.png", "artwork/10002.jpg"}
    assert len(rows) == 6


def test_a_circle_of_which_a_rotation_is_lacking_is_left_out(root: Path) -> None:
    rows = rewritten(root, "mmbench", {f"2000005/{GERMAN}": None})
    assert {row.group for row in rows} == {"3"}


def test_a_question_whose_options_became_one_is_left_out(root: Path) -> None:
    rows = rewritten(root, "seed-bench", {f"101661/{GERMAN}": {"A": "eins", "B": "eins"}})
    assert {row.id for row in rows} == {"101660", "101662"}


def test_the_ten_languages_have_words_of_their_own(root: Path) -> None:
    """Each of the set's ten asks in its own words."""
    codes = resolve("lrm")
    assert len(codes) == 10
    for name in ("mme", "seed-bench"):
        file = root / f"{name}-mt/{name}.parquet"
        source = ParquetSource(file)
        german = [source[n] for n in range(len(source)) if source[n].language == GERMAN]
        english = [source[n] for n in range(len(source)) if source[n].language == "eng_Latn"]
        others = [
            replace(one, id=f"{one.id.removesuffix(GERMAN)}{code}", language=code) for code in codes for one in german
        ]
        write_examples(file, [*english, *others])
        about = root / f"{name}-mt/translation.json"
        about.write_text(json.dumps({"settings": {"jobs": [{"examples": dict.fromkeys(codes, 1)}]}}), encoding="utf-8")
        data = BENCHMARKS.get(f"{name}-mt").open(root)
        assert set(data.languages) == set(codes)
        asked = {
            code: next(iter(data.examples(code, split=BENCHMARKS.get(name).splits[0], prompt_set="native", limit=1)))
            for code in codes
        }
        assert len({one.messages[0].text for one in asked.values()}) == 10
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert all(
                data.examples(code, split=BENCHMARKS.get(name).splits[0], prompt_set="paper", limit=None)
                for code in codes
            )


def test_a_folder_that_no_translation_made_is_said(root: Path) -> None:
    (root / "pope-mt/translation.json").write_text("{}", encoding="utf-8")
    with pytest.raises(EvaluationError, match="can't be read as the account of a translation"):
        BENCHMARKS.get("pope-mt").open(root)

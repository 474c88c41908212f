"""`visiglot translate` as users run it: a true engine on a random NLLB model, the real filters, a translation memory.

A random model's words are no language's, so what it says must be rejected, each time for a reason, or stay in English
and say so; nothing may be lost between the counts.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.formats import picture
from tests.translation_models import write_model
from typer.testing import CliRunner, Result

from visiglot.cli import app
from visiglot.data.parquet_source import ParquetSource
from visiglot.translate.filters import REASONS
from visiglot.types import Example

pytestmark = pytest.mark.slow

EN, LANGUAGES = "eng_Latn", ("deu_Latn", "arb_Arab", "zho_Hans")
NAME = "facebook/nllb-200-distilled-600M"
NO_TRANSLATION = "no translation"

THINGS = {"dog": "Hund", "cat": "Katze", "horse": "Pferd", "cow": "Kuh", "bird": "Vogel", "sheep": "Schaf"}
QUESTIONS = [
    ("What kind of animal is standing in front of the house {n}?", "Was für ein Tier steht vor dem Haus {n}?"),
    ("How many people are walking along the street in picture {n}?", "Wie viele Leute gehen in Bild {n} die Straße?"),
]
COUNT = 24


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model("nllb", tmp_path_factory.mktemp("model") / "nllb")


@pytest.fixture
def questions(tmp_path: Path) -> list[str]:
    """Options of a file of COUNT questions: half of them about animals, with a label; the others with a number."""
    folder = tmp_path / "data"
    folder.mkdir()
    names = [f"COCO_train2014_{n:012d}.jpg" for n in range(COUNT)]
    picture(folder / "train2014", *names)
    answers = [str(n) if n % 2 else list(THINGS)[n // 2 % len(THINGS)] for n in range(COUNT)]
    files = {
        "questions": [
            {"image_id": n, "question": QUESTIONS[n % 2][0].format(n=n), "question_id": n} for n in range(COUNT)
        ],
        "annotations": [
            {
                "question_id": n,
                "image_id": n,
                "question_type": "what",
                "answer_type": "other",
                "multiple_choice_answer": answer,
                "answers": [{"answer": answer, "answer_confidence": "yes", "answer_id": k} for k in range(1, 11)],
            }
            for n, answer in enumerate(answers)
        ],
    }
    for name, rows in files.items():
        about = {"data_type": "mscoco", "data_subtype": "train2014", "task_type": "Open-Ended", name: rows}
        (folder / f"{name}.json").write_text(json.dumps(about), encoding="utf-8")
    return [
        f"path={folder / 'questions.json'}",
        f"annotations={folder / 'annotations.json'}",
        f"images={folder / 'train2014'}",
    ]


def memory(folder: Path) -> Path:
    """German for the first half of the questions, and for half of the labels."""
    rows = ["en\tde"]
    rows += ["\t".join(one.format(n=n) for one in QUESTIONS[n % 2]) for n in range(COUNT // 2)]
    rows += [f"{one}\t{other}" for one, other in list(THINGS.items())[:3]]
    path = folder / "memory.tsv"
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def translate(questions: list[str], out: Path, *options: str) -> Result:
    command = ["translate", "vqav2", *questions, "-l", ",".join(LANGUAGES), "-o", str(out), *options]
    return CliRunner().invoke(app, command, catch_exceptions=False, env={"COLUMNS": "200"})


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def examples(out: Path) -> Iterator[Example]:
    source = ParquetSource(out / "vqav2.parquet", root=Path("/"))
    return map(source.__getitem__, range(len(source)))


def check_all_accounted_for(out: Path) -> Counter[str]:
    """Every example is in the file or in the ledger, in each language, and the counts say so. Examples by language."""
    about = json.loads((out / "translation.json").read_text(encoding="utf-8"))
    ledger, made = lines(out / "ledger.jsonl"), list(examples(out))
    there = Counter(one.language for one in made)
    for one in about["counts"]:
        code = one["language"]
        gone = Counter(line["reason"] for line in ledger if line["language"] == code)
        assert gone == one["reasons"]
        assert set(gone) <= {*REASONS, NO_TRANSLATION}
        assert (one["kept"], one["translated"]) == (0, there[code])
        assert there[code] + gone.total() == COUNT
        assert sum(one["labels"].values()) == COUNT // 2, "half of the answers are labels"
    ids = [one.id for one in made] + [line["id"] for line in ledger]
    assert len(ids) == len(set(ids)) == COUNT * len(LANGUAGES)
    assert all(line["detail"] for line in ledger)
    return there


@pytest.mark.parametrize("engine", ["ctranslate2", "transformers"])
def test_what_a_random_model_says_is_rejected_for_a_reason(
    engine: str, questions: list[str], model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    options = ("-e", engine, "--engine-option", f"model={model}", "--engine-option", f"name={NAME}")
    result = translate(questions, out, *options)
    assert result.exit_code == 2
    assert "every example was rejected: " in result.stderr
    assert check_all_accounted_for(out).total() == 0
    again = translate(questions, out, *options)
    assert again.exit_code == 2, "what is finished is said again, and nothing is translated anew"
    assert len(lines(out / "log.jsonl")) == len(LANGUAGES)


def test_what_people_translated_is_kept_and_the_engine_does_the_rest(
    questions: list[str], model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    engine = {"path": memory(tmp_path), "licence": "CC0-1.0", "engine": "ctranslate2"}
    rest = f"engine_options={{model: {model}, name: {NAME}}}"
    options = [word for pair in engine.items() for word in ("--engine-option", "=".join(map(str, pair)))]
    result = translate(questions, out, "-e", "memory", *options, "--engine-option", rest)
    assert result.exit_code == 0, result.output
    assert check_all_accounted_for(out) == {"deu_Latn": COUNT // 2}
    for n, one in enumerate(examples(out)):
        question, german = (text.format(n=n) for text in QUESTIONS[n % 2])
        assert (one.facts["question"], one.facts["source.question"]) == (german, question)
        provenance = one.provenance
        assert provenance is not None
        assert provenance.engine == "memory memory.tsv"
        assert provenance.licence == "CC-BY-4.0 AND CC0-1.0 AND CC-BY-NC-4.0", "of all that may have had a part"
        answer = one.facts["answer"]
        if n % 2:
            assert (answer, "answer.language" in one.facts) == (str(n), False)
        elif n // 2 % len(THINGS) < 3:
            assert answer == list(THINGS.values())[n // 2 % len(THINGS)]
        else:
            assert (answer, one.facts["answer.language"]) == (list(THINGS)[n // 2 % len(THINGS)], EN)
        assert one.messages[-1].text == answer

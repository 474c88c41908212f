"""The modality gap of a model: measured, written, kept, shown."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.tiny import build_tiny
from tests.unit.evaluate.conftest import PICTURES, WORDS, ToyData, toy_benchmark

from visiglot.errors import EvaluationError
from visiglot.evaluate import passes
from visiglot.evaluate.modality_gap import (
    MODALITY_GAP,
    ModalityGap,
    features,
    read_modality_gap,
    record_modality_gap,
)
from visiglot.evaluate.report.modality_gap import add_modality_gap
from visiglot.evaluate.summary import Evaluation
from visiglot.images import load_image
from visiglot.models.build import Built
from visiglot.sheet import Page
from visiglot.types import ImageRef

LANGUAGES = ["eng_Latn", "arb_Arab"]
BENCHMARK = toy_benchmark()


@pytest.fixture(scope="module", params=["linear", "parrot"])
def built(request: pytest.FixtureRequest) -> Built:
    return build_tiny("clip", "llama", request.param)


def record(built: Built, out: Path, languages: list[str] = LANGUAGES, model_hash: str = "a") -> list[ModalityGap]:
    return record_modality_gap(built.model, built.processor, BENCHMARK, languages, out, model_hash=model_hash)


def asked(languages: list[str] = LANGUAGES, data: ToyData | None = None) -> dict[str, list]:
    data = data or ToyData()
    return {code: list(data.examples(code, split="test", prompt_set="english", limit=None)) for code in languages}


def test_features_are_the_means_of_what_the_language_model_takes_in(
    built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "ROWS_PER_PASS", 4)
    model, processor = built.model, built.processor
    found = features(model, processor, asked())
    spec = processor.spec()
    for code in LANGUAGES:
        pictures, texts = found[code]
        said = [model.get_input_embeddings().weight[spec.encode(word)].mean(0) for word in WORDS[code].values()]
        np.testing.assert_allclose(texts, torch.stack(said).detach().double().numpy())
        assert pictures.shape == (3, model.config.text_width)
    one, other = (found[code][0] for code in LANGUAGES)
    assert np.array_equal(one, other) != model.connector.needs_context
    if not model.connector.needs_context:
        pixels = processor.pixel_values([load_image(ref) for ref in PICTURES.values()])
        with torch.inference_mode():
            tokens = model.image_tokens(model.encode_images(pixels)).mean(1)
        np.testing.assert_allclose(np.sort(one, axis=0), np.sort(tokens.double().numpy(), axis=0), rtol=1e-4, atol=1e-6)


def test_each_picture_and_each_text_counts_once(built: Built) -> None:
    rows = asked(["eng_Latn"])["eng_Latn"]
    again = [replace(example, id=f"{example.id}/2") for example in rows]
    pictures, texts = features(built.model, built.processor, {"eng_Latn": [*rows, *again]})["eng_Latn"]
    assert (len(pictures), len(texts)) == (3, 3)


def test_a_picture_that_cant_be_read_is_left_out(built: Built) -> None:
    data = ToyData({**PICTURES, "dog": ImageRef("toy/dog", data=b"no picture")})
    pictures, texts = features(built.model, built.processor, asked(["eng_Latn"], data))["eng_Latn"]
    assert (len(pictures), len(texts)) == (2, 3)


def test_rows_are_written_and_others_of_this_model_stay(built: Built, out: Path) -> None:
    found = record(built, out)
    assert read_modality_gap(out / MODALITY_GAP) == found
    assert [(row.language, row.pictures, row.texts, row.auc) for row in found] == [
        ("eng_Latn", 3, 3, None), ("arb_Arab", 3, 3, None),
    ]  # fmt: skip
    assert all(0 < row.distance <= 2 and row.length > 0 for row in found)
    other = replace(found[0], benchmark="other")
    with (out / MODALITY_GAP).open("a") as file:
        file.write(json.dumps(asdict(other)) + "\n")
    assert [row.benchmark for row in (record(built, out, ["eng_Latn"]), read_modality_gap(out / MODALITY_GAP))[1]] == [
        "other", "toy",
    ]  # fmt: skip
    record(built, out, model_hash="b")
    assert {row.model_hash for row in read_modality_gap(out / MODALITY_GAP)} == {"b"}


def test_a_benchmark_without_pictures_or_references_is_refused(
    built: Built, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = ToyData.examples

    def without(self: ToyData, language: str, **kwargs: object) -> list:
        return [replace(one, references=()) for one in examples(self, language, **kwargs)]  # type: ignore[arg-type]

    monkeypatch.setattr(ToyData, "examples", without)
    with pytest.raises(EvaluationError, match="no gap to measure"):
        record(built, out)


@pytest.mark.parametrize("line", ["{", '{"benchmark": "toy"}', "[]"])
def test_a_broken_file_is_an_error_that_says_what_to_do(line: str, out: Path) -> None:
    out.mkdir(exist_ok=True)
    (out / MODALITY_GAP).write_text(line + "\n")
    with pytest.raises(EvaluationError, match="can't be read"):
        read_modality_gap(out / MODALITY_GAP)


def row(language: str, auc: float | None, distance: float) -> ModalityGap:
    points = ((0.0, 0.0), (1.0, 0.5))
    return ModalityGap("toy", "english", language, "a", 20, 18, distance, 1.5, auc, points, ((2.0, 1.0),))


def test_the_report_has_two_models_side_by_side(tmp_path: Path) -> None:
    folders = []
    for label, rows in {
        "before": [row("eng_Latn", 1.0, 1.2), row("arb_Arab", None, 1.1)],
        "after": [row("eng_Latn", 0.75, 0.4)],
    }.items():
        folder = tmp_path / label
        folder.mkdir()
        lines = "".join(json.dumps(asdict(one)) + "\n" for one in rows)
        (folder / MODALITY_GAP).write_text(lines)
        folders.append(Evaluation(label, folder, None, (), (), ()))
    page = Page("t")
    add_modality_gap(page, folders)
    words = page.markdown()
    assert "## Modality gap: toy (english)" in words
    heads = "|  | AUC, before | AUC, after | distance, before | distance, after | length, before | length, after |"
    assert heads in words
    assert "| English | 1.000 | 0.750 | 1.200 | 0.400 | 1.500 | 1.500 |" in words
    assert "| Arabic | – | – | 1.100 | – | 1.500 | – |" in words
    assert "before: 2 pictures, 2 texts; after: 2 pictures, 1 texts" in words
    drawn = page.html()
    assert drawn.count("<svg") == 2
    assert drawn.count("<circle") == 4
    assert drawn.count("<rect") == 3
    assert 'aria-label="before: 2 pictures, 2 texts"' in drawn


def test_no_measure_no_block(tmp_path: Path) -> None:
    page = Page("t")
    add_modality_gap(page, [Evaluation("mlp", tmp_path, None, (), (), ())])
    assert "Modality" not in page.markdown()

"""The experts' weights by language: measured, written, kept, shown."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from tests.tiny import build_tiny
from tests.unit.evaluate.conftest import PICTURES, ToyData, toy_benchmark

from visiglot.data.collate import collate
from visiglot.errors import EvaluationError
from visiglot.evaluate import passes
from visiglot.evaluate.report.routing import add_routing
from visiglot.evaluate.routing import ROUTING, Routing, largest_difference, read_routing, record_routing
from visiglot.evaluate.summary import Evaluation
from visiglot.images import load_image
from visiglot.models.build import Built
from visiglot.prompts import placed, placing_of
from visiglot.render import render
from visiglot.sheet import Page
from visiglot.types import ImageRef

LANGUAGES = ["eng_Latn", "arb_Arab"]
BENCHMARK = toy_benchmark()


@pytest.fixture(scope="module")
def built() -> Built:
    found = build_tiny("clip", "llama", "parrot")
    with torch.no_grad():  # a new router hardly tells prompts apart
        found.model.get_input_embeddings().weight.mul_(40)
    return found


def record(built: Built, out: Path, languages: list[str] = LANGUAGES, model_hash: str = "a") -> list[Routing]:
    return record_routing(built.model, built.processor, BENCHMARK, languages, out, model_hash=model_hash)


def test_it_is_the_mean_of_what_the_connector_weighs_each_picture_with(
    built: Built, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "ROWS_PER_PASS", 4)  # pictures and languages cut anywhere
    found = record(built, out)
    assert read_routing(out / ROUTING) == found
    assert [(row.language, row.n) for row in found] == [("eng_Latn", 3), ("arb_Arab", 3)]
    model, processor = built.model, built.processor
    for row in found:
        assert sum(row.weights) == pytest.approx(1)
        each = []
        for example in ToyData().examples(row.language, split="test", prompt_set="english", limit=None):
            shown = placed(example, placing_of(model.config, processor))
            batch = collate(
                [render(shown, processor.spec(), complete=True)],
                processor.spec(),
                pixels=lambda refs: processor.pixel_values([load_image(ref) for ref in refs]),
            )
            assert batch.pixel_values is not None
            with torch.no_grad():
                weights = model.connector.routing(model.encode_images(batch.pixel_values), model.slot_context(batch))
            assert weights is not None
            each.append(weights[0])
        torch.testing.assert_close(torch.tensor(row.weights), torch.stack(each).mean(0), atol=1e-5, rtol=1e-5)
    assert largest_difference(found) > 1e-4


def test_other_languages_are_kept_and_other_models_go(built: Built, out: Path) -> None:
    record(built, out, ["eng_Latn"])
    record(built, out, ["arb_Arab", "fra_Latn"])
    assert [row.language for row in read_routing(out / ROUTING)] == LANGUAGES
    record(built, out, ["jpn_Jpan"], model_hash="b")
    assert [row.language for row in read_routing(out / ROUTING)] == ["jpn_Jpan"]


def test_a_model_without_experts_writes_nothing(out: Path) -> None:
    assert record(build_tiny("clip", "llama", "mlp"), out) == []
    bypassed = build_tiny("clip", "llama", "parrot")
    bypassed.model.connector.bypass(True)
    assert record(bypassed, out) == []
    assert not (out / ROUTING).exists()


def test_a_picture_that_cannot_be_read_is_left_out(built: Built, out: Path) -> None:
    data = replace(ToyData(), pictures={**PICTURES, "cat": ImageRef("toy/cat", data=b"no picture")})
    found = record_routing(built.model, built.processor, toy_benchmark(data=data), ["eng_Latn"], out, model_hash="a")
    assert [row.n for row in found] == [2]


@pytest.mark.parametrize("text", ["{", '{"language": "eng_Latn"}\n', "[1]\n"])
def test_a_broken_file_is_an_error(text: str, tmp_path: Path) -> None:
    (tmp_path / ROUTING).write_text(text, encoding="utf-8")
    with pytest.raises(EvaluationError, match="can't be read"):
        read_routing(tmp_path / ROUTING)


def test_a_report_shows_each_language_with_all_experts(tmp_path: Path) -> None:
    rows = [
        Routing("toy", "english", "eng_Latn", "a", 3, (0.5, 0.25, 0.25)),
        Routing("toy", "english", "arb_Arab", "a", 3, (0.1, 0.65, 0.25)),
    ]
    (tmp_path / ROUTING).write_text("".join(json.dumps(asdict(row)) + "\n" for row in rows), encoding="utf-8")
    page = Page("t")
    add_routing(page, [Evaluation("parrot", tmp_path, None, (), (), ())])
    said = page.markdown()
    assert "Experts by language: parrot, toy (english)" in said
    assert "0.400 of the weight lies elsewhere" in said
    assert "English" in said
    assert "65.0" in said
    assert "expert 3" in page.html()


def test_a_folder_without_experts_gets_no_section(tmp_path: Path) -> None:
    page = Page("t")
    add_routing(page, [Evaluation("mlp", tmp_path, None, (), (), ())])
    assert "Experts" not in page.markdown()

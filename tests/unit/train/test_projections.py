"""A run's model embeds by what its contrastive stage trained beside it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.drawn import Drawn, drawn_recipe

from visiglot.data.collate import collate
from visiglot.evaluate.embedding import ContrastiveAnswerer
from visiglot.models.load import load_model
from visiglot.models.runs import resolve_model
from visiglot.render import render
from visiglot.train.loop import fit
from visiglot.train.objectives.answers import read_answers
from visiglot.train.pictures import Pictures
from visiglot.train.projections import load_projections
from visiglot.train.track import Tracker

CONTRASTIVE = {"steps": 2, "objective": "contrastive", "options": {"width": 16, "image": "vision"}}


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(
        drawn_recipe({"steps": 1}, CONTRASTIVE),
        out=tmp_path_factory.mktemp("runs") / "contrast",
        device="cpu",
        report=Tracker(),
    )


def test_vectors_are_those_that_the_stage_compared(run_folder: Path) -> None:
    folder = Path(resolve_model(str(run_folder)))
    model, processor = load_model(str(folder), device="cpu", dtype="auto")
    projections = load_projections(folder, model, processor)
    assert projections is not None
    answerer = ContrastiveAnswerer(model, processor, projections, name="run", max_batch_tokens=512)

    spec = processor.spec()
    examples = Drawn(["eng_Latn"], pictures=True).examples[:5]
    batch = collate([render(one, spec) for one in examples], spec, pixels=Pictures(processor).plain)
    answers = read_answers(batch, spec)
    with torch.no_grad():
        pictures = projections.image_projection(model.encode_images(batch.pixel_values).pooled)
        texts = projections.text_projection(model.text_states(answers.ids, answers.mask))[answers.of_row]
    said = [example.messages[-1].text for example in examples]
    embedded = dict(answerer.embed_texts(said))
    shown = dict(answerer.embed_images([example.images[0] for example in examples]))
    of_row = batch.slot_image[batch.slot_row.argsort()]
    for place in range(5):
        np.testing.assert_allclose(embedded[place], torch.nn.functional.normalize(texts[place], dim=0), atol=1e-5)
        own = torch.nn.functional.normalize(pictures[of_row[place]], dim=0)
        np.testing.assert_allclose(shown[place], own, atol=1e-5)
    assert answerer.fingerprint != answerer.name


def test_a_run_whose_newest_checkpoint_is_of_another_stage_has_none(tmp_path: Path) -> None:
    folder = Path(
        resolve_model(
            str(fit(drawn_recipe(CONTRASTIVE, {"steps": 1}), out=tmp_path / "run", device="cpu", report=Tracker()))
        )
    )
    assert load_projections(folder, *load_model(str(folder), device="cpu", dtype="auto")) is None


def test_a_models_folder_outside_a_run_has_none(run_folder: Path, tmp_path: Path) -> None:
    copied = tmp_path / "model"
    shutil.copytree(resolve_model(str(run_folder)), copied)
    assert load_projections(copied, *load_model(str(copied), device="cpu", dtype="auto")) is None

"""Retrieval by vectors: ranking, and the models that have vectors."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.dual_models import SAVERS
from tests.retrieval_data import WIT_ROWS, XTD_NAMES, write_wit, write_xtd
from tests.unit.evaluate.conftest import Scripted
from transformers import AutoModel, AutoProcessor

from visiglot.errors import EvaluationError, ImageError, VisiglotError
from visiglot.evaluate import retrieval
from visiglot.evaluate.benchmark import BENCHMARKS
from visiglot.evaluate.dual import DualAnswerer, is_dual, load_dual
from visiglot.evaluate.generate import collect_predictions
from visiglot.evaluate.predictions import read_predictions
from visiglot.evaluate.retrieval import best_of
from visiglot.evaluate.score import score_predictions
from visiglot.types import ImageRef, Score


@dataclass
class Turned:
    """Its vectors lie on a circle, thing N at N steps; captions of some languages are turned by a part of a step.

    `broken`: names of pictures that it can't read. `mute`: texts that it can't embed.
    """

    name: str = "turned"
    fingerprint: str = "turned-1"
    device: str = "cpu"
    embeds_only: bool = True
    steps: int = 40
    broken: tuple[str, ...] = ()
    mute: tuple[str, ...] = ()
    seen: list[str] = field(default_factory=list)

    def embed_images(self, images: Sequence[ImageRef]) -> Iterator[tuple[int, retrieval.Vectors | VisiglotError]]:
        for place, ref in reversed(list(enumerate(images))):
            self.seen.append(ref.name)
            if ref.name in self.broken:
                yield place, ImageError(f"{ref.name} is broken")
            elif ref.name in XTD_NAMES:
                yield place, self._at(XTD_NAMES.index(ref.name))
            else:
                yield place, self._at(int(ref.name.removeprefix("wit-test_")))

    def embed_texts(self, texts: Sequence[str]) -> Iterator[tuple[int, retrieval.Vectors | VisiglotError]]:
        for place, text in enumerate(texts):
            if text in self.mute:
                yield place, VisiglotError(f"{text} says nothing")
                continue
            code, _, rest = text.partition(" caption ")
            number = int(rest.partition(",")[0]) if rest else int("".join(one for one in text if one.isdecimal()))
            yield place, self._at(number + (1.2 if code == "jp" else 0.0))

    def _at(self, place: float) -> retrieval.Vectors:
        angle = 2 * np.pi * place / self.steps
        return np.array([np.cos(angle), np.sin(angle)], np.float32)


def run(answerer: object, name: str, languages: list[str], root: Path, out: Path, **options: object) -> list[Score]:
    collect_predictions(
        answerer,  # type: ignore[arg-type]
        BENCHMARKS.get(name),
        languages,
        out,
        resume=True,
        root=root,
        **options,  # type: ignore[arg-type]
    )
    return score_predictions(out)


def values(scores: list[Score], language: str) -> dict[tuple[str, str], float]:
    return {(one.task, one.metric): one.value for one in scores if one.language == language}


def test_recall_in_both_directions_of_a_model_that_is_right_and_one_that_is_a_step_off(tmp_path: Path) -> None:
    write_xtd(tmp_path)
    model = Turned()
    scores = run(model, "xtd", ["eng_Latn", "jpn_Jpan"], tmp_path, tmp_path / "out")
    english, japanese = values(scores, "eng_Latn"), values(scores, "jpn_Jpan")
    for task in ("text-to-image", "image-to-text"):
        assert english[task, "recall@1"] == 1.0
        # A caption a step behind its picture: the nearest is the next one; only at the end is there none.
        assert japanese[task, "recall@1"] == pytest.approx(1 / 12)
        assert japanese[task, "recall@5"] == japanese[task, "recall@10"] == 1.0
        assert english[task, "recall@1-chance"] == pytest.approx(1 / 12)
        assert english[task, "candidates"] == 12
    assert len(model.seen) == len(set(model.seen)) == 12
    one = next(one for one in scores if (one.language, one.metric) == ("jpn_Jpan", "recall@1"))
    assert one.low <= one.value < one.high
    assert one.n == 12


def test_an_answer_is_the_ten_best_names_and_references_are_names(tmp_path: Path) -> None:
    write_xtd(tmp_path)
    run(Turned(), "xtd", ["ita_Latn"], tmp_path, tmp_path / "out")
    rows = {row.id: row for row in read_predictions(tmp_path / "out/predictions/xtd.captions.ita_Latn.jsonl")}
    assert rows["text/3"].text is not None
    assert rows["text/3"].text.split("\n")[:4] == [XTD_NAMES[3], XTD_NAMES[2], XTD_NAMES[4], XTD_NAMES[1]]
    assert len(rows["text/3"].text.split("\n")) == 10
    assert (rows["text/3"].references, rows["text/3"].prompt) == ((XTD_NAMES[3],), "it caption 3, yellow")
    assert rows[f"picture/{XTD_NAMES[3]}"].references == ("text/3",)


def test_a_limit_makes_fewer_queries_among_all_candidates(tmp_path: Path) -> None:
    write_xtd(tmp_path)
    scores = run(Turned(), "xtd", ["deu_Latn"], tmp_path, tmp_path / "out", limit=4)
    found = values(scores, "deu_Latn")
    assert {one.n for one in scores} == {2}
    assert found["text-to-image", "candidates"] == 12


def test_a_picture_may_have_several_captions_and_languages_their_own_candidates(tmp_path: Path) -> None:
    write_wit(tmp_path)
    scores = run(Turned(), "iglue-wit", ["eng_Latn", "bul_Cyrl"], tmp_path, tmp_path / "out")
    english, bulgarian = values(scores, "eng_Latn"), values(scores, "bul_Cyrl")
    assert (english["text-to-image", "candidates"], english["image-to-text", "candidates"]) == (4, 5)
    assert english["image-to-text", "recall@1"] == 1.0
    assert english["image-to-text", "recall@1-chance"] == pytest.approx((1 + 1 + 2 + 1) / 5 / 4)
    assert bulgarian["text-to-image", "recall@1-chance"] == pytest.approx(1 / 3)
    path = tmp_path / "out/predictions/iglue-wit.captions.eng_Latn.jsonl"
    rows = {row.id: row for row in read_predictions(path)}
    assert rows["picture/wit-test_2"].references == ("text/2", "text/4")
    assert len([id for id in rows if id.startswith("text/")]) == len(WIT_ROWS["en"])


def test_what_cant_be_found_since_a_picture_cant_be_read_is_missing_and_not_wrong(tmp_path: Path) -> None:
    write_xtd(tmp_path)
    out = tmp_path / "out"
    scores = run(Turned(broken=(XTD_NAMES[3],)), "xtd", ["eng_Latn"], tmp_path, out)
    recalls = {one.task: one for one in scores if one.metric == "recall@1"}
    for one in recalls.values():
        assert (one.value, one.n, one.missing) == (1.0, 11, 1)
    failed = [row for row in read_predictions(out / "predictions/xtd.captions.eng_Latn.jsonl") if row.error is not None]
    assert {row.id for row in failed} == {"text/3", f"picture/{XTD_NAMES[3]}"}
    assert all("is broken" in (row.error or "") for row in failed)


def test_a_caption_that_has_no_vector_costs_its_picture_only_where_there_is_no_other(tmp_path: Path) -> None:
    write_wit(tmp_path)
    model = Turned(mute=("The thing 2", "The thing 3"))
    scores = run(model, "iglue-wit", ["eng_Latn"], tmp_path, tmp_path / "out")
    recalls = {one.task: one for one in scores if one.metric == "recall@1"}
    assert (recalls["image-to-text"].n, recalls["image-to-text"].missing) == (3, 1)
    assert (recalls["text-to-image"].n, recalls["text-to-image"].missing) == (3, 2)
    assert recalls["image-to-text"].value == recalls["text-to-image"].value == 1.0


def test_what_is_there_is_kept(tmp_path: Path) -> None:
    write_xtd(tmp_path)
    run(Turned(), "xtd", ["eng_Latn"], tmp_path, tmp_path / "out", limit=4)
    model = Turned()
    done = collect_predictions(
        model,  # type: ignore[arg-type]
        BENCHMARKS.get("xtd"),
        ["eng_Latn"],
        tmp_path / "out",
        resume=True,
        root=tmp_path,
    )
    assert (done.kept, done.made) == (4, 20)


def test_a_model_without_vectors_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    write_xtd(tmp_path)
    with pytest.raises(EvaluationError, match="scripted gives no vectors of pictures and texts") as caught:
        run(Scripted(), "xtd", ["eng_Latn"], tmp_path, tmp_path / "out")
    assert "CLIP or SigLIP" in (caught.value.hint or "")
    with pytest.raises(EvaluationError, match="ranked by vectors"):
        run(Turned(), "xtd", ["eng_Latn"], tmp_path, tmp_path / "out", answers="likelihood")
    with pytest.raises(EvaluationError, match="embeds pictures and texts, and writes no answers to pope"):
        run(Turned(), "pope", ["eng_Latn"], tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_captions_and_names_that_differ_in_number_are_said(tmp_path: Path) -> None:
    folder = write_xtd(tmp_path)
    file = folder / "XTD10/test_1kcaptions_it.txt"
    file.write_text("una sola\n", encoding="utf-8")
    with pytest.raises(EvaluationError, match=r"test_image_names\.txt.*12|12.*test_image_names\.txt"):
        BENCHMARKS.get("xtd").open(tmp_path).examples("ita_Latn", split="test", prompt_set="captions", limit=None)


# --- ranking ---


def test_the_best_are_in_order_and_of_equals_the_first() -> None:
    candidates = np.array([[0, 1], [1, 0], [1, 0], [0.6, 0.8]], np.float32)
    assert list(best_of(np.array([[1, 0], [0, 1]], np.float32), candidates, 3)) == [[1, 2, 3], [0, 3, 1]]
    assert list(best_of(np.array([[1, 0]], np.float32), candidates, 10)) == [[1, 2, 3, 0]]


def test_blocks_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    queries, candidates = (generator.normal(size=(n, 5)).astype(np.float32) for n in (23, 31))
    whole = np.argsort(-(queries @ candidates.T), axis=1, kind="stable")[:, :10].tolist()
    monkeypatch.setattr(retrieval, "BLOCK", 3 * 31)
    assert list(best_of(queries, candidates, 10)) == whole


def test_memory_is_of_a_block_and_not_of_the_square() -> None:
    vectors = np.random.default_rng(0).normal(size=(6000, 4)).astype(np.float32)
    tracemalloc.start()
    try:
        assert sum(1 for _ in best_of(vectors, vectors, 10)) == 6000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6000 * 6000 * 4 / 2


# --- models of transformers ---


@pytest.mark.parametrize("kind", SAVERS)
def test_a_dual_encoders_ranking_is_that_of_its_own_vectors(kind: str, tmp_path: Path) -> None:
    folder, data = SAVERS[kind](tmp_path / kind), write_xtd(tmp_path)
    assert is_dual(str(folder))
    answerer = DualAnswerer(*load_dual(str(folder), device=torch.device("cpu"), dtype="auto"), name=kind)
    run(answerer, "xtd", ["ita_Latn"], tmp_path, tmp_path / "out")
    rows = {row.id: row for row in read_predictions(tmp_path / "out/predictions/xtd.captions.ita_Latn.jsonl")}

    model, processor = AutoModel.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)
    lines = (data / "XTD10/test_1kcaptions_it.txt").read_text(encoding="utf-8").splitlines()
    pictures = [Image.open(data / "train2014" / name).convert("RGB") for name in XTD_NAMES]
    inputs = processor(text=lines, images=pictures, padding="max_length", max_length=24, return_tensors="pt")
    with torch.no_grad():
        products = model(**inputs).logits_per_text
    assert products.std(dim=1).min() > 1e-3
    for n, order in enumerate(products.argsort(dim=1, descending=True).tolist()):
        best = rows[f"text/{n}"].text
        assert best is not None
        found = [products[n, XTD_NAMES.index(name)].item() for name in best.split("\n")]
        assert found == pytest.approx([products[n, place].item() for place in order[:10]], rel=0, abs=1e-5)


def test_a_language_model_is_no_dual_encoder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "t5"}), encoding="utf-8")
    assert not is_dual(str(tmp_path))

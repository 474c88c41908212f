"""A row's answer depends on its own prompt, pictures and settings, whoever else is in flight."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.tiny import build_tiny
from tests.unit.models.decode_llms import PROCESSOR, StandIn, prompts, text_row, tiny_llm

from visiglot.models.build import Built
from visiglot.models.decode import Answer, Decoder, Decoding, Event, Row, generate
from visiglot.models.decode.decoder import Answers
from visiglot.render import render
from visiglot.types import Example, ImageRef, ImageSlot, Message, VisionFeatures

KINDS = ("mt5", "bart", "llama", "gemma2", "bloom", "gpt2", "opt")
MIXED = (
    Decoding(14),
    Decoding(6, beams=3),
    Decoding(14, temperature=0.9, seed=5),
    Decoding(10, repetition_penalty=1.7),
    Decoding(9, beams=5, length_penalty=-1.0),
    Decoding(12, temperature=1.3, top_p=0.8, seed=6),
    Decoding(1),
    Decoding(12, temperature=1.1, top_k=7, seed=7, min_new_tokens=6),
)


def _rows(count: int = len(MIXED)) -> list[Row]:
    lengths = (5, 11, 3, 8, 14, 2, 7, 10)
    return [text_row(f"row {i}", ids, MIXED[i]) for i, ids in enumerate(prompts(lengths, seed=4)[:count])]


def _alone(model: Any, processor: Any, rows: list[Row]) -> dict[str, Answer]:
    return {row.key: Decoder(model, processor).run([row])[row.key] for row in rows}


def _same(found: dict[str, Answer], wanted: dict[str, Answer]) -> None:
    assert {key: answer.ids for key, answer in found.items()} == {key: answer.ids for key, answer in wanted.items()}
    for key, answer in found.items():
        assert answer.score == pytest.approx(wanted[key].score, rel=1e-3, abs=1e-3)
        assert (answer.text, answer.finish) == (wanted[key].text, wanted[key].finish)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_one_is_a_batch_of_many(kind: str) -> None:
    model = StandIn(tiny_llm(kind))
    rows = _rows()
    wanted = _alone(model, PROCESSOR, rows)
    assert len({answer.ids for answer in wanted.values()}) >= len(rows) - 2
    _same(Decoder(model, PROCESSOR).run(rows), wanted)
    _same(Decoder(model, PROCESSOR).run(rows[::-1]), wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_that_joins_or_outlives_others_is_decoded_as_alone(kind: str) -> None:
    model = StandIn(tiny_llm(kind))
    rows = _rows()
    wanted = _alone(model, PROCESSOR, rows)
    decoder = Decoder(model, PROCESSOR)
    collected = Answers(decoder)
    # step -> rows that join before it; the longest prompts come both first and late, so padding grows both ways
    joins = {0: [rows[0], rows[7]], 1: [rows[1]], 2: [rows[2], rows[4]], 4: [rows[3]], 5: [rows[5], rows[6]]}
    dropped = "row 7"
    done: dict[str, Answer] = {}
    step = 0
    while decoder.keys or step <= max(joins):
        events: list[Event] = decoder.add(joins.get(step, []))
        if step == 3:
            decoder.drop({dropped, "never there"})
            assert dropped not in decoder.keys
        events += decoder.step()
        done.update(collected.take(events))
        step += 1
    assert set(done) == set(wanted) - {dropped}
    _same(done, {key: answer for key, answer in wanted.items() if key != dropped})


@pytest.mark.parametrize("kind", ["mt5", "llama"])
@pytest.mark.parametrize("max_batch_tokens", [1, 60, 100_000])
def test_the_token_budget_changes_no_answer(kind: str, max_batch_tokens: int) -> None:
    model = StandIn(tiny_llm(kind))
    rows = _rows()
    found = dict(generate(model, PROCESSOR, iter(rows), max_batch_tokens=max_batch_tokens))
    _same(found, _alone(model, PROCESSOR, rows))


def test_two_seeds_give_two_samples_and_one_seed_gives_one() -> None:
    model = StandIn(tiny_llm("llama"))
    prompt = prompts((6,))[0]
    rows = [text_row(str(i), prompt, Decoding(12, temperature=1.5, seed=seed)) for i, seed in enumerate((1, 2, 1))]
    answers = Decoder(model, PROCESSOR).run(rows)
    assert answers["0"] == answers["2"]
    assert answers["0"].ids != answers["1"].ids


# --- with pictures ---------------------------------------------------------------------------------------------------


def _tiny(llm: str, connector: str = "qformer") -> Built:
    """A model with pictures, its weights scaled up so that answers differ."""
    built = build_tiny(llm=llm, connector=connector)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in [*built.model.language_model.parameters(), *built.model.connector.parameters()]:
            if parameter.dim() > 1:
                parameter.normal_(0, 0.3)
    return built


def _picture_rows(built: Built) -> tuple[list[Row], list[VisionFeatures]]:
    """Four rows: one picture asked twice, two pictures in one row, none; the shared features are one object."""
    model, spec = built.model, built.processor.spec()
    refs = [ImageRef(f"picture {i}", data=bytes([i])) for i in range(3)]
    torch.manual_seed(2)
    with torch.no_grad():
        first, pair = model.encode_images(torch.randn(1, 3, 32, 32)), model.encode_images(torch.randn(2, 3, 32, 32))
    decoding = Decoding(8)

    def row(key: str, content: tuple[str | ImageSlot, ...], images: tuple[ImageRef, ...], features: Any) -> Row:
        example = Example(key, (Message("user", content),), "eng_Latn", images)
        return Row(key, render(example, spec, complete=True), features, decoding)

    rows = [
        row("german", (ImageSlot(0), "Caption in German: "), (refs[0],), first),
        row(
            "question",
            ("Question: ", ImageSlot(0), "is this a dog? Answer in English with one word."),
            (refs[0],),
            first,
        ),
        row("pair", (ImageSlot(0), "dog ", ImageSlot(1), "cat"), (refs[1], refs[2]), pair),
        row("text", ("dog cat mouse",), (), None),
    ]
    return rows, [first, pair]


@pytest.mark.parametrize("llm", ["mt5", "t5", "llama", "bloom"])
def test_pictures_are_seen_as_generate_sees_them(llm: str) -> None:
    built = _tiny(llm)
    model = built.model
    rows, _ = _picture_rows(built)
    answers = Decoder(model, built.processor).run(rows)
    for row in rows:
        ids = torch.tensor([row.sample.ids])
        slots = torch.arange(len(row.sample.images))
        with torch.no_grad():
            embeds = model.embed(
                ids, torch.ones_like(ids), features=row.features, slot_image=slots, slot_row=torch.zeros_like(slots)
            )
        end = sorted(Decoder(model, built.processor)._end_ids)
        found = model.language_model.generate(
            inputs_embeds=embeds,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=8,
            do_sample=False,
            eos_token_id=end,
            pad_token_id=0,
        )[0].tolist()
        wanted = found[1:] if model.layout == "seq2seq" else found
        assert list(answers[row.key].ids) == wanted
    assert len({answer.ids for answer in answers.values()}) == len(rows)


@pytest.mark.parametrize("llm", ["mt5", "llama"])
def test_another_picture_gives_another_answer(llm: str) -> None:
    built = _tiny(llm)
    rows, (first, pair) = _picture_rows(built)
    other = pair.select(torch.tensor([0]))
    row = rows[0]
    changed = Row(row.key, row.sample, other, row.decoding)
    seen = Decoder(built.model, built.processor).run([row])[row.key]
    assert Decoder(built.model, built.processor).run([changed])[row.key].score != pytest.approx(seen.score, abs=1e-4)
    again = Row(row.key, row.sample, first, row.decoding)
    assert Decoder(built.model, built.processor).run([again])[row.key] == seen


@pytest.mark.parametrize("llm", ["mt5", "llama"])
def test_features_that_rows_share_pass_the_connector_once(llm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    built = _tiny(llm)
    rows, (first, pair) = _picture_rows(built)
    seen: list[int] = []
    connect = built.model.image_tokens

    def counted(features: VisionFeatures, context: Any = None) -> torch.Tensor:
        seen.append(len(features.patches))
        return connect(features, context)  # type: ignore[no-any-return]

    monkeypatch.setattr(built.model, "image_tokens", counted)
    Decoder(built.model, built.processor).run(rows)
    assert seen == [len(first.patches) + len(pair.patches)]


@pytest.mark.parametrize("llm", ["mt5", "llama"])
def test_rows_with_pictures_are_decoded_as_alone(llm: str) -> None:
    built = _tiny(llm)
    rows, _ = _picture_rows(built)
    _same(Decoder(built.model, built.processor).run(rows), _alone(built.model, built.processor, rows))

"""What a row costs and what it shows depend on the row alone: not on its batch, its padding, or the answer to come."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.drawn import Drawn
from tests.tiny import PromptReader, build_tiny
from torch import Tensor

from visiglot.config import TrainSection
from visiglot.data.collate import Side, collate
from visiglot.models.build import Built
from visiglot.models.decode import Decoding, Row, generate
from visiglot.render import render
from visiglot.train.objectives import OBJECTIVES
from visiglot.train.pictures import Pictures
from visiglot.types import Message, Sample

LLMS = ("t5", "llama", "bloom")
EXAMPLES = Drawn(["eng_Latn", "deu_Latn"], text=True).examples


def losses(built: Built, samples: list[Sample], side: Side = "right") -> Tensor:
    """Each row's loss [R] when the rows go through the model together."""
    spec = built.processor.spec()
    objective = OBJECTIVES.get("generate")(built.model, spec, TrainSection(), {})
    batch = collate(samples, spec, padding_side=side, pixels=Pictures(built.processor).plain)
    with torch.no_grad():
        rows: Tensor = objective(built.model, batch).rows
    return rows


@pytest.mark.parametrize("llm", LLMS)
def test_every_row_costs_the_same_alone_and_among_many(llm: str) -> None:
    built = build_tiny(llm=llm)
    samples = [render(example, built.processor.spec()) for example in EXAMPLES[:9]]
    assert len({len(sample.ids) for sample in samples}) > 1
    assert any(sample.images for sample in samples)
    assert not all(sample.images for sample in samples)
    together = losses(built, samples)
    alone = torch.cat([losses(built, [sample]) for sample in samples])
    torch.testing.assert_close(together, alone, atol=2e-5, rtol=1e-5)
    assert together.std() > 1e-3


@pytest.mark.parametrize("llm", LLMS)
def test_rows_padded_on_the_left_cost_what_they_cost_padded_on_the_right(llm: str) -> None:
    built = build_tiny(llm=llm)
    samples = [render(example, built.processor.spec()) for example in EXAMPLES[:9]]
    torch.testing.assert_close(losses(built, samples, "left"), losses(built, samples), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("reads_prompt", [False, True], ids=["qformer", "prompt-reader"])
@pytest.mark.parametrize("llm", ["t5", "llama"])
def test_before_its_first_word_an_answer_changes_nothing_and_serving_sees_the_same(
    llm: str, reads_prompt: bool
) -> None:
    """The state that predicts the answer's first token is that of serving, whatever the answer is."""
    built = build_tiny(llm=llm)
    model: Any = built.model
    if reads_prompt:
        torch.manual_seed(0)
        reader = PromptReader(model.connector.vision_width, model.connector.text_width, model.config.tokens_per_image)
        model.connector = reader.eval()
    spec, pictures = built.processor.spec(), Pictures(built.processor)
    asked = EXAMPLES[0]
    assert asked.images
    answers = ("dog", "ein Haus, ein Baum und ein Schiff", "犬 猫 鼠")
    turns = [(asked.messages[0], Message("assistant", (answer,))) for answer in answers]
    samples = [render(replace(asked, id=str(i), messages=turn), spec) for i, turn in enumerate(turns)]
    first = []
    for batch in [collate(samples, spec, pixels=pictures.plain), collate(samples[:1], spec, pixels=pictures.plain)]:
        with torch.no_grad():
            targets = model.target_states(batch)
            starts = [int((targets.rows == row).nonzero()[0]) for row in range(len(batch.ids))]
            first += list(model.head(targets.states[starts]))
    for scores in first[1:]:
        torch.testing.assert_close(scores, first[0], atol=2e-5, rtol=1e-5)

    with torch.no_grad():
        features = model.encode_images(pictures.plain(asked.images))
    served = render(replace(asked, messages=asked.messages[:1]), spec, complete=True)
    row = Row("asked", served, features, Decoding(max_new_tokens=1))
    ((_, answer),) = generate(model, built.processor, [row], max_batch_tokens=512)
    assert answer.ids == (int(first[0].argmax()),)
    assert answer.score == pytest.approx(float(first[0].log_softmax(-1).max()), abs=2e-5)

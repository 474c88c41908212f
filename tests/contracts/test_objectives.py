"""What every objective promises, for both layouts of LLM."""

import pytest
import torch
from tests.drawn import Drawn
from tests.tiny import PromptReader, build_tiny

from visiglot.config import TrainSection
from visiglot.data.collate import collate
from visiglot.errors import ConfigError, TrainingError
from visiglot.render import render
from visiglot.train.objectives import OBJECTIVES
from visiglot.train.pictures import Pictures
from visiglot.types import IGNORE, Sample

NAMES = OBJECTIVES.names()


def make(name: str, llm: str):
    built = build_tiny(llm=llm)
    spec = built.processor.spec()
    torch.manual_seed(0)
    objective = OBJECTIVES.get(name)(built.model, spec, TrainSection(), {})
    data = Drawn(["eng_Latn", "deu_Latn"], pictures=name != "text", text=name == "text")
    samples = [render(example, spec) for example in data.examples[::4]]
    pictures = Pictures(built.processor)
    return built.model, objective, samples, collate(samples, spec, pixels=pictures.plain)


@pytest.mark.parametrize("llm", ["t5", "llama"])
@pytest.mark.parametrize("name", NAMES)
def test_sum_rows_and_counts_agree_and_reach_every_own_parameter(name: str, llm: str) -> None:
    model, objective, samples, batch = make(name, llm)
    objective.check(samples)
    loss = objective(model, batch)
    assert torch.isfinite(loss.sum)
    assert loss.rows.shape == loss.counts.shape == (len(samples),)
    torch.testing.assert_close(loss.rows.sum(), loss.sum.detach())
    assert int(loss.counts.sum()) == objective.count(samples)
    assert not loss.rows.requires_grad
    loss.sum.backward()
    assert all(parameter.grad is not None for parameter in objective.parameters())
    part = model.language_model if name == "text" else model.connector
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_option_is_refused_by_name(name: str) -> None:
    built = build_tiny()
    with pytest.raises(ConfigError, match=r"options\.nonsense"):
        OBJECTIVES.get(name)(built.model, built.processor.spec(), TrainSection(), {"nonsense": 1})


@pytest.mark.parametrize("name", NAMES)
def test_a_row_without_supervision_is_refused_by_its_id(name: str) -> None:
    built = build_tiny()
    objective = OBJECTIVES.get(name)(built.model, built.processor.spec(), TrainSection(), {})
    with pytest.raises(TrainingError, match="'masked'"):
        objective.check([Sample("masked", (5, 6), (IGNORE, IGNORE), (), "eng_Latn")])


@pytest.mark.parametrize("image", ["vision", "connector"])
@pytest.mark.parametrize("name", ["contrastive", "matching"])
def test_a_picture_may_be_seen_before_or_after_the_connector(name: str, image: str) -> None:
    built = build_tiny()
    spec = built.processor.spec()
    objective = OBJECTIVES.get(name)(built.model, spec, TrainSection(), {"image": image})
    samples = [render(example, spec) for example in Drawn(["eng_Latn"]).examples[:4]]
    objective(built.model, collate(samples, spec, pixels=Pictures(built.processor).plain)).sum.backward()
    reached = any(p.grad is not None for p in built.model.connector.parameters())
    assert reached == (image == "connector")


@pytest.mark.parametrize("name", ["contrastive", "matching"])
def test_a_connector_that_reads_the_prompt_is_given_it(name: str) -> None:
    built = build_tiny(llm="llama")
    model, spec = built.model, built.processor.spec()
    model.connector = PromptReader(model.connector.vision_width, model.connector.text_width, 1)
    examples = Drawn(["eng_Latn", "deu_Latn"]).examples
    # a picture that two rows show, in either language, beside others
    samples = [render(examples[place], spec) for place in (0, 12, 1, 2)]
    batch = collate(samples, spec, pixels=Pictures(built.processor).plain)
    assert len(batch.pixel_values) == 3
    objective = OBJECTIVES.get(name)(model, spec, TrainSection(), {"image": "connector"})
    loss = objective(model, batch)
    assert loss.rows.shape == (4,)
    loss.sum.backward()
    assert model.connector.projection.weight.grad.abs().sum() > 0

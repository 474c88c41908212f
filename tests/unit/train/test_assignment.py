"""Image tokens are told the caption's word pieces, and a model with `words` shows the language model just those."""

from __future__ import annotations

import pytest
import torch
from tests.drawn import Drawn
from tests.tiny import TEXTS, build_tiny, tiny_section

from visiglot.config import ModelSection, TrainSection
from visiglot.data.collate import collate
from visiglot.errors import TrainingError
from visiglot.models.build import Built, build_model
from visiglot.render import render
from visiglot.train.objectives import OBJECTIVES
from visiglot.train.objectives.assignment import Assignment
from visiglot.train.pictures import Pictures
from visiglot.types import IGNORE


def make(llm: str = "t5"):
    return make_with(build_tiny(llm=llm))


def make_with(built: Built):
    spec = built.processor.spec()
    objective = OBJECTIVES.get("assignment")(built.model, spec, TrainSection(), {})
    assert isinstance(objective, Assignment)
    samples = [render(example, spec) for example in Drawn(["eng_Latn"]).examples[:4]]
    return built.model, objective, collate(samples, spec, pixels=Pictures(built.processor).plain)


def make_with_memory(phrases: int = 6, seed: int = 0):
    values = tiny_section("resnet").model_dump(by_alias=True)
    values["connector"]["options"] |= {"pooled_tokens": 3, "pooled_phrases": phrases}
    section = ModelSection.model_validate(values)
    return make_with(build_model(section, languages=["eng_Latn"], seed=seed, texts=lambda: TEXTS))


def test_each_slot_is_told_one_piece_and_the_end_marker_fills_the_rest() -> None:
    model, objective, _ = make()
    end = objective.spec.end_ids[0]
    labels = torch.tensor([[7, 8, end, IGNORE, IGNORE, IGNORE], [5, 6, 7, 8, 9, end]])
    assert model.config.tokens_per_image == 4
    assert objective.pieces(labels).tolist() == [[7, 8, end, end], [5, 6, 7, 8]]


def test_tokens_that_lie_on_their_words_cost_nearly_nothing() -> None:
    model, objective, batch = make()
    words = model.word_embeddings(objective.pieces(batch.labels)).detach()
    model.slot_tokens = lambda batch, features, as_words: 20 * words[batch.slot_row]
    assert float(objective(model, batch).sum) < 1e-3


def test_a_few_steps_bring_the_tokens_closer() -> None:
    torch.manual_seed(0)
    model, objective, batch = make()
    optimiser = torch.optim.AdamW(model.connector.parameters(), lr=1e-2)
    costs = []
    for _ in range(30):
        cost = objective(model, batch).sum
        cost.backward()
        optimiser.step()
        optimiser.zero_grad()
        costs.append(cost.item())
    assert costs[-1] < 0.7 * costs[0]


def test_a_model_with_words_shows_its_own_word_embeddings() -> None:
    """The sharper the mixture, the nearer each image token is to a row of the table."""
    model, _, batch = make()
    features = model.encode_images(batch.pixel_values)
    table = model.get_input_embeddings().weight
    apart = []
    for temperature in (None, 0.5, 1e-4):
        model.config.connector["words"] = temperature
        tokens = model.image_tokens(features)
        distances = torch.cdist(tokens.flatten(0, 1), table, compute_mode="donot_use_mm_for_euclid_dist")
        apart.append(distances.min(-1).values.mean().item())
    assert apart[2] < 1e-3 < apart[1]
    assert apart[2] < apart[0]
    assert model.image_tokens(features, as_words=False).shape == (len(features.patches), 4, 32)


def test_a_mixture_of_the_nearest_words_is_that_of_all_words_where_it_is_sharp() -> None:
    model, _, _ = make()
    tokens = 0.5 * model.get_input_embeddings().weight[[5, 9, 300]].detach() + 0.02 * torch.randn(3, 32)
    for temperature, atol in ((0.01, 1e-3), (0.03, 0.02)):
        scores, words = model.word_scores(tokens, temperature)
        near = model.mix_words(tokens, temperature)
        torch.testing.assert_close(near, scores.softmax(-1) @ words, atol=atol, rtol=0)


def test_the_loss_reaches_the_connector_through_the_mixture() -> None:
    model, _, batch = make()
    model.config.connector["words"] = 0.5
    states = model.target_states(batch).states
    states.square().sum().backward()
    assert all(weight.grad is not None for weight in model.connector.projection.parameters())
    assert model.connector.projection.weight.grad.abs().sum() > 0


def preferring(rows: int, *phrases: int) -> torch.Tensor:
    """Scores [rows, 6] that like these phrases best, in this order, and all others alike."""
    scores = torch.zeros(rows, 6)
    for rank, phrase in enumerate(phrases):
        scores[:, phrase] = 10.0 - rank
    return scores


def test_each_new_caption_takes_the_free_phrase_its_picture_calls_for_and_its_tokens_become_its_words() -> None:
    model, objective, batch = make_with_memory()
    memory = model.connector.memory
    pieces = objective.pieces(batch.labels)[:, :3]
    rows = [tuple(row) for row in pieces.tolist()]
    different = len(set(rows))
    assert 1 < different < len(rows)  # some captions are the same
    phrases = objective.assign_phrases(pieces, preferring(len(rows), 4, 1), model)
    assert list(dict.fromkeys(phrases.tolist()))[:2] == [4, 1]
    assert [rows.index(row) for row in rows] == [phrases.tolist().index(phrase) for phrase in phrases.tolist()]
    assert torch.equal(memory.values[phrases], model.word_embeddings(pieces))
    assert (objective.pieces_of_phrase == -1).all(1).sum() == 6 - different


def test_of_pictures_with_one_caption_the_first_chooses_however_rows_are_split() -> None:
    model, objective, batch = make_with_memory()
    pieces = objective.pieces(batch.labels)[:1, :3].expand(2, -1)
    scores = torch.cat([preferring(1, 2), preferring(1, 5)])
    assert objective.assign_phrases(pieces, scores, model).tolist() == [2, 2]
    model, objective, _ = make_with_memory()
    assert [int(objective.assign_phrases(pieces[i : i + 1], scores[i : i + 1], model)) for i in (0, 1)] == [2, 2]


def test_a_memory_from_another_model_keeps_its_keys_and_gets_this_ones_words() -> None:
    """What the keys learned with one language model needs nothing but a first look at each caption with the next."""
    model, objective, batch = make_with_memory()
    learn(model, objective, batch)
    keys = model.connector.memory.keys.detach().clone()
    other, again, batch = make_with_memory(seed=1)
    other.vision.load_state_dict(model.vision.state_dict())
    for name in ("keys", "log_scale"):
        getattr(other.connector.memory, name).data.copy_(getattr(model.connector.memory, name))
    other.connector.memory.norm.load_state_dict(model.connector.memory.norm.state_dict())
    again(other, batch)
    assert torch.equal(other.connector.memory.keys, keys)
    called = other.connector.memory.scores(other.encode_images(batch.pixel_values).pooled).argmax(-1)[batch.slot_image]
    pieces = again.pieces(batch.labels)[:, :3][batch.slot_row]
    assert torch.equal(other.connector.memory.values[called], other.word_embeddings(pieces))


def test_a_run_that_goes_on_knows_whose_phrases_are_taken() -> None:
    model, objective, batch = make_with_memory()
    pieces = objective.pieces(batch.labels)[:, :3]
    before = objective.assign_phrases(pieces, preferring(len(pieces), 2), model)
    _, again, _ = make_with_memory()
    again.load_state_dict(objective.state_dict())
    kept = model.connector.memory.values.detach().clone()
    assert torch.equal(again.assign_phrases(pieces.flip(0), preferring(len(pieces), 5), model), before.flip(0))
    assert torch.equal(model.connector.memory.values, kept)


def test_more_captions_than_phrases_are_refused() -> None:
    model, objective, batch = make_with_memory(phrases=1)
    with pytest.raises(TrainingError, match="memory has 1 phrases") as caught:
        objective(model, batch)
    assert "pooled_phrases" in str(caught.value)


def learn(model, objective, batch) -> None:
    optimiser = torch.optim.AdamW(model.connector.parameters(), lr=1e-2)
    for _ in range(60):
        objective(model, batch).sum.backward()
        optimiser.step()
        optimiser.zero_grad()


def test_a_memory_learns_which_phrase_a_picture_calls_for() -> None:
    torch.manual_seed(0)
    model, objective, batch = make_with_memory()
    learn(model, objective, batch)
    scores = model.connector.memory.scores(model.encode_images(batch.pixel_values).pooled)
    of_row = objective.assign_phrases(objective.pieces(batch.labels)[:, :3], scores, model)
    assert torch.equal(scores.argmax(-1)[batch.slot_image], of_row[batch.slot_row])

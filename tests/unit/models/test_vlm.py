from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.drawn import Drawn
from tests.tiny import LLM, PromptReader, build_tiny
from torch import Tensor
from torch.nn.functional import cross_entropy

from visiglot.data.collate import collate
from visiglot.errors import ModelError, PromptError
from visiglot.models import VisionLanguageModel
from visiglot.models.connectors import CONNECTORS
from visiglot.models.decode.prompts import embed_prompts
from visiglot.models.decode.rows import Row
from visiglot.models.language_model import check_head, linear_targets, position_ids
from visiglot.models.lora import inject_lora
from visiglot.render import render
from visiglot.train.pictures import Pictures
from visiglot.types import IGNORE, Batch, Example, ImageSlot, Message, VisionFeatures

K = 4


def batch_of(model: VisionLanguageModel, rows: list[list[int]], slots: list[tuple[int, int]], pictures: int) -> Batch:
    """Rows of ids with I for an image token's place, padded on the right; labels on every text token."""
    token = model.config.image_token_id
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), 0)
    mask = torch.zeros_like(ids)
    for row, values in enumerate(rows):
        ids[row, : len(values)] = torch.tensor([token if value < 0 else value for value in values])
        mask[row, : len(values)] = 1
    labels = ids.masked_fill((ids == token) | (mask == 0), IGNORE)
    if model.layout == "seq2seq":
        labels = torch.tensor([[5, 6, 1]] * len(rows))
    return Batch(
        input_ids=ids,
        attention_mask=mask,
        labels=labels,
        slot_image=torch.tensor([image for image, _ in slots], dtype=torch.long),
        slot_row=torch.tensor([row for _, row in slots], dtype=torch.long),
        ids=tuple(f"row{row}" for row in range(len(rows))),
        languages=("deu_Latn",) * len(rows),
        tasks=("",) * len(rows),
        pixel_values=torch.randn(pictures, 3, 32, 32, generator=torch.Generator().manual_seed(0)) if pictures else None,
    )


def embed(model: VisionLanguageModel, batch: Batch) -> Tensor:
    return model.embed(
        batch.input_ids,
        batch.attention_mask,
        pixel_values=batch.pixel_values,
        features=batch.features,
        slot_image=batch.slot_image,
        slot_row=batch.slot_row,
    )


I4 = [-1] * K


@pytest.fixture(scope="module")
def t5() -> VisionLanguageModel:
    return build_tiny("vit", "t5").model


def test_image_tokens_stand_where_their_placeholders_are(t5: VisionLanguageModel) -> None:
    batch = batch_of(t5, [[5, *I4, 6], [*I4, 7, *I4, 8], [9, 10]], [(0, 0), (1, 1), (0, 1)], pictures=2)
    embedded = embed(t5, batch)
    tokens = t5.image_tokens(t5.encode_images(batch.pixel_values))
    torch.testing.assert_close(embedded[0, 1:5], tokens[0])
    torch.testing.assert_close(embedded[1, 0:4], tokens[1])
    torch.testing.assert_close(embedded[1, 5:9], tokens[0])
    words = t5.get_input_embeddings()
    torch.testing.assert_close(embedded[1, 4], words.weight[7])
    torch.testing.assert_close(embedded[2, :2], words.weight[[9, 10]])


@pytest.mark.parametrize("off", [-1, 1])
def test_one_image_token_too_few_or_too_many_is_refused_with_both_counts(t5: VisionLanguageModel, off: int) -> None:
    batch = batch_of(t5, [[5, *I4, 6], [*[-1] * (K + off), 7]], [(0, 0), (1, 1)], pictures=2)
    with pytest.raises(PromptError, match=rf"row 1: the prompt holds {K + off} image tokens.*{K}"):
        embed(t5, batch)


def test_two_wrong_rows_do_not_cancel(t5: VisionLanguageModel) -> None:
    batch = batch_of(t5, [[5, *[-1] * (K + 1)], [*[-1] * (K - 1), 7]], [(0, 0), (1, 1)], pictures=2)
    with pytest.raises(PromptError, match="row 0"):
        embed(t5, batch)


def test_a_placeholder_without_a_picture_is_refused(t5: VisionLanguageModel) -> None:
    with pytest.raises(PromptError, match="0 picture"):
        embed(t5, batch_of(t5, [[5, *I4, 6]], [], pictures=0))


def test_a_picture_without_a_placeholder_is_refused(t5: VisionLanguageModel) -> None:
    with pytest.raises(PromptError, match="holds 0 image tokens"):
        embed(t5, batch_of(t5, [[5, 6]], [(0, 0)], pictures=1))


def test_one_picture_may_serve_many_rows(t5: VisionLanguageModel) -> None:
    batch = batch_of(t5, [[5, *I4], [*I4, 6]], [(0, 0), (0, 1)], pictures=1)
    embedded = embed(t5, batch)
    torch.testing.assert_close(embedded[0, 1:5], embedded[1, 0:4])


@pytest.mark.parametrize("llm", ["t5", "llama", "bloom", "gemma2"])
def test_target_states_give_the_loss_of_the_whole_logits(llm: str) -> None:
    model = build_tiny("vit", llm).model
    batch = batch_of(model, [[5, *I4, 6, 9, 11], [*I4, 7, 8], [9, 10]], [(0, 0), (1, 1)], pictures=2)
    with torch.no_grad():
        targets = model.target_states(batch)
        loss = cross_entropy(model.head(targets.states), targets.labels)
        whole = model(
            batch.input_ids,
            batch.attention_mask,
            labels=batch.labels,
            pixel_values=batch.pixel_values,
            slot_image=batch.slot_image,
            slot_row=batch.slot_row,
        ).loss
    torch.testing.assert_close(loss, whole, atol=1e-6, rtol=1e-6)
    assert targets.rows.unique().tolist() == [0, 1, 2]


@pytest.mark.parametrize("llm", ["llama", "bloom", "qwen3", "gemma2"])
def test_padding_side_changes_nothing(llm: str) -> None:
    model = build_tiny("vit", llm).model
    right = batch_of(model, [[5, *I4, 6, 9, 11], [*I4, 7, 8]], [(0, 0), (1, 1)], pictures=2)
    shift = right.input_ids.shape[1] - 6
    left = replace(
        right,
        **{
            name: torch.stack([getattr(right, name)[0], getattr(right, name)[1].roll(shift)])
            for name in ("input_ids", "attention_mask", "labels")
        },
    )
    with torch.no_grad():
        one, other = model.target_states(right), model.target_states(left)
    torch.testing.assert_close(one.states, other.states, atol=2e-5, rtol=1e-4)
    assert torch.equal(one.labels, other.labels)


@pytest.mark.parametrize("llm", list(LLM))
def test_our_head_is_the_llms_own(llm: str) -> None:
    check_head(build_tiny("vit", llm).model.language_model, tolerance=1e-5)


def test_a_head_that_does_more_is_noticed() -> None:
    llm = build_tiny("vit", "llama").model.language_model
    llm.config.logit_scale = 2.0  # now ours scales, and the model doesn't
    with pytest.raises(ModelError, match="does more than a linear layer"):
        check_head(llm)


def test_positions_count_real_tokens_only() -> None:
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 0]])
    assert position_ids(mask).tolist() == [[0, 0, 0, 1], [0, 1, 2, 2]]


def test_a_lora_target_that_matches_nothing_is_an_error(t5: VisionLanguageModel) -> None:
    with pytest.raises(ModelError, match=r"'\.k'"):
        inject_lora(t5.language_model, {"rank": 2, "alpha": 2, "dropout": 0.0, "targets": ["q", ".k"]})


def test_linear_targets_leave_the_head_out(t5: VisionLanguageModel) -> None:
    assert {"q", "k", "v", "o"} <= set(linear_targets(t5.language_model))
    assert "lm_head" not in linear_targets(t5.language_model)


@pytest.mark.parametrize("llm", ["llama", "t5"])
@pytest.mark.parametrize("turns", [1, 3])
def test_a_connector_that_reads_the_prompt_reads_the_same_in_training_and_serving(llm: str, turns: int) -> None:
    built = build_tiny("vit", llm)
    model, spec = built.model, built.processor.spec()
    model.connector = PromptReader(model.connector.vision_width, model.connector.text_width, K)
    image = Drawn(["eng_Latn"]).examples[0].images[0]
    words = [("user", "is this a dog? "), ("assistant", "no"), ("user", "a cat? "), ("assistant", "yes")][: turns + 1]
    messages = [Message(role, (text,)) for role, text in words]  # type: ignore[arg-type]
    messages[0] = Message("user", (ImageSlot(0), words[0][1]))
    example = Example("e", tuple(messages), "eng_Latn", (image,))
    trained = collate([render(example, spec)], spec, pixels=Pictures(built.processor).plain)
    served = render(example, spec, complete=True)
    features = model.encode_images(trained.pixel_values)

    def seen_by_connector(embedded: Tensor) -> Tensor:
        return embedded[0, list(served.ids).index(spec.image_token_id)]

    with torch.no_grad():
        training = model.embed(
            trained.input_ids,
            trained.attention_mask,
            features=features,
            slot_image=trained.slot_image,
            slot_row=trained.slot_row,
            prompt_mask=model.prompts_of(trained),
        )
        serving, _ = embed_prompts(model, [Row("e", served, features)], spec.layout, spec.pad_id)
        torch.testing.assert_close(seen_by_connector(training), seen_by_connector(serving))
        # and what is compared does depend on the words that are masked
        assert not torch.allclose(seen_by_connector(training), seen_by_connector(all_seen(model, trained, features)))
    if llm == "llama":  # a batch that states no mask shows no label either
        bare = model.prompts_of(replace(trained, prompt_mask=None))
        assert not (bare & (trained.labels != IGNORE)).any()


def all_seen(model: VisionLanguageModel, batch: Batch, features: VisionFeatures) -> Tensor:
    """What a connector would make of the whole row and its answer."""
    ids = batch.input_ids
    if model.layout == "seq2seq":
        ids = torch.cat([ids, batch.labels], dim=1)
    return model.embed(
        ids, torch.ones_like(ids), features=features, slot_image=batch.slot_image, slot_row=batch.slot_row
    )


def test_two_prompts_give_two_sets_of_visual_tokens_when_the_connector_reads_them() -> None:
    model = build_tiny("vit", "t5").model
    model.connector = PromptReader(model.connector.vision_width, model.connector.text_width, K)
    batch = batch_of(model, [[5, *I4], [6, *I4], [5, *I4]], [(0, 0), (0, 1), (0, 2)], pictures=1)
    embedded = embed(model, batch)
    assert not torch.allclose(embedded[0, 1:], embedded[1, 1:])
    torch.testing.assert_close(embedded[0, 1:], embedded[2, 1:])
    assert "prompt_reader" not in CONNECTORS.names()

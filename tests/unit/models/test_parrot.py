"""Parrot's connector: what its tokens depend on, how its experts are weighed, and what a stage may leave out."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from tests.tiny import TEXTS, VISION, build_tiny, tiny_section
from torch import Tensor

from visiglot.config import StageSection
from visiglot.data.collate import collate
from visiglot.errors import ConfigError, ModelError, UnknownNameError
from visiglot.models.build import build_model
from visiglot.models.connectors.parrot import ParrotConnector
from visiglot.models.connectors.start import match_scale
from visiglot.models.decode import Decoder, Decoding, Row
from visiglot.models.parts import apply_parts, describe_parts
from visiglot.models.vlm import VisionLanguageModel
from visiglot.render import render
from visiglot.types import (
    IGNORE,
    Batch,
    Example,
    ImageRef,
    ImageSlot,
    Message,
    Sample,
    TextContext,
    VisionFeatures,
)

VISION_WIDTH, TEXT_WIDTH, GRID = 12, 20, (2, 3)
EXPERTS = 3


def build(seed: int = 0, **options: Any) -> ParrotConnector:
    torch.manual_seed(seed)
    return ParrotConnector(VISION_WIDTH, TEXT_WIDTH, **{"experts": EXPERTS, "width": 8, **options}).eval()


def features(count: int, *, prefix: int = 1, seed: int = 0) -> VisionFeatures:
    generator = torch.Generator().manual_seed(seed)
    patches = torch.randn(count, prefix + GRID[0] * GRID[1], VISION_WIDTH, generator=generator)
    return VisionFeatures(patches, patches.mean(1), GRID)


def context(image_index: list[int], lengths: list[int] | None = None, seed: int = 1, wide: int = 5) -> TextContext:
    generator = torch.Generator().manual_seed(seed)
    embeddings = 2 * torch.randn(len(image_index), wide, TEXT_WIDTH, generator=generator)
    lengths = lengths or [wide] * len(image_index)
    mask = torch.arange(wide)[None] < torch.tensor(lengths)[:, None]
    return TextContext(embeddings, mask, torch.tensor(image_index))


def loud(connector: ParrotConnector) -> ParrotConnector:
    """Experts that say enough to be told apart; new ones are nearly silent."""
    with torch.no_grad():
        for weight in connector.experts.parameters():
            weight.mul_(4)
    return connector


@torch.no_grad()
def loudly(model: VisionLanguageModel) -> VisionLanguageModel:
    """Words and image tokens near unit variance, so that a router tells prompts apart; a new model's are tiny."""
    model.get_input_embeddings().weight.mul_(40)
    connector = model.connector
    if isinstance(connector, ParrotConnector):
        loud(connector)
    inside = connector.inner if isinstance(connector, ParrotConnector) else connector
    inside.projection[-1].weight.mul_(40)  # type: ignore[union-attr, index]
    return model


# --- what the tokens are ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("top_k", [None, 1, 2])
@pytest.mark.parametrize("residual", ["released", "paper"])
def test_tokens_are_what_the_equations_say_row_by_row(residual: str, top_k: int | None) -> None:
    connector = loud(build(residual=residual, alpha=0.3, top_k=top_k))
    seen, prompt = features(2), context([0, 1, 0, 1], [5, 2, 4, 1])
    tokens = connector(seen, prompt)
    weights = connector.routing(seen, prompt)
    assert weights is not None
    for slot, picture in enumerate([0, 1, 0, 1]):
        h = connector.inner.projection(seen.patches[picture])  # type: ignore[operator]
        words = prompt.embeddings[slot, : int(prompt.mask[slot].sum())]
        attention = torch.softmax(words @ h[0] / TEXT_WIDTH**0.5, dim=0)
        p = torch.softmax(connector.experts.router.weight @ (attention @ words), dim=0)
        torch.testing.assert_close(weights[slot], p)
        best = p.argsort(descending=True)[: top_k or EXPERTS]
        mixed = sum(p[i] * connector.experts.each[int(i)](h) for i in best)
        expected = mixed + 0.3 * h if residual == "released" else h + 0.3 * mixed
        torch.testing.assert_close(tokens[slot], expected, atol=1e-5, rtol=1e-5)


def test_weights_sum_to_one_and_follow_the_prompt() -> None:
    weights = build(seed=3).routing(features(1), context([0] * 6))
    assert weights is not None
    assert weights.shape == (6, EXPERTS)
    torch.testing.assert_close(weights.sum(1), torch.ones(6))
    assert weights.std(0).min() > 1e-3


def test_a_prompt_without_words_gives_all_experts_the_same() -> None:
    connector, seen = build(), features(1)
    weights = connector.routing(seen, context([0], [0]))
    assert weights is not None
    torch.testing.assert_close(weights, torch.full((1, EXPERTS), 1 / EXPERTS))
    assert connector(seen, context([0], [0])).isfinite().all()


def test_what_is_masked_changes_nothing() -> None:
    connector, seen = loud(build()), features(1)
    short = context([0], [2])
    longer = dataclasses.replace(short, embeddings=torch.cat([short.embeddings[:, :2], 9 * torch.ones(1, 3, 20)], 1))
    torch.testing.assert_close(connector(seen, short), connector(seen, longer))
    assert not torch.allclose(connector(seen, short), connector(seen, context([0], [3])))


def test_the_query_is_the_cls_token_and_without_one_the_mean_of_the_tokens() -> None:
    prompt = context([0])
    for prefix, keeps in ((1, True), (1, False), (0, True)):
        connector = build(inner={"type": "mlp", "options": {"keep_prefix": keeps}})
        seen = features(1, prefix=prefix)
        tokens = connector.inner(seen)[0]
        query = tokens[0] if prefix and keeps else tokens.mean(0)
        expected = connector.experts.route(query[None], prompt)
        torch.testing.assert_close(connector.routing(seen, prompt), expected)
        other = tokens.mean(0) if prefix and keeps else tokens[0]
        assert not torch.allclose(connector.experts.route(other[None], prompt), expected)


@pytest.mark.parametrize("top_k", [None, 1])
def test_gradient_reaches_every_expert_and_the_router(top_k: int | None) -> None:
    connector = build(top_k=top_k)
    connector(features(4), context([0, 1, 2, 3] * 4)).square().sum().backward()
    for name, weight in connector.named_parameters():
        assert weight.grad is not None, name
    if top_k is None:
        assert all(weight.grad.abs().max() > 0 for weight in connector.parameters() if weight.grad is not None)


def test_an_expert_that_nobody_chose_still_has_a_gradient_which_is_zero() -> None:
    connector = build(top_k=1)
    connector(features(1), context([0])).square().sum().backward()
    grads = [expert.up_proj.weight.grad.abs().max().item() for expert in connector.experts.each]
    assert sorted(value > 0 for value in grads) == [False, False, True]


def test_new_experts_that_start_at_zero_leave_the_papers_tokens_as_they_were() -> None:
    seen, prompt = features(2), context([0, 1])
    own = build().inner(seen)
    torch.testing.assert_close(build(residual="paper", zero_init=True)(seen, prompt), own)
    torch.testing.assert_close(build(residual="released", zero_init=True)(seen, prompt), 0.1 * own)


@pytest.mark.parametrize("inner", ["linear", "qformer"])
def test_any_connector_may_stand_inside(inner: str) -> None:
    options = {"num_queries": 4, "width": 16, "layers": 2, "heads": 2} if inner == "qformer" else {}
    connector = build(inner={"type": inner, "options": options})
    assert connector(features(2), context([0, 1, 1])).shape == (3, connector.num_tokens(7, GRID), TEXT_WIDTH)


def test_the_defaults_have_the_size_of_the_released_7b_model() -> None:
    with torch.device("meta"):
        connector = ParrotConnector(1024, 4096)
    sizes = {name: sum(weight.numel() for weight in part.parameters()) for name, part in connector.named_children()}
    assert sizes == {"inner": 20_979_712, "experts": 6 * (3 * 4096 * 4096 + 4096)}
    assert connector.num_tokens(577, (24, 24)) == 577


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inner": {"type": "parrot", "options": {"experts": 2, "width": 4}}}, "reads the prompt itself"),
        ({"inner": {"kind": "mlp"}}, "inner is"),
        ({"top_k": 4}, "top_k 4"),
        ({"experts": 0}, "experts 0"),
    ],
)
def test_options_that_make_no_connector_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build(**options)


@pytest.mark.parametrize("option", ["residual", "gate_text"])
def test_unknown_kinds_are_named(option: str) -> None:
    with pytest.raises(UnknownNameError, match=option):
        build(**{option: "none"})


# --- in a model ------------------------------------------------------------------------------------------------------


def model_of(connector: str, **options: Any) -> VisionLanguageModel:
    section = tiny_section("clip", "llama", connector)
    described = section.connector.model_copy(update={"options": {**section.connector.options, **options}})
    section = section.model_copy(update={"connector": described})
    model = build_model(section, languages=["eng_Latn"], seed=0, texts=lambda: TEXTS).model.eval()
    return loudly(model)


def rows_of(model: VisionLanguageModel, rows: list[list[int]], shown: list[tuple[int, int]], pictures: int) -> Batch:
    """Rows of ids, where -1 is a whole picture; `shown` are (picture, row)."""
    image, per_image = model.config.image_token_id, model.config.tokens_per_image
    spelled = [[token for one in row for token in ([image] * per_image if one < 0 else [one])] for row in rows]
    length = max(map(len, spelled))
    generator = torch.Generator().manual_seed(5)
    ids = torch.tensor([row + [0] * (length - len(row)) for row in spelled])
    return Batch(
        input_ids=ids,
        attention_mask=torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in spelled]),
        labels=torch.full_like(ids, IGNORE),
        slot_image=torch.tensor([picture for picture, _ in shown], dtype=torch.long),
        slot_row=torch.tensor([row for _, row in shown], dtype=torch.long),
        ids=tuple(map(str, range(len(rows)))),
        languages=("eng_Latn",) * len(rows),
        tasks=("",) * len(rows),
        pixel_values=torch.randn(pictures, 3, 32, 32, generator=generator) if pictures else None,
    )


@torch.no_grad()
def slots_of(model: VisionLanguageModel, batch: Batch) -> Tensor:
    assert batch.pixel_values is not None
    return model.slot_tokens(batch, model.encode_images(batch.pixel_values))


@torch.no_grad()
def logits_of(model: VisionLanguageModel, batch: Batch) -> Tensor:
    logits: Tensor = model(
        batch.input_ids,
        batch.attention_mask,
        pixel_values=batch.pixel_values,
        slot_image=batch.slot_image,
        slot_row=batch.slot_row,
    ).logits
    return logits


def test_two_languages_give_two_sets_of_visual_tokens_under_parrot_and_one_under_a_perceptron() -> None:
    for connector, differ in (("parrot", True), ("mlp", False)):
        model = model_of(connector)
        english, german = slots_of(model, rows_of(model, [[-1, 9, 12, 30], [-1, 40, 41]], [(0, 0), (0, 1)], 1))
        assert torch.allclose(english, german, atol=1e-4) is not differ


def test_each_of_several_pictures_gets_tokens_of_its_own_and_rows_of_text_stay_as_they_are() -> None:
    model = model_of("parrot")
    batch = rows_of(model, [[9, -1, 12, -1], [7, 8, 9], [-1, 30]], [(0, 0), (1, 0), (1, 2)], 2)
    first, second, third = slots_of(model, batch)
    for one in (first, second, third):
        assert one.abs().max() > 1e-3  # the original leaves the second picture of a row at zero
    assert not torch.allclose(first, second)
    assert not torch.allclose(second, third)
    together = logits_of(model, batch)
    text = rows_of(model, [[7, 8, 9]], [], 0)
    torch.testing.assert_close(together[1, :3], logits_of(model, text)[0], atol=1e-5, rtol=1e-5)
    alone = dataclasses.replace(
        rows_of(model, [[-1, 30]], [(0, 0)], 1),
        pixel_values=batch.pixel_values[1:],  # type: ignore[index]
    )
    length = alone.input_ids.shape[1]
    torch.testing.assert_close(together[2, :length], logits_of(model, alone)[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("gate_text", ["first_user_turn", "prompt"])
def test_only_the_released_way_lets_a_later_turn_change_a_picture(gate_text: str) -> None:
    model = model_of("parrot", gate_text=gate_text)
    batch = rows_of(model, [[-1, 9, 12, 30, 31], [-1, 9, 12, 30, 50], [-1, 9, 44, 30, 31]], [(0, 0), (0, 1), (0, 2)], 1)
    labels, prompt = batch.labels.clone(), torch.zeros_like(batch.input_ids, dtype=torch.bool)
    answer = model.config.tokens_per_image + 1
    labels[:, answer] = batch.input_ids[:, answer]
    prompt[:, :answer] = True
    tokens = slots_of(model, dataclasses.replace(batch, labels=labels, prompt_mask=prompt))
    assert torch.equal(tokens[0], tokens[1]) is (gate_text == "first_user_turn")
    assert torch.equal(tokens[0], tokens[2])  # an answer is never read in training


@pytest.mark.parametrize("gate_text", ["first_user_turn", "prompt"])
def test_words_of_an_answer_that_arent_learned_change_no_picture(gate_text: str) -> None:
    """EP-VQA's translation under `mask_translation`: no prompt has it when the model is asked."""
    model = model_of("parrot", gate_text=gate_text)
    spec = model.processor.spec()

    def sample(translation: str) -> Sample:
        answer = Message("assistant", (f"{translation} || cat",), unlearned=len(translation))
        turns = (Message("user", (ImageSlot(0), "Is this a dog?")), answer)
        return render(Example("a", turns, "eng_Latn", (ImageRef("a", data=b"a"),)), spec)

    rows = [sample("dog elephant"), sample("house tree mouse")]
    assert rows[0].num_targets < len(rows[0].ids) - rows[0].prompt_length
    first, second = slots_of(model, collate(rows, spec, pixels=lambda refs: torch.ones(len(refs), 3, 32, 32)))
    assert torch.equal(first, second)


@pytest.mark.parametrize("llm", ["llama", "t5"])
def test_one_picture_answers_many_prompts_as_each_alone_and_is_encoded_once(llm: str) -> None:
    built = build_tiny("clip", llm, "parrot")
    model, processor = built.model, built.processor
    loudly(model)
    k, image = model.config.tokens_per_image, model.config.image_token_id
    seen = model.encode_images(torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(2)))
    entered: list[int] = []
    model.connector.inner.register_forward_pre_hook(  # type: ignore[union-attr, operator]
        lambda module, given: entered.append(len(given[0].patches))
    )
    words = [[9, 12, 30], [40, 41], [9, 12, 31], [77]]
    rows = [
        Row(str(n), Sample(str(n), (*[image] * k, *ids), (), (), "eng_Latn"), seen, Decoding(max_new_tokens=6))
        for n, ids in enumerate(words)
    ]
    rows = [dataclasses.replace(row, sample=dataclasses.replace(row.sample, images=(None,))) for row in rows]  # type: ignore[arg-type]
    together = Decoder(model, processor).run(rows)
    assert entered == [1]  # the connector inside saw the picture once, not once a row
    for row in rows:
        assert Decoder(model, processor).run([row])[row.key].ids == together[row.key].ids


def test_encoders_without_cls_can_have_it() -> None:
    for vision in VISION:
        built = build_tiny(vision, "llama", "parrot")
        tokens = built.model.image_tokens(
            built.model.encode_images(torch.randn(1, 3, 32, 32)),
            TextContext(torch.randn(2, 3, 32), torch.ones(2, 3, dtype=torch.bool), torch.tensor([0, 0])),
        )
        assert tokens.shape == (2, built.model.config.tokens_per_image, 32)


def test_a_new_perceptron_inside_starts_at_the_scale_of_the_words() -> None:
    model = model_of("parrot")
    connector = build_tiny("clip", "llama", "parrot", seed=1).model.connector
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(100)
    match_scale(connector, model.language_model)
    last = connector.inner.projection[2]  # type: ignore[union-attr, index]
    scale = model.get_input_embeddings().weight.std() * last.in_features**-0.5
    assert abs(last.weight.std() / scale - 1) < 0.1


# --- stages ----------------------------------------------------------------------------------------------------------


def stage(**parts: str) -> StageSection:
    named = {name.replace("__", "."): {"train": mode} for name, mode in parts.items()}
    return StageSection.model_validate({"name": "one", "steps": 1, "parts": named})


def test_a_stage_may_bypass_the_experts_and_the_checkpoint_says_so(tmp_path: Any) -> None:
    built = build_tiny("clip", "llama", "parrot")
    model = built.model
    groups = apply_parts(model, stage(connector="full", connector__experts="bypassed"))
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert trained
    assert all(name.startswith("connector.inner.") for name in trained)
    assert not model.connector.needs_context
    assert any("connector.experts bypassed" in line for line in describe_parts(model, groups))
    seen = model.encode_images(torch.randn(1, 3, 32, 32))
    torch.testing.assert_close(model.image_tokens(seen), model.connector.inner(seen))  # type: ignore[operator]
    model.save_pretrained(tmp_path)
    again = VisionLanguageModel.from_pretrained(str(tmp_path))
    assert again.connector.bypassed
    assert again.connector.routing(seen, context([0])) is None

    apply_parts(model, stage(connector="full"))
    assert model.connector.needs_context
    assert not model.config.connector["options"]["bypassed"]
    assert all(weight.requires_grad for weight in model.connector.parameters())


@pytest.mark.parametrize("path", ["connector", "connector.inner", "vision"])
def test_what_the_model_needs_is_never_bypassed(path: str) -> None:
    model = build_tiny("clip", "llama", "parrot").model
    parts = {path: {"train": "bypassed"}, "language_model": {"train": "full"}}
    section = StageSection.model_validate({"name": "one", "steps": 1, "parts": parts})
    with pytest.raises(ConfigError, match=r"can't be bypassed; what can be: connector\.experts"):
        apply_parts(model, section)
    with pytest.raises(ConfigError, match="nothing of this model can be"):
        apply_parts(build_tiny("clip", "llama", "mlp").model, section.model_copy(update={"parts": {
            "connector": section.parts[path], "language_model": section.parts["language_model"]}}))  # fmt: skip


def test_a_stage_that_only_bypasses_trains_nothing_and_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing is trained"):
        stage(connector__experts="bypassed")

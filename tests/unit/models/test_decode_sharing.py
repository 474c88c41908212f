"""What prompts have in common is read once, and nobody's answer changes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.tiny import PromptReader, build_tiny
from tests.unit.models.decode_llms import PROCESSOR, StandIn, prompts, text_row, tiny_llm

from visiglot.models.decode import Decoder, Decoding, Row, decoder
from visiglot.models.decode import cache as kv
from visiglot.models.decode.runner import LanguageModelRunner
from visiglot.models.decode.sharing import Prefixes, distinct_prompts, shared_prefixes
from visiglot.types import ImageRef, Sample, VisionFeatures

CAUSAL = ("llama", "mistral", "qwen3", "gemma2", "gemma3_text", "bloom", "gpt2", "opt", "falcon", "mpt")
FIRST, SECOND = prompts((24, 19), seed=8)
TAILS = prompts((3, 1, 6, 4, 2), seed=9)


def _features(count: int = 1) -> VisionFeatures:
    return VisionFeatures(torch.zeros(count, 4, 8), torch.zeros(count, 8))


def _rows(decoding: Decoding) -> list[Row]:
    """Two beginnings of different length, in mixed order, a prompt of its own, and the same prompt twice."""
    ids = [FIRST + TAILS[0], SECOND + TAILS[1], FIRST + TAILS[2], prompts((7,), seed=10)[0], SECOND + TAILS[3]]
    ids += [FIRST + TAILS[4], FIRST + TAILS[2]]
    return [text_row(str(position), row, decoding) for position, row in enumerate(ids)]


# --- causal ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CAUSAL)
def test_logits_and_keys_are_those_of_whole_prompts(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several beginnings of different length, alibi, rotary and learned positions, windows shorter than the prompt."""
    found = []
    read = LanguageModelRunner.prefill

    def kept(self: LanguageModelRunner, searches: Any, embeds: Any, mask: Any, prefixes: Any) -> Any:
        assert prefixes is not None
        found.extend([read(self, searches, embeds, mask, prefixes), read(self, searches, embeds, mask, None)])
        return found[0]

    monkeypatch.setattr(LanguageModelRunner, "prefill", kept)
    rows = _rows(Decoding(5))
    Decoder(StandIn(tiny_llm(kind)), PROCESSOR)._read(rows)
    (shared, logits), (whole, wanted) = found
    assert torch.allclose(logits, wanted, atol=1e-4), float((logits - wanted).abs().max())
    assert shared.lengths == whole.lengths
    for ours, theirs in zip(kv.self_layers(shared.cache), kv.self_layers(whole.cache)):
        assert ours.keys.shape == theirs.keys.shape
        for position, length in enumerate(shared.lengths):
            own = slice(-length, None)
            assert torch.allclose(ours.keys[position, :, own], theirs.keys[position, :, own], atol=1e-4)
            assert torch.allclose(ours.values[position, :, own], theirs.values[position, :, own], atol=1e-4)


@pytest.mark.parametrize("kind", CAUSAL)
@pytest.mark.parametrize("beams", [1, 4])
def test_answers_are_those_of_each_row_alone(kind: str, beams: int) -> None:
    model = StandIn(tiny_llm(kind))
    rows = _rows(Decoding(9, beams=beams))
    assert shared_prefixes(rows, reads_prompt=False) is not None
    found = Decoder(model, PROCESSOR).run(rows)
    alone = {row.key: Decoder(model, PROCESSOR).run([row])[row.key] for row in rows}
    assert {key: answer.ids for key, answer in found.items()} == {key: answer.ids for key, answer in alone.items()}
    assert len({answer.ids for answer in found.values()}) >= 5


def test_a_shared_beginning_passes_the_llm_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[tuple[int, ...]] = []
    run = LanguageModelRunner._run

    def watched(self: LanguageModelRunner, flight: Any, positions: Any, *args: Any, **kwargs: Any) -> Any:
        fed.append(tuple(positions.shape))
        return run(self, flight, positions, *args, **kwargs)

    monkeypatch.setattr(LanguageModelRunner, "_run", watched)
    rows = [text_row(str(i), FIRST + tail, Decoding(4)) for i, tail in enumerate(TAILS)]
    Decoder(StandIn(tiny_llm("llama")), PROCESSOR).add(rows)
    assert fed == [(1, 24), (5, 6)]


def test_each_row_keeps_a_token_of_its_own() -> None:
    same = [text_row(str(i), FIRST, Decoding()) for i in range(3)]
    assert shared_prefixes(same, reads_prompt=False) == Prefixes((0, 0, 0), (len(FIRST) - 1,))
    longer = [*same, text_row("longer", FIRST + TAILS[0], Decoding())]
    assert shared_prefixes(longer, reads_prompt=False) == Prefixes((0, 0, 0, 0), (len(FIRST) - 1,))


def test_little_in_common_is_not_shared() -> None:
    rows = [text_row(str(i), ids, Decoding()) for i, ids in enumerate(prompts((30, 28, 30, 29)))]
    assert shared_prefixes(rows, reads_prompt=False) is None
    short = [text_row(str(i), FIRST[:6] + tail, Decoding()) for i, tail in enumerate(TAILS)]
    assert shared_prefixes(short, reads_prompt=False) is None
    assert shared_prefixes([text_row("one", FIRST, Decoding())], reads_prompt=False) is None


def _pictured(key: str, tail: tuple[int, ...], features: VisionFeatures) -> Row:
    image = ImageRef("a.png", data=b"a")
    return Row(key, Sample(key, (99,) * 30 + tail, (), (image,), "eng_Latn"), features, Decoding())


def test_rows_that_show_other_pictures_share_nothing_though_their_ids_are_alike() -> None:
    one, other = _features(), _features()
    shown = (one, one, other, one, other, other)
    rows = [_pictured(str(i), (i + 3, 5), features) for i, features in enumerate(shown)]
    assert shared_prefixes(rows, reads_prompt=False) == Prefixes((0, 0, 1, 0, 1, 1), (30, 30))


def test_a_connector_that_reads_the_prompt_makes_pictures_unshareable() -> None:
    one = _features()
    rows = [_pictured(str(i), (i + 3, 5), one) for i in range(4)]
    assert shared_prefixes(rows, reads_prompt=False) is not None
    assert shared_prefixes(rows, reads_prompt=True) is None


@pytest.mark.parametrize("reads_prompt", [False, True])
def test_a_picture_in_several_languages_is_answered_as_alone(reads_prompt: bool) -> None:
    built = build_tiny(llm="llama")
    model = built.model
    if reads_prompt:
        connector = PromptReader(24, 32, 4)
        model.connector = connector.eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in [*model.language_model.parameters(), *model.connector.parameters()]:
            if parameter.dim() > 1:
                parameter.normal_(0, 0.3)
        features = [model.encode_images(torch.randn(1, 3, 32, 32)) for _ in range(2)]
    image = ImageRef("a.png", data=b"a")
    rows = []
    for position, tail in enumerate(prompts((14, 12, 15, 13), seed=11)):
        for number, shown in enumerate(features):
            key = f"{position} {number}"
            ids = (model.config.image_token_id,) * 4 + FIRST[:20] + tail
            rows.append(Row(key, Sample(key, ids, (), (image,), "eng_Latn"), shown, Decoding(8)))
    assert (shared_prefixes(rows, reads_prompt=model.connector.needs_context) is None) == reads_prompt
    found = Decoder(model, built.processor).run(rows)
    alone = {row.key: Decoder(model, built.processor).run([row])[row.key] for row in rows}
    assert {key: answer.ids for key, answer in found.items()} == {key: answer.ids for key, answer in alone.items()}
    assert len({answer.ids for answer in found.values()}) > 4


# --- encoder-decoder -------------------------------------------------------------------------------------------------


def test_equal_prompts_are_one_unless_they_show_other_pictures() -> None:
    one, other = _features(), _features()
    rows = [
        _pictured("a", (3,), one),
        _pictured("b", (4,), one),
        _pictured("c", (3,), other),
        _pictured("d", (3,), one),
        text_row("e", (3,), Decoding()),
    ]
    distinct, entries = distinct_prompts(rows)
    assert [row.key for row in distinct] == ["a", "b", "c", "e"]
    assert entries == [0, 1, 2, 0, 3]


@pytest.mark.parametrize("kind", ["mt5", "umt5", "bart"])
def test_equal_prompts_are_encoded_once_and_answered_as_alone(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = StandIn(tiny_llm(kind))
    settings = (
        Decoding(12, temperature=1.5, seed=1),
        Decoding(9),
        Decoding(12, temperature=1.5, seed=2),
        Decoding(7, beams=3),
        Decoding(12, repetition_penalty=1.8),
    )
    ids = (FIRST, SECOND, FIRST, FIRST, SECOND)
    rows = [text_row(str(i), row, decoding) for i, (row, decoding) in enumerate(zip(ids, settings))]
    alone = {row.key: Decoder(model, PROCESSOR).run([row])[row.key] for row in rows}
    encoded: list[int] = []
    embed = decoder.embed_prompts

    def counted(model: Any, distinct: Any, *args: Any) -> Any:
        encoded.append(len(distinct))
        return embed(model, distinct, *args)

    monkeypatch.setattr(decoder, "embed_prompts", counted)
    found = Decoder(model, PROCESSOR).run(rows)
    assert encoded == [2]
    assert {key: answer.ids for key, answer in found.items()} == {key: answer.ids for key, answer in alone.items()}
    assert found["0"].ids != found["2"].ids


def test_prompts_that_nobody_reads_any_more_are_forgotten() -> None:
    decoding = Decoding(20, min_new_tokens=20)
    ids = (FIRST, SECOND, SECOND, FIRST, TAILS[0])
    rows = [text_row(str(i), row, decoding) for i, row in enumerate(ids)]
    running = Decoder(StandIn(tiny_llm("mt5")), PROCESSOR)
    running.add(rows)
    flight = running._flights[0]

    def held() -> tuple[int, list[int], list[int]]:
        assert flight.memory is not None
        assert {len(layer.keys) for layer in kv.cross_layers(flight.cache)} == {len(flight.memory)}
        return len(flight.memory), flight.entries, flight.memory_lengths

    assert held() == (3, [0, 1, 1, 0, 2], [24, 19, 3])
    running.drop(["0"])
    assert held() == (3, [0, 0, 1, 2], [19, 24, 3])  # counted in the order of the rows
    running.drop(["3"])
    assert held() == (2, [0, 0, 1], [19, 3])
    running.drop(["1", "2"])
    assert held() == (1, [0], [3])
    assert flight.memory is not None
    assert flight.memory.shape[1] == 3

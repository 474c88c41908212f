"""A memory of phrases decides for all tokens of a picture together."""

from __future__ import annotations

import pytest
import torch
from tests.tiny import tiny_section

from visiglot.config import ModelSection
from visiglot.errors import ModelError
from visiglot.models.build import build_model
from visiglot.models.connectors.memory import PhraseMemory
from visiglot.models.connectors.qformer import QFormerConnector


def make(phrases: int = 5, tokens: int = 3) -> PhraseMemory:
    torch.manual_seed(0)
    memory = PhraseMemory(8, 6, phrases, tokens)
    memory.requires_grad_(False)
    memory.keys.copy_(torch.eye(8)[:phrases] - 1 / 8)  # as a layer norm leaves them: without mean
    return memory


def test_a_picture_like_a_key_gets_the_tokens_of_its_phrase() -> None:
    memory = make()
    torch.testing.assert_close(memory(memory.keys), memory.values, atol=1e-4, rtol=0)


def test_a_picture_between_two_keys_gets_one_phrase_not_words_of_both() -> None:
    memory = make()
    unsure = 0.52 * memory.keys[:1] + 0.48 * memory.keys[1:2]
    (tokens,) = memory(unsure)
    assert memory.scores(unsure).softmax(-1).max() < 0.95
    torch.testing.assert_close(tokens, memory.values[0], atol=0.15, rtol=0)
    less_sharp = torch.einsum("im,mkd->ikd", memory.scores(unsure).softmax(-1), memory.values)[0]
    assert (less_sharp - memory.values[0]).abs().max() > 0.3


def test_a_qformer_puts_the_memorys_tokens_first() -> None:
    torch.manual_seed(0)
    options = {"num_queries": 2, "width": 16, "layers": 1, "heads": 2}
    connector = QFormerConnector(8, 6, pooled_tokens=3, pooled_phrases=5, **options)
    assert connector.memory is connector.pooled
    assert connector.num_tokens(4, (2, 2)) == 5
    assert QFormerConnector(8, 6, pooled_tokens=3, **options).memory is None


@pytest.mark.parametrize("options", [{}, {"pooled_tokens": 3, "pooled_width": 4}])
def test_options_that_exclude_each_other_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ModelError, match="pooled_phrases needs pooled_tokens, and excludes pooled_width"):
        QFormerConnector(8, 16, width=16, heads=2, layers=1, pooled_phrases=5, **options)


def test_its_values_start_at_the_scale_of_the_language_models_words() -> None:
    values = tiny_section("resnet", "llama").model_dump(by_alias=True)
    values["connector"]["options"] |= {"pooled_tokens": 2, "pooled_phrases": 40}
    texts = ["dog cat mouse elephant house tree car train ship fish red green blue yellow"] * 3
    model = build_model(ModelSection.model_validate(values), languages=["eng_Latn"], seed=0, texts=lambda: texts).model
    words = model.get_input_embeddings().weight.std()
    assert 0.8 < (model.connector.memory.values.std() / words).item() < 1.25

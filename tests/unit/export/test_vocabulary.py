from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tests.tiny import TEXTS
from tests.unit.export.conftest import GERMAN, Make, untie
from torch import nn

from visiglot.errors import ModelError
from visiglot.export import vocabulary as vocabularies
from visiglot.export.counting import Kept, Texts, keep_files
from visiglot.export.export import export_model
from visiglot.export.pieces import Cut
from visiglot.export.prepare import merge, settle_answers
from visiglot.export.tables import Tables, put_tables, read_tables
from visiglot.export.targets import TARGETS
from visiglot.export.vocabulary import change_vocabulary

RUSSIAN = [TEXTS[4]]
PAIRS = [
    ("blip2", "blip2", "mt5", "qformer", "unigram"),
    ("blip2", "blip2", "bloom", "qformer", "byte-level"),
    ("llava", "clip", "llama", "mlp", "byte-fallback"),
    ("visiglot", "vit", "t5", "linear", "unigram"),
]


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    """German and Russian, a file each."""
    for code, texts in (("de", GERMAN), ("ru", RUSSIAN)):
        (tmp_path / f"{code}.txt").write_text("\n".join(texts), encoding="utf-8")
    return keep_files(["deu_Latn", "rus_Cyrl"], [f"de={tmp_path / 'de.txt'}", f"ru={tmp_path / 'ru.txt'}"])


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(("to", "vision", "llm", "connector", "tokenizer"), PAIRS)
def test_a_trimmed_export_is_the_model_with_fewer_rows(
    make: Make, kept: Kept, tmp_path: Path, to: str, vision: str, llm: str, connector: str, tokenizer: str
) -> None:
    built = make(vision, llm, connector, tokenizer=tokenizer)
    full = built.processor.tokenizer
    rows = built.model.get_input_embeddings().weight.shape[0]
    width, tied = built.model.config.text_width, built.model.config.tie_word_embeddings
    done = export_model(built.model, built.processor, TARGETS.get(to), tmp_path / "out", kept=kept)
    assert done.verdict.apart <= 5e-4
    assert done.vocabulary.after.rows % 8 == 0
    saved = (rows - done.vocabulary.after.rows) * width * (1 if tied else 2)
    assert done.vocabulary.saved_parameters == saved > 0
    assert done.vocabulary.saved_bytes == 4 * saved
    assert f"{saved:,} parameters and {4 * saved:,} bytes less" in done.said
    trimmed = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    for text in (*GERMAN, *RUSSIAN):
        assert trimmed.tokenize(text) == full.tokenize(text)
        assert trimmed.decode(trimmed.encode(text, add_special_tokens=False)) == full.decode(
            full.encode(text, add_special_tokens=False)
        )
    config = transformers.AutoConfig.from_pretrained(tmp_path / "out")
    assert config.text_config.vocab_size == done.vocabulary.after.rows
    assert trimmed.convert_tokens_to_ids("<image>") == config.image_token_id < config.text_config.vocab_size
    assert config.text_config.eos_token_id == trimmed.eos_token_id


@torch.inference_mode()
@pytest.mark.parametrize(("to", "vision", "llm", "connector", "tokenizer"), PAIRS)
def test_logits_of_kept_tokens_are_those_of_the_full_model(
    make: Make, kept: Kept, to: str, vision: str, llm: str, connector: str, tokenizer: str
) -> None:
    built, before = (make(vision, llm, connector, tokenizer=tokenizer, lora=False) for _ in range(2))
    found = change_vocabulary(built.model, built.processor, kept=kept, placeholder=True)
    old = torch.tensor(found.old_ids)
    new = torch.arange(len(found.old_ids))[old < before.model.config.text_config.vocab_size][:-1]
    prompt = found.processor.tokenizer.encode(GERMAN[0], add_special_tokens=False)
    ids = torch.tensor([prompt])
    start = torch.tensor([[found.processor.tokenizer.pad_token_id or 0, *prompt]])
    more = (
        ({"decoder_input_ids": start}, {"decoder_input_ids": old[start]})
        if built.model.layout == "seq2seq"
        else ({}, {})
    )
    trimmed = built.model(ids, **more[0]).logits
    full = before.model(old[ids], **more[1]).logits
    assert (trimmed[..., new] - full[..., old[new]]).abs().max() < 1e-5


def test_a_head_of_its_own_is_trimmed_by_itself(make: Make, kept: Kept) -> None:
    built = make("blip2", "mt5", "qformer", lora=False)
    untie(built.model)
    llm = built.model.language_model
    head, table = llm.lm_head.weight.clone(), llm.shared.weight.clone()
    found = change_vocabulary(built.model, built.processor, kept=kept, placeholder=True)
    old = torch.tensor(found.old_ids)
    assert torch.equal(llm.lm_head.weight[: len(old)], head[old])
    assert torch.equal(llm.shared.weight[: len(old)], table[old])
    assert llm.encoder.embed_tokens.weight is llm.shared.weight
    assert llm.decoder.embed_tokens.weight is llm.shared.weight
    assert llm.lm_head.weight is not llm.shared.weight


def test_a_tied_head_stays_the_embedding(make: Make, kept: Kept) -> None:
    built = make("blip2", "bloom", "qformer", tokenizer="byte-level", lora=False)
    change_vocabulary(built.model, built.processor, kept=kept, placeholder=True)
    llm = built.model.language_model
    assert llm.lm_head.weight is llm.get_input_embeddings().weight


def test_ids_in_configs_follow_their_tokens(make: Make, kept: Kept) -> None:
    built = make("clip", "llama", "mlp", tokenizer="byte-level", lora=False)
    tokenizer, llm = built.processor.tokenizer, built.model.language_model
    last = len(tokenizer) - 1
    llm.generation_config.suppress_tokens = [last, tokenizer.unk_token_id]
    settle_answers(built.model, built.processor)
    found = change_vocabulary(built.model, built.processor, kept=kept, placeholder=True)
    changed = llm.generation_config.suppress_tokens
    assert [found.old_ids[id_] for id_ in changed] == [last, tokenizer.unk_token_id]
    assert changed[0] < last
    for config in (built.model.config.text_config, llm.config, llm.generation_config):
        assert found.old_ids[config.eos_token_id] == tokenizer.eos_token_id


def test_the_card_s_languages_are_the_kept_ones(make: Make, kept: Kept) -> None:
    built = make("vit", "t5", "linear", lora=False)
    change_vocabulary(built.model, built.processor, kept=kept, placeholder=False)
    assert built.model.config.languages == ["deu_Latn", "rus_Cyrl"]


# --- refusals --------------------------------------------------------------------------------------------------------


class QuantizedHead(nn.Linear):
    """As quantising libraries make them: a linear layer of another kind."""


def test_a_quantised_head_is_refused(make: Make, kept: Kept) -> None:
    built = make("clip", "llama", "mlp", lora=False)
    built.model.language_model.lm_head.__class__ = QuantizedHead
    with pytest.raises(ModelError, match=r"its head is quantised or no plain layer \(QuantizedHead"):
        change_vocabulary(built.model, built.processor, kept=kept, placeholder=True)


def test_sizes_that_make_no_sense_are_refused(make: Make, kept: Kept) -> None:
    built = make("clip", "llama", "mlp", lora=False)
    head = built.model.language_model.lm_head
    head.weight = nn.Parameter(head.weight[:-3].clone())
    with pytest.raises(ModelError, match=r"its vocabulary makes no sense: .* its head has 362 tokens"):
        change_vocabulary(built.model, built.processor, kept=kept, placeholder=True)


def test_a_tokenizer_with_tokens_that_have_no_row_is_refused(make: Make, kept: Kept) -> None:
    built = make("clip", "llama", "mlp", lora=False)
    built.processor.tokenizer.add_tokens(["<one>", "<two>"])
    with pytest.raises(ModelError, match=r"has 365 rows, 2 tokens of its tokenizer none \('<one>', '<two>'\)"):
        change_vocabulary(built.model, built.processor, kept=kept, placeholder=True)


def test_image_tokens_made_of_all_words_are_refused(make: Make, kept: Kept) -> None:
    built = make("vit", "t5", "linear", lora=False, connector={"words": 0.1})
    with pytest.raises(ModelError, match="mixtures of all its words"):
        change_vocabulary(built.model, built.processor, kept=kept, placeholder=False)


def test_a_cut_that_would_change_a_kept_text_is_refused(
    make: Make, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = make("clip", "llama", "mlp", lora=False)
    cut = vocabularies.cut_tokenizer

    def short(tokenizer: Any, ids: set[int]) -> Cut:
        return cut(tokenizer, sorted(ids)[: len(ids) // 2])

    monkeypatch.setattr(vocabularies, "cut_tokenizer", short)
    with pytest.raises(ModelError, match=r"would become .*, it is "):
        change_vocabulary(built.model, built.processor, kept=kept, placeholder=True)


@pytest.mark.usefixtures("in_this_process")
def test_a_model_whose_logits_change_is_refused(
    make: Make, kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = Tables.take

    def wrong(self: Tables, rows: list[int]) -> Tables:
        return take(self, [rows[0], *rows[:-1]])

    monkeypatch.setattr(Tables, "take", wrong)
    built = make("blip2", "mt5", "qformer")
    with pytest.raises(ModelError, match=r"with its new vocabulary the model's logits differ by \d"):
        export_model(built.model, built.processor, TARGETS.get("blip2"), tmp_path / "out", kept=kept)
    assert not (tmp_path / "out").exists()


# --- tables ----------------------------------------------------------------------------------------------------------


def test_an_embedding_that_was_duplicated_is_replaced_everywhere(make: Make) -> None:
    llm = make("blip2", "mt5", "qformer", lora=False).model.language_model
    llm.encoder.embed_tokens = nn.Embedding.from_pretrained(llm.shared.weight.data.clone())
    put_tables(llm, read_tables(llm).take([0, 1, 2, 3]))
    assert llm.encoder.embed_tokens.weight.shape[0] == llm.lm_head.weight.shape[0] == 4


def test_a_bias_of_the_logits_is_trimmed_too() -> None:
    config = transformers.BartConfig(
        vocab_size=12, d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=1,
        decoder_attention_heads=1, encoder_ffn_dim=8, decoder_ffn_dim=8, max_position_embeddings=16,
    )  # fmt: skip
    llm = transformers.BartForConditionalGeneration(config)
    llm.final_logits_bias = torch.arange(12.0)[None]
    put_tables(llm, read_tables(llm).take([3, 5]))
    assert llm.final_logits_bias.tolist() == [[3.0, 5.0]]


def test_merging_gives_one_number_format(make: Make) -> None:
    model = make("clip", "llama", "mlp").model
    merge(model, "bf16")
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.bfloat16}
    assert model.config.lora is None


def test_texts_are_read_anew_each_time(kept: Kept) -> None:
    (german, _) = kept.texts
    assert isinstance(german, Texts)
    assert list(german.read()) == list(german.read()) == GERMAN

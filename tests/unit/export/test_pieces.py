from __future__ import annotations

from typing import Any

import pytest
from tests.tiny import TEXTS
from tests.unit.export.conftest import GERMAN, TOKENIZERS

from visiglot.errors import ModelError
from visiglot.export.pieces import cut_tokenizer, refuse_uncuttable

KINDS = list(TOKENIZERS)


def ids_of(tokenizer: Any, texts: list[str]) -> set[int]:
    return {id_ for text in texts for id_ in tokenizer.encode(text, add_special_tokens=False)}


@pytest.mark.parametrize("kind", KINDS)
def test_kept_texts_are_cut_into_the_same_tokens_under_new_ids(kind: str) -> None:
    tokenizer = TOKENIZERS[kind]()
    cut = cut_tokenizer(tokenizer, ids_of(tokenizer, GERMAN))
    assert len(cut.tokenizer) == len(cut.old_ids) < len(tokenizer)
    for text in GERMAN:
        ids = cut.tokenizer.encode(text, add_special_tokens=False)
        assert cut.tokenizer.tokenize(text) == tokenizer.tokenize(text)
        assert [cut.old_ids[id_] for id_ in ids] == tokenizer.encode(text, add_special_tokens=False)
        assert cut.tokenizer.decode(ids) == tokenizer.decode([cut.old_ids[id_] for id_ in ids])


@pytest.mark.parametrize("kind", KINDS)
def test_every_other_text_comes_back_whole_from_smaller_pieces(kind: str) -> None:
    tokenizer = TOKENIZERS[kind]()
    cut = cut_tokenizer(tokenizer, ids_of(tokenizer, GERMAN)).tokenizer
    for text in [*TEXTS, "Ω≈ç√ 🦜", "日本語"]:
        ids = cut.encode(text, add_special_tokens=False)
        assert cut.decode(ids) == tokenizer.decode(tokenizer.encode(text, add_special_tokens=False))
        assert cut.unk_token_id not in ids


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_are_kept_and_written_where_they_were(kind: str) -> None:
    tokenizer = TOKENIZERS[kind]()
    tokenizer.add_tokens(["<extra>"], special_tokens=True)
    cut = cut_tokenizer(tokenizer, ids_of(tokenizer, GERMAN))
    for token in ("<extra>", *tokenizer.special_tokens_map.values()):
        assert cut.old_ids[cut.tokenizer.convert_tokens_to_ids(token)] == tokenizer.convert_tokens_to_ids(token)
    assert cut.tokenizer.special_tokens_map == tokenizer.special_tokens_map
    assert [cut.old_ids[id_] for id_ in cut.tokenizer("Hund<extra>").input_ids] == tokenizer("Hund<extra>").input_ids


def test_tokens_that_only_the_post_processor_names_are_kept() -> None:
    from tokenizers import processors

    tokenizer = TOKENIZERS["byte-level"]()
    begin, end = tokenizer.tokenize("dog")[0], tokenizer.tokenize("Haus")[0]
    named = [(token, tokenizer.convert_tokens_to_ids(token)) for token in (begin, end)]
    tokenizer.backend_tokenizer.post_processor = processors.RobertaProcessing(named[1], named[0])
    cut = cut_tokenizer(tokenizer, [])
    assert cut.tokenizer.convert_ids_to_tokens(cut.tokenizer("").input_ids) == [begin, end]


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_keep_their_order(kind: str) -> None:
    tokenizer = TOKENIZERS[kind]()
    old_ids = cut_tokenizer(tokenizer, ids_of(tokenizer, GERMAN)).old_ids
    assert list(old_ids) == sorted(old_ids)


def test_all_tokens_on_the_way_to_a_kept_one_are_kept() -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    merges = [("a", "b"), ("c", "d"), ("ab", "cd"), ("b", "c"), ("abcd", "a")]
    vocabulary = ["a", "b", "c", "d", "ab", "cd", "abcd", "bc", "abcda"]
    made = Tokenizer(models.BPE({token: id_ for id_, token in enumerate(vocabulary)}, merges))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made)
    cut = cut_tokenizer(tokenizer, [vocabulary.index("abcd")]).tokenizer
    assert sorted(cut.get_vocab()) == ["a", "ab", "abcd", "b", "c", "cd", "d"]
    assert cut.tokenize("abcd") == ["abcd"]
    assert cut.tokenize("abcda") == ["abcd", "a"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_tokenizer_is_the_same_after_it_was_saved(kind: str, tmp_path: Any) -> None:
    from transformers import AutoTokenizer

    tokenizer = TOKENIZERS[kind]()
    cut = cut_tokenizer(tokenizer, ids_of(tokenizer, GERMAN)).tokenizer
    cut.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again.get_vocab() == cut.get_vocab()
    assert [again(text).input_ids for text in TEXTS] == [cut(text).input_ids for text in TEXTS]


def test_other_kinds_of_tokenizers_are_refused_by_name() -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, unk_token="a")))
    with pytest.raises(ModelError, match="its tokenizer is 'WordLevel'"):
        refuse_uncuttable(words)
    marked = Tokenizer(models.BPE({"a": 0}, [], end_of_word_suffix="</w>"))
    with pytest.raises(ModelError, match="its pieces are marked by end_of_word_suffix"):
        cut_tokenizer(PreTrainedTokenizerFast(tokenizer_object=marked), [0])
    with pytest.raises(ModelError, match="is no fast tokenizer"):
        cut_tokenizer(object(), [0])

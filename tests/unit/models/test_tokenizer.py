from __future__ import annotations

import unicodedata

import pytest
from tests.tiny import TEXTS

from visiglot.errors import ModelError
from visiglot.models.tokenizer import train_tokenizer


def test_every_text_survives_a_round_trip_even_with_characters_never_seen() -> None:
    tokenizer = train_tokenizer(TEXTS, 420)
    for text in ("dog", "Größe mit Maß", "ሰላም ልዑል", "你好，世界", "👩‍🌾 and more", "دجاجة"):
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids) == text


def test_text_is_put_into_nfc() -> None:
    tokenizer = train_tokenizer(TEXTS, 420)
    decomposed = unicodedata.normalize("NFD", "ratón")
    assert tokenizer.decode(tokenizer.encode(decomposed, add_special_tokens=False)) == "ratón"


def test_the_same_texts_in_any_order_give_the_same_pieces() -> None:
    one, other = train_tokenizer(TEXTS, 420), train_tokenizer(TEXTS[::-1], 420)
    assert one.get_vocab() == other.get_vocab()


def test_it_is_the_same_after_saving(tmp_path: object) -> None:
    from transformers import AutoTokenizer

    tokenizer = train_tokenizer(TEXTS, 420)
    tokenizer.save_pretrained(str(tmp_path))
    again = AutoTokenizer.from_pretrained(str(tmp_path))
    text = "Caption in German: собака 犬"
    assert again.encode(text) == tokenizer.encode(text)
    assert (again.pad_token_id, again.eos_token_id) == (0, 1)


def test_no_text_is_an_error() -> None:
    with pytest.raises(ModelError, match="no text"):
        train_tokenizer([""], 400)

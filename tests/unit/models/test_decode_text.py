"""Text comes in whole characters, and the pieces make up the answer."""

from __future__ import annotations

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from visiglot.models.decode import TextStream
from visiglot.models.decode.text import decode_text

TEXTS = [
    "a red fish",
    "ein grüner Käfer",
    "красная рыба",
    "一条红色的鱼🐟和👩‍🚀",
    "سمكة حمراء",
    "लाल मछली है",
    "fish  and   chips , isn ' t it ?",
    "🇩🇪🐟",
]


def _byte_level() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(TEXTS[:2], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>")


def _byte_fallback() -> PreTrainedTokenizerFast:
    bytes_ = [f"<0x{i:02X}>" for i in range(256)]
    known = ["</s>", "<unk>", *bytes_, "▁", *"abcdefghijklmnopqrstuvwxyzрыба", "▁fish", "▁a"]
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(known)}, [], unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens([AddedToken("</s>", special=True)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>")


TOKENIZERS = {"byte level": _byte_level, "byte fallback": _byte_fallback}


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_the_pieces_joined_are_the_text_and_none_holds_half_a_character(kind: str, text: str) -> None:
    tokenizer = TOKENIZERS[kind]()
    ids = [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]
    stream = TextStream(tokenizer)
    pieces = [stream.push([token]) for token in ids]
    pieces.append(stream.flush())
    assert "".join(pieces) == decode_text(tokenizer, ids) == text
    assert "\ufffd" not in "".join(pieces)
    assert sum(bool(piece) for piece in pieces) > 1


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_character_cut_off_at_the_end_comes_as_a_replacement_at_the_flush(kind: str) -> None:
    tokenizer = TOKENIZERS[kind]()
    ids = tokenizer.encode("a🐟", add_special_tokens=False)[:-1]
    stream = TextStream(tokenizer)
    assert "".join(stream.push([token]) for token in ids) == "a"
    assert set(stream.flush()) == {"\ufffd"}


def test_white_space_at_the_ends_is_left_out_and_inside_is_kept() -> None:
    tokenizer = _byte_level()
    ids = tokenizer.encode("  a fish \n", add_special_tokens=False)
    stream = TextStream(tokenizer)
    assert "".join([*(stream.push([token]) for token in ids), stream.flush()]) == "a fish"


def test_a_stream_goes_on_after_bytes_that_are_no_text() -> None:
    """A byte that fits nowhere makes those before it malformed, whose character was given; the rest still comes."""
    tokenizer = _byte_fallback()
    ids = tokenizer.convert_tokens_to_ids(["<0xE4>", "<0xBD>", "<0xA0>", "<0xFF>", "▁fish", "</s>"])
    stream = TextStream(tokenizer)
    pieces = [stream.push([token]) for token in ids]
    pieces.append(stream.flush())
    assert pieces[2] == "你"
    assert "".join(pieces).endswith(" fish")
    assert decode_text(tokenizer, ids).endswith(" fish")

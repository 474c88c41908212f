"""A tokenizer trained on a recipe's own texts: SentencePiece unigram with byte fallback, as a stock fast tokenizer.

Unigram: Kudo (2018), arXiv 1804.10959. Byte fallback keeps every text lossless, whatever the vocabulary.
"""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Iterable
from typing import Any

from visiglot.errors import MissingExtraError, ModelError

PAD, EOS, UNKNOWN = 0, 1, 2
SPACE = "▁"


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Any:
    """Train a `PreTrainedTokenizerFast` of at most `vocabulary` pieces (T5's special tokens: <pad>, </s>, <unk>).

    The same texts give the same tokenizer. Text is put into NFC and otherwise left alone.

    Raises:
        MissingExtraError: sentencepiece isn't installed.
        ModelError: the texts are too few or empty.
    """
    try:
        import sentencepiece
    except ModuleNotFoundError as error:
        raise MissingExtraError("sentencepiece (it trains tokenizers)", "train") from error
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    lines = sorted({unicodedata.normalize("NFC", text) for text in texts} - {""})
    if not lines:
        raise ModelError("language_model.tokenizer: there is no text to train a tokenizer on")
    buffer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=buffer,
        model_type="unigram",
        vocab_size=vocabulary,
        hard_vocab_limit=False,
        byte_fallback=True,
        character_coverage=0.9995,
        normalization_rule_name="identity",
        split_by_unicode_script=True,
        pad_id=PAD,
        eos_id=EOS,
        unk_id=UNKNOWN,
        bos_id=-1,
        pad_piece="<pad>",
        eos_piece="</s>",
        unk_piece="<unk>",
        num_threads=1,
        max_sentence_length=16384,
        minloglevel=2,
    )
    trained = sentencepiece.SentencePieceProcessor(model_proto=buffer.getvalue())
    pieces = [(trained.id_to_piece(index), trained.get_score(index)) for index in range(trained.get_piece_size())]

    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=UNKNOWN, byte_fallback=True))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always")
    tokenizer.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace(replacement=SPACE, prepend_scheme="always")]
    )
    tokenizer.add_special_tokens([AddedToken(piece, special=True) for piece in ("<pad>", "</s>", "<unk>")])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=4096,
        clean_up_tokenization_spaces=False,
    )

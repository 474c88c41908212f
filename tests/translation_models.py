"""Tiny translation models of the true architectures with random weights, as save_pretrained writes them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

FAMILIES = ("nllb", "m2m100", "madlad", "marian")

WIDTH = 32
_WEIGHTS = {"nllb": (0.4, 2.0), "m2m100": (0.4, 3.0), "madlad": (0.3, 2.0), "marian": (0.2, 3.0)}
"""How far weights are spread, and what the end token's vector is times: so that outputs vary and come to an end."""

POSITIONS = 96


def texts(count: int, seed: int = 0, longest: int = 12) -> list[str]:
    """Texts of made-up words, of 1 to `longest` words."""
    draw = random.Random(seed)
    words = ["".join(draw.choices("abcdefghijklmnop", k=draw.randint(2, 6))) for _ in range(60)]
    return [" ".join(draw.choices(words, k=draw.randint(1, longest))) for _ in range(count)]


def write_model(family: str, folder: Path, *, ends: bool = True, seed: int = 0) -> Path:
    """A model of a family in `folder`.

    Args:
        ends: False: it never says the end token.
    """
    from transformers import set_seed

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer, build = _BUILDERS[family](folder)
    set_seed(seed)
    model = build()
    spread, end = _WEIGHTS[family]
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.dim() > 1:
                weights.normal_(std=0.1 if "shared" in name else spread)
        head = model.get_output_embeddings().weight
        head[tokenizer.eos_token_id] *= end if ends else 0.0
        head[tokenizer.pad_token_id] = 0.0  # never said; Marian's decoder starts from nothing
        head[len(tokenizer) + len(getattr(tokenizer, "lang_token_to_id", ())) :] = 0.0  # tokens that only fill up
    tokenizer.model_max_length = POSITIONS
    tokenizer.save_pretrained(folder)
    model.eval().save_pretrained(folder)
    return folder


def _bart(kind: str, vocabulary: int, **more: Any) -> Callable[[], Any]:
    import transformers

    sizes = {
        "d_model": WIDTH,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 2 * WIDTH,
        "decoder_ffn_dim": 2 * WIDTH,
        "max_position_embeddings": POSITIONS,
        "vocab_size": vocabulary,
    }
    config, model = {
        "m2m": (transformers.M2M100Config, transformers.M2M100ForConditionalGeneration),
        "marian": (transformers.MarianConfig, transformers.MarianMTModel),
    }[kind]
    return lambda: model(config(**sizes, **more))


def _nllb(folder: Path) -> tuple[Any, Callable[[], Any]]:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import NllbTokenizer

    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trained.train_from_iterator(texts(300), trainers.BpeTrainer(vocab_size=150, special_tokens=special))
    state = json.loads(trained.to_str())["model"]
    tokenizer = NllbTokenizer(vocab=state["vocab"], merges=[tuple(pair) for pair in state["merges"]])
    return tokenizer, _bart("m2m", len(tokenizer) + 2)


def _m2m100(folder: Path) -> tuple[Any, Callable[[], Any]]:
    from transformers import M2M100Tokenizer

    pieces = _sentencepiece(folder / "sentencepiece.bpe.model", model_type="bpe")
    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
    vocabulary.update({piece: number + 1 for number, piece in enumerate(pieces) if number >= 3})
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    tokenizer = M2M100Tokenizer(str(folder / "vocab.json"), str(folder / "sentencepiece.bpe.model"))
    return tokenizer, _bart("m2m", len(vocabulary) + len(tokenizer.lang_code_to_token) + 8)


def _madlad(folder: Path) -> tuple[Any, Callable[[], Any]]:
    from sentencepiece import SentencePieceProcessor
    from transformers import T5Config, T5ForConditionalGeneration, T5Tokenizer

    marks = [f"<2{code}>" for code in ("en", "de", "sw", "zh", "zh_Hant", "no", "ku", "fil")]
    ids = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
    pieces = _sentencepiece(folder / "spiece.model", user_defined_symbols=marks, **ids)
    scores = SentencePieceProcessor(model_file=str(folder / "spiece.model"))
    vocabulary = [(piece, scores.get_score(number)) for number, piece in enumerate(pieces)]
    tokenizer = T5Tokenizer(vocab=vocabulary, extra_ids=0)
    config = T5Config(
        vocab_size=len(vocabulary) + 6,
        d_model=WIDTH,
        d_kv=16,
        d_ff=2 * WIDTH,
        num_layers=2,
        num_heads=2,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=1,
    )
    return tokenizer, lambda: T5ForConditionalGeneration(config)


def _marian(folder: Path) -> tuple[Any, Callable[[], Any]]:
    from transformers import MarianTokenizer

    vocabulary = {"</s>": 0, "<unk>": 1}
    for side in ("source", "target"):
        for piece in _sentencepiece(folder / f"{side}.spm"):
            vocabulary.setdefault(piece, len(vocabulary))
    for mark in (">>deu<<", ">>swa<<", ">>cmn_Hans<<", ">>pt_BR<<", ">>por<<"):
        vocabulary[mark] = len(vocabulary)
    vocabulary["<pad>"] = pad = len(vocabulary)
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    files = [str(folder / name) for name in ("source.spm", "target.spm", "vocab.json")]
    tokenizer = MarianTokenizer(*files, source_lang="eng", target_lang="mul")
    special = {"pad_token_id": pad, "decoder_start_token_id": pad, "eos_token_id": 0, "forced_eos_token_id": 0}
    return tokenizer, _bart("marian", len(vocabulary), scale_embedding=True, **special)


def _sentencepiece(path: Path, **options: Any) -> list[str]:
    """Train a model on made-up texts; its pieces in order."""
    from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

    with path.open("wb") as file:
        SentencePieceTrainer.train(
            sentence_iterator=iter(texts(300)),
            model_writer=file,
            vocab_size=120,
            hard_vocab_limit=False,
            num_threads=1,
            minloglevel=2,
            **{"model_type": "unigram", **options},
        )
    trained = SentencePieceProcessor(model_file=str(path))
    return [trained.id_to_piece(number) for number in range(trained.get_piece_size())]


_BUILDERS = {"nllb": _nllb, "m2m100": _m2m100, "madlad": _madlad, "marian": _marian}

"""Captions as vectors, by tiny random text encoders and by letters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tests.unit.data.captioned import Captioned, Told
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from visiglot.data.mining.encoders import BATCH, Lexical, TextEncoder, Vectors, build_encoder
from visiglot.data.mining.mine import mine
from visiglot.errors import ModelError

WORDS = ["<pad>", "<s>", "</s>", "<unk>", "a", "red", "blue", "dog", "cat", "in", "the", "house"]
TEXTS = ["a red dog", "the cat in the blue house", "a", "dog dog cat"]

_SMALL = {
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_PICTURES = {**{k: v for k, v in _SMALL.items() if k.endswith(("size", "layers", "heads"))}, "image_size": 8}


def tokenizer(length: int) -> Any:
    """One token a word; texts begin with <s> and end with </s>."""
    made = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=length,
    )


def saved(folder: Path, model: Any, length: int = 12) -> str:
    model.eval().save_pretrained(folder)
    tokenizer(length).save_pretrained(folder)
    return str(folder)


def clip() -> Any:
    torch.manual_seed(0)
    text = {**_SMALL, "max_position_embeddings": 12}
    pictures = {**_PICTURES, "patch_size": 4}
    return transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=pictures, projection_dim=10))


def siglip() -> Any:
    torch.manual_seed(0)
    text = {**_SMALL, "max_position_embeddings": 12, "projection_size": 16}
    pictures = {**_PICTURES, "patch_size": 4}
    return transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config=pictures))


def bert() -> Any:
    torch.manual_seed(0)
    return transformers.BertModel(transformers.BertConfig(**_SMALL, max_position_embeddings=12))


def t5() -> Any:
    torch.manual_seed(0)
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}
    return transformers.T5ForConditionalGeneration(
        transformers.T5Config(vocab_size=len(WORDS), pad_token_id=0, eos_token_id=2, decoder_start_token_id=0, **sizes)
    )


KINDS = {"clip": clip, "siglip": siglip, "bert": bert, "t5": t5}


def cosine(one: Vectors, other: Any) -> list[float]:
    other = np.asarray(other, np.float64)
    return [float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for a, b in zip(one, other, strict=True)]


@pytest.mark.parametrize("kind", KINDS)
class TestKind:
    def test_vectors_have_length_one_and_tell_texts_apart(self, tmp_path: Path, kind: str) -> None:
        encoder = build_encoder(saved(tmp_path, KINDS[kind]()), device="cpu", texts=[])
        vectors = encoder(TEXTS)
        assert vectors.shape == (4, encoder.width)
        assert vectors.dtype == np.float32
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
        assert (vectors @ vectors.T - 2 * np.eye(4)).max() < 0.99999

    def test_a_text_s_vector_does_not_depend_on_its_batch_mates(self, tmp_path: Path, kind: str) -> None:
        encoder = TextEncoder(saved(tmp_path, KINDS[kind]()), "cpu")
        together = encoder([TEXTS[n % 4] for n in range(BATCH + 6)])
        alone = np.concatenate([encoder([text]) for text in TEXTS])
        assert np.allclose(together, alone[np.arange(BATCH + 6) % 4], atol=1e-5)

    def test_long_texts_are_cut_and_not_refused(self, tmp_path: Path, kind: str) -> None:
        encoder = TextEncoder(saved(tmp_path, KINDS[kind]()), "cpu")
        vectors = encoder(["dog " * 10, "dog " * 400])
        assert np.allclose(vectors[0], vectors[1], atol=1e-5)


def test_clip_is_read_through_its_projection(tmp_path: Path) -> None:
    model = clip()
    encoder = TextEncoder(saved(tmp_path, model), "cpu")
    tokens = tokenizer(12)(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = model.text_projection(model.text_model(**tokens).pooler_output)
    assert encoder.width == 10
    assert np.allclose(cosine(encoder(TEXTS), expected), 1)


def test_clip_s_text_half_alone_gives_the_same(tmp_path: Path) -> None:
    whole = clip()
    half = transformers.CLIPTextModelWithProjection(
        transformers.CLIPTextConfig(**{**_SMALL, "max_position_embeddings": 12, "projection_dim": 10})
    )
    half.load_state_dict(whole.state_dict(), strict=False)
    first = TextEncoder(saved(tmp_path / "whole", whole), "cpu")(TEXTS)
    assert np.allclose(TextEncoder(saved(tmp_path / "half", half), "cpu")(TEXTS), first, atol=1e-6)


def test_siglip_reads_texts_at_their_full_length(tmp_path: Path) -> None:
    model = siglip()
    encoder = TextEncoder(saved(tmp_path, model), "cpu")
    ids = tokenizer(12)(TEXTS, padding="max_length", max_length=12, return_tensors="pt")
    with torch.no_grad():
        expected = model.get_text_features(**ids).pooler_output
    assert np.allclose(cosine(encoder(TEXTS), expected), 1)


def test_others_are_the_mean_of_their_tokens(tmp_path: Path) -> None:
    model = bert()
    encoder = TextEncoder(saved(tmp_path, model), "cpu")
    with torch.no_grad():
        expected = [model(**tokenizer(12)([t], return_tensors="pt")).last_hidden_state[0].mean(0) for t in TEXTS]
    assert np.allclose(cosine(encoder(TEXTS), torch.stack(expected)), 1)


def test_an_encoder_that_can_not_be_loaded_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"encoder '.*empty' can't be loaded"):
        build_encoder(str(tmp_path / "empty"), device="cpu", texts=[])


def test_vectors_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    model = bert()
    torch.nn.init.constant_(model.encoder.layer[1].output.dense.bias, float("nan"))
    with pytest.raises(ModelError, match="aren't finite"):
        TextEncoder(saved(tmp_path, model), "cpu")


def test_mining_by_a_text_encoder_gives_its_nearest_captions(tmp_path: Path) -> None:
    name = saved(tmp_path / "clip", clip())
    draw = np.random.default_rng(0)
    texts = sorted({" ".join(draw.choice(WORDS[4:], 5)) for _ in range(60)})
    found = mine(
        Captioned([Told(text, f"{n}.jpg") for n, text in enumerate(texts)]),
        name,
        tmp_path / "neighbours",
        ranks=(1, 3),
        block=16,
    )
    vectors = TextEncoder(name, "cpu")(texts).astype(np.float64)
    products = vectors @ vectors.T - 2 * np.eye(len(texts))
    for index in range(len(texts)):
        best = np.sort(products[index])[::-1]
        assert np.allclose([products[index, n] for n in found.rank(index)], best[[0, 2]], atol=1e-6)


class TestLexical:
    def test_a_text_is_nearest_to_itself_and_near_to_its_like(self) -> None:
        texts = ["a red dog runs", "A RED DOG RUNS", "a red dog", "two boats on a lake", "犬が走る", "犬が走った"]
        encoder = build_encoder("lexical", device="cpu", texts=[texts[:3], texts[3:]])
        products = encoder(texts) @ encoder(texts).T
        assert np.allclose(np.diag(products), 1, atol=1e-6)
        assert products[0, 1] > 0.999
        assert products[0, 2] > 0.5 > products[0, 3]
        assert products[4, 5] > 0.3 > products[4, 3]

    def test_vectors_do_not_depend_on_batches(self) -> None:
        texts = [f"{a} {b}" for a in ("red", "blue", "") for b in ("dog", "cat 😀", "x")]
        whole, parts = Lexical([texts]), Lexical([[text] for text in texts])
        assert np.array_equal(whole(texts), np.concatenate([parts([text]) for text in texts]))

    def test_what_stands_everywhere_weighs_less(self) -> None:
        texts = [f"photo of {thing}" for thing in ("zebras", "a kite", "my lamp", "old trees", "red boats")]
        plain, weighted = Lexical([]), Lexical([texts * 20])
        pairs = [(n, m) for n in range(5) for m in range(n)]
        before, after = (encoder(texts) @ encoder(texts).T for encoder in (plain, weighted))
        assert np.mean([after[pair] for pair in pairs]) < np.mean([before[pair] for pair in pairs]) - 0.1

    def test_hashing_keeps_inner_products(self) -> None:
        draw = np.random.default_rng(0)
        texts = [" ".join(draw.choice(WORDS[4:], 6)) for _ in range(40)]
        narrow, wide = Lexical([texts]), Lexical([texts], width=2**18)
        error = narrow(texts) @ narrow(texts).T - wide(texts) @ wide(texts).T
        assert 0 < np.sqrt(np.mean(error**2)) < 1.5 / np.sqrt(1024)

    def test_a_text_without_letters_has_a_vector_of_numbers(self) -> None:
        vectors = Lexical([["", " "]])(["", " ", "a"])
        assert np.isfinite(vectors).all()
        assert Lexical([[]])([]).shape == (0, 1024)

"""Captions as vectors, near to each other where the captions are alike: by their letters, or by a text encoder.

Shapes: B captions, D width of a vector, G n-grams of all captions, L tokens.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from visiglot.data.hashing import mixed
from visiglot.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

Vectors = NDArray[np.float32]

LEXICAL = "lexical"

BATCH = 256
"""Captions that a text encoder reads together."""

_FULL_LENGTH = frozenset({"siglip", "siglip2"})
"""Kinds of model that were trained on texts padded to the full length, and read no others right."""

_PROJECTED = "CLIPTextModelWithProjection"
"""The architecture of a text encoder that was saved without its vision encoder, but with its projection."""


class Encoder(Protocol):
    """Captions -> unit vectors [B, D], whose inner products say how alike the captions are."""

    width: int

    def __call__(self, texts: Sequence[str]) -> Vectors: ...


def build_encoder(name: str, *, device: str, texts: Iterable[Sequence[str]]) -> Encoder:
    """An encoder by its name.

    Args:
        name: "lexical", a model folder or a hub id.
        device: of a text encoder.
        texts: all that it is going to read, in batches; a lexical one counts them.

    Raises:
        ModelError: no such model, or it has no text encoder.
    """
    return Lexical(texts) if name == LEXICAL else TextEncoder(name, device)


class Lexical:
    """TF-IDF of n-grams of characters, hashed into `width` numbers with signs. Needs no weights.

    An inner product of two is that of the whole TF-IDF vectors with an error of about 1 / sqrt(width).

    Args:
        texts: those that frequencies are counted in, in batches.
    """

    SIZES = (2, 3, 4)
    BUCKETS = 2**20
    """Numbers that n-grams are counted under."""

    def __init__(self, texts: Iterable[Sequence[str]], width: int = 1024) -> None:
        self.width = width
        counts, total = np.zeros(self.BUCKETS, np.int64), 0
        for batch in texts:
            rows, hashes = self._grams(batch)
            once = np.unique(rows * self.BUCKETS + self._bucket(hashes))
            counts += np.bincount(once % self.BUCKETS, minlength=self.BUCKETS)
            total += len(batch)
        self._weights = np.log((1 + total) / (1 + counts)) + 1

    def __call__(self, texts: Sequence[str]) -> Vectors:
        rows, hashes = self._grams(texts)
        places = rows * self.width + ((hashes >> np.uint64(32)) % np.uint64(self.width)).astype(np.int64)
        signs = 1.0 - 2.0 * (hashes >> np.uint64(63)).astype(np.float64)
        sums = np.bincount(places, signs * self._weights[self._bucket(hashes)], len(texts) * self.width)
        return _unit(sums.astype(np.float64).reshape(len(texts), self.width))

    def _grams(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """Which text each n-gram is of [G], and its hash [G]."""
        spaced = [f" {' '.join(unicodedata.normalize('NFKC', text).casefold().split())} " for text in texts]
        letters = np.frombuffer("".join(spaced).encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)
        of = np.repeat(np.arange(len(spaced)), [len(text) for text in spaced])
        rows, hashes = [], []
        for size in self.SIZES:
            starts = max(len(letters) - size + 1, 0)
            value = np.full(starts, size, np.uint64)
            for n in range(size):
                value = mixed(value ^ letters[n : n + starts])
            whole = of[:starts] == of[size - 1 : size - 1 + starts]
            rows.append(of[:starts][whole])
            hashes.append(value[whole])
        return np.concatenate(rows), np.concatenate(hashes)

    def _bucket(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        return (hashes % np.uint64(self.BUCKETS)).astype(np.int64)


class TextEncoder:
    """A text encoder of transformers': CLIP's and its like with their projection, others by the mean of their tokens.

    Texts that are too long for it are cut: here they are compared, not learned.

    Args:
        name: a model folder or a hub id.

    Raises:
        ModelError: it can't be loaded.
    """

    def __init__(self, name: str, device: str) -> None:
        import torch
        import transformers

        self.name = name
        self.device = torch.device(device)
        try:
            config = transformers.AutoConfig.from_pretrained(name)
            projected = _PROJECTED in (config.architectures or ())
            kind: Any = transformers.CLIPTextModelWithProjection if projected else transformers.AutoModel
            self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(name)
            self._model: Any = kind.from_pretrained(name, dtype=torch.float32).to(self.device).eval()
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(
                f"encoder {name!r} can't be loaded: {error}",
                hint=f"Name a folder or a hub id of a text encoder with its tokenizer, or {LEXICAL!r}.",
            ) from error
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        positions = getattr(config.get_text_config(), "max_position_embeddings", None)
        self._length = min(self._tokenizer.model_max_length, positions or 512)
        self._padding = "max_length" if config.model_type in _FULL_LENGTH else "longest"
        self._whole = bool(getattr(config, "is_encoder_decoder", False))
        self.width = int(self(["a"]).shape[1])

    def __call__(self, texts: Sequence[str]) -> Vectors:
        import torch

        with torch.inference_mode():
            found = [self._encode(list(texts[first : first + BATCH])) for first in range(0, len(texts), BATCH)]
        vectors = _unit(np.concatenate(found))
        if not np.isfinite(vectors).all():
            raise ModelError(f"encoder {self.name!r} gives vectors that aren't finite", hint="Check its weights.")
        return vectors

    def _encode(self, texts: list[str]) -> NDArray[np.float64]:
        tokens = self._tokenizer(
            texts, padding=self._padding, truncation=True, max_length=self._length, return_tensors="pt"
        ).to(self.device)
        if hasattr(self._model, "get_text_features"):
            features = self._model.get_text_features(**tokens)
            pooled: Tensor = getattr(features, "pooler_output", features)
        elif hasattr(self._model, "text_projection"):
            pooled = self._model(**tokens).text_embeds
        else:
            model = self._model.get_encoder() if self._whole else self._model
            hidden: Tensor = model(**tokens).last_hidden_state  # [B, L, D]
            weight = tokens["attention_mask"][..., None].to(hidden.dtype)
            pooled = (hidden * weight).sum(1) / weight.sum(1).clamp(min=1)
        return pooled.double().cpu().numpy()


def _unit(vectors: NDArray[np.float64]) -> Vectors:
    """Of length 1, [B, D]; one of length 0 stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)

"""`mblip`: words as in mBLIP's evaluation of captions (`src/tasks/vllm/evaluation.py` in github.com/gregor-ge/mBLIP).

There, Chinese, Japanese and Thai went through blank spaCy pipelines, then everything became NFC and went to the PTB
tokeniser. A blank pipeline parts Chinese into characters, those of Latin words and spaces too; Japanese with SudachiPy
in mode A, the shortest units; Thai with `word_tokenize` of PyThaiNLP, whose engine newmm and dictionary come with the
package. Here the same libraries are called directly. Both sides are treated alike, as in mBLIP's converted references.

Scores depend on the versions of the dictionaries; the signature names them.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from visiglot.errors import MissingExtraError
from visiglot.evaluate.segmentation import SEGMENTATIONS, Segmentation, ptb

LIBRARIES = ("sudachipy", "sudachidict_core", "pythainlp")

LONGEST = 12_000
"""Characters that Sudachi takes at once; its limit is 49,149 bytes."""


def tokenise(texts: Sequence[str], language: str) -> list[list[str]]:
    """The words of each text.

    Raises:
        MissingExtraError: the library for Japanese or Thai isn't installed.
    """
    split = _splitters().get(language)
    parted = texts if split is None else [" ".join(split(text)) for text in texts]
    return ptb.tokenise([unicodedata.normalize("NFC", text) for text in parted], language)


def signature() -> str:
    """The name, and the versions of those libraries that are installed."""
    found = []
    for library in LIBRARIES:
        try:
            found.append(f"{library}:{version(library)}")
        except PackageNotFoundError:
            continue
    return "|".join(("mblip", *found))


def _splitters() -> dict[str, Callable[[str], list[str]]]:
    """Language -> what parts its texts before the PTB tokeniser; Cantonese isn't among mBLIP's languages."""
    return {"zho_Hans": list, "zho_Hant": list, "jpn_Jpan": _japanese, "tha_Thai": _thai}


def _japanese(text: str) -> list[str]:
    """Sudachi's units; longer texts than it takes are cut, and half a surrogate pair, which it refuses, is "?"."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    pieces = (text[start : start + LONGEST] for start in range(0, len(text), LONGEST))
    return [morpheme.surface() for piece in pieces for morpheme in _sudachi().tokenize(piece)]


def _thai(text: str) -> list[str]:
    words: list[str] = _newmm()(text)
    return words


@cache
def _sudachi() -> Any:
    """Sudachi with its core dictionary, in mode A, which is spaCy's default.

    Raises:
        MissingExtraError: SudachiPy or its dictionary isn't installed.
    """
    try:
        from sudachipy import Dictionary, SplitMode

        return Dictionary(dict="core").tokenizer(mode=SplitMode.A)
    except ImportError as error:
        raise MissingExtraError("sudachipy", "words") from error


@cache
def _newmm() -> Any:
    """PyThaiNLP's `word_tokenize`, whose default engine is newmm; kept from making a folder in the user's home.

    Raises:
        MissingExtraError: PyThaiNLP isn't installed.
    """
    if "PYTHAINLP_READ_MODE" not in os.environ:  # the old name; both together are an error
        os.environ.setdefault("PYTHAINLP_READ_ONLY", "1")
    try:
        from pythainlp.tokenize import word_tokenize
    except ImportError as error:
        raise MissingExtraError("pythainlp", "words") from error
    return word_tokenize


SEGMENTATIONS.add(
    "mblip",
    Segmentation(
        name="mblip",
        about="Words as in mBLIP's evaluation: Chinese by character, Japanese by Sudachi, Thai by PyThaiNLP, then PTB.",
        tokenise=tokenise,
        signature=signature,
    ),
)

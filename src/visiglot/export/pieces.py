"""A tokenizer with fewer tokens, which cuts the texts that it was kept for as before.

A fast tokenizer is its `tokenizer.json`: the kind of its model decides what a kept token needs besides itself. The rest
of the file (normaliser, pre-tokenizer, decoder) stays; ids change everywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from visiglot.errors import ModelError

BYTE = re.compile(r"<0x[0-9A-F]{2}>")
"""A piece that stands for one byte, where the vocabulary has no piece for a character."""


@dataclass(frozen=True)
class Cut:
    """A trimmed tokenizer.

    Args:
        tokenizer: the new one, a fast tokenizer of transformers' generic class.
        old_ids: by new id, the id that the same token had.
    """

    tokenizer: Any
    old_ids: tuple[int, ...]


def cut_tokenizer(tokenizer: Any, kept: Collection[int]) -> Cut:
    """The tokenizer with the tokens `kept`, those that they are made of, all special tokens and all bytes.

    Args:
        tokenizer: a fast tokenizer, Unigram or BPE.
        kept: ids. Tokens keep their order.

    Raises:
        ModelError: a tokenizer of another kind.
    """
    described = _described(tokenizer)
    model = described["model"]
    old = _ids(described)
    strings = {id_: token for token, id_ in old.items()}
    wanted = {strings[id_] for id_ in kept if id_ in strings} | {row["content"] for row in described["added_tokens"]}
    wanted |= set(_named(described["post_processor"]))
    described["model"] = _kind(model).cut(model, wanted)
    new = _vocabulary(described["model"])
    for row in sorted(described["added_tokens"], key=lambda row: row["id"]):
        new.setdefault(row["content"], len(new))
        row["id"] = new[row["content"]]
    described["added_tokens"].sort(key=lambda row: row["id"])
    for part in ("post_processor", "padding"):
        described[part] = _renumbered(described[part], new)
    by_id = sorted(new, key=new.__getitem__)
    return Cut(_rebuilt(tokenizer, described), tuple(old[token] for token in by_id))


def refuse_uncuttable(tokenizer: Any) -> None:
    """Raise ModelError for a tokenizer that can't be trimmed."""
    _kind(_described(tokenizer)["model"])


# --- kinds of models -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """What is particular to one kind of tokenizer model.

    Args:
        cut: (the model of tokenizer.json, tokens to keep) -> the model with those and what they need.
        unknown: settings that change what pieces are, and that `cut` knows nothing of.
    """

    cut: Callable[[Mapping[str, Any], set[str]], dict[str, Any]]
    unknown: tuple[str, ...] = ()


def _cut_unigram(model: Mapping[str, Any], wanted: set[str]) -> dict[str, Any]:
    """A text is cut where the sum of scores is largest; without pieces that it doesn't use that stays the largest."""
    unknown = None if model["unk_id"] is None else model["vocab"][model["unk_id"]][0]
    characters = {character for token in wanted for character in token}
    keep = wanted | characters | {unknown}
    vocabulary = [row for row in model["vocab"] if row[0] in keep or BYTE.fullmatch(row[0])]
    places = {row[0]: place for place, row in enumerate(vocabulary)}
    return {**model, "vocab": vocabulary, "unk_id": None if unknown is None else places[unknown]}


def _cut_bpe(model: Mapping[str, Any], wanted: set[str]) -> dict[str, Any]:
    """A token is made by merges from its characters; all tokens on its way are kept, and the merges between kept ones.

    A merge that is left out had a token that no kept text ever makes, so that the others come in the same order.
    """
    pairs = [tuple(pair.split(" ", 1)) if isinstance(pair, str) else tuple(pair) for pair in model["merges"]]
    ranks = {pair: rank for rank, pair in enumerate(pairs)}
    vocabulary: Mapping[str, int] = model["vocab"]
    if model.get("byte_fallback"):
        keep = {token for token in vocabulary if BYTE.fullmatch(token)}
    else:  # the 256 bytes of a byte-level vocabulary, or all characters
        keep = {token for token in vocabulary if len(token) == 1}
    keep |= {model["unk_token"]} & vocabulary.keys()
    for token in wanted & vocabulary.keys():
        keep |= _way_to(token, ranks) & vocabulary.keys()
    order = sorted(keep, key=vocabulary.__getitem__)
    return {
        **model,
        "vocab": {token: place for place, token in enumerate(order)},
        "merges": [list(pair) for pair in pairs if {*pair, "".join(pair)} <= keep],
    }


def _way_to(token: str, ranks: Mapping[tuple[str, ...], int]) -> set[str]:
    """All tokens that stand at some time while merges, lowest rank first, make `token` from its characters."""
    parts = list(token)
    seen = {token, *parts}
    while True:
        found = [(ranks[pair], place) for place, pair in enumerate(pairwise(parts)) if pair in ranks]
        if not found:
            return seen
        place = min(found)[1]
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
        seen.add(parts[place])


KINDS: Mapping[str, Kind] = {
    "Unigram": Kind(_cut_unigram),
    "BPE": Kind(_cut_bpe, unknown=("continuing_subword_prefix", "end_of_word_suffix")),
}


def _kind(model: Mapping[str, Any]) -> Kind:
    """Raises ModelError."""
    kind = KINDS.get(str(model.get("type")))
    marks = [key for key in (kind.unknown if kind is not None else ()) if model.get(key)]
    if kind is None or marks:
        why = f"its pieces are marked by {marks[0]}" if marks else f"its tokenizer is {model.get('type')!r}"
        raise ModelError(
            f"the vocabulary can't be trimmed: {why}",
            hint=f"Tokenizers of the kinds {', '.join(KINDS)} can be; leave --languages out.",
        )
    return kind


# --- tokenizer.json --------------------------------------------------------------------------------------------------


def _described(tokenizer: Any) -> dict[str, Any]:
    """tokenizer.json as values. Raises ModelError for a tokenizer without one."""
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(
            f"the vocabulary can't be trimmed: {type(tokenizer).__name__} is no fast tokenizer",
            hint="Leave --languages out.",
        )
    described: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    return described


def _vocabulary(model: Mapping[str, Any]) -> dict[str, int]:
    """Token -> id of a tokenizer's model, added tokens apart."""
    rows = model["vocab"]
    return dict(rows) if isinstance(rows, Mapping) else {row[0]: place for place, row in enumerate(rows)}


def _ids(described: Mapping[str, Any]) -> dict[str, int]:
    """Token -> id, with added tokens."""
    return _vocabulary(described["model"]) | {row["content"]: row["id"] for row in described["added_tokens"]}


def _named(value: Any) -> Iterator[str]:
    """The tokens that a part of tokenizer.json names beside their ids."""
    if isinstance(value, dict):
        yield from value["tokens"] if {"ids", "tokens"} <= value.keys() else ()
        for one in value.values():
            yield from _named(one)
    elif isinstance(value, list):
        if _is_pair(value):
            yield value[0]
        for one in value:
            yield from _named(one)


def _is_pair(value: list[Any]) -> bool:
    """Whether it is a token and its id, as Bert's and Roberta's post-processors write "sep" and "cls"."""
    return len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int)


def _renumbered(value: Any, new: Mapping[str, int]) -> Any:
    """A part of tokenizer.json with the ids of the tokens that it names."""
    if isinstance(value, list):
        if _is_pair(value):
            return [value[0], new[value[0]]]
        return [_renumbered(one, new) for one in value]
    if not isinstance(value, dict):
        return value
    changed = {key: _renumbered(one, new) for key, one in value.items()}
    if {"ids", "tokens"} <= value.keys():
        changed["ids"] = [new[token] for token in value["tokens"]]
    if {"pad_id", "pad_token"} <= value.keys():
        changed["pad_id"] = new[value["pad_token"]]
    return changed


SETTINGS = ("model_max_length", "padding_side", "truncation_side", "clean_up_tokenization_spaces", "chat_template")
"""What is taken over from the tokenizer besides its special tokens."""


def _rebuilt(tokenizer: Any, described: Mapping[str, Any]) -> Any:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    settings = {key: value for key in SETTINGS if (value := getattr(tokenizer, key, None)) is not None}
    named: Mapping[str, Any] = {key: value for key, value in tokenizer.special_tokens_map.items() if value}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(described)), **settings, **named)

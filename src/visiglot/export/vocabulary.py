"""The model with other rows in its vocabulary: fewer, for some languages, and one for the placeholder.

A model is changed in place and proven against itself: the same prompts, the tokens that are kept, the same logits.

Shapes: T positions, V rows.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from visiglot.data.nano.prompts import caption_prompt
from visiglot.errors import ModelError
from visiglot.export.counting import Kept, Texts, batches, ids_of, plain_backend, prompts_in
from visiglot.export.pieces import Cut, cut_tokenizer, refuse_uncuttable
from visiglot.export.probe import least_likely
from visiglot.export.tables import Tables, put_tables, read_tables
from visiglot.models.vlm import VisionLanguageModel
from visiglot.render import load_template

MULTIPLE = 8
"""Rows of a trimmed vocabulary are a multiple of it."""


@dataclass(frozen=True)
class Vocabulary:
    """A model's vocabulary before and after a change.

    Args:
        processor: ours, with the tokenizer and the placeholder afterwards.
        before, after: the rows; the same object when no row changed.
        old_ids: by new id, the id before; rows that are no token's have none.
        old_image_id: the placeholder's id before.
        checked: how many texts are cut into the same tokens as before.
    """

    processor: Any
    before: Tables
    after: Tables
    old_ids: tuple[int, ...]
    old_image_id: int
    checked: int = 0

    @property
    def changed(self) -> bool:
        return self.after is not self.before

    def outline(self) -> Vocabulary:
        """The same without the numbers in the rows, whose memory others need."""
        before = self.before.outline()
        return replace(self, before=before, after=self.after.outline() if self.changed else before)

    @property
    def saved_parameters(self) -> int:
        return self.before.parameters - self.after.parameters

    @property
    def saved_bytes(self) -> int:
        return self.before.bytes - self.after.bytes


def change_vocabulary(
    model: VisionLanguageModel, processor: Any, *, kept: Kept | None, placeholder: bool
) -> Vocabulary:
    """Trim the vocabulary for `kept`, and give the placeholder a token with a row, in place.

    A row that is no token's repeats that of the token which the model is least likely to say, so that it never says it.

    Args:
        kept: None keeps every token.
        placeholder: whether the placeholder must have a row; in a trimmed vocabulary it always has.

    Returns:
        What the vocabulary was and is; the model has the new rows.

    Raises:
        ModelError: the vocabulary can't be changed, or kept texts would be cut otherwise.
    """
    before, tokenizer = read_tables(model.language_model), processor.tokenizer
    _refuse_tokens_without_rows(tokenizer, before, processor.image_token)
    image_id = model.config.image_token_id
    if kept is None:
        if not placeholder:
            return Vocabulary(processor, before, before, tuple(range(before.rows)), image_id)
        new, old_ids, checked = copy.deepcopy(tokenizer), tuple(range(before.rows)), 0
    else:
        refuse_untrimmable(model.config)
        refuse_uncuttable(tokenizer)
        texts = (*kept.texts, prompts_in(kept.languages, prompts_of(model.config)))
        cut = cut_tokenizer(tokenizer, needed_ids(tokenizer, kept, texts, _configs(model)))
        new, old_ids, checked = cut.tokenizer, cut.old_ids, refuse_other_tokens(tokenizer, cut, texts)
    new_image_id = add_placeholder(new, processor.image_token)
    size = max(len(old_ids), new_image_id + 1)
    size = size if kept is None else -(-size // MULTIPLE) * MULTIPLE
    after = before
    if kept is not None or size > before.rows:
        stand_in = least_likely(model, processor)
        rows = [old if old < before.rows else stand_in for old in old_ids]
        after = before.take([*rows, *[stand_in] * (size - len(rows))])
    changed = copy.copy(processor)
    changed.tokenizer, changed.image_token_id = new, new_image_id
    put_rows(model, after, new_image_id)
    if kept is not None:
        _renumber(model, {old: place for place, old in enumerate(old_ids)})
        model.config.languages = list(kept.languages)
    return Vocabulary(changed, before, after, old_ids, image_id, checked)


def put_rows(model: VisionLanguageModel, tables: Tables, image_token_id: int) -> None:
    """Give a model rows and say which is the placeholder's, in place."""
    put_tables(model.language_model, tables)
    model.config.text_config.vocab_size = tables.rows
    model.config.image_token_id = image_token_id


def needed_ids(tokenizer: Any, kept: Kept, texts: Iterable[Texts], configs: Iterable[Any]) -> set[int]:
    """The tokens that a trimmed vocabulary is to have: those of texts and tables, and those that configs name."""
    ids = set(kept.ids)
    for one in texts:
        ids |= ids_of(tokenizer, one.read())
    for config in configs:
        ids |= {id_ for _, found in _token_ids(config) for id_ in found}
    return ids & set(tokenizer.get_vocab().values())


def rows_needed(config: Any, tokenizer: Any, kept: Kept) -> int:
    """How many rows a trimmed vocabulary would have, by a model's config and tokenizer alone. Raises ModelError."""
    texts = (*kept.texts, prompts_in(kept.languages, prompts_of(config)))
    cut = cut_tokenizer(tokenizer, needed_ids(tokenizer, kept, texts, [config.text_config]))
    return -(-(len(cut.old_ids) + 1) // MULTIPLE) * MULTIPLE


def prompts_of(config: Any) -> list[str]:
    """The words that a model is asked with: its caption prompt and its template's."""
    template = load_template(config.template)
    return [caption_prompt(config), template.start, *template.before.values(), *template.after.values()]


def add_placeholder(tokenizer: Any, token: str) -> int:
    """The placeholder's id in a tokenizer, to which it is added when it isn't there. Raises ModelError."""
    from tokenizers import AddedToken

    if token not in tokenizer.get_vocab():
        tokenizer.add_tokens([AddedToken(token, normalized=False, special=True)], special_tokens=True)
    found = int(tokenizer.convert_tokens_to_ids(token))
    if tokenizer.convert_ids_to_tokens(found) != token:
        raise ModelError(f"the tokenizer has no free id for {token}: {found} is another token's")
    return found


def _refuse_tokens_without_rows(tokenizer: Any, tables: Tables, image_token: str) -> None:
    beyond = [token for token, id_ in tokenizer.get_vocab().items() if id_ >= tables.rows and token != image_token]
    if beyond:
        raise ModelError(
            f"language_model: its embedding has {tables.rows:,} rows, {len(beyond):,} tokens of its tokenizer none "
            f"({', '.join(map(repr, sorted(beyond)[:4]))})",
            hint="Take the tokenizer that belongs to the language model.",
        )


def refuse_untrimmable(config: Any) -> None:
    """Raise ModelError for a model whose image tokens are made of the whole embedding."""
    if config.connector.get("words") is not None:
        raise ModelError(
            "the vocabulary can't be trimmed: image tokens of this model are mixtures of all its words "
            "(connector.words), so with fewer words it would see something else",
            hint="Leave --languages out.",
        )


# --- proof -----------------------------------------------------------------------------------------------------------


def refuse_other_tokens(before: Any, cut: Cut, kept: Sequence[Texts]) -> int:
    """How many texts are cut into the same tokens and come back as the same text.

    Raises:
        ModelError: one isn't.
    """
    count = 0
    after = cut.tokenizer
    old_backend, new_backend = plain_backend(before), plain_backend(after)
    for texts in kept:
        for batch in batches(texts.read()):
            old = old_backend.encode_batch(batch, add_special_tokens=False)
            new = new_backend.encode_batch(batch, add_special_tokens=False)
            for text, one, other in zip(batch, old, new):
                same = one.tokens == other.tokens and one.ids == [cut.old_ids[id_] for id_ in other.ids]
                if not same or before.decode(one.ids) != after.decode(other.ids):
                    raise ModelError(
                        f"the vocabulary can't be trimmed: {texts.name}: {text[:60]!r} would become "
                        f"{' '.join(other.tokens[:8])}, it is {' '.join(one.tokens[:8])}",
                        hint="Leave --languages out, and tell us of the tokenizer.",
                    )
                count += 1
    return count


# --- ids in configs --------------------------------------------------------------------------------------------------


def _configs(model: VisionLanguageModel) -> list[Any]:
    """Every config that names tokens of the LLM, each once."""
    llm = model.language_model
    found = (model.config.text_config, llm.config, llm.generation_config)
    return list({id(config): config for config in found}.values())


def _token_ids(config: Any) -> Iterator[tuple[str, list[int]]]:
    """(key, ids) of everything in a config that names tokens by id."""
    for key, value in config.to_dict().items():
        if key.endswith(("_token_id", "_token_ids")) or key in ("suppress_tokens", "begin_suppress_tokens"):
            found = value if isinstance(value, list) else [value]
            yield key, [id_ for id_ in found if isinstance(id_, int)]


def _renumber(model: VisionLanguageModel, new_ids: Mapping[int, int]) -> None:
    """Give the tokens that configs name their new ids, in place; an id that is no token's stays."""
    for config in _configs(model):
        for key, ids in list(_token_ids(config)):
            if ids:
                changed = [new_ids.get(id_, id_) for id_ in ids]
                setattr(config, key, changed if isinstance(getattr(config, key), list) else changed[0])

"""Which tokens some languages need: counted in a sample of their texts, or read from a table of frequencies."""

from __future__ import annotations

import copy
import json
import string
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visiglot.data.nano.prompts import load_prompts
from visiglot.errors import ConfigError, DataError, LanguageError
from visiglot.languages import language, resolve

CHARACTERS = string.printable.strip()
"""ASCII's, which every language's texts have among their own."""
BATCH = 1024
"""Texts that are encoded at one time."""


@dataclass(frozen=True)
class Texts:
    """Texts that must be cut into the same tokens afterwards.

    Args:
        name: what messages call them.
        language: FLORES code; None where they are in several, or nobody says in which.
        read: gives them, each time anew.
    """

    name: str
    language: str | None
    read: Callable[[], Iterable[str]]


@dataclass(frozen=True)
class Kept:
    """What a trimmed vocabulary is for.

    Args:
        languages: FLORES codes.
        texts: whose tokens are kept.
        ids: tokens that are kept besides, by a table of frequencies.
        told: where all that is from, for the model card.
    """

    languages: tuple[str, ...]
    texts: tuple[Texts, ...]
    ids: frozenset[int]
    told: str


# --- texts -----------------------------------------------------------------------------------------------------------


def keep_files(languages: Sequence[str], files: Sequence[str]) -> Kept:
    """What the texts of some files need.

    Args:
        languages: FLORES codes.
        files: paths of UTF-8 files with a text a line; "sw=FILE" says that it is Swahili.

    Raises:
        ConfigError: all files say their language, and one of `languages` has none; or a file is in another.
        DataError: a file can't be read, or holds no text.
    """
    texts = tuple(_file(spec) for spec in files)
    said = {one.language for one in texts}
    problems = [f"{one.name}: is in {one.language}" for one in texts if one.language not in (None, *languages)]
    if None not in said:
        problems += [f"{code}: has no file" for code in languages if code not in said]
    if problems:
        raise ConfigError("--text", problems, hint="Give a file for each of --languages, and for no other.")
    for one in texts:
        if not any(text.strip() for text in one.read()):
            raise DataError(f"{one.name} holds no text", hint="It needs a text a line, in UTF-8.")
    return Kept(tuple(languages), texts, frozenset(), f"the texts of {', '.join(Path(one.name).name for one in texts)}")


def _file(spec: str) -> Texts:
    code, equals, path = spec.partition("=")
    try:
        known = language(code).code if equals else None
    except LanguageError:
        known = None
    where = Path(path if known is not None else spec)

    def read() -> Iterator[str]:
        try:
            with where.open(encoding="utf-8") as lines:
                for line in lines:
                    yield line.rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{where} can't be read: {error}", hint="It needs a text a line, in UTF-8.") from error

    return Texts(str(where), known, read)


def keep_built_in(languages: Sequence[str]) -> Kept:
    """What the names and words of the built-in data need.

    Raises:
        ConfigError: the data lacks one of the languages, or isn't here.
    """
    from visiglot.data.nano.load import load_nano

    give = "Give texts with --text FILE (a text a line), or token counts with --frequencies FILE."
    try:
        data = load_nano()
    except DataError as error:
        raise ConfigError(
            "--languages", [f"nothing says which tokens they need: {error.message}"], hint=f"{give} {error.hint or ''}"
        ) from error
    lacking = [code for code in languages if code not in data.languages]
    if lacking:
        raise ConfigError(
            "--languages",
            [f"{code}: the built-in data have no text in it" for code in lacking],
            hint=give,
        )

    def texts_in(code: str) -> Texts:
        def read() -> Iterator[str]:
            for name in data.names[code].values():
                yield name.text
                yield from name.keywords
            yield from data.words[code].values()

        return Texts(f"the built-in data in {code}", code, read)

    return Kept(tuple(languages), tuple(map(texts_in, languages)), frozenset(), "the names of the built-in data")


def prompts_in(languages: Sequence[str], prompts: Iterable[str]) -> Texts:
    """The words of every prompt in some languages: names of the languages, the built-in prompts, and the model's own.

    Args:
        prompts: the model's own, and its template's words; {language} stands for a language's English name.
    """
    own, rows = tuple(prompts), [language(code) for code in languages]
    templates = [text for row in load_prompts().values() for text in (*row.english, *row.native)]

    def read() -> Iterator[str]:
        yield from (CHARACTERS, " ".join(CHARACTERS))
        for row in rows:
            yield from (row.name, row.native, *row.literals.values())
            fields = {"language": row.name, "native": row.native, "image": "", **row.literals}
            for text in (*templates, *own):
                yield _filled(text, fields)

    return Texts("the prompts", None, read)


def _filled(template: str, fields: Mapping[str, str]) -> str:
    for name, value in fields.items():
        template = template.replace(f"{{{name}}}", value)
    return template


def ids_of(tokenizer: Any, texts: Iterable[str]) -> set[int]:
    """The tokens that texts are cut into."""
    found: set[int] = set()
    backend = plain_backend(tokenizer)
    for batch in batches(texts):
        for encoding in backend.encode_batch_fast(batch, add_special_tokens=False):
            found.update(encoding.ids)
    return found


def plain_backend(tokenizer: Any) -> Any:
    """A copy of what cuts a fast tokenizer's texts, which cuts nothing off and pads nothing."""
    backend = copy.deepcopy(tokenizer.backend_tokenizer)
    backend.no_truncation()
    backend.no_padding()
    return backend


def batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """Texts in lists of BATCH."""
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


# --- frequencies -----------------------------------------------------------------------------------------------------


def keep_frequent(languages: Sequence[str], file: Path, tokenizer: Any) -> Kept:
    """The tokens that a table counts at least once in some languages.

    Args:
        languages: FLORES codes.
        file: JSON ({token: count}, or {language: {token: count}}) or TSV (token, count; or language, token, count). A
            table whose tokens are all whole numbers names ids.

    Raises:
        ConfigError: one of the languages isn't in a table by language, or a token isn't the tokenizer's.
        DataError: the file can't be read.
    """
    rows = _rows(file)
    by_language = {code for code, _, _ in rows if code is not None}
    lacking = [code for code in languages if by_language and code not in by_language]
    if lacking:
        raise ConfigError(
            f"--frequencies {file}",
            [f"{code}: isn't in it" for code in lacking],
            hint=f"It has {', '.join(sorted(by_language))}.",
        )
    counted = {token for code, token, count in rows if count > 0 and (code is None or code in languages)}
    vocabulary = tokenizer.get_vocab()
    numbers = all(token.isdecimal() for _, token, _ in rows)
    known = {str(id_): id_ for id_ in vocabulary.values()} if numbers else vocabulary
    strange = sorted(counted - known.keys())
    if strange or not counted:
        problems = [f"{token!r}: is no token of this model" for token in strange[:8]] or ["counts nothing"]
        raise ConfigError(f"--frequencies {file}", problems, hint="Count with this model's tokenizer.")
    return Kept(tuple(languages), (), frozenset(known[token] for token in counted), f"the token counts of {file.name}")


def _rows(file: Path) -> list[tuple[str | None, str, float]]:
    """(language or None, token, count). Raises DataError."""
    try:
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".json":
            return list(_json_rows(json.loads(text)))
        return [_tsv_row(line) for line in text.split("\n") if line]
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"{file} can't be read as token counts: {error}",
            hint='It needs {"token": count} or {"language": {"token": count}} (.json), or token and count in columns.',
        ) from error


def _json_rows(values: Mapping[str, Any]) -> Iterator[tuple[str | None, str, float]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            (code,) = resolve([key])
            yield from ((code, token, float(count)) for token, count in value.items())
        else:
            yield None, key, float(value)


def _tsv_row(line: str) -> tuple[str | None, str, float]:
    *codes, token, count = line.split("\t")
    if len(codes) > 1:
        raise ValueError(f"a line has {len(codes) + 2} columns, 2 or 3 are known")
    return (resolve(codes)[0] if codes else None), token, float(count)

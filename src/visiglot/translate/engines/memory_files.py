"""The units of a translation memory: TMX 1.4, or a table with a column a language; read as a stream."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TextIO
from xml.parsers import expat

from visiglot.data.rows import opened
from visiglot.data.rows.shards import unpacked
from visiglot.data.rows.tables import MAX_FIELD
from visiglot.errors import DataError, LanguageError
from visiglot.languages import language

Unit = list[tuple[str, str]]
"""Texts that are translations of one another, with the codes of their languages; a language may have several."""

SKIP = "-"
"""In a list of columns: one that has no language."""

FORMATTING = frozenset({"bpt", "ept", "it"})
"""Inline codes that switch something on or off: the words around and between them are the text."""

BLOCK = 1 << 20
"""Bytes that are parsed at once."""

_SPACES = re.compile(r"[ \t]+")
_LINE_END = re.compile(r"\r\n|[\r\n\f\v\u2028\u2029]")


@dataclass(frozen=True)
class Table:
    """How a table is written.

    Args:
        columns: languages of the columns in order, "-" for one that has none; None: the first line names them.
        header: whether the first line is no row.
        quotes: whether a field may stand in quotation marks, as in CSV, and then hold tabs and line ends; otherwise
            quotation marks are text.
    """

    columns: tuple[str, ...] | None = None
    header: bool = True
    quotes: bool = True


def kind_of(path: Path) -> Literal["tmx", "tsv"]:
    """By the name. Raises DataError: it is neither."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    if suffixes[-1:] == [".tmx"]:
        return "tmx"
    if suffixes[-1:] in ([".tsv"], [".tab"]):
        return "tsv"
    raise DataError(f"{path} is no translation memory that is read", hint="Those are .tmx and .tsv, also with .gz.")


def read_units(path: Path, table: Table, left_out: Counter[str]) -> Iterator[Unit]:
    """All units of a memory in order. Texts are in NFC, in one line, not empty.

    Args:
        left_out: counts what isn't used, by reason.

    Raises:
        DataError: the file can't be read.
        LanguageError: a column has a name that is no language's.
    """
    if kind_of(path) == "tmx":
        return read_tmx(path, left_out)
    return read_table(path, table)


def read_table(path: Path, table: Table) -> Iterator[Unit]:
    """Rows of a table with tabs between the columns."""
    csv.field_size_limit(MAX_FIELD)
    with opened_text(path) as file:
        quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if table.quotes else csv.QUOTE_NONE
        rows = csv.reader(file, delimiter="\t", quoting=quoting, strict=True)
        number = 1
        try:
            first = next(rows, []) if table.header else []
            codes = _codes(path, table.columns or first)
            number = rows.line_num + 1
            for fields in rows:
                if fields and len(fields) != len(codes):
                    raise DataError(
                        f"{path}, line {number}: has {len(fields)} columns, must have {len(codes)}",
                        hint="A text that holds a tab stands in quotation marks; or mend the line.",
                    )
                texts = ((code, text_of(field)) for code, field in zip(codes, fields, strict=False) if code)
                yield [(code, text) for code, text in texts if text]
                number = rows.line_num + 1
        except csv.Error as error:
            raise DataError(
                f"{path}, line {number}: {error}",
                hint="If quotation marks in it are text and nothing else, set quotes=false.",
            ) from error
        except UnicodeDecodeError as error:
            raise DataError(f"{path} isn't UTF-8, in line {number} or after", hint="Save it as UTF-8.") from error


def _codes(path: Path, columns: Sequence[str]) -> list[str | None]:
    """FLORES-200 code of each column, None for one that is skipped."""
    codes: list[str | None] = []
    for column in columns:
        try:
            codes.append(None if column == SKIP else language(column).code)
        except LanguageError as error:
            raise DataError(
                f"{path}: column {column!r} isn't named by a language",
                hint=f"Name the columns in order with columns=[en,de], {SKIP!r} for one to skip, and header=false if "
                "the first line is a row.",
            ) from error
    if len({code for code in codes if code}) < 2:
        raise DataError(f"{path}: has columns of fewer than two languages: {', '.join(columns) or 'none'}")
    return codes


def opened_text(path: Path) -> TextIO:
    """A file of text, without the mark of its encoding and with its own line ends. Raises DataError."""
    opened(unpacked(path)).close()
    return unpacked(path).open(encoding="utf-8-sig", newline="")


def read_tmx(path: Path, left_out: Counter[str]) -> Iterator[Unit]:
    """Units of a TMX file: words between and around formatting; texts with placeholders are left out.

    A placeholder's place isn't in the words that an engine is asked for, so such a text would be found where it isn't
    meant. Entities other than XML's own are refused, and nothing that a file points to is read.
    """
    reader = _Tmx(path, left_out)
    with opened(unpacked(path)) as file:
        while block := file.read(BLOCK):
            yield from reader.feed(block)
        yield from reader.feed(b"", last=True)


class _Tmx:
    def __init__(self, path: Path, left_out: Counter[str]) -> None:
        self.path = path
        self.left_out = left_out
        self.codes: dict[str, str | None] = {}
        self.ready: list[Unit] = []
        self.unit: Unit = []
        self.code: str | None = None
        self.parts: list[str] | None = None
        self.size = 0
        self.muted = 0
        self.placeholder = False
        self.began = False
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.EntityDeclHandler = self._refuse
        self.parser.ExternalEntityRefHandler = self._refuse
        self.parser.SkippedEntityHandler = self._refuse

    def feed(self, block: bytes, *, last: bool = False) -> list[Unit]:
        """The units that end in the block."""
        try:
            self.parser.Parse(block, last)
        except expat.ExpatError as error:
            said = expat.errors.messages.get(error.code, str(error))
            raise DataError(f"{self.path}, line {error.lineno}: is no XML: {said}", hint="Export it anew.") from error
        except ValueError as error:
            raise DataError(f"{self.path}: {error}", hint="Save it as UTF-8.") from error
        ready, self.ready = self.ready, []
        return ready

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        if not self.began and name != "tmx":
            raise DataError(f"{self.path} is no TMX: it begins with <{name}>", hint="TMX 1.4 begins with <tmx>.")
        self.began = True
        if self.parts is not None:
            if self.muted or name != "hi":
                self.muted += 1
                self.placeholder |= name not in FORMATTING and self.muted == 1
        elif name == "tu":
            self.unit = []
        elif name == "tuv":
            self.code = self._language(attributes.get("xml:lang") or attributes.get("lang") or "")
        elif name == "seg":
            self.parts, self.size, self.placeholder = [], 0, False

    def _end(self, name: str) -> None:
        if name == "seg" and self.parts is not None:
            text = text_of("".join(self.parts))
            self.parts = None
            if self.placeholder:
                self.left_out["texts with placeholders"] += 1
            elif text and self.code is not None:
                self.unit.append((self.code, text))
        elif self.muted:
            self.muted -= 1
        elif name == "tu":
            self.ready.append(self.unit)

    def _text(self, text: str) -> None:
        if self.parts is None or self.muted:
            return
        self.parts.append(text)
        self.size += len(text)
        if self.size > MAX_FIELD:
            raise DataError(
                f"{self.path}, line {self.parser.CurrentLineNumber}: a text has over {MAX_FIELD:,} characters"
            )

    def _refuse(self, *_: object) -> int:
        raise DataError(
            f"{self.path}, line {self.parser.CurrentLineNumber}: has entities of its own, which aren't read",
            hint="They can make a small file fill all memory. Export it anew without a DTD.",
        )

    def _language(self, tag: str) -> str | None:
        if tag not in self.codes:
            try:
                self.codes[tag] = language(tag).code
            except LanguageError:
                self.codes[tag] = None
        if self.codes[tag] is None:
            self.left_out[f"texts in {tag!r}, no language that is known"] += 1
        return self.codes[tag]


def text_of(written: str) -> str:
    """A text as it is kept: NFC, with its own lines and no-break spaces."""
    lines = _LINE_END.sub("\n", unicodedata.normalize("NFC", written)).strip().strip("\ufeff").split("\n")
    return "\n".join(_SPACES.sub(" ", line).strip() for line in lines)


def laid_out(said: str, asked: str, here: str) -> str:
    """A translation as it is given: in lines where the text that was asked for and the unit's have as many, else in
    one; files break lines where texts don't.

    Args:
        said: the unit's translation.
        asked: the text that was asked for.
        here: the unit's text.
    """
    lines = {text_of(asked).count("\n"), here.count("\n"), said.count("\n")}
    return said if len(lines) == 1 else " ".join(said.split("\n"))


def key_of(text: str) -> str:
    """What two texts share that are the same: NFC, and any white space as one space."""
    return " ".join(unicodedata.normalize("NFC", text).split())

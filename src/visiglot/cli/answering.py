"""What caption and ask share: pictures and prompts in, rows out, each picture encoded once for all its prompts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from visiglot.cli.console import isolated, progress_bar, quiet_libraries, say, stdout
from visiglot.cli.errors import SOME_FAILED
from visiglot.cli.pictures import card_image
from visiglot.cli.prompts import content
from visiglot.cli.rows import AnswerRow, append_rows, read_rows, row_line, write_rows
from visiglot.types import Example, ImageRef, Message

if TYPE_CHECKING:
    from visiglot.evaluate.answers import ModelAnswerer
    from visiglot.evaluate.benchmark import Settings

STDOUT = Path("-")
PICTURES_AT_ONCE = 32
MAX_BATCH_TOKENS = 16384
NO_LANGUAGE = "eng_Latn"
"""What an example carries when no language was asked for: it changes no answer."""


@dataclass(frozen=True)
class Task:
    """What is asked about every picture.

    Args:
        prompt: with {language} and {image} in place.
        languages: as the user wrote them; None asks once, without naming a language.
        beams, max_new_tokens: of the search.
    """

    prompt: str
    languages: str | None
    beams: int
    max_new_tokens: int


@dataclass(frozen=True)
class Question:
    """One row to be."""

    id: str
    ref: ImageRef
    language: str | None
    example: Example

    def row(self, text: str | None, error: str | None) -> AnswerRow:
        return AnswerRow(self.id, self.ref.name, self.language, self.example.messages[0].text, text, error)


def answer_pictures(
    pictures: Sequence[ImageRef],
    task: Task,
    *,
    model: str,
    device: str,
    dtype: str,
    out: Path | None,
    sheet: Path | None,
    resume: bool,
) -> None:
    """Ask about every picture; write rows to `out`, or a table to stdout, and perhaps a page.

    Raises:
        typer.Exit: with code 1 when some rows failed.
        VisiglotError: nothing can be asked at all.
    """
    check_languages(task.languages)
    to_file = out is not None and out != STDOUT
    before = read_rows(out) if to_file and out is not None and resume else []
    answerer, card = _load(model, device, dtype, hashed=to_file)
    questions = _questions(pictures, task, card, answerer.fingerprint)
    wanted = {question.id for question in questions}
    asked = {(question.ref.name, question.language, question.row("", None).prompt) for question in questions}
    # answers of another model or setting to the same question give way; rows about other pictures stay
    others = [row for row in before if row.id not in wanted and (row.image, row.language, row.prompt) not in asked]
    done = {row.id: row for row in before if row.id in wanted and row.error is None}
    if to_file and out is not None:
        write_rows([*others, *done.values()], out)
    waiting = [question for question in questions if question.id not in done]
    if done:
        say(f"{len(done):,} of {len(questions):,} rows are there already")
    with progress_bar() as bar:
        count = bar.add_task("rows", total=len(waiting))
        for rows in _answers(answerer, waiting, task):
            done.update((row.id, row) for row in rows)
            bar.advance(count, len(rows))
            if out == STDOUT:
                typer.echo("".join(map(row_line, rows)), nl=False)
            elif to_file and out is not None:
                append_rows(rows, out)
            else:
                _print_rows(rows)
    rows = [done[question.id] for question in questions]
    if to_file and out is not None:
        write_rows([*others, *rows], out)
        say(f"{len(rows):,} rows in {out}")
    if sheet is not None:
        _write_sheet(pictures, rows, sheet, title=f"{model}: {task.prompt}")
        say(f"page: {sheet}")
    failed = [row for row in rows if row.error is not None]
    if failed:
        say(f"{len(failed):,} of {len(rows):,} rows failed; the first: {failed[0].error}")
        raise typer.Exit(SOME_FAILED)


# --- asking ----------------------------------------------------------------------------------------------------------


def check_languages(spec: str | None) -> None:
    """Refuse a misspelt language before a model is loaded."""
    from visiglot.languages import all_languages, resolve

    if spec is not None:
        resolve(spec, all_codes=[row.code for row in all_languages()])


def _load(name: str, device: str, dtype: str, *, hashed: bool) -> tuple[ModelAnswerer, tuple[str, ...]]:
    """The model and the languages on its card. Its weights are hashed only when rows are to be found again."""
    quiet_libraries()
    from visiglot.evaluate.answers import ModelAnswerer
    from visiglot.models.build import load_model

    model, processor = load_model(name, device=device, dtype=dtype)
    answerer = ModelAnswerer(
        model, processor, name=name, fingerprint=None if hashed else "not hashed", max_batch_tokens=MAX_BATCH_TOKENS
    )
    return answerer, tuple(model.config.languages)


def _questions(pictures: Sequence[ImageRef], task: Task, card: tuple[str, ...], fingerprint: str) -> list[Question]:
    """Every picture in every language, picture by picture."""
    from visiglot.languages import language, resolve

    codes: Sequence[str | None] = [None] if task.languages is None else resolve(task.languages, all_codes=card)
    unknown = [code for code in codes if code is not None and card and code not in card]
    if unknown:
        say(f"notice  not on the model's card, so expect little: {', '.join(unknown)}")
    questions = []
    for ref in pictures:
        key = _key(ref)
        for code in codes:
            words = content(task.prompt, None if code is None else language(code).name)
            facts = [key, code, repr(words), task.beams, task.max_new_tokens, fingerprint]
            digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
            row_id = "/".join(filter(None, (ref.name, code, digest)))
            example = Example(row_id, (Message("user", words),), code or NO_LANGUAGE, (ref,))
            questions.append(Question(row_id, ref, code, example))
    return questions


def _key(ref: ImageRef) -> str | None:
    """Hash of the picture's bytes; None where they can't be read, which its rows will say."""
    try:
        return ref.key
    except OSError:
        return None


def _answers(answerer: ModelAnswerer, waiting: Sequence[Question], task: Task) -> Iterator[list[AnswerRow]]:
    """The rows of some pictures at a time, in the order of the questions."""
    settings = _settings(task)
    by_picture: dict[str, list[Question]] = {}
    for question in waiting:
        by_picture.setdefault(question.ref.name, []).append(question)
    pictures = list(by_picture.values())
    for start in range(0, len(pictures), PICTURES_AT_ONCE):
        chunk = [question for questions in pictures[start : start + PICTURES_AT_ONCE] for question in questions]
        found: dict[int, AnswerRow] = {}
        for index, answer in answerer.answer([question.example for question in chunk], settings):
            text, error = (answer, None) if isinstance(answer, str) else (None, answer.message)
            found[index] = chunk[index].row(text, error)
        yield [found[index] for index in range(len(chunk))]


def _settings(task: Task) -> Settings:
    from visiglot.evaluate.benchmark import Settings

    return Settings(max_new_tokens=task.max_new_tokens, beams=task.beams)


# --- showing ---------------------------------------------------------------------------------------------------------


def _by_image(rows: Sequence[AnswerRow]) -> Mapping[str, list[AnswerRow]]:
    found: dict[str, list[AnswerRow]] = {}
    for row in rows:
        found.setdefault(row.image, []).append(row)
    return found


def _print_rows(rows: Sequence[AnswerRow]) -> None:
    from rich.table import Table
    from rich.text import Text

    from visiglot.languages import language

    console = stdout()
    for image, own in _by_image(rows).items():
        console.print(Text(image, style="bold"))
        if own[0].error is not None and len({row.error for row in own}) == 1:
            console.print(Text(f"error: {own[0].error}", "red"))
            continue
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, style="dim")
        table.add_column(overflow="fold")
        for row in own:
            known = None if row.language is None else language(row.language)
            direction = "ltr" if known is None else known.direction
            native = "" if known is None else isolated(known.native, direction)
            answer = Text(f"error: {row.error}", "red") if row.text is None else Text(isolated(row.text, direction))
            table.add_row(row.language or "", native, answer)
        console.print(table)


def _write_sheet(pictures: Sequence[ImageRef], rows: Sequence[AnswerRow], path: Path, *, title: str) -> None:
    from visiglot.languages import language
    from visiglot.sheet import Card, Page, Text, write_page

    page = Page(title)
    found = _by_image(rows)
    cards = []
    for ref in pictures:
        texts = []
        for row in found[ref.name]:
            name = "" if row.language is None else language(row.language).name
            if row.text is not None:
                texts.append(Text(row.language or NO_LANGUAGE, row.text, note=name))
            else:
                texts.append(Text("eng_Latn", str(row.error), note=name, status="error"))
        cards.append(Card(card_image(ref), ref.name, tuple(texts), caption=ref.name))
    page.cards(cards)
    write_page(page, path)

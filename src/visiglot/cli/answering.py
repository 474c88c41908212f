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
from visiglot.cli.errors import SOME_FAILED, USER_ERROR, paragraph
from visiglot.cli.models import card_languages
from visiglot.cli.pictures import card_image, refuse_foreign_page
from visiglot.cli.prompts import content
from visiglot.cli.rows import AnswerRow, append_rows, read_rows, row_line, write_rows
from visiglot.errors import ImageError, VisiglotError
from visiglot.languages import ENGLISH
from visiglot.types import Example, ImageRef, Message

if TYPE_CHECKING:
    from visiglot.evaluate.answers import ModelAnswerer
    from visiglot.evaluate.benchmark import Settings

STDOUT = Path("-")
PICTURES_AT_ONCE = 32
MAX_BATCH_TOKENS = 16384
ERRORS_SHOWN = 10
"""Different errors that are told on the terminal; rows have them all."""
LANGUAGES_SHOWN = 10
"""Languages that the model doesn't know which are told by name."""


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
    seed: int | None,
    dry_run: bool,
) -> None:
    """Ask about every picture; write rows to `out`, or a table to stdout, and perhaps a page.

    Args:
        resume: keep the answers in `out` that these very questions have already. Rows about anything else stay in
            either case.
        dry_run: say how many rows would be made; no model is loaded and nothing is written.

    Raises:
        typer.Exit: with code 1 when some rows failed, 2 when all did.
        VisiglotError: nothing can be asked at all, or a file that isn't ours would be overwritten.
    """
    check_languages(task.languages)
    content(task.prompt, None if task.languages is None else "English")
    file = None if out is None or out == STDOUT else out
    before = read_rows(file) if file is not None else []
    if sheet is not None:
        refuse_foreign_page(sheet)
    if dry_run:
        _rehearse(pictures, task, model, out, sheet)
        return
    answerer, card = _load(model, device, dtype, seed, hashed=file is not None)
    questions = _questions(pictures, task, card, answerer.fingerprint)
    wanted = {question.id for question in questions}
    asked = {(question.ref.name, question.language, question.row("", None).prompt) for question in questions}
    # answers of another model or setting to the same question give way; rows about other pictures stay
    others = [row for row in before if row.id not in wanted and (row.image, row.language, row.prompt) not in asked]
    done = {row.id: row for row in before if resume and row.id in wanted and row.error is None}
    if file is not None:
        write_rows([*others, *done.values()], file)
    waiting = [question for question in questions if question.id not in done]
    if done:
        say(f"{len(done):,} of {len(questions):,} rows are there already")
    errors: dict[str, VisiglotError] = {}
    with progress_bar() as bar:
        count = bar.add_task("rows", total=len(waiting))
        for rows in _answers(answerer, waiting, task, errors):
            done.update((row.id, row) for row in rows)
            bar.advance(count, len(rows))
            if out == STDOUT:
                typer.echo("".join(map(row_line, rows)), nl=False)
            elif file is not None:
                append_rows(rows, file)
            else:
                _print_rows(rows)
    rows = [done[question.id] for question in questions]
    if file is not None:
        write_rows([*others, *rows], file)
        say(f"{len(rows):,} rows in {file}")
    if sheet is not None:
        _write_sheet(pictures, rows, sheet, model=model, prompt=task.prompt)
        say(f"page: {sheet}")
    if errors:
        _say_errors(list(errors.values()), len(rows))
        raise typer.Exit(SOME_FAILED if len(errors) < len(rows) else USER_ERROR)


def _say_errors(errors: Sequence[VisiglotError], rows: int) -> None:
    """Each different error with what to do about it, and how many rows it cost."""
    paragraphs = list(dict.fromkeys(map(paragraph, errors)))
    for text in paragraphs[:ERRORS_SHOWN]:
        say(text)
    if len(paragraphs) > ERRORS_SHOWN:
        say(f"and {len(paragraphs) - ERRORS_SHOWN:,} more errors")
    if rows > 1:
        say(f"{len(errors):,} of {rows:,} rows failed")


def _rehearse(pictures: Sequence[ImageRef], task: Task, model: str, out: Path | None, sheet: Path | None) -> None:
    """Say how many rows would be made; pictures aren't opened."""
    from visiglot.languages import all_languages, resolve

    card = card_languages(model)
    if task.languages is None:
        languages: Sequence[str] = ()
    elif card is not None:
        languages = resolve(task.languages, all_codes=card)
    else:
        typer.echo(f"{model} isn't on this machine: `all` is taken to be all known languages")
        languages = resolve(task.languages, all_codes=[row.code for row in all_languages()])
    asked = f" x {len(languages)} languages ({', '.join(languages)})" if languages else ""
    count = len(pictures) * max(len(languages), 1)
    typer.echo(f"{len(pictures):,} pictures{asked}: {count:,} rows would be made with {model}")
    typer.echo(f"written to: {'the terminal' if out is None else out}" + (f", page: {sheet}" if sheet else ""))


# --- asking ----------------------------------------------------------------------------------------------------------


def check_languages(spec: str | None) -> None:
    """Refuse a misspelt language before a model is loaded."""
    from visiglot.languages import all_languages, resolve

    if spec is not None:
        resolve(spec, all_codes=[row.code for row in all_languages()])


def _load(
    name: str, device: str, dtype: str, seed: int | None, *, hashed: bool
) -> tuple[ModelAnswerer, tuple[str, ...]]:
    """The model and the languages on its card. Its weights are hashed only when rows are to be found again."""
    quiet_libraries()
    import torch

    from visiglot.evaluate.answers import ModelAnswerer
    from visiglot.models.build import load_model

    if seed is not None:
        torch.manual_seed(seed)
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
        names = ", ".join(f"{code} ({language(code).name})" for code in unknown[:LANGUAGES_SHOWN])
        more = f" and {len(unknown) - LANGUAGES_SHOWN} more" if len(unknown) > LANGUAGES_SHOWN else ""
        say(f"notice  not on the model's card, so expect little: {names}{more}")
    questions = []
    for ref in pictures:
        key = _key(ref)
        for code in codes:
            words = content(task.prompt, None if code is None else language(code).name)
            facts = [key, code, repr(words), task.beams, task.max_new_tokens, fingerprint]
            digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
            row_id = "/".join(filter(None, (ref.name, code, digest)))
            example = Example(row_id, (Message("user", words),), code or ENGLISH, (ref,))
            questions.append(Question(row_id, ref, code, example))
    return questions


def _key(ref: ImageRef) -> str | None:
    """Hash of the picture's bytes; None where they can't be read, which its rows will say."""
    from visiglot.data.images import picture_hash

    try:
        return picture_hash(ref)
    except ImageError:
        return None


def _answers(
    answerer: ModelAnswerer, waiting: Sequence[Question], task: Task, errors: dict[str, VisiglotError]
) -> Iterator[list[AnswerRow]]:
    """The rows of some pictures at a time, in the order of the questions; `errors` gets those of failed rows by id."""
    from visiglot.evaluate.answers import error_line

    settings = _settings(task)
    by_picture: dict[str, list[Question]] = {}
    for question in waiting:
        by_picture.setdefault(question.ref.name, []).append(question)
    pictures = list(by_picture.values())
    for start in range(0, len(pictures), PICTURES_AT_ONCE):
        chunk = [question for questions in pictures[start : start + PICTURES_AT_ONCE] for question in questions]
        found: dict[int, AnswerRow] = {}
        for index, answer in answerer.answer([question.example for question in chunk], settings):
            if isinstance(answer, str):
                found[index] = chunk[index].row(answer, None)
            else:
                errors[chunk[index].id] = answer
                found[index] = chunk[index].row(None, error_line(answer))
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
        if all(row.error is not None for row in own):
            continue  # said on stderr, with what to do about it
        console.print(Text(image, style="bold"))
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


def _write_sheet(
    pictures: Sequence[ImageRef], rows: Sequence[AnswerRow], path: Path, *, model: str, prompt: str
) -> None:
    from visiglot.languages import language
    from visiglot.sheet import Card, Page, Text, write_page

    page = Page(f"What {model} says", f"Prompt: {prompt}")
    found = _by_image(rows)
    cards = []
    for ref in pictures:
        texts = []
        for row in found[ref.name]:
            if row.text is not None:
                texts.append(Text(row.language or ENGLISH, row.text))
            else:  # an English sentence where an answer in that language would stand
                name = "" if row.language is None else language(row.language).name
                texts.append(Text(ENGLISH, str(row.error), note=name, status="error"))
        cards.append(Card(card_image(ref), ref.name, tuple(texts), caption=ref.name))
    page.cards(cards)
    write_page(page, path)

"""What caption and ask share: pictures and prompts in, rows out, each picture encoded once for all its prompts."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from visiglot.cli.console import counted, progress_bar, quiet_libraries, say
from visiglot.cli.errors import SOME_FAILED, USER_ERROR
from visiglot.cli.lines import STDIN, Lines, stdin_lines
from visiglot.cli.models import card_languages, knows_built_in_prompts_alone, tell_loaded
from visiglot.cli.pictures import find_pictures, refuse_foreign_page
from visiglot.cli.prompts import content
from visiglot.cli.questions import Group, Questioner, Task, check_languages, languages_of
from visiglot.cli.rows import AnswerRow, RowFile, row_line
from visiglot.cli.showing import Failures, Sheet, print_rows
from visiglot.data.tasks.pivot import read_pivot
from visiglot.errors import DataError, VisiglotError
from visiglot.evaluate.answers import error_line
from visiglot.languages import all_languages, language
from visiglot.prompts import LAST, placing_of
from visiglot.types import ImageRef

if TYPE_CHECKING:
    from visiglot.models.answer import Answering, Request
    from visiglot.models.decode import Answer, Decoding

STDOUT = Path("-")
LANGUAGES_SHOWN = 10
"""Languages that the model doesn't know which are told by name."""


@dataclass(frozen=True, slots=True)
class Loading:
    """The model and how it is run, as the command line says it.

    Args:
        fp32_parts: with commas; None: none.
        quantize, quantize_parts: see `visiglot.models.quantize.quantize_model`; None: as loaded.
        batch_tokens: see `visiglot.models.answer.Answering`; None: its default.
    """

    model: str
    device: str
    dtype: str
    fp32_parts: str | None
    quantize: str | None
    quantize_parts: str
    batch_tokens: int | None


@dataclass(frozen=True, slots=True)
class Output:
    """Where answers go, as the command line says it.

    Args:
        out: a JSONL file, or "-" for stdout; None: a table on stdout.
        sheet: a page.
        resume: keep the answers in `out` that these very questions have already. Rows about anything else stay in
            either case.
        dry_run: say how many rows would be made; no model is loaded and nothing is written.
    """

    out: Path | None
    sheet: Path | None
    resume: bool
    dry_run: bool


def answer_pictures(images: Sequence[str], task: Task, loading: Loading, output: Output) -> None:
    """Ask about every picture, or what each line of stdin asks; write rows to a file or to stdout, and perhaps a page.

    Raises:
        typer.Exit: with code 1 when some rows failed, 2 when all did.
        VisiglotError: nothing can be asked at all, or a file that isn't ours would be overwritten.
    """
    check_languages(task.languages)
    lines = _lines(images)
    pictures = [] if lines is not None else find_pictures(images)
    if lines is None and task.prompt is None and not task.caption:
        raise DataError("nothing is asked", hint="Write the question behind --prompt.")
    if lines is None and task.prompt is not None:
        content(task.prompt, None if task.languages is None else "English")
    file = None if output.out is None or output.out == STDOUT else RowFile(output.out, resume=output.resume)
    if output.sheet is not None:
        refuse_foreign_page(output.sheet)
    if output.dry_run:
        _rehearse(lines, pictures, task, loading.model, output)
        return
    answering, questioner = _load(loading, task, hashed=file is not None)
    known = None if lines is not None else list(questioner.about_pictures(pictures))
    bursts: Iterable[Iterable[Group]] = [known or []]
    if lines is not None:
        bursts = _bursts(lines, questioner, unique=file is not None)
    asked = [question.asked for group in known or () for question in group.questions]
    if file is not None:
        file.start(asked)
        if there := sum(file.kept(row) is not None for row in asked):
            say(f"{there:,} of {len(asked):,} rows are there already")
    sheet = None
    if output.sheet is not None:
        sheet = Sheet(output.sheet, model=loading.model, prompt=None if lines is not None else questioner.prompt)
    failures = Failures(at_once=lines is not None)
    rows = kept = 0
    with progress_bar() as bar:
        count = bar.add_task("rows", total=len(asked) or None)
        for done in _answers(answering, bursts, task.generation.decoding(), file):
            rows += max(len(done.rows), len(done.errors))  # a line that can't be asked may have an error and no row
            kept += done.kept
            bar.update(count, completed=rows)
            for error in done.errors:
                failures.add(error)
            _write(done.rows, file, output.out)
            if sheet is not None:
                sheet.add(done.group.refs, done.rows)
    if file is not None:
        if lines is not None and kept:
            say(f"{kept:,} of {rows:,} rows were there already")
        others, own = file.finish()
        of_others = f", {others:,} of them about other things" if others else ""
        say(f"{counted(others + own, 'row')} in {file.path}{of_others}")
    if sheet is not None:
        sheet.write()
    if failures.rows:
        failures.tell(rows)
        raise typer.Exit(SOME_FAILED if failures.rows < rows else USER_ERROR)


def _lines(images: Sequence[str]) -> Lines | None:
    """stdin's lines when they are asked for. Raises DataError: pictures are named beside them."""
    if STDIN not in images:
        return None
    if len(images) > 1:
        raise DataError(
            f"{STDIN} takes what is to be answered from stdin, and {len(images) - 1} more arguments were given",
            hint=f"Give {STDIN} alone, or pictures alone.",
        )
    return stdin_lines()


def _rehearse(lines: Lines | None, pictures: Sequence[ImageRef], task: Task, model: str, output: Output) -> None:
    """Say how many rows would be made; pictures aren't opened."""
    card = card_languages(model)
    if card is None:
        card = tuple(row.code for row in all_languages())
        if task.languages is not None:
            typer.echo(f"{model} isn't on this machine: `all` is taken to be all known languages")
    codes = () if task.languages is None else languages_of([task.languages], card)
    if lines is None:
        asked = f" x {len(codes)} languages ({', '.join(codes)})" if codes else ""
        typer.echo(
            f"{len(pictures):,} pictures{asked}: {len(pictures) * max(len(codes), 1):,} rows would be made with {model}"
        )
    else:
        _rehearse_lines(lines, task, card, model)
    out = "the terminal" if output.out is None else output.out
    typer.echo(f"written to: {out}" + (f", page: {output.sheet}" if output.sheet else ""))


def _rehearse_lines(lines: Lines, task: Task, card: Sequence[str], model: str) -> None:
    questioner = Questioner(task, _prompt_of(task, None), card=card, placing=LAST, fingerprint=None)
    failures = Failures(at_once=True)
    good = rows = 0
    while not lines.ended:
        for group in questioner.about_lines(lines.burst(), unique=False):
            if group.error is not None:
                failures.add(group.error)
            else:
                good += 1
                rows += len(group.questions)
    typer.echo(f"{good:,} lines: {rows:,} rows would be made with {model}; {failures.rows:,} lines can't be asked")


# --- asking ----------------------------------------------------------------------------------------------------------


def _load(loading: Loading, task: Task, *, hashed: bool) -> tuple[Answering, Questioner]:
    """The model, ready to answer. Its weights are hashed only when rows are to be found again."""
    quiet_libraries()
    import torch

    from visiglot.evaluate.answers import fingerprint_model
    from visiglot.models.answer import MAX_BATCH_TOKENS, Answering
    from visiglot.models.decode import pack
    from visiglot.models.load import load_model
    from visiglot.models.quantize import check_quantization, quantize_model

    task.generation.decoding()  # whatever is wrong is said before a model is loaded
    if loading.quantize is not None:
        check_quantization(loading.quantize, loading.quantize_parts)
    torch.manual_seed(task.generation.seed)
    fp32_parts = [part.strip() for part in (loading.fp32_parts or "").split(",") if part.strip()]
    model, processor = load_model(loading.model, device=loading.device, dtype=loading.dtype, fp32_parts=fp32_parts)
    tell_loaded(model)
    fingerprint = fingerprint_model(model, processor) if hashed else "not hashed"
    if loading.quantize is not None:
        for line in quantize_model(model, loading.quantize, loading.quantize_parts):
            say(line)
        fingerprint += f" {loading.quantize} {loading.quantize_parts}"
    pack(model)  # changes nothing but how long an answer takes
    card = tuple(model.config.languages)
    questioner = Questioner(
        task,
        _prompt_of(task, model.config),
        card=card,
        placing=placing_of(model.config, processor),
        fingerprint=fingerprint,
    )
    _notice_unknown(questioner.codes or (), card)
    _notice_foreign_prompt(task, loading.model)
    return Answering(model, processor, max_batch_tokens=loading.batch_tokens or MAX_BATCH_TOKENS), questioner


def _prompt_of(task: Task, config: object) -> str | None:
    from visiglot.data.nano.prompts import caption_prompt

    return caption_prompt(config) if task.prompt is None and task.caption else task.prompt


def _notice_unknown(codes: Sequence[str], card: Sequence[str]) -> None:
    unknown = [code for code in codes if card and code not in card]
    if unknown:
        names = ", ".join(f"{code} ({language(code).name})" for code in unknown[:LANGUAGES_SHOWN])
        more = f" and {len(unknown) - LANGUAGES_SHOWN} more" if len(unknown) > LANGUAGES_SHOWN else ""
        say(f"notice  not on the model's card, so expect little: {names}{more}")


def _notice_foreign_prompt(task: Task, model: str) -> None:
    """Of a model that knows no prompts but the built-in ones, unless it is asked one of them."""
    from visiglot.data.nano.prompts import caption_prompt, is_built_in

    own = (task.prompt is None and task.caption) or (task.prompt is not None and is_built_in(task.prompt))
    if not own and knows_built_in_prompts_alone(model):
        say(
            f"notice  {model} was trained on the prompts of the built-in data alone, such as {caption_prompt()!r}; "
            "expect nonsense where it is asked anything else"
        )


def _bursts(lines: Lines, questioner: Questioner, *, unique: bool) -> Iterator[Iterable[Group]]:
    """The groups of lines that can be had at once, as long as there are lines."""
    while not lines.ended:
        yield questioner.about_lines(lines.burst(), unique=unique)


@dataclass(slots=True)
class Done:
    """A group, its rows as they come, and the errors of those that failed.

    Args:
        kept: rows that were there already.
        open: rows that are still to come.
    """

    group: Group
    rows: list[AnswerRow]
    errors: list[VisiglotError] = field(default_factory=list)
    kept: int = 0
    open: int = 0


def _answers(
    answering: Answering, bursts: Iterable[Iterable[Group]], decoding: Decoding, file: RowFile | None
) -> Iterator[Done]:
    """The groups in their order, each as soon as all its rows and those of the groups before it are there.

    All that a burst gives is decoded together; the next burst is waited for when it is answered.
    """
    from visiglot.models.answer import Request, row_seed

    waiting: deque[Done] = deque()
    places: dict[str, tuple[Done, int]] = {}

    def requests(burst: Iterable[Group]) -> Iterator[Request]:
        for group in burst:
            done = _begin(group, file)
            waiting.append(done)
            for place, question in enumerate(group.questions):
                if done.rows[place].text is not None:
                    continue  # kept
                key = str(next(numbers))
                places[key] = done, place
                yield Request(key, question.example, replace(decoding, seed=row_seed(decoding.seed, question.facts)))

    numbers = itertools.count()
    for burst in bursts:
        for key, found in answering.answer(requests(burst)):
            done, place = places.pop(key)
            _take(done, place, found, pivot=answering.pivot)
            while waiting and not waiting[0].open:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()


def _begin(group: Group, file: RowFile | None) -> Done:
    """A group with the rows that are there already, and with the error of a line that can't be asked."""
    if group.error is not None:
        error = group.error
        row = AnswerRow(error.id or "", error.image, None, "", None, error_line(error), digest="")
        return Done(group, [row] if error.id is not None else [], [error])
    rows = [(file.kept(question.asked) if file is not None else None) or question.asked for question in group.questions]
    kept = sum(row.text is not None for row in rows)
    return Done(group, rows, kept=kept, open=len(rows) - kept)


def _take(done: Done, place: int, found: Answer | VisiglotError, *, pivot: bool) -> None:
    """Put an answer into its row; of one with a pivot, what stands behind it."""
    done.open -= 1
    if isinstance(found, VisiglotError):
        done.errors.append(found)
        done.rows[place] = replace(done.rows[place], error=error_line(found))
    else:
        done.rows[place] = replace(done.rows[place], text=read_pivot(found.text).answer if pivot else found.text)


def _write(rows: Sequence[AnswerRow], file: RowFile | None, out: Path | None) -> None:
    if file is not None:
        file.add(rows)
    elif out is not None:
        typer.echo("".join(map(row_line, rows)), nl=False)
    elif rows:
        print_rows(rows)

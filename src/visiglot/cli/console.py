"""How commands write: tables to stdout, what happens meanwhile to stderr."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

WIDTH = 160
"""Columns of a table that goes into a file or a pipe."""

_ISOLATE, _POP = "\u2068", "\u2069"


def say(line: str = "") -> None:
    """One line to stderr."""
    print(line, file=sys.stderr, flush=True)


def counted(number: int, what: str) -> str:
    """`1 row`, `1,234 rows`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def stdout() -> Console:
    """For tables: as wide as the terminal, or WIDTH where there is none to fit."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)


def progress_bar() -> Progress:
    """A bar on stderr; nothing is drawn where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(file=sys.stderr)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=True)


def isolated(text: str, direction: str) -> str:
    """`text` so that a right-to-left one doesn't disturb its line: between U+2068 and U+2069."""
    return f"{_ISOLATE}{text}{_POP}" if direction == "rtl" else text


def quiet_libraries() -> None:
    """Keep transformers' advice and progress bars out of a command's output. Imports transformers.

    And what bitsandbytes, which peft imports where it's installed, says of kernels that aren't.
    """
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    logging.logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

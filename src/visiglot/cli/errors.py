"""The only place where an error becomes a sentence."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

from visiglot.errors import Notice, StoppedError, VisiglotError

USER_ERROR = 2
"""Exit code of every error that the user can do something about."""

SOME_FAILED = 1
"""Exit code when the work was done but some rows failed."""

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the number of SIGINT, as shells report it."""


@contextmanager
def spoken() -> Iterator[None]:
    """Say errors that Visiglot raises on purpose in a paragraph on stderr; bugs keep their traceback.

    Raises:
        typer.Exit: after a VisiglotError (2), an interruption (130), or a stop that was asked for (128 and its signal).
    """
    with warnings.catch_warnings():
        show = warnings.showwarning

        def show_notice(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
            if issubclass(category, Notice):
                print(f"notice  {message}", file=sys.stderr)
            else:
                show(message, category, *rest, **more)

        warnings.showwarning = show_notice
        warnings.simplefilter("always", Notice)
        try:
            yield
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")  # typer's, of an option that is one of some
            raise
        except StoppedError as stopped:
            print(stopped, file=sys.stderr)
            raise typer.Exit(stopped.status) from stopped
        except VisiglotError as error:
            print(paragraph(error), file=sys.stderr)
            raise typer.Exit(USER_ERROR) from error
        except KeyboardInterrupt as error:
            print("interrupted", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from error


def paragraph(error: VisiglotError) -> str:
    """What is wrong and where, then what to do."""
    return f"error  {error}"

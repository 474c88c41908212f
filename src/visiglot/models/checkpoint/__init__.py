"""Reading weights and configs of folders and of the hub, so that nothing is ever loaded in part without a word."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from visiglot.errors import CheckpointError, VisiglotError

WEIGHTS = "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"

OFFLINE = "Check the name; without a network only folders and what the hub's cache holds can be loaded."


def first_line(error: BaseException) -> str:
    """What an error of another library says, in one line; its kind when it says nothing."""
    return str(error).strip().split("\n")[0] or type(error).__name__


def some(names: Iterable[str], limit: int = 6) -> str:
    """The first few of some names, sorted, and how many more there are."""
    listed = sorted(names)
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more


@contextmanager
def reading(what: str, *, hint: str = OFFLINE) -> Iterator[None]:
    """Turn whatever a library raises at `what` into CheckpointError.

    safetensors, tokenizers, huggingface_hub and transformers each raise kinds of their own (tokenizers plain Exception)
    for files that are missing, cut short or not theirs.
    """
    try:
        yield
    except VisiglotError:
        raise
    except Exception as error:
        raise CheckpointError(f"{what} can't be read: {first_line(error)}", hint=hint) from error

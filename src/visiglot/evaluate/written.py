"""Lists that data sets store as text, in the writing of Python."""

from __future__ import annotations

import ast


def list_in(text: str) -> list[object] | None:
    """The list or tuple of literals that `text` is the writing of; None where it isn't that of one.

    Line breaks count as spaces: some texts have them inside quotation marks, where Python allows none.
    """
    try:
        value = ast.literal_eval(text.strip().replace("\n", " "))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):  # the last two of parts nested too deep
        return None
    return list(value) if isinstance(value, list | tuple) else None

"""Names of pictures' files that follow from a row's fields, by a pattern that a recipe may change."""

from __future__ import annotations

import re
from string import Formatter
from typing import Annotated

from pydantic import AfterValidator

from visiglot.data.adapter import Pictures
from visiglot.data.rows import Row
from visiglot.types import ImageRef

_SPEC = re.compile(r"(\d*d)?")


def _checked(pattern: str) -> str:
    """`pattern`. Raises ValueError, as pydantic wants it."""
    try:
        parts = list(Formatter().parse(pattern))
    except ValueError as error:
        raise ValueError(f"is no pattern: {error}") from None
    fields = [(name, spec or "", conversion) for _, name, spec, conversion in parts if name is not None]
    if not fields:
        raise ValueError('names the same file for every row; write a field, as in "{image_id:012d}.jpg"')
    for name, spec, conversion in fields:
        if not name.isidentifier() or conversion or not _SPEC.fullmatch(spec):
            raise ValueError(f"{{{name}}} must be a field's name, alone or with a width: {{{name}:012d}}")
    return pattern


FileName = Annotated[str, AfterValidator(_checked)]
"""An option such as "COCO_train2014_{image_id:012d}.jpg": fields of a row as they are, or as numbers of a width."""


def picture_named(pictures: Pictures, pattern: str, row: Row, **given: int) -> ImageRef:
    """The picture that a FileName says for a row.

    Args:
        given: values of fields that the row doesn't have itself.

    Raises:
        DataError: the row lacks a field, it is no number where the pattern wants one, or the path leaves the folder.
    """
    name = ""
    written = []
    for text, field, spec, _ in Formatter().parse(pattern):
        written.append(text)
        if field is not None:
            name = name or field
            value = given[field] if field in given else row.integer(field) if spec else row.name(field)
            written.append(format(value, spec or ""))
    return pictures.ref(row, name, "".join(written))

"""Rows of data files of any size, one file a kind: gone through as a stream, then read one by one where they lie."""

from visiglot.data.rows.base import FileBytes, Place, Row, Rows, Where, opened
from visiglot.data.rows.json import JsonRows

__all__ = ["FileBytes", "JsonRows", "Place", "Row", "Rows", "Where", "opened"]

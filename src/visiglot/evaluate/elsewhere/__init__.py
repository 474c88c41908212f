"""Answers that were made elsewhere: the table of forms that files of answers have, and where a folder's are from.

forms.py     one row a form: how its rows are told, and what each of them says
opened.py    the rows of a file, whatever kind it is of
matching.py  foreign answers -> predictions, held against a benchmark's examples
account.py   elsewhere.json: what was taken in, and whether it was held against the data
"""

from visiglot.evaluate.elsewhere.account import ACCOUNT, Taken, add_taken, read_taken
from visiglot.evaluate.elsewhere.forms import FORMS, Form, Given, form_of
from visiglot.evaluate.elsewhere.matching import THEIRS, Wanted, match

__all__ = [
    "ACCOUNT",
    "FORMS",
    "THEIRS",
    "Form",
    "Given",
    "Taken",
    "Wanted",
    "add_taken",
    "form_of",
    "match",
    "read_taken",
]

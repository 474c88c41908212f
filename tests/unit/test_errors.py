from __future__ import annotations

import inspect

import pytest

from visiglot import errors
from visiglot.errors import ConfigError, MissingExtraError, UnknownNameError, VisiglotError, nearest


def every_error() -> list[type[VisiglotError]]:
    return [
        value
        for _, value in inspect.getmembers(errors, inspect.isclass)
        if issubclass(value, VisiglotError) and value.__module__ == errors.__name__
    ]


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_is_drawn_in_the_tree_below_its_parent(kind: type[VisiglotError]) -> None:
    assert errors.__doc__ is not None
    lines = errors.__doc__.splitlines()

    def place(name: str) -> tuple[int, int]:
        return next((n, line.index(name)) for n, line in enumerate(lines) if name in line.split())

    number, column = place(kind.__name__)
    if kind is VisiglotError:
        return
    parent_number, parent_column = place(kind.__bases__[0].__name__)
    assert parent_number < number
    assert column == parent_column + 4


def test_the_hint_stands_below_the_message() -> None:
    assert str(VisiglotError("what", hint="do this")) == "what\ndo this"
    assert str(VisiglotError("what")) == "what"


def test_a_config_error_says_all_problems_and_how_many() -> None:
    error = ConfigError("recipe x", ["a: wrong", "b: missing"])
    assert str(error) == "recipe x: 2 problems\n  a: wrong\n  b: missing"
    assert str(ConfigError("recipe x", ["a: wrong"])).startswith("recipe x: 1 problem\n")


def test_an_unknown_name_without_a_near_one_lists_what_is_known() -> None:
    assert UnknownNameError("thing", "zzz", ["beta", "alpha"]).hint == "Known: alpha, beta."
    assert UnknownNameError("thing", "zzz", []).hint == "Known: none."


def test_an_unknown_name_asks_for_the_near_one() -> None:
    assert UnknownNameError("thing", "alhpa", ["beta", "alpha"]).hint == "Did you mean 'alpha'?"


def test_an_unknown_name_that_others_begin_with_asks_for_them() -> None:
    known = ["coco-captions", "coco-karpathy", "xgqa"]
    assert UnknownNameError("source", "coco", known).hint == "Did you mean 'coco-captions' or 'coco-karpathy'?"


def test_a_missing_extra_says_the_pip_line() -> None:
    assert MissingExtraError("pyarrow", "train").hint == "pip install 'visiglot[train]'"


def test_nearest_ignores_case_and_keeps_spelling() -> None:
    assert nearest("SWH_latn", ["swh_Latn", "deu_Latn"])[0] == "swh_Latn"
    assert nearest("nothing alike", ["swh_Latn"]) == []

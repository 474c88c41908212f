"""docs/data.md knows every format, task and policy, and states the licence that the table has."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import get_args

import pytest

from visiglot.config import AllocationSection
from visiglot.data.adapter import FORMATS
from visiglot.data.source import SOURCES
from visiglot.data.tasks import TASKS

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
ROWS: dict[str, list[str]] = defaultdict(list)
for _name, _row in re.findall(r"^\| `([a-z0-9_-]+)` \| (.*) \|$", PAGE, re.MULTILINE):
    ROWS[_name].append(_row)  # a format and a task may have the same name


@pytest.mark.parametrize("name", [*(name for name in SOURCES.names() if name in FORMATS), "parquet"])
def test_a_source_has_a_row(name: str) -> None:
    assert name in ROWS


@pytest.mark.parametrize("name", [name for name in SOURCES.names() if name in FORMATS])
def test_a_format_states_its_licence(name: str) -> None:
    licence, told = FORMATS[name].licence, ROWS[name][0].rpartition("|")[2]
    if licence is None:
        assert told.strip() in ("not stated", "state it")
    else:
        assert licence.split()[0].startswith(("ImageNet", told.split()[0].rstrip(";,")))


@pytest.mark.parametrize("name", TASKS.names())
def test_a_task_has_a_row(name: str) -> None:
    assert name in ROWS


@pytest.mark.parametrize("name", get_args(AllocationSection.model_fields["policy"].annotation))
def test_a_policy_has_a_row(name: str) -> None:
    assert name in ROWS

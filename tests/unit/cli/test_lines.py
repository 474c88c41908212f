"""Lines of stdin: taken as they come, one bad one costing itself alone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import IO

import pytest

from visiglot.cli import lines as module
from visiglot.cli.lines import LineError, LineRow, Lines


def images(found: Iterator[LineRow | LineError]) -> list[str]:
    return [row.images[0] if isinstance(row, LineRow) else str(row) for row in found]


def line(image: str) -> bytes:
    return json.dumps({"image": image}).encode() + b"\n"


@pytest.fixture
def pipe() -> Iterator[tuple[IO[bytes], int]]:
    """A reader, and the descriptor to write to."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader:
        yield reader, writing


def test_a_burst_gives_what_is_there_and_does_not_wait_for_more(pipe: tuple[IO[bytes], int]) -> None:
    reader, writing = pipe
    lines = Lines(reader)
    os.write(writing, line("a") + b"\n" + line("b") + line("cut off")[:9])
    assert images(lines.burst()) == ["a", "b"]
    os.write(writing, line("cut off")[9:])
    assert images(lines.burst()) == ["cut off"]
    assert not lines.ended
    os.write(writing, line("last").rstrip())
    os.close(writing)
    assert images(lines.burst()) == ["last"]
    assert lines.ended
    assert images(lines.burst()) == []


def test_lines_of_a_file_and_of_memory_are_one_burst(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbf" + line("ä.png") + b"  \n" + line("b" * 100_000)
    path = tmp_path / "rows.jsonl"
    path.write_bytes(data)
    with path.open("rb") as file:
        for stream in (file, BytesIO(data)):
            assert images(Lines(stream).burst()) == ["ä.png", "b" * 100_000]


def test_a_line_that_is_too_long_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LINE", 100)
    monkeypatch.setattr(module, "_BLOCK", 16)
    data = line("a") + line("x" * 1000) + line("b") + line("y" * 1000).rstrip()
    first, second, third, fourth = images(Lines(BytesIO(data)).burst())
    assert (first, third) == ("a", "b")
    assert second.startswith("line 2: longer than 100 bytes")
    assert fourth.startswith("line 4: longer than 100 bytes")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "no JSON"),
        ("\xff", "no JSON"),
        ("[1]", "a JSON object is expected, found list"),
        ("{}", "no image"),
        ('{"image": null}', "no image"),
        ('{"imge": "a"}', "unknown key 'imge', did you mean 'image'?"),
        ('{"image": "a", "answer": "b"}', "unknown key 'answer'"),
        ('{"image": ""}', "image: a text is expected, found ''"),
        ('{"image": "a", "id": 7}', "id: a text is expected, found 7"),
        ('{"image": "a", "languages": "de"}', "languages: a list of texts is expected, found 'de'"),
        ('{"images": []}', "images: a list of texts is expected"),
        ('{"image": "a", "images": ["b"]}', "image and images are both there"),
        ('{"image": "a", "language": "de", "languages": ["sw"]}', "language and languages are both there"),
    ],
)
def test_a_line_that_asks_nothing_says_why_and_where(text: str, said: str) -> None:
    data = line("a") + text.encode("latin-1") + b"\n"
    _, error = Lines(BytesIO(data)).burst()
    assert isinstance(error, LineError)
    assert error.message.startswith("line 2: ")
    assert said in error.message


def test_a_bad_line_keeps_what_it_is_called_but_no_picture_s_bytes() -> None:
    found = list(Lines(BytesIO(b'{"id": "x", "image": "a", "?": 1}\n{"image": "data:,a", "?": 1}')).burst())
    assert [(error.id, error.image) for error in found if isinstance(error, LineError)] == [("x", "a"), (None, "")]

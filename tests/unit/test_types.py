"""A picture's key: the hash of its bytes, taken once while the file stays as it is."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from visiglot import types
from visiglot.types import IGNORE, ImageRef, Sample


def test_a_file_is_hashed_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"one")
    hashed: list[str] = []
    digest = hashlib.file_digest

    def counted(file, name):
        hashed.append(file.name)
        return digest(file, name)

    monkeypatch.setattr(types.hashlib, "file_digest", counted)
    keys = {ImageRef("a", path=path).key for _ in range(3)}
    assert keys == {hashlib.sha256(b"one").hexdigest()}
    assert len(hashed) == 1
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))
    assert ImageRef("a", path=path).key == hashlib.sha256(b"two").hexdigest() == ImageRef("b", data=b"two").key


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"12345")
    monkeypatch.setattr(types, "MAX_IMAGE_BYTES", 4)
    monkeypatch.setattr(Path, "open", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(OSError, match="5 bytes, the limit is 4"):
        _ = ImageRef("a", path=path).key


def test_what_is_no_file_is_not_read() -> None:
    with pytest.raises(OSError, match="not a file"):
        _ = ImageRef("zero", path=Path("/dev/zero")).key


def test_the_prompt_ends_where_the_first_answer_begins() -> None:
    assert Sample("s", (1, 2, 3), (IGNORE, 2, 3), (), "eng_Latn", first_answer=1).prompt_length == 1
    assert Sample("s", (1, 2, 3), (), (), "eng_Latn").prompt_length == 3

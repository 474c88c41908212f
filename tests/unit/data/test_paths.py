"""Paths that a data file gives, below a root that may have links in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from visiglot.data.paths import join_below, resolve_below
from visiglot.errors import DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """As LLaVA's instructions lay it out: `playground/data/coco` is a link to where COCO is."""
    (tmp_path / "disk" / "coco" / "train2017").mkdir(parents=True)
    (tmp_path / "disk" / "vg-1.2").mkdir()
    folder = tmp_path / "playground" / "data"
    folder.mkdir(parents=True)
    (folder / "coco").symlink_to(tmp_path / "disk" / "coco")
    (folder / "vg").symlink_to(tmp_path / "disk" / "vg-1.2")
    return folder


def test_a_link_out_of_the_root_is_refused_with_the_root_that_would_do(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'coco/train2017/1\.jpg' leaves .* by a link, to .*disk/coco") as caught:
        resolve_below(root, "coco/train2017/1.jpg", where="llava.json, line 7")
    assert caught.value.hint is not None
    assert caught.value.hint.endswith(f": {tmp_path / 'disk'}.")
    assert resolve_below(tmp_path / "disk", "coco/train2017/1.jpg", where="")


def test_a_link_to_another_name_is_refused_with_what_else_would_do(root: Path) -> None:
    with pytest.raises(DataError, match="by a link") as caught:
        resolve_below(root, "vg/VG_100K/1.jpg", where="llava.json, line 7")
    assert caught.value.hint is not None
    assert "mount" in caught.value.hint


def test_links_inside_the_root_and_a_root_that_is_one_are_followed(root: Path, tmp_path: Path) -> None:
    assert resolve_below(root / "coco", "train2017/1.jpg", where="") == root / "coco" / "train2017" / "1.jpg"
    (root / "here").mkdir()
    (root / "there").symlink_to(root / "here")
    assert resolve_below(root, "there/1.jpg", where="") == root / "there" / "1.jpg"


@pytest.mark.parametrize("path", ["/etc/passwd", "../a.png", "a/../../b.png", "a\0.png"])
@pytest.mark.parametrize("below", [join_below, resolve_below])
def test_both_ways_refuse_the_same_texts(root: Path, path: str, below: object) -> None:
    with pytest.raises(DataError, match="leaves"):
        below(root, path, where="")  # type: ignore[operator]

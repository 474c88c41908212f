"""A checkpoint is whole or not there, whatever happens to the disk or the process."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from visiglot.errors import CheckpointError, TrainingError
from visiglot.files import write_text
from visiglot.models.runs import incomplete
from visiglot.train.checkpoint import (
    Position,
    best_of,
    check_contents,
    checkpoints,
    clean_leftovers,
    last_complete,
    owned,
    save_checkpoint,
    set_aside,
)


def write(folder: Path) -> None:
    (folder / "model").mkdir()
    (folder / "model" / "weights").write_bytes(b"0123456789")


def save(run: Path, step: int, stage: int = 0, keep: int = 9, loss: float | None = None) -> Path:
    about = {"recipe_hash": "x", "validation": None if loss is None else {"loss": loss}}
    return save_checkpoint(run, f"s{stage}", Position(stage, step), write, about=about, keep=keep)


def test_the_last_complete_is_the_furthest_by_stage_then_step(tmp_path: Path) -> None:
    assert last_complete(tmp_path) is None
    save(tmp_path, 100)
    newest = save(tmp_path, 5, stage=1)
    save(tmp_path, 90)
    assert last_complete(tmp_path) == newest


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_a_disk_that_takes_no_more_leaves_the_last_good_checkpoint(tmp_path: Path, number: int) -> None:
    good = save(tmp_path, 1)

    def fails(folder: Path) -> None:
        write(folder)
        raise OSError(number, os.strerror(number))

    with pytest.raises(CheckpointError, match=os.strerror(number)) as caught:
        save_checkpoint(tmp_path, "s0", Position(0, 2), fails, about={}, keep=1)
    assert "s0-1 is whole" in str(caught.value.hint)
    assert last_complete(tmp_path) == good
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["s0-1"]


def test_an_error_that_is_not_the_disks_passes_through(tmp_path: Path) -> None:
    def fails(folder: Path) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        save_checkpoint(tmp_path, "s0", Position(0, 2), fails, about={}, keep=1)
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save(tmp_path, step, keep=2)
    assert [checkpoint.position.step for checkpoint in checkpoints(tmp_path)] == [2, 3]


def test_the_best_stays_when_newer_ones_are_forgotten_and_manifests_name_it(tmp_path: Path) -> None:
    for step, loss in ((1, 3.0), (2, 1.0), (3, 2.0), (4, None), (5, 1.0)):
        save(tmp_path, step, keep=2, loss=loss)
    found = checkpoints(tmp_path)
    assert [one.position.step for one in found] == [2, 4, 5]
    assert [one.manifest["best"] for one in found] == ["s0-2"] * 3
    assert best_of(found) == found[0]


def test_the_best_is_of_the_last_stage_that_was_measured_whose_losses_can_be_compared(tmp_path: Path) -> None:
    save(tmp_path, 9, loss=0.1)
    assert best_of(checkpoints(tmp_path)).folder.name == "s0-9"
    save(tmp_path, 1, stage=1)
    assert best_of(checkpoints(tmp_path)).folder.name == "s0-9"
    for step, loss in ((2, 5.0), (3, 4.0)):
        save(tmp_path, step, stage=1, keep=1, loss=loss)
    assert [one.folder.name for one in checkpoints(tmp_path)] == ["s1-3"]
    assert best_of([]) is None


def test_what_is_set_aside_is_no_checkpoint_and_can_be_saved_anew(tmp_path: Path) -> None:
    good = save(tmp_path, 1)
    save(tmp_path, 2)
    aside = set_aside(checkpoints(tmp_path)[-1])
    assert last_complete(tmp_path) == good
    assert (aside / "model" / "weights").is_file()
    again = save(tmp_path, 2)
    assert last_complete(tmp_path) == again
    assert not set_aside(checkpoints(tmp_path)[-1]).with_name("s0-2").exists()


def test_a_file_cut_short_makes_a_checkpoint_incomplete(tmp_path: Path) -> None:
    good = save(tmp_path, 1)
    (save(tmp_path, 2) / "model" / "weights").write_bytes(b"0123")
    assert last_complete(tmp_path) == good


@pytest.mark.parametrize(
    "text", ["[]", "null", "3", '{"complete": true, "files": []}', '{"complete": true, "files": {"a": 3}}', "{", ""]
)
def test_a_manifest_that_describes_nothing_makes_a_checkpoint_incomplete(tmp_path: Path, text: str) -> None:
    good = save(tmp_path, 1)
    torn = save(tmp_path, 2)
    (torn / "manifest.json").write_text(text)
    assert last_complete(tmp_path) == good
    assert incomplete(tmp_path) == [torn]


def test_a_copy_under_another_name_is_not_forgotten(tmp_path: Path) -> None:
    shutil.copytree(save(tmp_path, 1), tmp_path / "checkpoints" / "s0-1-mine")
    for step in (2, 3):
        save(tmp_path, step, keep=1)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["s0-1-mine", "s0-3"]


def test_changed_bytes_are_found_by_their_hash(tmp_path: Path) -> None:
    (save(tmp_path, 1) / "model" / "weights").write_bytes(b"012345678X")
    (checkpoint,) = checkpoints(tmp_path)
    with pytest.raises(CheckpointError, match="not what was saved"):
        check_contents(checkpoint)


def test_leftovers_of_a_killed_run_are_no_checkpoint_and_are_cleaned(tmp_path: Path) -> None:
    leftover = tmp_path / "checkpoints" / ".s0-3.partial"
    leftover.mkdir(parents=True)
    (leftover / "manifest.json").write_text(json.dumps({"complete": True}))
    assert last_complete(tmp_path) is None
    clean_leftovers(tmp_path)
    assert not leftover.exists()


def test_the_same_step_can_be_saved_again(tmp_path: Path) -> None:
    save(tmp_path, 1)
    again = save(tmp_path, 1)
    assert last_complete(tmp_path) == again


def test_a_run_has_one_owner_and_the_error_names_it(tmp_path: Path) -> None:
    with (
        owned(tmp_path),
        pytest.raises(TrainingError, match=f"process {os.getpid()}"),
        owned(tmp_path),
    ):
        pass
    with owned(tmp_path):  # free again
        assert (tmp_path / "run.lock").read_text().strip() == str(os.getpid())


def test_a_text_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "recipe.yaml"
    write_text("old", path, error=CheckpointError)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left"):
        write_text("new", path, error=CheckpointError)
    assert path.read_text() == "old"


def test_a_lock_that_cannot_be_written_is_an_error_and_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(CheckpointError, match="No space left"), owned(tmp_path):
            pass
    with owned(tmp_path):
        assert (tmp_path / "run.lock").read_text().strip() == str(os.getpid())

"""Which cells are measured, and what is left behind. Cells themselves are made up here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.studies.conftest import MakeRow

from studies import run
from studies.identity import Facts, PlannedCell
from studies.locks import locked
from studies.measure import run_folder
from studies.rows import Row, append_row, read_rows
from studies.run import alone, claim, main, plan, run_jobs, run_study
from studies.study import Cell, Study
from visiglot.errors import TrainingError, VisiglotError
from visiglot.models.runs import runs_dir


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch, make_row: MakeRow, tmp_path: Path) -> list[str]:
    """Names of the cells that were measured; a cell's identity is its arm and seed."""
    monkeypatch.setenv("VISIGLOT_CACHE", str(tmp_path / "cache"))
    done: list[str] = []

    def made_up(study: Study, cell: Cell, facts: Facts) -> PlannedCell:
        return PlannedCell(cell, (), f"{cell.arm}-{cell.seed}", {})

    def measure(study: Study, planned: PlannedCell) -> Row:
        done.append(planned.identity)
        return make_row(planned.cell.arm, planned.cell.seed, 10)

    monkeypatch.setattr(run, "plan_cell", made_up)
    monkeypatch.setattr(run, "measure_cell", measure)
    return done


def test_a_second_run_measures_the_missing_cells_only(toy: Study, cells: list[str], tmp_path: Path) -> None:
    assert run_study(toy, tmp_path, cells=2) == 4
    assert cells == ["base-1", "other-1"]
    assert run_study(toy, tmp_path) == 0
    assert cells == ["base-1", "other-1", "base-2", "other-2", "base-3", "other-3"]
    assert run_study(toy, tmp_path) == 0
    assert len(cells) == 6


def test_the_plan_is_written_once(toy: Study, cells: list[str], tmp_path: Path) -> None:
    run_study(toy, tmp_path, cells=1)
    run_study(toy, tmp_path)
    kinds = [row["kind"] for row in read_rows(tmp_path / "toy.jsonl")]
    assert kinds == ["plan"] + ["cell"] * 6
    run_study(toy.model_copy(update={"seeds": (1, 2)}), tmp_path)
    assert [row["kind"] for row in read_rows(tmp_path / "toy.jsonl")][7:] == ["plan"]


def test_cells_of_another_study_are_taken(toy: Study, cells: list[str], make_row: MakeRow, tmp_path: Path) -> None:
    for seed in toy.seeds:
        append_row(make_row("base", seed, 12, study="another"), tmp_path / "another.jsonl")
    run_study(toy, tmp_path)
    assert cells == ["other-1", "other-2", "other-3"]
    assert "60.0 %" in (tmp_path / "toy.md").read_text(encoding="utf-8")


def test_no_cell_begins_after_the_minutes_given(toy: Study, cells: list[str], tmp_path: Path) -> None:
    assert run_study(toy, tmp_path, minutes=0) == 6
    assert cells == []


def test_a_dry_run_writes_nothing(toy: Study, cells: list[str], tmp_path: Path) -> None:
    assert run_study(toy, tmp_path / "results", dry_run=True) == 6
    assert cells == []
    assert not (tmp_path / "results").exists()


def test_what_was_measured_before_a_failure_is_kept(
    toy: Study, cells: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = run.measure_cell

    def failing(study: Study, planned: PlannedCell) -> Row:
        if planned.cell == Cell("base", 2):
            raise VisiglotError("the disk is full")
        return measure(study, planned)

    monkeypatch.setattr(run, "measure_cell", failing)
    with pytest.raises(VisiglotError, match="disk"):
        run_study(toy, tmp_path)
    assert [row["identity"] for row in read_rows(tmp_path / "toy.jsonl")[1:]] == ["base-1", "other-1"]


def test_only_this_studys_leftovers_are_deleted(toy: Study, cells: list[str], tmp_path: Path) -> None:
    digest = "0123456789abcdef"
    left = [f"study-toy-{digest}", f"study-toys-{digest}", f"study-toy-2-{digest}", "study-toy-notes", "nano-lm"]
    for name in left:
        (runs_dir() / name).mkdir(parents=True)
    run_study(toy, tmp_path, cells=0)
    assert sorted(path.name for path in runs_dir().iterdir()) == sorted(left[1:])


def test_a_link_that_cells_share_stays_until_the_last_of_them_is_measured(
    toy: Study, cells: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from types import SimpleNamespace

    shared = SimpleNamespace(identity="a" * 64, examples=1)

    def made_up(study: Study, cell: Cell, facts: Facts) -> PlannedCell:
        return PlannedCell(cell, (shared,) if cell.seed < 3 else (), f"{cell.arm}-{cell.seed}", {})  # type: ignore[arg-type]

    monkeypatch.setattr(run, "plan_cell", made_up)
    folder = run_folder(toy, shared)  # type: ignore[arg-type]
    folder.mkdir(parents=True)
    run_study(toy, tmp_path, cells=3)
    assert folder.is_dir()
    run_study(toy, tmp_path, cells=1)
    assert not folder.exists()


def test_a_cell_that_another_job_measures_is_passed_over(toy: Study, cells: list[str], tmp_path: Path) -> None:
    with locked("toy-base-1"), locked("toy-other-2"):
        assert run_study(toy, tmp_path) == 2
    assert cells == ["other-1", "base-2", "base-3", "other-3"]
    assert run_study(toy, tmp_path) == 0
    assert cells[4:] == ["base-1", "other-2"]


def test_a_cell_that_another_job_has_just_measured_isnt_measured_again(
    toy: Study, cells: list[str], make_row: MakeRow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = plan(toy)[:2]

    @contextlib.contextmanager
    def slow(name: str, *, wait: bool = True) -> Iterator[bool]:
        if name == "toy-base-1":  # measured between a look at the rows and the lock
            append_row(make_row("base", 1, 10), tmp_path / "toy.jsonl")
        with locked(name, wait=wait) as held:
            yield held

    monkeypatch.setattr(run, "locked", slow)
    with claim(toy, planned, tmp_path) as one:
        assert one == planned[1]


@pytest.mark.slow
def test_jobs_measure_side_by_side_and_one_that_fails_is_an_error(
    toy: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """In processes of their own nothing is made up: what is trained from isn't there, and both jobs say so."""
    monkeypatch.setenv("VISIGLOT_CACHE", str(tmp_path / "cache"))
    with pytest.raises(TrainingError, match=r"2 of 2 jobs failed \(exit codes 2, 2\)"):
        run_jobs(toy, tmp_path / "results", 2, minutes=None)
    assert capfd.readouterr().err.count("error: ") == 2


@pytest.mark.parametrize("options", [["--jobs", "0"], ["--jobs", "3"], ["--jobs", "2", "--cells", "1"]])
def test_jobs_that_cant_be_are_refused(cells: list[str], options: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["realign", "--out", str(tmp_path), *options])
    assert cells == []


def test_two_studies_dont_run_at_once(cells: list[str]) -> None:
    with alone(), pytest.raises(TrainingError, match="another study"), alone():
        pass
    with alone():
        pass


def test_what_is_missing_can_be_asked_while_a_study_runs(
    cells: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with alone():
        assert main(["realign", "--dry-run", "--out", str(tmp_path)]) == 0
    assert "missing: warm, seed 1" in capsys.readouterr().err


def test_a_mistake_is_one_sentence(cells: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["realing"]) == 2
    assert "realign" in capsys.readouterr().err

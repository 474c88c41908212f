"""What can't be read while training: named, or left out of the loss and counted, and never stood in for."""

import dataclasses
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console
from tests.broken import Broken
from tests.drawn import drawn_recipe
from tests.tiny import build_tiny

from visiglot.config import Recipe
from visiglot.data.ledger import Ledger
from visiglot.errors import DataError, ImageError, TrainingError
from visiglot.models.runs import checkpoints
from visiglot.train.loader import Loader
from visiglot.train.loop import fit
from visiglot.train.precision import build_accelerator
from visiglot.train.stages import Sources, Stage, prepare_stage
from visiglot.train.track import Tracker
from visiglot.types import ImageRef

CUT = ["eng_Latn/red-circle", "deu_Latn/blue-bar"]
GONE = ["deu_Latn/green-square"]


def recipe(stage: dict[str, Any] | None = None, cut: Any = CUT, gone: Any = (), **train: Any) -> Recipe:
    found = drawn_recipe({"steps": 6} | (stage or {}), **train)
    source = {"type": "broken", "options": {"cut": list(cut), "gone": list(gone)}}
    values = found.model_dump(mode="json", by_alias=True, exclude_none=True)
    return Recipe.model_validate(values | {"data": values["data"] | {"sources": [source]}})


def prepare(made: Recipe) -> tuple[Stage, Ledger]:
    built = build_tiny()
    ledger = Ledger(None, made.train.max_bad)
    stage = prepare_stage(made, 0, built.model, built.processor, Sources(), build_accelerator("fp32", "cpu"), ledger)
    return stage, ledger


def train(made: Recipe, out: Path) -> Path:
    return fit(made, out=out, device="cpu", report=Tracker(), resume=True)


def test_a_broken_picture_stops_the_run_and_names_example_picture_and_reason(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"example (\S+): picture \1: broken PNG") as caught:
        train(recipe(), tmp_path)
    assert "train.on_bad=skip" in str(caught.value.hint)


def test_a_row_that_cannot_be_read_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rows\.json, row 15"):
        train(recipe(cut=(), gone=GONE), tmp_path)


@pytest.mark.parametrize("stage", [{}, {"augment": True}, {"cache_views": 2}], ids=["plain", "augmented", "cached"])
def test_skipped_examples_are_in_the_ledger_and_in_no_batch(
    stage: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISIGLOT_CACHE", str(tmp_path / "cache"))
    made = recipe(stage, gone=GONE, on_bad="skip", max_bad=0.2)
    run = train(made, tmp_path / "run")
    rows = [json.loads(line) for line in (run / "ledger.jsonl").read_text().splitlines()]
    assert {row["id"]: row["reason"] for row in rows} == {
        **dict.fromkeys(CUT, "unreadable picture"),
        "broken/15": "bad row",
    }
    assert all("broken PNG" in row["detail"] for row in rows if row["id"] in CUT)

    prepared, ledger = prepare(made)
    shown = [id_ for step in range(6) for batch in agreed(prepared.loader, step).batches for id_ in batch.ids]
    assert ledger.seen == 48
    assert len(shown) == 48 - ledger.skipped
    assert not {*CUT, *GONE} & set(shown)


def agreed(loader: Loader, step: int) -> Any:
    return loader.agree(loader.load(step))


def test_the_divisor_counts_what_is_left_over_all_passes() -> None:
    stage, ledger = prepare(recipe({"batch": {"rows": 8, "accumulate": 4}}, on_bad="skip", max_bad=0.2))
    sizes = []
    for step in range(6):
        loaded = agreed(stage.loader, step)
        supervised = sum(int((batch.labels != -100).sum()) for batch in loaded.batches)
        assert stage.objective.count(loaded.samples) == supervised
        sizes.append(sum(len(batch.ids) for batch in loaded.batches))
    assert ledger.skipped == 48 - sum(sizes) > 0
    assert set(sizes) <= {5, 6, 7, 8}


def test_a_run_that_skips_walks_the_path_of_a_run_without_the_bad_rows(tmp_path: Path) -> None:
    # one pass of what is left and eight passes of one row differ only if a row that was left out still counted
    paths = []
    for accumulate in (1, 8):
        stage = {"batch": {"rows": 8, "accumulate": accumulate}, "lr": 3e-3}
        run = train(recipe(stage, on_bad="skip", max_bad=0.2), tmp_path / str(accumulate))
        paths.append([json.loads(line)["loss"] for line in (run / "log.jsonl").read_text().splitlines()])
    assert paths[0] == pytest.approx(paths[1], abs=2e-4)


def test_too_many_bad_pictures_stop_a_run_that_skips(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"more than the allowed 0\.1%"):
        train(recipe(on_bad="skip", max_bad=0.001), tmp_path)


def test_a_step_of_nothing_but_bad_pictures_is_an_error() -> None:
    everything = [example.id for example in Broken(["eng_Latn", "deu_Latn"]).examples]
    with pytest.raises(DataError, match="none of the pictures of its 8"):
        agreed(prepare(recipe(cut=everything, on_bad="skip", max_bad=1.0))[0].loader, 0)


def test_the_end_of_a_run_says_what_was_left_out(tmp_path: Path) -> None:
    said = io.StringIO()
    tracker = Tracker(Console(file=said, width=300))
    fit(recipe(gone=GONE, on_bad="skip", max_bad=0.2), out=tmp_path, device="cpu", report=tracker)
    (line,) = [line for line in said.getvalue().splitlines() if line.startswith("left out: ")]
    assert "of 48 examples" in line
    assert "unreadable picture" in line
    assert "bad row" in line
    assert str(tmp_path / "ledger.jsonl") in line


def test_a_run_that_a_bad_picture_stopped_goes_on_with_skip(tmp_path: Path) -> None:
    train_ids = [sample.id for sample in prepare(recipe(cut=()))[0].loader.load(4).samples]
    cut = train_ids[:1]
    with pytest.raises(ImageError):
        train(recipe(cut=cut, save_every=1), tmp_path)
    assert 0 < checkpoints(tmp_path)[-1].position.step < 6
    run = train(recipe(cut=cut, save_every=1, on_bad="skip"), tmp_path)
    assert checkpoints(run)[-1].position.step == 6


class Together:
    """Stands for accelerate in one of two processes; the other says `theirs`."""

    num_processes = 2
    process_index = 0
    device = torch.device("cpu")

    def __init__(self, theirs: Any) -> None:
        self.theirs = theirs

    def gather(self, own: torch.Tensor) -> torch.Tensor:
        return torch.cat([own, self.theirs(own)])


def test_what_another_process_cannot_show_is_left_out_here_too(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, ledger = prepare(recipe(cut=(), on_bad="skip"))
    stage.loader.accelerator = Together(lambda own: own + torch.tensor([1, 0]))
    monkeypatch.setattr("accelerate.utils.gather_object", lambda own: [*own, {7: "picture x: broken PNG"}])
    loaded = stage.loader.load(0)
    assert [len(batch.ids) for batch in loaded.batches] == [4]
    after = stage.loader.agree(loaded)
    assert [sample.id for sample in after.samples] == [sample.id for sample in loaded.samples[:7]]
    assert sum(len(batch.ids) for batch in after.batches) in (3, 4)
    assert ledger.reasons == {"unreadable picture": 1}


def test_processes_that_read_different_rows_stop() -> None:
    stage, _ = prepare(recipe(cut=(), on_bad="skip"))
    stage.loader.accelerator = Together(lambda own: own + torch.tensor([0, 1]))
    with pytest.raises(TrainingError, match="different rows"):
        agreed(stage.loader, 0)


def test_a_picture_that_comes_and_goes_is_an_error() -> None:
    stage, _ = prepare(recipe(cut=(), on_bad="skip"))
    loaded = stage.loader.load(0)
    feed = stage.feed
    stage.loader.feed = SimpleNamespace(batch=lambda *_: (_ for _ in ()).throw(ImageError("picture x: gone", hint="")))
    bad = type(loaded)(0, loaded.samples, loaded.batches, {0: "picture y: broken"})
    with pytest.raises(DataError, match="at first and now can't"):
        stage.loader.agree(bad)
    feed.close()


class Rank:
    """Stands for accelerate in one of several processes."""

    device = torch.device("cpu")

    def __init__(self, process_index: int, num_processes: int) -> None:
        self.process_index = process_index
        self.num_processes = num_processes


def shown_to(processes: int, stage: dict[str, Any], data: dict[str, bool]) -> list[list[list[Any]]]:
    """The batches of each step and process, of an epoch of everything that is drawn."""
    examples = 24 * len(data)
    made = drawn_recipe({"steps": -(-examples // 6), **stage}, llm="llama", data=data)
    prepared, _ = prepare(made)
    found = []
    for step in range(made.stages[0].steps):
        of_step = []
        for rank in range(processes):
            prepared.loader.accelerator = Rank(rank, processes)
            of_step.append(list(prepared.loader.load(step).batches))
        found.append(of_step)
    return found


@pytest.mark.parametrize(
    "batch",
    [{"accumulate": 1}, {"accumulate": 2}, {"tokens": 60}, {"balance_languages": True}, {"group_by_length": False}],
    ids=str,
)
def test_an_epoch_over_any_number_of_processes_shows_each_example_once(batch: dict[str, Any]) -> None:
    stage = {"batch": {"rows": 6, **batch}}
    by_step: dict[int, list[list[str]]] = {}
    for processes in (1, 2, 3):
        steps = shown_to(processes, stage, {"pictures": True, "text": True})
        ids = [sorted(id_ for own in step for one in own for id_ in one.ids) for step in steps]
        by_step[processes] = ids
        shown = [id_ for step in ids for id_ in step]
        assert len(shown) == len(set(shown)) == 48
        passes = [{len(own) for own in step} for step in steps]
        assert all(len(numbers) == 1 for numbers in passes)  # processes meet in each pass
    assert by_step[1] == by_step[2] == by_step[3]  # which examples a step has follows from the seed alone


def test_no_pass_has_more_tokens_than_asked() -> None:
    steps = shown_to(2, {"batch": {"rows": 6, "tokens": 60}}, {"pictures": True, "text": True})
    sizes = [batch.input_ids.numel() for step in steps for own in step for batch in own]
    assert max(sizes) <= 60
    assert max(sizes) > 30


def test_a_process_without_pictures_encodes_one_of_anothers_where_they_have_to_meet() -> None:
    made = drawn_recipe({"batch": {"rows": 2, "group_by_length": False}}, llm="llama", data={"text": True})
    stage, _ = prepare(made)
    stage.loader.meet = True
    alone = 0
    for step in range(4):
        pair = []
        for rank in (0, 1):
            stage.loader.accelerator = Rank(rank, 2)
            pair += stage.loader.load(step).batches
        shows = [len(batch.slot_image) > 0 for batch in pair]
        assert [batch.pixel_values is not None for batch in pair] == [any(shows)] * 2
        alone += shows[0] != shows[1]
    assert alone


def test_a_borrowed_picture_that_cannot_be_read_leaves_its_example_out() -> None:
    stage, _ = prepare(recipe({"batch": {"rows": 2, "group_by_length": False}}, cut=(), on_bad="skip", max_bad=1.0))
    samples = list(stage.loader.load(0).samples)
    picture = samples[1].images[0]
    image_token = stage.feed.spec.image_token_id
    samples = [
        dataclasses.replace(samples[0], images=(), ids=tuple(i for i in samples[0].ids if i != image_token)),
        dataclasses.replace(samples[1], images=(ImageRef(picture.name, data=picture.data[:60]),)),
    ]  # fmt: skip
    stage.loader.meet = True
    stage.loader.accelerator = Rank(0, 2)
    assert list(stage.loader._load(0, samples).bad) == [1]

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image, ImageDraw
from safetensors.torch import load_file
from tests.nano_runs import LANGUAGES, realigned, write_run, write_runs
from tests.unit.data.nano.conftest import pin, unpin
from tests.unit.data.nano.packages import write_packages

from tools import ship_nano
from tools.nano_cards import LICENCE, SUMS
from tools.nano_data import training_data
from tools.nano_weights import rounded
from visiglot.config import load_recipe
from visiglot.data.nano.build import build_nano
from visiglot.data.nano.fetch import load_packages
from visiglot.errors import DataError
from visiglot.evaluate.answers import fingerprint_model
from visiglot.evaluate.means import GroupMean
from visiglot.evaluate.predictions import MEANS, SCORES, write_means, write_scores
from visiglot.evaluate.provenance import BenchmarkRun, Run
from visiglot.evaluate.provenance import write_run as write_account
from visiglot.models.load import load_model
from visiglot.types import Score

Ship = Callable[..., tuple[int, str]]
FOLDERS = ("english", "lm", "model")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The built-in data from tiny packages."""
    folder = tmp_path_factory.mktemp("nano")
    with pytest.MonkeyPatch.context() as monkeypatch:
        pin(monkeypatch, write_packages(folder / "packages"))
        yield build_nano(folder / "data", packages=folder / "packages")
    unpin()


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with the three finished runs."""
    monkeypatch.setenv("VISIGLOT_CACHE", str(tmp_path / "cache"))
    write_runs(tmp_path / "cache" / "runs")
    return tmp_path / "cache" / "runs"


@pytest.fixture
def ship(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ship:
    """`ship(...)`: run the tool into `tmp_path / "out"`; its exit code and what it said."""
    picture = tmp_path / "package" / "examples" / "a.png"
    picture.parent.mkdir(parents=True)
    drawn = Image.new("RGB", (32, 32), "white")
    ImageDraw.Draw(drawn).ellipse((4, 4, 28, 28), fill="red")
    drawn.save(picture)
    monkeypatch.setattr(ship_nano, "nano_folder", lambda: tmp_path / "package")

    def run(*arguments: object) -> tuple[int, str]:
        given = ("--data", data, "--out", tmp_path / "out", *arguments)
        code = ship_nano.main([str(argument) for argument in given])
        return code, capsys.readouterr().err

    return run


def evaluate(folder: Path, model: Path) -> Path:
    """An evaluation folder with made-up scores of the model."""
    folder.mkdir()
    row = BenchmarkRun(
        about="", split="test", revision="", settings={}, settings_hash="", metrics={"caption": ("exact",)}, chance={},
        licence="", citation="", translation="", control_of="", control="", language_groups={}, rows={},
    )  # fmt: skip
    fingerprint = fingerprint_model(*load_model(str(model), device="cpu"))
    command = ("visiglot", "evaluate", "nano", "--out", "scores")
    write_account(Run("nano", fingerprint, command=command, benchmarks={"nano.english": row}), folder)
    value = {"benchmark": "nano", "prompt_set": "english", "task": "caption", "metric": "exact", "tokenisation": ""}
    scores = [
        Score(**value, language=code, n=200, value=share, low=share - 0.1, high=share + 0.1)
        for code, share in (("eng_Latn", 0.512), ("deu_Latn", 0.437))
    ]
    write_scores(scores, folder / SCORES)
    mean = GroupMean(
        **value, group="trained with pictures", relative_to="", languages=("deu_Latn",), n=200, things=100, value=0.437,
        low=0.4, high=0.5,
    )  # fmt: skip
    write_means([mean], folder / MEANS)
    return folder


def test_what_is_shipped_answers_as_the_run_does_and_is_whole(tmp_path: Path, runs: Path, ship: Ship) -> None:
    code, said = ship()
    assert code == 0, said
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == sorted([*FOLDERS, LICENCE, SUMS])
    for folder, run in zip(FOLDERS, ("nano-english", "nano-lm", "nano"), strict=True):
        shipped, processor = load_model(str(out / folder), device="cpu")
        trained, other = load_model(str(runs / run), device="cpu")
        assert {parameter.dtype for parameter in shipped.parameters()} == {torch.float32}
        own = trained.state_dict()
        assert all(torch.equal(value, rounded(own[key], "bf16")) for key, value in shipped.state_dict().items())
        assert processor.tokenizer.get_vocab() == other.tokenizer.get_vocab()
        assert shipped.config.languages == trained.config.languages
    stored = {key: value for folder in FOLDERS for key, value in load_file(out / folder / "model.safetensors").items()}
    assert {value.dtype for value in stored.values() if value.dim() > 1} == {torch.bfloat16}
    assert "greedy answers" in said


def test_matrices_in_8_bits_are_read_by_every_model_that_has_them(tmp_path: Path, runs: Path, ship: Ship) -> None:
    code, said = ship("--int8", "lm")
    assert code == 0, said
    out = tmp_path / "out"
    dtypes = {name: {value.dtype for value in load_file(out / name / "model.safetensors").values()} for name in FOLDERS}
    assert [torch.int8 in dtypes[name] for name in FOLDERS] == [False, True, False]
    model, lm = (load_model(str(out / name), device="cpu")[0] for name in ("model", "lm"))
    trained, _ = load_model(str(runs / "nano-lm"), device="cpu")
    table = model.get_input_embeddings().weight
    assert torch.equal(table, lm.get_input_embeddings().weight)
    assert torch.equal(table, rounded(trained.get_input_embeddings().weight, "int8"))
    assert not torch.equal(table, rounded(table, "bf16"))
    assert "whole numbers of 8 bits" in (out / "lm" / "README.md").read_text()
    assert "whole numbers of 8 bits" not in (out / "english" / "README.md").read_text()


def test_shared_parts_lie_there_once(tmp_path: Path, runs: Path, ship: Ship) -> None:
    ship()
    own = load_file(tmp_path / "out" / "model" / "model.safetensors")
    assert own
    assert all(key.startswith("connector.") or ".lora_" in key for key in own)


def test_every_file_has_its_sum(tmp_path: Path, runs: Path, ship: Ship) -> None:
    ship()
    out = tmp_path / "out"
    lines = (out / SUMS).read_text().splitlines()
    sums = {name: digest for digest, name in (line.split("  ") for line in lines)}
    files = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file() and path.name != SUMS}
    assert sums == {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    assert not any("trainer" in name or "optimizer" in name for name in files)
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in files.values())


def test_cards_say_what_data_run_and_scores_say(tmp_path: Path, data: Path, runs: Path, ship: Ship) -> None:
    code, said = ship("--scores", evaluate(tmp_path / "scores", runs / "nano"))
    assert code == 0, said
    text = (tmp_path / "out" / "model" / "README.md").read_text()
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["license"] == "cc-by-sa-4.0"
    assert front["language"] == ["de", "en", "fr", "tr", "zh"]
    card = json.loads((data / "card.json").read_text())
    for package in load_packages().values():
        assert card["packages_sha256"][package.source] in text
        assert f"`{package.name}` | {package.version} | {package.licence}" in text
    for digest in card["files_sha256"].values():
        assert digest in text
    trained, apart = text.split("Not trained on:")
    assert "openmoji" in trained
    assert "emoji-datasource-google" not in trained
    assert "emoji-datasource-google" in apart.split("concepts are")[0]
    assert f"seed {load_recipe('nano').train.seed}" in text
    assert "torch 2.13.0" in text
    assert f"{len(load_recipe('nano').stages)}.0 min in all" in text  # three steps of 20 seconds each
    assert "4 trained with pictures: English (eng_Latn), German (deu_Latn)" in text
    assert "1 trained on text alone: Turkish (tur_Latn)" in text
    assert "| nano | exact | English | 200 | 51.2% [41.2%, 61.2%] |" in text
    assert "| nano | exact | mean over trained with pictures (1) | 200 | 43.7% [40.0%, 50.0%] |" in text
    assert "| German (deu_Latn) | 43.7% |" in text
    assert "`visiglot evaluate nano --out scores`, on the weights as trained" in text
    assert load_recipe(str(tmp_path / "out" / "model" / "recipe.yaml")).name == "nano"


def test_a_language_model_that_saw_no_picture_owes_nothing_to_pictures(tmp_path: Path, runs: Path, ship: Ship) -> None:
    ship()
    text = (tmp_path / "out" / "lm" / "README.md").read_text()
    assert yaml.safe_load(text.split("---\n")[1])["license_name"] == "unicode-3.0"
    assert "openmoji" not in text.split("Not trained on:")[0]
    assert f"{len(LANGUAGES)} trained on text alone" in text


def test_shipping_again_replaces_what_was_there(tmp_path: Path, runs: Path, ship: Ship) -> None:
    ship()
    first = (tmp_path / "out" / SUMS).read_text()
    (tmp_path / "out" / "model" / "stale.txt").write_text("")
    code, said = ship()
    assert code == 0, said
    assert (tmp_path / "out" / SUMS).read_text() == first
    assert not (tmp_path / "out" / "model" / "stale.txt").exists()


def refused(tmp_path: Path, ship: Ship, *arguments: object) -> str:
    """What the tool says when it ships nothing."""
    code, said = ship(*arguments)
    assert code == 2
    assert not list((tmp_path / "out").glob("*"))
    assert not list(tmp_path.glob(".out.*"))
    return said


def test_an_unfinished_run_is_refused(tmp_path: Path, runs: Path, ship: Ship) -> None:
    built = realigned(runs)
    for path in (runs / "nano" / "checkpoints").iterdir():
        path.rename(tmp_path / "elsewhere")
    write_run(runs / "nano", built, step=2)
    last = load_recipe("nano").stages[-1].name
    assert f"isn't finished: its last checkpoint is {last}-2" in refused(tmp_path, ship)


def test_a_run_that_is_not_there_is_refused(tmp_path: Path, runs: Path, ship: Ship) -> None:
    assert "no run with a complete checkpoint" in refused(tmp_path, ship, "--lm", "no-such-run")


@pytest.mark.parametrize(("other", "part"), [("english", "vision"), ("lm", "language_model")])
def test_towers_that_the_run_was_not_trained_from_are_refused(
    other: str, part: str, tmp_path: Path, runs: Path, ship: object
) -> None:
    name = f"nano-{other}"
    built = realigned(runs)  # of the same architecture, its weights moved by less than bf16 can tell
    loaded, processor = load_model(str(runs / name), device="cpu")
    with torch.no_grad():
        for parameter in getattr(loaded, part).parameters():
            parameter.mul_(1 + 1e-5)
    built.model, built.processor = loaded, processor
    write_run(runs / name, built)
    assert f"changed what it took: its {part} differs at {part}." in refused(tmp_path, ship)


def test_more_bytes_than_allowed_are_refused(
    tmp_path: Path, runs: Path, ship: Ship, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ship_nano, "LARGEST", 100_000)
    said = refused(tmp_path, ship)
    assert "100,000 are the most" in said
    assert "model.safetensors" in said


def test_scores_of_other_weights_are_refused(tmp_path: Path, runs: Path, ship: Ship) -> None:
    folder = evaluate(tmp_path / "scores", runs / "nano")
    account = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**account, "model_hash": "f" * 64}))
    assert "is an evaluation of other weights" in refused(tmp_path, ship, "--scores", folder)


def test_data_of_other_packages_is_refused(tmp_path: Path, data: Path, runs: Path, ship: Ship) -> None:
    copy = tmp_path / "data"
    copy.mkdir()
    for path in data.iterdir():
        os.link(path, copy / path.name)
    card = json.loads((data / "card.json").read_text())
    (copy / "card.json").unlink()
    (copy / "card.json").write_text(json.dumps({**card, "packages_sha256": {}}))
    assert "built from other packages" in refused(tmp_path, ship, "--data", copy)


def test_share_alike_pictures_under_another_licence_are_refused(data: Path) -> None:
    recipe = load_recipe("nano-english").model_copy(update={"licence": "Unicode-3.0"})
    with pytest.raises(DataError, match=r"shows pictures under CC-BY-SA-4\.0, and states 'Unicode-3.0'"):
        training_data([recipe], data)


def test_when_a_folder_cannot_be_moved_the_old_ones_are_put_back(
    tmp_path: Path, runs: Path, ship: Ship, monkeypatch: pytest.MonkeyPatch
) -> None:
    ship()
    before = {path: path.stat().st_ino for path in sorted((tmp_path / "out").rglob("*"))}
    rename, failed = os.rename, []

    def fails_once(source: Path, target: Path) -> None:
        if Path(target) == tmp_path / "out" / "model" and not failed:
            failed.append(target)
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fails_once)
    code, said = ship()
    assert code == 2
    assert "can't be written" in said
    assert {path: path.stat().st_ino for path in sorted((tmp_path / "out").rglob("*"))} == before

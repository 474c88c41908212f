"""What `make demo` runs, read from make itself; nothing is run."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.docs.test_blocks import problem_of

from visiglot.config import load_recipe
from visiglot.languages import resolve

ROOT = Path(__file__).parents[2]


def commands(*variables: str) -> list[list[str]]:
    """The words of each command of `make demo` that is one of ours, without the program."""
    if shutil.which("make") is None:
        pytest.skip("make isn't installed")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "DEMO"))}
    printed = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "demo", *variables],
        cwd=ROOT,
        env=inherited,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    words = [shlex.split(line) for line in printed.replace("\\\n", " ").splitlines() if "bin/visiglot " in line]
    return [line[1:] for line in words if line[0].endswith("bin/visiglot")]


def command(verb: str, found: list[list[str]]) -> list[str]:
    """The last command of a verb."""
    return [line for line in found if line[0] == verb][-1]


def test_the_demo_trains_nothing_but_the_realignment() -> None:
    assert [line for line in commands() if line[0] == "train"] == [["train", "nano"]]


def test_every_command_of_the_demo_exists() -> None:
    found = commands("DEMO_LANGUAGES=sw,yo")
    assert {line[0] for line in found} == {"data", "train", "evaluate", "report", "caption"}
    assert [problem for line in found if (problem := problem_of(line, whole=True)) is not None] == []


def test_the_demos_pictures_are_there() -> None:
    shown = [line[1] for line in commands() if line[0] == "caption"]
    assert shown
    assert [path for path in shown if not (ROOT / path).exists()] == []


def test_without_languages_the_demo_trains_and_shows_what_the_recipe_says() -> None:
    found = commands()
    assert command("train", found) == ["train", "nano"]
    assert command("evaluate", found)[:2] == ["evaluate", "nano"]
    assert "out/demo/scores" in command("evaluate", found)
    assert command("caption", found)[2:4] == ["--model", "nano"]


@pytest.mark.parametrize("asked", ["sw", "sw,Yoruba,zh-TW", "cldr,-sw", "sw, Traditional Chinese"])
def test_with_languages_it_trains_in_them_and_english_in_a_folder_of_its_own(asked: str) -> None:
    found = commands(f"DEMO_LANGUAGES={asked}")
    verb, name, override, *out = command("train", found)
    assert (verb, name) == ("train", "nano")
    assert resolve(load_recipe("nano", [override]).data.languages) == resolve(f"en,{asked}")
    folder = out[-1]
    assert out == ["--out", folder]
    assert folder != "nano"
    assert " " not in folder
    assert command("evaluate", found)[:2] == ["evaluate", folder]
    assert command("caption", found)[2:4] == ["--model", folder]
    assert f"{Path(folder).parent}/scores" in command("report", found)

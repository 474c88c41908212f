"""What is declared about the package agrees: dependencies with pins, versions with each other, pictures and credit."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
REQUIREMENTS = sorted({*PROJECT["dependencies"], *(line for lines in EXTRAS.values() for line in lines)})
PINS = [
    Requirement(line)
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
PINNED = {canonicalize_name(pin.name): pin for pin in PINS}


@pytest.mark.parametrize("line", REQUIREMENTS)
def test_dependency_is_pinned_to_a_version_that_it_allows(line: str) -> None:
    wanted = Requirement(line)
    (pin,) = PINNED[canonicalize_name(wanted.name)].specifier
    assert pin.operator == "=="
    assert wanted.specifier.contains(pin.version)


def test_each_package_is_pinned_once() -> None:
    assert len(PINNED) == len(PINS)


def installed_by(target: str) -> set[str]:
    """The extras that a target of the Makefile installs itself."""
    rule = (ROOT / "Makefile").read_text(encoding="utf-8").partition(f"\n{target}:")[2].partition("\n\n")[0]
    (extras,) = re.findall(r"-e '\.\[([a-z,]+)\]'", rule)
    return set(extras.split(","))


def test_the_demo_installs_no_dictionaries_and_development_installs_every_extra() -> None:
    dictionaries = {line for line in REQUIREMENTS if re.match("sudachi|pythainlp", line)}
    assert dictionaries == set(EXTRAS["words"])
    assert dictionaries.isdisjoint(line for extra in installed_by(".venv/.base") for line in EXTRAS[extra])
    assert installed_by(".venv/.dev") == EXTRAS.keys()


@pytest.mark.parametrize("name", ["torchvision", "timm", "triton"])
def test_nothing_pinned_brings_another_build_of_torch(name: str) -> None:
    assert name not in PINNED


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["version"]
    of_pictures, of_weights = ["CC-BY-4.0"], ["CC-BY-SA-4.0", "Unicode-3.0"]
    assert PROJECT["license"].split(" AND ") == [citation["license"], *of_pictures, *of_weights]


def test_every_example_picture_is_attributed() -> None:
    folder = ROOT / "src" / "visiglot" / "nano" / "examples"
    text = (folder / "ATTRIBUTION.md").read_text(encoding="utf-8")
    pictures = sorted(path.name for path in folder.glob("*.png"))
    assert len(pictures) == 8
    assert [name for name in pictures if f"`{name}`" not in text] == []

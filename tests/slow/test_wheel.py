"""What `pip install` brings answers by itself: a wheel is built and unpacked, and captions without network, cache or
the extras that only training needs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from functools import cache
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.nano_runs import write_runs
from tests.unit.data.nano.conftest import pin, unpin
from tests.unit.data.nano.packages import write_packages

from tools import ship_nano

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ALONE = """
import json, socket, sys
for name in json.loads(sys.argv.pop(1)):
    sys.modules[name] = None  # as if it weren't installed
def refuse(*_):
    raise AssertionError("a socket was to be connected")
socket.socket.connect = socket.socket.connect_ex = refuse
import visiglot
assert visiglot.__path__[0].startswith(sys.argv.pop(1)), visiglot.__path__
from visiglot.cli import main
sys.argv[0] = "visiglot"
main()
"""


@cache
def not_brought() -> list[str]:
    """Modules of this environment that `pip install visiglot`, without extras, doesn't bring."""
    brought: set[str] = set()
    waiting = ["visiglot"]
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name not in brought:
            brought.add(name)
            needed = map(Requirement, requires(name) or ())
            waiting += [one.name for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]
    found = packages_distributions().items()
    modules = [module for module, names in found if not brought & set(map(canonicalize_name, names))]
    assert "pyarrow" in modules
    assert "torch" not in modules
    return sorted(modules)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source tree; where it has no weights yet, with those of tiny untrained runs, shipped by the release tool."""
    folder = tmp_path_factory.mktemp("tree")
    ignore = shutil.ignore_patterns("*.egg-info", "__pycache__")
    shutil.copytree(ROOT / "src", folder / "src", ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, folder / name)
    nano = folder / "src" / "visiglot" / "nano"
    if not (nano / "SHA256SUMS").is_file():
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setenv("VISIGLOT_CACHE", str(folder / "cache"))
            pin(monkeypatch, write_packages(folder / "packages"))
            from visiglot.data.nano.build import build_nano

            data = build_nano(packages=folder / "packages")
            write_runs(folder / "cache" / "runs")
            assert ship_nano.main(["--data", str(data), "--out", str(nano)]) == 0
        unpin()
    return folder


@pytest.fixture(scope="module")
def installed(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the wheel's files are in after an installation."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(folder)], cwd=tree, check=True, capture_output=True, timeout=300)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def visiglot(installed: Path, home: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command of the unpacked wheel in an empty folder, with an empty home."""
    home.mkdir(exist_ok=True)
    environment = {
        **{name: os.environ[name] for name in ("PATH", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY")},
        "PYTHONPATH": str(installed),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": str(home),
        "VISIGLOT_CACHE": str(home / "cache"),
        "HF_HOME": str(home / "huggingface"),
        "HF_HUB_OFFLINE": "1",
    }
    command = [sys.executable, "-c", ALONE, json.dumps(not_brought()), str(installed), *map(str, arguments)]
    return subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=300)


def test_the_wheel_has_the_models_with_licence_and_sums(tree: Path, installed: Path) -> None:
    before, after = tree / "src" / "visiglot" / "nano", installed / "visiglot" / "nano"
    files = [path.relative_to(before) for path in before.rglob("*") if path.is_file()]
    assert {"english", "lm", "model", "examples"} <= {path.parts[0] for path in files}
    assert [path for path in files if not (after / path).is_file()] == []
    assert [path for path in files if (after / path).read_bytes() != (before / path).read_bytes()] == []
    (metadata,) = installed.glob("visiglot-*.dist-info")
    assert sorted(path.name for path in metadata.rglob("LICENSE*")) == ["LICENSE", "LICENSE-WEIGHTS.md"]


def test_the_wheel_captions_with_nothing_else_and_leaves_nothing_behind(installed: Path, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    shutil.copyfile(installed / "visiglot" / "nano" / "examples" / "bicycle.png", picture)
    done = visiglot(installed, tmp_path / "home", "caption", picture, "--languages", "de,sw,ar", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == ["deu_Latn", "swh_Latn", "arb_Arab"]
    assert not (tmp_path / "home" / "cache").exists()


def test_captions_of_the_trained_models_are_words(installed: Path, tree: Path, tmp_path: Path) -> None:
    pictures = installed / "visiglot" / "nano" / "examples"
    rows = tmp_path / "rows.jsonl"
    arguments = ("caption", pictures, "--languages", "en,de", "--out", rows, "--device", "cpu")
    done = visiglot(installed, tmp_path / "home", *arguments)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()]
    assert len(found) == 2 * len(list(pictures.glob("*.png")))
    assert all(row["error"] is None for row in found)
    if not (ROOT / "src" / "visiglot" / "nano" / "SHA256SUMS").is_file():
        return  # the stand-ins are untrained: they say something, or nothing
    assert all(row["text"] for row in found)
    right = sum(Path(row["image"]).stem in row["text"] for row in found if row["language"] == "eng_Latn")
    assert right >= len(found) / 4, "fewer than half of the example pictures are named in English"


def caption_with(name: str, installed: Path, home: Path) -> subprocess.CompletedProcess[str]:
    picture = installed / "visiglot" / "nano" / "examples" / "pizza.png"
    return visiglot(installed, home, "caption", picture, "--model", name, "--languages", "en", "--device", "cpu")


@pytest.mark.parametrize("name", ["nano", "nano-english"])
def test_every_model_of_the_wheel_that_saw_pictures_is_found_by_name(
    name: str, installed: Path, tmp_path: Path
) -> None:
    done = caption_with(name, installed, tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert "eng_Latn" in done.stdout


def test_the_language_model_is_found_by_name_and_takes_no_picture(installed: Path, tmp_path: Path) -> None:
    if not (ROOT / "src" / "visiglot" / "nano" / "SHA256SUMS").is_file():
        pytest.skip("the stand-in's place-holders aren't those of the recipe")
    done = caption_with("nano-lm", installed, tmp_path / "home")
    assert done.returncode == 2
    assert "256 of them for 1 picture; the model takes 96" in done.stderr

"""The tiny packages stand in for the real ones in every test of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import pytest

from visiglot.data.nano import build, fetch, load, settings
from visiglot.data.nano.load import NanoData

from .packages import write_packages

LEAST_NAMES = 20


def pin(monkeypatch: pytest.MonkeyPatch, packages_toml: str) -> None:
    """Let the product read `packages_toml`, and a nano.toml that is content with few names."""

    def resource(name: str) -> bytes:
        if name == "packages.toml":
            return packages_toml.encode()
        content = resources.files("visiglot.data.nano").joinpath(name).read_bytes()
        return content.replace(b"least_names = 1500", f"least_names = {LEAST_NAMES}".encode())

    for module in (settings, fetch, build):
        monkeypatch.setattr(module, "resource", resource)
    fetch.load_packages.cache_clear()
    settings.load_settings.cache_clear()


def unpin() -> None:
    fetch.load_packages.cache_clear()
    settings.load_settings.cache_clear()


@contextmanager
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a data set that is built from the tiny packages, which are read as long as this is open."""
    packages = tmp_path_factory.mktemp("packages")
    toml = write_packages(packages)
    with pytest.MonkeyPatch.context() as monkeypatch:
        pin(monkeypatch, toml)
        yield build.build_nano(tmp_path_factory.mktemp("nano") / "data", packages=packages)
    unpin()


@pytest.fixture(scope="session")
def tarballs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with the eight tarballs, and the packages.toml that pins them."""
    folder = tmp_path_factory.mktemp("packages")
    return folder, write_packages(folder)


@pytest.fixture(autouse=True)
def packages(tarballs: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    folder, packages_toml = tarballs
    monkeypatch.setenv("VISIGLOT_CACHE", str(tmp_path / "cache"))
    pin(monkeypatch, packages_toml)
    yield folder
    monkeypatch.undo()
    unpin()


@pytest.fixture(scope="session")
def built(tarballs: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a data set that was built once for the whole session."""
    folder, packages_toml = tarballs
    with pytest.MonkeyPatch.context() as monkeypatch:
        pin(monkeypatch, packages_toml)
        yield build.build_nano(tmp_path_factory.mktemp("built") / "nano", packages=folder)
    unpin()


@pytest.fixture(scope="session")
def data(built: Path, tarballs: tuple[Path, str]) -> NanoData:
    return load.load_nano(built)

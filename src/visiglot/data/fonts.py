"""The fonts that words are drawn in: Google's Noto fonts from pinned npm packages, kept in the cache.

    <cache>/fonts/<key>/<script>/*.ttf, *.woff2    the regular weight of each script's font, and its licence
    <cache>/fonts/<key>/card.json                  written last: what they are and where they come from

The key changes with the pins, so that words drawn from one version of the table are always drawn in the same fonts.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType

from visiglot.config import cache_dir
from visiglot.data.nano.fetch import Package, Progress, fetch_packages, read_members
from visiglot.errors import DataError, FetchError
from visiglot.lettering import CHARACTERS, SUFFIXES, Fonts

CARD = "card.json"

RANGES = "unicode.json"
"""In packages that cut a font into many files: what a file is called between family and axis -> its characters."""


@dataclass(frozen=True, slots=True)
class FontPackage(Package):
    """One row of fonts.toml.

    Args:
        script: ISO 15924, whose languages the font is asked first for.
        folder: of the package's members that are taken.
    """

    script: str
    folder: str


@cache
def font_packages() -> Mapping[str, FontPackage]:
    """The pinned packages by name, in the order of fonts.toml."""
    rows = tomllib.loads(_table().decode("utf-8"))["package"]
    return MappingProxyType({row["name"]: FontPackage(**row) for row in rows})


def fonts_dir() -> Path:
    """Where the fonts of this version of the table are in the cache."""
    return cache_dir() / "fonts" / hashlib.sha256(_table()).hexdigest()[:12]


@cache
def load_fonts(folder: Path | None = None) -> Fonts:
    """The fonts in `folder`, by default those that `build_fonts` put into the cache; once in a process.

    Raises:
        DataError: there are none, or Pillow can't shape text.
    """
    found = folder or fonts_dir()
    if folder is None and not (found / CARD).is_file():
        raise DataError(
            "the fonts that words are drawn in aren't there",
            hint="`visiglot data fonts` fetches them (60 MB); or name a folder of fonts of your own.",
        )
    return Fonts(found)


def build_fonts(packages: Path | None = None, *, force: bool = False, progress: Progress | None = None) -> Path:
    """Fetch the fonts into the cache; return their folder. A complete one is left as it is and returned at once.

    Args:
        packages: a local folder with the packages' tarballs, instead of the npm registry.
        force: fetch them again although they are there.
        progress: is told one line for each package that is fetched.

    Raises:
        FetchError: a package can't be fetched, isn't the pinned one, or has no fonts where they should be.
        DataError: the fonts can't be written.
    """
    out = fonts_dir()
    if (out / CARD).is_file() and not force:
        return out
    pinned = font_packages()
    kept = cache_dir() / "fonts" / "packages"
    try:
        tarballs = fetch_packages(
            kept, packages=packages, progress=progress, pinned=pinned, command="visiglot data fonts"
        )
        out.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f"{out.name}.", dir=out.parent))
        try:
            for name, package in pinned.items():
                _unpack(package, tarballs[name], aside / package.script)
            card = [
                {"source": one.source, "licence": one.licence, "attribution": one.attribution}
                for one in pinned.values()
            ]
            (aside / CARD).write_text(json.dumps(card, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
            os.chmod(aside, 0o755)
            shutil.rmtree(out, ignore_errors=True)
            os.rename(aside, out)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        if packages is None:
            shutil.rmtree(kept, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"the fonts can't be written to {out}: {error}",
            hint="Make room, or set VISIGLOT_CACHE to a folder that can be written.",
        ) from error
    return out


def _unpack(package: FontPackage, tarball: Path, folder: Path) -> None:
    """The package's fonts and their licence, by their last names."""
    folder.mkdir(parents=True, exist_ok=True)

    def wanted(name: str) -> bool:
        is_font = name.startswith(package.folder) and name.endswith(SUFFIXES)
        return is_font or name in (package.read_in, RANGES)

    found = {Path(name).name: content for name, content in read_members(tarball, wanted)}
    fonts = sorted(name for name in found if name.endswith(SUFFIXES))
    if package.read_in not in found or not fonts:
        raise FetchError(
            f"{tarball.name} has no fonts below {package.folder}, or no {package.read_in}",
            hint="The package isn't what fonts.toml describes.",
        )
    for name in (*fonts, package.read_in):
        (folder / name).write_bytes(found[name])
    if RANGES in found:
        parts = {f"-{part.strip('[]')}-wght-": stated for part, stated in json.loads(found[RANGES]).items()}
        stated = {name: text for name in fonts for part, text in parts.items() if part in name}
        (folder / CHARACTERS).write_text(json.dumps(stated, indent=1) + "\n", encoding="utf-8")


def _table() -> bytes:
    return resources.files("visiglot.data").joinpath("fonts.toml").read_bytes()

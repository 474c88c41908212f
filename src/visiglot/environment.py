"""What a result was made with: versions and commit, kept with every checkpoint and every score."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("visiglot", "torch", "transformers", "tokenizers", "numpy", "pillow", "peft", "accelerate", "sacrebleu")


def versions() -> dict[str, str]:
    """Of Python and of the packages that matter; those not installed are left out."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """Commit of the source tree that this file lies in, "+" behind it when the tree was changed; "" outside one."""
    here = Path(__file__).resolve().parent
    try:
        head = _git(here, "rev-parse", "HEAD")
        tracked = _git(here, "ls-files", "--error-unmatch", Path(__file__).name)
        return head + ("+" if _git(here, "status", "--porcelain", "--untracked-files=no") else "") if tracked else ""
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
    ).stdout.strip()

"""What a translation follows from besides its settings: the rules that visiglot has, and the models that judge."""

from __future__ import annotations

import hashlib
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from visiglot.language_id import load_identifier

RULES = 1
"""Raised when texts are chosen, cut, protected, put together or judged otherwise than before."""

TABLES = {
    "visiglot.translate": ("filters.toml", "sentences.toml"),
    "visiglot": ("language_id.toml", "languages.toml"),
}
"""Package -> its files that the rules are in as well."""


def rules() -> dict[str, str | int]:
    """The rules, so that those of one version are told from those of another; JSON."""
    total = hashlib.sha256()
    for package, names in TABLES.items():
        for name in names:
            total.update(hashlib.sha256(resources.files(package).joinpath(name).read_bytes()).digest())
    try:
        identifier = version("py3langid")
    except PackageNotFoundError:
        identifier = ""
    return {"number": RULES, "tables": total.hexdigest()[:32], "py3langid": identifier}


def identifier_model(path: Path | None) -> dict[str, str] | None:
    """Which model of languages a path leads to, by its content; JSON.

    Raises:
        ModelError: it can't be used.
    """
    if path is None:
        return None
    load_identifier(path)
    with path.open("rb") as file:
        return {"path": str(path.absolute()), "sha256": hashlib.file_digest(file, "sha256").hexdigest()}

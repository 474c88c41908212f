"""Which room may import which: the law of docs/design.md, checked on the source of every module."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import visiglot

PACKAGE = "visiglot"
ROOT = next(Path(folder) for folder in visiglot.__path__)

BASE = frozenset(
    {
        "config",
        "environment",
        "errors",
        "files",
        "image_parts",
        "images",
        "language_id",
        "languages",
        "lettering",
        "machines",
        "memory",
        "prompts",
        "registry",
        "endpoint",
        "render",
        "scripts",
        "sheet",
        "types",
    }
)
SEES: dict[str, frozenset[str]] = {
    **dict.fromkeys(BASE, BASE),
    "data": BASE,
    "models": BASE,
    **dict.fromkeys(("translate", "train", "evaluate", "export", "serve"), BASE | {"data", "models"}),
    "benchmarks": BASE | {"data", "evaluate"},
    "integrations": BASE | {"data", "models", "evaluate"},
}
"""Room -> rooms that it may import, besides itself. `cli` is missing: it sees them all."""

DOORS = frozenset({"cli", "__main__"})
"""Rooms that no other may import."""

HEAVY = ("accelerate", "huggingface_hub", "numpy", "peft", "pyarrow", "tokenizers", "torch", "transformers")
"""What `visiglot --help` must not wait for."""

MODULES = sorted(ROOT.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join((PACKAGE, *(parts[:-1] if parts[-1] == "__init__" else parts)))


def room_of(module: str) -> str:
    """visiglot.data.collate -> data; the package itself -> ""."""
    return module.split(".")[1] if "." in module else ""


def imports(tree: ast.AST, module: str, *, is_package: bool) -> Iterator[tuple[str, ast.AST]]:
    """(imported name, node) of every import: in functions, under TYPE_CHECKING and by import_module too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                above = parts[: len(parts) - node.level + is_package]  # a package is its own first level
                base = ".".join([*above, *([base] if base else [])])
            yield from ((f"{base}.{alias.name}", node) for alias in node.names)
        elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__") and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value, node


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def breaches(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """Every import of `source` that the law forbids to `module`."""
    room, found = room_of(module), []
    for name, node in imports(ast.parse(source), module, is_package=is_package):
        if name.split(".")[0] != PACKAGE or name == f"{PACKAGE}.__version__":
            continue
        seen = room_of(name)
        allowed = SEES.get(room)
        if seen == room or room in DOORS or (room == "" and seen not in DOORS):
            continue
        if seen in DOORS or allowed is None or seen not in allowed:
            found.append(f"{module}, line {node.lineno}: {room or 'the package'} must not import {name}")
    return found


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_module_keeps_the_import_law(path: Path) -> None:
    found = breaches(path.read_text(encoding="utf-8"), module_name(path), is_package=path.name == "__init__.py")
    assert not found, "\n".join(found)


def test_every_room_is_in_the_law() -> None:
    rooms = {room_of(module_name(path)) for path in MODULES} - {""}
    assert rooms <= SEES.keys() | DOORS


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("visiglot.models.vlm", "import visiglot.data.collate"),
        ("visiglot.models.vlm", "def f():\n    from visiglot.data import collate"),
        ("visiglot.models.vlm", "from ..data import collate"),
        ("visiglot.data.collate", "if TYPE_CHECKING:\n    from visiglot.models.vlm import VisionLanguageModel"),
        ("visiglot.data.collate", "import_module('visiglot.models')"),
        ("visiglot.train.loop", "from visiglot.evaluate import score"),
        ("visiglot.benchmarks.nano", "from visiglot import models"),
        ("visiglot.config", "from visiglot.data import source"),
        ("visiglot.evaluate.score", "from visiglot.cli import main"),
        ("visiglot.evaluate.score", "from visiglot.integrations import lmms_eval"),
        ("visiglot.integrations.lmms_eval", "from visiglot.cli import main"),
        ("visiglot.stray", "from visiglot.types import Example"),
    ],
)
def test_a_breach_is_found(module: str, source: str) -> None:
    assert len(breaches(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("visiglot.models.connectors.mlp", "from visiglot.types import VisionFeatures\nfrom . import CONNECTORS"),
        ("visiglot.train.loop", "from visiglot.data.ledger import Ledger\nimport visiglot.models.build"),
        ("visiglot.cli.train", "from visiglot.train.loop import fit"),
        ("visiglot.benchmarks.nano", "from visiglot.evaluate.benchmark import BENCHMARKS"),
        ("visiglot.evaluate.score", "import numpy"),
    ],
)
def test_a_lawful_import_passes(module: str, source: str) -> None:
    assert breaches(source, module) == []


def test_the_command_line_starts_without_heavy_imports() -> None:
    code = f"import sys, visiglot.cli; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []

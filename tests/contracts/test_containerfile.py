"""The container file says what exists: files, extras, commands, options. No image is built."""

from __future__ import annotations

import ast
import json
import re
import shlex
import tomllib
from pathlib import Path

from tests.docs.test_blocks import problem_of

from visiglot.serve.api import ROUTES

ROOT = Path(__file__).parents[2]
KNOWN = {"FROM", "ARG", "WORKDIR", "COPY", "RUN", "ENV", "VOLUME", "USER", "EXPOSE", "HEALTHCHECK", "STOPSIGNAL"}
KNOWN |= {"ENTRYPOINT", "CMD"}


def instructions() -> list[tuple[str, str]]:
    """(instruction, what it is told), in order, without comments and with continued lines joined."""
    text = (ROOT / "Containerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in joined.splitlines()]


def told(name: str) -> list[str]:
    return [value for instruction, value in instructions() if instruction == name]


def test_it_has_known_instructions_only_and_begins_with_a_slim_python_that_the_package_allows() -> None:
    assert {name for name, _ in instructions()} <= KNOWN
    assert instructions()[0][0] == "FROM"
    (base,) = told("FROM")
    found = re.fullmatch(r"python:3\.(\d+)-slim", base)
    assert found
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"Programming Language :: Python :: 3.{found[1]}" in project["classifiers"]


def test_what_it_copies_is_there_and_is_all_that_the_package_is_built_from() -> None:
    copied = [word for line in told("COPY") for word in line.split()[:-1]]
    assert all((ROOT / name).exists() for name in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {"pyproject.toml", "constraints.txt", "src", project["readme"], "LICENSE"}
    assert set(copied) == needed
    assert all(Path(name).parts[0] in needed for name in project["license-files"])


def test_it_installs_serving_under_the_constraints_and_runs_as_nobody_special() -> None:
    (script,) = told("RUN")
    commands = [shlex.split(part) for part in script.split("&&")]
    ours = next(words for words in commands if ".[serve]" in words)
    assert ours[ours.index("-c") + 1] == "constraints.txt"
    torch = next(words for words in commands if "--extra-index-url" in words)
    assert commands.index(torch) < commands.index(ours)
    (user,) = told("USER")
    assert user in next(words for words in commands if words[0] == "useradd")
    names = [name for name, _ in instructions()]
    assert names.index("RUN") < names.index("USER") < names.index("ENTRYPOINT")


def test_its_command_is_one_of_ours_and_needs_a_key_where_others_reach_it() -> None:
    entry, default = json.loads(told("ENTRYPOINT")[0]), json.loads(told("CMD")[0])
    program, *words = [*entry, *default]
    assert program == "visiglot"
    assert problem_of(words, whole=True) is None
    assert words[words.index("--host") + 1] == "0.0.0.0"
    assert "--api-key-variable" in words
    assert told("EXPOSE") == [words[words.index("--port") + 1]]


def test_its_health_check_is_python_that_asks_a_route_of_ours_on_loopback() -> None:
    (check,) = told("HEALTHCHECK")
    program, flag, code = json.loads(check.partition("CMD ")[2])
    assert (program, flag) == ("python", "-c")
    ast.parse(code)
    (url,) = re.findall(r"http://127\.0\.0\.1:(\d+)(/\w+)", code)
    assert url == (told("EXPOSE")[0], "/health")
    assert url[1] in ROUTES

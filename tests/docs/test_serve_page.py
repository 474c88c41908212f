"""docs/serve.md knows every option, parameter and default of `visiglot serve`."""

from __future__ import annotations

import re
from pathlib import Path

import typer

from visiglot.cli import app
from visiglot.serve.connection import CONNECTIONS, HEAD_SECONDS, READ_RATE, READ_SECONDS
from visiglot.serve.fetch import CONNECT_SECONDS, REDIRECTS
from visiglot.serve.job import CHARACTERS_PER_TOKEN
from visiglot.serve.limits import Limits
from visiglot.serve.schema import STOPS, TOP_LOGPROBS, VALUES, ChatRequest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")
PARAMETERS = {
    option: parameter
    for parameter in typer.main.get_command(app).commands["serve"].params  # type: ignore[attr-defined]
    for option in parameter.opts
}


def rows(heading: str) -> list[list[str]]:
    """The cells of each row of the table whose first line is `heading`."""
    found = re.search(rf"^{re.escape(heading)}\n\|[-|]+\|\n((?:\|.*\|\n)+)", PAGE, re.MULTILINE)
    assert found, heading
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in found[1].splitlines()]


def test_limits_are_the_options_of_their_panel_with_their_defaults() -> None:
    told = {row[0].strip("`"): row[1] for row in rows("| option | default | |")}
    known = {
        option: f"{parameter.default:g}" if isinstance(parameter.default, float) else str(parameter.default)
        for option, parameter in PARAMETERS.items()
        if getattr(parameter, "rich_help_panel", None) == "Limits"
    }
    assert told == known


def test_defaults_of_the_command_are_those_of_the_server() -> None:
    limits, mib = Limits(), 2**20
    assert PARAMETERS["--max-tokens"].default == limits.new_tokens
    assert PARAMETERS["--default-max-tokens"].default == limits.default_new_tokens
    assert PARAMETERS["--max-choices"].default == limits.choices
    assert PARAMETERS["--limit-mm-per-prompt"].default == f"image={limits.images}"
    assert PARAMETERS["--max-image-mb"].default * mib == limits.image_bytes
    assert PARAMETERS["--max-image-pixels"].default == limits.image_pixels
    assert PARAMETERS["--max-body-mb"].default * mib == limits.body_bytes
    assert PARAMETERS["--max-held-mb"].default * mib == limits.held_bytes
    assert PARAMETERS["--max-request-seconds"].default == limits.request_seconds


def test_parameters_are_those_that_a_request_may_have() -> None:
    told = {name for row in rows("| parameter | |") for name in re.findall(r"`(\w+)`", row[0])}
    assert told == set(ChatRequest.model_fields)


def test_numbers_are_those_of_the_code() -> None:
    text = " ".join(PAGE.split())
    assert f"up to {STOPS} texts" in text
    assert f"up to {TOP_LOGPROBS} beside each token, and {Limits().logprobs:,} in all" in text
    assert f"at most {REDIRECTS} redirects" in text
    assert f"doesn't answer within {CONNECT_SECONDS:g} seconds" in text
    assert f"A picture has {Limits().fetch_seconds:g} seconds" in text
    assert f"more than {CHARACTERS_PER_TOKEN} characters" in text
    assert f"more than {VALUES:,} values" in text
    assert f"A connection has {HEAD_SECONDS:g} seconds" in text
    assert f"({READ_SECONDS:g} seconds, and one for each {READ_RATE // 1024} KiB)" in text
    assert f"There may be {CONNECTIONS} of them" in text


def test_every_option_that_is_named_exists() -> None:
    others = {"--to"}
    assert set(re.findall(r"(--[a-z][a-z-]*)", PAGE)) - others <= set(PARAMETERS)

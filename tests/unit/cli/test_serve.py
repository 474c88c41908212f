"""`visiglot serve` up to where it listens, and what `visiglot doctor` says of serving."""

from __future__ import annotations

import importlib.util
import shlex
import socket
from pathlib import Path
from typing import Any

import pytest
from tests.docs.test_blocks import problem_of
from tests.unit.cli.conftest import Run

from visiglot.cli import capacity
from visiglot.cli.capacity import GIB, Machine, Needs, command_for, needs_of, serving_facts
from visiglot.errors import ConfigError
from visiglot.models.load import load_model
from visiglot.serve.options import images_in, keys_in, last_part


def said(run: Run, *arguments: object) -> str:
    result = run("serve", *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("error  ")
    found: str = result.stderr
    return found


def test_a_rehearsal_says_what_would_be_served_and_loads_nothing(run: Run, tiny_model: Path) -> None:
    result = run("serve", tiny_model, "--dry-run", "--allowed-media-domains", "a.example,b.example")
    assert result.exit_code == 0
    assert "tiny would be served on 127.0.0.1, port 8000, with no key" in result.stdout
    assert "fetched from a.example, b.example" in result.stdout


def test_other_machines_need_a_key(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "without a key" in said(run, "--host", "0.0.0.0")
    assert "without a key" in said(run, "--host", "::", "--dry-run")
    monkeypatch.setenv("MY_KEYS", "one, two")
    result = run("serve", "--host", "0.0.0.0", "--api-key-variable", "MY_KEYS", "--api-key", "three", "--dry-run")
    assert "with 3 key(s)" in result.stdout
    assert "three" not in result.stdout


def test_a_variable_without_a_key_is_an_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMPTY_KEY", " , ")
    for variable in ("EMPTY_KEY", "NO_SUCH_VARIABLE"):
        assert variable in said(run, "--api-key-variable", variable)
        with pytest.raises(ConfigError):
            keys_in(variable)


def test_a_port_in_use_is_told_before_a_model_is_loaded(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as there:
        message = said(run, "--port", there.getsockname()[1])
    assert "can't be listened on" in message
    assert "loading" not in message


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--allowed-media-domains", "*"), "is no host"),
        (("--limit-mm-per-prompt", "video=1"), "--limit-mm-per-prompt"),
        (("--api-key", "a b"), "printable ASCII"),
        (("no-such-model", "--dry-run"), "no-such-model"),
        (("--max-waiting", "100"), "--max-choices"),
    ],
)
def test_a_wrong_option_is_told_before_a_model_is_loaded(run: Run, arguments: tuple[str, ...], told: str) -> None:
    message = said(run, *arguments)
    assert told in message
    assert "loading" not in message


def test_the_limit_of_pictures_is_written_as_in_vllm() -> None:
    assert [images_in(text) for text in ("image=3", '{"image": 4}', "image=0")] == [3, 4, 0]
    for text in ("3", "image", "image=x", "image=-1", '{"image": 1, "video": 2}', "{", "image=1=2"):
        with pytest.raises(ConfigError):
            images_in(text)


def test_a_folder_is_served_by_its_last_part_and_a_hub_id_whole(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert last_part(str(tmp_path / "mine")) == "mine"
    assert last_part("nano") == "nano"
    assert last_part("Gregor/mblip-mt0-xl") == "Gregor/mblip-mt0-xl"


def test_without_the_extra_the_command_says_how_to_get_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr("visiglot.cli.serve.find_spec", lambda name: None if name == "uvicorn" else real(name))
    assert "pip install 'visiglot[serve]'" in said(run)


# --- what fits -------------------------------------------------------------------------------------------------------

BIG = Needs(parameters=4_800_000_000, linear=2_700_000_000, numbers_per_token=2 * 24 * 2048)


def test_the_needs_of_a_model_are_those_of_the_model_in_memory(tiny_model: Path) -> None:
    needs = needs_of(str(tiny_model))
    model, _ = load_model(str(tiny_model), device="cpu")
    assert needs.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert 0 < needs.linear < needs.parameters
    assert needs.numbers_per_token == 2 * 2 * 2 * 16


@pytest.mark.parametrize(
    ("free", "fast_bf16", "format_"),
    [(100, False, "fp32"), (100, True, "bf16"), (15, False, "int8"), (15, True, "bf16"), (5, True, None)],
)
def test_the_command_asks_for_the_best_format_that_fits(free: int, fast_bf16: bool, format_: str | None) -> None:
    command = command_for("big", BIG, Machine("cpu", free * GIB, 4, fast_bf16))
    if format_ is None:
        assert command is None
        return
    assert command is not None
    program, *words = shlex.split(command)
    assert program == "visiglot"
    assert problem_of(words, whole=True) is None
    assert " ".join(capacity.FORMATS[format_]) in command
    assert "--max-batch-tokens" in words


def test_a_model_is_quantised_only_after_it_was_loaded() -> None:
    assert BIG.weights("int8") < BIG.weights("bf16") == BIG.most("int8")
    assert BIG.tokens("int8", BIG.weights("int8") + 2 * GIB) is None


def test_fewer_tokens_fit_where_there_is_less_room() -> None:
    rooms = [BIG.tokens("bf16", BIG.weights("bf16") + capacity.RESERVE + room * GIB // 4) for room in (0, 1, 2, 40)]
    assert rooms == [None, 1024, 2048, 16384]


def test_doctor_says_what_a_model_takes_and_the_command(run: Run, tiny_model: Path) -> None:
    printed = run("doctor", tiny_model).stdout.partition("Serving\n")[2]
    command = next(line.split(maxsplit=1)[1] for line in printed.splitlines() if line.strip().startswith("command"))
    assert str(tiny_model) in command
    assert problem_of(shlex.split(command)[1:], whole=True) is None
    for format_ in capacity.FORMATS:
        assert f"  {format_} " in printed


def test_doctor_says_what_fits_without_a_model_too(run: Run) -> None:
    printed = run("doctor").stdout
    assert "free memory" in printed
    assert "billion parameters" in printed
    assert "visiglot serve nano" in printed


def test_what_runs_on_a_package_that_is_not_here_is_not_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "needs_of", lambda _: BIG)
    machine = Machine("cpu", 100 * GIB, 4, True, nf4=False)
    facts: dict[str, Any] = dict(serving_facts(machine, "big"))
    assert facts["nf4"].endswith("pip install 'visiglot[quantize]'")
    assert "pip install" not in facts["int8"]
    assert "nf4" not in machine.formats()


def test_a_machine_that_is_too_small_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def big(_: str) -> Needs:
        return BIG

    monkeypatch.setattr(capacity, "needs_of", big)
    facts: dict[str, Any] = dict(serving_facts(Machine("cpu", 2 * GIB, 1, False), "big"))
    assert all(facts[format_].endswith("doesn't fit") for format_ in capacity.FORMATS)
    assert facts["command"].startswith("none")

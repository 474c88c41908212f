"""Replicas without Ray: who may ask, when one is ill, and that they are told what `visiglot serve` is told."""

from __future__ import annotations

import sys

import pytest
import typer
from tests.unit.serve.serving import SERVED, Stub

from visiglot.cli import app
from visiglot.errors import ConfigError, MissingExtraError, ServeError
from visiglot.serve import cluster, loading
from visiglot.serve.access import Access
from visiglot.serve.cluster import ClusterOptions, LocalAccess, Replica, build, seconds
from visiglot.serve.errors import ApiError
from visiglot.serve.options import ServeOptions

COMMAND = typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]
OF_THE_COMMAND = {"host", "port", "api_key", "replicas", "api_key_variable", "dry_run", "help"}
"""Options that aren't a server's but of where it is started."""


def test_options_are_those_of_the_command_with_its_defaults() -> None:
    fields = {name: field.default for name, field in ServeOptions.model_fields.items() if name != "licence"}
    told = {one.name: one.default for one in COMMAND.params if one.name not in OF_THE_COMMAND}
    told["allowed_media_domains"] = ""
    assert fields == told


def test_wrong_options_are_told_with_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match="replicas") as error:
        build({"replicas": "0", "modell": "nano"})
    assert "modell" in str(error.value)
    assert "max_tokens" in str(error.value)
    with pytest.raises(ConfigError, match="NO_SUCH_VARIABLE"):
        build({"api_key_variable": "NO_SUCH_VARIABLE"})


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"visiglot\[ray\]"):
        build({})


def test_without_a_key_no_other_machine_is_answered_wherever_proxies_listen() -> None:
    access = LocalAccess([])
    assert access.caller(None, "127.0.0.1") == "127.0.0.1"
    for address in ("192.0.2.7", "", "::ffff:192.0.2.7"):
        with pytest.raises(ApiError) as error:
            access.caller(None, address)
        assert error.value.status == 403
    with_key = LocalAccess(["one", "two"])
    assert with_key.caller("Bearer two", "192.0.2.7") == "key 1"
    with pytest.raises(ApiError):
        with_key.caller(None, "127.0.0.1")


def test_what_is_sent_to_replicas_has_no_key_in_it() -> None:
    assert "s3cret" not in repr(vars(LocalAccess(["s3cret"])))
    assert "api_key" not in ServeOptions.model_fields
    assert ClusterOptions.model_fields.keys() > ServeOptions.model_fields.keys()


def test_a_replica_whose_engine_is_gone_is_ill(monkeypatch: pytest.MonkeyPatch) -> None:
    stub = Stub()
    monkeypatch.setattr(loading, "load_engine", lambda *_, **__: (stub, SERVED))
    monkeypatch.setattr(loading, "log_requests", lambda: None)
    replica = Replica(ServeOptions(), Access("127.0.0.1", ()), 0)
    replica.check_health()
    stub.alive = False
    with pytest.raises(ServeError, match="engine"):
        replica.check_health()


def test_a_proxy_gives_up_only_after_the_replica_had_to() -> None:
    limits = ServeOptions(max_request_seconds=10).limits()
    assert seconds(limits) > limits.body_seconds + limits.request_seconds
    assert cluster.MIDDLEWARES == "visiglot.serve.proxied:middlewares"

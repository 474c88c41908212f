"""Replicas of one server, on one machine or on many, over Ray Serve.

    client --> Ray's proxy, one a machine, with `proxied` before it --> a replica: api, engine and model of its own

Every replica is the server that `visiglot serve` is: the same application, limits, keys and errors, each limit for
itself. Which of them gets a request is Ray's choice, by how many each has. Nothing is shared, so an answer that was
lost with its replica is the same when it is asked for again with its seed.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError

from visiglot.errors import ConfigError, MissingExtraError, ServeError
from visiglot.machines import joined, load_ray, reason, resources, shares
from visiglot.serve.access import Access
from visiglot.serve.addresses import is_loopback
from visiglot.serve.errors import ApiError
from visiglot.serve.options import ServeOptions, keys_in
from visiglot.serve.proxied import CALLBACK

if TYPE_CHECKING:
    from visiglot.serve.limits import Limits

NAME = "visiglot"
"""Of the application and of its deployment."""

MIDDLEWARES = "visiglot.serve.proxied:middlewares"

OF_THE_CONTROLLER = {CALLBACK: MIDDLEWARES, "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60"}
"""Environment of Ray Serve's controller and of the proxies that it starts. By Ray's own 5 seconds it gives a proxy up
that needs longer to start, where the cores are busy."""

SPARE = 64
"""Requests that a replica gets beside those that it works on: for `/health`, `/metrics`, the page, and its own 429."""

HEALTH_SECONDS, ANSWER_SECONDS = 5.0, 30.0
"""Between two questions to a replica whether its engine is alive, and for it to answer. After three without a good
answer, which is Ray's number, it is replaced."""

LAST_SECONDS = 5.0
"""For a replica to close its engine, after its requests have had their time."""

STARTS = 3
"""Times that replicas are started which fail at it, before it is given up."""


class ClusterOptions(ServeOptions):
    """What `serve run visiglot.serve.cluster:build NAME=VALUE ...` may be told.

    Args:
        replicas: each with a model of its own.
        cpus, gpus: of each replica; it isn't started where there are fewer.
        api_key_variable: the environment variable with the keys, where the application is built.
    """

    replicas: int = Field(2, ge=1)
    cpus: int = Field(1, ge=1)
    gpus: float = Field(0.0, ge=0)
    api_key_variable: str | None = None


class LocalAccess(Access):
    """Without a key only clients on the proxy's own machine are answered, whatever proxies listen on.

    Args:
        keys: any of which opens.
    """

    def __init__(self, keys: list[str]) -> None:
        super().__init__("127.0.0.1", keys)

    def caller(self, authorization: str | None, address: str) -> str:
        """Raises ApiError: 401 without the right key; 403 where there are none, to another machine."""
        found = super().caller(authorization, address)
        if not self._digests and not is_loopback(address):
            raise ApiError(403, "Without an API key only the proxy's own machine is answered.", code="host_not_allowed")
        return found


class Replica:
    """A server behind Ray's proxies.

    Args:
        created: when the application was, in seconds since 1970; the same for all replicas.
    """

    def __init__(self, options: ServeOptions, access: Access, created: int) -> None:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle threads sleep, or they slow the others down
        from visiglot.serve.api import build_app
        from visiglot.serve.loading import load_engine, log_requests

        log_requests()
        self._engine, served = load_engine(options, created=created)
        self._app = build_app(self._engine, served, access, limits=options.limits(), fetcher=options.fetcher())

    def __serve_build_asgi_app__(self) -> Any:
        """For Ray, which also runs what the application does when it starts and when it ends."""
        return self._app

    def check_health(self) -> None:
        """For Ray, which replaces a replica that raises. Raises ServeError: the engine doesn't answer any more."""
        if not self._engine.alive:
            raise ServeError("the engine is gone", hint="The log of the replica says more.")


def build(args: Mapping[str, Any]) -> Any:
    """The application, for `serve run` and for the file of `serve deploy`.

    Args:
        args: `ClusterOptions` by their names, as values or as text.

    Raises:
        ConfigError: an option is wrong.
        MissingExtraError: Ray isn't installed.
    """
    ray, _ = _load("serve run")
    try:
        options = ClusterOptions.model_validate(args)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise ConfigError(
            f"{__name__}:build", problems, hint=f"It takes {', '.join(ClusterOptions.model_fields)}."
        ) from None
    if not ray.is_initialized():
        os.environ.setdefault(CALLBACK, MIDDLEWARES)  # for the proxies of a Ray that is started for this application
    access = LocalAccess(keys_in(options.api_key_variable))
    return application(options, access, replicas=options.replicas, cpus=options.cpus, gpus=options.gpus)


def application(options: ServeOptions, access: Access, *, replicas: int, cpus: int, gpus: float) -> Any:
    """Replicas for `ray.serve.run`.

    Args:
        cpus, gpus: of each.

    Raises:
        ConfigError: an option is wrong.
    """
    _, serve = _load("serve run")
    limits = options.limits()
    options.fetcher()
    if os.environ.get("RAY_SERVE_ENABLE_HA_PROXY") == "1":
        raise ConfigError(
            "Ray Serve",
            ["RAY_SERVE_ENABLE_HA_PROXY=1: replicas would listen on every network, and errors be HAProxy's own"],
            hint="Unset it: Ray's own proxy is the one that is supported.",
        )
    deployment: Any = serve.deployment(serve.ingress()(Replica))
    deployment = deployment.options(
        name=NAME,
        num_replicas=replicas,
        ray_actor_options={"num_cpus": cpus, "num_gpus": gpus},
        **_deployed(options, limits),
    )
    return deployment.bind(options, access, int(time.time()))


def _load(who: str) -> tuple[Any, Any]:
    """The modules `ray` and `ray.serve`. Raises MissingExtraError."""
    ray = load_ray(who)
    try:
        from ray import serve
    except ImportError as error:  # of what `ray[serve]` needs
        raise MissingExtraError(f"ray[serve], which {who} needs,", "ray") from error
    return ray, serve


def _deployed(options: ServeOptions, limits: Limits) -> dict[str, Any]:
    return {
        "max_ongoing_requests": limits.requests + SPARE,
        "max_queued_requests": limits.requests,
        "graceful_shutdown_timeout_s": options.shutdown_seconds + LAST_SECONDS,
        "health_check_period_s": HEALTH_SECONDS,
        "health_check_timeout_s": ANSWER_SECONDS,
        "max_constructor_retry_count": STARTS,
        "logging_config": {"enable_access_log": False},
    }


def serve_until_told(
    options: ServeOptions, access: Access, *, host: str, port: int, replicas: int, started: Callable[[str], None]
) -> None:
    """Serve with replicas until SIGINT or SIGTERM, which mean to stop in order; a second one stops at once.

    Args:
        host, port: that the proxies listen on, one on each machine with replicas.
        started: is told what was started, when requests are answered.

    Raises:
        ConfigError: an option is wrong.
        MissingExtraError: Ray isn't installed.
        ServeError: Ray can't be started or joined, serves already, or the replicas can't be started.
    """
    ray, serve = _load("--replicas")
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    with joined(ray, replicas, ServeError):
        if serve.status().proxies:
            raise ServeError(
                "Ray Serve runs on this cluster already, on addresses of its own",
                hint="Use `serve run` or `serve deploy` there, or end it first: `serve shutdown`.",
            )
        cpus, gpus = shares(resources(ray), replicas, gpu=options.device != "cpu")
        app = application(options, access, replicas=replicas, cpus=cpus, gpus=gpus)
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            serve.start(
                http_options={"host": host, "port": port, "request_timeout_s": seconds(options.limits())},
                controller_options={"runtime_env": {"env_vars": OF_THE_CONTROLLER}},
            )
            serve.run(app, name=NAME, route_prefix="/")
            started(f"{replicas} replicas, {cpus} CPUs and {gpus:g} GPUs each")
            threading.Event().wait()
        except KeyboardInterrupt:
            return
        except (RuntimeError, ray.exceptions.RayError) as error:
            raise ServeError(
                f"the replicas can't be started: {reason(error)}",
                hint="Every machine needs this version of visiglot and, at the same path, the model.",
            ) from error
        finally:
            with suppress(serve.exceptions.RayServeException):  # it isn't there
                serve.delete(NAME)  # which waits for the requests under way
            serve.shutdown()
            signal.signal(signal.SIGTERM, before)


def seconds(limits: Limits) -> float:
    """After which a proxy gives a request up. The application has done that before, unless its replica hangs."""
    return limits.body_seconds + limits.request_seconds + LAST_SECONDS

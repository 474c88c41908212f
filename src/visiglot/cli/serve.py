"""`visiglot serve`: a model behind an OpenAI-compatible interface."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from visiglot.cli.options import Device, DryRun, Dtype, Fp32Parts, Quantize, QuantizeParts
from visiglot.errors import MissingExtraError

if TYPE_CHECKING:
    from visiglot.serve.access import Access
    from visiglot.serve.chat import Served
    from visiglot.serve.engine import Engine
    from visiglot.serve.options import ServeOptions

ACCESS, LIMITS = "Who may ask", "Limits"

_NEEDED = ("fastapi", "uvicorn", "h11")


def serve(
    model: Annotated[
        str, typer.Argument(help="`nano`, a run, a run or model folder, a hub id, or a YAML file of parts.")
    ] = "nano",
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on. Any but a loopback one needs a key.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 is a free one.")] = 8000,
    served_model_name: Annotated[
        str | None,
        typer.Option("--served-model-name", help="What requests call the model. Default: the last part of MODEL."),
    ] = None,
    api_key: Annotated[
        list[str] | None,
        typer.Option(
            "--api-key",
            help="A key that clients must send; several times for several. Others on this machine can see it in the "
            "list of processes, so rather use --api-key-variable.",
            rich_help_panel=ACCESS,
        ),
    ] = None,
    api_key_variable: Annotated[
        str | None,
        typer.Option(
            "--api-key-variable",
            help="The environment variable with the key, or with several between commas.",
            rich_help_panel=ACCESS,
        ),
    ] = None,
    allowed_media_domains: Annotated[
        list[str] | None,
        typer.Option(
            "--allowed-media-domains",
            help="Hosts that pictures are fetched from, with commas or several times; with a port where it isn't 80 or "
            "443. Default: none, pictures come as data URLs.",
            rich_help_panel=ACCESS,
        ),
    ] = None,
    max_batch_tokens: Annotated[
        int,
        typer.Option(
            "--max-batch-tokens",
            min=1,
            help="Tokens of prompts and answers that are held at a time; memory grows with them.",
            rich_help_panel=LIMITS,
        ),
    ] = 16384,
    max_waiting: Annotated[
        int, typer.Option("--max-waiting", min=1, help="Answers that may wait to be started.", rich_help_panel=LIMITS)
    ] = 256,
    max_wait_seconds: Annotated[
        float,
        typer.Option("--max-wait-seconds", min=0.1, help="For which one may wait.", rich_help_panel=LIMITS),
    ] = 60.0,
    max_request_seconds: Annotated[
        float,
        typer.Option(
            "--max-request-seconds",
            min=0.1,
            help="For a request, its wait and its whole answer included.",
            rich_help_panel=LIMITS,
        ),
    ] = 300.0,
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", min=1, help="Tokens that an answer may have.", rich_help_panel=LIMITS)
    ] = 1024,
    default_max_tokens: Annotated[
        int,
        typer.Option(
            "--default-max-tokens",
            min=1,
            help="Tokens that it may have if the request doesn't say.",
            rich_help_panel=LIMITS,
        ),
    ] = 256,
    max_choices: Annotated[
        int,
        typer.Option("--max-choices", min=1, help="Answers to one request: languages times n.", rich_help_panel=LIMITS),
    ] = 128,
    limit_mm_per_prompt: Annotated[
        str,
        typer.Option(
            "--limit-mm-per-prompt",
            help='Pictures in one request, as vLLM writes it: image=8, or {"image": 8}.',
            rich_help_panel=LIMITS,
        ),
    ] = "image=8",
    max_image_mb: Annotated[
        int, typer.Option("--max-image-mb", min=1, help="MiB of one picture's file.", rich_help_panel=LIMITS)
    ] = 16,
    max_image_pixels: Annotated[
        int,
        typer.Option(
            "--max-image-pixels",
            min=1,
            help="Width times height of one picture, at most 50,000,000; read from its header.",
            rich_help_panel=LIMITS,
        ),
    ] = 25_000_000,
    max_body_mb: Annotated[
        int, typer.Option("--max-body-mb", min=1, help="MiB of a request's body.", rich_help_panel=LIMITS)
    ] = 32,
    max_held_mb: Annotated[
        int,
        typer.Option(
            "--max-held-mb", min=1, help="MiB of all requests' bodies and fetched pictures.", rich_help_panel=LIMITS
        ),
    ] = 512,
    feature_mb: Annotated[
        int,
        typer.Option(
            "--feature-mb",
            min=0,
            help="MiB of pictures' features that are kept for requests to come.",
            rich_help_panel=LIMITS,
        ),
    ] = 256,
    shutdown_seconds: Annotated[
        float,
        typer.Option(
            "--shutdown-seconds",
            min=1,
            help="That requests have to come to their end after Ctrl-C or SIGTERM.",
            rich_help_panel=LIMITS,
        ),
    ] = 30.0,
    replicas: Annotated[
        int | None,
        typer.Option(
            "--replicas",
            min=1,
            help="Serve with so many over Ray, each with a model and limits of its own: on this machine, or on the "
            "cluster that RAY_ADDRESS names or `ray start` has joined.",
        ),
    ] = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    fp32_parts: Fp32Parts = None,
    quantize: Quantize = None,
    quantize_parts: QuantizeParts = "language_model",
    dry_run: DryRun = False,
) -> None:
    """Serve a model to OpenAI's clients: chat completions about pictures, in many languages at once.

    Requests of all users are decoded together, and each answer is the one that it would be alone. Only this machine is
    answered unless --host says otherwise, and nothing is fetched unless --allowed-media-domains does.

    `visiglot doctor` says what this machine can serve.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle threads sleep, or they slow the others down
    for package in _NEEDED:
        if find_spec(package) is None:
            raise MissingExtraError(f"{package}, which serving needs,", "serve")
    from visiglot.serve.options import ServeOptions, keys_in

    options = ServeOptions(
        model=model,
        served_model_name=served_model_name,
        allowed_media_domains=",".join(allowed_media_domains or ()),
        max_batch_tokens=max_batch_tokens,
        max_waiting=max_waiting,
        max_wait_seconds=max_wait_seconds,
        max_request_seconds=max_request_seconds,
        max_tokens=max_tokens,
        default_max_tokens=default_max_tokens,
        max_choices=max_choices,
        limit_mm_per_prompt=limit_mm_per_prompt,
        max_image_mb=max_image_mb,
        max_image_pixels=max_image_pixels,
        max_body_mb=max_body_mb,
        max_held_mb=max_held_mb,
        feature_mb=feature_mb,
        shutdown_seconds=shutdown_seconds,
        device=device,
        dtype=dtype,
        fp32_parts=fp32_parts,
        quantize=quantize,
        quantize_parts=quantize_parts,
    )
    keys = (*(api_key or ()), *keys_in(api_key_variable))
    _run(Listening(host, port, keys, replicas), options, dry_run=dry_run)


@dataclass(frozen=True, slots=True)
class Listening:
    """Where, to whom, and with how many replicas; None: in this process."""

    host: str
    port: int
    keys: tuple[str, ...]
    replicas: int | None


def _run(listening: Listening, options: ServeOptions, *, dry_run: bool) -> None:
    from visiglot.cli.console import say
    from visiglot.models.runs import resolve_model
    from visiglot.serve.access import Access
    from visiglot.serve.api import build_app
    from visiglot.serve.loading import log_requests
    from visiglot.serve.server import Server, bind

    limits, fetcher = options.limits(), options.fetcher()
    access = Access(listening.host, listening.keys)
    if dry_run:
        resolve_model(options.model)
        keys = f"{len(listening.keys)} key(s)" if listening.keys else "no key"
        fetched = ", ".join(options.domains()) or "nowhere"
        typer.echo(f"{options.name()} would be served on {listening.host}, port {listening.port}, with {keys}")
        typer.echo(f"pictures: data URLs, at most {limits.images} in a request; fetched from {fetched}")
        if listening.replicas is not None:
            typer.echo(f"by {listening.replicas} replicas over Ray")
        return
    with bind(listening.host, listening.port) as bound:
        listening = replace(listening, port=bound.getsockname()[1])
        if listening.replicas is None:
            engine, served = _load(options)
            app = build_app(engine, served, access, limits=limits, fetcher=fetcher)
            log_requests()
            server = Server(
                app,
                bound,
                shutdown_seconds=options.shutdown_seconds,
                started=lambda: say(_served(options, listening)),
                overdue=engine.close,
            )
            server.serve_until_told()
    if listening.replicas is not None:
        _run_replicas(listening, options, access)
    say("stopped")


def _run_replicas(listening: Listening, options: ServeOptions, access: Access) -> None:
    """Where nobody listens now."""
    from visiglot.cli.console import quiet_libraries, say
    from visiglot.models.runs import resolve_model
    from visiglot.serve.cluster import serve_until_told

    quiet_libraries()
    resolve_model(options.model)
    say(f"starting replicas of {options.model}")
    options = _with_licence(options)
    if (path := Path(options.model)).exists():  # workers of Ray may be in another folder
        options = options.model_copy(update={"model": str(path.resolve()), "served_model_name": options.name()})
    serve_until_told(
        options,
        access,
        host=listening.host,
        port=listening.port,
        replicas=listening.replicas or 1,
        started=lambda what: say(f"{_served(options, listening)} ({what})"),
    )


def _served(options: ServeOptions, listening: Listening) -> str:
    host = f"[{listening.host}]" if ":" in listening.host else listening.host
    url = f"http://{host}:{listening.port}"
    return f"{options.name()} is served at {url}/v1; its page is {url}/; Ctrl-C stops it"


def _load(options: ServeOptions) -> tuple[Engine, Served]:
    from visiglot.cli.console import quiet_libraries, say
    from visiglot.cli.models import tell_loaded
    from visiglot.serve.loading import load_engine

    quiet_libraries()
    return load_engine(_with_licence(options), say=say, loaded=tell_loaded)


def _with_licence(options: ServeOptions) -> ServeOptions:
    from visiglot.cli.origin import licence_of

    return options.model_copy(update={"licence": licence_of(options.model)})

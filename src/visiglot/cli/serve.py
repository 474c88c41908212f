"""`visiglot serve`: a model behind an OpenAI-compatible interface."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from visiglot.cli.options import Device, DryRun, Dtype, Fp32Parts, Quantize, QuantizeParts
from visiglot.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from visiglot.serve.chat import Served
    from visiglot.serve.engine import Engine
    from visiglot.serve.limits import Limits

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
    from visiglot.images import MAX_BYTES, MAX_PIXELS
    from visiglot.serve.limits import MIB, Limits

    limits = Limits(
        body_bytes=max_body_mb * MIB,
        held_bytes=max_held_mb * MIB,
        images=_images(limit_mm_per_prompt),
        image_bytes=min(max_image_mb * MIB, MAX_BYTES),
        image_pixels=min(max_image_pixels, MAX_PIXELS),
        choices=max_choices,
        new_tokens=max_tokens,
        default_new_tokens=default_max_tokens,
        request_seconds=max_request_seconds,
    )
    listening = Listening(
        host,
        port,
        served_model_name or _last_part(model),
        (*(api_key or ()), *_keys_in(api_key_variable)),
        tuple(one for domain in allowed_media_domains or () for one in domain.split(",") if one.strip()),
        shutdown_seconds,
    )
    loading = Loading(model, device, dtype, fp32_parts, quantize, quantize_parts)
    decoding = Decoding(max_batch_tokens, max_waiting, max_wait_seconds, feature_mb * MIB)
    _run(listening, loading, decoding, limits, dry_run=dry_run)


@dataclass(frozen=True, slots=True)
class Listening:
    """Where and to whom."""

    host: str
    port: int
    name: str
    keys: tuple[str, ...]
    domains: tuple[str, ...]
    shutdown_seconds: float


@dataclass(frozen=True, slots=True)
class Loading:
    """The model and how it is run; see `visiglot.models.load.load_model`."""

    model: str
    device: str
    dtype: str
    fp32_parts: str | None
    quantize: str | None
    quantize_parts: str


@dataclass(frozen=True, slots=True)
class Decoding:
    """See `visiglot.serve.engine.Engine`."""

    max_batch_tokens: int
    max_waiting: int
    max_wait_seconds: float
    feature_bytes: int


def _run(listening: Listening, loading: Loading, decoding: Decoding, limits: Limits, *, dry_run: bool) -> None:
    from visiglot.cli.console import say
    from visiglot.models.runs import resolve_model
    from visiglot.serve.access import Access
    from visiglot.serve.api import build_app
    from visiglot.serve.fetch import Fetcher
    from visiglot.serve.server import Server, bind

    access = Access(listening.host, listening.keys)
    fetcher = None
    if listening.domains:
        fetcher = Fetcher(listening.domains, max_bytes=limits.image_bytes, seconds=limits.fetch_seconds)
    if dry_run:
        resolve_model(loading.model)
        keys = f"{len(listening.keys)} key(s)" if listening.keys else "no key"
        fetched = ", ".join(listening.domains) or "nowhere"
        typer.echo(f"{listening.name} would be served on {listening.host}, port {listening.port}, with {keys}")
        typer.echo(f"pictures: data URLs, at most {limits.images} in a request; fetched from {fetched}")
        return
    with bind(listening.host, listening.port) as bound:
        engine, served = _load(loading, decoding, listening.name)
        app = build_app(engine, served, access, limits=limits, fetcher=fetcher)
        host = f"[{listening.host}]" if ":" in listening.host else listening.host
        url = f"http://{host}:{bound.getsockname()[1]}/v1"

        def started() -> None:
            say(f"{served.name} is served at {url}; Ctrl-C stops it")

        _log_requests()
        server = Server(app, bound, shutdown_seconds=listening.shutdown_seconds, started=started)
        server.serve_until_told()
        say("stopped")


def _load(loading: Loading, decoding: Decoding, name: str) -> tuple[Engine, Served]:
    """The engine, not started, and what is known of its model."""
    import time

    from visiglot.cli.console import quiet_libraries, say
    from visiglot.cli.models import tell_loaded

    quiet_libraries()
    from visiglot.data.nano.prompts import caption_prompt
    from visiglot.models.decode import pack
    from visiglot.models.load import load_model
    from visiglot.models.quantize import check_quantization, quantize_model
    from visiglot.prompts import placing_of
    from visiglot.serve.chat import Served
    from visiglot.serve.engine import Engine

    if loading.quantize is not None:
        check_quantization(loading.quantize, loading.quantize_parts)
    say(f"loading {loading.model}")
    fp32_parts = [part.strip() for part in (loading.fp32_parts or "").split(",") if part.strip()]
    model, processor = load_model(loading.model, device=loading.device, dtype=loading.dtype, fp32_parts=fp32_parts)
    tell_loaded(model)
    if loading.quantize is not None:
        for line in quantize_model(model, loading.quantize, loading.quantize_parts):
            say(line)
    pack(model)
    engine = Engine(
        model,
        processor,
        max_batch_tokens=decoding.max_batch_tokens,
        max_waiting=decoding.max_waiting,
        feature_bytes=decoding.feature_bytes,
        max_wait_seconds=decoding.max_wait_seconds,
    )
    config = model.config
    placing = placing_of(config, processor)
    return engine, Served(name, tuple(config.languages), placing, caption_prompt(config), int(time.time()))


def _log_requests() -> None:
    """A line for each request on stderr; of libraries only what is wrong."""
    import logging

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("visiglot.serve").setLevel(logging.INFO)


def _last_part(model: str) -> str:
    """The name of a folder or file less where it lies; a hub id as it is."""
    path = Path(model).expanduser()
    return path.resolve().name if path.exists() or model.startswith(("/", ".", "~")) else model


def _keys_in(variable: str | None) -> list[str]:
    if variable is None:
        return []
    keys = [key.strip() for key in os.environ.get(variable, "").split(",") if key.strip()]
    if not keys:
        raise ConfigError(
            "visiglot serve",
            [f"--api-key-variable: the environment variable {variable} is empty or missing"],
            hint=f"Set it: export {variable}=...",
        )
    return keys


def _images(text: str) -> int:
    """8 of "image=8" or of '{"image": 8}'."""
    try:
        values = json.loads(text) if text.lstrip().startswith("{") else dict([text.split("=")])
        if set(values) == {"image"} and int(values["image"]) >= 0:
            return int(values["image"])
    except (ValueError, TypeError):
        pass
    raise ConfigError("visiglot serve", [f"--limit-mm-per-prompt: {text!r}"], hint='Write image=8, or {"image": 8}.')

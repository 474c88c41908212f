"""The HTTP interface: OpenAI's chat completions and models, health, metrics, and a page over them.

Errors have OpenAI's shape whatever raises them. The log has a line for each request, with its route and its status, and
nothing of what it says.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from visiglot.serve.access import Access
from visiglot.serve.chat import Served
from visiglot.serve.errors import ApiError, failed
from visiglot.serve.exchange import Answers, Exchange, Service
from visiglot.serve.fetch import Fetcher
from visiglot.serve.limits import Limits
from visiglot.serve.load import Load
from visiglot.serve.media import Media
from visiglot.serve.metrics import CONTENT_TYPE, Metrics
from visiglot.serve.static import FOLDER, add_page

ROUTES = ("/v1/chat/completions", "/v1/models", "/health", "/metrics", "/", FOLDER)
READ = ["GET", "HEAD"]
THREADS = 4
"""That parse bodies, decode base64 and read headers of pictures."""

log = logging.getLogger("visiglot.serve")


def build_app(
    engine: Answers, served: Served, access: Access, *, limits: Limits, fetcher: Fetcher | None = None
) -> FastAPI:
    """The application, which starts the engine when it starts and closes it when it ends.

    Args:
        fetcher: of pictures from the web; None: none is fetched.
    """
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="visiglot-http")
    load = Load(limits, shared=access.several_keys)
    service = Service(engine, served, access, limits, Media(limits, fetcher, pool), load, Metrics(), pool)

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        engine.start()
        try:
            yield
        finally:
            await asyncio.to_thread(engine.close)
            pool.shutdown(wait=False)

    app = FastAPI(title="Visiglot", openapi_url=None, docs_url=None, redoc_url=None, lifespan=running)
    app.add_middleware(Observed, service=service)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _bug)
    _add_routes(app, service)
    add_page(app)
    return app


def _add_routes(app: FastAPI, service: Service) -> None:
    def caller(request: Request) -> str:
        address = request.client.host if request.client else ""
        return service.access.caller(request.headers.get("authorization"), address)

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        return Exchange(service, caller(request))

    @app.api_route("/v1/models", methods=READ)
    async def models(request: Request) -> Response:
        caller(request)
        return JSONResponse({"object": "list", "data": [_model(service)]})

    @app.api_route("/v1/models/{name:path}", methods=READ)
    async def model(request: Request, name: str) -> Response:
        caller(request)
        if name != service.served.name:
            raise ApiError(404, "There is no such model here.", param="model", code="model_not_found")
        return JSONResponse(_model(service))

    @app.api_route("/health", methods=READ)
    async def health() -> Response:
        alive = service.engine.alive
        return JSONResponse({"status": "ok" if alive else "closing"}, 200 if alive else 503)

    @app.api_route("/metrics", methods=READ)
    async def metrics(request: Request) -> Response:
        caller(request)
        stats = await asyncio.to_thread(service.engine.stats)
        load = service.load
        text = service.metrics.text(stats, requests=load.requests, held_bytes=load.held_bytes)
        return Response(text, headers={"Content-Type": CONTENT_TYPE})


def _model(service: Service) -> dict[str, Any]:
    """OpenAI's facts of a model and ours."""
    served, limits = service.served, service.limits
    told = ("choices", "images", "image_bytes", "image_pixels", "body_bytes", "new_tokens", "default_new_tokens")
    return {
        "id": served.name,
        "object": "model",
        "created": served.created,
        "owned_by": "visiglot",
        "languages": list(served.languages),
        "licence": served.licence,
        "experts": served.experts,
        "limits": {name: getattr(limits, name) for name in told},
    }


class Observed:
    """Checks the host of every request, and counts and logs what became of it."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.monotonic()
        status = 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            self._service.access.check_host(Headers(scope=scope).get("host"))
            await self._app(scope, receive, noted)
        except ApiError as error:
            await JSONResponse(error.body(), error.status)(scope, receive, noted)
        finally:
            status = scope.get("visiglot_status", status)
            route = _route(scope["path"])
            self._service.metrics.request(route, status)
            address = scope["client"][0] if scope.get("client") else "-"
            log.info("%s %s %s %d %.3f s", address, scope["method"], route, status, time.monotonic() - start)


def _route(path: str) -> str:
    """The route of a path: what a log and a metric may say of it."""
    return next((route for route in ROUTES if path == route or path.startswith(f"{route}/")), "other")


async def _api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return JSONResponse(error.body(), error.status, error.headers)


async def _http_error(_: Request, error: Exception) -> Response:
    """No such route, or another method of one."""
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code)
    message = f"{error.detail}. This server has {', '.join(ROUTES)}."
    told = ApiError(error.status_code, message, code=code)
    return JSONResponse(told.body(), told.status, error.headers)


async def _bug(_: Request, error: Exception) -> Response:
    """The log gets the traceback from the server."""
    told = failed()
    return JSONResponse(told.body(), told.status)

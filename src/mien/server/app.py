"""The app: routes, what surrounds them, what starts and ends with them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from mien import __version__
from mien.errors import UsageError
from mien.server import analysis, documents, health, models, pages, videos, web_assets
from mien.server.analysis import PictureService
from mien.server.envelope import Envelope, route_of
from mien.server.metrics import Metrics
from mien.server.problems import Problem, not_found
from mien.server.security import Gate
from mien.server.settings import ServerSettings
from mien.weights import BUNDLED

LONGEST_ECHO = 60
"""Characters of a wrong value that its refusal repeats."""

DESCRIPTION = (
    "Finds faces in pictures and videos and says what they show. Nothing is kept, nothing leaves the machine: pictures "
    "stay in memory, videos in a private temporary folder until they are done. Problems are RFC 9457 documents."
)


def create_app(analyzers: Any, settings: ServerSettings | None = None) -> FastAPI:
    """The service as an ASGI app.

    Args:
        analyzers: a `mien.server.Analyzers`, or whatever has its `names`, `default` and `get`.
        settings: limits, token and so on; None for the defaults.

    Raises:
        UsageError: one of them is something else.
    """
    _check_kinds(analyzers, settings)
    settings = settings or ServerSettings()
    metrics = Metrics()
    alone = analyzers.get
    service = PictureService(alone, getattr(analyzers, "get_single", alone), settings, metrics)
    jobs = videos.VideoJobs(
        analyzers,
        settings,
        video_folder(settings),
        observe=lambda job: metrics.video(job.status, job.frames_done),
    )
    metrics.watch("mien_videos_waiting", "Videos that wait.", lambda: jobs.waiting)
    metrics.watch("mien_videos_running", "Videos that are worked on.", lambda: jobs.running)
    app = FastAPI(
        title="mien",
        version=__version__,
        description=DESCRIPTION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan(service, jobs),
    )
    app.state.analyzers = analyzers
    app.state.settings = settings
    app.state.metrics = metrics
    app.state.jobs = jobs
    app.state.ready = False
    models_open = not settings.token or all(name in BUNDLED for name in analyzers.names)
    _add_routes(app, service, jobs, metrics, models_open)
    app.add_exception_handler(HTTPException, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_values)
    app.add_middleware(
        Envelope,  # type: ignore[arg-type, unused-ignore]
        settings=settings,
        gate=Gate(settings, models_open=models_open),
        metrics=metrics,
    )
    documents.describe(app)
    return app


def _lifespan(service: PictureService, jobs: videos.VideoJobs) -> Any:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        jobs.start()
        app.state.ready = True
        try:
            yield
        finally:
            app.state.ready = False
            jobs.close()
            service.close()

    return lifespan


def _add_routes(
    app: FastAPI, service: PictureService, jobs: videos.VideoJobs, metrics: Metrics, models_open: bool
) -> None:
    settings: ServerSettings = app.state.settings
    analyzers = app.state.analyzers
    local = models_open and web_assets.runs_in_browsers(analyzers)
    config = {"service": True, "local": local, "token": bool(settings.token), "version": __version__}
    app.include_router(analysis.router(service, settings, metrics))
    app.include_router(videos.router(jobs))
    app.include_router(models.router(analyzers, settings))
    app.include_router(health.router(metrics, lambda: app.state.ready and not service.full))
    app.include_router(documents.router())
    app.include_router(web_assets.router(analyzers))
    app.include_router(pages.router(config))


def _check_kinds(analyzers: object, settings: object) -> None:
    """Refuse what is given in place of analyzers or settings.

    Raises:
        UsageError: says what was received.
    """
    if not callable(getattr(analyzers, "get", None)) or not hasattr(analyzers, "names"):
        kind = type(analyzers).__name__
        raise UsageError(f"analyzers: must be as mien.server.Analyzers(['mien-small']) opens them, received {kind}")
    if settings is not None and not isinstance(settings, ServerSettings):
        kind = type(settings).__name__  # what it holds may be the token
        raise UsageError(f"settings: must be such as mien.server.ServerSettings(max_images=8), received {kind}")


def video_folder(settings: ServerSettings) -> Path:
    """Where uploaded videos lie for a while: the same folder at each start, so that what a crash left is found."""
    if settings.video_folder is not None:
        return settings.video_folder
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir()) / f"mien-serve-{user}"


async def _refuse(request: Request, error: Exception) -> NoReturn:
    """What the framework refuses (no such path, wrong method) as a problem; `Envelope` answers with it."""
    status = getattr(error, "status_code", 500)
    headers = getattr(error, "headers", None)
    if status == 404:
        raise not_found("there is nothing under this address") from None
    if status == 405:
        allowed = ", ".join(_methods(request))
        raise Problem(
            405, "method", "Method not allowed", f"this address takes {allowed}", {"Allow": allowed}
        ) from None
    raise Problem(status, "refused", "Refused", "the request cannot be answered", headers) from None


def _methods(request: Request) -> list[str]:
    """What an address takes. The framework names the methods of one route alone, where several share a path."""
    described = request.app.openapi()["paths"].get(route_of(request.scope), {"get": None})
    methods = {method.upper() for method in described}
    return sorted(methods | {"HEAD"} if "GET" in methods else methods)


async def _refuse_values(request: Request, error: Exception) -> NoReturn:
    """Query options that are wrong."""
    found: Sequence[Any] = error.errors() if isinstance(error, RequestValidationError) else ()
    options = _options(request)
    errors = [{"where": ".".join(map(str, one["loc"])), "message": _message(one, options)} for one in found]
    detail = "; ".join(f"{one['where'].removeprefix('query.')}: {one['message']}" for one in errors[:8])
    raise Problem(422, "wrong-option", "An option is wrong", detail, errors=errors) from None


def _options(request: Request) -> list[str]:
    """The query options that an address takes."""
    described = request.app.openapi()["paths"].get(route_of(request.scope), {})
    parameters = described.get(request.method.lower(), {}).get("parameters", ())
    return [one["name"] for one in parameters if one["in"] == "query"]


def _message(error: Any, options: Sequence[str]) -> str:
    if error["type"] == "extra_forbidden":
        return f"there is no such option; choose from {', '.join(options)}"
    allowed = str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
    return f"{allowed}, received {shortened(error['input'])}"


def shortened(value: object) -> str:
    """What a client wrote, at a length that fits in a message."""
    text = repr(value)
    return text if len(text) <= LONGEST_ECHO else f"{text[:LONGEST_ECHO]}..."

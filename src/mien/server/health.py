"""``/health/live``, ``/health/ready`` and ``/metrics``: for whoever watches over the service."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from mien.server.metrics import Metrics
from mien.server.problems import responses, too_busy
from mien.server.schemas import StatusAnswer


def router(metrics: Metrics, is_ready: Callable[[], bool]) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["operation"])

    @routes.get("/health/live", summary="The process answers", response_model=StatusAnswer, responses=responses(500))
    async def live() -> dict[str, str]:
        return {"status": "live"}

    @routes.get(
        "/health/ready", summary="Requests are taken", response_model=StatusAnswer, responses=responses(500, 503)
    )
    async def ready() -> dict[str, str]:
        if not is_ready():
            raise too_busy("the service is starting or ending, or its queue is full")
        return {"status": "ready"}

    @routes.get(
        "/metrics",
        summary="Counts and times, for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **responses(401, 403, 500)},
    )
    def numbers() -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return routes

"""``GET /v1/models``: what is served, and within which limits."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from mien.faces import DETECTORS
from mien.server.options import Options
from mien.server.problems import responses, without_paths
from mien.server.schemas import ModelsAnswer
from mien.server.settings import ServerSettings
from mien.views import TTA


def router(analyzers: Any, settings: ServerSettings) -> APIRouter:
    """The route; `analyzers` is a `mien.server.registry.Analyzers`."""
    routes = APIRouter(tags=["models"])

    @routes.get(
        "/v1/models",
        summary="The models that are served",
        response_model=ModelsAnswer,
        responses=responses(401, 403, 500),
    )
    async def models() -> dict[str, Any]:
        described = [describe(analyzers, name) for name in analyzers.names]
        return {"models": described, "detectors": list(DETECTORS), "tta": list(TTA), "limits": settings.limits}

    return routes


def describe(analyzers: Any, name: str) -> dict[str, Any]:
    """A model as its file describes it."""
    spec = analyzers.get(Options(model=name)).model.spec
    return {
        "name": name,
        "default": name == analyzers.default,
        "classes": list(spec.classes),
        "input": list(spec.input.shape),
        "parameters": spec.parameters,
        "trained_on": _clean(spec.trained_on),
        "scores": _clean(spec.scores),
        "temperature": spec.temperature,
    }


def _clean(value: Any) -> Any:
    """The same without paths: who trained a model may have noted where its data lay."""
    if isinstance(value, str):
        return without_paths(value)
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return value

"""``/page/models/``: what the page reads faces with in the browser itself."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from mien.server.assets import Asset, answer, asset
from mien.server.pages import TYPES
from mien.server.problems import not_found
from mien.server.web_models import MANIFEST, SUFFIX, WebModel, detector_graphs, file_names, manifest


def router(analyzers: Any) -> APIRouter:
    """The routes; `analyzers` is a `mien.server.Analyzers`, or whatever has its `models`.

    The files are read here, once: the browser gets the very models that the service answers with.
    """
    assets = _assets(analyzers)
    routes = APIRouter(include_in_schema=False)

    @routes.get("/page/models/{name}")
    def page_model(name: str, request: Request) -> Response:
        found = assets.get(name) or _detector().get(name)
        if found is None:
            raise not_found("there is no such model")
        return answer(found, request)

    return routes


def runs_in_browsers(analyzers: Any) -> bool:
    """Whether one of the served models can: ``.onnx`` files do, ``.keras`` and ``.h5`` do not."""
    models = getattr(analyzers, "models", {}).values()
    return not models or any(one.path.suffix.lower() == SUFFIX for one in models)


def _assets(analyzers: Any) -> dict[str, Asset]:
    """File name to the list of models, and to each model that a browser can run."""
    everything = getattr(analyzers, "models", {}).values()
    served = [one for one in everything if one.path.suffix.lower() == SUFFIX]
    models = [WebModel(one.name, one.path, one.model.spec) for one in served]
    files = dict(zip(file_names(models), (one.path.read_bytes() for one in models), strict=True))
    listed = json.dumps(manifest(models), ensure_ascii=False).encode()
    return {MANIFEST: _asset(listed, ".json"), **{name: _asset(data, SUFFIX) for name, data in files.items()}}


@lru_cache(maxsize=1)
def _detector() -> dict[str, Asset]:
    """Made when it is first asked for: most services never are."""
    return {name: _asset(data, SUFFIX) for name, data in detector_graphs().items()}


def _asset(data: bytes, suffix: str) -> Asset:
    return asset(data, suffix, TYPES[suffix])

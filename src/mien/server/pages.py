"""The page: files of the package, by a list made at the start, so that no address leads out of their folder."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from mien.server.assets import Asset, answer, asset
from mien.server.problems import not_found

FOLDER = Path(__file__).with_name("static")
ENGINE = "/page/local/engine.js"
RUNTIME = "/page/ort/"
"""Where onnxruntime-web lies, once ``make web`` has brought it."""

TYPES = {
    "": "text/plain; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".onnx": "application/octet-stream",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
}
"""File ending to content type. Files with other endings are not served."""

_READING = threading.Lock()


def listed(folder: Path = FOLDER) -> dict[str, Path]:
    """Address to file: the page, and all that lies in the folder ``page`` but hidden files."""
    files = (path for path in sorted((folder / "page").rglob("*")) if path.is_file() and path.suffix in TYPES)
    found = {f"/{path.relative_to(folder).as_posix()}": path for path in files}
    pages = {address: path for address, path in found.items() if "/." not in address}
    return {**pages, "/": folder / "index.html"} if (folder / "index.html").is_file() else pages


def router(config: Mapping[str, Any], folder: Path = FOLDER) -> APIRouter:
    """The routes; `config` is what ``page/config.json`` says."""
    files = listed(folder)
    runtime = any(address.startswith(RUNTIME) and address.endswith(".wasm") for address in files)
    local = bool(config["local"]) and runtime and ENGINE in files
    told = {**config, "local": local}
    routes = APIRouter(include_in_schema=False)

    @routes.get("/page/config.json")
    async def page_config() -> JSONResponse:
        return JSONResponse(told)

    @routes.get("/")
    def page(request: Request) -> Response:
        return _send(files, "/", request)

    @routes.get("/page/{name:path}")
    def page_file(name: str, request: Request) -> Response:
        return _send(files, f"/page/{name}", request)

    return routes


def _send(files: Mapping[str, Path], address: str, request: Request) -> Response:
    path = files.get(address)
    if path is None:
        raise not_found("there is no such page")
    with _READING:  # so that a crowd does not compress the same file at the same time
        found = _asset(path, path.stat().st_mtime_ns)
    return answer(found, request)


@lru_cache(maxsize=256)
def _asset(path: Path, changed: int) -> Asset:
    """The file, read once; `changed` makes it anew when the file is."""
    del changed
    return asset(path.read_bytes(), path.suffix, TYPES[path.suffix])

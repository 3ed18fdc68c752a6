"""The OpenAPI document, made truthful, and a page that shows it without scripts: ``/openapi.json`` and ``/docs``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from starlette.responses import HTMLResponse, JSONResponse, Response

from mien.server.problems import PROBLEM_SCHEMA
from mien.server.security import HEADERS

STYLE = Path(__file__).with_name("static") / "docs.css"
BEARER = "bearer"
EXAMPLES = {
    "post_v1_analyze": (
        "curl -F files=@a.jpg -F files=@b.jpg 'SERVICE/v1/analyze?tta=flip'",
        "curl -H 'Content-Type: image/jpeg' --data-binary @a.jpg SERVICE/v1/analyze",
    ),
    "get_v1_models": ("curl SERVICE/v1/models",),
    "post_v1_videos": ("curl -F files=@clip.mp4 'SERVICE/v1/videos?annotate=true'",),
    "get_v1_videos_id_rows": ("curl -N SERVICE/v1/videos/ID/rows",),
    "get_v1_videos_id_annotated": ("curl -o annotated.mp4 SERVICE/v1/videos/ID/annotated",),
    "delete_v1_videos_id": ("curl -X DELETE SERVICE/v1/videos/ID",),
    "get_metrics": ("curl SERVICE/metrics",),
}
"""Of an operation's id: what the page shows. SERVICE stands for the address that the reader sees."""

_CODE = re.compile("`([^`]+)`")


def describe(app: FastAPI) -> None:
    """Let the app describe itself as it is: problems, names of models, limits, the token."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Problem"] = PROBLEM_SCHEMA
    if app.state.settings.token:
        components["securitySchemes"] = {BEARER: {"type": "http", "scheme": "bearer"}}
    for path, method, operation in operations(document):
        operation["operationId"] = f"{method}{path.replace('/', '_').replace('{', '').replace('}', '')}"
        if app.state.settings.token and not path.startswith("/health/"):
            operation["security"] = [{BEARER: []}]
        for parameter in operation.get("parameters", ()):
            parameter["schema"] = _parameter(parameter, app.state.analyzers.names)
        _limit_images(operation, app.state.settings.max_images)
        _add_headers(operation)
    return document


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each (path, method, operation)."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _parameter(parameter: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """A query option cannot be null; the model is one of those that are served."""
    schema = dict(parameter["schema"])
    kinds = [kind for kind in schema.pop("anyOf", ()) if kind != {"type": "null"}]
    schema.update(kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {})
    if parameter["in"] == "query" and parameter["name"] == "model":
        schema |= {"enum": list(names), "default": names[0]}
    return schema


def _limit_images(operation: dict[str, Any], most: int) -> None:
    for kind in operation.get("requestBody", {}).get("content", {}).values():
        for item in kind["schema"].get("properties", {}).values():
            if item.get("type") == "array":
                item["maxItems"] = most


def _add_headers(operation: dict[str, Any]) -> None:
    header = {"description": "The request's id, as in the log.", "schema": {"type": "string"}}
    for answer in operation["responses"].values():
        answer.setdefault("headers", {})["X-Request-ID"] = header


def router() -> APIRouter:
    """The routes of the page."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/openapi.json")
    async def document(request: Request) -> JSONResponse:
        root = request.scope.get("root_path", "")
        servers = {"servers": [{"url": root}]} if root else {}
        return JSONResponse({**request.app.openapi(), **servers})

    @routes.get("/docs")
    async def docs(request: Request) -> HTMLResponse:
        return HTMLResponse(page(request.app.openapi()))

    @routes.get("/docs.css")
    def style() -> Response:
        return Response(STYLE.read_bytes(), media_type="text/css")

    return routes


def page(document: dict[str, Any]) -> str:
    """The document as HTML, for people. It needs ``docs.css``, the page's colours and icon, and nothing else."""
    title = escape(document["info"]["title"])
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{escape(_policy())}">',
        f'<title>{title}: the service</title><link rel="icon" href="page/icon.svg" type="image/svg+xml">',
        '<link rel="stylesheet" href="page/base.css"><link rel="stylesheet" href="docs.css"></head><body><main>',
        f"<h1>{title} {escape(document['info']['version'])}</h1><p>{escape(document['info']['description'])}</p>",
        '<p class="links"><a href="./">The page</a> <a href="openapi.json">The OpenAPI document</a></p>',
        "<p>In the examples, put this page's address, without <code>/docs</code>, in place of SERVICE.</p>",
        *(_operation(*one) for one in operations(document)),
        "</main></body></html>",
    ]
    return "\n".join(parts)


def _policy() -> str:
    policy = HEADERS["content-security-policy"]
    return policy.replace("; frame-ancestors 'none'", "")  # a meta element cannot say that


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    lines = [f"<section><h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(operation['summary'])}.</p>"]
    token = " -H 'Authorization: Bearer TOKEN'" if "security" in operation else ""
    lines += [f'<pre tabindex="0">{escape(one + token)}</pre>' for one in EXAMPLES.get(operation["operationId"], ())]
    if operation.get("parameters"):
        rows = (_row(one["name"], _kind(one["schema"]), one.get("description", "")) for one in operation["parameters"])
        lines.append(_table(("option", "is", "what it does"), rows))
    if "requestBody" in operation:
        lines.append(_table(("body", "has", "what it is"), _body_rows(operation["requestBody"]["content"])))
    answers = (
        _row(status, ", ".join(answer.get("content", {})), answer["description"])
        for status, answer in sorted(operation["responses"].items())
    )
    return "\n".join([*lines, _table(("status", "kind", "when"), answers), "</section>"])


def _body_rows(content: dict[str, Any]) -> Iterator[str]:
    for kind, body in content.items():
        for name, schema in body["schema"].get("properties", {"": body["schema"]}).items():
            yield _row(kind, name, schema["description"])


def _table(heads: tuple[str, ...], rows: Iterator[str]) -> str:
    cells = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _row(*cells: str) -> str:
    """Cells; what stands between backticks is code."""
    marked = (_CODE.sub(r"<code>\1</code>", escape(cell)) for cell in cells)
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in marked)}</tr>"


def _kind(schema: dict[str, Any]) -> str:
    bounds = [f"{schema[name]:,}".removesuffix(".0") for name in ("minimum", "maximum") if name in schema]
    within = f", {' to '.join(bounds)}" if len(bounds) == 2 else ""
    kind = " | ".join(map(str, schema["enum"])) if "enum" in schema else schema.get("type", "value")
    return f"{kind}{within}{_default(schema)}"


def _default(schema: dict[str, Any]) -> str:
    value = schema.get("default")
    if value is None:
        return ""
    return f"; {value if isinstance(value, str) else json.dumps(value)} where not given"

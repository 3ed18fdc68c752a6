"""The service within a larger app, or under a path of its own: the same gate, limits and addresses."""

import asyncio
import logging
import re
import socket
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urljoin

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount

from mien.server import ServerSettings, create_app
from mien.server.envelope import path_within
from services import LOCAL, FakeAnalyzers, check_problem, files, picture

TOKEN = "a-token-of-tests"
BEARER = {"authorization": f"Bearer {TOKEN}"}
DOCS = Path(__file__).parent.parent / "docs" / "serving.md"
VIDEO = [("files", ("a.mp4", b"\0\0\0\x18ftypmp42" + bytes(50_000), "video/mp4"))]

Result = TypeVar("Result")


def in_starlette(root: str, inner: FastAPI) -> Any:
    return Starlette(routes=[Mount(root, inner)])


def in_fastapi(root: str, inner: FastAPI) -> Any:
    outer = FastAPI()
    outer.mount(root, inner)
    return outer


def twice(root: str, inner: FastAPI) -> Any:
    first, _, second = root.removeprefix("/").partition("/")
    return Starlette(routes=[Mount(f"/{first}", Starlette(routes=[Mount(f"/{second}", inner)] if second else []))])


def ask(
    talk: Callable[[httpx.AsyncClient], Awaitable[Result]],
    root: str,
    place: Callable[[str, FastAPI], Any] = in_starlette,
    *,
    started: bool = True,
    **settings: Any,
) -> Result:
    """Mount the service below `root` and let `talk` ask the app around it."""

    async def run() -> Result:
        inner = create_app(FakeAnalyzers(), ServerSettings(**settings))
        transport = httpx.ASGITransport(place(root, inner))
        async with httpx.AsyncClient(transport=transport, base_url=LOCAL) as client:
            if not started:
                return await talk(client)
            async with inner.router.lifespan_context(inner):
                return await talk(client)

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("root", "place"),
    [("/page", in_starlette), ("/page", in_fastapi), ("/health", in_fastapi), ("/mien", in_starlette)]
    + [("/mien", in_fastapi), ("/page/x", twice), ("/{tenant}", in_starlette)],
)
def test_the_token_is_needed_under_any_path(root, place, tmp_path) -> None:
    at = root.replace("{tenant}", "page")

    async def talk(client: httpx.AsyncClient) -> None:
        check_problem(await client.post(f"{at}/v1/analyze", files=files(picture())), 401, "token")
        for path in ("/metrics", "/v1/models", "/docs"):
            check_problem(await client.get(at + path), 401, "token")
        for path in ("/", "/page/config.json", "/page/main.js", "/health/live", "/health/ready"):
            assert (await client.get(at + path)).status_code == 200
        answer = await client.post(f"{at}/v1/analyze", files=files(picture()), headers=BEARER)
        assert answer.status_code == 200

    ask(talk, root, place, token=TOKEN, video_folder=tmp_path / "videos")


def test_videos_have_their_own_limit_under_any_path(tmp_path) -> None:
    async def talk(client: httpx.AsyncClient) -> None:
        check_problem(await client.post("/mien/v1/videos", files=VIDEO), 422, "unreadable")
        check_problem(await client.post("/mien/v1/analyze", files=VIDEO), 413, "too-large")

    ask(talk, "/mien", max_body=5000, video_folder=tmp_path / "videos")


def test_addresses_work_under_any_path(tmp_path) -> None:
    async def talk(client: httpx.AsyncClient) -> None:
        page = await client.get("/mien/")
        docs = await client.get("/mien/docs")
        for answer in (page, docs):
            for target in re.findall(r'(?:href|src)="([^"]+)"', answer.text):
                assert (await client.get(urljoin(str(answer.url), target))).status_code == 200, target
        document = (await client.get("/mien/openapi.json")).json()
        assert document["servers"] == [{"url": "/mien"}]

    ask(talk, "/mien", video_folder=tmp_path / "videos")


def test_logs_and_metrics_name_the_routes_of_the_service(tmp_path, caplog) -> None:
    async def talk(client: httpx.AsyncClient) -> str:
        for path in ("/v1/models", "/v1/nothing", "/v1/videos/x"):
            await client.get(f"/mien{path}")
        return (await client.get("/mien/metrics")).text

    with caplog.at_level(logging.INFO, "mien.server"):
        told = ask(talk, "/mien", in_fastapi, video_folder=tmp_path / "videos")
    routes = ["/v1/models", "unknown", "/v1/videos/{id}"]
    assert [record.route for record in caplog.records if record.getMessage() == "request"] == routes
    for route in routes:
        assert f'mien_requests_total{{method="GET",route="{route}"' in told


def test_an_app_whose_lifespan_nobody_runs_answers_503_at_once(tmp_path) -> None:
    async def talk(client: httpx.AsyncClient) -> None:
        for path, body in (("analyze", files(picture())), ("videos", VIDEO)):
            detail = check_problem(await client.post(f"/mien/v1/{path}", files=body), 503, "busy")["detail"]
            assert "lifespan" in detail
        assert (await client.get("/mien/health/live")).status_code == 200
        check_problem(await client.get("/mien/health/ready"), 503, "busy")

    ask(talk, "/mien", started=False, timeout=5, video_folder=tmp_path / "videos")


def test_the_documented_way_to_mount_it_starts_it() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", DOCS.read_text(encoding="utf-8"), re.M | re.S)
    names: dict[str, Any] = {}
    exec("\n".join(block for block in blocks if "create_app" in block or "outer" in block), names)

    async def run() -> list[int]:
        outer = names["outer"]
        async with outer.router.lifespan_context(outer):
            transport = httpx.ASGITransport(outer)
            async with httpx.AsyncClient(transport=transport, base_url=LOCAL) as client:
                return [(await client.get(f"/faces{path}")).status_code for path in ("/", "/health/ready")]

    assert asyncio.run(run()) == [200, 200]


def test_uvicorns_root_path(tmp_path) -> None:
    app = create_app(FakeAnalyzers(), ServerSettings(token=TOKEN, video_folder=tmp_path / "videos"))
    server = uvicorn.Server(uvicorn.Config(app, root_path="/page", ws="none", log_config=None))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            found = {path: httpx.get(address + path).status_code for path in ("/health/live", "/", "/v1/models")}
        finally:
            server.should_exit = True
            thread.join(30)
    assert found == {"/health/live": 200, "/": 200, "/v1/models": 401}


@pytest.mark.parametrize(
    ("path", "root", "expected"),
    [
        ("/v1/models", "", "/v1/models"),
        ("/mien/v1/models", "/mien", "/v1/models"),
        ("/mien/", "/mien", "/"),
        ("/mien", "/mien", ""),
        ("/v1/models", "/mien", "/v1/models"),
        ("/mienne/page/", "/mien", "/mienne/page/"),
        ("/mien/mien/page", "/mien", "/mien/page"),
    ],
)
def test_the_path_within_the_app_is_that_of_its_routes(path, root, expected) -> None:
    assert path_within({"type": "http", "path": path, "root_path": root}) == expected

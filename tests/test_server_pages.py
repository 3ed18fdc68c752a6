"""The page's files, the documents, the models, health and metrics."""

from html import unescape

import pytest

from mien import __version__
from mien.server import Analyzers
from mien.server.documents import EXAMPLES, operations
from mien.server.pages import FOLDER, TYPES, listed
from services import ask, check_problem, files, picture

OUTWARD = ("/page/../settings.py", "/page/%2e%2e/settings.py", "/page/..%2fsettings.py", "/page//etc/passwd")
OUTWARD += ("/page/..\\settings.py", "/page/%00", "/page/", "/page", "/page/ort/.version-1", "/../settings.py")


def get(url, **more):
    return ask(lambda client: client.get(url, **more))


def test_every_file_of_the_page_is_served_as_what_it_is() -> None:
    found = listed()

    async def talk(client):
        return {address: await client.get(address) for address in found}

    answers = ask(talk)
    assert "/" in answers
    for address, answer in answers.items():
        assert answer.status_code == 200
        assert answer.content == found[address].read_bytes()
        assert answer.headers["content-type"] == TYPES[found[address].suffix]
    kinds = {found[address].suffix: answer.headers["content-type"] for address, answer in answers.items()}
    assert kinds[".js"].startswith("text/javascript")
    assert kinds[".html"].startswith("text/html")


def test_endings_have_the_types_that_browsers_want(tmp_path) -> None:
    (tmp_path / "page" / ".git").mkdir(parents=True)
    for name in ("a.wasm", "a.mjs", "LICENSE", "a.py", ".hidden", ".git/config.json"):
        (tmp_path / "page" / name).write_text("x")
    assert sorted(listed(tmp_path)) == ["/page/LICENSE", "/page/a.mjs", "/page/a.wasm"]
    assert TYPES[".wasm"] == "application/wasm"


@pytest.mark.parametrize("address", OUTWARD)
def test_no_address_leads_out_of_the_folder(address) -> None:
    check_problem(get(address), 404, "not-found")


def test_unchanged_files_are_not_sent_again() -> None:
    async def talk(client):
        first = await client.get("/")
        tag = first.headers["etag"]
        again = [await client.get("/", headers={"if-none-match": one}) for one in (tag, f'"x", W/{tag}', "*")]
        other = await client.get("/", headers={"if-none-match": '"x"'})
        return first, again, other

    first, again, other = ask(talk)
    assert first.headers["cache-control"] == "no-cache"
    for answer in again:
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == first.headers["etag"]
    assert other.content == first.content == (FOLDER / "index.html").read_bytes()


@pytest.mark.parametrize("address", ["/", "/v1/models", "/health/live", "/page/nothing.js"])
def test_head_is_answered_as_get_without_the_body(address) -> None:
    async def talk(client):
        return await client.get(address), await client.head(address)

    whole, head = ask(talk)
    assert head.status_code == whole.status_code
    assert head.content == b""
    for name in ("content-length", "content-type"):
        assert head.headers[name] == whole.headers[name]


@pytest.mark.parametrize(
    ("address", "allowed"),
    [("/v1/analyze", "POST"), ("/v1/models", "GET, HEAD"), ("/v1/videos/x", "DELETE, GET, HEAD"), ("/", "GET, HEAD")],
)
def test_wrong_methods_are_told_the_right_ones(address, allowed) -> None:
    answer = ask(lambda client: client.put(address))
    check_problem(answer, 405, "method")
    assert answer.headers["allow"] == allowed


def test_config_says_what_the_page_must_know() -> None:
    config = get("/page/config.json").json()
    ort = any((FOLDER / "page" / "ort").glob("*.wasm"))
    assert config == {"service": True, "local": ort, "token": False, "version": __version__}


def test_models_are_described() -> None:
    document = ask(lambda client: client.get("/v1/models"), Analyzers()).json()
    names = [(one["name"], one["default"], one["input"]) for one in document["models"]]
    assert names == [("mien-small", True, [48, 48, 1])]
    assert document["models"][0]["parameters"] > 1000
    assert document["detectors"] == ["mtcnn", "none"]
    assert document["tta"] == ["none", "flip", "full"]
    assert document["limits"]["max_images"] == 32


def test_metrics_count_requests_pictures_and_faces() -> None:
    async def talk(client):
        await client.post("/v1/analyze", files=files(picture(), picture(), b"none"))
        await client.get("/secret-name")
        await client.get("/openapi.json")
        return await client.get("/metrics")

    answer = ask(talk)
    assert answer.headers["content-type"].startswith("text/plain")
    lines = answer.text.splitlines()
    for line in (
        'mien_requests_total{method="POST",route="/v1/analyze",status="200"} 1.0',
        'mien_requests_total{method="GET",route="unknown",status="404"} 1.0',
        'mien_requests_total{method="GET",route="/openapi.json",status="200"} 1.0',
        'mien_rejected_total{problem="not-found"} 1.0',
        "mien_pictures_total 2.0",
        "mien_pictures_failed_total 1.0",
        "mien_faces_total 2.0",
        "mien_queue_pictures 0.0",
    ):
        assert line in lines
    assert "secret-name" not in answer.text
    assert any(line.startswith("mien_batch_pictures_bucket") for line in lines)
    assert any(line.startswith("process_resident_memory_bytes") for line in lines)


def test_the_documents_page_needs_no_scripts_and_shows_every_route() -> None:
    async def talk(client):
        return await client.get("/docs"), await client.get("/openapi.json"), await client.get("/docs.css")

    page, document, style = ask(talk)
    assert page.headers["content-type"].startswith("text/html")
    assert style.headers["content-type"].startswith("text/css")
    assert "<script" not in page.text
    assert "style=" not in page.text
    for path in document.json()["paths"]:
        assert path in page.text
    assert "<td>multipart/form-data</td><td>files</td>" in page.text
    assert '<pre tabindex="0">curl -F files=@a.jpg' in page.text
    assert "Bearer" not in page.text
    assert set(EXAMPLES) <= {one["operationId"] for _, _, one in operations(document.json())}
    assert '<code>{"data": "BASE64", "name": "a.jpg"}</code>' in unescape(page.text)
    assert "<td>none | flip | full; none where not given</td>" in page.text
    assert "<td>number, 0 to 60; 0.5 where not given</td>" in page.text


def test_examples_bring_the_token_where_one_is_needed() -> None:
    headers = {"authorization": "Bearer a-token-of-tests"}
    page = ask(lambda client: client.get("/docs", headers=headers), token="a-token-of-tests")
    examples = unescape(page.text).split("<pre ")[1:]
    assert len(examples) > 5
    assert all("-H 'Authorization: Bearer TOKEN'</pre>" in one for one in examples)

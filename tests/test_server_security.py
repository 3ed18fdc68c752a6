"""Who may ask for what, and what every answer carries."""

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from mien.errors import DataError, MissingExtraError, ModelError, UsageError
from mien.images import decode
from mien.server import ServerSettings, create_app, logs
from mien.server.problems import problem_of, without_paths
from mien.server.security import CONTENT_SECURITY_POLICY
from services import POISON, FakeAnalyzer, FakeAnalyzers, ask, check_problem, files, picture

TOKEN = "a-token-of-tests"


@pytest.fixture
def logged() -> Iterator[list[dict[str, Any]]]:
    """What the log says, line by line, as it is written."""
    found: list[dict[str, Any]] = []

    class Noting(logging.Handler):
        def emit(self, record):
            found.append(logs.fields(record))

    logger, handler = logging.getLogger("mien.server"), Noting()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel("INFO")
    yield found
    logger.removeHandler(handler)
    logger.setLevel(before)


OTHERS = ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost@evil.example", "", "[::1", "a:b:c"]


def send(method="GET", url="/v1/models", headers=None, settings=None, **sent):
    return ask(lambda client: client.request(method, url, headers=headers, **sent), **(settings or {}))


def analyze(headers, **settings):
    return send("POST", "/v1/analyze", headers, settings, files=files(picture()))


@pytest.mark.parametrize(
    ("method", "url", "status"),
    [("GET", "/", 200), ("GET", "/v1/models", 200), ("GET", "/v1/nothing", 404), ("PUT", "/v1/analyze", 405)]
    + [
        ("GET", "/health/live", 200),
        ("POST", "/v1/analyze", 415),
        ("GET", "/docs", 200),
        ("GET", "/openapi.json", 200),
    ],
)
def test_every_answer_carries_the_security_headers(method, url, status) -> None:
    answer = send(method, url)
    assert answer.status_code == status
    headers = answer.headers
    assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert "unsafe-inline" not in CONTENT_SECURITY_POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "camera=(self)" in headers["permissions-policy"]
    assert headers["cross-origin-opener-policy"] == headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cross-origin-embedder-policy"] == "require-corp"
    assert headers["cache-control"] == ("no-cache" if url == "/" else "no-store")
    assert headers["x-request-id"]
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:1", "LOCALHOST", "[::1]:8000"])
def test_this_machines_names_are_answered(host) -> None:
    assert send(headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["10.0.0.7:8000", "10.0.0.7", "evil.example", ""])
def test_load_balancers_may_ask_by_any_name_how_the_service_is(host) -> None:
    answer = send(url="/health/ready", headers={"host": host}, settings={"allow_hosts": ("mien.example.org",)})
    assert answer.json() == {"status": "ready"}


@pytest.mark.parametrize("host", OTHERS)
def test_other_names_are_not_answered_on_this_machine(host) -> None:
    check_problem(send(headers={"host": host}), 403, "wrong-host")
    check_problem(send(url="/", headers={"host": host}), 403, "wrong-host")


def test_names_can_be_allowed() -> None:
    for allowed in ("mien.example", "*"):
        assert send(headers={"host": "mien.example:443"}, settings={"allow_hosts": (allowed,)}).status_code == 200


def test_listening_for_others_any_name_is_answered_until_some_are_given() -> None:
    open_to_all = {"host": "0.0.0.0", "insecure": True}
    assert send(headers={"host": "any.example"}, settings=open_to_all).status_code == 200
    named = {**open_to_all, "allow_hosts": ("mien.example",)}
    check_problem(send(headers={"host": "any.example"}, settings=named), 403, "wrong-host")


@pytest.mark.parametrize(
    "headers",
    [{"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "http://127.0.0.1:3000"}]
    + [{"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"origin": "http://127.0.0.1.evil.example"}],
)
def test_pages_of_other_sites_cannot_send(headers) -> None:
    check_problem(analyze(headers), 403, "other-site")


@pytest.mark.parametrize(
    "headers",
    [{}, {"origin": "http://127.0.0.1"}, {"origin": "http://127.0.0.1:80"}, {"sec-fetch-site": "same-origin"}]
    + [{"sec-fetch-site": "none"}, {"host": "localhost:8000", "origin": "http://localhost:8000"}]
    + [{"host": "localhost", "origin": "https://localhost"}],
)
def test_the_own_page_and_programs_can_send(headers) -> None:
    assert analyze(headers).status_code == 200


def test_an_allowed_origin_may_send_and_read() -> None:
    origin = "https://app.example"
    asked = {"origin": origin, "access-control-request-method": "POST"}
    allowed = {"cors_origins": (origin,), "token": TOKEN}
    preflight = send("OPTIONS", "/v1/analyze", asked, allowed)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == origin
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert "Authorization" in preflight.headers["access-control-allow-headers"]
    sent = {"origin": origin, "sec-fetch-site": "cross-site", "authorization": f"Bearer {TOKEN}"}
    answer = analyze(sent, **allowed)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == origin
    assert answer.headers["vary"] == "Origin"
    check_problem(analyze({**sent, "origin": "https://other.example"}, **allowed), 403, "other-site")
    other = send("OPTIONS", "/v1/analyze", {**asked, "origin": "https://other.example"}, {"cors_origins": (origin,)})
    assert other.status_code == 405
    assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize(
    "given", [None, "", "Bearer", "Bearer wrong-token", f"Basic {TOKEN}", f"bearer {TOKEN}x", TOKEN]
)
def test_without_the_token_nothing_is_done(given) -> None:
    headers = {} if given is None else {"authorization": given}
    for url in ("/v1/models", "/metrics", "/docs", "/openapi.json", "/v1/nothing"):
        answer = send(url=url, headers=headers, settings={"token": TOKEN})
        check_problem(answer, 401, "token")
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert TOKEN not in answer.text
    analyzer = FakeAnalyzer()
    refused = ask(
        lambda client: client.post("/v1/analyze", files=files(picture()), headers=headers),
        FakeAnalyzers(analyzer),
        token=TOKEN,
    )
    check_problem(refused, 401, "token")
    assert not analyzer.batches


def test_with_the_token_all_is_done() -> None:
    for scheme in ("Bearer", "bearer"):
        assert analyze({"authorization": f"{scheme} {TOKEN}"}, token=TOKEN).status_code == 200


def test_health_and_page_need_no_token() -> None:
    for url in ("/health/live", "/health/ready", "/", "/page/config.json"):
        assert send(url=url, settings={"token": TOKEN}).status_code == 200


def test_models_of_ones_own_are_not_handed_out_without_the_token() -> None:
    check_problem(send(url="/page/models/manifest.json", settings={"token": TOKEN}), 401, "token")
    config = send(url="/page/config.json", settings={"token": TOKEN}).json()
    assert config["token"] is True
    assert config["local"] is False


def test_what_fails_inside_is_logged_and_not_told(caplog) -> None:
    class Broken(FakeAnalyzers):
        names = ("fake",)

        def get(self, options):
            raise RuntimeError("the secret lies in /srv/secret")

    with caplog.at_level("ERROR", "mien.server"):
        answer = ask(lambda client: client.get("/v1/models"), Broken())
    check_problem(answer, 500, "failed")
    assert "secret" not in answer.text
    (record,) = caplog.records
    assert record.id == answer.headers["x-request-id"]
    assert "secret" in str(record.exc_info[1])


@pytest.mark.parametrize(("event", "decode"), [("picture", decode), ("decoding", lambda *given, **options: 1 // 0)])
def test_what_fails_about_one_picture_stands_in_the_log_under_the_requests_id(event, decode, logged, monkeypatch):
    monkeypatch.setattr("mien.server.decoding.decode", decode)
    answer = send("POST", "/v1/analyze", {"x-request-id": "client-id-18"}, files=files(picture(POISON)))
    assert answer.json()["errors"][0]["error"]["instance"].endswith("#client-id-18")
    assert [(one["event"], one["id"]) for one in logged] == [(event, "client-id-18"), ("request", "client-id-18")]


def test_logs_tell_what_happened_but_no_names_and_no_token(caplog) -> None:
    with caplog.at_level("DEBUG", "mien.server"):
        sent = [("files", ("my-holiday.png", picture(), "image/png"))]
        headers = {"authorization": f"Bearer {TOKEN}", "x-request-id": "client-id-17"}
        answer = send("POST", "/v1/analyze?margin=0.2", headers, {"token": TOKEN}, files=sent)
    assert answer.headers["x-request-id"] == "client-id-17"
    (record,) = [one for one in caplog.records if one.name == "mien.server"]
    said = vars(record)
    assert (said["id"], said["route"], said["status"], said["faces"]) == ("client-id-17", "/v1/analyze", 200, 1)
    assert said["bytes"] > 100
    assert "holiday" not in str(said)
    assert TOKEN not in str(said)


@pytest.mark.parametrize("given", ["short", "x" * 65, 'a"b\\c{}<>', "line\\nfeed-1234 "])
def test_strange_request_ids_are_replaced(given) -> None:
    assert send(headers={"x-request-id": given}).headers["x-request-id"] != given


def test_websockets_are_refused() -> None:
    async def talk(client):
        sent = []

        async def send_message(message):
            sent.append(message)

        await client.app({"type": "websocket", "path": "/", "headers": []}, None, send_message)
        return sent

    assert ask(talk) == [{"type": "websocket.close", "code": 1000}]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"host": "0.0.0.0"}, "token is needed"),
        ({"host": "192.168.1.4"}, "token is needed"),
        ({"host": "mien.example"}, "token is needed"),
        ({"host": ""}, "host"),
        ({"token": "short"}, "8 printable"),
        ({"token": "eight characters \n"}, "8 printable"),
        ({"port": 65536}, "port"),
        ({"max_body": 0}, "max_body"),
        ({"max_images": True}, "max_images"),
        ({"timeout": float("nan")}, "timeout"),
        ({"max_images": 9, "queue_pictures": 8}, "raise --queue or lower --max-images"),
        ({"max_body": 1000, "queue_bytes": 1999}, "raise --queue-memory or lower --max-body"),
        ({"queue_bytes": -1}, "queue_bytes"),
        ({"cors_origins": ("*",)}, "cors_origins"),
        ({"cors_origins": ("https://a.example/path",)}, "cors_origins"),
        ({"cors_origins": ("https://A.example",)}, "in lower case"),
        ({"cors_origins": ("https://a.example:443",)}, "443 of https"),
        ({"cors_origins": ("http://[::1]:80",)}, "80 of http"),
        *(
            ({"cors_origins": (origin,)}, "cors_origins")
            for origin in ("https://*.a.example", "https://bücher.example", "http://a:080", "http://a:99999")
        ),
        ({"allow_hosts": ("*.a.example",)}, "whole name"),
        ({"allow_hosts": ("bücher.example",)}, "xn--"),
        ({"allow_hosts": ("a.example:8000",)}, "without scheme, port and path"),
        ({"allow_hosts": ("https://a.example",)}, "allow_hosts"),
        ({"allow_hosts": ("::1",)}, r"\[::1\]"),
        ({"allow_hosts": "a.example"}, "allow_hosts: must be several, in a tuple, received 'a.example'"),
        ({"cors_origins": "https://a.example"}, "cors_origins: must be several, in a tuple"),
        ({"token": 12345678}, "token: must be text, received int"),
    ],
)
def test_wrong_settings_are_refused(wrong, message) -> None:
    with pytest.raises(UsageError, match=message):
        ServerSettings(**wrong)


def test_a_token_that_is_not_set_is_none() -> None:
    """As `os.environ.get` gives it; other machines are refused then."""
    assert ServerSettings(token=None).token == ""
    with pytest.raises(UsageError, match="token is needed"):
        ServerSettings(host="0.0.0.0", token=None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((FakeAnalyzer(),), r"analyzers: must be as mien.server.Analyzers\(.*opens them, received FakeAnalyzer"),
        ((FakeAnalyzers(), {"token": TOKEN}), r"settings: must be such as .*, received dict$"),
    ],
)
def test_an_app_is_made_of_analyzers_and_settings(given, message) -> None:
    with pytest.raises(UsageError, match=message):
        create_app(*given)


def test_settings_that_are_right() -> None:
    for right in ({"host": "::1"}, {"host": "127.0.0.2"}, {"host": "0.0.0.0", "token": TOKEN}, {"insecure": True}):
        assert ServerSettings(**right)
    origins = (
        "https://a.example",
        "http://a.example:443",
        "http://localhost:3000",
        "http://[::1]",
        "http://[::1]:3000",
    )
    assert ServerSettings(cors_origins=origins, allow_hosts=("a.example", "10.0.0.1", "[fd00::1]", "*"))
    assert TOKEN not in repr(ServerSettings(token=TOKEN))


@pytest.mark.parametrize(("max_body", "memory"), [(32, 256), (128, 256), (200, 400)])
def test_the_memory_for_bodies_follows_their_size(max_body, memory) -> None:
    assert ServerSettings(max_body=max_body * 2**20).memory == memory * 2**20


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cannot read /srv/me/a.png here", "cannot read a.png here"),
        (r"C:\Users\me\a.png", "a.png"),
        ("'/srv/x/model.onnx': bad", "'model.onnx': bad"),
        ("12/16 of image/png at https://a.example/b", "12/16 of image/png at https://a.example/b"),
    ],
)
def test_paths_are_cut_down(text, expected) -> None:
    assert without_paths(text) == expected


def test_errors_of_mien_become_problems() -> None:
    assert problem_of(DataError("cannot be read", ["/srv/me/a.png"])).detail == "cannot be read"
    assert problem_of(UsageError("margin: wrong")).status == 422
    assert problem_of(MissingExtraError("x", "heic")).status == 501
    assert "/srv" not in problem_of(ModelError("/srv/me/m.onnx: failed")).detail


def test_requests_are_refused_while_the_service_ends() -> None:
    async def talk(client):
        client.app.state.ready = False
        return await asyncio.gather(client.get("/health/ready"), client.get("/health/live"))

    ready, live = ask(talk)
    check_problem(ready, 503, "busy")
    assert live.status_code == 200

"""How the page's files go out: compressed, in pieces, once."""

import asyncio
import gzip

import pytest

from mien.server import Analyzers
from mien.server.assets import PIECE, asset, takes_gzip
from mien.server.pages import FOLDER
from services import FakeAnalyzers, ask, listening, raw

MAIN = (FOLDER / "page" / "main.js").read_bytes()


def get(url, accepted):
    return ask(lambda client: client.get(url, headers={"accept-encoding": accepted}))


@pytest.mark.parametrize("accepted", ["gzip, deflate, br, zstd", "br;q=1.0, GZIP;q=0.5", "*", "identity;q=0, gzip"])
def test_browsers_that_read_gzip_get_it(accepted) -> None:
    answer = get("/page/main.js", accepted)
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.content == MAIN
    assert int(answer.headers["content-length"]) < 0.5 * len(MAIN)
    assert int(answer.headers["x-plain-length"]) == len(MAIN)
    assert answer.headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize("accepted", ["", "identity", "br", "gzip;q=0", "gzip; q=0.000, *", "*;q=0.0"])
def test_others_get_files_as_they_are(accepted) -> None:
    answer = get("/page/main.js", accepted)
    assert "content-encoding" not in answer.headers
    assert answer.content == MAIN
    assert answer.headers["vary"] == "Accept-Encoding"


def test_small_weights_count() -> None:
    assert takes_gzip("gzip;q=0.001")
    assert takes_gzip("gzip;q=0.10")


def test_each_form_of_a_file_has_its_own_tag() -> None:
    async def talk(client):
        packed = await client.get("/", headers={"accept-encoding": "gzip"})
        plain = await client.get("/", headers={"accept-encoding": "identity"})
        tags = {"if-none-match": packed.headers["etag"]}
        again = [await client.get("/", headers={**tags, "accept-encoding": one}) for one in ("gzip", "identity")]
        return packed, plain, again

    packed, plain, again = ask(talk)
    assert packed.headers["etag"] != plain.headers["etag"]
    assert [one.status_code for one in again] == [304, 200]


def test_what_does_not_become_smaller_stays_as_it_is() -> None:
    assert not asset(b"x" * 5000, ".onnx", "application/octet-stream").packed
    assert not asset(b"{}", ".json", "application/json").packed
    assert gzip.decompress(asset(b"x" * 5000, ".js", "text/javascript").packed) == b"x" * 5000


def test_head_tells_the_size_that_get_would_have() -> None:
    async def talk(client):
        return [await client.request(method, "/page/main.js") for method in ("GET", "HEAD")]

    whole, head = ask(talk)
    assert head.headers["content-length"] == whole.headers["content-length"]
    assert head.headers["etag"] == whole.headers["etag"]
    with listening(FakeAnalyzers()) as place:
        told = raw(place, b"HEAD /page/main.js HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert told.startswith(b"HTTP/1.1 200")
    assert told.endswith(b"\r\n\r\n")


def test_large_files_go_out_in_pieces() -> None:
    """Whoever asks for them and reads slowly must not fill the memory: no token is needed for the page."""
    sizes: list[int] = []

    async def talk(client):
        app = client._transport.app
        scope = {"type": "http", "method": "GET", "path": "/page/models/mien-small.onnx", "query_string": b""}
        scope |= {"headers": [(b"host", b"localhost")], "raw_path": b"", "scheme": "http", "http_version": "1.1"}
        gone = asyncio.Event()

        async def receive():
            await gone.wait()

        async def send(message):
            sizes.append(len(message.get("body", b"")))

        await app(scope, receive, send)

    ask(talk, Analyzers())
    assert sum(sizes) > 1_000_000
    assert max(sizes) <= PIECE

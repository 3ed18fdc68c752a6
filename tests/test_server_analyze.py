"""``POST /v1/analyze``: what it takes, what it answers."""

import asyncio
import base64
import json

import httpx
import pytest

from mien import Analyzer
from mien.datasets.scenes import draw_scene
from mien.server import Analyzers
from services import POISON, FakeAnalyzer, FakeAnalyzers, ask, check_problem, client, files, picture

URL = "/v1/analyze"


def post(url=URL, analyzers=None, settings=None, **sent) -> httpx.Response:
    return ask(lambda client: client.post(url, **sent), analyzers, **(settings or {}))


def as_json(*data: bytes, **more) -> dict:
    return {"images": [{"data": base64.b64encode(one).decode(), **more} for one in data]}


def test_results_come_in_the_order_of_the_pictures() -> None:
    answer = post(files=files(picture(1), picture(2, (30, 20)), picture(3, kind="JPEG")))
    assert answer.status_code == 200
    document = answer.json()
    assert (document["model"], document["classes"]) == ("fake", ["calm", "cross"])
    assert [one["source"] for one in document["results"]] == ["0.png", "1.png", "2.png"]
    assert [one["size_wh"] for one in document["results"]] == [[24, 16], [30, 20], [24, 16]]
    first = document["results"][0]
    assert set(first) == {"source", "frame", "time", "size_wh", "faces"}
    assert first["faces"][0]["expression"] == "cross"


def test_json_gives_the_same_as_multipart() -> None:
    by_parts = post(files=files(picture(7))).json()
    assert post(json=as_json(picture(7), name="0.png")).json() == by_parts


def test_pictures_without_a_name_get_one() -> None:
    assert [one["source"] for one in post(json=as_json(picture(), picture())).json()["results"]] == [
        "image-1",
        "image-2",
    ]


def test_real_analyzers_answer_as_the_library_does() -> None:
    scene = draw_scene(3, size_wh=(320, 240), faces=2).image
    import cv2

    data = cv2.imencode(".png", scene[:, :, ::-1])[1].tobytes()
    expected = Analyzer("mien-small", min_confidence=0.3).analyze(data).to_dict()
    assert expected["faces"]
    analyzers = Analyzers(["mien-small"])
    answer = post(f"{URL}?min_confidence=0.3", analyzers, files=files(data)).json()["results"][0]
    for face in (*expected["faces"], *answer["faces"]):
        face["probabilities"] = {name: pytest.approx(share, abs=1e-4) for name, share in face["probabilities"].items()}
        face["confidence"] = pytest.approx(face["confidence"], abs=1e-4)
    assert answer["faces"][0]["box"] == pytest.approx(expected["faces"][0]["box"], abs=0.05)
    assert [face["expression"] for face in answer["faces"]] == [face["expression"] for face in expected["faces"]]
    assert {**answer, "faces": 0, "source": 0} == {**expected, "faces": 0, "source": 0}


@pytest.mark.parametrize("kind", ["image/png", "image/x-unheard-of", "application/octet-stream", "IMAGE/PNG; a=b"])
def test_the_body_may_be_one_picture(kind) -> None:
    answer = post(content=picture(3), headers={"content-type": kind})
    assert answer.status_code == 200
    (result,) = answer.json()["results"]
    assert (result["source"], len(result["faces"])) == ("image-1", 1)


@pytest.mark.parametrize(
    "before", ["", "data:image/png;base64,", "data:;base64,", "DATA:image/jpeg;name=a.jpg;BASE64,"]
)
@pytest.mark.parametrize("encode", [base64.b64encode, base64.encodebytes], ids=["one line", "many lines"])
def test_base64_is_taken_as_libraries_write_it(before, encode) -> None:
    answer = post(json={"images": [{"data": before + encode(picture(3)).decode()}]})
    assert answer.status_code == 200
    assert len(answer.json()["results"][0]["faces"]) == 1


def test_a_broken_picture_fails_alone() -> None:
    answer = post(files=files(picture(1), b"no picture", picture(2)[:-30], picture(4)))
    assert answer.status_code == 200
    first, second, third, fourth = answer.json()["results"]
    assert first["faces"]
    assert fourth["faces"]
    assert second["error"]["type"] == "/problems/not-a-picture"
    assert third["error"]["type"] == "/problems/unreadable"
    assert third["error"]["instance"].startswith(URL + "#")


def test_all_broken_is_a_problem_that_names_each() -> None:
    document = check_problem(post(files=files(b"", b"GIF89a")), 422, "unreadable")
    assert [one["source"] for one in document["errors"]] == ["0.png", "1.png"]


def test_a_poisoned_picture_fails_alone_and_tells_nothing() -> None:
    analyzer = FakeAnalyzer()
    answer = post(
        analyzers=FakeAnalyzers(analyzer),
        settings={"workers": 1, "batch_wait": 2.0},
        files=files(picture(1), picture(POISON), picture(3)),
    )
    first, second, third = answer.json()["results"]
    assert first["faces"]
    assert third["faces"]
    assert second["error"]["status"] == 500
    assert "secret" not in answer.text
    assert max(map(len, analyzer.batches)) > 1, "they were never together, so nothing was tested"


def test_a_single_poisoned_picture_is_our_fault_not_the_clients() -> None:
    assert "secret" not in check_problem(post(files=files(picture(POISON))), 500, "failed")["detail"]


@pytest.mark.parametrize(
    ("sent", "status", "kind"),
    [
        ({"files": {"file": ("a.png", picture())}}, 422, "wrong-field"),
        ({"files": files(*[picture()] * 4)}, 413, "too-large"),
        ({"json": as_json(*[picture()] * 4)}, 413, "too-large"),
        ({"json": {"images": []}}, 422, "no-pictures"),
        ({"json": {"images": [{"url": "http://127.0.0.1/a.png"}]}}, 422, "no-addresses"),
        ({"json": {"url": "http://127.0.0.1/a.png"}}, 422, "no-addresses"),
        ({"json": {"images": [{"data": "", "size": 3}]}}, 422, "wrong-body"),
        ({"json": {"images": [{"data": 3}]}}, 422, "wrong-body"),
        ({"json": {"images": {"data": ""}}}, 422, "wrong-body"),
        ({"json": ["images"]}, 422, "wrong-body"),
        ({"json": {"images": [{"data": "n@t base64"}]}}, 422, "unreadable"),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 400, "malformed"),
        ({"content": b"[" * 99999, "headers": {"content-type": "application/json"}}, 400, "malformed"),
        ({"content": b"9" * 9999, "headers": {"content-type": "application/json"}}, 400, "malformed"),
        ({"content": b"\xff\xfe", "headers": {"content-type": "application/json"}}, 400, "malformed"),
        ({"content": b"NaN", "headers": {"content-type": "application/json"}}, 400, "malformed"),
        ({"content": b"", "headers": {"content-type": "image/png"}}, 422, "unreadable"),
        ({"content": b"n", "headers": {"content-type": "application/octet-stream"}}, 422, "unreadable"),
        ({"content": picture(), "headers": {"content-type": "video/mp4"}}, 415, "media-type"),
        ({"content": picture()}, 415, "media-type"),
        ({"data": {"files": "x"}}, 415, "media-type"),
        ({"files": files(picture()), "headers": {"content-encoding": "gzip"}}, 415, "media-type"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400, "malformed"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=b"}}, 400, "malformed"),
        ({"content": b"", "headers": {"content-type": "multipart/form-data; boundary=b"}}, 422, "no-pictures"),
        ({"content": b"--b--\r\n", "headers": {"content-type": "multipart/form-data; boundary=b"}}, 422, "no-pictures"),
    ],
)
def test_wrong_bodies_are_refused(sent, status, kind) -> None:
    check_problem(post(settings={"max_images": 3}, **sent), status, kind)


@pytest.mark.parametrize(
    ("sent", "detail"),
    [
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, "names no boundary; leave that header"),
        ({"content": b"x", "headers": {"content-type": "text/plain"}}, "received 'text/plain'"),
        ({"content": b"x"}, "received none"),
        ({"files": files(b"\0\0\0\x18ftypisom" + bytes(600))}, "it is a video, not a picture; POST /v1/videos takes"),
    ],
)
def test_wrong_bodies_are_told_how_to_mend_them(sent, detail) -> None:
    assert detail in post(**sent).json()["detail"]


def test_a_body_that_is_cut_off_is_refused() -> None:
    request = httpx.Request("POST", "http://127.0.0.1", files=files(picture()))
    body = request.read()
    headers = {"content-type": request.headers["content-type"]}
    for length in (len(body) - 4, len(body) - 20, len(body) // 2, 30):
        answer = post(content=body[:length], headers=headers)
        assert answer.status_code in (400, 422), (length, answer.text)


@pytest.mark.parametrize(
    "query",
    ["modell=fake", "model=none", "detector=haar", "min_face_size=3", "min_face_size=x", "margin=2", "margin=nan"]
    + ["align=yes", "tta=many", "min_confidence=1.5", "min_confidence=", "tta=none&tta=flip"]
    + ["detector=none&min_face_size=30"],
)
def test_wrong_options_are_refused(query) -> None:
    document = check_problem(post(f"{URL}?{query}", files=files(picture())), 422, "wrong-option")
    assert query.partition("=")[0] in document["detail"] or "min_face_size" in document["detail"]


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("tta=many", "tta: must be 'none', 'flip' or 'full', received 'many'"),
        ("align=yes", "align: must be true or false, received 'yes'"),
        ("margin=nan", "margin: must be less than or equal to 1, received 'nan'"),
        ("min_face_size=" + 99 * "x", f"unable to parse string as an integer, received '{59 * 'x'}..."),
        ("views=2", "views: there is no such option; choose from model, detector, min_face_size, margin, align, tta,"),
    ],
)
def test_wrong_options_are_told_what_is_allowed_and_what_was_received(query, detail) -> None:
    assert detail in post(f"{URL}?{query}", files=files(picture())).json()["detail"]


def test_all_options_are_taken() -> None:
    query = "model=other&detector=mtcnn&min_face_size=40&margin=0.1&align=true&tta=flip&min_confidence=0.5"
    assert post(f"{URL}?{query}", files=files(picture())).json()["model"] == "other"


def test_too_many_pixels_are_refused_before_they_are_decoded() -> None:
    document = check_problem(
        post(settings={"max_pixels": 100}, files=files(picture(), picture(kind="GIF"))), 422, "unreadable"
    )
    assert [one["error"]["type"] for one in document["errors"]] == ["/problems/too-large"] * 2


def test_large_bodies_are_refused_with_and_without_a_length() -> None:
    async def pieces():
        for _ in range(100):
            yield b"x" * 1000

    headers = {"content-type": "application/json"}
    check_problem(post(settings={"max_body": 5000}, content=b"x" * 6000, headers=headers), 413, "too-large")
    check_problem(post(settings={"max_body": 5000}, content=pieces(), headers=headers), 413, "too-large")


def test_a_slow_body_is_refused() -> None:
    async def pieces():
        yield b'{"images": '
        await asyncio.sleep(5)
        yield b"[]}"

    headers = {"content-type": "application/json"}
    check_problem(post(settings={"body_timeout": 0.1}, content=pieces(), headers=headers), 408, "too-slow")


def test_beyond_the_queue_requests_are_refused_at_once() -> None:
    analyzer = FakeAnalyzer()
    analyzer.let_go.clear()

    async def talk(client: httpx.AsyncClient) -> None:
        first = [asyncio.create_task(client.post(URL, files=files(picture(), picture()))) for _ in range(2)]
        await asyncio.to_thread(analyzer.begun.wait, 10)
        while (await client.get("/health/ready")).status_code == 200:
            await asyncio.sleep(0.01)
        refused = await client.post(URL, files=files(picture()))
        assert int(refused.headers["retry-after"]) >= 1
        check_problem(refused, 503, "busy")
        analyzer.let_go.set()
        assert [answer.status_code for answer in await asyncio.gather(*first)] == [200, 200]
        assert (await client.post(URL, files=files(picture()))).status_code == 200
        told = (await client.get("/metrics")).text
        assert 'mien_rejected_total{problem="busy"}' in told
        assert "mien_queue_pictures 0.0" in told
        assert "mien_body_bytes 0.0" in told
        assert "mien_picture_bytes 0.0" in told

    ask(talk, FakeAnalyzers(analyzer), queue_pictures=4, max_images=4)


def test_beyond_the_memory_for_bodies_requests_are_refused() -> None:
    analyzer = FakeAnalyzer()
    analyzer.let_go.clear()

    async def talk(client: httpx.AsyncClient) -> None:
        body = files(picture(), b"x" * 3000)
        posts = [asyncio.create_task(client.post(URL, files=body)) for _ in range(3)]
        done, others = await asyncio.wait(posts, return_when=asyncio.FIRST_COMPLETED)
        check_problem(done.pop().result(), 503, "busy")
        analyzer.let_go.set()
        assert [answer.status_code for answer in await asyncio.gather(*others)] == [200, 200]

    ask(talk, FakeAnalyzers(analyzer), max_body=4000, queue_bytes=8000)


def test_the_largest_json_body_has_room_in_the_least_memory() -> None:
    body = json.dumps(as_json(picture(), b"x" * 4000)).encode()
    settings = {"max_body": len(body), "queue_bytes": 2 * len(body)}
    assert post(settings=settings, content=body, headers={"content-type": "application/json"}).status_code == 200


def test_what_takes_too_long_ends_and_leaves_the_queue() -> None:
    analyzer = FakeAnalyzer()
    analyzer.let_go.clear()

    async def talk(client: httpx.AsyncClient) -> None:
        check_problem(await client.post(URL, files=files(picture(1), picture(2))), 504, "timeout")
        analyzer.let_go.set()
        assert "mien_queue_pictures 0.0" in (await client.get("/metrics")).text

    ask(talk, FakeAnalyzers(analyzer), timeout=0.2)


def test_pictures_of_clients_that_hang_up_are_dropped() -> None:
    analyzer = FakeAnalyzer()
    analyzer.let_go.clear()

    async def talk() -> None:
        async with client(FakeAnalyzers(analyzer), workers=1) as connected:
            first = asyncio.create_task(connected.post(URL, files=files(picture(1))))
            await asyncio.to_thread(analyzer.begun.wait, 10)
            request = httpx.Request("POST", "http://127.0.0.1" + URL, files=files(picture(2)))
            messages = [{"type": "http.request", "body": request.read()}]
            sent = []

            async def receive():
                if messages:
                    return messages.pop(0)
                await asyncio.sleep(0.3)
                return {"type": "http.disconnect"}

            async def send(message):
                sent.append(message)

            headers = [(name.lower(), value) for name, value in request.headers.raw]
            scope = {"type": "http", "method": "POST", "path": URL, "query_string": b"", "headers": headers}
            await connected.app({**scope, "http_version": "1.1", "scheme": "http", "root_path": ""}, receive, send)
            assert sent[0]["status"] == 499
            analyzer.let_go.set()
            assert (await first).status_code == 200
            assert (await connected.post(URL, files=files(picture(3)))).status_code == 200

    asyncio.run(talk())
    assert analyzer.batches == [[1], [3]]


def test_requests_of_many_clients_are_worked_on_together() -> None:
    analyzer = FakeAnalyzer()
    analyzer.let_go.clear()

    async def talk(client: httpx.AsyncClient) -> None:
        first = asyncio.create_task(client.post(URL, files=files(picture(0))))
        await asyncio.to_thread(analyzer.begun.wait, 10)
        others = [asyncio.create_task(client.post(URL, files=files(picture(red)))) for red in range(20, 30)]
        while "mien_picture_bytes 12672.0" not in (await client.get("/metrics")).text:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        analyzer.let_go.set()
        answers = await asyncio.gather(first, *others)
        assert {answer.status_code for answer in answers} == {200}

    ask(talk, FakeAnalyzers(analyzer), workers=1, batch_pictures=6)
    assert sorted(map(len, analyzer.batches)) == [1, 4, 6]


def test_names_are_given_back_and_used_for_nothing() -> None:
    name = '../../etc/\u202epasswd\x00<script>"' + "x" * 400
    answer = post(json=as_json(picture(), name=name))
    assert json.loads(answer.content)["results"][0]["source"] == name[:255]

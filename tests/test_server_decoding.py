"""Damaged and random bytes, as pictures and as bodies: answered with 200 or 4xx, never with 500, never with a crash."""

import asyncio
import io
import json
import time
from contextlib import ExitStack, suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from attacking import chunk, lying_png, many_scans, png
from mien.images import decode
from mien.server.decoding import (
    MOST_CHUNKS,
    MOST_SEGMENTS,
    UNKNOWN_SIZE,
    check_format,
    decode_picture,
    picture_size,
    plain_png,
)
from mien.server.problems import Problem
from mien.server.uploads import parse_json
from services import client, picture

KINDS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM")
MOST = 1_000_000
FEW = settings(max_examples=150, derandomize=True, suppress_health_check=list(HealthCheck))


def textured(kind: str, mode: str = "RGB") -> bytes:
    """A picture with something in it, so that there is something to damage."""
    pixels = np.random.default_rng(3).integers(0, 255, (32, 48, 3), np.uint8)
    target = io.BytesIO()
    PillowImage.fromarray(pixels).convert(mode).save(target, kind)
    return target.getvalue()


WHOLE = [textured(kind) for kind in KINDS]
WHOLE += [textured("AVIF")] if PillowImage.registered_extensions().get(".avif") in PillowImage.SAVE else []
WHOLE += [textured("PNG", "P"), textured("PNG", "RGBA"), textured("TIFF", "CMYK"), textured("JPEG", "L")]


def decode_as_the_service_does(data: bytes) -> int:
    """200, or the status of what is wrong."""
    try:
        check_format(data)
        width, height = picture_size(data)
        if width * height > MOST:
            return 413
        image = decode_picture(data, MOST)
    except Problem as problem:
        return problem.status
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert image.size <= 3 * MOST
    return 200


@st.composite
def damaged(draw) -> bytes:
    """A picture with bytes changed, taken out or cut off."""
    data = bytearray(draw(st.sampled_from(WHOLE)))
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, len(data) - 1))
        what = draw(st.sampled_from(("change", "remove", "repeat")))
        if what == "change":
            data[place] = draw(st.integers(0, 255))
        elif what == "remove" and len(data) > 40:
            del data[place : place + draw(st.integers(1, 9))]
        else:
            data[place:place] = data[place : place + draw(st.integers(1, 9))]
    return bytes(data[: draw(st.integers(len(data) // 2, len(data)))])


@pytest.mark.parametrize("data", WHOLE)
def test_whole_pictures_are_taken(data) -> None:
    assert decode_as_the_service_does(data) == 200
    assert picture_size(data) == (48, 32)


@FEW
@given(damaged())
@pytest.mark.filterwarnings("ignore")
def test_damaged_pictures_are_decoded_or_refused(data) -> None:
    assert decode_as_the_service_does(data) in (200, 413, 415, 422)


@pytest.mark.parametrize("data", WHOLE)
@pytest.mark.filterwarnings("ignore")
def test_pictures_that_end_early_are_decoded_or_refused(data) -> None:
    for length in range(0, len(data), max(1, len(data) // 40)):
        assert decode_as_the_service_does(data[:length]) in (200, 413, 415, 422)


@FEW
@given(st.sampled_from([data[:12] for data in WHOLE]), st.binary(max_size=400))
@pytest.mark.filterwarnings("ignore")
def test_random_bytes_behind_a_picture_s_beginning(start, rest) -> None:
    assert decode_as_the_service_does(start + rest) in (200, 413, 415, 422)


def test_what_is_no_picture_is_refused_unopened() -> None:
    for data in (b"%!PS-Adobe-3.0 EPSF-3.0", b"%PDF-1.7", b"<svg/>", b"\x00\x00\x01\x00", b"8BPS", b"icns", b"P7\n"):
        with pytest.raises(Problem) as caught:
            check_format(data)
        assert caught.value.kind == "not-a-picture"
    assert picture_size(b"BM") == UNKNOWN_SIZE


def test_png_chunks_that_lie_are_refused_before_opencv_believes_them() -> None:
    with pytest.raises(Problem, match="cut off"):
        decode_picture(lying_png(), MOST)
    many = png(9, 9, *[chunk(b"tEXt", b"a\0b")] * (MOST_CHUNKS + 1))
    with pytest.raises(Problem, match="chunks"):
        decode_picture(many, MOST)


def test_png_without_its_texts_has_the_same_pixels() -> None:
    whole = textured("PNG", "P")
    place = whole.index(b"IDAT") - 4
    told = whole[:place] + chunk(b"zTXt", b"a\0\0b") + chunk(b"acTL", bytes(8)) + whole[place:]
    assert plain_png(told) == plain_png(whole)
    np.testing.assert_array_equal(decode_picture(told, MOST), decode(whole))
    jpeg = textured("JPEG")
    assert plain_png(jpeg) is jpeg


SCANS = b"\xff\xda" * 200


def jpeg_segment(data: bytes) -> bytes:
    """A comment."""
    return b"\xff\xfe" + (2 + len(data)).to_bytes(2) + data


@pytest.mark.parametrize("progressive", [False, True])
def test_only_scans_of_the_picture_itself_count(progressive) -> None:
    target = io.BytesIO()
    PillowImage.new("RGB", (48, 32), (9, 99, 200)).save(target, "JPEG", progressive=progressive)
    whole = target.getvalue()
    commented = whole[:2] + jpeg_segment(SCANS) + whole[2:]
    for data in (whole + SCANS, commented, commented + SCANS):
        assert decode_as_the_service_does(data) == 200


@pytest.mark.parametrize(
    "hidden",
    [b"\xff\xd9" * 9, b"\xff\xfe\xff\xff", b"\xff\xfe\0\0"],
    ids=["ends in a comment", "a comment beyond the end", "a comment shorter than its length"],
)
def test_many_scans_are_found_wherever_they_are(hidden) -> None:
    scans = many_scans()
    place = scans.index(b"\xff\xda")
    behind = hidden if hidden.startswith(b"\xff\xfe\0") else jpeg_segment(hidden)
    for data in (scans, scans[:place] + behind + scans[place:], scans[:2] + behind + scans[2:], scans[:-2]):
        with pytest.raises(Problem, match="scans"):
            check_format(data)


def test_many_scans_that_are_cut_off_do_no_harm() -> None:
    scans = many_scans()
    for cut in (1, 2, 3, 5, 11):
        with pytest.raises(Problem, match="scans"):
            check_format(scans[:-cut])
    for end in (b"\xff", b"\xff\xfe", b"\xff\xfe\0", b"\xff\xfe\xff\xff"):
        check_format(b"\xff\xd8" + jpeg_segment(SCANS) + end)


def test_very_many_segments_are_refused() -> None:
    with pytest.raises(Problem, match="segments"):
        check_format(b"\xff\xd8" + jpeg_segment(SCANS) + jpeg_segment(b"") * MOST_SEGMENTS)


@pytest.mark.parametrize("filling", [b"\xff", b"\xff\x00", b"\xff\xd0", b"\xff\xd8", b"\xff\xfe\0\2", b"\0"])
def test_scans_are_counted_quickly(filling) -> None:
    data = b"\xff\xd8" + jpeg_segment(SCANS) + filling * (16 * 2**20 // len(filling))
    start = time.process_time()
    with suppress(Problem):
        check_format(data)
    assert time.process_time() - start < 1.5


@pytest.fixture(scope="module")
def ask_with():
    """A function: the statuses that bodies get, each with its content type, of one app for all."""
    with asyncio.Runner() as runner, ExitStack() as stack:
        context = client()
        connected = runner.run(context.__aenter__())
        stack.callback(lambda: runner.run(context.__aexit__(None, None, None)))

        def ask(bodies: list[tuple[bytes, bytes]]) -> list[int]:
            async def post() -> list[int]:
                sent = [
                    await connected.post("/v1/analyze", content=body, headers={"content-type": kind})
                    for body, kind in bodies
                ]
                return [answer.status_code for answer in sent]

            return runner.run(post())

        yield ask


PIECES = [b"--b\r\n", b"--b--\r\n", b"--b", b"\r\n", b"\r\n\r\n", b'Content-Disposition: form-data; name="files"']
PIECES += [b'; filename="a.png"', b"Content-Type: image/png", picture(), b"\x00", b"\xff\xfe", b":", b"--", b"a" * 5000]


@settings(FEW, max_examples=60)
@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=14).map(b"".join), min_size=1, max_size=8))
def test_scrambled_multipart_bodies(ask_with, bodies) -> None:
    statuses = ask_with([(body, b"multipart/form-data; boundary=b") for body in bodies])
    assert set(statuses) <= {200, 400, 413, 415, 422}


HEADER_BYTES = st.binary(max_size=80).map(lambda data: bytes(byte for byte in data if byte >= 32 and byte != 127))


@settings(FEW, max_examples=60)
@given(st.binary(max_size=300), HEADER_BYTES)
def test_random_bodies_of_random_kinds(ask_with, body, kind) -> None:
    prefixes = (b"multipart/form-data; boundary=", b"application/json", b"")
    statuses = ask_with([(body, (prefix + kind).strip()) for prefix in prefixes])
    assert set(statuses) <= {400, 413, 415, 422}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["images", "data", "name", "url", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@FEW
@given(VALUES)
def test_json_of_any_form_is_taken_or_refused(value) -> None:
    status = 200
    try:
        uploads = parse_json(json.dumps(value).encode(), 8)
    except Problem as problem:
        uploads, status = [], problem.status
    assert status in (200, 400, 413, 422)
    assert all(isinstance(upload.name, str) for upload in uploads)


def test_names_with_any_bytes_can_be_answered(ask_with) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="'
    names = (b"\xff\xfe\x80", b"\xed\xa0\x80", b'a\\"b')
    body = b"".join(head + name + b'"\r\n\r\n' + picture() + b"\r\n" for name in names)
    assert ask_with([(body + b"--b--\r\n", b"multipart/form-data; boundary=b")]) == [200]

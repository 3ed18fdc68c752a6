import base64
import io
import struct
import sys
import time

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import EpsImagePlugin, Image, PngImagePlugin, TiffImagePlugin

from mien.errors import DataError, UsageError
from mien.images import decode, is_image_name, read_image, read_pixels, resize, to_rgb


def picture(height: int = 12, width: int = 10) -> np.ndarray:
    """RGB, red on the left, blue on the right."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2, 0] = 250
    image[:, width // 2 :, 2] = 250
    return image


def encode(image: np.ndarray, suffix: str) -> bytes:
    return cv2.imencode(suffix, image[..., ::-1])[1].tobytes()


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".ppm", ".tiff", ".webp", ".jpg"])
def test_colours_come_as_rgb(suffix):
    decoded = decode(encode(picture(32, 32), suffix))
    assert decoded.shape == (32, 32, 3)
    assert decoded[16, 4, 0] > 200 > 60 > decoded[16, 4, 2]
    assert decoded[16, 28, 2] > 200 > 60 > decoded[16, 28, 0]


def test_one_channel_is_grey():
    assert decode(encode(picture(), ".png"), channels=1).shape == (12, 10)


def test_pictures_are_turned_upright(tmp_path):
    path = tmp_path / "phone.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it a quarter turn clockwise
    Image.fromarray(picture(40, 60)).save(path, exif=exif, quality=95)
    upright = read_image(path)
    assert upright.shape == (60, 40, 3)
    assert upright[5, 20, 0] > 200
    assert upright[55, 20, 2] > 200


@given(st.binary(max_size=300))
@example(b"MM\0*")  # how a TIFF begins: it is told which of them are read
def test_bytes_that_are_no_image_are_named(data):
    with pytest.raises(DataError, match=r"^cannot be decoded as an image(; TIFFs are read with .*)?: x\.jpg$"):
        decode(data, name="x.jpg")


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(DataError, match=r"cannot be read \(No such file or directory\): .*none\.png"):
        read_image(tmp_path / "none.png")


@given(height=st.integers(1, 90), width=st.integers(1, 90), size=st.integers(8, 64), grey=st.booleans())
def test_resizing_gives_a_square_and_keeps_a_flat_colour(height, width, size, grey):
    image = np.full((height, width) if grey else (height, width, 3), 77, np.uint8)
    resized = resize(image, size)
    assert resized.shape == ((size, size) if grey else (size, size, 3))
    assert np.all(resized == 77)


def test_shrinking_averages():
    checks = np.indices((96, 96)).sum(axis=0).astype(np.uint8) % 2 * 255
    np.testing.assert_allclose(resize(checks, 48), 128, atol=1)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jpg", True),
        ("A.JPEG", True),
        ("a.jfif", True),
        ("a/b/c.png", True),
        ("._a.jpg", False),
        ("x/.a.png", False),
        ("a.txt", False),
    ],
)
def test_image_names(name, expected):
    assert is_image_name(name) is expected


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


RAMP = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (48, 1))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("channels", [1, 3])
def test_orientation_is_obeyed_in_every_format(kind, channels):
    image = decode(encoded(Image.fromarray(picture(40, 60)), kind, exif=turned()), channels=channels)
    assert image.shape[:2] == (60, 40)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bits_become_8(kind):
    image = decode(encoded(Image.fromarray(RAMP.astype(np.uint16) * 257), kind))
    np.testing.assert_array_equal(image, np.repeat(RAMP[:, :, None], 3, axis=2))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("high", [199, 255, 256, 5000])
def test_dark_pictures_of_16_bits_are_dark_in_every_format(kind, high):
    values = np.linspace(0, high, 12 * 16).reshape(12, 16).astype(np.uint16)
    image = decode(encoded(Image.fromarray(values), kind), channels=1)
    assert np.abs(image.astype(int) - values / 257).max() <= 1
    assert image.max() == high >> 8


def floating(values: np.ndarray) -> bytes:
    return encoded(Image.fromarray(values.astype(np.float32)), "TIFF")


@pytest.mark.parametrize("white", [1, 255, 65535])
@pytest.mark.parametrize("overshoot", [0, 0.015])
def test_floating_pixels_become_8_bits(white, overshoot):
    values = RAMP / 255 * (1 + 2 * overshoot) - overshoot
    image = decode(floating(values * white), channels=1)
    assert np.abs(image.astype(int) - RAMP).max() <= 1 + 255 * overshoot


def test_a_few_floating_pixels_may_lie_beyond_white():
    values = RAMP / 255
    values[0, :10] = 1.9
    assert np.abs(decode(floating(values), channels=1)[1:].astype(int) - RAMP[1:]).max() <= 1


@pytest.mark.parametrize(("factor", "black"), [(2, -1), (4095, 0), (5, 0), (1e7, 0), (0.01, 0), (np.nan, 0)])
def test_floating_pixels_of_no_known_range_are_refused_not_black(factor, black):
    values = black + factor * (RAMP / 255)
    with pytest.raises(DataError, match=r"^holds .*: a\.tif$"):
        decode(floating(values), name="a.tif")
    with pytest.raises(DataError, match=r"^the Pillow image holds"):
        read_pixels(Image.fromarray(values.astype(np.float32)))


def test_tiffs_of_colours_in_floating_point_are_told_apart_from_damage():
    data = cv2.imencode(".tiff", np.full((8, 8, 3), 0.5, np.float32))[1].tobytes()
    with pytest.raises(DataError, match=r"TIFFs are read with 8 or 16 bits a channel, .*: a\.tif$"):
        decode(data, name="a.tif")


def test_a_black_floating_picture_is_black():
    assert decode(floating(np.zeros((9, 9)))).max() == 0


@pytest.mark.parametrize(("factor", "mends"), [(1, True), (256, True), (2**22, True), (1200, False)])
def test_whole_numbers_of_32_bits(factor, mends):
    data = encoded(Image.fromarray(RAMP.astype(np.int32) * factor), "TIFF")
    if mends:
        shift = {1: 1, 256: 1, 2**22: 4}[factor]
        assert np.abs(decode(data, channels=1).astype(int) - RAMP // shift).max() <= 1
        return
    with pytest.raises(DataError, match="nothing says what is black"):
        decode(data)


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_in_xmp_alone_is_obeyed(kind):
    options = {"xmp": XMP}
    if kind == "PNG":
        options = {"pnginfo": PngImagePlugin.PngInfo()}
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
    if kind == "TIFF":
        options = {"tiffinfo": {700: XMP}}
    image = decode(encoded(Image.fromarray(picture(40, 60)), kind, **options))
    assert image.shape[:2] == (60, 40)


def test_orientation_in_exif_comes_before_that_in_xmp():
    upright = Image.Exif()
    upright[0x0112] = 1
    image = decode(encoded(Image.fromarray(picture(40, 60)), "JPEG", exif=upright, xmp=XMP))
    assert image.shape[:2] == (40, 60)


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_one_odd_floating_pixel_leaves_the_others_as_they_are(odd):
    values = np.full((4, 4), 0.5, np.float32)
    values[0, 0] = odd
    assert to_rgb(Image.fromarray(values))[1, 1].tolist() == [127] * 3


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_transparent_parts_are_laid_on_white(kind):
    colours = np.dstack([picture(40, 60), np.zeros((40, 60), np.uint8)])
    colours[:20, :, 3] = 255
    image = decode(encoded(Image.fromarray(colours), kind, **({"lossless": True} if kind == "WEBP" else {})))
    np.testing.assert_array_equal(image[:20], colours[:20, :, :3])
    assert (image[20:] == 255).all()


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
@pytest.mark.parametrize("transparent", [False, True])
def test_palettes_become_rgb(kind, transparent):
    paletted = Image.fromarray(picture(40, 60)).quantize(4)
    background = paletted.getpixel((0, 0))
    image = decode(encoded(paletted, kind, **({"transparency": background} if transparent else {})))
    assert image.shape == (40, 60, 3)
    assert (image[10, 10] == (255, 255, 255)).all() == transparent
    assert image[10, 50, 2] > 200


@pytest.mark.parametrize("mode", ["CMYK", "L", "YCbCr"])
def test_other_colours_become_rgb(mode):
    flat = Image.new("RGB", (64, 64), (200, 60, 40)).convert(mode)
    image = decode(encoded(flat, "JPEG", quality=95))
    expected = np.asarray(flat.convert("RGB"))
    assert np.abs(image.astype(int) - expected).max() <= 4


KINDS = ["JPEG", "MPO", "PNG", "WEBP", "BMP", "DIB", "TIFF", "PPM", "GIF", "AVIF", "JPEG2000", "ICO"]


@pytest.mark.parametrize("kind", [*KINDS, "PCX", "SGI", "QOI", "DDS", "TGA"])
def test_formats_that_are_read(kind):
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow writes no {kind}")
    image = decode(encoded(Image.fromarray(picture(64, 64)), kind))
    assert image.shape == (64, 64, 3)
    assert image[32, 10, 0] > 200 > 60 > image[32, 10, 2]


@pytest.mark.parametrize("kind", ["PPM", "XBM", "MSP"])
def test_two_colours_are_read(kind):
    image = decode(encoded(Image.fromarray(picture(64, 64)[:, :, 0] > 0), kind))
    assert (image[:, :32] == 255).all()
    assert (image[:, 32:] == 0).all()


def test_no_program_is_started_to_read_a_picture(monkeypatch):
    def start(*arguments, **options):
        raise AssertionError("a program was started")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", start)
    with pytest.raises(DataError, match="cannot be decoded as an image"):
        decode(encoded(Image.fromarray(picture()), "EPS"))


def test_pictures_of_instruments_are_no_photographs():
    """One of an electron microscope that says it belongs to a stack, at which Pillow's reader stumbles."""
    data = np.frombuffer(encoded(Image.new("F", (20, 24)), "SPIDER"), np.float32).copy()
    data[26] = 1
    with pytest.raises(DataError, match=r"cannot be decoded as an image: x\.jpg"):
        decode(data.tobytes(), name="x.jpg")


def test_a_reader_of_pillow_that_stumbles_is_an_error(monkeypatch):
    def stumble(opened):
        raise AttributeError("no such attribute")

    monkeypatch.setattr(Image.Image, "getexif", stumble)
    with pytest.raises(DataError, match="the Pillow image cannot be decoded"):
        read_pixels(Image.new("L", (8, 8)))


def test_heic_is_read(tmp_path):
    heif = pytest.importorskip("pillow_heif", reason="HEIC needs pillow-heif")
    heif.register_heif_opener()
    image = decode(encoded(Image.fromarray(picture(64, 96)), "HEIF", quality=95))
    assert image.shape == (64, 96, 3)
    assert image[30, 5, 0] > 200
    assert image[30, 90, 2] > 200


def test_heic_without_the_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(DataError, match=r"pip install 'mien\[heic\]'.*: a\.heic"):
        decode(b"\0\0\0\x18ftypheic" + bytes(64), name="a.heic")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "WEBP"])
def test_a_bomb_is_refused_before_it_is_decoded(kind):
    data = encoded(Image.new("L", (16000, 12500)), kind) if kind != "WEBP" else None
    if data is None:
        data = encoded(Image.new("L", (12000, 12000)), kind, lossless=True)
    begin = time.perf_counter()
    with pytest.raises(DataError, match=r"(are more than the 89,000,000 allowed|too many pixels).*: bomb"):
        decode(data, name="bomb")
    assert time.perf_counter() - begin < 0.2, "it was decoded"


def test_the_limit_can_be_moved():
    data = encoded(Image.new("L", (100, 100)), "PNG")
    assert decode(data, max_pixels=10_000).shape == (100, 100, 3)
    with pytest.raises(DataError, match="100 x 100 pixels are more than the 9,999 allowed"):
        decode(data, max_pixels=9_999)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_cut_off_file_is_an_error(kind, share):
    noise = np.random.default_rng(1).integers(0, 256, (90, 120, 3), np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    with pytest.raises(DataError, match="cannot be decoded as an image"):
        decode(data[: int(len(data) * share)])


@given(st.integers(0, 2000), st.integers(0, 255), st.sampled_from(["JPEG", "PNG", "PPM"]))
def test_a_damaged_byte_never_crashes(place, value, kind):
    data = bytearray(encoded(Image.fromarray(picture(20, 20)), kind))
    data[place % len(data)] = value
    try:
        image = decode(bytes(data), max_pixels=10**6)
    except DataError:
        return
    assert image.ndim == 3


@pytest.mark.parametrize("image", [np.zeros((4, 4, 2), np.uint8), np.zeros((4, 4)), np.zeros((0, 4), np.uint8), None])
def test_what_is_no_picture_is_refused(image):
    with pytest.raises(UsageError, match="image: must be"):
        read_pixels(image)


@pytest.mark.parametrize(
    ("image", "mending"),
    [
        (np.ones((4, 4)), "multiply by 255 and convert"),
        (np.full((4, 4, 3), 200.0), r"\(4, 4, 3\); convert: image.astype"),
        (np.full((4, 4, 3), 200), r"\(4, 4, 3\); convert: image.astype"),
        (np.ones((4, 4), bool), r"bool \(4, 4\); multiply by 255 and convert"),
        (np.full((4, 4, 3), 200, np.uint16), r"white is 65,535 in uint16, received no value above 200.*convert: image"),
        (np.zeros((3, 8, 8), np.uint8), "channels come last: image.transpose"),
        (np.zeros((2, 8, 8, 3), np.uint8), "holds several pictures"),
        (np.full((4, 4), -1.0), r"float64 \(4, 4\)$"),
        (np.full((4, 4), np.nan), r"float64 \(4, 4\)$"),
    ],
)
def test_arrays_that_can_be_mended_are_told_how(image, mending):
    with pytest.raises(UsageError, match=mending):
        read_pixels(image)


class Tensor:
    """Stands for PyTorch's or JAX's."""

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        return picture()


@pytest.mark.parametrize(
    ("image", "mending"),
    [
        (None, r"received None, as cv2\.imread gives for a file that it cannot read"),
        (Tensor(), r"received Tensor; convert: numpy\.asarray\(image\)"),
        ("", "must be a picture's path, received an empty one"),
        ("data:image/svg+xml,<svg/>", r"must be data:image/\.\.\.;base64,\.\.\. received data:image/svg"),
        ("data:image/png;base64,iVBOR", r"image: data:image/png;base64,iVBOR\.\.\. is no whole base64"),
    ],
)
def test_what_users_often_give_is_told_how_to_mend_it(image, mending):
    with pytest.raises(UsageError, match=mending):
        read_pixels(image)


def test_pictures_in_addresses_are_read():
    data = cv2.imencode(".png", picture(40, 60)[:, :, ::-1])[1].tobytes()
    text = base64.b64encode(data).decode()
    for address in (f"data:image/png;base64,{text}", f"DATA:image/x;name=a.png;base64,{text.replace('=', '%3D')}"):
        assert (read_pixels(address) == picture(40, 60)).all()
    with pytest.raises(DataError, match="cannot be decoded as an image"):
        read_pixels("data:image/png;base64,AAAA")


def test_a_black_picture_of_16_bits_is_black():
    for noise in (0, 3, 112):  # the last is 7 of 12 bits, shifted to 16
        assert not read_pixels(np.full((4, 4), noise, np.uint16)).any()


def test_anything_that_is_a_picture_gives_the_same_pixels(tmp_path):
    rgb = picture(40, 60)
    data = encoded(Image.fromarray(rgb), "PNG")
    path = tmp_path / "a.png"
    path.write_bytes(data)
    opaque = np.dstack([rgb, np.full((40, 60), 255, np.uint8)])
    same = [
        rgb,
        rgb.astype(np.uint16) * 257,
        (rgb.astype(np.uint16) * 257).astype(">u2"),
        opaque,
        Image.fromarray(rgb),
        data,
        memoryview(data),
        io.BytesIO(data),
    ]
    same += [path, str(path)]
    for image in same:
        np.testing.assert_array_equal(read_pixels(image), rgb)
    for image in (rgb[:, :, ::-1], opaque[:, :, [2, 1, 0, 3]]):
        np.testing.assert_array_equal(read_pixels(image, bgr=True), rgb)
        assert read_pixels(image, bgr=True).flags.c_contiguous  # what all that follows is fastest with
    grey = rgb[:, :, 0]
    for image in (grey, grey[:, :, None]):
        np.testing.assert_array_equal(read_pixels(image), grey)


def test_a_pillow_image_is_not_copied_twice(monkeypatch):
    picture = Image.fromarray(np.full((8, 8, 3), 7, np.uint8))
    monkeypatch.setattr(Image.Image, "copy", None)
    pixels = read_pixels(picture)
    pixels[:] = 0
    assert np.asarray(picture).min() == 7


def test_a_pillow_image_that_is_cut_off_is_an_error():
    noise = np.random.default_rng(1).integers(0, 256, (90, 120, 3), np.uint8)
    data = encoded(Image.fromarray(noise), "JPEG")
    with pytest.raises(DataError, match="the Pillow image cannot be decoded"):
        read_pixels(Image.open(io.BytesIO(data[: len(data) // 2])))


def test_a_png_chunk_that_says_it_is_longer_than_the_file_never_reaches_opencv(monkeypatch):
    def reserve(*arguments):
        raise MemoryError("as long as the chunk says it is")

    data = bytearray(encode(picture(), ".png"))
    place = data.index(b"IDAT") - 4
    data[place : place + 4] = (2**32 - 100).to_bytes(4)
    monkeypatch.setattr(cv2, "imdecode", reserve)
    with pytest.raises(DataError, match="its end is missing"):
        decode(bytes(data))


def tiff_of(values: np.ndarray, **tags: int) -> bytes:
    """A TIFF of 16 bits, with fields by their numbers (``t341=4095``)."""
    fields = TiffImagePlugin.ImageFileDirectory_v2()
    for name, value in tags.items():
        fields.tagtype[int(name[1:])] = 3
        fields[int(name[1:])] = value
    file = io.BytesIO()
    Image.fromarray(values).save(file, "TIFF", tiffinfo=fields)
    return file.getvalue()


@pytest.mark.parametrize(
    ("tags", "bright"),
    [
        ({"t341": 4095}, True),
        ({"t281": 4095}, True),
        ({"t274": 6, "t341": 4095}, True),
        ({}, False),
        ({"t281": 4094}, False),  # what the picture happens to have
        ({"t341": 1023}, False),  # pixels lie above it
        ({"t341": 65535}, False),
        ({"t341": 0}, False),
    ],
)
def test_12_bits_in_16_of_a_tiff_that_says_so(tags, bright):
    values = np.linspace(0, 4095, 12 * 16).astype(np.uint16).reshape(12, 16)
    decoded = decode(tiff_of(values, **tags), channels=1)
    assert decoded.max() == (255 if bright else 15)
    assert decoded.shape == ((16, 12) if "t274" in tags else (12, 16))


def test_a_tiff_of_12_bits():
    tags = ((256, 2), (257, 1), (258, 12), (259, 1), (262, 1), (273, 8 + 2 + 12 * 8 + 4), (277, 1), (279, 3))
    fields = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    directory = struct.pack("<4sIH", b"II*\0", 8, len(tags)) + fields + bytes(4)
    data = directory + bytes(8 + 2 + 12 * 8 + 4 - len(directory)) + bytes([0xFF, 0xF8, 0x00])
    assert decode(data, channels=1).tolist() == [[255, 128]]

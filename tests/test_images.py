import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mien.errors import DataError
from mien.images import decode, is_image_name, read_image, resize


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
def test_bytes_that_are_no_image_are_named(data):
    with pytest.raises(DataError, match=r"cannot be decoded as an image: x\.jpg"):
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
    [("a.jpg", True), ("A.JPEG", True), ("a/b/c.png", True), ("._a.jpg", False), ("x/.a.png", False), ("a.txt", False)],
)
def test_image_names(name, expected):
    assert is_image_name(name) is expected

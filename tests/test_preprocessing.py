import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import UsageError
from mien.preprocessing import InputSpec, fit_image, fit_images, to_input


@given(
    height=st.integers(1, 80),
    width=st.integers(1, 80),
    depth=st.sampled_from([None, 1, 3]),
    size=st.integers(8, 64),
    channels=st.sampled_from([1, 3]),
)
def test_any_picture_becomes_the_networks_input(height, width, depth, size, channels):
    shape = (height, width) if depth is None else (height, width, depth)
    fitted = fit_image(np.full(shape, 200, np.uint8), InputSpec(size, channels))
    assert fitted.shape == (size, size, channels)
    assert fitted.dtype == np.uint8
    assert np.all(fitted == 200)


def test_a_picture_of_the_right_size_is_not_touched():
    image = np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8)
    np.testing.assert_array_equal(fit_image(image, InputSpec())[:, :, 0], image)


def test_colour_becomes_grey_by_its_luma():
    green = np.zeros((8, 8, 3), np.uint8)
    green[..., 1] = 255
    assert fit_image(green, InputSpec(8))[0, 0, 0] == 150


def test_no_pictures_give_an_empty_batch():
    assert fit_images([], InputSpec(32, 3)).shape == (0, 32, 32, 3)


def test_inputs_are_in_zero_to_one():
    batch = np.array([0, 51, 255], np.uint8).reshape(3, 1, 1, 1)
    values = to_input(batch)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values.ravel(), [0, 0.2, 1], rtol=1e-6)


@pytest.mark.parametrize("image", [np.zeros((4, 4)), np.zeros((4, 4, 2), np.uint8), np.zeros((1, 4, 4, 3), np.uint8)])
def test_arrays_that_are_no_pictures_are_refused(image):
    with pytest.raises(UsageError, match="image: must be uint8"):
        fit_image(image, InputSpec())


@pytest.mark.parametrize(("size", "channels"), [(7, 1), (1025, 1), (48, 2), ("48", 1), (48.0, 1), (48, True)])
def test_impossible_inputs_cannot_be_built(size, channels):
    with pytest.raises(UsageError, match="must be"):
        InputSpec(size, channels)


def test_sides_of_numpy_can_be_saved():
    spec = InputSpec(np.int64(48), np.uint8(3))
    assert spec == InputSpec(48, 3)
    assert json.dumps(spec.shape) == "[48, 48, 3]"

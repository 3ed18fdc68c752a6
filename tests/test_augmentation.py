import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from mien.augmentation import RandomAffine, augmentation_layers, compose_affine, preview
from mien.config import AUGMENTATIONS, AugmentationPolicy


def face() -> np.ndarray:
    """A smooth picture, uint8 (1, 48, 40, 1), not square and not symmetrical."""
    image = np.random.default_rng(0).integers(0, 256, (6, 5)).astype(np.uint8)
    return cv2.resize(image, (40, 48), interpolation=cv2.INTER_CUBIC)[None, :, :, None]


def apply(image, **amounts) -> np.ndarray:
    values = {"angle": 0.0, "shift_x": 0.0, "shift_y": 0.0, "shear": 0.0, "zoom_x": 1.0, "zoom_y": 1.0, **amounts}
    tensors = {name: ops.convert_to_tensor(np.array([value], np.float32)) for name, value in values.items()}
    maps = compose_affine(**tensors, height=image.shape[1], width=image.shape[2])
    moved = ops.image.affine_transform(image.astype(np.float32), maps, fill_mode="nearest", data_format="channels_last")
    return np.asarray(moved)


def test_no_amounts_change_nothing():
    np.testing.assert_allclose(apply(face()), face(), atol=1e-3)


def test_a_negative_zoom_mirrors_to_the_pixel():
    np.testing.assert_allclose(apply(face(), zoom_x=-1.0), face()[:, :, ::-1], atol=1e-2)


def test_a_shift_of_whole_pixels_moves_the_picture_and_repeats_the_edge():
    moved = apply(face(), shift_x=3.0, shift_y=-2.0)
    np.testing.assert_allclose(moved[0, 2:, :37], face()[0, :-2, 3:], atol=1e-2)
    np.testing.assert_allclose(moved[0, 2:, 39], face()[0, :-2, 39], atol=1e-2)


def test_half_a_turn_about_the_centre():
    np.testing.assert_allclose(apply(face(), angle=math.pi), face()[:, ::-1, ::-1], atol=0.1)


@settings(max_examples=30, deadline=None)
@given(
    angle=st.floats(-1, 1),
    shift_x=st.floats(-6, 6),
    shift_y=st.floats(-6, 6),
    shear=st.floats(-0.5, 0.5),
    zoom_x=st.floats(0.7, 1.4),
    zoom_y=st.floats(0.7, 1.4),
)
def test_one_resampling_is_opencvs(angle, shift_x, shift_y, shear, zoom_x, zoom_y):
    """The composed map, handed to OpenCV, gives the same picture away from the edges."""
    moved = apply(face(), angle=angle, shift_x=shift_x, shift_y=shift_y, shear=shear, zoom_x=zoom_x, zoom_y=zoom_y)
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    shearing = np.array([[1, -math.sin(shear)], [0, math.cos(shear)]])
    linear = rotation @ shearing @ np.diag([zoom_x, zoom_y])
    centre = np.array([19.5, 23.5])
    offset = rotation @ (shift_x, shift_y) + centre - linear @ centre
    expected = cv2.warpAffine(
        face()[0, :, :, 0].astype(np.float32),
        np.column_stack([linear, offset]),
        (40, 48),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    difference = np.abs(moved[0, :, :, 0] - expected)
    assert np.median(difference) < 1.0
    assert np.percentile(difference, 90) < 6.0


def test_draws_stay_within_the_policy():
    policy = AugmentationPolicy(shift=0.1)
    maps = np.asarray(RandomAffine(policy, seed=1).matrices(500, 48, 48))
    assert np.all(np.abs(maps[:, [2, 5]]) <= 4.8 + 1e-4)
    assert maps[:, 2].std() > 2
    np.testing.assert_allclose(maps[:, [0, 4]], 1, atol=1e-6)


def test_half_of_the_pictures_are_mirrored():
    maps = np.asarray(RandomAffine(AugmentationPolicy(flip=True), seed=1).matrices(1000, 48, 48))
    assert 0.42 < (maps[:, 0] < 0).mean() < 0.58


def test_nothing_is_changed_outside_training():
    layer = RandomAffine(AUGMENTATIONS["seed"])
    np.testing.assert_array_equal(np.asarray(layer(face().astype(np.float32), training=False)), face())


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
def test_previews_keep_shape_and_range_and_follow_the_seed(name):
    images = np.repeat(face(), 4, axis=0)
    shown = preview(images, seed=3, policy=AUGMENTATIONS[name])
    assert shown.shape == images.shape
    assert shown.dtype == np.uint8
    np.testing.assert_array_equal(shown, preview(images, seed=3, policy=AUGMENTATIONS[name]))
    assert np.array_equal(shown, images) == (name == "none")


def test_a_policy_brings_only_the_layers_it_needs():
    assert augmentation_layers(AUGMENTATIONS["none"]) == []
    assert [type(layer).__name__ for layer in augmentation_layers(AUGMENTATIONS["seed"])] == ["RandomAffine"]
    assert len(augmentation_layers(AUGMENTATIONS["standard"])) == 4


@pytest.mark.parametrize("share", [0.25, 0.8, 1.0])
def test_erasing_blanks_a_box_in_as_many_pictures_as_it_says(share):
    images = np.full((1500, 16, 16, 1), 200, np.uint8)
    shown = preview(images, seed=0, policy=AugmentationPolicy(erase=share))
    erased = (shown != 200).any(axis=(1, 2, 3))
    assert erased.mean() == pytest.approx(share, abs=0.04)
    assert (shown != 200).mean() < 0.2 * share


def test_contrast_is_lowered_as_often_as_it_is_raised():
    images = np.full((1500, 16, 16, 1), 100, np.uint8)
    images[:, :8] = 150
    shown = preview(images, seed=0, policy=AugmentationPolicy(contrast=0.5))
    factors = (shown[:, 0, 0, 0].astype(float) - shown[:, 15, 0, 0]) / 50
    assert factors.min() == pytest.approx(0.5, abs=0.03)
    assert factors.max() == pytest.approx(1.5, abs=0.03)
    assert (factors < 1).mean() == pytest.approx(0.5, abs=0.06)


def test_every_seed_of_a_config_is_one_that_all_backends_take():
    layer = augmentation_layers(AugmentationPolicy(rotation=5), seed=2**32 - 1)[0]
    assert int(np.asarray(layer.seed_generator.state)[0]) < 2**31

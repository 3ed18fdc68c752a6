"""Occlusion maps against a formulation with loops, on classifiers whose answer hangs on a known region."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import UsageError
from mien.faithfulness import judge_maps
from mien.occlusion import BLUR, occlusion_maps

SIZE = 24
REGION = (slice(4, 12), slice(12, 20))


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 1), np.uint8)


def brightness_of(rows: slice, columns: slice) -> Callable[[np.ndarray], np.ndarray]:
    """A classifier that looks at one region only: how bright it is is how probable class 1 is."""

    def predict(images: np.ndarray) -> np.ndarray:
        share = images[:, rows, columns].astype(float).mean(axis=(1, 2, 3)) / 255
        return np.stack([1 - share, share], axis=1).astype(np.float32)

    return predict


def by_loops(predict: Callable[[np.ndarray], np.ndarray], image: np.ndarray, target: int, side: int) -> np.ndarray:
    """The mean fall over all windows that cover a pixel, straight from its definition."""
    soft = cv2.GaussianBlur(image, (0, 0), BLUR * SIZE, borderType=cv2.BORDER_REPLICATE).reshape(image.shape)
    before = float(predict(image[None])[0, target])
    total, count = np.zeros((SIZE, SIZE)), np.zeros((SIZE, SIZE))
    for top in range(2 - side, SIZE, 2):
        for left in range(2 - side, SIZE, 2):
            rows, columns = slice(max(top, 0), top + side), slice(max(left, 0), left + side)
            covered = image.copy()
            covered[rows, columns] = soft[rows, columns]
            total[rows, columns] += before - float(predict(covered[None])[0, target])
            count[rows, columns] += 1
    return total / count


@given(seed=st.integers(0, 999), side=st.integers(2, 9), target=st.integers(0, 1))
def test_maps_are_the_mean_fall_over_the_windows_that_cover_a_pixel(seed, side, target):
    predict = brightness_of(*REGION)
    image = noise(1, seed)
    (found,) = occlusion_maps(predict, image, np.array([target]), window=side)
    np.testing.assert_allclose(found, by_loops(predict, image[0], target, side), atol=1e-6)


def test_only_the_region_that_the_answer_hangs_on_is_marked():
    image = np.full((1, SIZE, SIZE, 1), 20, np.uint8)
    image[0, 6:10, 14:18] = 250  # a bright spot in the region, which covering dims
    image[0, 18:22, 4:8] = 250  # and one that the classifier does not see
    bright, dark = occlusion_maps(brightness_of(*REGION), np.repeat(image, 2, 0), np.array([1, 0]))
    np.testing.assert_allclose(dark, -bright, atol=1e-6)
    reach = 5  # of the window, beyond the region
    far = np.ones((SIZE, SIZE), bool)
    far[4 - reach + 1 : 12 + reach - 1, 12 - reach + 1 : 20 + reach - 1] = False
    assert np.abs(bright[far]).max() < 1e-6
    top, left = np.unravel_index(bright.argmax(), bright.shape)
    assert 6 <= top < 10
    assert 14 <= left < 18
    assert bright.max() > 0.1


def test_targets_may_be_a_list():
    predict = brightness_of(*REGION)
    np.testing.assert_array_equal(
        occlusion_maps(predict, noise(2), [0, 1]), occlusion_maps(predict, noise(2), np.array([0, 1]))
    )
    with pytest.raises(UsageError, match=r"targets: must be a class's index.* received <U5"):
        occlusion_maps(predict, noise(1), ["happy"])


def test_no_pictures_give_no_maps():
    maps = occlusion_maps(brightness_of(*REGION), noise(0), np.empty(0, np.int64))
    assert maps.shape == (0, SIZE, SIZE)
    assert maps.dtype == np.float32


@pytest.mark.parametrize(
    ("targets", "window", "said"),
    [
        ([0], None, "targets: must be a class's index"),
        ([0, -1], None, "targets: must be a class's index"),
        ([0.0, 1.0], None, "received float64"),
        ([0, 2], None, "targets: must be below 2"),
        ([0, 1], 0, "window: must be from 1 to 24"),
        ([0, 1], 25, "window: must be from 1 to 24"),
    ],
)
def test_wrong_requests_are_refused(targets, window, said):
    with pytest.raises(UsageError, match=said):
        occlusion_maps(brightness_of(*REGION), noise(2), np.array(targets), window=window)


def region_map() -> np.ndarray:
    one = np.zeros((SIZE, SIZE), np.float32)
    one[REGION] = 1
    return one


def test_the_map_of_what_matters_scores_better_than_its_opposite_and_than_chance():
    images = noise(6) // 4
    images[:, REGION[0], REGION[1]] = 255
    images[:, 5:11:2, 13:19:2] = 0  # detail, so that a blur changes it
    targets = np.ones(6, np.int64)
    predict = brightness_of(slice(7, 9), slice(15, 17))
    narrow = np.zeros((SIZE, SIZE), np.float32)
    narrow[7:9, 15:17] = images[0, 7:9, 15:17, 0].astype(np.float32)
    right = judge_maps(predict, images, np.repeat(narrow[None], 6, 0), targets)
    wrong = judge_maps(predict, images, np.repeat(-narrow[None], 6, 0), targets)
    chance = judge_maps(predict, images, np.random.default_rng(0).random((6, SIZE, SIZE)).astype(np.float32), targets)
    score = [(one.insertion - one.deletion).mean() for one in (right, chance, wrong)]
    assert score == sorted(score, reverse=True)
    assert score[0] > score[1] + 0.02


def test_deletion_is_the_area_under_the_curve():
    """Pixels go one by one, the only one that counts first, and become what the blur makes of them."""
    image = np.zeros((1, 8, 8, 1), np.uint8)
    image[0, 0, 0] = 255
    soft = float(cv2.GaussianBlur(image[0], (0, 0), BLUR * 8, borderType=cv2.BORDER_REPLICATE)[0, 0]) / 255
    assert 0.1 < soft < 0.9
    order = -np.arange(64, dtype=np.float32).reshape(1, 8, 8)
    scores = judge_maps(brightness_of(slice(0, 1), slice(0, 1)), image, order, np.array([1]), steps=64)
    assert scores.deletion[0] == pytest.approx((0.5 + 63.5 * soft) / 64)
    assert scores.insertion[0] == pytest.approx((63.5 + 0.5 * soft) / 64)


def test_scores_refuse_maps_of_another_shape():
    with pytest.raises(UsageError, match=r"maps: must be \(2, 24, 24\)"):
        judge_maps(brightness_of(*REGION), noise(2), np.zeros((2, 8, 8), np.float32), np.zeros(2, np.int64))

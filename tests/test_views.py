"""Test-time augmentation: what the views are, and what their mean may not depend on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mien import views
from mien.classifier import Classifier
from mien.errors import UsageError
from mien.views import TTA, check_tta, move, predict_views
from models import save_brightness

COUNTS = {"none": 1, "flip": 2, "full": 10}
SIZES = st.integers(8, 60)
SEEDS = st.integers(0, 2**32 - 1)


def pictures(seed: int, n: int, size: int, channels: int = 1) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, channels), np.uint8)


class Linear:
    """A model that looks at every pixel: softmax of a random linear map, from a seed."""

    def __init__(self, seed: int, size: int, channels: int = 1, classes: int = 3) -> None:
        self.weights = np.random.default_rng(seed).normal(0, 2 / size, (size * size * channels, classes))
        self.batches: list[int] = []

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.batches.append(len(images))
        scores = (images.reshape(len(images), -1) / 255.0 - 0.5) @ self.weights
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def of_middle(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A model that ignores position: the share of bright pixels, in a frame wide enough that none leaves."""
    share = (images > 127).mean(axis=(1, 2, 3))
    return np.stack([share, 1 - share], axis=1).astype(np.float32)


@pytest.mark.parametrize(("tta", "count"), COUNTS.items())
def test_views_are_as_many_and_as_large_as_documented(tta: str, count: int) -> None:
    images = pictures(0, 3, 24, 3)
    seen = list(TTA[tta](images))
    assert len(seen) == count
    assert {view.shape for view in seen} == {images.shape}
    assert {view.dtype for view in seen} == {np.dtype(np.uint8)}
    assert len({view.tobytes() for view in seen}) == count
    assert np.array_equal(seen[0], images)


@pytest.mark.parametrize(("size", "step"), [(8, 1), (48, 2), (64, 3), (96, 4), (224, 9)])
def test_full_moves_along_the_diagonals_by_a_share_of_the_side(size: int, step: int) -> None:
    images = pictures(1, 1, size)
    inside = images[:, step:-step, step:-step]
    seen = {view[:, step:-step, step:-step].tobytes() for view in TTA["full"](images)}
    assert inside.tobytes() in seen
    far, near = slice(2 * step, None), slice(None, -2 * step)
    for rows in (far, near):
        for columns in (far, near):
            assert images[:, rows, columns].tobytes() in seen
            assert images[:, :, ::-1][:, rows, columns].tobytes() in seen


def test_moving_repeats_the_edge() -> None:
    image = np.arange(9, dtype=np.uint8).reshape(1, 3, 3, 1)
    assert move(image, 1, 0)[0, :, :, 0].tolist() == [[0, 1, 2], [0, 1, 2], [3, 4, 5]]
    assert move(image, 0, -2)[0, :, :, 0].tolist() == [[2, 2, 2], [5, 5, 5], [8, 8, 8]]


@given(SEEDS, SIZES, st.integers(-70, 70), st.integers(-70, 70), st.sampled_from([1, 3]))
def test_moving_is_padding_and_cutting(seed: int, size: int, down: int, right: int, channels: int) -> None:
    images = pictures(seed, 2, size, channels)
    room = 70
    padded = np.pad(images, ((0, 0), (room, room), (room, room), (0, 0)), mode="edge")
    top, left = room - down, room - right
    assert np.array_equal(move(images, down, right), padded[:, top : top + size, left : left + size])


@given(SEEDS, SIZES, st.sampled_from(["flip", "full"]), st.sampled_from([1, 3]))
def test_a_mirror_image_has_the_same_views_and_the_same_answer(seed: int, size: int, tta: str, channels: int) -> None:
    images = pictures(seed, 2, size, channels)
    mirrored = np.ascontiguousarray(images[:, :, ::-1])
    assert {view.tobytes() for view in TTA[tta](images)} == {view.tobytes() for view in TTA[tta](mirrored)}
    model = Linear(seed, size, channels)
    np.testing.assert_allclose(predict_views(model, images, tta), predict_views(model, mirrored, tta), atol=1e-6)


@given(SEEDS, st.integers(1, 8), st.sampled_from(sorted(TTA)))
def test_a_model_that_ignores_position_answers_as_without(seed: int, n: int, tta: str) -> None:
    size = 24
    images = np.zeros((n, size, size, 1), np.uint8)
    images[:, 4:-4, 4:-4] = pictures(seed, n, size - 8)
    np.testing.assert_allclose(predict_views(of_middle, images, tta), of_middle(images), atol=1e-6)


@given(SEEDS, st.integers(1, 20), st.sampled_from(sorted(TTA)))
def test_neither_order_nor_company_matters(seed: int, n: int, tta: str) -> None:
    images, model = pictures(seed, n, 12), Linear(seed, 12)
    order = np.random.default_rng(seed).permutation(n)
    whole = predict_views(model, images, tta)
    np.testing.assert_allclose(predict_views(model, images[order], tta), whole[order], atol=1e-6)
    alone = np.concatenate([predict_views(model, images[row : row + 1], tta) for row in range(n)])
    np.testing.assert_allclose(alone, whole, atol=1e-6)


@pytest.mark.parametrize("tta", ["flip", "full"])
def test_the_batch_does_not_matter_and_bounds_what_is_made_at_once(tta: str, monkeypatch: pytest.MonkeyPatch) -> None:
    images, whole, parts = pictures(2, 23, 16), Linear(5, 16), Linear(5, 16)
    expected = predict_views(whole, images, tta)
    assert whole.batches == [23 * COUNTS[tta]]
    monkeypatch.setattr(views, "BATCH_PIXELS", 4 * 16 * 16)
    np.testing.assert_allclose(predict_views(parts, images, tta), expected, atol=1e-6)
    assert parts.batches == [4 * COUNTS[tta]] * 5 + [3 * COUNTS[tta]]
    monkeypatch.setattr(views, "BATCH_PIXELS", 1)  # less than one picture
    np.testing.assert_allclose(predict_views(parts, images, tta), expected, atol=1e-6)


def test_the_mean_is_of_probabilities_after_the_temperature() -> None:
    images = np.zeros((1, 8, 8, 1), np.uint8)
    images[:, :, 0] = 255

    def sure_of_left(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        left = np.where(batch[:, 4, 0, 0] > 0, 0.9, 0.3).astype(np.float32)
        return np.stack([left, 1 - left], axis=1)

    assert predict_views(sure_of_left, images, "flip")[0].tolist() == pytest.approx([0.6, 0.4])


@pytest.mark.parametrize("tta", sorted(TTA))
def test_onnx_gives_rows_that_sum_to_one_and_none_for_none(tta: str, tmp_path) -> None:
    model = Classifier(save_brightness(tmp_path / "model.onnx", ("dark", "middle", "bright"), (0.0, 0.5, 1.0)))
    rows = predict_views(model.predict, pictures(3, 70, 8), tta)
    assert (rows.shape, rows.dtype) == ((70, 3), np.float32)
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-6)
    assert predict_views(model.predict, pictures(3, 0, 8), tta).shape == (0, 3)


def test_what_is_refused() -> None:
    with pytest.raises(UsageError, match="--tta: no such choice 'ten'; choose from flip, full, none"):
        check_tta("ten", "--tta")
    with pytest.raises(UsageError, match="tta: no such choice 'ten'"):
        predict_views(Linear(0, 8), pictures(0, 1, 8), "ten")
    with pytest.raises(UsageError, match="a row for each of 20 images, gave 1"):
        predict_views(lambda images: np.full((1, 3), 1 / 3, np.float32), pictures(0, 2, 8), "full")

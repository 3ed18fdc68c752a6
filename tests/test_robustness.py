import numpy as np
import pytest

from mien.corruptions import CORRUPTIONS, DARKNESS, GREY, NOISE, OCCLUSION, STRENGTHS, corrupt
from mien.errors import UsageError
from mien.robustness import Robustness, draw, measure_robustness
from pictures import pattern

PICTURES = np.stack([pattern(label, label) for label in range(7)])[..., None]
COLOURED = np.concatenate([PICTURES, 255 - PICTURES, PICTURES // 2], axis=3)


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(float) - other).mean())


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("images", [PICTURES, COLOURED], ids=["grey", "colour"])
def test_stronger_is_further_from_the_picture(name: str, images: np.ndarray) -> None:
    before = images.copy()
    spoilt = [corrupt(images, name, strength) for strength in STRENGTHS]
    assert all(one.shape == images.shape and one.dtype == np.uint8 for one in spoilt)
    distances = [distance(one, images) for one in spoilt]
    # The edge comes in where a picture turns, so that beyond some degrees it is no further away.
    assert distances[0] > 0.5
    assert distances == sorted(distances) or name == "rotation"
    assert distances[-1] > 1.1 * distances[0] or name == "rotation"
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_chance_follows_from_seed_and_place_alone(name: str) -> None:
    once = corrupt(PICTURES, name, 3, seed=5)
    np.testing.assert_array_equal(corrupt(PICTURES, name, 3, seed=5), once)
    np.testing.assert_array_equal(corrupt(PICTURES[:2], name, 3, seed=5), once[:2])
    by_chance = name in ("noise", "rotation", "occlusion")
    assert (distance(corrupt(PICTURES, name, 3, seed=6), once) > 0) == by_chance


def test_darkness_and_occlusion_are_what_they_say() -> None:
    white = np.full((1, 40, 40, 1), 250, np.uint8)
    for strength in STRENGTHS:
        assert (corrupt(white, "darkness", strength) == round(250 * DARKNESS[strength - 1])).all()
        covered = (corrupt(white, "occlusion", strength) == GREY).mean()
        assert covered == pytest.approx(OCCLUSION[strength - 1], abs=0.02)


def test_noise_is_as_wide_as_it_says() -> None:
    grey = np.full((20, 48, 48, 1), GREY, np.uint8)
    for strength in STRENGTHS[:4]:  # the last is cut off at black and white
        noise = corrupt(grey, "noise", strength).astype(float) - GREY
        assert noise.std() == pytest.approx(255 * NOISE[strength - 1], rel=0.02)
        assert abs(noise.mean()) < 1


def test_a_turn_about_the_middle_leaves_round_things() -> None:
    y, x = np.mgrid[:49, :49] - 24.0
    disc = np.where(x**2 + y**2 < 15**2, 200, 40).astype(np.uint8)[None, ..., None]
    assert distance(corrupt(disc, "rotation", 5), disc) < 4


@pytest.mark.parametrize("side", [1, 2, 8])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_tiny_pictures_survive(name: str, side: int) -> None:
    assert corrupt(np.full((2, side, side, 1), 9, np.uint8), name, 5).shape == (2, side, side, 1)
    assert corrupt(np.empty((0, side, side, 1), np.uint8), name, 5).shape == (0, side, side, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((PICTURES, "fog", 1), "no such choice 'fog'; choose from blur"),
        ((PICTURES, "blur", 6), "strength: must be from 1 to 5, received 6"),
        ((PICTURES[..., 0], "blur", 1), "images: must be uint8"),
    ],
)
def test_wrong_requests(arguments, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        corrupt(*arguments)
    with pytest.raises(UsageError, match="seed"):
        corrupt(PICTURES, "blur", 1, seed=-1)


def brightness(images: np.ndarray) -> np.ndarray:
    """Says "bright" of what has a mean above 100."""
    bright = (images.mean(axis=(1, 2, 3)) > 100).astype(np.float32)
    return np.stack([1 - bright, bright], axis=1)


def test_a_model_of_brightness_suffers_from_darkness_alone() -> None:
    images = np.full((6, 20, 20, 1), 30, np.uint8)
    images[3:] = 180
    labels = np.array([0, 0, 0, 1, 1, 1])
    rounds = []
    found = measure_robustness(brightness, images, labels, of=9, seed=2, progress=lambda *at: rounds.append(at))
    assert (found.n, found.of, found.seed, found.tta, found.clean) == (6, 9, 2, "none", 1.0)
    assert found.accuracy["darkness"] == (1.0, 0.5, 0.5, 0.5, 0.5)
    assert found.accuracy["blur"] == found.accuracy["rotation"] == (1.0,) * 5
    assert found.means["darkness"] == pytest.approx(0.6)
    assert found.mean == pytest.approx(np.mean([share for row in found.accuracy.values() for share in row]))
    assert rounds[-1] == (36, 36)
    document = found.to_dict()
    assert document["strengths"] == [1, 2, 3, 4, 5]
    assert document["accuracy"]["darkness"] == [1.0, 0.5, 0.5, 0.5, 0.5]


def test_drawing() -> None:
    np.testing.assert_array_equal(draw(5, None), np.arange(5))
    np.testing.assert_array_equal(draw(5, 9), np.arange(5))
    some = draw(1000, 100, seed=1)
    assert len(set(some.tolist())) == 100
    assert (np.diff(some) > 0).all()
    assert (draw(1000, 100, seed=1) == some).all()
    assert (draw(1000, 100, seed=2) != some).any()
    with pytest.raises(UsageError, match="limit"):
        draw(5, 0)


def test_what_is_no_result_is_refused() -> None:
    row = (0.5,) * 5
    with pytest.raises(UsageError, match="n: must be from 1 to of"):
        Robustness(3, 2, 0, "none", 0.5, {"blur": row})
    with pytest.raises(UsageError, match="5 values"):
        Robustness(2, 2, 0, "none", 0.5, {"blur": row[:4]})
    with pytest.raises(UsageError, match="from 0 to 1"):
        Robustness(2, 2, 0, "none", 1.5, {"blur": row})
    with pytest.raises(UsageError, match="at least one"):
        measure_robustness(brightness, np.empty((0, 8, 8, 1), np.uint8), np.empty(0, np.int64))

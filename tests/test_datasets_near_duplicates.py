"""Nearly identical faces, against correlations that NumPy computes pair by pair."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.datasets import near_duplicates
from mien.datasets.measures import THUMB
from mien.datasets.near_duplicates import near_groups, near_pairs
from mien.errors import MissingExtraError, UsageError
from mien.preprocessing import fit_image


def face(seed: int) -> np.ndarray:
    """A smooth picture of 48x48, as photographs are."""
    noise = np.random.default_rng(seed).normal(0, 1, (48, 48))
    smooth = cv2.GaussianBlur(noise, (0, 0), 5)
    return np.asarray(np.clip(128 + smooth / smooth.std() * 45, 0, 255), np.uint8)


def thumbs_of(images: list[np.ndarray]) -> np.ndarray:
    return np.stack([fit_image(image, THUMB)[..., 0] for image in images])


def listed(pairs: near_duplicates.NearPairs) -> list[list[int]]:
    return sorted(pairs.rows.tolist())


def test_changed_copies_are_found_and_others_are_not():
    one = face(0)
    compressed = cv2.imdecode(cv2.imencode(".jpg", one, [cv2.IMWRITE_JPEG_QUALITY, 20])[1], cv2.IMREAD_GRAYSCALE)
    moved = cv2.resize(one[1:47, 1:47], (48, 48))
    darker = np.asarray(one * 0.5, np.uint8)
    images = [one, face(1), compressed, face(2), moved, darker, one[:, ::-1], face(3), one]
    pairs = near_pairs(thumbs_of(images))
    copies = [0, 2, 4, 5, 6, 8]
    assert listed(pairs) == [[a, b] for i, a in enumerate(copies) for b in copies[i + 1 :]]
    for (one_row, other), flipped in zip(pairs.rows.tolist(), pairs.mirrored.tolist(), strict=True):
        assert flipped == (6 in (one_row, other))
    assert pairs.likeness[0] == pytest.approx(1, abs=1e-6)
    assert (np.diff(pairs.likeness) <= 0).all()


@given(st.integers(0, 1000), st.integers(1, 40), st.floats(0.3, 0.99), st.sampled_from([(3, 5), (1024, 8192)]))
def test_as_numpy_correlates(seed, count, likeness, tile):
    random = np.random.default_rng(seed)
    thumbs = random.integers(0, 256, (count, 3, 3), np.uint8)
    thumbs[: count // 3] = 7  # flat: like nothing
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_duplicates, "TILE", tile)
        pairs = near_pairs(thumbs, likeness=likeness)
    expected = {}
    for a in range(count // 3, count):
        for b in range(a + 1, count):
            both = [np.corrcoef(thumbs[a].ravel(), other.ravel())[0, 1] for other in (thumbs[b], thumbs[b][:, ::-1])]
            if max(both) >= likeness:
                expected[a, b] = both
    near_border = {pair for pair, both in expected.items() if max(both) < likeness + 1e-5}
    found = {tuple(rows) for rows in pairs.rows.tolist()}
    assert set(expected) - near_border <= found
    for (a, b), value, flipped in zip(pairs.rows.tolist(), pairs.likeness, pairs.mirrored, strict=True):
        upright, mirrored = (
            np.corrcoef(thumbs[a].ravel(), other.ravel())[0, 1] for other in (thumbs[b], thumbs[b][:, ::-1])
        )
        assert value == pytest.approx(mirrored if flipped else upright, abs=1e-5)
        assert value >= likeness - 1e-5
        assert not flipped or upright < likeness + 1e-5


def test_nothing_to_compare():
    assert len(near_pairs(np.empty((0, 16, 16), np.uint8))) == 0
    assert len(near_pairs(np.zeros((4, 16, 16), np.uint8))) == 0


@pytest.mark.parametrize("likeness", [0, -1, 1.01, float("nan")])
def test_likeness_out_of_range(likeness):
    with pytest.raises(UsageError, match="likeness: must be above 0"):
        near_pairs(np.zeros((2, 16, 16), np.uint8), likeness=likeness)


def test_groups_join_through_like_and_identical_images():
    pairs = near_duplicates.NearPairs(
        np.array([[0, 1], [2, 4]]), np.array([1, 0.96], np.float32), np.array([False, True])
    )
    groups = near_groups(np.array([5, 3, 3, 8, 9, -1, -1, 8]), pairs)
    members = {tuple(np.flatnonzero(groups == group).tolist()) for group in groups}
    assert members == {(0, 1, 2, 4), (3, 7), (5,), (6,)}


def test_progress():
    seen: list[tuple[int, int]] = []
    near_pairs(thumbs_of([face(0), face(1)]), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(2, 2)]


def test_without_scipy(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "scipy.sparse.csgraph", None)
    with pytest.raises(MissingExtraError, match=r"near-duplicates .*mien\[audit\]"):
        near_duplicates.check_scipy()


def test_what_is_like_one_of_others_is_what_pairs_with_it(monkeypatch):
    random = np.random.default_rng(3)
    others = random.integers(0, 256, (30, 16, 16), np.uint8)
    same, mirrored = others[4], others[7][:, ::-1]
    paler = np.clip(others[9] * 0.8 + 10, 0, 255).astype(np.uint8)
    strange, flat = random.integers(0, 256, (16, 16), np.uint8), np.full((16, 16), 90, np.uint8)
    ones = np.stack([same, strange, mirrored, paler, flat])
    expected = [True, False, True, True, False]
    assert near_duplicates.like_any(ones, others).tolist() == expected
    pairs = near_pairs(np.concatenate([ones, others])).rows
    assert sorted({row for row, other in pairs.tolist() if row < 5 <= other}) == np.flatnonzero(expected).tolist()
    monkeypatch.setattr(near_duplicates, "TILE", (2, 7))
    assert near_duplicates.like_any(ones, others).tolist() == expected
    assert near_duplicates.like_any(ones[:0], others).tolist() == []
    assert near_duplicates.like_any(ones, others[:0]).tolist() == [False] * 5

"""Cutting faces out: squares of the right size and place, whatever the box; turned faces come level."""

import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.faces.detection import Detections
from mien.framing import LARGEST_PADDED, cut_face, cut_faces, roll_angles, square
from mien.preprocessing import InputSpec, fit_image

NUMBERED = np.arange(40 * 60, dtype=np.uint16).reshape(40, 60).astype(np.uint8)


def detections(box, keypoints=None) -> Detections:
    points = np.empty((1, 0, 2), np.float32) if keypoints is None else np.array([keypoints], np.float32)
    return Detections(np.array([box], np.float32), np.ones(1, np.float32), points)


def test_the_square_is_as_large_as_the_larger_side_and_widened_on_each_side():
    assert square((10, 20, 30, 60), 0.0) == (20, 40, 40)
    assert square((10, 20, 30, 60), 0.25) == (20, 40, 60)


def test_inside_it_is_a_part_of_the_picture():
    np.testing.assert_array_equal(cut_face(NUMBERED, (10, 5, 30, 25), 0.0), NUMBERED[5:25, 10:30])
    np.testing.assert_array_equal(cut_face(NUMBERED, (15, 10, 25, 20), 0.5), NUMBERED[5:25, 10:30])


def test_past_the_edge_the_edge_is_repeated():
    cut = cut_face(NUMBERED, (-5, -5, 5, 5), 0.0)
    assert (cut[:6, :6] == NUMBERED[0, 0]).all()
    np.testing.assert_array_equal(cut[5:, 5:], NUMBERED[:5, :5])


coordinates = st.floats(-200, 200, width=32)


@given(x=coordinates, y=coordinates, width=st.floats(0.25, 150), height=st.floats(0.25, 150), margin=st.floats(0, 1))
def test_any_box_gives_a_square(x, y, width, height, margin):
    box = (x, y, x + width, y + height)
    cut = cut_face(NUMBERED, box, margin)
    side = max(1, round(square(box, margin)[2]))
    assert cut.shape == (side, side)
    turned = cut_face(np.dstack([NUMBERED] * 3), box, margin, 30.0)
    assert turned.shape == (side, side, 3)


def portrait() -> np.ndarray:
    """A face of sorts, upright: bright, with two dark eyes and a mouth; (200, 200)."""
    image = np.full((200, 200), 90, np.uint8)
    cv2.ellipse(image, (100, 100), (50, 65), 0, 0, 360, 220, -1)
    for x in (80, 120):
        cv2.circle(image, (x, 85), 7, 20, -1)
    cv2.rectangle(image, (85, 130), (115, 138), 40, -1)
    return cv2.GaussianBlur(image, (5, 5), 0)


EYES = np.array([[80, 85], [120, 85]], np.float32)


@pytest.mark.parametrize("angle", [-40, -15, 10, 35])
def test_a_turned_face_comes_level(angle):
    upright = portrait()
    turn = cv2.getRotationMatrix2D((100, 100), -angle, 1.0)  # clockwise by `angle`
    turned = cv2.warpAffine(upright, turn, (200, 200), borderMode=cv2.BORDER_REPLICATE)
    eyes = EYES @ turn[:, :2].T + turn[:, 2]
    keypoints = np.vstack([eyes, eyes.mean(0)[None], eyes])
    faces = detections((40, 40, 160, 160), keypoints)
    assert roll_angles(faces.keypoints)[0] == pytest.approx(angle, abs=0.01)
    spec = InputSpec(48, 1)
    expected = cut_faces(upright, detections((40, 40, 160, 160)), spec, margin=0.0).astype(float)
    aligned = cut_faces(turned, faces, spec, margin=0.0, align=True)
    left_alone = cut_faces(turned, faces, spec, margin=0.0)
    assert np.abs(aligned - expected).mean() < 4
    assert np.abs(left_alone - expected).mean() > 2 * np.abs(aligned - expected).mean()


@pytest.mark.parametrize("angle", [0.0, 30.0])
@pytest.mark.parametrize("box", [(-60, 20, 140, 180), (100, 90, 260, 300), (10, 10, 190, 600)])
def test_a_large_square_past_the_edge_is_made_smaller_and_stays_in_place(monkeypatch, box, angle):
    image, spec = np.dstack([portrait()] * 3), InputSpec(48, 1)
    whole = fit_image(cut_face(image, box, 0.1, angle), spec).astype(float)
    monkeypatch.setattr("mien.framing.LARGEST_PADDED", 96)
    smaller = cut_face(image, box, 0.1, angle)
    assert smaller.shape[0] == smaller.shape[1] <= 96
    assert np.abs(fit_image(smaller, spec) - whole).mean() < 3


@pytest.mark.parametrize("angle", [0.0, 30.0])
def test_a_box_of_a_thin_picture_takes_little_memory(angle):
    thin = np.repeat(np.arange(20_000) // 100, 2).astype(np.uint8)[None]
    tracemalloc.start()
    cut = cut_face(thin, (0, 0, 40_000, 1), 0.0, angle)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(cut) <= LARGEST_PADDED
    assert peak < 2 * LARGEST_PADDED**2
    assert cut_face(thin[..., None], (0, 0, 40_000, 1), 0.0).shape == (LARGEST_PADDED, LARGEST_PADDED, 1)


def test_no_face_gives_an_empty_batch():
    assert cut_faces(NUMBERED, Detections.none(), InputSpec(48, 3), align=True).shape == (0, 48, 48, 3)


def test_without_keypoints_nothing_is_turned():
    assert roll_angles(np.empty((3, 0, 2), np.float32)).tolist() == [0, 0, 0]

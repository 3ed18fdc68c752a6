"""Training images as cameras and codecs leave them: against OpenCV, and inside the training step."""

import os
import subprocess
import sys

import cv2
import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien import degradation
from mien.augmentation import preview
from mien.config import AUGMENTATIONS, AugmentationPolicy
from mien.datasets.samples import sample_faces
from mien.degradation import KINDS, RandomDegradation, blurring, both_axes, compressed, reducing, spoil
from processes import QUICK_XLA


@pytest.fixture(scope="module")
def faces():
    return sample_faces(8, seed=3)[0].astype(np.float32) / 255


def numpy(values):
    return keras.ops.convert_to_numpy(values)


def strengths(value, count=8):
    return np.full(count, value, np.float32)


def test_blur_is_opencvs(faces):
    sigma = 1.7
    matrix = blurring(strengths(sigma), 48)
    blurred = numpy(both_axes(matrix, faces, matrix))
    edge = 8  # where OpenCV repeats the edge and the matrix weighs what is there
    for face, found in zip(faces, blurred, strict=True):
        expected = cv2.GaussianBlur(face[..., 0], (31, 31), sigma)
        np.testing.assert_allclose(found[edge:-edge, edge:-edge, 0], expected[edge:-edge, edge:-edge], atol=2e-3)


@pytest.mark.parametrize("small", [10, 29, 36, 48])
def test_low_resolution_is_opencvs(faces, small):
    matrix = reducing(strengths(small / 48), 48)
    found = numpy(both_axes(matrix, faces, matrix))
    for face, picture in zip(faces, found, strict=True):
        reduced = cv2.resize(face[..., 0], (small, small), interpolation=cv2.INTER_AREA)
        expected = cv2.resize(reduced, (48, 48), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(picture[..., 0], expected, atol=2e-3)


@pytest.mark.parametrize("quality", [10, 30, 60])
def test_compression_is_opencvs(faces, quality):
    found = numpy(compressed(faces, strengths(quality)))
    for face, picture in zip(faces, found, strict=True):
        _, encoded = cv2.imencode(".jpg", np.uint8(np.rint(face * 255)), [cv2.IMWRITE_JPEG_QUALITY, quality])
        expected = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE) / 255
        apart = np.abs(np.clip(picture[..., 0], 0, 1) - expected)
        assert apart.mean() < 0.003  # under one grey level
        assert apart.mean() < 0.2 * np.abs(face[..., 0] - expected).mean()


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(16, 60),
    width=st.integers(16, 60),
    strength=st.floats(0, 1, width=32),
    channels=st.sampled_from([1, 3]),
)
def test_every_kind_keeps_a_flat_picture_and_the_range(height, width, strength, channels):
    flat = np.full((5, height, width, channels), 0.5, np.float32)
    kinds = np.arange(5, dtype=np.float32)
    noise = np.zeros_like(flat)
    found = numpy(spoil(flat, kinds, strengths(strength, 5), noise))
    np.testing.assert_allclose(found[:4], 0.5, atol=5e-3)
    np.testing.assert_allclose(found[4], 0.5 * (1 - strength * (1 - degradation.LEAST_LIGHT)), atol=1e-5)
    drawn = np.random.default_rng(0).random((5, height, width, channels), np.float32)
    found = numpy(spoil(drawn, kinds, strengths(strength, 5), np.ones_like(drawn)))
    assert found.shape == drawn.shape
    assert np.isfinite(found).all()
    assert found.min() >= 0
    assert found.max() <= 1


def test_each_image_has_its_own_kind_and_strength(faces):
    kinds = np.array([0, 1, 2, 3, 4, 5, 7, 0], np.float32)
    strength = np.array([0.9] * 7 + [0.0], np.float32)
    noise = np.random.default_rng(1).standard_normal(faces.shape, np.float32)
    found = numpy(spoil(faces, kinds, strength, noise))
    np.testing.assert_array_equal(found[5:7], faces[5:7])  # places beyond the kinds
    np.testing.assert_allclose(found[7], faces[7], atol=1e-6)  # no strength
    for place in range(5):
        assert np.abs(found[place] - faces[place]).mean() > 0.01
        alone = numpy(spoil(faces[place : place + 1], kinds[place : place + 1], strength[:1], noise[place : place + 1]))
        np.testing.assert_allclose(found[place], alone[0], atol=1e-5)


def test_the_share_is_spoilt_while_training_alone():
    images = np.tile(np.linspace(0, 1, 48, dtype=np.float32)[:, None, None], (2000, 1, 48, 1))
    layer = RandomDegradation(0.3, seed=4)
    assert layer(images, training=False) is images or np.array_equal(numpy(layer(images)), images)
    changed = np.abs(numpy(layer(images, training=True)) - images).max(axis=(1, 2, 3)) > 1e-4
    assert 0.24 < changed.mean() < 0.34  # three standard errors; the mildest change nothing
    assert len(KINDS) == 5


def test_preview_shows_what_robust_does():
    faces = sample_faces(40, seed=2)[0]
    policy = AugmentationPolicy(degrade=1.0)
    shown = preview(faces, seed=1, policy=policy)
    assert shown.dtype == np.uint8
    assert (np.abs(shown.astype(int) - faces).max(axis=(1, 2, 3)) > 2).mean() > 0.8
    np.testing.assert_array_equal(shown, preview(faces, seed=1, policy=policy))
    assert AUGMENTATIONS["robust"].degrade == 0.5


OTHER_BACKEND = """
import keras, numpy as np
from mien.degradation import RandomDegradation, spoil
given = np.load(r"{given}")
np.save(r"{found}", keras.ops.convert_to_numpy(spoil(*(keras.ops.convert_to_tensor(given[n]) for n in given.files))))
assert RandomDegradation(1.0)(given["images"], training=True).shape == given["images"].shape
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["jax", "torch"])
def test_other_backends_do_the_same(faces, name, tmp_path):
    pytest.importorskip(name, exc_type=ImportError)
    noise = np.random.default_rng(1).standard_normal(faces.shape, np.float32)
    given = {"images": faces, "kind": np.arange(8, dtype=np.float32), "strength": strengths(0.6), "noise": noise}
    np.savez(tmp_path / "given.npz", **given)
    code = OTHER_BACKEND.format(given=tmp_path / "given.npz", found=tmp_path / "found.npy")
    environment = {**os.environ, "KERAS_BACKEND": name, "XLA_FLAGS": QUICK_XLA}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), numpy(spoil(**given)), atol=1e-4)

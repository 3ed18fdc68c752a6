"""Streaming gives what loading gives, in an order that follows from seed and epoch."""

import sys

import cv2
import numpy as np
import pytest

from mien.datasets import convert, open_dataset
from mien.datasets.streaming import check_images, epoch_batches, in_parts, should_stream, survey
from mien.errors import DataError, MissingExtraError, UsageError
from mien.preprocessing import InputSpec

SPEC = InputSpec(16, 3)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def root(tmp_path):
    """Fifty colour pictures of two classes; the last two of each are alike."""
    for number in range(50):
        path = tmp_path / "data" / ("cat" if number % 2 else "dog") / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = np.random.default_rng(min(number, 47 - (number + 1) % 2)).integers(0, 256, (20, 24, 3), np.uint8)
        assert cv2.imwrite(str(path), image)
    return tmp_path / "data"


def epoch(dataset, **options):
    pytest.importorskip("grain", exc_type=ImportError)
    batches = list(epoch_batches(dataset, SPEC, **{"batch_size": 8, **options}))
    return np.concatenate([images for images, _ in batches]), np.concatenate([labels for _, labels in batches])


def test_in_order_it_is_what_loading_gives(root):
    dataset = open_dataset(root)
    faces = dataset.load(SPEC)
    images, labels = epoch(dataset, shuffle=False)
    np.testing.assert_array_equal(images, faces.images)
    np.testing.assert_array_equal(labels, faces.labels)
    assert (images.dtype, labels.dtype) == (np.uint8, np.int64)


def test_shuffled_it_is_the_same_faces_once_each(root):
    dataset = open_dataset(root)
    images, labels = epoch(dataset, seed=1, epoch=2)
    faces = dataset.load(SPEC)
    assert sorted(image.tobytes() for image in images) == sorted(image.tobytes() for image in faces.images)
    of = {image.tobytes(): label for image, label in zip(faces.images, faces.labels, strict=True)}
    assert [of[image.tobytes()] for image in images] == labels.tolist()


def test_the_order_follows_from_seed_and_epoch(root):
    dataset = open_dataset(root)
    orders = {key: epoch(dataset, seed=key[0], epoch=key[1])[0].tobytes() for key in ((0, 0), (0, 1), (1, 0))}
    assert len(set(orders.values())) == 3
    assert epoch(dataset, seed=0, epoch=1)[0].tobytes() == orders[0, 1]


def test_the_last_batch_is_smaller_or_left_out(root):
    pytest.importorskip("grain", exc_type=ImportError)
    dataset = open_dataset(root)
    assert [len(labels) for _, labels in epoch_batches(dataset, SPEC, batch_size=16)] == [16, 16, 16, 2]
    whole = epoch_batches(dataset, SPEC, batch_size=16, drop_remainder=True)
    assert [len(labels) for _, labels in whole] == [16, 16, 16]
    assert list(epoch_batches(dataset.take([]), SPEC, batch_size=4)) == []


def test_a_bad_image_is_named(root):
    (root / "cat" / "01.png").write_bytes(b"rubbish")
    with pytest.raises(DataError, match=r"cat/01\.png"):
        epoch(open_dataset(root))


@pytest.mark.parametrize("bad", [range(1, 5, 2), range(44, 50)])
def test_a_part_without_a_face_is_skipped_and_not_the_whole(root, bad):
    files = sorted(root.rglob("*.png"))
    for number in bad:
        files[number].write_bytes(b"rubbish")
    dataset, limit = open_dataset(root), {"limit_bytes": 6 * 16 * 16 * 3}
    parts = list(in_parts(dataset, SPEC, skip_bad=True, **limit))
    assert sum(len(part) for part in parts) == 50 - len(bad)
    assert [name for part in parts for name in part.skipped] == list(dataset.load(SPEC, skip_bad=True).skipped)
    with pytest.raises(DataError, match=r"of 50 faces cannot be used \(skip_bad=True or --skip-bad goes on"):
        list(in_parts(dataset, SPEC, **limit))


def test_parts_that_are_all_without_a_face_are_refused(root):
    for file in root.rglob("*.png"):
        file.write_bytes(b"rubbish")
    with pytest.raises(DataError, match="no face can be used") as caught:
        list(in_parts(open_dataset(root), SPEC, skip_bad=True, limit_bytes=6 * 16 * 16 * 3))
    assert len(caught.value.items) == 50


def test_what_cannot_be_streamed_is_refused(root, tmp_path):
    convert(root, tmp_path / "faces.npz", size=16)
    with pytest.raises(UsageError, match="npz cannot be streamed"):
        epoch_batches(open_dataset(tmp_path / "faces.npz"), SPEC, batch_size=4)


@pytest.mark.parametrize(
    ("options", "message"), [({"batch_size": 0}, "batch_size"), ({"seed": -1}, "seed"), ({"epoch": -1}, "epoch")]
)
def test_arguments_out_of_range(root, options, message):
    with pytest.raises(UsageError, match=f"{message}: must be at least"):
        epoch_batches(open_dataset(root), SPEC, **{"batch_size": 4, **options})


def test_without_grain_the_extra_is_named(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "grain", None)
    with pytest.raises(MissingExtraError, match=r"grain.*pip install 'mien\[train\]'"):
        epoch_batches(open_dataset(root), SPEC, batch_size=4)


def test_large_folders_are_streamed(root, tmp_path):
    dataset = open_dataset(root)
    convert(root, tmp_path / "faces.npz", size=16)
    assert not should_stream(dataset, SPEC)
    assert should_stream(dataset, SPEC, limit_bytes=50 * 16 * 16 * 3 - 1)
    assert not should_stream(dataset, SPEC, limit_bytes=50 * 16 * 16 * 3)
    assert not should_stream(open_dataset(tmp_path / "faces.npz"), SPEC, limit_bytes=1)


def test_a_survey_finds_bad_and_identical_images(root):
    (root / "cat" / "01.png").write_bytes(b"rubbish")
    cv2.imwrite(str(root / "cat" / "03.png"), np.full((8, 9), 5, np.uint8))
    dataset = open_dataset(root)
    found = survey(dataset)
    assert found.bad == ("cat/01.png (cannot be decoded as an image)",)
    assert len(found.usable) == 49
    assert found.groups[0] == -1
    assert found.sizes() == {"24x20 colour": 48, "9x8 grey": 1}
    by_name = dict(zip(dataset.names.tolist(), found.groups.tolist(), strict=True))
    assert by_name["cat/47.png"] == by_name["cat/49.png"]
    assert by_name["dog/46.png"] == by_name["dog/48.png"]
    assert len(set(by_name.values())) == 48


def test_a_survey_is_made_once(root, monkeypatch):
    first = survey(open_dataset(root))
    monkeypatch.setattr("mien.datasets.streaming._read_all", None)
    again = survey(open_dataset(root))
    np.testing.assert_array_equal(again.groups, first.groups)
    assert again.sizes() == first.sizes()


def test_checking_before_training(root):
    dataset = open_dataset(root)
    assert check_images(dataset)[0] is dataset
    (root / "cat" / "01.png").write_bytes(b"rubbish")
    dataset = open_dataset(root)
    with pytest.raises(DataError, match=r"1 of 50 faces cannot be used .*cat/01\.png"):
        check_images(dataset)
    usable, groups, skipped = check_images(dataset, skip_bad=True)
    assert groups.shape == (len(usable),)
    assert (len(usable), len(skipped)) == (49, 1)
    assert epoch(usable)[0].shape == (49, 16, 16, 3)


def test_a_zip_is_streamed_too(root, tmp_path):
    import shutil

    path = shutil.make_archive(str(tmp_path / "faces"), "zip", root)
    images, _ = epoch(open_dataset(path), shuffle=False)
    np.testing.assert_array_equal(images, epoch(open_dataset(root), shuffle=False)[0])

"""Identical images, and splits that keep them together."""

import shutil
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.config import TrainingConfig
from mien.datasets import Faces, holdout, open_dataset
from mien.datasets.duplicates import count_duplicates, holdout_groups, pixel_digests, pixel_groups, repeated_rows
from mien.errors import UsageError
from mien.materials import Selection, gather
from pictures import write_patterns

LABELS = st.lists(st.tuples(st.integers(-1, 3), st.integers(0, 30)), min_size=2, max_size=80)


def faces_of(images: np.ndarray, labels: np.ndarray) -> Faces:
    count = len(labels)
    return Faces(images, labels, np.full(count, "train"), np.arange(count).astype(np.str_), ("a", "b", "c", "d"))


def test_equal_pixels_have_equal_numbers():
    images = np.zeros((5, 8, 8, 1), np.uint8)
    images[1, 0, 0] = images[3, 0, 0] = 1
    images[4, 7, 7] = 1
    assert pixel_groups(images).tolist() == [0, 1, 0, 1, 2]


def test_digests_are_equal_where_pixels_are():
    images = np.random.default_rng(0).integers(0, 2, (2000, 2, 2, 1), np.uint8)  # 16 pictures, many times
    digests, groups = pixel_digests(images), pixel_groups(images)
    for digest in np.unique(digests):
        assert len(np.unique(groups[digests == digest])) == 1
    assert len(np.unique(digests)) == len(np.unique(groups)) == 16
    assert pixel_digests(images[:0]).shape == (0,)


def test_rows_that_stand_in_another_split():
    groups = np.array([0, 0, 1, 1, 2, 3, 3, 4])
    splits = np.array(["train", "public", "train", "private", "train", "train", "train", "test"])
    assert repeated_rows(groups, splits, "train", "test").tolist() == [True, False, True, *[False] * 5]
    assert repeated_rows(groups, splits, "train", "public").tolist() == [True, *[False] * 7]
    assert repeated_rows(groups, splits, "public", "train").tolist() == [False, True, *[False] * 6]
    with pytest.raises(UsageError, match="no 'val'"):
        repeated_rows(groups, splits, "train", "val")


@pytest.mark.parametrize("streaming", [False, True])
def test_training_without_what_stands_in_a_test_split(tmp_path, streaming):
    if streaming:
        pytest.importorskip("grain", exc_type=ImportError)
    data = write_patterns(tmp_path / "data", train=6, test=2)
    happy, sad = data / "test" / "happy", data / "test" / "sad"
    tests = sorted([*happy.glob("PublicTest*"), *sad.glob("PrivateTest*")])
    shutil.copy(tests[0], data / "train" / "happy" / "Training_900.png")
    shutil.copy(tests[0], data / "train" / "fear" / "Training_901.png")  # of another class
    shutil.copy(tests[-1], data / "train" / "sad" / "Training_902.png")
    twin = next((data / "train" / "sad").glob("Training_*.png"))
    shutil.copy(twin, data / "train" / "sad" / "Training_903.png")  # twice in Training alone: stays
    config = TrainingConfig(validation_fraction=0)
    whole, without = (
        gather(open_dataset(data), config, Selection(streaming=streaming, without_duplicates=wanted))
        for wanted in (False, True)
    )
    assert (whole.facts["n_train"], whole.facts["duplicates_left_out"]) == (46, None)
    assert (without.facts["n_train"], without.facts["duplicates_left_out"]) == (43, 3)
    assert whole.facts["counts"] == without.facts["counts"]  # of the data as it is
    assert whole.facts["sha256"] != without.facts["sha256"]
    assert len(without.source.labels) == 43
    assert sum(len(part) for part in without.tests()) == 28
    assert without.validation is None


def test_without_a_test_split_there_is_nothing_to_leave_out(tmp_path):
    data = write_patterns(tmp_path / "data", train=4, test=1)
    shutil.rmtree(data / "test")
    with pytest.raises(UsageError, match="without_duplicates: needs a test split"):
        gather(open_dataset(data), TrainingConfig(), Selection(without_duplicates=True))


def test_counting():
    report = count_duplicates(
        groups=np.array([0, 0, 0, 1, 2, 2, 3, 3]),
        labels=np.array([0, 0, 1, 0, 1, 1, 2, -1]),
        splits=np.array(["train", "train", "public", "public", "train", "val", "public", "private"]),
    )
    assert (report.groups, report.surplus, report.conflicting) == (3, 4, 1)
    assert report.across == {"public in train": 1, "val in train": 1, "public in private": 1}


def test_counting_nothing():
    report = count_duplicates(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.str_))
    assert (report.groups, report.surplus, report.conflicting, report.across) == (0, 0, 0, {})


def test_holdout_is_stratified_and_repeatable():
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), [1000, 500, 100, 10])
    faces = faces_of(random.integers(0, 256, (len(labels), 8, 8, 1), np.uint8), labels)
    train, validation = holdout(faces, fraction=0.2, seed=3)
    assert np.bincount(labels[validation]).tolist() == [200, 100, 20, 2]
    assert sorted([*train, *validation]) == list(range(len(labels)))
    np.testing.assert_array_equal(validation, holdout(faces, fraction=0.2, seed=3)[1])
    assert not np.array_equal(validation, holdout(faces, fraction=0.2, seed=4)[1])


@given(LABELS, st.floats(0.01, 0.99), st.integers(0, 5))
def test_no_group_stands_on_both_sides(rows, fraction, seed):
    labels, groups = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    label_of_group: dict[int, int] = {}
    for label, group in rows:
        if label >= 0:
            label_of_group.setdefault(group, label)
    if len(label_of_group) == len(set(label_of_group.values())):  # no class has two groups
        with pytest.raises(UsageError, match="too few faces"):
            holdout_groups(labels, groups, fraction=fraction, seed=seed)
        return
    train, validation = holdout_groups(labels, groups, fraction=fraction, seed=seed)
    assert not set(groups[train]) & set(groups[validation])
    assert sorted([*train, *validation]) == np.flatnonzero(labels >= 0).tolist()
    assert len(train)
    assert len(validation)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 2, float("nan")])
def test_a_fraction_out_of_range(fraction):
    with pytest.raises(UsageError, match="fraction: must be above 0 and below 1"):
        holdout_groups(np.array([0, 0]), np.array([0, 1]), fraction=fraction)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_faces(count):
    with pytest.raises(UsageError, match="too few faces"):
        holdout_groups(np.zeros(count, np.int64), np.arange(count))


def test_as_many_as_fer2013_in_under_two_seconds():
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (28_709, 48, 48, 1), np.uint8)
    images[1000:2500] = images[5000:6500]
    faces = faces_of(images, random.integers(0, 4, 28_709))
    start = time.process_time()
    train, validation = holdout(faces)
    assert time.process_time() - start < 2
    assert abs(len(validation) / len(images) - 0.1) < 0.001
    assert not set(pixel_groups(images)[train]) & set(pixel_groups(images)[validation])

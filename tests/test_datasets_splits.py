"""Which names stand for a split, alone and side by side."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.datasets.splits import (
    FOLDER_NAMES,
    SPLITS,
    USAGES,
    folder_split,
    folder_splits,
    long_split,
    path_split,
    table_split,
    word_split,
)

NAMES = st.sampled_from([*FOLDER_NAMES, "dev", "Eval", "train_set", "Test-Images", "val data", "happy", "1", "dataset"])


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *(("Train_Set", "train"), ("train-images", "train"), ("TRAINDATA", "train"), ("training data", "train")),
        *(("val_set", "val"), ("DEV", "val"), ("eval", "val"), ("evaluation_images", "val"), ("dev-set", "val")),
        *(("test_set", "test"), ("PrivateTest_images", "private"), ("public", "public")),
        *(("dataset", None), ("images", None), ("trainer", None), ("my_train", None), ("", None), ("set", None)),
    ],
)
def test_long_names(name, split):
    assert long_split(name) == split


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["train", "dev", "test"], {"train": "train", "dev": "val", "test": "test"}),
        (["train_set", "test_set"], {"train_set": "train", "test_set": "test"}),
        (["Train-Images", "Val-Images", "Test"], {"Test": "test", "Train-Images": "train", "Val-Images": "val"}),
        (["val", "valid"], {"val": "val", "valid": "val"}),  # as ever
        (["test_data"], {}),  # one alone may be anything
        (["dev", "eval"], {}),  # two of one split
        (["dev", "happy"], {}),
        (["train", "train_set", "test"], {"train": "train", "test": "test"}),
    ],
)
def test_folders_side_by_side(names, splits):
    assert folder_splits(names) == splits


@given(st.lists(NAMES, unique=True, max_size=5))
def test_plain_names_always_count_and_every_split_is_one(names):
    found = folder_splits(names)
    assert set(found) <= set(names)
    assert set(found.values()) <= set(SPLITS)
    assert {name: folder_split(name) for name in names if folder_split(name)}.items() <= found.items()
    assert folder_splits(reversed(names)) == found


@given(st.sampled_from([*USAGES]), st.sampled_from([str.lower, str.upper, str.title, lambda word: f" {word} "]))
def test_usages_in_any_case(word, change):
    assert word_split(change(word)) == USAGES[word]


@pytest.mark.parametrize(
    ("stem", "split"),
    [
        *(("train_labels", "train"), ("labels-VAL", "val"), ("training", "train"), ("Manually_training", "train")),
        *(("dev", "val"), ("test.full.list", "test"), ("labels", None), ("test_of_train", None), ("a_test_b", None)),
    ],
)
def test_table_names(stem, split):
    assert table_split(stem) == split


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *(("a/train/1.png", "train"), ("eval_set/1/2.png", "val"), ("test_data/train/1.png", "train")),
        *(("test/PrivateTest_1.png", "private"), ("Training_1.png", "train"), ("train/test/1.png", "train")),
        ("x/PublicTest_1.png", "public"),
    ],
)
def test_paths(name, split):
    assert path_split(name) == split

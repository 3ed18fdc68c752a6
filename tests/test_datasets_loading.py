"""Faces in memory, the cache behind them, and `load_data`."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.datasets import Faces, load_data, open_dataset
from mien.datasets.cache import cache_bytes, cache_folder, keep, recall
from mien.datasets.duplicates import count_duplicates, pixel_groups
from mien.errors import DataError, UsageError
from mien.labels import EXPRESSIONS
from mien.preprocessing import InputSpec


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("MIEN_CACHE", str(folder))
    return folder


@pytest.fixture
def root(tmp_path):
    """Three training faces and one public of each expression."""
    random = np.random.default_rng(0)
    for name in EXPRESSIONS:
        for file in (*(f"train/{name}/Training_{number}.png" for number in range(3)), f"test/{name}/PublicTest_0.png"):
            path = tmp_path / "FER2013" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), random.integers(0, 256, (48, 48), np.uint8))
    return tmp_path / "FER2013"


def forbid_decoding(monkeypatch):
    monkeypatch.setattr("mien.datasets.dataset.load_pixels", None)


def test_pixels_are_those_of_the_files(root):
    faces = open_dataset(root).load()
    assert faces.images.dtype == np.uint8
    for name, image in zip(faces.names, faces.images, strict=True):
        np.testing.assert_array_equal(image[..., 0], cv2.imread(str(root / name), cv2.IMREAD_GRAYSCALE))


def test_progress_ends_at_the_whole(root):
    calls: list[tuple[int, int]] = []
    open_dataset(root).load(progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (28, 28)
    assert calls == sorted(calls)


def test_the_second_load_decodes_nothing(root, monkeypatch):
    first = open_dataset(root).load()
    forbid_decoding(monkeypatch)
    again = open_dataset(root).load()
    assert again.digest() == first.digest()
    again.images[0] = 0  # the cache itself is out of reach
    assert open_dataset(root).load().digest() == first.digest()


def test_parts_are_read_from_the_cache_of_the_whole(root, monkeypatch):
    (root / "test" / "happy" / "PublicTest_1.png").write_bytes(b"rubbish")
    whole = open_dataset(root).load(skip_bad=True)
    forbid_decoding(monkeypatch)
    dataset = open_dataset(root)
    public = dataset.select("public").load(skip_bad=True)
    assert public.digest() == whole.select("public").digest()
    assert public.skipped == ("test/happy/PublicTest_1.png (cannot be decoded as an image)",)
    train = dataset.select("train")
    np.testing.assert_array_equal(train.take([5, 2]).load().images, whole.select("train").images[[5, 2]])


@pytest.mark.parametrize("change", ["touch", "add", "remove", "other"])
def test_the_cache_knows_when_the_folder_changed(root, change):
    dataset = open_dataset(root)
    before = dataset.load()
    path = root / "train" / "happy" / "Training_0.png"
    image = np.full((48, 48), 77, np.uint8)
    if change == "touch":  # as large as before
        size = path.stat().st_size
        cv2.imwrite(str(path), image)
        path.write_bytes(path.read_bytes().ljust(size, b"\0"))
        os.utime(path, ns=(1, 1))
    elif change == "remove":
        path.unlink()
    else:
        cv2.imwrite(str(path if change == "other" else path.with_name("Training_9.png")), image)
    after = open_dataset(root).load()
    assert after.digest() == open_dataset(root).load(cache=False).digest() != before.digest()


def test_another_size_has_a_cache_of_its_own(root):
    dataset = open_dataset(root)
    assert dataset.load(InputSpec(32, 3)).images.shape == (28, 32, 32, 3)
    assert dataset.load(InputSpec(32, 1)).images.shape == (28, 32, 32, 1)
    assert dataset.load(InputSpec(32, 3)).images.shape == (28, 32, 32, 3)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("damage", ["flip", "cut", "rubbish", "empty", "gone"])
def test_a_damaged_cache_is_made_again(root, cache, suffix, damage):
    expected = open_dataset(root).load().digest()
    (path,) = cache.rglob(f"*{suffix}")
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 0xFF
    changed = {"cut": data[: len(data) // 2], "rubbish": b"rubbish", "empty": b""}.get(damage, data)
    path.unlink()
    if damage != "gone":
        path.write_bytes(changed)
    for _ in range(2):
        assert open_dataset(root).load().digest() == expected


def test_a_cache_that_cannot_be_written_is_no_matter(root, cache, monkeypatch):
    blocked = cache / "file"
    blocked.write_text("no folder")
    monkeypatch.setenv("MIEN_CACHE", str(blocked))
    assert len(open_dataset(root).load()) == 28
    assert blocked.read_text() == "no folder"


def test_no_cache_leaves_no_file(root, cache):
    open_dataset(root, cache=False).load(cache=False)
    assert list(cache.rglob("*")) == []
    assert cache_bytes() == 0


def test_a_dataset_replaces_its_own_cache_file(root, cache):
    for value in range(3):
        cv2.imwrite(str(root / "train" / "happy" / "Training_0.png"), np.full((48, 48), value, np.uint8))
        os.utime(root / "train" / "happy" / "Training_0.png", ns=(value, value))
        open_dataset(root).load()
    assert len([path for path in cache.rglob("*") if path.is_file()]) == 2
    assert cache_bytes() > 28 * 48 * 48


def test_recall_wants_the_same_fingerprint(tmp_path):
    keep(tmp_path, "purpose", "one", {"numbers": np.arange(3)})
    assert recall(tmp_path, "purpose", "two") is None
    assert recall(tmp_path, "other", "one") is None
    stored = recall(tmp_path, "purpose", "one")
    assert stored is not None
    np.testing.assert_array_equal(stored["numbers"], np.arange(3))


def test_the_platform_decides_where_no_variable_does(monkeypatch):
    monkeypatch.delenv("MIEN_CACHE")
    assert cache_folder().parts[-1].lower() in ("mien", "cache")
    monkeypatch.setenv("MIEN_CACHE", "elsewhere")
    assert cache_folder() == Path("elsewhere")


def some_faces() -> Faces:
    return Faces(
        images=np.arange(4 * 64, dtype=np.uint8).reshape(4, 8, 8, 1),
        labels=np.array([0, 1, -1, 1]),
        splits=np.array(["train", "train", "public", "private"]),
        names=np.array(["a", "b", "c", "d"]),
        classes=("cat", "dog"),
    )


def test_faces_are_selected_taken_and_counted():
    faces = some_faces()
    assert faces.select("test").names.tolist() == ["c", "d"]
    assert faces.take([3, 0]).names.tolist() == ["d", "a"]
    assert faces.labelled().names.tolist() == ["a", "b", "d"]
    assert faces.counts() == {
        "train": {"cat": 1, "dog": 1},
        "public": {"cat": 0, "dog": 0},
        "private": {"cat": 0, "dog": 1},
    }
    assert len(faces.take([])) == 0
    with pytest.raises(UsageError, match="choose from train, public, private, test, all"):
        faces.select("val")


def test_the_digest_follows_pixels_and_labels_only():
    faces = some_faces()
    assert faces.digest() == some_faces().digest() != faces.take([0, 1]).digest()
    assert faces.take([1, 0, 2, 3]).digest() != faces.digest()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.array([0, 1, 2, 1])}, "labels without a name"),
        ({"labels": np.array([0, 1, -2, 1])}, "labels without a name"),
        ({"labels": np.array([0])}, "differ in length"),
        ({"images": np.zeros((4, 8, 8), np.uint8)}, "images must be uint8"),
    ],
)
def test_faces_that_do_not_hold_together_cannot_be_built(change, message):
    with pytest.raises(DataError, match=message):
        Faces(**{**vars(some_faces()), **change})


def test_load_data_gives_the_four_arrays(root):
    x_train, y_train, x_test, y_test = data = load_data(root)
    assert (x_train.shape, x_test.shape) == ((21, 48, 48, 1), (7, 48, 48, 1))
    assert (x_train.dtype, y_train.dtype) == (np.float32, np.int64)
    assert x_train.min() == 0
    assert x_train.max() == 1
    assert data.classes == EXPRESSIONS
    assert data.skipped == ()
    assert data.y_test is y_test
    assert sorted(y_test.tolist()) == list(range(7))
    np.testing.assert_array_equal(x_test, open_dataset(root).load().select("test").images * np.float32(1 / 255))


def test_load_data_in_another_size_and_colour(root):
    assert load_data(str(root), size=32, channels=3).x_train.shape == (21, 32, 32, 3)


def test_seven_classes_of_other_names_are_told_as_fit_would_not_notice(root):
    for split in ("train", "test"):
        for number, name in enumerate(EXPRESSIONS):
            (root / split / name).rename(root / split / f"class{number}")
    with pytest.warns(UserWarning, match=r"the classes are class0, .*: give mien\.fit classes=data\.classes"):
        data = load_data(root)
    assert data.classes == tuple(f"class{number}" for number in range(7))


def test_load_data_leaves_validation_apart(root):
    (root / "train" / "happy").rename(root / "moved")
    (root / "val").mkdir()
    (root / "moved").rename(root / "val" / "happy")
    assert len(load_data(root).x_train) == 18


def test_load_data_needs_a_test_split(root):
    message = (
        r"^the data has no 'test' images \(a folder test/, or Usage PublicTest or PrivateTest\); it has train; "
        r"mien\.datasets\.holdout sets a part aside"
    )
    with pytest.raises(UsageError, match=message):
        load_data(root / "train")


def test_load_data_needs_a_training_split(root):
    message = r"^the data has no 'train' images \(a folder train/, or Usage Training\); it has public, test$"
    with pytest.raises(UsageError, match=message):
        load_data(root / "test")


def test_a_missing_half_is_named_before_any_image_is_read(root, monkeypatch):
    monkeypatch.setattr("mien.datasets.seed.with_faces", None)
    with pytest.raises(UsageError, match="no 'test' images"):
        load_data(root / "train")


def test_refusing_bad_files_says_how_to_go_on_in_both_ways(root):
    next((root / "train" / "sad").iterdir()).write_bytes(b"rubbish")
    with pytest.raises(DataError, match=r"1 of 28 .* \(skip_bad=True or --skip-bad goes on without them\)"):
        load_data(root)


def test_load_data_says_how_many_have_no_label(root):
    (root / "unlabelled").mkdir()
    for name in EXPRESSIONS:
        for path in (root / "test" / name).iterdir():
            path.rename(root / "unlabelled" / f"{name}.png")
        (root / "test" / name).rmdir()
    (root / "test").rmdir()
    (root / "unlabelled").rename(root / "test")
    with pytest.warns(UserWarning, match="7 faces without a label are left out"):
        data = load_data(root)
    assert data.x_test.shape == (0, 48, 48, 1)


def test_load_data_skips_bad_files_when_told(root):
    (root / "train" / "sad" / "Training_0.png").write_bytes(b"rubbish")
    with pytest.raises(DataError, match=r"train/sad/Training_0\.png"):
        load_data(root)
    data = load_data(root, skip_bad=True)
    assert (len(data.x_train), len(data.skipped)) == (20, 1)


@pytest.mark.large
def test_fer2013_itself():
    """The real folder edition, in the folder that the variable MIEN_FER2013 names: its known numbers."""
    if "MIEN_FER2013" not in os.environ:
        pytest.skip("the variable MIEN_FER2013 names no folder")
    dataset = open_dataset(os.environ["MIEN_FER2013"])
    counts = dataset.counts()
    assert (sum(counts["train"].values()), sum(counts["public"].values())) == (28_709, 3_589)
    assert (counts["train"]["disgust"], counts["public"]["happy"]) == (436, 895)
    faces = dataset.load()
    report = count_duplicates(pixel_groups(faces.images), faces.labels, faces.splits)
    assert (report.groups, report.surplus, report.conflicting) == (1_273, 1_532, 47)
    assert report.across == {"public in train": 280}


def test_what_is_no_path_is_named(root):
    with pytest.raises(UsageError, match="path: must be that of a folder or file of labelled faces, received None"):
        load_data(None)
    with pytest.raises(UsageError, match="received Dataset"):
        open_dataset(open_dataset(root))


def test_datasets_say_what_they_hold(root):
    held = f"FER2013 folder, 28 faces (train 21, public 7); {', '.join(EXPRESSIONS)}"
    assert repr(open_dataset(root)) == f"<Dataset {root}: {held}>"
    assert repr(open_dataset(root).load()) == f"<Faces: {held}; images (28, 48, 48, 1)>"
    assert "0 faces (in no split)" in repr(open_dataset(root).take([]))


def test_loaded_data_say_their_shapes_and_not_their_pixels(root):
    assert repr(load_data(root)) == (
        "<LoadedData: x_train float32 (21, 48, 48, 1), y_train int64 (21,), x_test float32 (7, 48, 48, 1), "
        f"y_test int64 (7,); {', '.join(EXPRESSIONS)}>"
    )

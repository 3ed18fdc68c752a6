"""Datasets come through every conversion with the same pixels, labels and splits, or with a word said."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.datasets import Faces, convert, open_dataset
from mien.errors import DataError, UsageError
from mien.labels import EXPRESSIONS

SPLIT_FOLDERS = {"train": "train/{}/Training_{}", "val": "val/{}/{}", "public": "test/{}/PublicTest_{}"}


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path_factory.mktemp("cache")))


def draw(path: Path, shape: tuple[int, ...], seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 256, shape, np.uint8))


def tree(root: Path, shape: tuple[int, ...] = (48, 48), suffix: str = ".jpg") -> Path:
    for label, name in enumerate(EXPRESSIONS):
        for number, pattern in enumerate((*SPLIT_FOLDERS.values(), "test/{}/PrivateTest_{}", "test/{}/{}")):
            draw(root / (pattern.format(name, number) + suffix), shape, 10 * label + number)
    return root


def facts(faces: Faces) -> list[tuple[str, str, bytes]]:
    """What must survive, whatever the order: class, split and pixels."""
    labels = [faces.classes[label] if label >= 0 else "" for label in faces.labels]
    return sorted(zip(labels, faces.splits.tolist(), [image.tobytes() for image in faces.images], strict=True))


@pytest.mark.parametrize(
    "chain", [["a.csv"], ["a.npz"], ["a.NPZ"], ["a.CSV"], ["a"], ["a.csv", "b", "c.npz", "d.csv"], ["a", "b.npz", "c"]]
)
def test_nothing_is_lost(tmp_path, chain):
    path = tree(tmp_path / "source")
    expected = facts(open_dataset(path).load())
    for name in chain:
        done = convert(path, tmp_path / name)
        assert (done.count, done.exact, done.skipped) == (35, True, ())
        path = done.path
        assert facts(open_dataset(path).load()) == expected
    assert sorted(item.name for item in tmp_path.iterdir()) == sorted(["source", *chain])


def test_file_names_are_kept_in_folders_and_npz(tmp_path):
    names = sorted(Path(name).stem for name in open_dataset(tree(tmp_path / "source")).names)
    for target in ("copy", "copy.npz"):
        done = convert(tmp_path / "source", tmp_path / target)
        assert sorted(Path(name).stem for name in open_dataset(done.path).names) == names


def test_colour_of_any_size_keeps_its_pixels_in_folders(tmp_path):
    draw(tmp_path / "own" / "cat" / "a.png", (20, 30, 3), 0)
    draw(tmp_path / "own" / "cat" / "sub" / "a.png", (9, 9), 1)
    draw(tmp_path / "own" / "dog" / "A.bmp", (50, 40, 3), 2)
    done = convert(tmp_path / "own", tmp_path / "copy")
    assert done.exact
    names = {"cat/a.png": "train/cat/a.png", "cat/sub/a.png": "train/cat/a-2.png", "dog/A.bmp": "train/dog/A.png"}
    assert set(open_dataset(done.path).names) == set(names.values())
    for before, after in names.items():
        flag = cv2.IMREAD_UNCHANGED
        np.testing.assert_array_equal(
            cv2.imread(str(tmp_path / "own" / before), flag), cv2.imread(str(tmp_path / "copy" / after), flag)
        )


def test_colour_comes_through_npz(tmp_path):
    path = tree(tmp_path / "source", (12, 12, 3), ".png")
    done = convert(path, tmp_path / "a.npz")
    again = convert(done.path, tmp_path / "again")
    first, last = open_dataset(path), open_dataset(again.path)
    from mien.preprocessing import InputSpec

    assert facts(first.load(InputSpec(12, 3))) == facts(last.load(InputSpec(12, 3)))


@pytest.mark.parametrize(
    ("shape", "target", "message"),
    [
        ((64, 64), "a.csv", r"csv files hold squares of 48x48, and here are 64x64 grey; add size=48 or --size 48"),
        ((48, 48, 3), "a.csv", r"csv files hold grey faces, and here are 48x48 colour; add channels=1 or --channels 1"),
        ((48, 40), "a.npz", r"npz files hold squares of one size, and here are 40x48 grey; add size=48 or --size 48"),
    ],
)
def test_what_would_change_pixels_is_refused_until_asked_for(tmp_path, shape, target, message):
    path = tree(tmp_path / "source", shape, ".png")
    with pytest.raises(UsageError, match=message):
        convert(path, tmp_path / target)
    assert not (tmp_path / target).exists()
    done = convert(path, tmp_path / target, size=48, channels=1)
    assert not done.exact
    assert open_dataset(done.path).load().images.shape == (35, 48, 48, 1)


def test_a_folder_of_another_size_and_colour(tmp_path):
    path = tree(tmp_path / "source", (64, 48, 3), ".png")
    done = convert(path, tmp_path / "small", size=16, channels=1)
    assert not done.exact
    image = cv2.imread(str(next(iter(done.path.rglob("*.png")))), cv2.IMREAD_UNCHANGED)
    assert image.shape == (16, 16)
    grey = convert(path, tmp_path / "grey", channels=1)
    assert cv2.imread(str(next(iter(grey.path.rglob("*.png")))), cv2.IMREAD_UNCHANGED).shape == (64, 48)


def test_csv_in_a_size_that_was_asked_for(tmp_path):
    done = convert(tree(tmp_path / "source", (64, 64), ".png"), tmp_path / "a.csv", size=64)
    assert done.exact
    assert len(open_dataset(done.path)) == 35


@pytest.mark.parametrize("target", ["a.csv", "a.npz", "a"])
def test_an_existing_destination_is_refused(tmp_path, target):
    (tmp_path / target).write_text("mine")
    with pytest.raises(UsageError, match="exists; name another or remove it"):
        convert(tree(tmp_path / "source"), tmp_path / target)
    assert (tmp_path / target).read_text() == "mine"


def test_a_folder_does_not_go_into_the_one_that_is_read(tmp_path):
    path = tree(tmp_path / "source")
    for inside in (path / "new", path / "train" / "new", tmp_path / "other" / ".." / "source" / "new"):
        with pytest.raises(UsageError, match=r"lies in .*name a place outside of it"):
            convert(path, inside)
    assert len(open_dataset(path)) == 35
    convert(path, path / "a.csv")  # folders are read before it
    assert open_dataset(path).format == "class folders"


def test_other_kinds_of_files_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"cannot write \.zip files; allowed are \.csv, \.npz and folders"):
        convert(tree(tmp_path / "source"), tmp_path / "a.zip")


@pytest.mark.parametrize("target", ["a.csv", "a.npz", "a"])
def test_bad_images_stop_it_or_are_left_out(tmp_path, target):
    path = tree(tmp_path / "source")
    (path / "train" / "sad" / "bad.jpg").write_bytes(b"rubbish")
    with pytest.raises(DataError, match=r"train/sad/bad\.jpg"):
        convert(path, tmp_path / target)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["source"]
    done = convert(path, tmp_path / target, skip_bad=True)
    assert (done.count, len(done.skipped)) == (35, 1)
    assert len(open_dataset(done.path)) == 35


@pytest.mark.parametrize("target", ["a.csv", "a.npz", "a"])
def test_a_failure_leaves_nothing_behind(tmp_path, target, monkeypatch):
    path = tree(tmp_path / "source")

    def fail(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("mien.datasets.conversion.write_png", fail)
    monkeypatch.setattr("mien.datasets.conversion._write_csv", fail)
    monkeypatch.setattr("mien.datasets.conversion._write_npz", fail)
    with pytest.raises(KeyboardInterrupt):
        convert(path, tmp_path / target)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["source"]


def test_names_beside_the_seven_go_into_folders_too(tmp_path):
    for place, name in enumerate(("happy", "sad", "angry", "bored")):
        draw(tmp_path / "faces" / "train" / name / "a.png", (48, 48), place)
    (tmp_path / "faces" / "classes.txt").write_text("bored\nsad\nhappy\nangry\n", encoding="utf-8")
    convert(tmp_path / "faces", tmp_path / "faces.npz")
    convert(tmp_path / "faces.npz", tmp_path / "again")
    first, again = open_dataset(tmp_path / "faces"), open_dataset(tmp_path / "again")
    assert again.classes == first.classes == ("bored", "sad", "happy", "angry")
    assert facts(again.load()) == facts(first.load())


def test_own_classes_do_not_fit_csv(tmp_path):
    for name in ("cat", "dog"):
        draw(tmp_path / "own" / name / "a.png", (64, 64, 3), 0)  # what could be mended is not asked for first
    with pytest.raises(UsageError, match="seven expressions only"):
        convert(tmp_path / "own", tmp_path / "a.csv")


@pytest.mark.parametrize("target", ["b.csv", "b"])
def test_faces_without_labels_fit_npz_only(tmp_path, target):
    path = tree(tmp_path / "source")
    draw(path / "testing" / "a.png", (48, 48), 0)
    convert(path, tmp_path / "a.npz")
    assert facts(open_dataset(tmp_path / "a.npz").load()) == facts(open_dataset(path).load())
    with pytest.raises(UsageError, match=r"some faces have none; use \.npz"):
        convert(tmp_path / "a.npz", tmp_path / target)


@pytest.mark.parametrize("name", ["../out", "a/b", "..", "a\\b", "nul\0"])
def test_class_names_cannot_lead_out_of_the_folder(tmp_path, name):
    np.savez(
        tmp_path / "x.npz",
        images=np.zeros((2, 8, 8), np.uint8),
        labels=np.array([0, 1]),
        splits=np.array(["train", "train"]),
        names=np.array(["a", "../../b"]),
        classes=np.array(["fine", name + "."]) if name.endswith("\0") else np.array(["fine", name]),
    )
    with pytest.raises(DataError, match="cannot be names of folders"):
        convert(tmp_path / "x.npz", tmp_path / "out")


def test_face_names_cannot_lead_out_of_the_folder(tmp_path):
    names = np.array(["../../b", "...", "@eaDir", "C:\\x", "a:b", "ä", ""])
    np.savez(
        tmp_path / "x.npz",
        images=np.arange(len(names) * 64, dtype=np.uint8).reshape(-1, 8, 8),
        labels=np.arange(len(names)) % 2,
        splits=np.full(len(names), "private"),
        names=names,
        classes=np.array(["cat", "dog"]),
    )
    done = convert(tmp_path / "x.npz", tmp_path / "out")
    assert len(list((tmp_path / "out" / "test").rglob("PrivateTest_*.png"))) == len(names)
    assert set(open_dataset(done.path).splits) == {"private"}
    assert sorted(item.name for item in tmp_path.iterdir()) == ["out", "x.npz"]

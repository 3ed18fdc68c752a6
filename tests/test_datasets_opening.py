"""What a folder is found to be, and how each kind of broken one is refused."""

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.datasets import open_dataset
from mien.datasets.samples import write_samples
from mien.errors import DataError, UsageError
from mien.labels import EXPRESSIONS
from mien.preprocessing import InputSpec


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path_factory.mktemp("cache")))


def draw(path: Path, value: int = 0, size: tuple[int, int] = (48, 48), colour: bool = False) -> Path:
    """Write one picture; values tell pictures apart."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.full((*size, 3) if colour else size, value, np.uint8)
    image[:4, : value % 40 + 1] = 255 - value
    assert cv2.imwrite(str(path), image)
    return path


def fer2013(root: Path) -> Path:
    """The folder edition, two training faces and one of each test half for each expression."""
    for label, name in enumerate(EXPRESSIONS):
        for number in range(2):
            draw(root / "train" / name / f"Training_{label}{number}.jpg", 10 * label + number)
        draw(root / "test" / name / f"PublicTest_{label}.jpg", 100 + label)
        draw(root / "test" / name / f"PrivateTest_{label}.jpg", 200 + label)
    return root


def test_the_folder_edition(tmp_path):
    dataset = open_dataset(fer2013(tmp_path / "FER2013"))
    assert dataset.format == "FER2013 folder"
    assert dataset.classes == EXPRESSIONS
    assert dataset.counts() == {
        "train": dict.fromkeys(EXPRESSIONS, 2),
        "public": dict.fromkeys(EXPRESSIONS, 1),
        "private": dict.fromkeys(EXPRESSIONS, 1),
    }
    assert dataset.labels.dtype == np.int64
    assert all(
        name.split("/")[1] == EXPRESSIONS[label] for name, label in zip(dataset.names, dataset.labels, strict=True)
    )


def test_test_means_all_test_splits(tmp_path):
    dataset = open_dataset(fer2013(tmp_path))
    assert len(dataset.select("test")) == 14
    assert set(dataset.select("public").splits) == {"public"}
    assert len(dataset.select("all")) == 28


def test_a_missing_split_lists_those_there_are(tmp_path):
    with pytest.raises(UsageError, match="no 'val'; choose from train, public, private, test, all"):
        open_dataset(fer2013(tmp_path)).select("val")


def test_missing_training_images_are_named_without_an_option(tmp_path):
    data = fer2013(tmp_path)
    shutil.rmtree(data / "train")
    with pytest.raises(UsageError, match=r"^the data has no 'train' images \(a folder train/.*it has .*test$"):
        open_dataset(data).select("train")


@pytest.mark.parametrize("folder", ["val", "valid", "validation", "Validation"])
def test_validation_folders(tmp_path, folder):
    fer2013(tmp_path)
    draw(tmp_path / folder / "happy" / "a.png")
    assert list(open_dataset(tmp_path).select("val").names) == [f"{folder}/happy/a.png"]


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [("train_set", "val_set", "test_set"), ("Train-Images", "dev", "TEST"), ("train_data", "Evaluation", "test data")],
)
def test_longer_names_of_splits(tmp_path, train, val, test):
    for folder in (train, val, test):
        draw(tmp_path / "wrapped" / folder / "happy" / "a.png")
        draw(tmp_path / "wrapped" / folder / "tired" / "a.png")
    dataset = open_dataset(tmp_path)
    assert dataset.counts() == {split: {"happy": 1, "tired": 1} for split in ("train", "val", "test")}


@pytest.mark.parametrize("folder", ["test_data", "dev", "eval"])
def test_a_wrapping_folder_that_may_be_called_like_a_split(tmp_path, folder):
    fer2013(tmp_path / folder)
    assert set(open_dataset(tmp_path).splits) == {"train", "public", "private"}
    shutil.rmtree(tmp_path / folder / "test")
    (tmp_path / folder / "train").rename(tmp_path / "moved")
    (tmp_path / "moved").rename(tmp_path / folder / "faces")
    assert set(open_dataset(tmp_path).splits) == {"train"}


def test_classes_that_may_be_called_like_splits(tmp_path):
    for name in ("dev", "ops", "eval"):
        draw(tmp_path / name / "a.png")
    assert open_dataset(tmp_path).classes == ("dev", "eval", "ops")


def test_a_wrapping_folder_and_other_files_are_passed_over(tmp_path):
    root = fer2013(tmp_path / "archive" / "FER2013")
    (root / "README.md").write_text("about")
    (root / "fer2013.bib").write_text("@article")
    (root / "fer2013.csv").write_text("emotion,pixels,Usage\n")
    draw(root / "banner.png")
    (tmp_path / "archive" / "docs").mkdir()
    draw(tmp_path / "archive" / "__MACOSX" / "train" / "happy" / "x.jpg")
    dataset = open_dataset(tmp_path)
    assert len(dataset) == 28
    assert dataset.problems == ()


@pytest.mark.parametrize("stray", ["archive", "", "archive/kaggle", "archive/kaggle/old"])
@pytest.mark.parametrize("zipped", [False, True])
def test_pictures_on_the_way_to_a_dataset_do_not_hide_it(tmp_path, stray, zipped):
    data = tmp_path / "data"
    fer2013(data / "archive" / "kaggle" / "FER2013")
    draw(data / "archive" / "cover.png")
    draw(data / stray / "preview.png")
    dataset = open_dataset(shutil.make_archive(str(data), "zip", data) if zipped else data)
    assert dataset.format.startswith("FER2013 folder")
    assert {split: sum(counts.values()) for split, counts in dataset.counts().items()} == {
        "train": 14,
        "public": 7,
        "private": 7,
    }
    assert dataset.problems == ()


def test_folders_within_a_class_that_stands_alone_belong_to_it(tmp_path):
    for name in ("a.png", "monday/b.png", "monday/early/c.png", "tuesday/d.png"):
        draw(tmp_path / "tired" / name)
    assert open_dataset(tmp_path).counts() == {"train": {"tired": 4}}


@pytest.mark.parametrize(
    "names",
    [
        ("a.png", "more/b.png", "more/test/c.png"),  # a split without classes
        ("a.png", "more/one/train/happy/b.png", "more/two/train/happy/c.png"),  # several datasets
    ],
)
def test_what_stands_below_a_class_and_is_no_one_dataset_belongs_to_it(tmp_path, names):
    for name in names:
        draw(tmp_path / "tired" / name)
    assert open_dataset(tmp_path).counts() == {"train": {"tired": 3}}


def test_a_split_folder_by_itself(tmp_path):
    root = fer2013(tmp_path)
    assert set(open_dataset(root / "train").splits) == {"train"}
    assert set(open_dataset(root / "test").splits) == {"public", "private"}


def test_own_classes_sizes_and_colours(tmp_path):
    draw(tmp_path / "tired" / "one" / "a.png", 10, (30, 50), colour=True)
    draw(tmp_path / "tired" / "b.jpg", 20, (200, 100))
    draw(tmp_path / "awake" / "c.bmp", 30, (8, 8), colour=True)
    dataset = open_dataset(tmp_path)
    assert dataset.format == "class folders"
    assert dataset.classes == ("awake", "tired")
    assert dataset.counts() == {"train": {"awake": 1, "tired": 2}}
    faces = dataset.load(InputSpec(32, 3))
    assert faces.images.shape == (3, 32, 32, 3)


def test_other_spellings_of_the_seven_are_mapped(tmp_path):
    for name in ("Anger", "Happiness", "SAD", "surprised"):
        draw(tmp_path / name / "a.png")
    dataset = open_dataset(tmp_path)
    assert dataset.classes == EXPRESSIONS
    assert {dataset.classes[label] for label in dataset.labels} == {"angry", "happy", "sad", "surprise"}


@pytest.mark.parametrize("names", [("0_angry", "1_Happy", "2_sadness"), ("01-anger", "02-happy", "10-sad")])
@pytest.mark.parametrize("splits", [("train", "test"), ("",)])
def test_numbers_in_front_of_expressions(tmp_path, names, splits):
    for split in splits:
        for name in names:
            draw(tmp_path / "wrapped" / split / name / "a.png")
    dataset = open_dataset(tmp_path)
    assert dataset.classes == EXPRESSIONS
    assert {dataset.classes[label] for label in dataset.labels} == {"angry", "happy", "sad"}


def test_numbers_in_front_may_differ_between_splits_and_have_a_point(tmp_path):
    for name in ("train/1. sad", "train/2. contempt", "train/3.happy", "test/0. sad", "test/1) happy"):
        draw(tmp_path / name / "a.png")
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("contempt", "happy", "sad")
    assert dataset.counts()["test"] == {"contempt": 0, "happy": 1, "sad": 1}


@pytest.mark.parametrize(
    "names",
    [
        ("0_cat", "1_dog"),  # of their own
        ("0_happy", "1_happy", "2_sad"),  # two of one name
        ("0_tired", "1_bored", "2_sad"),  # mostly of their own
        ("0_happy", "1_sad", "other"),  # not all
        ("0", "1", "2"),
    ],
)
def test_other_numbered_classes_keep_their_names(tmp_path, names):
    for name in names:
        draw(tmp_path / name / "a.png")
    assert open_dataset(tmp_path).classes == names


def test_a_slip_behind_a_number_is_named(tmp_path):
    for name in ("0_angry", "1_happy", "2_sda"):
        draw(tmp_path / name / "a.png")
    with pytest.raises(DataError, match="unknown class") as caught:
        open_dataset(tmp_path)
    assert caught.value.items == ("2_sda",)


@pytest.mark.parametrize("kind", ["zip", "gztar"])
def test_an_archive_without_a_file_of_names(tmp_path, kind):
    draw(fer2013(tmp_path / "data") / "train" / "bored" / "a.png")
    with pytest.raises(DataError, match="unknown class"):
        open_dataset(shutil.make_archive(str(tmp_path / "packed"), kind, tmp_path / "data"))


def test_contempt_may_stand_beside_the_seven(tmp_path):
    draw(fer2013(tmp_path) / "train" / "contempt" / "a.png")
    assert open_dataset(tmp_path).classes == ("angry", "contempt", *EXPRESSIONS[1:])


def test_an_unlabelled_split_has_no_labels(tmp_path):
    fer2013(tmp_path)
    draw(tmp_path / "val" / "a.png")
    dataset = open_dataset(tmp_path)
    assert dataset.select("val").labels.tolist() == [-1]
    assert len(dataset.load().labelled()) == 28


def test_no_such_path(tmp_path):
    with pytest.raises(UsageError, match=r"no such file or folder: .*nowhere"):
        open_dataset(tmp_path / "nowhere")


def test_a_file_of_another_kind(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UsageError, match=r"not a dataset: .*notes.txt; allowed are folders, zip"):
        open_dataset(tmp_path / "notes.txt")


@pytest.mark.parametrize("files", [[], ["a.png"], ["train/a.png", "test/b.png"]])
def test_no_class_folders(tmp_path, files):
    for file in files:
        draw(tmp_path / file)
    with pytest.raises(DataError, match="no class folders") as caught:
        open_dataset(tmp_path)
    assert caught.value.items == (str(tmp_path),)


def test_an_unknown_class_is_named_with_a_guess(tmp_path):
    draw(fer2013(tmp_path) / "train" / "hapy" / "a.png")
    with pytest.raises(DataError, match=r"unknown class \(did you mean happy\?\)") as caught:
        open_dataset(tmp_path)
    assert caught.value.items == ("train/hapy",)


def test_an_unknown_class_can_be_allowed(tmp_path):
    draw(fer2013(tmp_path) / "train" / "bored" / "a.png")
    with pytest.raises(
        DataError, match=r"unknown class.*; rename or remove what is none of them, or write .* into a file classes\.txt"
    ):
        open_dataset(tmp_path)
    assert open_dataset(tmp_path, classes=(*EXPRESSIONS[:3], "Happy", *EXPRESSIONS[4:], "bored")).classes[-1] == "bored"


@pytest.mark.parametrize("kind", ["folder", "zip", "gztar"])
@pytest.mark.parametrize("split", ["", "train/"])
def test_a_file_of_names_allows_others_beside_the_seven(tmp_path, kind, split):
    root = tmp_path / "faces"
    for name in ("Happy", "SAD", "angry", "ahegao"):
        draw(root / "inner" / split / name / "a.png")
    (root / "inner" / "classes.txt").write_text(
        "\ufeffsad\r\nHappy\r\n\r\nahegao\r\nangry\r\nbored\r\n", encoding="utf-8"
    )
    path = root if kind == "folder" else Path(shutil.make_archive(str(tmp_path / "packed"), kind, root))
    dataset = open_dataset(path)
    assert dataset.classes == ("sad", "happy", "ahegao", "angry", "bored")
    assert sorted(dataset.classes[label] for label in dataset.labels) == ["ahegao", "angry", "happy", "sad"]


def test_a_file_of_names_changes_nothing_where_none_is_needed(tmp_path):
    (fer2013(tmp_path) / "classes.txt").write_text("sad\nhappy\n", encoding="utf-8")
    assert open_dataset(tmp_path).classes == EXPRESSIONS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"happy\nsad\n", r"unknown class; the classes are happy, sad"),
        (b"happy\nHappiness\nbored\n", "names a class twice: happy"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
    ],
)
def test_a_file_of_names_that_does_not_fit(tmp_path, text, message):
    draw(fer2013(tmp_path) / "train" / "bored" / "a.png")
    (tmp_path / "classes.txt").write_bytes(text)
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path)


def test_an_own_class_that_only_the_test_set_has(tmp_path):
    for name in ("train/cat", "train/dog", "test/cat", "test/dgo"):
        draw(tmp_path / name / "a.png")
    with pytest.raises(DataError, match="unknown class") as caught:
        open_dataset(tmp_path)
    assert caught.value.items == ("test/dgo",)


def test_an_empty_class(tmp_path):
    (fer2013(tmp_path) / "train" / "contempt").mkdir()
    with pytest.raises(DataError, match="empty class") as caught:
        open_dataset(tmp_path)
    assert caught.value.items == ("train/contempt",)


def test_a_class_without_a_name(tmp_path):
    draw(fer2013(tmp_path) / "train" / " " / "a.png")
    with pytest.raises(DataError, match="class folders without a name"):
        open_dataset(tmp_path)


def test_a_face_in_no_class_folder(tmp_path):
    draw(fer2013(tmp_path) / "train" / "stray.png")
    dataset = open_dataset(tmp_path)
    with pytest.raises(DataError, match=r"1 of 29 faces cannot be used .*train/stray.png \(in no class folder\)"):
        dataset.load()
    assert len(dataset.load(skip_bad=True)) == 28


def test_images_in_folders_beside_the_splits(tmp_path):
    draw(fer2013(tmp_path) / "trian" / "happy" / "a.png")
    with pytest.raises(DataError, match="beside train, val and test") as caught:
        open_dataset(tmp_path)
    assert caught.value.items == ("trian",)


def test_several_datasets_side_by_side(tmp_path):
    fer2013(tmp_path / "one")
    fer2013(tmp_path / "two")
    with pytest.raises(DataError, match="several datasets side by side") as caught:
        open_dataset(tmp_path)
    assert caught.value.items == ("one", "two")


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_link_back_to_a_folder_above(tmp_path):
    (fer2013(tmp_path) / "train" / "happy" / "again").symlink_to(tmp_path / "train", target_is_directory=True)
    with pytest.raises(DataError, match="a link leads back to a folder above it"):
        open_dataset(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_links_to_folders_are_followed_and_broken_ones_named(tmp_path):
    real = fer2013(tmp_path / "real")
    root = tmp_path / "data"
    root.mkdir()
    (root / "train").symlink_to(real / "train", target_is_directory=True)
    (real / "train" / "happy" / "gone.jpg").symlink_to(real / "nothing.jpg")
    with pytest.raises(DataError, match=r"train/happy/gone.jpg \(cannot be read"):
        open_dataset(root).load()


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_links_to_themselves_are_bad_files_like_links_to_nothing(tmp_path):
    root = fer2013(tmp_path)
    for name in ("loop.jpg", "loop.csv", "loop", "gone"):
        (root / "train" / "happy" / name).symlink_to("nothing" if name == "gone" else name)
    dataset = open_dataset(root)
    with pytest.raises(DataError, match=r"1 of 29 faces cannot be used .*train/happy/loop.jpg \(cannot be read"):
        dataset.load()
    assert len(dataset.load(skip_bad=True)) == 28


def test_bad_images_are_all_named_or_skipped(tmp_path):
    root = fer2013(tmp_path)
    whole = draw(root / "train" / "sad" / "whole.jpg", 7).read_bytes()
    bad = {"text.jpg": b"not an image", "empty.png": b"", "cut.jpg": whole[: len(whole) // 2]}
    for name, data in bad.items():
        (root / "train" / "sad" / name).write_bytes(data)
    dataset = open_dataset(root)
    with pytest.raises(DataError, match="3 of 32 faces cannot be used") as caught:
        dataset.load()
    assert [item.split(" ")[0] for item in caught.value.items] == [f"train/sad/{name}" for name in sorted(bad)]
    faces = dataset.load(skip_bad=True)
    assert len(faces) == 29
    assert len(faces.skipped) == 3


def test_nothing_left_is_an_error_even_when_skipping(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").write_bytes(b"x")
    with pytest.raises(DataError, match="no face can be used"):
        open_dataset(tmp_path).load(skip_bad=True)


def test_an_image_larger_than_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr("mien.datasets.storage.Folder.read.__defaults__", (100,))
    with pytest.raises(DataError, match="larger than"):
        open_dataset(fer2013(tmp_path)).load()


def test_reading_one_face(tmp_path):
    dataset = open_dataset(fer2013(tmp_path))
    faces = dataset.load(InputSpec(24, 1))
    assert dataset.streamable
    np.testing.assert_array_equal(dataset.read(5, InputSpec(24, 1)), faces.images[5])


def test_drawn_faces_are_not_taken_for_fer2013(tmp_path):
    write_samples(tmp_path / "faces", count=14)
    dataset = open_dataset(tmp_path / "faces")
    assert dataset.format == "drawn sample faces"
    assert dataset.load().format == "drawn sample faces"


@pytest.mark.parametrize(
    "way",
    [
        "train/train test/test",
        "train/images test/images",
        "train_set/data test_set/data",
        "Train/Train_Aligned_Faces Test/Test_Aligned_Faces_new/Test_Aligned_Faces",
    ],
)
def test_a_folder_between_a_split_and_its_classes(tmp_path, way):
    for folder in way.split():
        for name in ("happy", "sad"):
            draw(tmp_path / folder / name / "a.png")
    dataset = open_dataset(tmp_path)
    assert {split: sum(of.values()) for split, of in dataset.counts().items()} == {"train": 2, "test": 2}
    assert dataset.classes == EXPRESSIONS


def test_a_class_that_stands_alone_in_a_split_is_a_class(tmp_path):
    for name in ("train/tired/monday/a.png", "train/tired/tuesday/b.png", "test/tired/monday/c.png"):
        draw(tmp_path / name)
    assert open_dataset(tmp_path).counts() == {"train": {"tired": 2}, "test": {"tired": 1}}


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_wrapping_folder_called_like_a_split_of_its_own(tmp_path, kind):
    fer2013(tmp_path / "data" / "test")
    path = tmp_path / "data"
    dataset = open_dataset(path if kind == "folder" else shutil.make_archive(str(path), "zip", path))
    assert set(dataset.splits) == {"train", "public", "private"}


def test_folders_of_numbers_are_named_by_a_file(tmp_path):
    for split in ("train", "test"):
        for number in "012":
            draw(tmp_path / split / number / "a.png")
    told = open_dataset(tmp_path)
    assert told.classes == ("0", "1", "2")
    assert told.format == "class folders named by numbers (classes.txt may say what they mean)"
    (tmp_path / "classes.txt").write_text("Anger\nsleepy\nhappy\n")
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("angry", "sleepy", "happy")
    assert dataset.counts()["train"] == {"angry": 1, "sleepy": 1, "happy": 1}
    (tmp_path / "classes.txt").write_text("1 sad\n2 happy\n0 fear\n")
    dataset = open_dataset(tmp_path)
    assert dataset.classes == EXPRESSIONS
    assert [dataset.classes[label] for label in dataset.select("train").labels] == ["fear", "sad", "happy"]
    (tmp_path / "classes.txt").write_text("sad\nhappy\n")
    with pytest.raises(DataError, match=r"numbers without a name; by classes\.txt they are 0 sad, 1 happy") as caught:
        open_dataset(tmp_path)
    assert caught.value.items == ("test/2", "train/2")


def test_folders_of_numbers_are_named_by_what_is_given_before_a_file(tmp_path):
    for number in "123":
        draw(tmp_path / number / "a.png")
    (tmp_path / "classes.txt").write_text("1 sad\n2 happy\n3 fear\n")
    assert open_dataset(tmp_path, classes=["1", "2", "3"]).classes == ("1", "2", "3")
    dataset = open_dataset(tmp_path, classes=["none", "Anger", "sleepy", "happy"])
    assert dataset.classes == ("none", "angry", "sleepy", "happy")
    assert [dataset.classes[label] for label in dataset.labels] == ["angry", "sleepy", "happy"]
    with pytest.raises(DataError, match=r"by the names given they are 0 sad, 1 happy: 2, 3$"):
        open_dataset(tmp_path, classes=["sad", "happy"])


def test_a_file_of_numbers_names_folders_of_numbers_as_they_are(tmp_path):
    for number in "123":
        draw(tmp_path / number / "a.png")
    (tmp_path / "classes.txt").write_text("1\n2\n3\n")
    dataset = open_dataset(tmp_path)
    assert [dataset.classes[label] for label in dataset.labels] == ["1", "2", "3"]


@pytest.mark.parametrize("kind", ["folders", "table"])
def test_numbers_that_mean_the_same_are_one_class(tmp_path, kind):
    for number in "012":
        draw(tmp_path / (number if kind == "folders" else "faces") / f"{number}.png")
    (tmp_path / "classes.txt").write_text("0 tired\n1 weary\n2 tired\n")
    if kind == "table":
        (tmp_path / "labels.csv").write_text("file,label\n0.png,0\n1.png,1\n2.png,2\n")
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("tired", "weary")
    assert dataset.labels.tolist() == [0, 1, 0]


@pytest.mark.parametrize("folders", [("0", "1"), ("calm", "tense")])
def test_a_list_of_what_numbers_mean_is_no_table_of_files(tmp_path, folders):
    for place in range(6):
        draw(tmp_path / folders[place % 2] / f"{place}.png", place)
    (tmp_path / "labels.csv").write_text("id,label\n0,calm\n1,tense\n")
    dataset = open_dataset(tmp_path)
    assert len(dataset) == 6
    assert dataset.classes == folders


def test_a_table_of_two_numbered_files_is_no_such_list(tmp_path):
    for place in range(2):
        draw(tmp_path / "faces" / f"{place}.png", place)
    (tmp_path / "labels.csv").write_text("id,label\n0,calm\n1,tense\n")
    assert open_dataset(tmp_path).classes == ("calm", "tense")


@pytest.mark.parametrize("folder", ["images", "train/images"])
def test_a_folder_that_only_holds_pictures_is_no_class(tmp_path, folder):
    draw(tmp_path / folder / "a.png")
    with pytest.raises(DataError, match=r"no class folders .* its 1 image stands in no class folders"):
        open_dataset(tmp_path)
    assert open_dataset(tmp_path, classes=["images"]).classes == ("images",)


def test_a_class_whose_name_is_no_text(tmp_path):
    for name in ("tired", "awake"):
        draw(tmp_path / name / "a.png")
    try:
        (tmp_path / "tired").rename(tmp_path / os.fsdecode(b"m\xfcde"))
    except (OSError, UnicodeError):
        pytest.skip("this file system has text for names")
    with pytest.raises(DataError, match="names are not UTF-8 text; rename them"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("zipped", [False, True])
def test_archives_in_an_empty_dataset_are_named(tmp_path, zipped):
    root = tmp_path / "data"
    (root / "in").mkdir(parents=True)
    (root / "in" / "faces.ZIP").write_bytes(b"")
    with pytest.raises(DataError, match=r"it holds no images, but in/faces\.ZIP; unpack"):
        open_dataset(shutil.make_archive(str(root), "zip", root) if zipped else root)


@pytest.mark.parametrize(
    ("lines", "classes"),
    [
        ("tired\nawake\n", ("tired", "awake")),
        ("1 awake\n0 tired\n", ("awake", "tired")),
        (None, ("awake", "tired")),
    ],
)
def test_classes_of_own_names_come_in_the_order_of_their_list(tmp_path, lines, classes):
    for name in ("tired", "awake"):
        draw(tmp_path / name / "a.png")
    if lines is not None:
        (tmp_path / "classes.txt").write_text(lines)
    assert open_dataset(tmp_path).classes == classes


def test_a_list_of_other_names_than_the_folders_have_is_not_passed_over(tmp_path):
    for name in ("n0001", "n0002"):
        draw(tmp_path / name / "a.png")
    (tmp_path / "classes.txt").write_text("happy\nsad\n")
    with pytest.raises(DataError, match=r"the classes are happy, sad \(classes\.txt lists them\).*: n0001, n0002"):
        open_dataset(tmp_path)


def test_a_list_of_something_else_beside_expressions_and_contempt(tmp_path):
    for name in ("happy", "contempt"):
        draw(tmp_path / name / "a.png")
    (tmp_path / "classes.txt").write_text("face\n")
    with pytest.raises(DataError, match=r"the classes are face \(classes\.txt"):
        open_dataset(tmp_path)
    draw(tmp_path / "sad" / "a.png")
    assert open_dataset(tmp_path).classes == ("contempt", "happy", "sad")


@pytest.mark.parametrize("form", ["{}{}", "{}_{}"])
def test_numbers_close_in_front_of_expressions(tmp_path, form):
    for number, name in enumerate(EXPRESSIONS[::-1]):
        draw(tmp_path / form.format(number, name) / "a.png", number)
    dataset = open_dataset(tmp_path)
    assert dataset.classes == EXPRESSIONS
    assert dataset.names[dataset.labels == 0].tolist() == [f"{form.format(6, 'angry')}/a.png"]


@pytest.mark.parametrize("form", ["{0}/{0}_Aligned_Faces", "{0}_Aligned_Faces"])
def test_folders_of_sfew(tmp_path, form):
    for split in ("Train", "Val"):
        for name in ("Angry", "Happy"):
            draw(tmp_path / form.format(split) / name / "a.png")
    if form.startswith("{0}/"):
        draw(tmp_path / form.format("Test") / "a.png")
    splits = open_dataset(tmp_path).splits.tolist()
    assert splits == [*(["test"] if form.startswith("{0}/") else []), "train", "train", "val", "val"]


def test_neutrality_is_neutral(tmp_path):
    for name in ("anger", "neutrality", "happiness"):
        draw(tmp_path / name / "a.png")
    assert open_dataset(tmp_path).counts()["train"]["neutral"] == 1


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("X_train.npy", r"mien\.fit\(model, x, y\) learns arrays"),
        ("fer2013.PKL", r"mien\.fit"),
        ("fer-train.tfrecord-00000-of-00001", "TensorFlow's records are not read"),
        ("labels.xlsx", "save the table as CSV"),
        ("labels.json", r"tables of files are \.csv"),
    ],
)
def test_files_of_other_programs_are_named_with_what_to_do(tmp_path, name, way):
    draw(tmp_path / "a.png")
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match=rf"; {name}: .*{way}"):
        open_dataset(tmp_path)
    if name != "labels.json":
        with pytest.raises(UsageError, match=rf"not a dataset: .*; {name}: .*{way}"):
            open_dataset(tmp_path / name)


def test_a_pointer_of_git_lfs_is_named(tmp_path):
    for name in ("happy", "sad"):
        draw(tmp_path / name / "a.png")
    (tmp_path / "sad" / "a.png").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(DataError, match=r"sad/a\.png \(is a pointer of Git LFS; git lfs pull fetches"):
        open_dataset(tmp_path).load(cache=False)

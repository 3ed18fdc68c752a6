"""Archives side by side as one dataset: WebDataset's shards, and archives called like splits."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archives import pack, png
from boxed import write_yolo
from mien.datasets import convert, open_dataset
from mien.datasets.braces import MOST_NAMES, expand
from mien.datasets.joined import shard_split
from mien.errors import DataError, UsageError
from mien.labels import EXPRESSIONS
from mien.preprocessing import InputSpec


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path_factory.mktemp("cache")))


def shard(number: int, *words: str, ending: str = "cls") -> dict[str, bytes]:
    """Pictures and their classes, called by the same numbers in every shard."""
    facts = [word if ending == "cls" else f'{{"label": "{word}"}}' for word in words]
    pictures = {f"{place:06d}.png": png(100 * number + place) for place in range(len(words))}
    return {**pictures, **{f"{place:06d}.{ending}": fact.encode() for place, fact in enumerate(facts)}}


def write_shards(root: Path, kind: str = "tar") -> Path:
    pack(root / f"train-000000.{kind}", shard(0, "happy", "sad"))
    pack(root / f"train-000001.{kind}", shard(1, "angry", "sad", ending="json"))
    pack(root / f"test-000000.{kind}", shard(2, "fear"))
    return root


def named(dataset) -> dict[str, tuple[str, str]]:
    """Split and class of each face by its name."""
    rows = zip(dataset.names.tolist(), dataset.splits.tolist(), dataset.labels, strict=True)
    return {name: (split, dataset.classes[label]) for name, split, label in rows}


@pytest.mark.parametrize("kind", ["tar", "zip", "tar.gz"])
def test_shards_are_one_dataset(tmp_path, kind):
    dataset = open_dataset(write_shards(tmp_path / "faces", kind))
    assert dataset.format == f"WebDataset in 3 {kind[:3]} archives"
    assert dataset.streamable == (kind != "tar.gz")
    assert named(dataset) == {
        f"test-000000.{kind}/000000.png": ("test", "fear"),
        f"train-000000.{kind}/000000.png": ("train", "happy"),
        f"train-000000.{kind}/000001.png": ("train", "sad"),
        f"train-000001.{kind}/000000.png": ("train", "angry"),
        f"train-000001.{kind}/000001.png": ("train", "sad"),
    }
    faces = dataset.load()
    assert [(image == faces.images[1]).all() for image in faces.images] == [False, True, False, False, False]
    assert (dataset.read(3, InputSpec(48)) == faces.images[3]).all()
    assert open_dataset(tmp_path / "faces").load().digest() == faces.digest()


def test_a_shard_that_is_written_anew_is_listed_anew(tmp_path):
    root = write_shards(tmp_path / "faces")
    assert len(open_dataset(root)) == 5
    pack(root / "test-000000.tar", shard(3, "happy", "happy"))
    assert open_dataset(root).counts()["test"]["happy"] == 2
    pack(root / "val-000000.tar", shard(4, "happy"))
    assert open_dataset(root).counts()["val"]["happy"] == 1


def test_the_folder_of_a_shard_says_its_split(tmp_path):
    pack(tmp_path / "train" / "000.tar", shard(0, "happy"))
    pack(tmp_path / "test" / "000.tar", shard(1, "sad"))
    expected = {"test/000.tar/000000.png": ("test", "sad"), "train/000.tar/000000.png": ("train", "happy")}
    assert named(open_dataset(tmp_path)) == expected
    assert named(open_dataset(tmp_path / "test")) == {"000.tar/000000.png": ("test", "sad")}


def test_numbers_are_named_by_a_file_beside_the_shards(tmp_path):
    root = tmp_path / "faces"
    pack(root / "train-0.tar", shard(0, "0", "1"))
    pack(root / "train-1.tar", shard(1, "1"))
    with pytest.raises(DataError, match=r"classes are numbers \(0, 1\)"):
        open_dataset(root)
    (root / "classes.txt").write_text("tired\nawake\n")
    assert open_dataset(root).classes == ("tired", "awake")


def test_converted_and_unpacked_they_are_the_same(tmp_path):
    root = write_shards(tmp_path / "faces")
    convert(root, tmp_path / "unpacked")
    before, after = open_dataset(root), open_dataset(tmp_path / "unpacked")
    assert before.counts() == after.counts()


def test_what_a_shard_lacks_is_named_with_the_shard(tmp_path):
    root = write_shards(tmp_path / "faces")
    pack(root / "train-000002.tar", {**shard(5, "happy"), "x.png": png(9), "000000.png": b"rubbish"})
    dataset = open_dataset(root)
    assert dataset.problems == ("train-000002.tar/x.png (no class in train-000002.tar/x.cls or .json)",)
    faces = dataset.load(skip_bad=True)
    assert len(faces) == 5
    assert faces.skipped[1] == "train-000002.tar/000000.png (cannot be decoded as an image)"


def test_a_damaged_shard_is_named(tmp_path):
    root = write_shards(tmp_path / "faces")
    path = root / "train-000001.tar"
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(DataError, match=r"damaged or cut short .*train-000001\.tar"):
        open_dataset(root)
    path.write_bytes(b"rubbish")
    with pytest.raises(DataError, match=r"damaged or cut short .*train-000001\.tar"):
        open_dataset(root)
    (root / "x-1.zip").write_bytes(b"")
    (root / "x-2.rar").write_bytes(b"")
    with pytest.raises(DataError, match="unpack what is packed there"):
        open_dataset(root)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize("names", [("train", "test"), ("train_set", "val_set"), ("Training",)])
@pytest.mark.parametrize("within", ["", "{name}/", "images/"])
def test_archives_called_like_splits_hold_class_folders(tmp_path, kind, names, within):
    for number, name in enumerate(names):
        front = within.format(name=name)
        files = {f"{front}{word}/{label}.png": png(10 * number + label) for label, word in enumerate(EXPRESSIONS)}
        pack(tmp_path / "packed" / f"{name}.{kind}", {**files, "README": b"about"})
        shutil.unpack_archive(tmp_path / "packed" / f"{name}.{kind}", tmp_path / "unpacked" / name)
    (tmp_path / "packed" / "sample_submission.csv").write_text("id,label\n1,0\n")
    packed, unpacked = open_dataset(tmp_path / "packed"), open_dataset(tmp_path / "unpacked")
    assert named(packed) == named(unpacked)
    assert packed.load().digest() == unpacked.load().digest()
    many = f"2 {kind[:3]} archives" if len(names) > 1 else f"a {kind[:3]} archive"
    assert packed.format == f"class folders in {many}"


def test_a_table_beside_archives_of_pictures(tmp_path):
    for split in ("train", "test"):
        pack(tmp_path / f"{split}.zip", {f"{split}_{name}.png": png(ord(name)) for name in "ab"})
    rows = ["train_a.png,happy", "train_b.png,sad", "test_a.png,sad"]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label", *rows]))
    assert named(open_dataset(tmp_path)) == {
        "test/test_a.png": ("test", "sad"),
        "train/train_a.png": ("train", "happy"),
        "train/train_b.png": ("train", "sad"),
    }
    (tmp_path / "labels.csv").write_text("path,label\ntrain_b.png,happy")
    assert named(open_dataset(tmp_path)) == {"train/train_b.png": ("train", "happy")}


def test_tables_of_pixels_come_before_archives_beside_them(tmp_path):
    write_shards(tmp_path)
    (tmp_path / "fer2013.csv").write_text(f"emotion,pixels,Usage\n3,{' '.join(['7'] * 2304)},Training\n")
    assert open_dataset(tmp_path).format == "FER2013 CSV"


@pytest.mark.parametrize("names", [("happy.zip", "sad.zip"), ("train.zip", "train.tar"), ("train.zip", "extra.zip")])
def test_other_archives_side_by_side_are_refused(tmp_path, names):
    for name in names:
        pack(tmp_path / name, {"happy/a.png": png(1), "sad/b.png": png(2)})
    with pytest.raises(DataError, match="unpack what is packed there"):
        open_dataset(tmp_path)


def test_class_folders_in_numbered_archives_are_refused(tmp_path):
    for name in ("part-1.zip", "part-2.zip"):
        pack(tmp_path / name, {"happy/a.png": png(1), "sad/b.png": png(2)})
    with pytest.raises(DataError, match="unpack what is packed there"):
        open_dataset(tmp_path)


def test_a_pattern_with_braces(tmp_path):
    root = write_shards(tmp_path / "shards")
    dataset = open_dataset(root / "train-{000000..000001}.tar")
    assert {split for split, _ in named(dataset).values()} == {"train"}
    assert len(dataset.load()) == 4
    assert len(open_dataset(tmp_path / "shards" / "{train,test}-000000.tar")) == 3
    for split in ("train", "test"):
        pack(tmp_path / "other" / split / "0.tar", shard(0, "happy"))
    assert named(open_dataset(tmp_path / "other" / "test" / "{0..0}.tar")) == {"0.tar/000000.png": ("test", "happy")}
    assert len(open_dataset(tmp_path / "other" / "{train,test}" / "0.tar")) == 2


def test_what_a_pattern_names_must_be_there(tmp_path):
    root = write_shards(tmp_path / "shards")
    with pytest.raises(UsageError, match=r"no such file: train-000002\.tar .1 of the 3 that .* names"):
        open_dataset(root / "train-{000000..000002}.tar")
    with pytest.raises(UsageError, match="no such file or folder"):
        open_dataset(root / "train-{x}.tar")
    (root / "a.csv").touch()
    (root / "b.csv").touch()
    with pytest.raises(UsageError, match="must have numbers or name splits"):
        open_dataset(root / "{a,b}.csv")


def test_a_shard_that_is_a_link_to_nothing_is_named(tmp_path):
    root = write_shards(tmp_path / "faces")
    try:
        (root / "train-000002.tar").symlink_to(tmp_path / "nowhere")
    except OSError:
        pytest.skip("links may not be made here")
    with pytest.raises(DataError, match=r"a link to nothing: train-000002\.tar"):
        open_dataset(root)


def test_tables_of_pixels_in_archives_that_a_pattern_names(tmp_path):
    for name in ("train-1.zip", "train-2.zip"):
        pack(tmp_path / name, {"a.txt": b"about"})
    with pytest.raises(DataError, match="it holds no images"):
        open_dataset(tmp_path / "train-{1..2}.zip")
    pack(tmp_path / "train-1.zip", {"x.csv": f"emotion,pixels\n3,{' '.join(['7'] * 2304)}\n".encode()})
    assert open_dataset(tmp_path / "train-{1..2}.zip").format == "CSV in 2 zip archives"


def test_parquet_beside_archives_is_read(tmp_path):
    (tmp_path / "train.parquet").write_bytes(b"rubbish")
    pack(tmp_path / "train.zip", {"happy/a.png": png(1), "sad/b.png": png(2)})
    pytest.importorskip("pyarrow")
    with pytest.raises(DataError, match="is no Parquet file"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("pattern", ["{99999999..0}", "{0..99999999}", "{0..999}{0..999}"])
def test_patterns_of_none_and_of_too_many_are_refused(pattern):
    with pytest.raises(UsageError, match="makes more than 100,000 names of"):
        expand(f"x-{pattern}.tar")


@given(st.integers(0, 10**6), st.integers(0, 20), st.integers(1, 9), st.sampled_from(["train-", "", "a{b}"]))
def test_numbers_in_braces_are_counted_with_zeros(first, more, width, front):
    names = expand(f"{front}{{{first:0{width}}..{first + more:0{width}}}}.tar")
    assert names == [f"{front}{number:0{max(width, 0)}}.tar" for number in range(first, first + more + 1)]


@given(st.text("{},.0123456789ab", max_size=14))
def test_any_pattern_is_expanded_or_refused(text):
    try:
        names = expand(text)
    except UsageError:
        return
    assert 0 < len(names) <= MOST_NAMES
    assert names == [text] or "{" in text


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train-000017.tar", "train"),
        ("fer-train-000017.tar", "train"),
        ("train-00000-of-00004.tar", "train"),
        ("faces_val.tar.gz", "val"),
        ("test/000.tar", "test"),
        ("data/validation/faces-000.tar", "val"),
        ("train/test-000.tar", "test"),
        ("faces-000.tar", None),
        ("000.tar", None),
        ("", None),
    ],
)
def test_the_split_of_a_shard(name, split):
    assert shard_split(name) == split


@given(st.text("0123456789-_.of ab", max_size=400))
def test_any_name_of_a_shard_is_looked_at_quickly(name):
    assert shard_split(f"train-{name}x") in ("train", None)


def test_notes_of_boxes_beside_archives_of_their_splits(tmp_path):
    root = write_yolo(tmp_path / "data")
    for split in ("train", "valid"):
        shutil.make_archive(str(root / split), "zip", root, split)
        shutil.rmtree(root / split)
    dataset = open_dataset(root)
    assert dataset.format == "YOLO boxes in 2 zip archives"
    assert dataset.counts()["train"]["disgust"] == 1
    (root / "data.yaml").unlink()
    with pytest.raises(DataError, match="nothing says what these mean"):
        open_dataset(root)


def test_tables_of_parquet_that_hold_no_pictures_leave_shards_to_be_read(tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    for number in range(2):  # as img2dataset writes them
        pack(tmp_path / f"{number:05d}.tar", shard(number, "happy", "sad", ending="json"))
        parquet.write_table(arrow.table({"key": ["0", "1"], "label": ["x", "y"]}), tmp_path / f"{number:05d}.parquet")
    assert open_dataset(tmp_path).counts()["train"]["sad"] == 2
    cells = [{"bytes": png(1)}, {"bytes": png(2)}]
    parquet.write_table(arrow.table({"image": cells, "label": ["happy", "sad"]}), tmp_path / "00000.parquet")
    (tmp_path / "00001.parquet").unlink()
    assert open_dataset(tmp_path).format == "Parquet"


def test_shards_without_classes_are_told_what_they_lack(tmp_path):
    pack(tmp_path / "00000.tar", {"1.png": png(1), "1.txt": b"a smiling person"})
    with pytest.raises(DataError, match=r"shards need a file with its class beside each picture \(1.cls"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(("folder", "split"), [("test", "test"), ("test_of_downloads", "train")])
def test_the_folder_of_shards_says_a_split_only_where_it_is_called_so(tmp_path, folder, split):
    for number in range(2):
        pack(tmp_path / folder / f"{number:05d}.tar", shard(number, "happy", "sad"))
    assert set(open_dataset(tmp_path / folder).splits) == {split}

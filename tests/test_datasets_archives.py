"""Archives are read as what they hold, and nothing in them is trusted."""

import io
import tarfile
import zipfile

import cv2
import numpy as np
import pytest

from archives import pack, png
from mien.datasets import convert, open_dataset
from mien.errors import DataError
from mien.labels import EXPRESSIONS
from mien.preprocessing import InputSpec

TARS = ["x.tar", "x.tar.gz", "x.tar.xz", "x.tar.bz2", "x.tgz"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path_factory.mktemp("cache")))


def members() -> dict[str, bytes]:
    """FER2013's folders in a wrapping one, with the usual rubbish."""
    files = {
        f"FER2013/{split}/{name}/{prefix}_{label}.png": png(label + 10 * len(prefix))
        for label, name in enumerate(EXPRESSIONS)
        for split, prefix in (("train", "Training"), ("test", "PublicTest"), ("test", "PrivateTest"))
    }
    return {**files, "FER2013/README.md": b"about", "__MACOSX/FER2013/train/happy/._x.png": b"rubbish"}


@pytest.fixture
def folder(tmp_path):
    for name, data in members().items():
        path = tmp_path / "unpacked" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "unpacked"


@pytest.mark.parametrize("name", ["x.zip", *TARS])
def test_an_archive_gives_what_the_folder_gives(tmp_path, folder, name):
    expected = open_dataset(folder).load()
    dataset = open_dataset(pack(tmp_path / name, members()))
    assert dataset.format == f"FER2013 folder in a {'zip' if name == 'x.zip' else 'tar'} archive"
    assert dataset.streamable == (name in ("x.zip", "x.tar"))
    for _ in range(2):  # decoded, then from the cache
        faces = open_dataset(tmp_path / name).load()
        assert faces.digest() == expected.digest()
        assert faces.names.tolist() == expected.names.tolist()
        assert faces.counts() == expected.counts()


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz"])
@pytest.mark.parametrize("form", ["fer2013.csv", "faces.npz"])
def test_tables_within_archives(tmp_path, folder, name, form):
    convert(folder, tmp_path / form)
    pack(tmp_path / name, {f"fer2013/{form}": (tmp_path / form).read_bytes(), "fer2013/README": b"about"})
    assert open_dataset(tmp_path / name).load().digest() == open_dataset(folder).load().digest()


@pytest.mark.parametrize("name", ["x.zip", *TARS])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_an_archive_cut_short(tmp_path, name, part):
    path = pack(tmp_path / name, members())
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(DataError, match="damaged or cut short") as caught:
        open_dataset(path)
    assert caught.value.items == (str(path),)


def test_a_tar_cut_between_two_members(tmp_path):
    path = pack(tmp_path / "x.tar", members())
    with tarfile.open(path) as archive:
        end = archive.getmembers()[5].offset
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(DataError, match="its end is missing"):
        open_dataset(path)


@pytest.mark.parametrize("archive", ["x.zip", "x.tar"])
@pytest.mark.parametrize(
    "name", ["../evil.png", "train/../../evil.png", "/etc/evil.png", "C:/evil.png", "..\\evil.png"]
)
def test_names_that_lead_out_are_refused(tmp_path, archive, name):
    path = pack(tmp_path / archive, {**members(), name: png(0)})
    with pytest.raises(DataError, match="member names that lead out of the archive") as caught:
        open_dataset(path)
    assert caught.value.items == (name,)


@pytest.mark.parametrize("name", ["x.zip", "x.tar"])
def test_a_bad_member_is_named_or_skipped(tmp_path, name):
    path = pack(tmp_path / name, {**members(), "FER2013/train/happy/bad.png": b"rubbish"})
    dataset = open_dataset(path)
    with pytest.raises(DataError, match=r"FER2013/train/happy/bad.png \(cannot be decoded"):
        dataset.load()
    assert len(dataset.load(skip_bad=True)) == 21


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz"])
def test_a_bomb_is_not_unpacked(tmp_path, name):
    path = pack(tmp_path / name, {**members(), "FER2013/train/happy/bomb.png": bytes(65 * 1024**2)})
    with pytest.raises(DataError, match=r"bomb.png \(larger than 64 MiB\)"):
        open_dataset(path).load()


def test_an_encrypted_zip_is_refused(tmp_path):
    path = pack(tmp_path / "x.zip", {"train/happy/a.png": png(1), "train/sad/b.png": png(2)})
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = data.find(signature)
        while start >= 0:
            data[start + offset] |= 1
            start = data.find(signature, start + 1)
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match="encrypted"):
        open_dataset(path).load()


def test_links_within_a_tar_are_not_followed(tmp_path):
    path = pack(tmp_path / "x.tar", members())
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("FER2013/train/happy/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert len(open_dataset(path)) == 21


def link(archive: tarfile.TarFile, name: str, to: str) -> None:
    hard = tarfile.TarInfo(name)
    hard.type, hard.linkname = tarfile.LNKTYPE, to
    archive.addfile(hard)


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz"])
def test_hard_links_within_a_tar_are_their_files(tmp_path, folder, name):
    one, other = (folder / "FER2013" / "train" / file for file in ("happy/Training_3.png", "happy/again.png"))
    other.hardlink_to(one)
    with tarfile.open(tmp_path / name, "w:gz" if name.endswith("gz") else "w") as archive:
        archive.add(folder, ".")
        assert [member.islnk() for member in archive].count(True) == 1
    faces = open_dataset(tmp_path / name).load()
    assert len(faces) == 22
    assert faces.digest() == open_dataset(folder).load().digest()
    assert open_dataset(tmp_path / name).read(0, InputSpec(48)).shape == (48, 48, 1)


def test_hard_links_to_nothing_and_to_what_is_too_large_are_named(tmp_path):
    path = pack(tmp_path / "x.tar", {**members(), "FER2013/train/happy/bomb.png": bytes(65 * 1024**2)})
    with tarfile.open(path, "a") as archive:
        link(archive, "FER2013/train/sad/large.png", "FER2013/train/happy/bomb.png")
        link(archive, "FER2013/train/sad/lost.png", "../../etc/passwd")
    faces = open_dataset(path).load(skip_bad=True)
    assert faces.skipped == (
        "FER2013/train/happy/bomb.png (larger than 64 MiB)",
        "FER2013/train/sad/large.png (larger than 64 MiB)",
        "FER2013/train/sad/lost.png (is gone)",
    )


@pytest.mark.parametrize("kind", ["x.zip", "x.tar", "x.tar.gz"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_members_with_one_name_the_last_counts(tmp_path, kind):
    name, also = "FER2013/train/sad/Training_5.png", "FER2013/train/sad/also.png"
    files = [*members().items(), (also, png(200)), (name, png(201)), ("FER2013/classes.txt", b"old")]
    if kind == "x.zip":
        with zipfile.ZipFile(tmp_path / kind, "w") as archive:
            for file, data in files:
                archive.writestr(file, data)
    else:
        with tarfile.open(tmp_path / kind, "w:gz" if kind.endswith("gz") else "w") as archive:
            for file, data in files:
                info = tarfile.TarInfo(file)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    dataset = open_dataset(tmp_path / kind)
    row = dataset.names.tolist().index(name)
    expected = cv2.imdecode(np.frombuffer(png(201), np.uint8), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(dataset.load().images[row, ..., 0], expected)
    np.testing.assert_array_equal(dataset.read(row, InputSpec(48))[..., 0], expected)


@pytest.mark.parametrize("rubbish", [None, b"rubbish", b""])
def test_a_damaged_npz(tmp_path, folder, rubbish):
    convert(folder, tmp_path / "x.npz")
    half = (tmp_path / "x.npz").read_bytes()[:5000]
    (tmp_path / "x.npz").write_bytes(half if rubbish is None else rubbish)
    with pytest.raises(DataError, match=r"npz file is damaged or cut short .*x\.npz"):
        open_dataset(tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.array([0, 9])}, "labels without a name .* 9"),
        ({"labels": np.array([0])}, "one value for each of 2 images"),
        ({"labels": np.array([0.5, 1.0])}, "one value for each of 2 images"),
        ({"splits": np.array(["train", "dev"])}, "unknown splits; allowed are train"),
        ({"images": np.zeros((2, 8, 9), np.uint8)}, "images must be uint8"),
        ({"images": np.zeros((2, 8, 8), np.float32)}, "images must be uint8"),
        ({"classes": None}, "lacks the arrays: classes"),
        ({"names": np.array([1, 2])}, "must be arrays of text, classes a row of it: names"),
        ({"names": np.array([b"a", b"b"])}, "must be arrays of text, classes a row of it: names"),
        ({"names": np.array(["a", "a"])}, "names must differ; these stand there twice: a"),
        ({"splits": np.array([0, 1])}, "must be arrays of text, classes a row of it: splits"),
        ({"classes": np.array([0, 1])}, "must be arrays of text, classes a row of it: classes"),
        ({"classes": np.array("catdog")}, "must be arrays of text, classes a row of it: classes"),
        ({"classes": np.array(["cat", "cat"])}, "classes must differ; these stand there twice: cat"),
    ],
)
def test_an_npz_that_does_not_hold_together(tmp_path, change, message):
    arrays = {
        "images": np.zeros((2, 8, 8), np.uint8),
        "labels": np.array([0, 1]),
        "splits": np.array(["train", "test"]),
        "names": np.array(["a", "b"]),
        "classes": np.array(["cat", "dog"]),
    }
    np.savez(tmp_path / "x.npz", **{name: array for name, array in {**arrays, **change}.items() if array is not None})
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path / "x.npz")


def test_a_npy_called_npz(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 8, 8), np.uint8))
    (tmp_path / "x.npy").rename(tmp_path / "x.npz")
    with pytest.raises(DataError, match=r"holds one array, as \.npy files do; npz files hold images, .*x\.npz"):
        open_dataset(tmp_path / "x.npz")


def test_a_zip_with_the_slashes_of_windows(tmp_path, folder):
    path = tmp_path / "packed.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            member = zipfile.ZipInfo()
            member.filename = str(file.relative_to(folder)).replace("/", "\\") + "\\" * file.is_dir()
            archive.writestr(member, b"" if file.is_dir() else file.read_bytes())
    unpacked, packed = open_dataset(folder), open_dataset(path)
    assert packed.counts() == unpacked.counts()
    assert (packed.load().images == unpacked.load().images).all()


def test_a_sparse_member_of_a_tar_is_whole(tmp_path):
    header = b"P5 48 48 255\n"
    path = pack(tmp_path / "x.tar", members())
    with tarfile.open(path, "a", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("FER2013/train/sad/dark.pgm")
        member.size = len(header)
        member.pax_headers = {"GNU.sparse.map": f"0,{len(header)}", "GNU.sparse.size": str(len(header) + 48 * 48)}
        archive.addfile(member, io.BytesIO(header))
        archive.addfile(tarfile.TarInfo("FER2013/train/sad/note.txt"), io.BytesIO())
    dataset = open_dataset(path)
    row = dataset.names.tolist().index("FER2013/train/sad/dark.pgm")
    assert dataset.read(row, InputSpec(48)).max() == dataset.load().images[row].max() == 0


def test_a_tar_that_shrinks_while_it_is_read(tmp_path):
    path = pack(tmp_path / "x.tar", members())
    dataset = open_dataset(path)
    path.write_bytes(path.read_bytes()[:20_000])
    faces = dataset.load(skip_bad=True, cache=False)
    assert 0 < len(faces) < 21
    assert all(problem.endswith("(is cut short in x.tar)") for problem in faces.skipped)
    path.unlink()
    with pytest.raises(DataError, match="cannot be read from the archive"):
        dataset.load()

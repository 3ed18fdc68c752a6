"""CSV files of faces: the known editions, and each kind of bad row."""

import bz2
import csv
import gzip
import io
import lzma
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.datasets import open_dataset
from mien.datasets.tables import read_csv
from mien.errors import DataError
from mien.labels import EXPRESSIONS, FER2013_INDICES
from mien.preprocessing import InputSpec

PIXELS = 48 * 48


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path_factory.mktemp("cache")))


def pixels(value: int, count: int = PIXELS) -> str:
    return " ".join([str(value)] * count)


def fer2013(path: Path, extra: str = "") -> Path:
    """All seven emotions in all three Usages; the pixels are the emotion's number."""
    rows = [
        f"{emotion},{pixels(emotion)},{usage}"
        for usage in ("Training", "PublicTest", "PrivateTest")
        for emotion in range(7)
    ]
    path.write_text("\n".join(["emotion,pixels,Usage", *rows, extra]))
    return path


def test_fer2013_csv_is_mapped_by_name(tmp_path):
    dataset = open_dataset(fer2013(tmp_path / "fer2013.csv"))
    assert dataset.format == "FER2013 CSV"
    assert dataset.counts() == {split: dict.fromkeys(EXPRESSIONS, 1) for split in ("train", "public", "private")}
    faces = dataset.load()
    assert faces.images.shape == (21, 48, 48, 1)
    assert [faces.classes[label] for label in faces.labels[:7]] == list(FER2013_INDICES)
    assert faces.images[:7, 0, 0, 0].tolist() == list(range(7))
    assert faces.names[0] == "fer2013.csv:2"


def test_icml_csv_with_spaces_and_other_order(tmp_path):
    path = tmp_path / "icml_face_data.csv"
    path.write_text(f"emotion, Usage, pixels\r\n3,Training,{pixels(9)}\r\n6, PublicTest,{pixels(8)}\r\n")
    dataset = open_dataset(path)
    assert dataset.format == "ICML CSV"
    assert [dataset.classes[label] for label in dataset.labels] == ["happy", "neutral"]
    assert dataset.splits.tolist() == ["train", "public"]


def test_kaggle_train_and_test(tmp_path):
    (tmp_path / "train.csv").write_text(f'emotion,pixels\n0,"{pixels(1)}"\n4,"{pixels(2)}"\n')
    (tmp_path / "test.csv").write_text(f'pixels\n"{pixels(3)}"\n')
    dataset = open_dataset(tmp_path)
    assert dataset.format == "Kaggle CSV"
    assert dataset.labels.tolist() == [0, 5, -1]
    assert dataset.splits.tolist() == ["train", "train", "test"]
    assert len(open_dataset(tmp_path / "test.csv")) == 1


@pytest.mark.parametrize("names", ["train val test", "train valid test", "fer_train fer_dev fer_test"])
def test_a_table_of_pixels_for_each_split(tmp_path, names):
    for name in names.split():
        (tmp_path / f"{name}.csv").write_text(f"emotion,pixels\n3,{pixels(1)}\n")
    assert sorted(open_dataset(tmp_path).splits.tolist()) == ["test", "train", "val"]


@pytest.mark.parametrize(("name", "split"), [("val.csv", "val"), ("mine.csv", "train")])
def test_a_csv_of_any_name_is_read_where_it_is_alone_and_its_name_may_say_its_split(tmp_path, name, split):
    (tmp_path / name).write_text(f"pixels\n{pixels(7)}\n")
    for path in (tmp_path, tmp_path / name):
        dataset = open_dataset(path)
        assert (dataset.format, dataset.splits.tolist(), dataset.labels.tolist()) == ("CSV", [split], [-1])
    (tmp_path / name).write_text(f"Usage,pixels\nValidation,{pixels(7)}\nTest,{pixels(8)}\n")
    assert open_dataset(tmp_path).splits.tolist() == ["val", "test"]


def test_the_known_name_is_taken_among_several(tmp_path):
    (tmp_path / "data").mkdir()
    fer2013(tmp_path / "data" / "fer2013.csv")
    (tmp_path / "data" / "example_submission.csv").write_text("emotion\n0\n")
    assert len(open_dataset(tmp_path)) == 21


def test_several_unknown_tables_are_named(tmp_path):
    for name in ("a.csv", "b.csv"):
        fer2013(tmp_path / name)
    with pytest.raises(DataError, match="several files could be the dataset") as caught:
        open_dataset(tmp_path)
    assert caught.value.items == ("a.csv", "b.csv")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (f"0,{pixels(1, PIXELS - 1)},Training", "2,303 pixels where 2,304 are expected"),
        (f"0,{pixels(1, PIXELS + 1)},Training", "2,305 pixels where 2,304 are expected"),
        (f"0,{pixels(256)},Training", "pixel values from 256 to 256; allowed are 0 to 255"),
        (f"0,{pixels(-1)},Training", "pixel values from -1 to -1"),
        (f"0,{pixels(1, PIXELS - 1)} x,Training", "pixels that are not whole numbers"),
        (f"0,{pixels(1, PIXELS)} x,Training", "pixels that are not whole numbers"),
        (f"0,{pixels(1, PIXELS - 1)} 1.5,Training", "pixels that are not whole numbers"),
        ("0,,Training", "0 pixels where"),
        (f"7,{pixels(1)},Training", "emotion '7' has no name; allowed are 0 to 6"),
        (f"-1,{pixels(1)},Training", "emotion '-1' has no name"),
        (f",{pixels(1)},Training", "emotion '' has no name"),
        (f"0,{pixels(1)},Practice", "unknown Usage 'Practice'; allowed are Training"),
        ("0", "1 field where 3 are expected"),
    ],
)
def test_bad_rows_are_named_with_their_line(tmp_path, row, reason):
    dataset = open_dataset(fer2013(tmp_path / "fer2013.csv", extra=row))
    with pytest.raises(DataError, match="1 of 22 faces cannot be used") as caught:
        dataset.load()
    assert caught.value.items[0].startswith("fer2013.csv:23 (")
    assert reason in caught.value.items[0]
    faces = dataset.load(skip_bad=True)
    assert (len(faces), len(faces.skipped)) == (21, 1)


@pytest.mark.parametrize("usage", ["training", "TRAINING", " Training ", "train"])
def test_usage_in_any_case(tmp_path, usage):
    path = tmp_path / "x.csv"
    path.write_text(f"emotion,pixels,USAGE\n3,{pixels(1)},{usage}\n4,{pixels(2)},privatetest\n5,{pixels(2)},dev\n")
    assert open_dataset(path).splits.tolist() == ["train", "private", "val"]


@pytest.mark.parametrize("emotions", [("3", "4"), ("3.0", "4."), ("03", "4.00"), ("Happy", "sadness")])
def test_emotions_as_numbers_of_any_form_and_as_names(tmp_path, emotions):
    path = tmp_path / "fer2013.csv"
    path.write_text("\n".join(["emotion,pixels", *(f"{emotion},{pixels(1)}" for emotion in emotions)]))
    dataset = open_dataset(path)
    assert dataset.problems == ()
    assert [dataset.classes[label] for label in dataset.labels] == ["happy", "sad"]


@pytest.mark.parametrize("emotion", ["3.5", "7.0", "hapy", "3e0", "-3", "٣"])
def test_emotions_that_are_none(tmp_path, emotion):
    path = tmp_path / "fer2013.csv"
    path.write_text(f"emotion,pixels\n3,{pixels(1)}\n{emotion},{pixels(1)}\n", encoding="utf-8")
    reason = f"emotion {emotion!r} has no name; allowed are 0 to 6 and {', '.join(EXPRESSIONS)}"
    assert open_dataset(path).problems == (f"fer2013.csv:3 ({reason})",)


@pytest.mark.parametrize("kind", ["file", "folder", "zip", "tar"])
def test_a_packed_csv_is_read_as_it_is_unpacked(tmp_path, kind):
    plain = fer2013(tmp_path / "fer2013.csv")
    expected = open_dataset(plain).load()
    root = tmp_path / "packed"
    root.mkdir()
    packed = root / "FER2013.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    path = {"file": packed, "folder": root}.get(kind) or shutil.make_archive(str(tmp_path / "x"), kind, root)
    for _ in range(2):  # parsed, then from the cache
        dataset = open_dataset(path)
        assert dataset.format.startswith("FER2013 CSV")
        assert dataset.load().digest() == expected.digest()


def test_of_a_csv_and_the_same_packed_the_first_is_read(tmp_path):
    data = fer2013(tmp_path / "own.csv").read_bytes()
    (tmp_path / "own.csv.gz").write_bytes(gzip.compress(data[:100]))
    assert len(open_dataset(tmp_path)) == 21


PACKING = {"gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress}


@pytest.mark.parametrize("kind", PACKING)
@pytest.mark.parametrize("named", ["fer2013.csv", "fer2013.csv.{}"])
def test_a_packed_csv_is_told_by_its_contents(tmp_path, kind, named):
    plain = fer2013(tmp_path / "plain.csv")
    expected = open_dataset(plain).load()
    path = tmp_path / "packed" / named.format(kind)
    path.parent.mkdir()
    path.write_bytes(PACKING[kind](plain.read_bytes()))
    for source in (path, path.parent):
        dataset = open_dataset(source)
        assert dataset.format == "FER2013 CSV"
        assert dataset.load().digest() == expected.digest()


def test_a_zip_that_is_called_csv(tmp_path):
    plain = fer2013(tmp_path / "plain.csv")
    path = tmp_path / "fer2013.csv"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(plain, "fer2013.csv")
    assert open_dataset(path).format == "FER2013 CSV in a zip archive"


@pytest.mark.parametrize("kind", PACKING)
@pytest.mark.parametrize("damage", ["cut", "a bit"])
def test_a_damaged_packed_csv(tmp_path, kind, damage):
    data = PACKING[kind](fer2013(tmp_path / "fer2013.csv").read_bytes())
    path = tmp_path / f"x.csv.{kind}"
    path.write_bytes(data[: len(data) // 2] if damage == "cut" else data[:-12] + b"0" * 12)
    with pytest.raises(DataError, match=rf"cannot be read.*: x\.csv\.{kind}"):
        open_dataset(path)


def test_a_packed_csv_that_unpacks_to_too_much(tmp_path, monkeypatch):
    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress(fer2013(tmp_path / "fer2013.csv").read_bytes()))
    monkeypatch.setattr("mien.datasets.packing.MAX_TABLE_BYTES", 10_000)
    with pytest.raises(DataError, match="unpacks to more than"):
        open_dataset(path)


def test_commas_within_quotes_split_nothing(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(
        f'"path, or so",emotion,pixels,Usage\n'
        f'"a, 17",3,{pixels(1)},Training\n'
        f'"he said ""a, b"", twice" ,4,"{pixels(2)}",PublicTest\n'
        f'plain,5,"{pixels(3)}","Training"\n'
    )
    dataset = open_dataset(path)
    assert dataset.problems == ()
    assert [dataset.classes[label] for label in dataset.labels] == ["happy", "sad", "surprise"]
    assert dataset.splits.tolist() == ["train", "public", "train"]
    assert dataset.load().images[:, 0, 0, 0].tolist() == [1, 2, 3]


def test_a_quote_that_is_not_closed_splits_as_if_it_were_none(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(f'emotion,pixels,Usage,path\n3,{pixels(1)},Training,5" disk\n3,"{pixels(2)},Training,a\n')
    assert open_dataset(path).load().images[:, 0, 0, 0].tolist() == [1, 2]


def test_quoted_commas_beside_faces_of_any_size():
    """`csv.reader` would refuse a field of more than 131,072 characters."""
    row = f'"a, 17",{pixels(255, 224 * 224)},0\n'
    table = read_csv(io.BytesIO(b"path,pixels,emotion\n" + row.encode()), "x.csv")
    assert (table.pixels.shape, table.problems) == ((1, 224, 224), ())


WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=9)


@given(WORDS, WORDS, st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]))
def test_any_other_columns_are_passed_over(before, after, quoting):
    written = io.StringIO(newline="")
    rows = csv.writer(written, quoting=quoting)
    rows.writerow(["before, it", "emotion", "pixels", "after", "Usage"])
    rows.writerow([before, 3, pixels(7, 64), after, "PublicTest"])
    table = read_csv(io.BytesIO(written.getvalue().encode()), "x.csv")
    assert table.problems == ()
    assert (table.labels.tolist(), table.splits.tolist()) == ([EXPRESSIONS.index("happy")], ["public"])
    assert (table.pixels == 7).all()


def test_a_bad_first_row_does_not_spoil_the_others(tmp_path):
    path = tmp_path / "fer2013.csv"
    path.write_text(f"emotion,pixels,Usage\n0,1 2 3,Training\n0,{pixels(1)},Training\n0,{pixels(2)},Training\n")
    assert open_dataset(path).problems == ("fer2013.csv:2 (3 pixels where 2,304 are expected)",)


def test_other_sizes_are_read_where_the_rows_agree(tmp_path):
    path = tmp_path / "small.csv"
    path.write_text(f"emotion,pixels,Usage\n0,{pixels(1, 100)},Training\n1,{pixels(2, 100)},Training\n")
    assert open_dataset(path).load(InputSpec(10, 1)).images.shape == (2, 10, 10, 1)


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "emotion,pixels,Usage\n", "\x00\x01\n"])
def test_files_without_faces(tmp_path, text):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(DataError, match=r"x\.csv"):
        open_dataset(tmp_path / "x.csv")


@given(
    st.integers(8, 12).flatmap(
        lambda side: st.lists(st.binary(min_size=side**2, max_size=side**2), min_size=1, max_size=4)
    )
)
def test_any_pixels_come_back_as_they_were_written(images):
    rows = [f"0,{' '.join(map(str, image))},Training\n" for image in images]
    table = read_csv(io.BytesIO(b"emotion,pixels,Usage\n" + "".join(rows).encode()), "x.csv")
    assert not table.problems
    assert [face.tobytes() for face in table.pixels] == images


@given(st.binary(max_size=300))
def test_any_bytes_are_faces_or_a_named_problem(noise):
    whole = b"emotion,pixels,Usage\n" + noise
    if not noise.strip():
        with pytest.raises(DataError, match="no rows"):
            read_csv(io.BytesIO(whole), "x.csv")
        return
    table = read_csv(io.BytesIO(whole), "x.csv")
    assert len(table.labels) + len(table.problems) > 0
    assert table.pixels.shape[0] == len(table.labels) == len(table.splits) == len(table.names)


def test_a_table_is_parsed_once(tmp_path, monkeypatch):
    path = fer2013(tmp_path / "fer2013.csv", extra="9,1,Training")
    first = open_dataset(path)
    monkeypatch.setattr("mien.datasets.assembling.read_csv", None)
    again = open_dataset(path)
    assert again.problems == first.problems
    np.testing.assert_array_equal(again.load(skip_bad=True).images, first.load(skip_bad=True).images)


def test_a_table_that_was_read_otherwise_is_parsed_anew(tmp_path, monkeypatch):
    path = fer2013(tmp_path / "fer2013.csv")
    monkeypatch.setattr("mien.datasets.assembling.READING", 0)
    with monkeypatch.context() as patched:
        patched.setattr("mien.datasets.tables._read_row", lambda rows, *_: rows.problems.append("refused"))
        assert set(open_dataset(path).problems) == {"refused"}
    assert set(open_dataset(path).problems) == {"refused"}
    monkeypatch.setattr("mien.datasets.assembling.READING", 1)
    assert open_dataset(path).problems == ()


@pytest.mark.parametrize("between", [";", "\t"])
def test_what_stands_between_columns(tmp_path, between):
    path = tmp_path / "x.csv"
    rows = (["emotion", "pixels", "Usage"], ["3", pixels(7), "PublicTest"], ["0", f'"{pixels(8)}"', "Training"])
    path.write_text("\n".join(between.join(row) for row in rows))
    dataset = open_dataset(path)
    assert dataset.counts()["public"]["happy"] == 1
    assert dataset.load().images[:, 0, 0, 0].tolist() == [7, 8]


@pytest.mark.parametrize("written", ["9.0", "9.", "9.00"])
def test_pixels_written_as_floating_point_numbers(tmp_path, written):
    path = tmp_path / "x.csv"
    path.write_text(f"emotion,pixels\n3,{' '.join([written] * PIXELS)}\n3,{' '.join(['0.5'] * PIXELS)}\n")
    dataset = open_dataset(path)
    assert dataset.load(skip_bad=True).images[0, 0, 0, 0] == 9
    assert dataset.problems == ("x.csv:3 (pixels that are not whole numbers from 0 to 255)",)


@pytest.mark.parametrize("written", ['"[{}]"', "[{}]"])
def test_pixels_as_lists(tmp_path, written):
    path = tmp_path / "x.csv"
    listed = pixels(9, 64 * 64).replace(" ", ", " if '"' in written else " ")
    path.write_text(f"emotion,pixels\n3,{written.format(listed)}\n")
    assert open_dataset(path).load().images[0, 0, 0, 0] == 9


def test_other_names_of_the_columns(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(f"Label,pixels,split\nHappiness,{pixels(1)},test\nsad,{pixels(1)},train\n")
    assert open_dataset(path).counts()["test"]["happy"] == 1
    path.write_text(f"label,pixels\nhappy,{pixels(1)}\n3,{pixels(1)}\nhapy,{pixels(1)}\n")
    assert open_dataset(path).problems == (
        "x.csv:3 (class 3 is a number, and nothing says what it means; FER2013's are known in a column named emotion, "
        "others by a file classes.txt beside the table)",
        f"x.csv:4 (emotion 'hapy' has no name; allowed are {', '.join(EXPRESSIONS)}, contempt)",
    )


def test_contempt_as_ck_extended_has_it(tmp_path):
    path = tmp_path / "ckextended.csv"
    path.write_text("emotion,pixels\n" + "".join(f"{emotion},{pixels(1)}\n" for emotion in (7, 6, "contempt", 8)))
    dataset = open_dataset(path)
    assert dataset.classes == tuple(sorted([*EXPRESSIONS, "contempt"]))
    assert [dataset.classes[label] for label in dataset.labels] == ["contempt", "neutral", "contempt"]
    reason = f"emotion '8' has no name; allowed are 0 to 7 and {', '.join(EXPRESSIONS)}, contempt"
    assert dataset.problems == (f"ckextended.csv:5 ({reason})",)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf16_of_excel(tmp_path, encoding):
    path = tmp_path / "x.csv"
    mark = "" if encoding == "utf-16" else "\ufeff"
    path.write_text(f"{mark}emotion;pixels\r\n3;{pixels(1)}\r\n", encoding=encoding)
    assert open_dataset(path).counts()["train"]["happy"] == 1
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"is UTF-16 text, damaged or too large; save it as UTF-8: x\.csv"):
        open_dataset(path)


def numbered(path, header: str = "emotion,pixels"):
    path.write_text(f"{header}\n" + "".join(f"{number},{pixels(1)}\n" for number in range(3)))
    return path


def words_of(dataset) -> list[str]:
    return [dataset.classes[label] for label in dataset.labels]


def test_numbers_mean_what_a_list_beside_the_table_says(tmp_path):
    path = numbered(tmp_path / "mine.csv")
    assert words_of(open_dataset(path)) == ["angry", "disgust", "fear"]
    (tmp_path / "classes.txt").write_text("Neutral\nhappiness\nsad\n")
    assert words_of(open_dataset(path)) == ["neutral", "happy", "sad"]  # nothing of before comes from the cache
    assert words_of(open_dataset(numbered(tmp_path / "fer2013.csv"))) == ["angry", "disgust", "fear"]
    (tmp_path / "classes.txt").write_text("tired\nhappy\nsad\n")
    with pytest.raises(DataError, match=r"classes of a CSV of pixels are expressions; .* to be others: tired"):
        open_dataset(path)
    (tmp_path / "classes.txt").write_text("1000000000 happy\n")  # which no list of a billion names is made of
    with pytest.raises(DataError, match=r"numbers up to 255; mine\.csv's go to 1000000000"):
        open_dataset(path)
    (tmp_path / "classes.txt").write_text("\n")
    assert words_of(open_dataset(path)) == ["angry", "disgust", "fear"]


@pytest.mark.parametrize(("name", "header"), [("mine.csv", "label,pixels"), ("ferplus.csv", "emotion,pixels")])
def test_numbers_that_may_be_of_another_order_are_never_guessed(tmp_path, name, header):
    path = numbered(tmp_path / name, header)
    with pytest.raises(DataError, match=r"is a number, and nothing says what it means; .* by a file classes\.txt"):
        open_dataset(path).load()
    assert words_of(open_dataset(path, classes=["sad", "fear", "happy"])) == ["sad", "fear", "happy"]


def test_classes_that_are_given_do_not_number_fer2013s_emotions_anew(tmp_path):
    assert words_of(open_dataset(numbered(tmp_path / "train.csv"), classes=EXPRESSIONS[::-1])) == [
        "angry",
        "disgust",
        "fear",
    ]


def test_a_column_for_each_class_beside_pixels_is_refused(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(f"pixels,angry,Happiness\n{pixels(1)},0,1\n")
    with pytest.raises(DataError, match=r"a column for each class \(angry, Happiness\) is not read beside pixels"):
        open_dataset(path)

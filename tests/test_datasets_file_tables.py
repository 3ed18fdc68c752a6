"""Tables that name pictures and what they show: columns, paths, splits and classes, and what is refused."""

import csv
import io
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.datasets import open_dataset
from mien.datasets.file_rows import FILE_COLUMNS, FileTable, Header, Row, read_rows, read_table
from mien.datasets.picture_finding import Finder, find_pictures
from mien.datasets.tables import CLASS_COLUMNS, SPLIT_COLUMNS
from mien.errors import DataError
from mien.labels import EXPRESSIONS
from pictures import write_grey

AFFECTNET = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"


def table(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def named(dataset) -> dict[str, str]:
    """The class of each file."""
    return {str(name): dataset.classes[label] for name, label in zip(dataset.names, dataset.labels, strict=True)}


def split_of(dataset) -> dict[str, str]:
    return dict(zip(dataset.names.tolist(), dataset.splits.tolist(), strict=True))


@pytest.mark.parametrize("kind", ["folder", "named", "zip", "gztar"])
def test_a_table_above_a_folder_of_pictures(tmp_path, kind):
    root = tmp_path / "faces"
    for value, name in enumerate("abc"):
        write_grey(root / "images" / f"{name}.png", 10 * value)
    table(root / "labels.csv", "filename,label,split", "c.png,Happiness,Train", "a.png,sad,TEST", "b.png,ANGER,Dev")
    path = {"folder": root, "named": root / "labels.csv"}.get(kind)
    dataset = open_dataset(path or shutil.make_archive(str(tmp_path / "packed"), kind, root))
    assert dataset.format.startswith("table of files")
    assert dataset.classes == EXPRESSIONS
    assert named(dataset) == {"images/a.png": "sad", "images/b.png": "angry", "images/c.png": "happy"}
    assert dataset.splits.tolist() == ["test", "val", "train"]
    assert dataset.load().images[:, 0, 0, 0].tolist() == [0, 10, 20]


@pytest.mark.parametrize("file", FILE_COLUMNS)
@pytest.mark.parametrize("word", CLASS_COLUMNS)
def test_columns_in_any_case_order_and_spacing(tmp_path, file, word):
    write_grey(tmp_path / "pics" / "a.png")
    table(tmp_path / "list.csv", f"nr, {word.upper()} ,{file.title().replace(chr(95), chr(32))}", "1,happy,pics/a.png")
    assert named(open_dataset(tmp_path)) == {"pics/a.png": "happy"}


@pytest.mark.parametrize(("name", "between"), [("list.tsv", "\t"), ("list.csv", "\t"), ("list.csv", ";")])
def test_other_separators(tmp_path, name, between):
    write_grey(tmp_path / "a, b.png")
    table(tmp_path / name, between.join(["\ufefffile", "class"]), between.join(["a, b.png", "happy"]))
    assert named(open_dataset(tmp_path / name)) == {"a, b.png": "happy"}


def test_windows_paths_and_paths_from_the_table_upwards(tmp_path):
    for name in ("pics/one/a.png", "pics/b.png"):
        write_grey(tmp_path / name)
    table(tmp_path / "lists" / "all.csv", "path,label", "..\\pics\\one\\a.png,happy", "./b.png,sad")
    assert named(open_dataset(tmp_path)) == {"pics/one/a.png": "happy", "pics/b.png": "sad"}


def test_no_file_outside_the_dataset_is_read(tmp_path):
    outside = write_grey(tmp_path / "outside.png")
    write_grey(tmp_path / "data" / "a.png")
    table(tmp_path / "data" / "t.csv", "path,label", "a.png,happy", "../outside.png,sad", f"{outside},sad")
    assert [problem.split(" ")[0] for problem in open_dataset(tmp_path / "data").problems] == ["t.csv:3", "t.csv:4"]


def test_missing_files_are_named_or_skipped(tmp_path):
    write_grey(tmp_path / "a.png")
    table(tmp_path / "t.csv", "path,label", "a.png,happy", "gone.png,sad", "b/a.png,sad")
    dataset = open_dataset(tmp_path)
    with pytest.raises(DataError, match="2 of 3 faces cannot be used") as caught:
        dataset.load()
    assert caught.value.items == ("t.csv:3 (gone.png is not there)", "t.csv:4 (b/a.png is not there)")
    assert len(dataset.load(skip_bad=True)) == 1


@pytest.mark.parametrize("named_file", [False, True])
def test_a_table_of_which_no_file_is_there(tmp_path, named_file):
    write_grey(tmp_path / "pics" / "a.png")
    path = table(tmp_path / "t.csv", "path,label", "b.png,happy")
    with pytest.raises(DataError, match=r"no file that t\.csv names can be found; they are looked for") as caught:
        open_dataset(path if named_file else tmp_path)
    assert caught.value.items == ("t.csv:2 (b.png is not there)",)


def test_a_table_without_rows(tmp_path):
    write_grey(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"no rows that can be used: t\.csv"):
        open_dataset(table(tmp_path / "t.csv", "path,label"))


def test_folders_of_other_names_are_read_where_a_table_is_of_other_pictures(tmp_path):
    for name in ("cat/a.png", "dog/b.png"):
        write_grey(tmp_path / name)
    table(tmp_path / "t.csv", "path,label", "elsewhere.png,happy")
    assert open_dataset(tmp_path).classes == ("cat", "dog")


def test_folders_called_like_expressions_come_before_a_table_that_is_not_named(tmp_path):
    for name in ("happy/a.png", "sad/b.png"):
        write_grey(tmp_path / name)
    path = table(tmp_path / "labels.csv", "pth,label", "happy/a.png,fear", "sad/b.png,sad")
    assert named(open_dataset(tmp_path)) == {"happy/a.png": "happy", "sad/b.png": "sad"}
    assert named(open_dataset(path)) == {"happy/a.png": "fear", "sad/b.png": "sad"}


def test_folders_that_say_nothing_give_way_to_a_table(tmp_path):
    for name in ("S001/a.png", "S002/a.png"):
        write_grey(tmp_path / name)
    table(tmp_path / "t.csv", "path,label", "S001/a.png,happy", "S002/a.png,sad")
    assert named(open_dataset(tmp_path)) == {"S001/a.png": "happy", "S002/a.png": "sad"}


def test_a_csv_of_pixels_is_no_table_of_files(tmp_path):
    table(tmp_path / "t.csv", "path,emotion,pixels", f"a.png,3,{' '.join(['7'] * 64)}")
    assert open_dataset(tmp_path / "t.csv").format == "CSV"


def test_a_table_without_such_columns_says_what_they_are(tmp_path):
    write_grey(tmp_path / "a.png")
    with pytest.raises(DataError, match="expected emotion,pixels,Usage or path,label"):
        open_dataset(table(tmp_path / "t.csv", "a.png,happy"))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("b.png", "1 field where 2 are expected"),
        (",happy", "no file"),
        ("b.png, ", "no class"),
        ("a.png,happy", "a.png stands in t.csv:2 too"),
    ],
)
def test_bad_rows_are_named(tmp_path, row, reason):
    write_grey(tmp_path / "a.png")
    table(tmp_path / "t.csv", "path,label", "a.png,happy", "", row)
    assert open_dataset(tmp_path).problems == (f"t.csv:4 ({reason})",)


def test_a_quote_that_is_not_closed_is_refused(tmp_path):
    write_grey(tmp_path / "a.png")
    table(tmp_path / "t.csv", "path,label", 'a.png,"happy', "b.png,sad")
    with pytest.raises(DataError, match=r"cannot be read .*: t\.csv"):
        open_dataset(tmp_path)


def test_an_unknown_split_is_named(tmp_path):
    write_grey(tmp_path / "a.png")
    write_grey(tmp_path / "b.png")
    table(tmp_path / "t.csv", "path,label,set", "a.png,happy,train", "b.png,sad,practice")
    with pytest.raises(DataError, match=r"t\.csv:3 \(unknown split 'practice'; allowed are .*train.*\)"):
        open_dataset(tmp_path).load()


def test_a_table_for_each_split(tmp_path):
    for name in ("train/1.png", "val/1.png"):
        write_grey(tmp_path / "images" / name)
    table(tmp_path / "train_labels.csv", "image,label", "1.png,happy")
    table(tmp_path / "labels-val.csv", "image,label", "1.png,sad")
    dataset = open_dataset(tmp_path)
    assert named(dataset) == {"images/train/1.png": "happy", "images/val/1.png": "sad"}
    assert split_of(dataset) == {"images/train/1.png": "train", "images/val/1.png": "val"}
    assert set(open_dataset(tmp_path / "labels-val.csv").splits) == {"val"}


def test_a_table_in_each_split_folder(tmp_path):
    for split in ("train", "test"):
        write_grey(tmp_path / split / "1.png")
        table(tmp_path / split / "labels.csv", "image,label", "1.png,happy")
    assert split_of(open_dataset(tmp_path)) == {"train/1.png": "train", "test/1.png": "test"}


def test_the_split_by_folders_on_the_way(tmp_path):
    for name in ("train_set/1.png", "eval/2.png", "3.png"):
        write_grey(tmp_path / name)
    table(tmp_path / "t.csv", "path,label", "train_set/1.png,happy", "eval/2.png,sad", "3.png,sad")
    assert split_of(open_dataset(tmp_path)) == {"3.png": "train", "eval/2.png": "val", "train_set/1.png": "train"}


def test_several_tables_that_do_not_belong_together(tmp_path):
    write_grey(tmp_path / "a.png")
    for name in ("old.csv", "new.csv"):
        table(tmp_path / name, "path,label", "a.png,happy")
    with pytest.raises(DataError, match="several tables of files") as caught:
        open_dataset(tmp_path)
    assert caught.value.items == ("new.csv", "old.csv")
    assert len(open_dataset(tmp_path / "old.csv")) == 1


def test_a_name_in_several_folders(tmp_path):
    for name in ("one/1.png", "two/1.png"):
        write_grey(tmp_path / name)
    write_grey(tmp_path / "2.png")
    table(tmp_path / "t.csv", "path,label", "1.png,happy", "2.png,sad")
    assert open_dataset(tmp_path).problems == ("t.csv:2 (1.png stands in several folders: one/1.png, two/1.png)",)


def test_names_that_all_stand_in_several_folders(tmp_path):
    for name in ("images/one/1.png", "images/two/1.png"):
        write_grey(tmp_path / name)
    path = table(tmp_path / "t.csv", "path,label", "1.png,happy")
    with pytest.raises(DataError, match=r"no file .* can be found; .*1\.png stands in several folders: images/one"):
        open_dataset(path)


def test_an_unknown_class_is_named_with_a_guess(tmp_path):
    for name in "abc":
        write_grey(tmp_path / f"{name}.png")
    table(tmp_path / "t.csv", "path,label", "a.png,happy", "b.png,hapy", "c.png,sad")
    with pytest.raises(DataError, match=r"unknown class \(did you mean happy\?\)") as caught:
        open_dataset(tmp_path)
    assert caught.value.items == ("t.csv:3 (hapy)",)
    table(tmp_path / "classes.txt", "sad", "hapy", "happy")
    assert open_dataset(tmp_path).classes == ("sad", "hapy", "happy")


def test_own_classes_and_one_that_only_the_test_set_has(tmp_path):
    for name in "abc":
        write_grey(tmp_path / f"{name}.png")
    path = table(tmp_path / "t.csv", "path,label,split", "a.png,tired,train", "b.png,awake,train", "c.png,tired,test")
    assert open_dataset(tmp_path).classes == ("awake", "tired")
    path.write_text(path.read_text().replace("c.png,tired", "c.png,tierd"))
    with pytest.raises(DataError, match=r"no row there has it: t\.csv:4 \(tierd\)"):
        open_dataset(tmp_path)


def test_numbers_are_never_guessed(tmp_path):
    write_grey(tmp_path / "a.png")
    table(tmp_path / "t.csv", "path,label", "a.png,3")
    with pytest.raises(DataError, match=r"classes are numbers \(3\), and nothing says .*; write a file classes\.txt"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("lines", [("sad", "Happy"), ("1 happy", "0: sad"), ("0,sad", "1,happy")])
def test_numbers_by_a_file_of_names(tmp_path, lines):
    for name in "ab":
        write_grey(tmp_path / "pics" / f"{name}.png")
    table(tmp_path / "t.csv", "path,label", "a.png,0", "b.png,1.0")
    table(tmp_path / "classes.txt", *lines)
    dataset = open_dataset(tmp_path)
    assert dataset.classes == EXPRESSIONS
    assert named(dataset) == {"pics/a.png": "sad", "pics/b.png": "happy"}
    assert named(open_dataset(tmp_path / "t.csv", classes=["fear", "neutral"])) == {
        "pics/a.png": "fear",
        "pics/b.png": "neutral",
    }


def test_numbers_of_own_classes_keep_their_order(tmp_path):
    for name in "ab":
        write_grey(tmp_path / f"{name}.png")
    table(tmp_path / "t.csv", "path,label", "a.png,0", "b.png,2")
    table(tmp_path / "classes.txt", "tired", "bored", "awake")
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("tired", "bored", "awake")
    assert dataset.labels.tolist() == [0, 2]


def test_listed_classes_stay_where_only_expressions_are_used(tmp_path):
    write_grey(tmp_path / "a.png")
    table(tmp_path / "test.csv", "path,label", "a.png,0")
    table(tmp_path / "classes.txt", "sad", "bored", "happy")
    assert open_dataset(tmp_path).classes == ("sad", "bored", "happy")


@pytest.mark.parametrize("number", ["2", "0.5", "-1"])
def test_a_number_that_the_file_of_names_lacks(tmp_path, number):
    for name in "ab":
        write_grey(tmp_path / f"{name}.png")
    table(tmp_path / "t.csv", "path,label", "a.png,0", f"b.png,{number}")
    table(tmp_path / "classes.txt", "sad", "happy")
    with pytest.raises(DataError, match=r"by classes\.txt they are 0 sad, 1 happy: t\.csv:3"):
        open_dataset(tmp_path)


def test_numbers_beside_names(tmp_path):
    for name in "abc":
        write_grey(tmp_path / f"{name}.png")
    table(tmp_path / "t.csv", "path,label", "a.png,happy", "b.png,3", "c.png,sad")
    with pytest.raises(DataError, match=r"some classes are numbers and others are names.*: t\.csv:3 \(3\)$"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("kind", ["folder", "zip", "gztar"])
def test_affectnet(tmp_path, kind):
    root = tmp_path / "AffectNet"
    rows = {"training": [], "validation": []}
    for number in range(22):
        write_grey(root / "Manually_Annotated_Images" / f"{number % 3}" / f"{number:04x}.jpg", number)
        split = "training" if number < 11 else "validation"
        rows[split].append(f"{number % 3}/{number:04x}.jpg,1,1,9,9,1.5;2.5,{number % 11},-0.1,0.2")
    for split, lines in rows.items():
        table(root / "Manually_Annotated_file_lists" / f"{split}.csv", AFFECTNET, *lines)
    path = root if kind == "folder" else shutil.make_archive(str(tmp_path / "packed"), kind, root)
    dataset = open_dataset(path)
    assert dataset.format.startswith("AffectNet (6 rows without an expression passed over)")
    assert dataset.classes == ("angry", "contempt", *EXPRESSIONS[1:])
    assert (len(dataset), dataset.problems) == (16, ())
    words = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt")
    for name, word in named(dataset).items():
        assert words[int(Path(name).stem, 16) % 11] == word
    assert dataset.counts()["val"] == dict.fromkeys(dataset.classes, 1)
    assert len(dataset.load()) == 16


def test_affectnets_classes_are_whole_with_contempt_and_the_seven_without(tmp_path):
    write_grey(tmp_path / "images" / "1" / "a.jpg")
    path = table(tmp_path / "training.csv", "subDirectory_filePath,expression", "1/a.jpg,7")
    assert open_dataset(tmp_path).classes == ("angry", "contempt", *EXPRESSIONS[1:])
    path.write_text(path.read_text().replace(",7", ",6"))
    assert open_dataset(tmp_path).classes == EXPRESSIONS


def test_a_number_that_affectnet_has_not(tmp_path):
    write_grey(tmp_path / "images" / "1" / "a.jpg")
    table(tmp_path / "training.csv", "subDirectory_filePath,expression", "1/a.jpg,11")
    with pytest.raises(DataError, match=r"by AffectNet they are 0 neutral, .* 10 none: training\.csv:2 \(11\)"):
        open_dataset(tmp_path)


def test_a_changed_table_is_read_anew(tmp_path):
    for value, name in enumerate("ab"):
        write_grey(tmp_path / f"{name}.png", 50 * value)
    path = table(tmp_path / "t.csv", "path,label", "a.png,happy")
    assert open_dataset(tmp_path).load().images.max() == 0
    table(path, "path,label", "b.png,happy")
    assert open_dataset(tmp_path).load().images.max() == 50


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), min_size=1, max_size=12).map(
    str.strip
)


@given(
    st.lists(st.tuples(WORDS, WORDS, WORDS).filter(lambda row: row[0] and row[1]), max_size=6),
    st.permutations(["file", "word", "split", "other"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(",;\t"),
)
def test_rows_come_back_as_they_were_written(rows, order, quoting, delimiter):
    written = io.StringIO(newline="")
    writer = csv.writer(written, quoting=quoting, delimiter=delimiter)
    titles = {"file": FILE_COLUMNS[3].upper(), "word": CLASS_COLUMNS[2], "split": SPLIT_COLUMNS[1], "other": "note, or"}
    writer.writerow([titles[one] for one in order])
    for file, word, split in rows:
        values = {"file": file, "word": f"x{word}", "split": split, "other": 'a "b", c;d'}
        writer.writerow([values[one] for one in order])
    data = written.getvalue().encode()
    found = read_table("t.csv", lambda _: io.BytesIO(data))
    assert found is not None
    assert not found.problems
    assert [(row.file, row.word, row.split) for row in found.rows] == [(a, f"x{b}", c) for a, b, c in rows]
    assert [row.where for row in found.rows] == [f"t.csv:{line}" for line in range(2, len(rows) + 2)]


@given(st.binary(max_size=200), st.sampled_from([b"path,label\n", b"file\tclass\tsplit\r\n", b""]))
def test_any_bytes_are_rows_or_a_named_problem(noise, header):
    found, items = None, ("t.csv",)
    try:
        found = read_table("t.csv", lambda _: io.BytesIO(header + noise))
    except DataError as error:
        items = error.items
    assert items == ("t.csv",)
    assert found is None or all(row.file and row.word for row in found.rows)
    assert found is None or all(problem.startswith("t.csv:") for problem in found.problems)


@given(st.binary(max_size=60))
def test_any_first_line_is_a_header_or_none(line):
    header = Header.of(line)
    assert header is None or read_rows(io.BytesIO(b""), "t.csv", header) == ([], [])


@pytest.mark.parametrize("front", ["C:\\Users\\anna\\", "/kaggle/input/faces/", "../input/", "data/"])
def test_paths_of_another_machine(tmp_path, front):
    rows = ("train/a.png,happy", "test/a.png,sad", "train/b.png,angry")
    for row in rows:
        write_grey(tmp_path / row.partition(",")[0])
    slash = "\\" if "\\" in front else "/"
    table(tmp_path / "list.csv", "path,label", *(front + row.replace("/", slash) for row in (*rows, "train/c.png,sad")))
    dataset = open_dataset(tmp_path / "list.csv")
    assert named(dataset) == {"train/a.png": "happy", "test/a.png": "sad", "train/b.png": "angry"}
    assert split_of(dataset)["test/a.png"] == "test"
    assert dataset.format == "table of files, found by the ends of its paths"
    assert dataset.problems == (f"list.csv:5 ({front}train{slash}c.png is not there)",)


def test_a_table_of_which_few_files_are_there_is_of_other_pictures(tmp_path):
    write_grey(tmp_path / "pics" / "1.png")
    table(tmp_path / "t.csv", "path,label", "/other/1.png,happy", "/other/2.png,sad")
    with pytest.raises(DataError, match=r"no file that t\.csv names can be found"):
        open_dataset(tmp_path)


def test_files_by_other_capitals_and_without_their_ending(tmp_path):
    for name in ("one/A.jpg", "one/a.PNG", "one/b.png", "two/b.png", "c.d.png"):
        write_grey(tmp_path / name)
    rows = ("ONE/a.png,happy", "one/A.jpg,sad", "two/b,angry", "c.d,fear", "one/B.PNG,neutral")
    table(tmp_path / "t.csv", "image_id,label", *rows)
    dataset = open_dataset(tmp_path)
    assert dataset.problems == ()
    names = {"one/a.PNG": "happy", "one/A.jpg": "sad", "two/b.png": "angry", "c.d.png": "fear", "one/b.png": "neutral"}
    assert named(dataset) == names


@pytest.mark.parametrize("header", ["filename,merry,blue", '"path" , "label"'])
def test_a_table_whose_columns_are_not_known_is_named_where_nothing_else_says_a_class(tmp_path, header):
    write_grey(tmp_path / "images" / "a.png")
    table(tmp_path / "labels.csv", header, "a.png,1,0")
    with pytest.raises(DataError, match="in the first line, which begins") as caught:
        open_dataset(tmp_path)
    assert header.split(",")[0] in str(caught.value)
    table(tmp_path / "labels.csv", "emotion,pixels", f"3,{' '.join(['7'] * 64)}")
    assert open_dataset(tmp_path).format == "CSV"


def test_classes_that_are_no_text(tmp_path):
    write_grey(tmp_path / "a.png")
    (tmp_path / "t.csv").write_bytes("path,label\na.png,glücklich\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"classes are not UTF-8 text; save the table as UTF-8: t\.csv"):
        open_dataset(tmp_path)


def one_hot(folder: Path, *extra: str) -> Path:
    """A table as Roboflow writes it, and two pictures that it names."""
    for name in ("a.png", "b.png"):
        write_grey(folder / name)
    rows = ["filename, content, happiness, sadness", "a.png, 0, 1, 0", "b.png, 1.0, 0, 0", *extra]
    path = folder / "_classes.csv"
    path.write_text("\n".join(rows))
    return path


@pytest.mark.parametrize("named", [False, True])
def test_a_column_for_each_class(tmp_path, named):
    path = one_hot(tmp_path)
    dataset = open_dataset(path if named else tmp_path, classes=["content", "happy", "sad"])
    assert dataset.classes == ("content", "happy", "sad")
    assert dataset.labels.tolist() == [1, 0]


def test_a_table_with_a_column_for_each_class_in_each_split(tmp_path):
    for split in ("train", "valid", "test"):
        one_hot(tmp_path / split)
    dataset = open_dataset(tmp_path, classes=["content", "happy", "sad"])
    assert sorted(dataset.splits) == ["test", "test", "train", "train", "val", "val"]


def test_columns_of_other_things_beside_those_of_classes(tmp_path):
    write_grey(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text(",image,user,happy,sad,usage\n7,a.png,12,0,1,test\n")
    dataset = open_dataset(tmp_path)
    assert dataset.counts()["test"]["sad"] == 1


@pytest.mark.parametrize("values", [("0", "1"), ("False", "True")])
def test_what_else_holds_for_a_face_is_no_class(tmp_path, values):
    no, yes = values
    lines = ["image,male,happy,sad"]
    for name, male, label in (("a.png", no, 0), ("b.png", yes, 1)):
        write_grey(tmp_path / name)
        lines.append(",".join([name, male, yes if label == 0 else no, yes if label == 1 else no]))
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    dataset = open_dataset(tmp_path)
    assert [dataset.classes[label] for label in dataset.labels] == ["happy", "sad"]
    assert not dataset.problems


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("a.png,0,1,1", "2 columns of classes are 1, where one is expected"),
        ("a.png,0,0,0", "0 columns of classes are 1, where one is expected"),
        ("a.png,0,0.7,0.3", "columns of classes that are neither 0 nor 1"),
        ("a.png,0", "2 fields where 4 are expected"),
        (",0,1,0", "no file"),
    ],
)
def test_rows_of_no_one_class_are_named(tmp_path, row, reason):
    dataset = open_dataset(one_hot(tmp_path, row), classes=["content", "happy", "sad"])
    assert dataset.problems == (f"_classes.csv:4 ({reason})",)


def test_files_of_one_name_in_many_folders_are_not_looked_through(monkeypatch):
    names = [f"{folder}/{file}.png" for folder in range(20) for file in range(20)]
    table = FileTable("labels.csv", [Row("", name, "happy") for name in names], [])
    monkeypatch.setattr(Finder, "_fitting", None)
    finder = Finder(names, table)
    assert [finder.find(row) for row in table.rows] == list(range(400))


@pytest.mark.parametrize("front", ["C:/faces/", "faces/", "SUBJECT"])
def test_paths_that_are_not_there_as_they_stand_are_looked_for_in_folders_of_their_name_alone(monkeypatch, front):
    names = [f"subject{folder}/{file}.png" for folder in range(30) for file in range(20)]
    rows = [name.replace("subject", "SUBJECT") if front == "SUBJECT" else front + name for name in names]
    looked = count_candidates(monkeypatch)
    table = FileTable("labels.csv", [Row("", file, "happy") for file in rows], [])
    [(_, finder)] = find_pictures([table], names)
    assert [finder.find(row) for row in table.rows] == list(range(600))
    assert sum(looked) < 10 * len(names)


def test_a_name_in_many_folders_is_looked_for_once(monkeypatch):
    names = [f"subject{folder}/{file}.png" for folder in range(30) for file in range(20)]
    looked = count_candidates(monkeypatch)
    table = FileTable("labels.csv", [Row("", name.rpartition("/")[2], "happy") for name in names], [])
    finder = Finder(names, table)
    found = [finder.find(row) for row in table.rows]
    assert found[0].startswith(f"0.png stands in several folders: {names[0]}, {names[20]}, {names[40]}")
    assert all("several folders" in one for one in found)
    assert sum(looked) < 3 * len(names)


def count_candidates(monkeypatch) -> list[int]:
    """Of each question, how many names were compared."""
    looked = []

    def candidates(finder, *given, whole=Finder._candidates):
        found = whole(finder, *given)
        looked.append(len(found))
        return found

    monkeypatch.setattr(Finder, "_candidates", candidates)
    return looked


@pytest.mark.parametrize("label", ["True", "face", "3", ""])
def test_of_several_columns_of_classes_the_one_that_says_expressions(tmp_path, label):
    for name in ("1.png", "2.png"):
        write_grey(tmp_path / name)
    (tmp_path / "x.csv").write_text(f"file,label,emotion\n1.png,{label},happy\n2.png,{label},Sadness\n")
    dataset = open_dataset(tmp_path)
    assert [dataset.classes[label] for label in dataset.labels] == ["happy", "sad"]


@pytest.mark.parametrize(
    "lines", ["happy 1\nsad 0", "happiness: 1\nSad,0", "1=happy\n0=sad", "1,happy\n0,sad", "1: happy\n0: sad"]
)
def test_lists_with_a_number_on_each_line(tmp_path, lines):
    for name in ("1.png", "2.png"):
        write_grey(tmp_path / name)
    (tmp_path / "x.csv").write_text("file,label\n1.png,0\n2.png,1\n")
    (tmp_path / "classes.txt").write_text(lines)
    dataset = open_dataset(tmp_path)
    assert [dataset.classes[label] for label in dataset.labels] == ["sad", "happy"]


def test_a_list_of_which_some_lines_have_numbers_is_not_counted_through(tmp_path):
    write_grey(tmp_path / "1.png")
    (tmp_path / "x.csv").write_text("file,label\n1.png,0\n")
    (tmp_path / "classes.txt").write_text("id,name\n0,angry\n1,happy\n")
    with pytest.raises(DataError, match=r"classes\.txt: each line has a number of its own .*: id,name"):
        open_dataset(tmp_path)


def test_a_list_that_is_counted_from_1_is_told_how_to_say_so(tmp_path):
    for name in ("1.png", "2.png"):
        write_grey(tmp_path / name)
    (tmp_path / "x.csv").write_text("file,label\n1.png,1\n2.png,2\n")
    (tmp_path / "classes.txt").write_text("happy\nsad\n")
    with pytest.raises(DataError, match=r"0 happy, 1 sad; where the first is 1, write a number in front of each name"):
        open_dataset(tmp_path)

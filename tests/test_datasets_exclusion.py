"""Lists of faces to leave out: reading, writing, applying."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.config import TrainingConfig
from mien.datasets import open_dataset
from mien.datasets.exclusion import exclude, read_list, write_list
from mien.datasets.storage import decode_names, encode_names
from mien.errors import DataError, UsageError
from mien.materials import Selection, gather

NAMES = st.text(
    st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from('#" \t\n\r\udcff')), min_size=1, max_size=20
).filter(lambda name: "\0" not in name)


def test_leaving_faces_out(patterns, tmp_path):
    dataset = open_dataset(patterns)
    chosen = dataset.names[[3, 50, 220]].tolist()
    write_list(tmp_path / "list.txt", dict.fromkeys(chosen, "why"))
    for listed in (tmp_path / "list.txt", str(tmp_path / "list.txt"), chosen):
        rest = exclude(dataset, listed)
        assert rest.names.tolist() == np.delete(dataset.names, [3, 50, 220]).tolist()
        assert rest.labels.tolist() == np.delete(dataset.labels, [3, 50, 220]).tolist()
    np.testing.assert_array_equal(rest.load().images, np.delete(dataset.load().images, [3, 50, 220], axis=0))


def test_names_that_are_not_there_are_all_named(patterns, tmp_path):
    dataset = open_dataset(patterns)
    (tmp_path / "list.txt").write_text(f"{dataset.names[0]}\ntrain/happy/other.png\ntrain/sad/another.png  # why\n")
    with pytest.raises(DataError, match=r"2 of 3 names not found in .*FER2013.*mien data check --fix") as caught:
        exclude(dataset, tmp_path / "list.txt")
    assert caught.value.items == ("train/happy/other.png", "train/sad/another.png")


def test_all_faces_cannot_go(patterns):
    dataset = open_dataset(patterns)
    with pytest.raises(DataError, match="leaves none of 294 faces"):
        exclude(dataset, dataset.names.tolist())


def test_nothing_to_leave_out(patterns, tmp_path):
    dataset = open_dataset(patterns)
    (tmp_path / "list.txt").write_text("# nothing is wrong\n")
    assert len(exclude(dataset, tmp_path / "list.txt")) == len(dataset)


def test_listed_files_are_no_problem_any_more(patterns):
    dataset = replace(open_dataset(patterns), problems=("a (1).png (in no class folder)", "b.png (is empty)"))
    assert exclude(dataset, ["a (1).png"]).problems == ("b.png (is empty)",)
    assert exclude(dataset, ["b.png", str(dataset.names[0])]).problems == ("a (1).png (in no class folder)",)
    with pytest.raises(DataError, match="1 of 1 name not found"):
        exclude(dataset, ["a"[:0] + "c.png"])


def test_comments_blank_lines_and_quotes(tmp_path):
    text = '\ufeff# head\n\n  a.png\r\nb c #1.png # why\nd.png  # why # more\n"e # f.png"  # quoted\ng.png\t#x\na.png\n'
    (tmp_path / "list.txt").write_text(text, encoding="utf-8", newline="")
    assert read_list(tmp_path / "list.txt") == ("a.png", "b c #1.png", "d.png", "e # f.png", "g.png\t#x")


@given(st.dictionaries(NAMES, st.text(max_size=20), min_size=1, max_size=8), st.sets(NAMES, max_size=3))
def test_what_is_written_is_read(tmp_path_factory, reasons, doubts):
    path = tmp_path_factory.mktemp("lists") / "list.txt"
    write_list(path, reasons, suggestions=dict.fromkeys(doubts, "perhaps"), heading="head\n\nof the list")
    assert read_list(path) == tuple(reasons)


def test_suggestions_count_without_their_sign(tmp_path):
    write_list(tmp_path / "list.txt", {"a": ""}, suggestions={"b": "looks sad"})
    text = (tmp_path / "list.txt").read_text()
    assert text == "a\n# b  # looks sad\n"
    (tmp_path / "list.txt").write_text(text.replace("# b", "b"))
    assert read_list(tmp_path / "list.txt") == ("a", "b")


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"", DataError, "is empty"),
        (b" \n\n", DataError, "is empty"),
        (b"\xff\xfe\x00", UsageError, "not UTF-8 text"),
        (b'a.png\n"b.png', DataError, r"quoted name is not a text.*list\.txt:2"),
        (b'"b.png" c', DataError, r"something other than a comment.*list\.txt:1"),
        (rb'"\ud800.png"', DataError, "quoted name is not a text"),
    ],
)
def test_what_is_no_list(tmp_path, content, error, message):
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(error, match=message):
        read_list(tmp_path / "list.txt")


def test_no_such_list(tmp_path):
    with pytest.raises(UsageError, match=r"exclude: no such file: .*--fix"):
        read_list(tmp_path / "none.txt")


def test_names_that_are_no_utf8():
    names = ["a\udcff.png", "b.png"]
    assert decode_names(encode_names(names)).tolist() == names


def test_training_leaves_them_out(patterns, tmp_path):
    dataset = open_dataset(patterns)
    gone = [*dataset.names[dataset.splits == "train"][:5], dataset.names[dataset.splits == "public"][0]]
    write_list(tmp_path / "list.txt", dict.fromkeys(map(str, gone), ""))
    config = TrainingConfig(validation_fraction=0)
    whole = gather(dataset, config, Selection())
    part = gather(dataset, config, Selection(exclude=str(tmp_path / "list.txt")))
    assert (whole.facts["n_train"], part.facts["n_train"]) == (210, 205)
    assert "excluded" not in whole.facts
    assert part.facts["excluded"] == 6
    assert part.facts["sha256"] != whole.facts["sha256"]
    assert part.tests is not None
    assert sum(len(faces) for faces in part.tests()) == 83

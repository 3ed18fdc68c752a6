"""Tables with a column of shares or votes for each expression."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.datasets import open_dataset
from mien.datasets.file_rows import read_table
from mien.datasets.streaming import epoch_batches
from mien.errors import DataError
from mien.labels import EXPRESSIONS
from mien.preprocessing import InputSpec
from pictures import write_grey


def open_votes(tmp_path, *lines: str):
    """The dataset of a table whose rows name as many pictures."""
    for line in lines[1:]:
        write_grey(tmp_path / line.partition(",")[0])
    (tmp_path / "votes.csv").write_text("\n".join(lines))
    return open_dataset(tmp_path)


def words_of(dataset) -> list[str]:
    return [dataset.classes[label] for label in dataset.labels]


def test_the_expression_with_the_largest_share(tmp_path):
    dataset = open_votes(tmp_path, "path,anger,happiness,sad", "a.png,0.1,0.7,0.2", "b.png,1,0,0", "c.png,0,0.25,.75")
    assert words_of(dataset) == ["happy", "angry", "sad"]
    assert (dataset.classes, dataset.format, dataset.problems) == (EXPRESSIONS, "table of files", ())


def test_votes_with_a_tie_or_without_any_give_no_label(tmp_path):
    rows = ["a.png,test,5,5,0", "b.png,train,0,0,0", "c.png,train,2,3,0", "d.png,train,0,1,9", "e.png,test,0,1,9"]
    dataset = open_votes(tmp_path, "path,split,angry,happy,contempt", *rows)
    assert words_of(dataset) == ["happy", "contempt", "contempt"]
    assert dataset.splits.tolist() == ["train", "train", "test"]
    assert dataset.format == "table of files (2 rows without an expression passed over)"
    assert dataset.problems == ()


def test_most_votes_for_no_expression_give_no_label(tmp_path):
    header = "image name,neutral,happiness,unknown,NF"
    dataset = open_votes(tmp_path, header, "a.png,3,2,5,0", "b.png,1,8,1,0", "c.png,4,0,4,2", "d.png,0,0,0,9")
    assert words_of(dataset) == ["happy"]
    assert dataset.names.tolist() == ["b.png"]


def test_a_column_of_classes_comes_before_votes(tmp_path):
    assert words_of(open_votes(tmp_path, "path,label,happy,sad", "a.png,fear,3,7")) == ["fear"]


def test_other_columns_beside_votes(tmp_path):
    dataset = open_votes(tmp_path, "path,male,age,happy,sad", "a.png,1,30,3,7", "b.png,0,1,6,1", "c.png,1,1,1,0")
    assert words_of(dataset) == ["sad", "happy", "happy"]


@pytest.mark.parametrize("value", ["", "x", "-1", "nan", "inf", "1e999"])
def test_what_is_no_number_of_votes_is_named(tmp_path, value):
    dataset = open_votes(tmp_path, "path,happy,sad", "a.png,3,7", f"b.png,2,{value}", "c.png,4")
    assert dataset.problems == (
        f"votes.csv:3 ({value!r} in the column sad, where a share or votes are expected)",
        "votes.csv:4 (2 fields where 3 are expected)",
    )


def test_votes_in_json_lines(tmp_path):
    for name in ("a.png", "b.png"):
        write_grey(tmp_path / name)
    rows = [{"file_name": "a.png", "happy": 0.25, "sad": 0.75}, {"file_name": "b.png", "happy": 1, "sad": 0}]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert words_of(open_dataset(tmp_path)) == ["sad", "happy"]


@given(
    st.lists(
        st.lists(st.integers(0, 9) | st.floats(0, 1), min_size=7, max_size=7).filter(
            lambda row: row.count(max(row)) == 1
        ),
        min_size=1,
        max_size=5,
    )
)
def test_any_votes_give_the_one_with_most(rows):
    rows = [*rows, [0, 0, 5, 0, 0, 0, 0]]
    text = "\n".join([f"path,{','.join(EXPRESSIONS)}", *(f"a.png,{','.join(map(repr, row))}" for row in rows)])
    found = read_table("t.csv", lambda _: io.BytesIO(text.encode()))
    assert found is not None
    assert [row.word for row in found.rows] == [EXPRESSIONS[row.index(max(row))] for row in rows]


VOTES = (
    "path,split,angry,happy,sad,contempt,unknown",
    "a.png,train,1,2,1,0,0",
    "b.png,train,0,0,3,1,0",
    "c.png,train,1,0,0,0,3",
    "d.png,train,0,0,0,0,0",
    "e.png,train,0,2,0,2,0",
    "f.png,test,0,3,1,0,0",
    "g.png,test,2,2,0,0,0",
)


def reopened(tmp_path, mode: str, lines=VOTES):
    open_votes(tmp_path, *lines)
    return open_dataset(tmp_path, ferplus=mode)


def test_the_majority_of_votes(tmp_path):
    dataset = reopened(tmp_path, "majority")
    assert dict(zip(dataset.names.tolist(), words_of(dataset), strict=True)) == {"b.png": "sad", "f.png": "happy"}
    assert dataset.targets is None
    assert dataset.format == "table of files (5 rows without an expression passed over) by votes (majority)"
    assert "contempt" in dataset.classes


def test_shares_of_votes_are_learned_of_training_alone(tmp_path):
    dataset = reopened(tmp_path, "distribution")
    assert dataset.names.tolist() == ["a.png", "b.png", "e.png", "f.png"]
    angry, contempt, happy, sad = (dataset.classes.index(word) for word in ("angry", "contempt", "happy", "sad"))
    assert dataset.targets[:, [angry, happy, sad, contempt]].tolist() == [
        [0.25, 0.5, 0.25, 0],
        [0, 0, 0.75, 0.25],
        [0, 0.5, 0, 0.5],
        [0, 1, 0, 0],
    ]
    assert dataset.targets.sum(axis=1).tolist() == [1, 1, 1, 1]


def test_unknown_that_does_not_lead_takes_no_share(tmp_path):
    lines = ("path,angry,happy,unknown", "a.png,0.1,0.5,0.4", "b.png,0.6,0.2,0.2")
    dataset = reopened(tmp_path, "distribution", lines)
    found = dataset.targets[:, [EXPRESSIONS.index("angry"), EXPRESSIONS.index("happy")]].ravel().tolist()
    assert found == pytest.approx([1 / 6, 5 / 6, 3 / 4, 1 / 4])
    assert open_dataset(tmp_path / "votes.csv", ferplus="distribution").targets.shape == (2, 7)


def test_streamed_faces_come_with_their_shares(tmp_path):
    pytest.importorskip("grain", exc_type=ImportError)
    dataset = reopened(tmp_path, "distribution").select("train")
    ((_, targets),) = epoch_batches(dataset, InputSpec(16, 1), batch_size=8, shuffle=False)
    assert targets.tolist() == dataset.targets.tolist()


def test_votes_are_to_count_where_there_are_none(tmp_path):
    with pytest.raises(DataError, match="votes are to count, and there are no columns of votes"):
        reopened(tmp_path, "majority", ("path,label", "a.png,happy", "b.png,sad"))

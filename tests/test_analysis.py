"""What one picture's analysis gives."""

import dataclasses
import io
import json

import numpy as np
import pytest
from PIL import Image

from mien.analysis import ROW_COLUMNS, Analysis, to_dataframe
from mien.errors import UsageError
from mien.results import Box, Face, Prediction

FACES = (
    Face(Box(10, 10, 60, 60), 0.99, Prediction({"happy": 0.75, "sad": 0.25}), {"nose": (35, 40)}, 3),
    Face(Box(70, 20, 90, 40), 0.9, Prediction({"happy": 0.25, "sad": 0.75})),
)
IMAGE = np.full((80, 100, 3), 120, np.uint8)


def analysis(faces=FACES, **changes) -> Analysis:
    return Analysis(faces, IMAGE, **{"source": "a.jpg", "frame": 4, "time": 0.5, **changes})


def test_it_is_a_sequence_of_faces():
    found = analysis()
    assert len(found) == 2
    assert list(found) == list(FACES)
    assert found[0].expression == "happy"
    assert found[-1:] == FACES[1:]
    assert "happy 75%, sad 75%" in repr(found)


def test_no_face_is_empty_and_false():
    empty = analysis(())
    assert not empty
    assert empty.rows() == []
    assert "no face" in repr(empty)
    assert json.loads(empty.to_json())["faces"] == []


def test_json_says_where_and_what():
    document = json.loads(analysis().to_json(indent=2))
    assert document["size_wh"] == [100, 80]
    assert (document["source"], document["frame"], document["time"]) == ("a.jpg", 4, 0.5)
    assert [face["expression"] for face in document["faces"]] == ["happy", "sad"]


def test_rows_are_flat():
    first, second = analysis().rows()
    assert tuple(first) == (*ROW_COLUMNS, "happy", "sad")
    assert first["track"] == 3
    assert second["track"] is None
    assert first["x2"] == 60
    assert second["sad"] == 0.75


def test_rows_become_a_data_frame():
    pytest.importorskip("pandas")
    frame = to_dataframe([analysis(), analysis(())])
    assert frame["expression"].tolist() == ["happy", "sad"]
    assert list(to_dataframe([]).columns) == list(ROW_COLUMNS)
    empty = dataclasses.replace(analysis(()), classes=("happy", "sad"))
    assert list(empty.to_dataframe().columns) == list(frame.columns)
    assert len(analysis().to_dataframe()) == 2
    with pytest.raises(UsageError, match="analyses: must be several, received one"):
        to_dataframe(analysis())
    for wrong, received in (
        (None, "must be several, received NoneType"),
        (list(analysis()), "Analysis, received Face"),
    ):
        with pytest.raises(UsageError, match=f"analyses: .*{received}"):
            to_dataframe(wrong)


def test_it_draws_itself():
    drawn = np.asarray(analysis().draw())
    assert drawn.shape == IMAGE.shape
    assert (drawn != IMAGE).any()
    assert (np.asarray(analysis().draw(bars=False, names={"happy": "froh"})) != drawn).any()
    assert (IMAGE == 120).all()


@pytest.mark.parametrize("shape", [(1500, 2000, 3), (1500, 2000)])
def test_a_notebook_shows_the_drawn_picture_in_the_size_of_a_screen(shape):
    shown = Image.open(io.BytesIO(Analysis(FACES, np.full(shape, 120, np.uint8))._repr_jpeg_()))
    assert (shown.format, shown.size) == ("JPEG", (1024, 768))
    assert np.ptp(np.asarray(shown.convert("L"))) > 50

import numpy as np
import pytest

from mien.adopting import adopt_onnx
from mien.colours import colours_of
from mien.errors import UsageError
from mien.evaluation import align_labels, evaluate, evaluate_splits, judge, judge_splits
from mien.labels import EXPRESSIONS, FER2013_INDICES, canonical, class_order
from mien.results import Prediction
from mien.rowfiles import open_rows
from mien.timeline import Timeline

LABELS = np.array([0, 1, 2])

ROWS = np.full((3, 3), 1 / 3)


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        *(("Angry", "angry"), (" happiness ", "happy"), ("ANGER", "angry"), ("surprised", "surprise")),
        *(("Contempt", "contempt"), ("Cats", "Cats")),
    ],
)
def test_spellings(spelling, name):
    assert canonical(spelling) == name


def test_the_csv_has_an_order_of_its_own():
    assert set(FER2013_INDICES) == set(EXPRESSIONS)
    assert FER2013_INDICES.index("neutral") == 6
    assert FER2013_INDICES.index("sad") == 4


def test_a_dataset_of_expressions_keeps_all_seven_and_others_their_own():
    assert class_order({"happy", "sad"}) == EXPRESSIONS
    assert class_order({"dog", "cat"}) == ("cat", "dog")


@pytest.mark.parametrize(
    ("taker", "argument"),
    [
        (lambda names: adopt_onnx("theirs.onnx", "ours.onnx", names), "classes"),
        (lambda names: evaluate(lambda _: ROWS, np.zeros((3, 8, 8, 1), np.uint8), LABELS, classes=names), "classes"),
        (
            lambda names: evaluate_splits(lambda _: ROWS, np.zeros((3, 8, 8, 1)), LABELS, "abc", classes=names),
            "classes",
        ),
        (lambda names: judge(ROWS, LABELS, classes=names), "classes"),
        (lambda names: judge_splits(ROWS, LABELS, ["test"] * 3, classes=names), "classes"),
        (lambda names: align_labels(LABELS, names, ("a", "b", "c")), "data_classes"),
        (lambda names: align_labels(LABELS, ("a", "b", "c"), names), "model_classes"),
        (lambda names: Prediction.from_row(names, ROWS[0]), "classes"),
        (lambda names: open_rows("faces.csv", names), "classes"),
        *((colours_of, "classes"), (Timeline, "classes")),
    ],
)
def test_a_text_is_not_taken_for_names_by_its_letters(taker, argument):
    with pytest.raises(UsageError, match=rf"^{argument}: must be names in their order, such as .*, received 'abc'$"):
        taker("abc")

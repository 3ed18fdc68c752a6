import pytest

from mien.labels import EXPRESSIONS, FER2013_INDICES, canonical, class_order


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

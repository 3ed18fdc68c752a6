"""COCO's boxes: documents, pictures, categories."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxed import FACES, HEIGHT, WIDTH, Face, coco_document, write_coco, write_coco_apart, write_picture, write_text
from mien.datasets import open_dataset
from mien.datasets.coco import read_coco, row_of
from mien.datasets.storage import Listing
from mien.datasets.tables import RowError
from mien.errors import DataError
from mien.labels import EXPRESSIONS

PICTURES = {"1": {"id": 1, "file_name": "1.jpg", "width": WIDTH, "height": HEIGHT}}
WORDS = {"0": "faces", "3": "Happy"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["id", "bbox", "name"]), inner),
    max_leaves=8,
)


def change(root, how) -> None:
    """Change the document of the training pictures."""
    path = root / "train" / "_annotations.coco.json"
    document = coco_document(FACES["train"])
    how(document)
    write_text(path, json.dumps(document))


@given(st.floats(0, 60), st.floats(0, 40), st.floats(1.5, 90), st.floats(1.5, 90))
def test_a_box_is_clipped_to_its_picture(left, upper, width, height):
    box = {"image_id": 1, "category_id": 3, "bbox": [left, upper, width, height]}
    row = row_of(box, "x", PICTURES, WORDS, "train")
    assert row.box == (left, upper, min(left + width, WIDTH), min(upper + height, HEIGHT))
    assert (row.word, row.file, row.size_wh) == ("Happy", "1.jpg", (WIDTH, HEIGHT))


@given(JSON, JSON, JSON)
def test_any_annotation_is_a_box_or_none(image_id, category_id, bbox):
    try:
        row = row_of({"image_id": image_id, "category_id": category_id, "bbox": bbox}, "x", PICTURES, WORDS, "")
    except RowError:
        return
    assert 0 <= row.box[0] < row.box[2] <= WIDTH


@given(JSON, JSON, JSON)
def test_any_document_is_read_or_refused(images, annotations, categories):
    text = json.dumps({"images": images, "annotations": annotations, "categories": categories})
    listing = Listing(names=["1.jpg"], notes=["annotations/x.json"])
    try:
        index = read_coco(listing, lambda name: text.encode() if name.endswith(".json") else None, None, "data")
    except DataError:
        return
    assert index is None or len(index.classes) > 1


def test_crowds_are_passed_over_and_boxes_without_area_named(tmp_path):
    root = write_coco(tmp_path)

    def how(document):
        document["annotations"][0]["iscrowd"] = 1
        document["annotations"][1]["bbox"] = [3, 3, 0, 5]
        document["annotations"][2]["category_id"] = 99
        document["annotations"][3].pop("bbox")
        document["annotations"].append({"image_id": 77, "category_id": 1, "bbox": [0, 0, 9, 9]})

    change(root, how)
    dataset = open_dataset(root)
    assert dataset.format == "COCO boxes (1 box of crowds passed over)"
    assert dataset.problems == (
        "train/_annotations.coco.json: annotation 2 (its box has no area)",
        "train/_annotations.coco.json: annotation 3 (category_id 99 is that of no category with a name)",
        "train/_annotations.coco.json: annotation 4 (its bbox is no list of 4 numbers)",
        "train/_annotations.coco.json: annotation 8 (image_id 77 is that of no picture with a file_name)",
    )


def test_the_category_of_all_others_is_no_class(tmp_path):
    assert "faces" not in open_dataset(write_coco(tmp_path)).classes


def test_a_class_that_is_no_expression_must_be_listed(tmp_path):
    root = write_coco(tmp_path)
    change(root, lambda document: document["annotations"][0].update(category_id=0))
    with pytest.raises(DataError, match=r"unknown class.*annotation 1 .faces"):
        open_dataset(root)
    write_text(root / "classes.txt", "\n".join([*EXPRESSIONS, "faces"]))
    assert open_dataset(root).classes[-1] == "faces"


def test_pictures_that_are_not_there_are_named(tmp_path):
    root = write_coco(tmp_path)
    (root / "train" / "d.png").unlink()
    assert open_dataset(root).problems == ("train/_annotations.coco.json: annotation 7 (d.png is not there)",)


@pytest.mark.parametrize("text", ["{", "[]", '{"images": []}', "[" * 100_000])
def test_what_is_called_so_and_is_none(tmp_path, text):
    root = write_coco(tmp_path)
    write_text(root / "train" / "_annotations.coco.json", text)
    with pytest.raises(DataError, match="cannot be read as COCO's boxes, as it") as caught:
        open_dataset(root)
    assert caught.value.items == ("train/_annotations.coco.json",)


def test_other_json_files_beside_it_are_passed_over(tmp_path):
    root = write_coco_apart(tmp_path)
    write_text(root / "annotations" / "captions.json", '{"annotations": [1]}')
    write_text(root / "annotations" / "notes.json", "{")
    assert len(open_dataset(root)) == 10


def test_two_files_with_boxes_of_one_picture(tmp_path):
    root = write_coco_apart(tmp_path)
    write_text(root / "annotations" / "keypoints_train2017.json", json.dumps(coco_document(FACES["train"])))
    with pytest.raises(DataError, match=r"two files with boxes of one picture, train2017/a\.png"):
        open_dataset(root)


def test_a_picture_whose_size_is_unknown(tmp_path):
    root = write_coco(tmp_path)
    change(root, lambda document: [picture.update(width=0, height=None) for picture in document["images"]])
    assert len(open_dataset(root).load()) == 10


def test_boxes_in_shares_are_not_taken_for_pixels(tmp_path):
    root = write_coco(tmp_path)

    def how(document):
        document["annotations"][0]["bbox"] = [0.25, 0.25, 0.5, 0.5]

    change(root, how)
    assert "annotation 1 (its box lies within one pixel" in open_dataset(root).problems[0]


def test_pictures_of_one_name_in_two_splits(tmp_path):
    for split, stems in (("train", "ab"), ("val", "abc")):
        pictures = {stem: [Face(3 if split == "val" else at, 10, 4, 12 + at)] for at, stem in enumerate(stems)}
        for stem, faces in pictures.items():
            write_picture(tmp_path / f"{split}2017" / f"{stem}.png", faces)
        write_text(tmp_path / "annotations" / f"instances_{split}2017.json", json.dumps(coco_document(pictures)))
    dataset = open_dataset(tmp_path)
    assert dataset.names.tolist() == [
        f"{name}.png" for name in ("train2017/a", "train2017/b", *(f"val2017/{s}" for s in "abc"))
    ]
    assert [dataset.classes[label] for label in dataset.labels] == ["angry", "disgust", "happy", "happy", "happy"]
    assert dataset.splits.tolist() == ["train"] * 2 + ["val"] * 3

"""Faces of one picture, person or video: how they are known, and that validation keeps them together."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxed import FACES, Face, write_picture, write_text, yolo_line
from mien.config import TrainingConfig
from mien.datasets import Faces, convert, holdout, open_dataset
from mien.datasets.audit import audit
from mien.datasets.duplicates import holdout_groups
from mien.datasets.origins import LEAST, Origins, find_origins, join_groups
from mien.materials import Selection, gather
from pictures import write_grey
from test_cli_data import invoke

WORDS = ("happy", "sad")


def write_crowds(root: Path, count: int = 12) -> Path:
    """YOLO's boxes: pictures with an angry, a disgusted and a fearful face each."""
    for number in range(count):  # each face as large as no other of its class
        faces = [Face(label, 20 * label, number, 4 + number) for label in range(3)]
        write_picture(root / "train" / "images" / f"{number}.png", faces)
        write_text(root / "train" / "labels" / f"{number}.txt", "\n".join(map(yolo_line, faces)))
    names = "[angry, disgust, fear, happy, neutral, sad, surprise]"
    write_text(root / "data.yaml", f"names: {names}\n")
    return root


def write_people(root: Path, header: str = "path,label,subject", people: int = 8) -> Path:
    lines = [header]
    for number in range(4 * people):
        write_grey(root / f"{number}.png", value=number)
        lines.append(f"{number}.png,{WORDS[number % 2]},{'abcdefgh'[number // 4]}")
    write_text(root / "labels.csv", "\n".join(lines))
    return root


def both_sides(dataset, seed: int = 0) -> tuple[set[int], set[int]]:
    """Persons or pictures of the two parts."""
    faces = dataset.load(cache=False)
    learn, check = holdout(faces, fraction=0.25, seed=seed)
    assert len(learn) + len(check) == len(faces)
    assert np.isin(faces.labels[check], faces.labels[learn]).all()
    return {*faces.origins.numbers[learn].tolist()}, {*faces.origins.numbers[check].tolist()}


@pytest.mark.parametrize("seed", range(3))
def test_faces_of_one_picture_stay_together(tmp_path, seed):
    dataset = open_dataset(write_crowds(tmp_path))
    learn, check = both_sides(dataset, seed)
    assert dataset.origins.kind == "picture"
    assert len(learn) + len(check) == 12
    assert len(check) == 3


@pytest.mark.parametrize("streaming", [False, True])
def test_a_run_holds_out_other_pictures(tmp_path, streaming):
    if streaming:
        pytest.importorskip("grain", exc_type=ImportError)
    dataset = open_dataset(write_crowds(tmp_path))
    materials = gather(dataset, TrainingConfig(), Selection(streaming=streaming))
    held = {name.partition("#")[0] for name in materials.validation.names}
    assert materials.facts["validation_apart"] == "picture"
    assert len(materials.validation) == 3 * len(held)


def test_a_run_of_faces_of_nobody_knows_whom(tmp_path):
    for number in range(24):
        write_grey(tmp_path / WORDS[number % 2] / f"{number}.png", value=number)
    materials = gather(open_dataset(tmp_path), TrainingConfig(), Selection())
    assert materials.facts["validation_apart"] is None


@pytest.mark.parametrize(
    ("column", "kind"),
    [("subject", "person"), ("Person ID", "person"), ("video", "video"), ("source_image", "picture")],
)
def test_a_column_says_whose_faces_belong_together(tmp_path, column, kind):
    dataset = open_dataset(write_people(tmp_path, f"path,label,{column}"))
    learn, check = both_sides(dataset)
    assert dataset.origins.kind == kind
    assert (len(learn), len(check)) == (6, 2)


def test_two_people_are_too_few_to_hold_one_out(tmp_path):
    dataset = open_dataset(write_people(tmp_path, people=2))
    assert dataset.origins is None
    holdout(dataset.load(cache=False))


def test_a_column_of_boxes_and_of_json_lines(tmp_path):
    lines = ["filename,class,xmin,ymin,xmax,ymax,subject"]
    rows = []
    for number in range(10):
        write_picture(tmp_path / "boxes" / f"{number}.png", FACES["train"]["a"])
        lines.append(f"{number}.png,{WORDS[number % 2]},4,4,16,16,{number // 2}")
        write_grey(tmp_path / "lines" / f"{number}.png", value=number)
        rows.append({"file_name": f"{number}.png", "label": WORDS[number % 2], "identity": number // 2})
    write_text(tmp_path / "boxes" / "_annotations.csv", "\n".join(lines))
    write_text(tmp_path / "lines" / "metadata.jsonl", "\n".join(map(json.dumps, rows)))
    for form in ("boxes", "lines"):
        assert open_dataset(tmp_path / form).origins.numbers.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["S{:03}_001_00000011.png", "S{:03}_002_00000009.png"], "person"),
        (["K{:c}.AN1.39.tiff", "K{:c}.HA2.40.tiff"], "person"),
        (["AF{:02}ANS.JPG", "BF{:02}HAS.JPG"], "person"),
        (["Rafd090_{:02}_Caucasian_female_angry_frontal.jpg", "Rafd045_{:02}_Caucasian_female_sad_left.jpg"], "person"),
        (["subject{}_happy_1.jpg", "Subject{}_sad_2.jpg"], "person"),
        (["train/happy/{}_face1.png", "train/sad/{}_face2.png"], "picture"),
        (["train/{}_jpg.rf.0a1b2c3d4e.jpg", "train/{}_jpg.rf.ffffffffff.jpg"], "picture"),
        (["train/{}_jpg.rf.0a1b2c3d4e.jpg#1", "train/{}_jpg.rf.ffffffffff.jpg"], "picture"),
        (["train/happy/{}/1.jpg", "train/sad/{}/1.jpg"], "folder"),
    ],
)
def test_names_say_it(names, kind):
    found = find_origins([name.format(65 + person) for person in range(5) for name in names], WORDS)
    assert found.kind == kind
    assert (found.numbers[::2] == found.numbers[1::2]).all()
    assert found.count() == 5


@pytest.mark.parametrize(
    "names",
    [
        ["train/happy/Training_{}.jpg", "train/sad/Training_1{}.jpg"],
        ["happy/{}.jpg", "sad/{}.jpg"],
        ["happy/images/{}.jpg", "sad/images/{}.jpg"],
        ["surface{}.jpg", "face_{}.jpg"],
        ["happy/happy_face_{}.jpg", "sad/sad_face_{}.jpg"],
        ["happy/img1_face_000{}.jpg", "sad/img2_face_000{}.jpg"],
    ],
)
def test_names_say_nothing(names):
    assert find_origins([name.format(number) for number in range(9) for name in names], WORDS) is None


def test_the_same_number_in_two_splits_is_no_person_in_both():
    names = [
        f"{split}/happy/{number}_face{face}.png"
        for split in ("train", "test")
        for number in range(5)
        for face in (1, 2)
    ]
    assert find_origins(names, WORDS).across(np.repeat(["train", "test"], 10)) == {}


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=40))
def test_joined_groups_are_the_finest_that_hold_both(pairs):
    one, other = np.array(pairs).T
    joined = join_groups(one, other)
    for row in range(len(one)):
        linked = {row}
        while True:
            more = {at for at in range(len(one)) for to in linked if one[at] == one[to] or other[at] == other[to]}
            if more <= linked:
                break
            linked |= more
        assert {*np.flatnonzero(joined == joined[row]).tolist()} == linked


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=30, max_size=90),
    st.floats(0.05, 0.6),
    st.integers(0, 3),
)
def test_persons_and_copies_stand_on_one_side_each(pairs, fraction, seed):
    labels, people = np.array(pairs).T
    origins, copies = Origins("person", people), np.arange(len(labels)) // 2
    joined = join_groups(people, copies)
    if len(np.unique(joined)) < LEAST:
        return
    learn, check = holdout_groups(labels, copies, origins=origins, fraction=fraction, seed=seed)
    assert not {*joined[learn].tolist()} & {*joined[check].tolist()}
    assert sorted([*learn, *check]) == list(range(len(labels)))
    assert set(labels[learn]) == set(labels)


def test_shares_of_classes_are_kept_where_pictures_mix_them():
    random = np.random.default_rng(0)
    pictures = np.repeat(np.arange(2000), random.integers(1, 6, 2000))
    labels = random.choice(4, len(pictures), p=[0.6, 0.3, 0.08, 0.02])
    _, check = holdout_groups(labels, np.arange(len(labels)), origins=Origins("picture", pictures))
    assert np.bincount(labels[check]) / np.bincount(labels) == pytest.approx([0.1] * 4, abs=0.01)


def test_one_person_in_training_is_no_reason_to_give_up():
    labels = np.tile([0, 1], 10)
    images = np.arange(20 * 64, dtype=np.uint8).reshape(20, 8, 8, 1)
    names = np.arange(20).astype(np.str_)
    origins = Origins("person", np.repeat([0, 1, 2, 3, 4], 4))
    faces = Faces(images, labels, np.repeat(["train", "test"], [4, 16]), names, WORDS, origins=origins)
    learn, check = holdout(faces.select("train"), fraction=0.5)
    assert (len(learn), len(check)) == (2, 2)


def test_check_says_who_stands_in_two_splits(tmp_path):
    lines = ["path,label,split,subject"]
    for number in range(12):
        write_grey(tmp_path / f"{number}.png", value=20 * number)
        lines.append(f"{number}.png,{WORDS[number % 2]},{'test' if number > 8 else 'train'},{number // 2}")
    write_text(tmp_path / "labels.csv", "\n".join(lines))
    assert audit(open_dataset(tmp_path), near=False).to_dict()["origins"] == {
        "kind": "person",
        "n": 6,
        "across_splits": {"test in train": 1},
    }
    said = "persons: 6, each of which stays on one side when validation is held out; 1 of test are of a person that is"
    assert said in invoke("check", tmp_path, "--no-near").stdout


def test_conversion_keeps_it(tmp_path):
    convert(write_people(tmp_path / "people"), tmp_path / "people.npz")
    convert(write_crowds(tmp_path / "crowds"), tmp_path / "folder", size=48)
    people = open_dataset(tmp_path / "people.npz")
    assert (people.origins.kind, people.origins.count()) == ("person", 8)
    folder = open_dataset(tmp_path / "folder")
    assert (folder.origins.kind, folder.origins.count()) == ("picture", 12)
    assert "train/angry/3_face1.png" in folder.names


def test_a_class_of_one_person_is_learned():
    labels, people = np.tile([0, 1], 30), np.repeat(np.arange(6), 10)
    labels[people == 3] = 2
    for seed in range(8):
        learn, check = holdout_groups(labels, np.arange(60), origins=Origins("person", people), fraction=0.3, seed=seed)
        assert set(labels[learn]) == {0, 1, 2}
        assert set(labels[check]) == {0, 1}


def test_persons_with_a_class_each_are_no_reason_to_learn_fewer():
    labels = np.repeat(np.arange(6), 10)
    learn, check = holdout_groups(labels, np.arange(60), origins=Origins("person", labels), fraction=0.3)
    assert set(labels[learn]) == set(labels[check]) == set(range(6))

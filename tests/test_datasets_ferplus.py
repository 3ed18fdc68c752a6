"""FER+: the vote rules against the paper's own loop, and two files that must be of the same faces."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.config import TrainingConfig
from mien.datasets import load_data, open_dataset
from mien.datasets.ferplus import FERPLUS_CLASSES, majority_labels, read_votes, vote_distribution
from mien.errors import DataError, UsageError
from mien.labels import EXPRESSIONS, FER2013_INDICES, FERPLUS_COLUMNS
from mien.materials import Selection, gather
from mien.preprocessing import InputSpec

HEADER = "Usage,Image name," + ",".join(FERPLUS_COLUMNS)
USAGES = ("Training", "PublicTest", "PrivateTest")

ballots = st.lists(st.integers(0, 9), min_size=10, max_size=10).flatmap(
    lambda names: st.just([names.count(column) for column in range(10)])
)
"""Ten people, each with a vote for one of ten columns."""

any_votes = ballots | st.lists(st.integers(0, 12), min_size=10, max_size=10)


def in_classes(column: int) -> int:
    names = ["neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt"]
    return FERPLUS_CLASSES.index(names[column])


def majority_of(votes: list[int]) -> int:
    """One face at a time, in words of the paper."""
    left = {column: count for column, count in enumerate(votes) if count >= 2}
    winners = [column for column, count in left.items() if count * 2 > sum(left.values())]
    return in_classes(winners[0]) if winners and winners[0] < 8 else -1


def distribution_of(votes: list[int]) -> np.ndarray:
    """One face at a time: take the next most voted, with its equals, until enough is taken."""
    left = {column: count for column, count in enumerate(votes) if count >= 2}
    total, taken, seen, over = sum(left.values()), {}, 0, False
    while not over and seen < 0.75 * total and len(taken) < 3:
        most = max(count for column, count in left.items() if column not in taken)
        for column in [column for column, count in left.items() if count == most and column not in taken]:
            if column >= 8:
                over = True
                break
            taken[column] = most
            seen += most
    shares = np.zeros(8)
    if len(taken) <= 3 and 2 * sum(taken.values()) > total:
        for column, count in taken.items():
            shares[in_classes(column)] = count / sum(taken.values())
    return shares


@given(st.lists(any_votes, min_size=1, max_size=8))
def test_the_majority_is_that_of_the_paper(rows):
    assert majority_labels(np.array(rows)).tolist() == [majority_of(row) for row in rows]


@given(st.lists(any_votes, min_size=1, max_size=8))
def test_the_distribution_is_that_of_the_paper(rows):
    found = vote_distribution(np.array(rows))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [distribution_of(row) for row in rows], rtol=1e-6)
    assert set(np.round(found.sum(axis=1), 5).tolist()) <= {0.0, 1.0}


@given(ballots)
def test_a_majority_leads_the_distribution_wherever_both_are(votes):
    rows = np.array([votes])
    label, shares = majority_labels(rows)[0], vote_distribution(rows)[0]
    if label >= 0 and shares.any():
        assert shares.argmax() == label


@pytest.mark.parametrize(
    ("votes", "majority", "shares"),
    [
        # neutral, happiness, surprise, sadness, anger, disgust, fear, contempt, unknown, NF
        ([0, 10, 0, 0, 0, 0, 0, 0, 0, 0], "happy", {"happy": 1.0}),
        ([4, 0, 0, 1, 3, 2, 0, 0, 0, 0], None, {"neutral": 4 / 7, "angry": 3 / 7}),  # 7 of 9 are enough
        ([6, 0, 1, 1, 0, 0, 0, 0, 2, 0], "neutral", {"neutral": 1.0}),
        ([4, 0, 0, 0, 0, 0, 0, 0, 6, 0], None, {}),  # most do not know
        ([5, 0, 0, 0, 0, 0, 0, 0, 5, 0], None, {}),  # 5 of 10 are not more than half
        ([0, 0, 0, 0, 0, 0, 0, 0, 0, 10], None, {}),  # not a face
        ([2, 2, 2, 2, 2, 0, 0, 0, 0, 0], None, {}),  # five labels
        ([1, 1, 1, 1, 1, 1, 1, 1, 1, 1], None, {}),  # single votes only
        ([0, 0, 0, 0, 0, 0, 0, 7, 0, 3], "contempt", {"contempt": 1.0}),
        ([3, 3, 0, 0, 0, 0, 0, 4, 0, 0], None, {"contempt": 0.4, "neutral": 0.3, "happy": 0.3}),
    ],
)
def test_votes_that_the_paper_and_its_program_speak_of(votes, majority, shares):
    rows = np.array([votes])
    label = majority_labels(rows)[0]
    assert (FERPLUS_CLASSES[label] if label >= 0 else None) == majority
    found = {name: float(share) for name, share in zip(FERPLUS_CLASSES, vote_distribution(rows)[0], strict=True)}
    assert {name: share for name, share in found.items() if share} == pytest.approx(shares)


def test_the_eight_classes_are_in_alphabetical_order():
    assert list(FERPLUS_CLASSES) == sorted([*EXPRESSIONS, "contempt"])


def votes_for(emotion: int, sure: int = 10) -> list[int]:
    """`sure` votes for one of FER2013's emotions, the others for unknown."""
    columns = ["anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"]
    votes = dict.fromkeys(FERPLUS_COLUMNS, 0)
    votes[columns[emotion]] += sure
    votes["unknown"] += 10 - sure
    return list(votes.values())


def write_pair(folder: Path, count: int = 42, side: int = 8) -> Path:
    """``fer2013.csv`` and votes that agree with it, `count` faces, a third a Usage; rows 5 and 6 are not faces."""
    faces, votes, kept = ["emotion,pixels,Usage"], [HEADER], 0
    for row in range(count):
        usage, emotion = USAGES[row * 3 // count], row % 7
        values = np.random.default_rng(row).integers(0, 40, side * side) + 30 * emotion
        faces.append(f"{emotion},{' '.join(map(str, values))},{usage}")
        removed = row in (5, 6)
        ballot = [0] * 9 + [10] if removed else votes_for(emotion, 10 if row % 2 else 7)
        votes.append(f"{usage},{'' if removed else f'fer{kept:07d}.png'},{','.join(map(str, ballot))}")
        kept += row != 5  # as in the real file, some that were taken out are not counted
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fer2013.csv").write_text("\n".join(faces) + "\n")
    (folder / "fer2013new.csv").write_text("\n".join(votes) + "\n")
    return folder


def change(path: Path, edit) -> None:
    """Edit the rows of a CSV file, the header left alone."""
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, *edit(rows)]) + "\n")


def test_labels_come_from_the_votes(tmp_path):
    dataset = open_dataset(write_pair(tmp_path), ferplus="majority")
    assert dataset.classes == FERPLUS_CLASSES
    assert dataset.format == "FER2013 CSV with FER+ votes (majority)"
    assert dataset.targets is None
    assert np.flatnonzero(dataset.labels < 0).tolist() == [5, 6]
    known = np.delete(np.arange(42), [5, 6])
    assert [FERPLUS_CLASSES[dataset.labels[row]] for row in known] == [FER2013_INDICES[row % 7] for row in known]
    own = open_dataset(tmp_path)  # whose labels are FER2013's
    assert own.classes == EXPRESSIONS
    assert len(own.load(InputSpec(8, 1)).labelled()) == 42


def test_soft_targets_are_for_training_and_tests_are_judged_by_the_majority(tmp_path):
    write_pair(tmp_path)
    mixed = "4,0,0,0,6,0,0,0,0,0"
    unclear = "5,0,0,0,5,0,0,0,0,0"

    def edit(rows):
        for row, ballot in ((0, mixed), (1, unclear), (20, mixed), (21, unclear)):
            usage, name, *_ = rows[row].split(",")
            rows[row] = f"{usage},{name},{ballot}"
        return rows

    change(tmp_path / "fer2013new.csv", edit)
    dataset = open_dataset(tmp_path, ferplus="distribution")
    angry, neutral = FERPLUS_CLASSES.index("angry"), FERPLUS_CLASSES.index("neutral")
    soft = dataset.targets
    assert soft[0, [angry, neutral]] == pytest.approx([0.6, 0.4])
    assert soft[1, [angry, neutral]] == pytest.approx([0.5, 0.5])  # no majority, yet to learn from
    assert soft[20, angry] == 1
    assert dataset.labels[[0, 20, 21]].tolist() == [angry, angry, -1]
    assert not soft[[5, 6, 21]].any()
    faces = dataset.load(InputSpec(8, 1)).labelled().select("train")
    np.testing.assert_array_equal(faces.targets.argmax(axis=1), faces.labels)
    np.testing.assert_allclose(faces.targets.sum(axis=1), 1, rtol=1e-6)
    hard = open_dataset(tmp_path, ferplus="majority").load(InputSpec(8, 1)).select("train").labelled()
    assert faces.take(np.arange(3)).digest() != hard.take(np.arange(3)).digest()


def test_what_is_learned_is_soft_and_what_is_held_out_is_hard(tmp_path):
    dataset = open_dataset(write_pair(tmp_path, count=180), ferplus="distribution")
    config = TrainingConfig(input=InputSpec(8, 1), ferplus="distribution", validation_fraction=0.2)
    materials = gather(dataset, config, Selection(limit=50))
    _, targets = materials.source.batch(0, batch_size=1000, seed=0, epoch=0)
    assert targets.shape == (len(materials.source.labels), 8)
    assert targets.dtype == np.float32
    assert len(materials.source.labels) + len(materials.validation) == 50
    assert materials.validation.labels.min() >= 0
    np.testing.assert_array_equal(np.sort(targets.argmax(axis=1)), np.sort(materials.source.labels))


def test_a_file_or_an_archive_will_do_and_blank_lines_count_for_nothing(tmp_path):
    folder = write_pair(tmp_path / "pair")
    expected = open_dataset(folder, ferplus="majority").labels
    change(folder / "fer2013.csv", lambda rows: [*rows[:9], "", *rows[9:]])
    assert open_dataset(folder / "fer2013.csv", ferplus="majority").labels.tolist() == expected.tolist()
    with zipfile.ZipFile(tmp_path / "pair.zip", "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, f"fer2013/{path.name}")
    assert open_dataset(tmp_path / "pair.zip", ferplus="majority").labels.tolist() == expected.tolist()
    assert load_data(folder, size=8, channels=1).classes == EXPRESSIONS  # the votes are no second dataset


def test_bad_faces_keep_the_others_votes(tmp_path):
    expected = open_dataset(write_pair(tmp_path), ferplus="majority").labels
    change(tmp_path / "fer2013.csv", lambda rows: [*rows[:3], "9,1 2 3,Training", *rows[4:]])
    dataset = open_dataset(tmp_path, ferplus="majority")
    assert len(dataset.problems) == 1
    assert dataset.labels.tolist() == np.delete(expected, 3).tolist()


def shuffle_ballots(rows):
    """The votes of Training in another order, Usages and image names left where they are."""
    training = [row.split(",", 2) for row in rows if row.startswith("Training")]
    order = np.random.default_rng(0).permutation(len(training))
    mixed = [f"{usage},{name},{training[place][2]}" for (usage, name, _), place in zip(training, order, strict=True)]
    return [*mixed, *rows[len(training) :]]


@pytest.mark.parametrize(
    ("file", "edit", "message"),
    [
        ("fer2013new.csv", lambda rows: rows[:-1], "has 41 rows of votes, but .* has 42 faces"),
        ("fer2013.csv", lambda rows: rows[:14], "has 42 rows of votes, but .* has 14 faces"),
        ("fer2013new.csv", lambda rows: rows[14:] + rows[:14], "Usage differs .* in 42 rows"),
        ("fer2013new.csv", lambda rows: [rows[1], rows[0], *rows[2:]], "image names .* are not in order"),
        ("fer2013new.csv", lambda rows: [rows[0].replace("0000000", "0000003"), *rows[1:]], "not in order"),
        ("fer2013new.csv", lambda rows: [rows[0].replace("Training", "Practice"), *rows[1:]], "unknown Usage"),
        ("fer2013new.csv", lambda rows: [rows[0].replace(".png,", ".png,x"), *rows[1:]], "not ten whole numbers"),
        ("fer2013new.csv", lambda rows: [rows[0].replace("fer0000000.png", "face"), *rows[1:]], "Image name 'face'"),
        ("fer2013new.csv", lambda rows: ["Training,fer0000000.png,1", *rows[1:]], "3 fields where 12"),
        ("fer2013new.csv", lambda rows: [], "no rows of votes"),
    ],
)
def test_rows_of_other_faces_are_refused(tmp_path, file, edit, message):
    change(write_pair(tmp_path) / file, edit)
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path, ferplus="majority")


def test_votes_shuffled_within_a_usage_are_found_by_how_seldom_they_agree(tmp_path):
    write_pair(tmp_path, count=900)
    for name in ("fer2013.csv", "fer2013new.csv"):
        change(tmp_path / name, lambda rows: [row for row in rows if "Training" in row])
    assert len(open_dataset(tmp_path, ferplus="majority")) == 300
    change(tmp_path / "fer2013new.csv", shuffle_ballots)
    with pytest.raises(DataError, match=r"only .* faces that are compared, where chance gives"):
        open_dataset(tmp_path, ferplus="majority")


def test_a_shuffle_of_one_usage_among_others_is_found(tmp_path):
    write_pair(tmp_path, count=1500)
    assert len(open_dataset(tmp_path, ferplus="majority")) == 1500
    change(tmp_path / "fer2013new.csv", shuffle_ballots)  # of a third of the rows: the whole agrees well enough
    with pytest.raises(DataError, match=r"row order: from fer2013\.csv:2 .*for only"):
        open_dataset(tmp_path, ferplus="majority")


def move_votes(rows, start, end):
    """The votes of some rows one row on, Usages and image names left where they are."""
    votes = [row.split(",", 2)[2] for row in rows]
    votes[start:end] = [votes[end - 1], *votes[start : end - 1]]
    return [f"{row.rsplit(',', 10)[0]},{ballot}" for row, ballot in zip(rows, votes, strict=True)]


def test_a_stretch_of_rows_that_was_moved_is_found(tmp_path):
    write_pair(tmp_path, count=6000)
    change(tmp_path / "fer2013new.csv", lambda rows: move_votes(rows, 500, 1000))
    with pytest.raises(DataError, match=r"row order: from fer2013\.csv:550 to fer2013\.csv:1095"):
        open_dataset(tmp_path, ferplus="majority")


def test_class_folders_alone_cannot_be_linked(patterns, tmp_path):
    with pytest.raises(
        DataError, match=r"needs fer2013\.csv and fer2013new\.csv .*files of class folders cannot.* neither"
    ):
        open_dataset(patterns, ferplus="majority")
    (write_pair(tmp_path) / "fer2013new.csv").unlink()
    with pytest.raises(DataError, match=r"holds fer2013\.csv, but no fer2013new\.csv beside it"):
        open_dataset(tmp_path, ferplus="distribution")


def test_a_tree_beside_the_pair_is_passed_over(patterns, tmp_path):
    write_pair(tmp_path)
    (tmp_path / "train").symlink_to(patterns / "train", target_is_directory=True)
    assert len(open_dataset(tmp_path, ferplus="majority")) == 42


@pytest.mark.parametrize("data", [b"", b"a,b\n1,2\n", b"\xff\xfe\x00", b'Usage,"Image name\n'])
def test_other_files_are_no_votes(data):
    with pytest.raises(DataError):
        read_votes(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_votes_or_a_data_error(noise):
    try:
        votes = read_votes(HEADER.encode() + b"\n" + noise)
    except DataError:
        return
    assert votes.counts.shape == (len(votes), 10)


def test_an_unknown_mode_cannot_be_configured():
    with pytest.raises(UsageError, match="ferplus: must be one of none, majority, distribution"):
        TrainingConfig(ferplus="soft")
    with pytest.raises(UsageError, match="ferplus: no such choice 'soft'"):
        open_dataset(".", ferplus="soft")


@pytest.mark.slow
def test_a_short_training_from_votes_to_scores(tmp_path):
    from mien.training import fit, train

    write_pair(tmp_path / "pair", count=240, side=24)
    config = TrainingConfig(epochs=2, batch_size=16, ferplus="distribution", learning_rate=0.003)
    result = train(tmp_path / "pair", config, out=tmp_path / "run")
    assert result.spec.classes == FERPLUS_CLASSES
    assert (result.scores["public"].n, result.scores["private"].n) == (80, 80)
    record = json.loads((result.folder / "config.json").read_text())
    assert record["training"]["ferplus"] == "distribution"
    assert record["data"]["format"] == "FER2013 CSV with FER+ votes (distribution)"
    assert record["data"]["n_train"] + record["data"]["n_validation"] == 78
    assert result.history["loss"][1] < result.history["loss"][0]
    with pytest.raises(UsageError, match="arrays come with their labels"):
        fit(result.model, np.zeros((20, 48, 48, 1)), np.zeros(20, int), config=config, classes=FERPLUS_CLASSES)

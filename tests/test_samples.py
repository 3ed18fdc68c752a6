import cv2
import numpy as np
import pytest

from mien.datasets.face_series import PROPORTIONS, Series
from mien.datasets.samples import draw_face, sample_faces, write_samples
from mien.errors import UsageError
from mien.labels import EXPRESSIONS


def files_of(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples") / "faces"
    write_samples(folder, count=140, seed=4)
    return folder


def test_a_face_is_the_same_every_time():
    assert np.array_equal(draw_face("happy", seed=3), draw_face("happy", seed=3))


def test_seeds_give_different_people_and_one_seed_the_same_one_in_every_expression():
    assert not np.array_equal(draw_face("sad", seed=1), draw_face("sad", seed=2))
    corner = [draw_face(expression, seed=9)[:6, :6] for expression in EXPRESSIONS]
    assert all(np.array_equal(corner[0], other) for other in corner[1:])


@pytest.mark.parametrize(("channels", "shape"), [(1, (64, 64)), (3, (64, 64, 3))])
def test_draw_face_has_the_shape_asked_for(channels, shape):
    image = draw_face("fear", seed=0, size=64, channels=channels)
    assert image.shape == shape
    assert image.dtype == np.uint8
    assert image.std() > 10


def test_faces_are_the_same_whatever_the_number_asked_for():
    few, few_labels = sample_faces(10, seed=5)
    many, many_labels = sample_faces(45, seed=5)
    assert np.array_equal(few, many[:10])
    assert np.array_equal(few_labels, many_labels[:10])


def test_faces_drawn_by_several_processes_are_those_drawn_by_one(monkeypatch):
    alone, _ = sample_faces(100, seed=8)

    def refuse(series, chunk, labels):
        raise AssertionError("drawn by the caller, not by a process")

    monkeypatch.setattr("mien.datasets.face_series._WORTHWHILE", 0)
    monkeypatch.setattr("mien.datasets.face_series.Series.draw", refuse)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert np.array_equal(sample_faces(100, seed=8)[0], alone)


def test_faces_are_drawn_here_where_processes_cannot_be_started(monkeypatch):
    alone, _ = sample_faces(40, seed=8)
    monkeypatch.setattr("mien.datasets.face_series._WORTHWHILE", 0)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    for broken in ("/no/such/python", "false"):
        monkeypatch.setattr("sys.executable", broken)
        assert np.array_equal(sample_faces(40, seed=8)[0], alone)


def test_sample_faces_are_balanced_in_the_order_of_the_labels():
    images, labels = sample_faces(21, seed=0, size=32, channels=3)
    assert images.shape == (21, 32, 32, 3)
    assert labels.dtype == np.int64
    assert labels.tolist() == [i % 7 for i in range(21)]


def test_no_faces_are_an_empty_array():
    images, labels = sample_faces(0)
    assert images.shape == (0, 48, 48, 1)
    assert labels.shape == (0,)


def test_fer2013_proportions_hold_in_every_beginning():
    labels = Series(2000, 0, 48, 1, "fer2013").labels()
    shares = np.array(PROPORTIONS["fer2013"]) / sum(PROPORTIONS["fer2013"])
    for count in (50, 500, 2000):
        assert np.abs(np.bincount(labels[:count], minlength=7) - count * shares).max() <= 3.5
    assert np.array_equal(sample_faces(30, proportions="fer2013")[1], labels[:30])


def test_written_samples_have_the_layout_of_fer2013(written):
    files = files_of(written)
    assert len(files) == 140
    for expression in EXPRESSIONS:
        assert len(list((written / "train" / expression).glob("Training_*.png"))) == 16
        assert len(list((written / "test" / expression).glob("PublicTest_*.png"))) == 2
        assert len(list((written / "test" / expression).glob("PrivateTest_*.png"))) == 2


def test_no_face_is_in_two_splits(written):
    numbers = [int(name.rsplit("_", 1)[1].removesuffix(".png")) for name in files_of(written)]
    assert sorted(numbers) == list(range(140))


def test_written_faces_are_the_sampled_ones(written):
    images, labels = sample_faces(5, seed=4)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = written / "train" / EXPRESSIONS[label] / f"Training_{number}.png"
        assert np.array_equal(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), image[:, :, 0])


def test_colours_are_written_as_rgb(tmp_path):
    write_samples(tmp_path / "faces", count=1, seed=2, size=32, channels=3)
    (path,) = (tmp_path / "faces").rglob("*.png")
    assert np.array_equal(
        cv2.imread(str(path), cv2.IMREAD_COLOR_RGB), sample_faces(1, seed=2, size=32, channels=3)[0][0]
    )


def test_an_empty_folder_is_filled_and_progress_reaches_the_end(tmp_path):
    seen = []
    write_samples(tmp_path, count=40, size=16, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(32, 40), (40, 40)]
    assert len(files_of(tmp_path)) == 40


def test_a_folder_that_holds_something_is_refused_and_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(UsageError, match="not empty"):
        write_samples(tmp_path, count=7)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(UsageError, match="is a file"):
        write_samples(tmp_path / "file", count=7)


def test_an_interrupted_call_leaves_nothing(tmp_path):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_samples(tmp_path / "faces", count=40, size=16, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": -1}, "count"),
        ({"count": 7, "seed": -1}, "seed"),
        ({"count": 7, "size": 8}, "size"),
        ({"count": 7, "size": 2000}, "size"),
        ({"count": 7, "channels": 2}, "channels"),
        ({"count": 7, "proportions": "fair"}, "proportions.*balanced, fer2013"),
    ],
)
def test_bad_arguments_are_named(arguments, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        sample_faces(**arguments)
    with pytest.raises(UsageError, match=message):
        write_samples(tmp_path / "faces", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_writing_no_faces_is_refused(tmp_path):
    with pytest.raises(UsageError, match="count: must be at least 1"):
        write_samples(tmp_path / "faces", count=0)


def test_an_unknown_expression_lists_the_choices():
    with pytest.raises(UsageError, match=r"expression.*'smug'.*angry.*surprise"):
        draw_face("smug", seed=0)

"""Faces keep their numbers through jitter, gaps and crossings; averages do not depend on the frame rate."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.associating import Motion, likeness, overlaps, pair
from mien.cuts import glance_at, is_cut
from mien.errors import UsageError
from mien.faces import Detections, WholePicture
from mien.tracking import SURE, FaceTracker, Smoother, detect_every_at

BLANK = np.full((480, 640, 3), 128, np.uint8)


def rows(boxes, scores=None):
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    scores = np.full(len(boxes), 0.99, np.float32) if scores is None else np.asarray(scores, np.float32)
    return Detections(boxes, scores, np.zeros((len(boxes), 5, 2), np.float32))


def box(x, y, size=60.0):
    return [x - size / 2, y - size / 2, x + size / 2, y + size / 2]


class World:
    """A detector whose pictures are lists of (person, box, score): it finds them in any order, a little beside."""

    name = "world"

    def __init__(self, seed=0, jitter=0.0):
        self.rng, self.jitter, self.faces, self.searched = np.random.default_rng(seed), jitter, [], 0

    def detect(self, image):
        self.searched += 1
        faces = [self.faces[i] for i in self.rng.permutation(len(self.faces))]
        found = rows([face[1] for face in faces], [face[2] for face in faces])
        return rows(found.boxes_xyxy + self.noise(len(faces)), found.scores)

    def detect_batch(self, images):
        return [self.detect(image) for image in images]

    def follow(self, image, before):
        after, scores = before.boxes_xyxy.copy(), np.full(len(before), 0.1, np.float32)
        if self.faces:
            there = np.array([face[1] for face in self.faces], np.float32)
            overlap = overlaps(before.boxes_xyxy, there)
            for row, nearest in enumerate(overlap.argmax(axis=1)):
                if overlap[row, nearest] > 0.2:
                    after[row], scores[row] = there[nearest], self.faces[nearest][2]
        return rows(after + self.noise(len(after)), scores)

    def noise(self, n):
        return self.rng.uniform(-self.jitter, self.jitter, (n, 4)).astype(np.float32)

    def owner(self, found):
        """Whose each of these boxes is."""
        there = np.array([face[1] for face in self.faces], np.float32)
        return [self.faces[i][0] for i in overlaps(found[None], there).argmax(axis=1)]


def play(world, frames, *, image=BLANK, fps=30.0, **options):
    """Run a tracker over lists of faces: for each frame, person to number."""
    tracker, told = FaceTracker(world, **options), []
    for index, faces in enumerate(frames):
        world.faces = faces
        found, numbers = tracker.next(image, index / fps)
        assert numbers.dtype == np.int64
        assert len(set(numbers.tolist())) == len(numbers) == len(found)
        assert (np.diff(np.prod(found.boxes_xyxy[:, 2:] - found.boxes_xyxy[:, :2], axis=1)) <= 0).all()
        told.append({world.owner(b)[0]: n for b, n in zip(found.boxes_xyxy, numbers.tolist(), strict=True)})
    return told


def face(person, x, y, size=60.0, score=0.99):
    return (person, box(x, y, size), score)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    people=st.integers(1, 5),
    detect_every=st.integers(1, 9),
    jitter=st.floats(0, 4),
)
def test_numbers_stay_with_people_who_keep_apart(seed, people, detect_every, jitter):
    rng = np.random.default_rng(seed)
    phases, speeds = rng.uniform(0, 6, people), rng.uniform(0.02, 0.08, people)

    def at(person, frame):
        x = 60 + person * 125 + 25 * np.sin(phases[person] + speeds[person] * frame)
        return face(person, x, 240 + 180 * np.cos(phases[person] + speeds[person] * frame), 50 + 8 * person)

    told = play(World(seed, jitter), [[at(p, f) for p in range(people)] for f in range(60)], detect_every=detect_every)
    assert set(told[0].values()) == set(range(1, people + 1))
    assert all(frame == told[0] for frame in told)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), speed=st.floats(2, 9), height=st.floats(0, 25), detect_every=st.integers(1, 8))
def test_numbers_are_not_swapped_when_two_people_cross(seed, speed, height, detect_every):
    """The hinder one is covered while they overlap by half."""
    frames = []
    for frame in range(int(400 / speed)):
        front, back = face("front", 120 + speed * frame, 200), face("back", 520 - speed * frame, 200 + height)
        covered = overlaps(np.array([front[1]]), np.array([back[1]]))[0, 0] > 0.3
        frames.append([front] if covered else [front, back])
    told = play(World(seed, 1.0), frames, detect_every=detect_every)
    assert told[0] == told[-1]
    assert all(frame.get(person, number) == number for frame in told for person, number in told[0].items())


def test_faces_that_come_close_and_part_again_keep_their_numbers():
    gaps = np.r_[np.linspace(200, 66, 40), np.linspace(66, 200, 40)]
    told = play(World(1, 2.0), [[face("a", 300 - g / 2, 200), face("b", 300 + g / 2, 200)] for g in gaps])
    assert all(frame == told[0] for frame in told)


def test_looks_decide_where_place_does_not():
    """A face is found between the places of two that left sight, nearer to one, but looks as the other did."""
    light, dark = (np.full((480, 640, 3), level, np.uint8) for level in (190, 60))
    image = np.hstack([light[:, :300], dark[:, 300:]])
    motions = [Motion.begin(box(260, 200), 0.0, image), Motion.begin(box(340, 200), 0.0, image)]
    for x, nearer in ((306, 1), (294, 0)):
        for picture, alike in ((light, 0), (dark, 1), (BLANK, nearer)):
            fit = likeness(motions, np.array([box(x, 200)], np.float32), 0.5, picture)
            assert fit[:, 0].argmax() == alike


@pytest.mark.parametrize(("away", "kept"), [(10, True), (25, True), (40, False)])
def test_a_short_absence_keeps_the_number_a_long_one_does_not(away, kept):
    here = [face("a", 300, 200)]
    told = play(World(), [here] * 20 + [[]] * away + [here] * 20, forget=1.0)
    assert all(frame == {} for frame in told[20 : 20 + away])
    assert told[0] == {"a": 1}
    assert told[-1] == {"a": 1 if kept else 2}


def test_a_moving_face_is_met_again_where_it_must_be_by_now():
    frames = [[face("a", 100 + 6 * frame, 200)] if not 30 <= frame < 42 else [] for frame in range(70)]
    told = play(World(), frames)
    assert told[-1] == {"a": 1}


def test_new_faces_get_new_numbers_and_old_numbers_are_not_used_again():
    a, b, c = face("a", 100, 100), face("b", 300, 100), face("c", 500, 300)
    told = play(World(), [[a]] * 10 + [[a, b]] * 10 + [[b]] * 60 + [[b, c, a]] * 10, forget=0.5)
    assert told[9] == {"a": 1}
    assert told[19] == {"a": 1, "b": 2}
    assert told[79] == {"b": 2}
    assert told[89]["b"] == 2
    assert {told[89]["c"], told[89]["a"]} == {3, 4}


def test_the_picture_is_searched_every_so_often_and_where_a_face_is_lost():
    world, here = World(), [face("a", 300, 200)]
    play(world, [here] * 21, detect_every=10)
    assert world.searched == 3
    play(world, [here] * 4 + [[]] * 5, detect_every=10)
    assert world.searched == 3 + 2
    play(world, [[]] * 21, detect_every=10)
    assert world.searched == 5 + 3


@pytest.mark.parametrize(("fps", "every"), [(0.1, 1), (1, 1), (5, 2), (10, 3), (20, 6), (25, 6), (30, 6), (240, 6)])
def test_where_frames_are_far_apart_more_of_them_are_searched(fps, every):
    assert detect_every_at(fps) == every


def test_a_face_that_jumps_away_is_lost_and_found_at_once():
    told = play(World(), [[face("a", 100, 100)]] * 4 + [[face("b", 500, 300)]] * 2, detect_every=50)
    assert told[4] == {"b": 2}


def test_doubtful_faces_need_a_second_look():
    doubtful = face("x", 500, 100, score=SURE - 0.05)
    sure = face("a", 100, 100)
    flicker = play(World(), [[sure]] * 5 + [[sure, doubtful]] + [[sure]] * 6, detect_every=5)
    assert all(frame == {"a": 1} for frame in flicker)
    stays = play(World(), [[sure]] * 5 + [[sure, doubtful]] * 7, detect_every=5)
    assert [len(frame) for frame in stays[5:8]] == [1, 2, 2]
    assert stays[-1] == {"a": 1, "x": 2}
    at_once = play(World(), [[sure]] * 5 + [[sure, face("y", 500, 100)]], detect_every=5)
    assert at_once[5] == {"a": 1, "y": 2}


def test_a_video_of_one_frame_loses_no_face():
    assert play(World(), [[face("a", 100, 100, score=0.7)]]) == [{"a": 1}]


def test_a_face_that_detection_misses_is_followed_on_for_a_while():
    class Blinking(World):
        def detect(self, image):
            found = super().detect(image)
            return found if self.searched % 2 else Detections.none()

    told = play(Blinking(), [[face("a", 300, 200)]] * 40, detect_every=4)
    assert all(frame == {"a": 1} for frame in told)

    class Blind(World):
        def detect(self, image):
            found = super().detect(image)
            return found if self.searched == 1 else Detections.none()

    told = play(Blind(), [[face("a", 300, 200)]] * 40, detect_every=4)
    assert told[8] == {"a": 1}
    assert told[-1] == {}


def test_two_followed_boxes_never_lie_on_one_face():
    """Of two people, one walks away unseen while detection sleeps: both boxes would settle on the other."""
    frames = [[face("a", 300, 200), face("b", 340, 200)]] * 5 + [[face("a", 305, 200)]] * 20
    told = play(World(), frames, detect_every=100)
    assert all(frame == {"a": told[0]["a"]} for frame in told[5:])


def test_another_size_or_an_earlier_time_begins_anew():
    world = World()
    world.faces = [face("a", 100, 100)]
    tracker = FaceTracker(world)
    assert tracker.next(BLANK, 1.0)[1].tolist() == [1]
    assert tracker.next(BLANK[:400], 1.1)[1].tolist() == [2]
    assert tracker.next(BLANK[:400], 0.1)[1].tolist() == [3]
    assert tracker.next(BLANK[:400])[1].tolist() == [3]


def scenery(seed, shape=(240, 320)):
    """A picture with something in it: a few large blots."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), np.uint8)
    return cv2.resize(small, shape[::-1], interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("at", [6, 8])
@pytest.mark.parametrize("grey", [False, True])
def test_whoever_is_where_a_face_was_before_a_cut_is_somebody_else(at, grey):
    world = World()
    tracker = FaceTracker(world)
    told = []
    for index in range(16):
        world.faces = [face("A" if index < at else "B", 100, 100)]
        image = scenery(index >= at)
        _, numbers = tracker.next(image[:, :, 1] if grey else image, index / 25)
        told.append(numbers.tolist())
    assert told == [[1]] * at + [[2]] * (16 - at)


def changed(change):
    """A picture and the one after it, of one scene."""
    one = scenery(5, (480, 640))
    wide = cv2.resize(one, (800, 480))
    return {
        "none": (one, one),
        "flash": (one, cv2.convertScaleAbs(one, alpha=2, beta=60)),
        "light off": (one, cv2.convertScaleAbs(one, alpha=0.15)),
        "black": (one, np.zeros_like(one)),
        "white": (np.full_like(one, 255), one),
        "shift": (wide[:, :640], wide[:, 32:672]),
        "noise": tuple(np.random.default_rng(seed).integers(0, 256, one.shape, np.uint8) for seed in (1, 2)),
        "dark noise": tuple(np.random.default_rng(seed).integers(0, 40, (16, 24, 3), np.uint8) for seed in (1, 2)),
        "tiny": (one[:1, :1], scenery(6)[:1, :1]),
    }[change]


@pytest.mark.parametrize(
    "change", ["none", "flash", "light off", "black", "white", "shift", "noise", "dark noise", "tiny"]
)
def test_what_goes_on_is_no_cut(change):
    before, after = changed(change)
    assert not is_cut(glance_at(before), glance_at(after))


def test_another_scene_is_a_cut():
    cuts = [is_cut(glance_at(scenery(seed)), glance_at(scenery(seed + 1))) for seed in range(100)]
    assert sum(cuts) > 80


def test_grey_pictures_and_detectors_without_points():
    tracker = FaceTracker(WholePicture(), detect_every=3)
    for _ in range(7):
        found, numbers = tracker.next(np.zeros((48, 48), np.uint8))
        assert numbers.tolist() == [1]
        assert found.keypoints.shape == (1, 0, 2)


@pytest.mark.parametrize("options", [{"detect_every": 0}, {"forget": -1.0}, {"forget": float("nan")}])
def test_options_out_of_range(options):
    with pytest.raises(UsageError, match="detect_every: must be 1 or more, forget 0 or more"):
        FaceTracker(World(), **options)


@given(st.integers(0, 6), st.integers(0, 6), st.integers(0, 10**6))
def test_pairs_are_one_to_one_and_the_best_comes_first(n, m, seed):
    fit = np.maximum(np.random.default_rng(seed).uniform(-0.3, 1, (n, m)), 0.0)
    pairs = pair(fit)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    values = [fit[row, column] for row, column in pairs]
    assert values == sorted(values, reverse=True)
    assert all(value > 0 for value in values)
    left = np.delete(np.delete(fit, [row for row, _ in pairs], 0), [column for _, column in pairs], 1)
    assert not (left > 0).any()


def test_overlap_is_what_it_is():
    assert overlaps(np.array([[0, 0, 2, 2.0]]), np.array([[1, 0, 3, 2.0], [5, 5, 6, 6]])).tolist() == [[1 / 3, 0]]


def shares(seed, n, classes=7):
    values = np.random.default_rng(seed).dirichlet(np.ones(classes), n)
    return values.astype(np.float32)


@given(st.floats(0.01, 5), st.integers(1, 8), st.integers(0, 10**6))
def test_averages_do_not_depend_on_the_frame_rate(seconds, times_faster, seed):
    """Values that hold for a whole slow frame give the same at its end, however often they are sampled in it."""
    steps, slow, fast = shares(seed, 10), Smoother(seconds), Smoother(seconds)
    one = np.array([1])
    for index, value in enumerate(steps):
        expected = slow.smooth(one, value[None], index * 0.1)
        for part in range(times_faster if index else 1):
            time = index * 0.1 if not index else (index - 1 + (part + 1) / times_faster) * 0.1
            received = fast.smooth(one, value[None], time)
        assert received == pytest.approx(expected, abs=1e-5)
        assert received.sum() == pytest.approx(1, abs=1e-5)


def test_old_values_fade_by_e_in_the_given_time():
    smoother, one = Smoother(0.5), np.array([4])
    assert smoother.smooth(one, np.array([[1, 0]], np.float32), 3.0).tolist() == [[1, 0]]
    after = smoother.smooth(one, np.array([[0, 1]], np.float32), 3.5)
    assert after[0, 0] == pytest.approx(np.exp(-1))
    assert after.dtype == np.float32


@given(st.permutations(range(5)), st.integers(0, 10**6))
def test_tracks_are_averaged_apart_in_any_order(order, seed):
    values, later, numbers = shares(seed, 5), shares(seed + 1, 5), np.arange(10, 15)
    one, other = Smoother(1.0), Smoother(1.0)
    one.smooth(numbers, values, 0.0)
    other.smooth(numbers, values, 0.0)
    order = list(order)
    straight = one.smooth(numbers, later, 0.3)
    assert (other.smooth(numbers[order], later[order], 0.3) == straight[order]).all()


def test_zero_seconds_change_nothing():
    smoother, values = Smoother(0), shares(0, 2)
    for time in (0.0, 0.1):
        assert (smoother.smooth(np.array([1, 2]), values[::-1], time) == values[::-1]).all()


def test_no_face_is_no_row():
    assert Smoother(1.0).smooth(np.empty(0, np.int64), np.empty((0, 7), np.float32), 0.0).shape == (0, 7)


def test_the_input_is_not_changed_and_time_may_begin_again():
    smoother, values = Smoother(1.0), shares(3, 2)
    kept = values.copy()
    smoother.smooth(np.array([1, 2]), values[::-1].copy(), 5.0)
    again = smoother.smooth(np.array([1, 2]), values, 0.0)
    assert (values == kept).all()
    assert (again == values).all()


def test_memory_of_smoother_and_tracker_stays_flat():
    def held(thing):
        return sum(len(value) for value in vars(thing).values() if isinstance(value, list | dict))

    smoother, world = Smoother(0.2), World()
    tracker, sizes = FaceTracker(world, forget=0.2), []
    for frame in range(600):
        world.faces = [face(frame // 20, 60 + 27 * (frame // 20 % 20), 100)]
        found, numbers = tracker.next(BLANK, frame / 30)
        smoother.smooth(numbers, shares(frame, len(found)), frame / 30)
        smoother.smooth(np.array([10_000 + frame]), shares(frame, 1), frame / 30)
        sizes.append(held(smoother) + held(tracker))
    assert 60 < max(sizes) < 80


@pytest.mark.parametrize("seconds", [-0.1, float("nan"), float("inf")])
def test_seconds_out_of_range(seconds):
    with pytest.raises(UsageError, match="seconds: must be 0 or more and finite"):
        Smoother(seconds)


@given(seed=st.integers(0, 999), detect_every=st.integers(1, 7))
def test_searching_ahead_where_it_is_due_changes_nothing(seed, detect_every):
    """What the analyzer does: the tracker says when it must search, and is handed what searching gave."""
    world, ahead = World(), World()
    rng = np.random.default_rng(seed)
    alone = FaceTracker(world, detect_every=detect_every)
    helped = FaceTracker(ahead, detect_every=detect_every)
    for index in range(20):
        faces = [face(name, 100 + 300 * at + index, 100) for at, name in enumerate("ab") if rng.random() < 0.9]
        world.faces = ahead.faces = faces
        due = helped.due == 0
        found = rows([one[1] for one in faces], [one[2] for one in faces]) if due else None
        expected, numbers = alone.next(BLANK, index / 30)
        told, same = helped.next(BLANK, index / 30, found)
        np.testing.assert_array_equal(numbers, same)
        np.testing.assert_array_equal(expected.boxes_xyxy, told.boxes_xyxy)
    assert ahead.searched < world.searched

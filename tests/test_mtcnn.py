"""The detector on free pictures (scikit-image's), on odd ones, from many threads, along a video."""

import io
import json
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
from skimage import data

from mien.errors import ModelError, UsageError
from mien.faces import KEYPOINTS, MTCNN, Detections
from mien.faces import graphs as mtcnn_graphs
from mien.faces import mtcnn as mtcnn_module
from mien.faces.boxes import overlaps

GOLDEN = json.loads((Path(__file__).parent / "golden" / "mtcnn.json").read_text(encoding="utf-8"))
ASTRONAUT = data.astronaut()
CAMERA = data.camera()


def crowd():
    """Two astronauts of different size, and the man with the camera."""
    canvas = np.full((400, 640, 3), 90, np.uint8)
    canvas[:256, :256] = cv2.resize(ASTRONAUT, (256, 256), interpolation=cv2.INTER_AREA)
    canvas[:384, 256:640] = cv2.resize(ASTRONAUT, (384, 384), interpolation=cv2.INTER_AREA)[:, ::-1]
    canvas[272:400, :128] = cv2.resize(CAMERA, (128, 128), interpolation=cv2.INTER_AREA)[..., None]
    return canvas


PICTURES = {
    "astronaut": ASTRONAUT,
    "camera": CAMERA,
    "crowd": crowd(),
    "coffee": data.coffee(),
    "rocket": data.rocket(),
}


@pytest.fixture(scope="module")
def detector():
    return MTCNN()


def same(first: Detections, second: Detections, within: float = 0.02) -> bool:
    """Equal to rounding: convolutions add up in another order in a batch."""
    return len(first) == len(second) and np.allclose(first.boxes_xyxy, second.boxes_xyxy, atol=within)


@pytest.mark.parametrize("name", PICTURES)
def test_finds_what_it_found(detector, name):
    faces, stored = detector.detect(PICTURES[name]), GOLDEN[name]
    assert len(faces) == len(stored["boxes"])
    if len(faces):
        assert np.diag(overlaps(faces.boxes_xyxy, np.array(stored["boxes"], np.float32))).min() > 0.97
        assert np.allclose(faces.scores, stored["scores"], atol=0.02)
        width = faces.boxes_xyxy[:, 2:3, None] - faces.boxes_xyxy[:, :1, None]
        assert (np.abs(faces.keypoints - np.array(stored["keypoints"])) / width).max() < 0.03


def test_left_is_the_persons_left(detector):
    points = dict(zip(KEYPOINTS, detector.detect(ASTRONAUT).keypoints[0], strict=True))
    assert points["right_eye"][0] < points["nose"][0] < points["left_eye"][0]
    assert points["right_mouth"][0] < points["left_mouth"][0]
    assert points["left_eye"][1] < points["nose"][1] < points["left_mouth"][1]


def test_largest_face_comes_first(detector):
    faces = detector.detect(crowd())
    left, top, right, bottom = faces.boxes_xyxy.T
    assert len(faces) >= 2
    assert (np.diff((right - left) * (bottom - top)) <= 0).all()


def test_a_batch_gives_what_single_pictures_give(detector):
    pictures = [*PICTURES.values(), CAMERA[:, ::-1], ASTRONAUT[::-1]]
    batch = detector.detect_batch(pictures)
    assert all(same(many, detector.detect(one)) for many, one in zip(batch, pictures, strict=True))
    assert detector.detect_batch([]) == []


def test_small_pictures_of_one_size_do_not_mix(detector):
    face = cv2.resize(ASTRONAUT[20:220, 120:320], (63, 63), interpolation=cv2.INTER_AREA)
    pictures = [face, np.zeros_like(face), face[:, ::-1], np.full_like(face, 200), face] * 20
    found = detector.detect_batch(pictures)
    assert [len(faces) for faces in found] == [1, 0, 1, 0, 1] * 20
    assert all(same(faces, detector.detect(picture)) for faces, picture in zip(found[:5], pictures, strict=False))


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 1, 3), (11, 11, 3), (12, 12, 1), (19, 300), (13, 2000, 3), (2, 40_000), (40_000, 3, 3)]
)
def test_tiny_and_drawn_out_pictures_hold_no_face(detector, shape):
    faces = detector.detect(np.full(shape, 120, np.uint8))
    assert (len(faces), faces.boxes_xyxy.shape, faces.keypoints.shape) == (0, (0, 4), (0, 5, 2))


def test_a_face_in_a_picture_too_long_for_opencv_is_found_near_its_place():
    long = np.full((130, 32_500, 3), 90, np.uint8)
    long[:, 32_000:32_130] = ASTRONAUT[50:180, 160:290]
    patient = MTCNN(min_face_size=60)
    faces, expected = patient.detect(long), patient.detect(ASTRONAUT[50:180, 160:290])
    assert len(faces) == 1
    assert overlaps(faces.boxes_xyxy, expected.boxes_xyxy + np.float32([32_000, 0] * 2))[0, 0] > 0.7


@pytest.mark.parametrize("shape", [(4, 33_000), (1, 33_000), (33_000, 4)])
def test_long_pictures_of_one_size_are_answered_each(detector, shape):
    found = detector.detect_batch([np.full(shape, 120, np.uint8)] * 3)
    assert [len(faces) for faces in found] == [0, 0, 0]


def test_grey_is_the_same_as_grey_in_three_channels(detector):
    three = np.repeat(CAMERA[..., None], 3, 2)
    assert same(detector.detect(CAMERA), detector.detect(three))
    assert same(detector.detect(CAMERA[..., None]), detector.detect(three))


def test_views_are_read_as_their_copies(detector):
    near = ASTRONAUT[:256, 100:356]
    for view in (near[:, ::-1], near[::2, ::2], near[..., ::-1], np.asfortranarray(near)):
        assert same(detector.detect(view), detector.detect(np.ascontiguousarray(view)))


@pytest.mark.parametrize(
    "image", [ASTRONAUT / 255, ASTRONAUT.astype(np.int32), ASTRONAUT[..., :2], ASTRONAUT[None], ASTRONAUT[:0], "a.jpg"]
)
def test_what_is_no_picture_is_refused(detector, image):
    for refuse in (detector.detect, lambda wrong: detector.follow(wrong, Detections.none())):
        with pytest.raises(UsageError, match=r"image: must be"):
            refuse(image)


@pytest.mark.parametrize("single", [ASTRONAUT, CAMERA, CAMERA[..., None], None, "a.jpg"])
def test_a_single_picture_is_no_batch(detector, single):
    with pytest.raises(UsageError, match=r"images: must be a list of pictures, received .*; for one, call detect"):
        detector.detect_batch(single)


def test_a_batch_may_be_a_generator(detector):
    (faces,) = detector.detect_batch(picture for picture in [ASTRONAUT])
    assert same(faces, detector.detect(ASTRONAUT))


@pytest.mark.parametrize(
    "options",
    [
        {"min_face_size": 3},
        {"min_face_size": float("nan")},
        {"scale_factor": 1.0},
        {"scale_factor": 0.1},
        {"thresholds": (0.6, 0.7)},
        {"min_face_size": "20"},
        {"min_face_size": True},
        {"scale_factor": None},
        {"thresholds": (0.6, 0.7, 1.0)},
        {"thresholds": (0.6, 0.7, "0.8")},
        {"thresholds": 0.5},
        {"threads": -1},
        {"threads": 1.5},
        {"device": "abacus"},
        {"device": "GPU:7"},
        {"stages": "face_detection_only"},
        {"stages": []},
        {"steady": "no"},
        {"most": 0},
        {"most": 1.5},
        {"border": -1},
        {"border": 1.5},
    ],
)
def test_options_out_of_range_are_refused(options):
    (name,) = options
    with pytest.raises(UsageError, match=name):
        MTCNN(**options)


def test_eight_threads_get_the_answers_of_one(detector):
    pictures = list(PICTURES.values())[:3] * 4
    expected = [detector.detect(picture) for picture in pictures[:3]] * 4
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(detector.detect, pictures))
    assert all(np.array_equal(a.boxes_xyxy, b.boxes_xyxy) for a, b in zip(found, expected, strict=True))


def test_the_number_of_threads_and_pickling_change_nothing(detector):
    copy = pickle.loads(pickle.dumps(MTCNN(threads=1, min_face_size=40)))
    assert copy.options["min_face_size"] == 40
    assert same(copy.detect(ASTRONAUT), MTCNN(threads=3, min_face_size=40).detect(ASTRONAUT), within=0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows does not fork")
def test_a_forked_process_finds_what_its_parent_found():
    script = """if True:
        import os, signal, warnings
        from skimage import data
        from mien.faces import MTCNN
        warnings.simplefilter("ignore")  # Python's own: threads do not survive a fork
        detector = MTCNN(threads=2)
        picture = data.astronaut()
        expected = len(detector.detect(picture))
        child = os.fork()
        if not child:
            signal.alarm(20)
            os._exit(0 if len(detector.detect(picture)) == expected else 3)
        raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_answers_hold_when_the_picture_changes_a_little(detector):
    expected = detector.detect(crowd())
    for quality in (80, 95):
        again = cv2.imdecode(cv2.imencode(".jpg", crowd(), [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
        found = detector.detect(again)
        assert len(found) == len(expected)
        assert np.diag(overlaps(found.boxes_xyxy, expected.boxes_xyxy)).min() > 0.85
    found = detector.detect(np.pad(crowd(), ((1, 0), (1, 0), (0, 0)), mode="edge"))
    assert np.diag(overlaps(found.boxes_xyxy - 1, expected.boxes_xyxy)).min() > 0.85


@pytest.mark.parametrize("picture", [ASTRONAUT, CAMERA], ids=["astronaut", "camera"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
@pytest.mark.parametrize("quality", [50, 70, 75, 80, 85, 90, 95, 100, None])
def test_one_face_however_the_picture_is_encoded(detector, picture, mode, quality):
    """The ring of her helmet looks like a small face to all three networks: O-Net gives it up to 0.9."""
    stream = io.BytesIO()
    image = PIL.Image.fromarray(picture).convert("RGB").quantize(256) if mode == "P" else PIL.Image.fromarray(picture)
    image = image.convert("L" if mode == "L" else "RGB")
    image.save(stream, "PNG") if quality is None else image.save(stream, "JPEG", quality=quality)
    again = np.array(PIL.Image.open(stream).convert("RGB"))
    found, shifted = detector.detect_batch([again, np.pad(again, ((1, 0), (1, 0), (0, 0)), mode="edge")])
    (expected,) = GOLDEN["astronaut" if picture is ASTRONAUT else "camera"]["boxes"]
    for faces, by in ((found, 0), (shifted, 1)):
        assert len(faces) == 1
        assert overlaps(faces.boxes_xyxy - by, np.float32([expected]))[0, 0] > 0.85


def test_at_most_so_many_faces(detector):
    assert len(MTCNN(most=1).detect(crowd())) == 1 < len(detector.detect(crowd()))


def test_a_border_finds_the_face_that_the_edge_cuts(detector):
    cut = np.ascontiguousarray(ASTRONAUT[70:175, 185:265])
    (whole,) = detector.detect(ASTRONAUT).boxes_xyxy
    faces = MTCNN(border=60).detect(cut)
    assert len(faces) == 1
    assert overlaps(faces.boxes_xyxy + np.float32([185, 70] * 2), whole[None])[0, 0] > 0.7


def test_crops_of_faces_give_one_face_each():
    detector = MTCNN.for_crops(48)
    views = [ASTRONAUT[55 + d : 175 + d, 163 + d : 283 + d] for d in range(-8, 9, 2)]
    crops = [cv2.cvtColor(cv2.resize(v, (48, 48), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY) for v in views]
    found = detector.detect_batch([*crops, np.zeros((48, 48), np.uint8)])
    assert [len(faces) for faces in found] == [1] * len(crops) + [0]
    assert all(same(faces, detector.detect(crop)) for faces, crop in zip(found, crops, strict=False))
    with pytest.raises(UsageError, match=r"side: must be 16 pixels"):
        MTCNN.for_crops(8)


def test_following_a_picture_at_rest_neither_drifts_nor_trembles(detector):
    small = cv2.resize(crowd(), (320, 200), interpolation=cv2.INTER_AREA)[:128]
    first = faces = detector.detect(small)
    path = []
    for _ in range(200):
        faces = detector.follow(small, faces)
        path.append(faces.boxes_xyxy)
    widths = (first.boxes_xyxy[:, 2] - first.boxes_xyxy[:, 0])[:, None]
    assert (np.abs(path[-1] - first.boxes_xyxy) / widths).max() < 0.1
    assert (np.ptp(path[100:], axis=0) / widths).max() < 0.01  # a fixed point: nothing changes from here on
    assert (faces.scores > 0.9).all()


@pytest.mark.parametrize("share", [0.05, 0.2])
@pytest.mark.parametrize("direction", [(1, 0), (-1, 0), (0, 1), (-0.7, -0.7)])
def test_following_keeps_up(detector, share, direction):
    canvas = np.pad(ASTRONAUT, ((200, 200), (200, 200), (0, 0)), mode="edge")
    first = faces = detector.detect(canvas)
    width = first.boxes_xyxy[0, 2] - first.boxes_xyxy[0, 0]
    for frame in range(1, 9):
        dx, dy = np.round(np.array(direction) * share * width * frame).astype(int)
        faces = detector.follow(np.roll(canvas, (dy, dx), (0, 1)), faces)
        assert overlaps(faces.boxes_xyxy, first.boxes_xyxy + np.float32([dx, dy] * 2))[0, 0] > 0.8
        assert faces.scores[0] > 0.9


def test_following_a_face_that_grows(detector):
    faces = detector.detect(ASTRONAUT)
    for size in range(532, 800, 20):
        frame = cv2.resize(ASTRONAUT, (size, size))
        faces = detector.follow(frame, faces)
    assert overlaps(faces.boxes_xyxy, detector.detect(frame).boxes_xyxy)[0, 0] > 0.85


def test_a_face_that_is_gone_scores_low_and_stays_put(detector):
    faces = detector.detect(crowd())
    erased = crowd()
    x1, y1, x2, y2 = faces.boxes_xyxy[1].astype(int)
    erased[max(0, y1 - 30) : y2 + 30, max(0, x1 - 30) : x2 + 30] = 90
    after = detector.follow(erased, faces)
    assert after.scores[1] < 0.5 < after.scores[0]
    assert np.array_equal(after.boxes_xyxy[1], faces.boxes_xyxy[1])


def test_following_nothing_or_boxes_without_keypoints(detector):
    assert len(detector.follow(ASTRONAUT, Detections.none())) == 0
    faces = detector.detect(ASTRONAUT)
    bare = Detections(faces.boxes_xyxy, faces.scores, np.empty((1, 0, 2), np.float32))
    assert detector.follow(ASTRONAUT, bare).keypoints.shape == (1, 5, 2)
    empty = Detections(np.float32([[5, 5, 5, 5]]), np.float32([0.9]), np.empty((1, 0, 2), np.float32))
    assert detector.follow(ASTRONAUT[:20, :20], empty).boxes_xyxy.shape == (1, 4)


def test_without_the_weights_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(mtcnn_graphs.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="pip install mtcnn"):
        mtcnn_module.MTCNN()

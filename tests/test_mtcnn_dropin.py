"""`detect_faces`, for those who come from mtcnn."""

import json

import cv2
import numpy as np
import pytest
from skimage import data

from mien.errors import UsageError
from mien.faces import MTCNN, detect_faces

ASTRONAUT = data.astronaut()
CAMERA = data.camera()


@pytest.fixture(scope="module")
def detector():
    return MTCNN()


def test_the_drop_in_speaks_as_mtcnn_does(detector, tmp_path):
    (face,) = detect_faces(ASTRONAUT)
    assert set(face) == {"box", "confidence", "keypoints"}
    assert set(face["keypoints"]) == {"nose", "mouth_right", "right_eye", "left_eye", "mouth_left"}
    assert face["keypoints"]["left_eye"][0] < face["keypoints"]["right_eye"][0]  # left in the picture
    assert all(type(value) is int for value in (*face["box"], *face["keypoints"]["nose"]))
    x1, y1, x2, y2 = detector.detect(ASTRONAUT).boxes_xyxy[0]
    assert np.allclose(face["box"], [x1, y1, x2 - x1, y2 - y1], atol=0.6)
    assert json.dumps(face)
    cv2.imwrite(str(tmp_path / "face.png"), ASTRONAUT[..., ::-1])
    assert detect_faces(str(tmp_path / "face.png")) == [face]
    assert detector.detect_faces([ASTRONAUT, data.coffee()]) == [[face], []]
    assert detect_faces(data.coffee()) == []


def test_the_drop_in_cuts_boxes_at_the_edge_unless_told_not_to(detector):
    half = ASTRONAUT[:140]
    inside, whole = (
        detector.detect_faces(half, fit_to_image=fit, box_format="xyxy")[0]["box"] for fit in (True, False)
    )
    assert inside[3] == 139 < whole[3]
    with pytest.raises(UsageError, match="box_format"):
        detector.detect_faces(half, box_format="yxyx")


def test_the_drop_in_takes_mtcnns_options(detector):
    assert detect_faces(CAMERA, threshold_onet=0.999999, min_face_size=30) == []
    assert detector.detect_faces(CAMERA, threshold_onet=0.999999) == []
    assert detector.detect_faces(ASTRONAUT, min_face_size=250) == []
    (face,) = detector.detect_faces(ASTRONAUT)
    plain = {"output_type": "json", "postprocess": True, "batch_stack_justification": "top", "min_size": 12}
    assert MTCNN("face_and_landmarks_detection", "CPU:0").detect_faces(ASTRONAUT, **plain, nms_onet=0.7) == [face]
    assert detect_faces(ASTRONAUT, device="CPU:0", thresholds=[0.5, 0.6, 0.85], scale_factor=0.709) == [face]


def test_options_of_one_call_do_not_last(detector):
    before = detector.detect_faces(ASTRONAUT)
    assert detector.detect_faces(ASTRONAUT, min_face_size=250, most=1) != before
    assert detector.detect_faces(ASTRONAUT) == before
    assert detector.options["min_face_size"] == 20


def test_keypoints_beyond_the_edge_stay_there_unless_told_to_come_in(detector):
    half = ASTRONAUT[:140]
    out, within = (
        detector.detect_faces(half, limit_boundaries_landmarks=limit)[0]["keypoints"]["mouth_left"][1]
        for limit in (False, True)
    )
    assert out > 139 == within


@pytest.mark.parametrize(
    "options",
    [
        {"output_type": "numpy"},
        {"postprocess": False},
        {"nms_rnet": 0.5},
        {"batch_stack_justification": "middle"},
        {"threshold_qnet": 0.5},
        {"threshold_pnet": 2},
        {"thresholds": (0.6, 0.7)},
        {"most": 1.5},
        {"min_face_size": "20"},
        {"box_format": ["xywh"]},
        {"stages": "face_detection_only"},
    ],
)
def test_the_drop_in_names_what_it_cannot_do(detector, options):
    name = next(iter(options)).replace("threshold_pnet", "thresholds")
    for refuse in (detector.detect_faces, detect_faces):
        with pytest.raises(UsageError, match=name):
            refuse(CAMERA, **options)

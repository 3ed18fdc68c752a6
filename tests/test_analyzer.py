"""From pictures to expressions, with a detector whose answers are known and a model that names brightness."""

import base64
import io
import pickle
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import get_type_hints

import cv2
import numpy as np
import pytest
from numpy.typing import ArrayLike
from PIL import Image as PillowImage

import mien
from mien.analyzer import Analyzer
from mien.errors import DataError, UsageError
from mien.faces import KEYPOINTS, MTCNN, Detections, Detector, FindsFaces
from mien.images import Image
from mien.preprocessing import fit_images
from mien.sources import Clip, Frame
from mien.views import TTA
from models import save_brightness

CLASSES = ("dark", "middle", "bright")


@dataclass
class SpotDetector:
    """Takes every connected region that is not black for a face."""

    name: str = "spots"
    calls: int = 0

    def detect(self, image: Image) -> Detections:
        return self.detect_batch([image])[0]

    def detect_batch(self, images: Sequence[Image]) -> list[Detections]:
        self.calls += 1
        return [self._find(image) for image in images]

    def follow(self, image: Image, before: Detections) -> Detections:
        found = self._find(image)
        return (
            found
            if len(found) == len(before)
            else Detections(before.boxes_xyxy, np.zeros(len(before), np.float32), before.keypoints)
        )

    def _find(self, image: Image) -> Detections:
        mask = (image if image.ndim == 2 else image.max(axis=2)) > 8
        _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
        left, top, width, height, _ = stats[1:].T.astype(np.float32)
        boxes = np.stack([left, top, left + width, top + height], axis=1)
        points = np.repeat(boxes[:, None, :2] + 4, 5, axis=1)
        return Detections(boxes, np.full(len(boxes), 0.99, np.float32), points).in_order()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_brightness(tmp_path / "model.onnx", CLASSES, (0.1, 0.5, 1.0))


def picture(*spots: tuple[int, int, int, int]) -> np.ndarray:
    """(120, 160, 3), black, with squares (x, y, side, level)."""
    image = np.zeros((120, 160, 3), np.uint8)
    for x, y, side, level in spots:
        image[y : y + side, x : x + side] = level
    return image


TWO = picture((10, 10, 30, 255), (60, 20, 50, 128))


def test_faces_come_largest_first_with_everything(model):
    larger, smaller = Analyzer(model, detector=SpotDetector()).analyze(TWO)
    assert (larger.expression, smaller.expression) == ("middle", "bright")
    assert larger.box.xyxy == (60, 20, 110, 70)
    assert larger.score == pytest.approx(0.99)
    assert tuple(larger.keypoints) == KEYPOINTS
    assert larger.track_id is None
    assert sum(larger.probabilities.values()) == pytest.approx(1)


def test_views_of_each_face_are_averaged(model):
    plain, averaged = (Analyzer(model, detector="none", tta=tta) for tta in ("none", "full"))
    image = np.zeros((48, 48), np.uint8)
    image[:, :12] = 255  # what moving the picture changes: with the edge repeated, the bright part grows or shrinks
    (one,), (ten,) = plain.analyze(image), averaged.analyze(image)
    assert one.probabilities != ten.probabilities
    crop = fit_images([image], averaged.model.spec.input)
    expected = np.mean([averaged.model.predict(view) for view in TTA["full"](crop)], axis=0)[0]
    assert list(ten.probabilities.values()) == pytest.approx(expected.tolist(), abs=1e-6)
    (mirrored,) = averaged.analyze(image[:, ::-1].copy())
    assert mirrored.probabilities == pytest.approx(ten.probabilities, abs=1e-6)
    assert pickle.loads(pickle.dumps(averaged)).analyze(image)[0].to_dict() == ten.to_dict()


def test_an_analyzer_says_what_it_was_made_of(model):
    shown = "<Analyzer: <Classifier model.onnx: brightness, 3 classes, 8x8 grey, on cpu>, detector spots>"
    assert repr(Analyzer(model, detector=SpotDetector())) == shown
    assert repr(MTCNN(min_face_size=40).with_options(most=1)).startswith("MTCNN(device='cpu', min_face_size=40, ")


def test_no_face_is_empty_unless_strict(model):
    black = picture()
    assert len(Analyzer(model, detector=SpotDetector()).analyze(black)) == 0
    with pytest.raises(DataError, match="no face was found: the picture"):
        Analyzer(model, detector=SpotDetector(), strict=True).analyze(black)


def test_the_margin_reaches_beyond_the_box(model):
    image = picture((40, 40, 40, 255))
    tight = Analyzer(model, detector=SpotDetector(), margin=0.0).analyze(image)[0]
    wide = Analyzer(model, detector=SpotDetector(), margin=1.0).analyze(image)[0]
    assert tight.expression == "bright"
    assert wide.expression == "dark"
    assert tight.box == wide.box
    with pytest.raises(UsageError, match=r"margin: must be from -0\.4 to 1"):
        Analyzer(model, margin=2.0)


def test_every_kind_of_picture_gives_the_same(model, tmp_path):
    analyzer = Analyzer(model, detector=SpotDetector())
    stream = io.BytesIO()
    PillowImage.fromarray(TWO).save(stream, "PNG")
    path = tmp_path / "two.png"
    path.write_bytes(stream.getvalue())
    kinds = [
        TWO,
        PillowImage.fromarray(TWO),
        stream.getvalue(),
        path,
        str(path),
        TWO[:, :, 0],
        TWO.astype(np.uint16) * 257,
    ]
    expected = [face.to_dict() for face in analyzer.analyze(TWO)]
    for kind in kinds:
        assert [face.to_dict() for face in analyzer.analyze(kind)] == expected
    assert analyzer.analyze(path).source == str(path)


def test_bgr_is_only_what_it_is_told(model):
    analyzer = Analyzer(save_brightness(model, CLASSES, (0.0, 0.11, 0.3)), detector=SpotDetector())
    blue = picture((10, 10, 40, 255)) * np.array([0, 0, 1], np.uint8)  # grey 0.114
    assert analyzer.analyze(blue)[0].expression == "middle"
    assert analyzer.analyze(blue, bgr=True)[0].expression == "bright"  # red: grey 0.299


def test_batches_give_what_single_pictures_give(model):
    rng = np.random.default_rng(4)
    images = [
        picture(
            *((int(x), 40, 20, int(level)) for x, level in zip((5, 60, 120), rng.integers(20, 255, 3), strict=True))
        )
        for _ in range(40)
    ]
    images[7] = picture()
    detector = SpotDetector()
    analyzer = Analyzer(model, detector=detector)
    together = analyzer.analyze_batch(images)
    assert detector.calls < 10
    assert [found.to_dict() for found in together] == [analyzer.analyze(image).to_dict() for image in images]
    assert analyzer.analyze_batch([]) == []


def test_what_is_open_may_come_twice_in_a_batch(model, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (400, 600, 3), np.uint8)
    PillowImage.fromarray(noise).save(tmp_path / "a.jpg")
    analyzer = Analyzer(model, detector="none")
    expected = analyzer.analyze(tmp_path / "a.jpg")
    for _ in range(5):
        with PillowImage.open(tmp_path / "a.jpg") as opened:
            found = analyzer.analyze_batch([opened, tmp_path / "a.jpg", opened, expected.image, opened, opened])
        for one in found:
            assert np.abs(one.image.astype(int) - expected.image).max() <= 2


def test_open_files_and_paths_keep_their_order_and_the_first_failure_is_told(model, tmp_path):
    for level in (0, 128, 255):
        cv2.imwrite(str(tmp_path / f"{level}.png"), np.full((8, 8), level, np.uint8))
    (tmp_path / "bad.png").write_bytes(b"none")
    analyzer = Analyzer(model, detector="none")
    with (tmp_path / "128.png").open("rb") as middle, (tmp_path / "bad.png").open("rb") as bad:
        found = analyzer.analyze_batch(iter([tmp_path / "255.png", middle, tmp_path / "0.png"]))
        assert [one[0].expression for one in found] == ["bright", "middle", "dark"]
        with pytest.raises(DataError, match=r"gone\.png"):
            analyzer.analyze_batch([tmp_path / "gone.png", bad])


def test_the_source_is_text_that_utf8_can_write(model, tmp_path):
    odd = tmp_path / "face-\udcff.png"
    try:
        odd.write_bytes(cv2.imencode(".png", np.zeros((8, 8), np.uint8))[1].tobytes())
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    analysis = Analyzer(model, detector="none").analyze(odd)
    assert analysis.source == str(tmp_path / "face-\\udcff.png")
    assert analysis.to_json().encode()


def test_eight_threads_get_the_answers_of_one(model):
    analyzer = Analyzer(model, detector=SpotDetector())
    images = [picture((10, 10, 20 + i, 10 + 5 * i)) for i in range(48)]
    alone = [analyzer.analyze(image).to_dict() for image in images]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda image: analyzer.analyze(image).to_dict(), images)) == alone


def test_boxes_are_cut_to_the_picture(model):
    class Beyond(SpotDetector):
        def detect_batch(self, images):
            boxes = np.array([[-20, -10, 50, 60], [200, 0, 230, 40]], np.float32)
            return [Detections(boxes, np.ones(2, np.float32), np.empty((2, 0, 2), np.float32))] * len(images)

    (face,) = Analyzer(model, detector=Beyond()).analyze(TWO)
    assert face.box.xyxy == (0, 0, 50, 60)
    assert not face.keypoints


def test_none_takes_the_whole_picture_and_no_margin(model):
    save_brightness(model, CLASSES, (0.1, 0.5, 1.0))
    (face,) = Analyzer(model, detector="none", margin=0.5).analyze(np.full((30, 50), 255, np.uint8))
    assert face.box.xyxy == (0, 0, 50, 30)
    assert face.expression == "bright"


@pytest.mark.parametrize("shape", [(30, 50), (190, 137, 3), (1, 20_000)])
def test_none_hands_the_whole_picture_over_as_training_does(model, shape):
    image = np.random.default_rng(0).integers(0, 200, shape, np.uint8)
    image[:, : shape[1] // 3] = 255  # what padding to a square would make more or less of
    analyzer = Analyzer(model, detector="none", tta="flip")
    (face,) = analyzer.analyze(image)
    (expected,) = analyzer.model.classify([image])
    assert list(face.probabilities.values()) == pytest.approx(list(expected.probabilities.values()), abs=1e-6)


def clip_frames(levels: Sequence[int], *, live: bool = False) -> list[Frame]:
    clip = Clip("clip.mp4", 10.0, len(levels), (160, 120), live)
    return [
        Frame("clip.mp4", index, index / 10, picture((10 + index, 10, 30, level)), clip)
        for index, level in enumerate(levels)
    ]


def test_a_face_keeps_its_number_and_expressions_are_smoothed(model):
    analyzer = Analyzer(model, detector=SpotDetector(), margin=0.0)
    levels = [255] * 10 + [30] + [255] * 10
    plain = [found for _, found in analyzer.analyze_frames(clip_frames(levels), smooth=0)]
    smooth = [found for _, found in analyzer.analyze_frames(clip_frames(levels), smooth=0.5)]
    assert {face.track_id for found in plain for face in found} == {1}
    assert plain[10][0].expression == "dark"
    assert smooth[10][0].expression == "bright"
    assert [found.frame for found in smooth] == list(range(21))
    assert smooth[20].time == 2.0


def test_each_clip_has_its_own_tracks_and_pictures_none(model):
    analyzer = Analyzer(model, detector=SpotDetector())
    still = Frame("a.png", 0, None, TWO, None)
    frames = [*clip_frames([255] * 3), still, *clip_frames([255] * 3)]
    results = [found for _, found in analyzer.analyze_frames(frames)]
    assert [[face.track_id for face in found] for found in results] == [[1], [1], [1], [None, None], [1], [1], [1]]


def test_whoever_comes_into_a_slow_video_is_seen_at_once(model):
    detector = SpotDetector()
    detector.follow = lambda image, before: before  # type: ignore[method-assign]
    clip = Clip("door.mp4", 1.0, 12, (160, 120))
    first, second = (10, 10, 30, 255), (100, 60, 30, 255)
    spots = [[first] if index < 4 else [first, second] for index in range(12)]
    frames = [Frame("door.mp4", index, float(index), picture(*row), clip) for index, row in enumerate(spots)]
    results = [found for _, found in Analyzer(model, detector=detector).analyze_frames(frames)]
    assert [len(found) for found in results] == [1] * 4 + [2] * 8


def test_live_frames_are_answered_at_once(model):
    analyzer = Analyzer(model, detector=SpotDetector())
    given = 0

    def frames():
        nonlocal given
        for frame in clip_frames([255] * 5, live=True):
            given += 1
            yield frame

    results = analyzer.analyze_frames(frames())
    for expected in range(1, 6):
        next(results)
        assert given == expected


def test_streaming_reads_sources_and_names_failures(model, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), TWO)
    (tmp_path / "b.png").write_text("no picture")
    cv2.imwrite(str(tmp_path / "c.png"), picture())
    analyzer = Analyzer(model, detector=SpotDetector())
    failures = []
    results = list(analyzer.stream(tmp_path, on_failure=lambda source, reason: failures.append((source, reason))))
    assert [len(found) for found in results] == [2, 0]
    assert [Path(source).name for source, _ in failures] == ["b.png"]
    with pytest.raises(DataError, match=r"b\.png"):
        list(analyzer.stream(tmp_path))
    with pytest.raises(UsageError, match="smooth: must be 0"):
        list(analyzer.stream(tmp_path, smooth=-1))


def test_the_one_liner_keeps_what_it_opened(model, tmp_path):
    path = tmp_path / "one.png"
    cv2.imwrite(str(path), np.full((48, 48), 90, np.uint8))
    assert len(mien.analyze(path, model)) == 0
    from mien.analyzer import _shared

    before = _shared.cache_info().misses
    assert len(mien.analyze(path, model)) == 0
    assert _shared.cache_info().misses == before
    with pytest.raises(UsageError, match=r"gone\.onnx: no such file"):
        mien.analyze(path, tmp_path / "gone.onnx")


def test_bundled_files_are_checked(monkeypatch):
    monkeypatch.setattr("mien.weights.BUNDLED", {"nothing": "0" * 64})
    with pytest.raises(mien.ModelError, match="nothing: the bundled file is damaged"):
        Analyzer("nothing")


def test_what_was_read_before_a_failure_is_not_lost(model, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), TWO)
    cv2.imwrite(str(tmp_path / "b.png"), TWO)
    (tmp_path / "c.png").write_text("no picture")
    results = Analyzer(model, detector=SpotDetector()).stream(tmp_path)
    assert [Path(next(results).source).name for _ in range(2)] == ["a.png", "b.png"]
    with pytest.raises(DataError, match=r"c\.png"):
        next(results)


def test_strict_gives_what_came_before_the_empty_picture(model):
    frames = [Frame(name, 0, None, image, None) for name, image in (("a", TWO), ("b", picture()), ("c", TWO))]
    results = Analyzer(model, detector=SpotDetector(), strict=True).analyze_frames(frames)
    assert next(results)[1].source == "a"
    with pytest.raises(DataError, match="no face was found: b"):
        next(results)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_pixels": 0}, "max_pixels: must be a whole number, 1 or more"),
        ({"batch_size": 1.5}, "batch_size: must be a whole number, 1 or more"),
        ({"tta": "twice"}, "tta: no such choice 'twice'; choose from flip, full, none"),
        ({"threads": "2"}, "threads: must be a whole number, 0 .*received '2'"),
        ({"threads": 1.5}, "threads: must be a whole number"),
        ({"align": "no"}, "align: must be true or false"),
        ({"strict": 1}, "strict: must be true or false"),
        ({"margin": "x"}, "margin: must be from -0.4 to 1, received 'x'"),
        ({"min_confidence": None}, "min_confidence: must be from 0 to 1, received None"),
        ({"detector": None}, "detector: must be a name or a mien.faces.Detector"),
        ({"detector": ""}, "detector: no such choice ''"),
        ({"detector": cv2}, "detector: must be .*, received module, which has no detect"),
        ({"detector": SpotDetector}, "detector: must be .*, received the class SpotDetector; make one of it"),
        ({"tta": ["flip"]}, "tta: no such choice"),
        ({"margin": np.array([0.1, 0.2])}, "margin: must be from -0.4 to 1"),
        ({"detector": "haar"}, "no such choice 'haar'; choose from mtcnn, none"),
    ],
)
def test_wrong_options_are_refused_at_once(model, options, message):
    with pytest.raises(UsageError, match=message):
        Analyzer(model, **options)


def test_wrong_calls_say_what_is_meant(model):
    analyzer = Analyzer(model, detector=SpotDetector())
    with pytest.raises(UsageError, match="must be a list of pictures"):
        analyzer.analyze_batch("photo.jpg")
    for single in (TWO, TWO[..., 0], TWO[..., :1], None, Path("photo.jpg"), io.BytesIO(b""), memoryview(b"")):
        with pytest.raises(UsageError, match=r"must be a list of pictures, received .*; for one, call analyze"):
            analyzer.analyze_batch(single)
    assert len(analyzer.analyze_batch(np.stack([TWO, TWO]))) == 2
    with pytest.raises(UsageError, match="gives str; open it for bytes"):
        analyzer.analyze(io.StringIO("not bytes"))
    with pytest.raises(
        UsageError, match="model: must be a file, a bundled model's name or an opened model, received 3"
    ):
        Analyzer(3)
    for address in ("https://example.org/photo.jpg", "HTTP://example.org/photo.jpg", "rtsps://camera/1"):
        with pytest.raises(UsageError, match=r"addresses are read by Analyzer\.stream"):
            analyzer.analyze(address)
    for wrong in ({"smooth": "1"}, {"smooth": None}, {"detect_every": "2"}, {"detect_every": 1.5}):
        with pytest.raises(UsageError, match=f"{next(iter(wrong))}: must be"):
            list(analyzer.analyze_frames(clip_frames([255] * 3), **wrong))
    with pytest.raises(UsageError, match="detect_every: must be 1 or more"):
        list(analyzer.analyze_frames(clip_frames([255]), detect_every=0))
    with pytest.raises(DataError, match="cannot be read"):
        analyzer.analyze("a\0b")


def test_whole_numbers_of_numpy_are_whole_numbers(model):
    number = np.int64(10**6)
    assert len(Analyzer(model, detector=SpotDetector(), max_pixels=number, batch_size=number).analyze(TWO)) == 2


def test_an_analyzer_travels_to_other_processes(model):
    analyzer = Analyzer(model, detector=SpotDetector(), margin=0.1)
    copy = pickle.loads(pickle.dumps(analyzer))
    assert copy.analyze(TWO).to_dict() == analyzer.analyze(TWO).to_dict()


def test_faces_can_be_kept_in_sets(model):
    faces = Analyzer(model, detector=SpotDetector()).analyze(TWO)
    assert len({*faces, *faces}) == 2


def test_boxes_of_the_user_are_classified_in_their_order(model):
    detector = SpotDetector()
    analyzer = Analyzer(model, detector=detector)
    found = analyzer.analyze(TWO)
    asked = detector.calls
    small, large = analyzer.analyze(TWO, boxes_xyxy=[found[1].box, found[0].box])
    assert (small.box, small.probabilities) == (found[1].box, found[1].probabilities)
    assert (large.box, large.probabilities) == (found[0].box, found[0].probabilities)
    assert (small.score, dict(small.keypoints), detector.calls) == (1, {}, asked)
    rows = np.array([face.box.xyxy for face in found], int)
    for boxes in (rows, rows.tolist(), rows.astype(np.float64)):
        assert [face.expression for face in analyzer.analyze(TWO, boxes_xyxy=boxes)] == ["middle", "bright"]
    bgr = TWO[..., ::-1]
    assert analyzer.analyze(bgr, bgr=True, boxes_xyxy=rows)[0].probabilities == found[0].probabilities
    assert analyzer.analyze(TWO, boxes_xyxy=[(-20, 10, 40, 40)])[0].box.xyxy == (0, 10, 40, 40)
    for none in ([], (), np.empty((0, 4))):
        assert len(analyzer.analyze(TWO, boxes_xyxy=none)) == 0
    with pytest.raises(DataError, match="no face was found"):
        Analyzer(model, detector=detector, strict=True).analyze(TWO, boxes_xyxy=[])


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([(60, 20, 50, 50)], r"x2 must be above x1 .* received \(60, 20, 50, 50\); of \(x, y, width, height\) make"),
        ([(10, 10, 20, 20), (200, 0, 240, 40)], r"in the picture of 160 x 120 pixels, received \(200, 0, 240, 40\)"),
        ((10, 10, 20, 20), r"must be numbers \(n, 4\).*received shape \(4,\); put a single box into a list"),
        ([(10, 10, np.nan, 20)], "received numbers that are not finite"),
        ([(10, 10, 20)], r"received shape \(1, 3\)"),
        ([(10, 10, 20, 20, 0.9)], r"received shape \(1, 5\); leave out what is not an edge: boxes\[:, :4\]"),
        (Detections(np.empty((0, 4)), np.empty(0), np.empty((0, 5, 2))), "received Detections; give its boxes_xyxy"),
        ("whole", r"must be numbers \(n, 4\).*received str"),
    ],
)
def test_boxes_that_are_none_are_refused(model, boxes, message):
    with pytest.raises(UsageError, match=f"boxes_xyxy: .*{message}"):
        Analyzer(model, detector=SpotDetector()).analyze(TWO, boxes_xyxy=boxes)


def test_a_video_in_place_of_a_picture_is_told_what_reads_it(model, tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(600))
    with pytest.raises(DataError, match=r"^is a video; Analyzer\.stream reads videos: .*clip\.mp4$"):
        Analyzer(model).analyze(tmp_path / "clip.mp4")


def test_several_pictures_in_place_of_one_are_told_what_takes_them(model, tmp_path):
    with pytest.raises(UsageError, match="must be a picture, received a list; analyze_batch takes several"):
        Analyzer(model).analyze([TWO, TWO])
    with pytest.raises(UsageError, match=r"received a folder, \S+; Analyzer\.stream reads folders"):
        Analyzer(model).analyze(tmp_path)
    with pytest.raises(UsageError, match="must be a picture's path, received an empty one"):
        Analyzer(model).analyze("")
    text = "/9j/" + 9_000 * "A"  # as long as pictures are
    with pytest.raises(UsageError, match="image: must be a path or bytes, received a text of 9,004 characters"):
        Analyzer(model).analyze(text)


def test_a_picture_in_an_address_has_no_name(model):
    text = base64.b64encode(cv2.imencode(".png", TWO[:, :, ::-1])[1].tobytes()).decode()
    found = Analyzer(model).analyze(f"data:image/png;base64,{text}")
    assert found.source is None
    assert [face.box for face in found] == [face.box for face in Analyzer(model).analyze(TWO)]


def test_boxes_and_whole_pictures_exclude_each_other(model):
    with pytest.raises(UsageError, match="boxes_xyxy: the detector 'none' takes each picture for one face"):
        Analyzer(model, detector="none").analyze(TWO, boxes_xyxy=[(0, 0, 10, 10)])


def test_what_opencv_gives_for_a_file_that_is_not_there_is_named(model):
    analyzer = Analyzer(model, detector=SpotDetector())
    for call in (lambda: analyzer.analyze(None, bgr=True), lambda: analyzer.analyze_batch([TWO, None])):
        with pytest.raises(UsageError, match=r"received None, as cv2\.imread gives"):
            call()


def test_a_keras_model_is_told_where_its_file_is():
    class KerasModel:
        """Stands for one: importing Keras takes long."""

        def predict(self) -> None: ...
        def summary(self) -> None: ...

    with pytest.raises(UsageError, match=r"model: a Keras model .* model\.onnx in result\.folder"):
        Analyzer(KerasModel())


@dataclass
class Mine:
    """A detector as users write one: nothing but `detect`, the surest face first, as lists."""

    gives: object = None

    def detect(self, image: Image) -> object:
        if self.gives is not None:
            return self.gives
        found = SpotDetector().detect(image)
        return Detections(found.boxes_xyxy.tolist()[::-1], found.scores.tolist()[::-1])


def eight_frames() -> list[Frame]:
    clip = Clip("clip.mp4", 30.0, 8, (160, 120))
    return [Frame("clip.mp4", number, number / 30, TWO, clip) for number in range(8)]


def test_a_detector_of_the_users_needs_no_more_than_detect(model):
    mine, spots = Analyzer(model, detector=Mine()), Analyzer(model, detector=SpotDetector())
    assert (mine.finder.name, mine.whole) == ("Mine", False)
    expected = [(face.box, face.prediction) for face in spots.analyze(TWO)]
    for copy in (mine, pickle.loads(pickle.dumps(mine))):
        assert [(face.box, face.prediction) for face in copy.analyze(TWO)] == expected
    assert len(mine.analyze(np.zeros((9, 9), np.uint8))) == 0
    assert len(Analyzer(model, detector=Mine(Detections([], []))).analyze(TWO)) == 0
    found = [[face.track_id for face in faces] for _, faces in mine.analyze_frames(eight_frames())]
    assert found == [[1, 2]] * 8
    with pytest.raises(UsageError, match="detect_every: the detector 'Mine' has no follow; leave it out"):
        next(mine.analyze_frames(eight_frames(), detect_every=6))


def test_what_is_set_on_the_detector_reaches_the_users_own(model):
    analyzer = Analyzer(model, detector=(mine := Mine()))
    assert analyzer.detector is mine
    analyzer.detector.gives = Detections([], [])
    assert len(analyzer.analyze(TWO)) == 0
    analyzer.detector = Mine()
    assert len(analyzer.analyze(TWO)) == 2
    with pytest.raises(UsageError, match="which has no detect"):
        analyzer.detector = 3


def test_a_detector_may_be_made_of_the_protocol(model):
    class Derived(Detector):
        def detect(self, image: Image) -> Detections:
            return SpotDetector().detect(image)

    class Without(Detector):
        pass

    analyzer = Analyzer(model, detector=Derived())
    assert analyzer.finder.name == "Derived"
    assert len(analyzer.analyze(TWO)) == 2
    found = [[face.track_id for face in faces] for _, faces in analyzer.analyze_frames(eight_frames())]
    assert found == [[1, 2]] * 8
    with pytest.raises(UsageError, match="received Without, which has no detect"):
        Analyzer(model, detector=Without())


def test_a_detector_gives_an_answer_for_each_picture_and_each_face(model):
    spots = SpotDetector()
    spots.follow = lambda image, before: before.take([0])  # type: ignore[method-assign]
    with pytest.raises(UsageError, match=r"its follow must give as many faces as it was given, 2, .*; received 1"):
        list(Analyzer(model, detector=spots).analyze_frames(eight_frames()))
    for gives in (Detections.none(), [Detections.none()]):
        spots.detect_batch = lambda images, gives=gives: gives  # type: ignore[method-assign]
        with pytest.raises(UsageError, match=r"its detect_batch must give .* for each picture, received 1 for 2"):
            Analyzer(model, detector=spots).analyze_batch([TWO, TWO])


def test_type_checkers_take_detectors_with_nothing_but_detect_and_lists():
    assert get_type_hints(Analyzer.__init__)["detector"] == str | FindsFaces
    assert get_type_hints(Detections.__init__)["scores"] == ArrayLike


@pytest.mark.parametrize(
    ("gives", "message"),
    [
        ([(10, 10, 20, 20)], r"its detect must give mien\.faces\.Detections .*, received list"),
        (
            Detections([(60, 20, 50, 50)], [0.9]),
            r"received \(60\.0, 20\.0, 50\.0, 50\.0\); of \(x, y, width, height\) make",
        ),
        (Detections([(60, 20, np.nan, 50)], [0.9]), "its boxes must be left, upper, right, lower edge"),
        (Detections([(60, 20, 90, 50)], [0.9], [[(np.nan, 1)] * 5]), "its keypoints must be finite numbers of pixels"),
    ],
)
def test_what_a_detector_of_the_users_gives_is_checked(model, gives, message):
    analyzer = Analyzer(model, detector=Mine(gives))
    with pytest.raises(UsageError, match=f"detector: .*{message}"):
        analyzer.analyze(TWO)
    with pytest.raises(UsageError, match=f"detector: .*{message}"):
        next(analyzer.analyze_frames(eight_frames()))

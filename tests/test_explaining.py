"""Explaining models, faces of pictures, datasets, and ``mien explain``: real files, ONNX Runtime, no Keras."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnx.parser
import pytest
import typer
from skimage import data
from typer.testing import CliRunner, Result

from clips import write_clip
from mien.analyzer import Analyzer
from mien.classifier import open_model
from mien.cli.explain import explain_command
from mien.datasets import open_dataset
from mien.drawing import Block
from mien.errors import DataError, UsageError
from mien.explaining import Explanation, explain_picture, open_explainer
from mien.explanations import class_sheet, draw_explanations, explain_dataset
from mien.framing import cut_face
from mien.heatmaps import AGAINST, FOR, shade_map
from mien.modelspec import ModelSpec, write_to_onnx
from mien.preprocessing import InputSpec
from mien.results import Box, Face, Prediction
from models import save_brightness

SIZE = 16
CROPS = ("--detector", "none")


def save_quadrant(path: Path, classes: tuple[str, str] = ("dark", "bright")) -> Path:
    """A model for 16x16 grey pictures that looks at the upper right quarter only: how bright it is."""
    seen = np.zeros((SIZE, SIZE))
    seen[: SIZE // 2, SIZE // 2 :] = 8 / 64
    weights = np.stack([-seen.ravel(), seen.ravel()], axis=1).ravel()
    text = f"""<ir_version: 8, opset_import: ["" : 17]>
        quadrant (float[n, {SIZE}, {SIZE}, 1] x) => (float[n, 2] p)
        <float[{SIZE * SIZE}, 2] w = {{{", ".join(map(str, weights.tolist()))}}}, float[2] b = {{4.0, -4.0}}>
        {{ f = Flatten<axis=1>(x)  m = MatMul(f, w)  s = Add(m, b)  p = Softmax<axis=-1>(s) }}"""
    onnx.save(onnx.parser.parse_model(text), path)
    write_to_onnx(path, ModelSpec(classes, "quadrant", 514, InputSpec(size=SIZE)))
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_quadrant(tmp_path / "quadrant.onnx")


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "photo.jpg"
    cv2.imwrite(str(path), data.astronaut()[:, :, ::-1])
    return path


def spots() -> np.ndarray:
    """Dark, with a bright spot in each quarter: uint8 (16, 16)."""
    image = np.full((SIZE, SIZE), 30, np.uint8)
    for top in (3, 11):
        for left in (3, 11):
            image[top : top + 3, left : left + 3] = 255
    return image


def test_the_quarter_that_the_model_looks_at_is_marked(model):
    explainer = open_explainer(model)
    assert (explainer.method, explainer.layers) == ("occlusion", ())
    (one,) = explainer.maps(spots()[None, :, :, None], np.array([explainer.index("bright")]))
    inside = one[: SIZE // 2, SIZE // 2 :]
    assert inside.max() == one.max() > 0
    assert np.abs(one[SIZE // 2 + 3 :]).max() < 1e-6
    assert np.abs(one[:, : SIZE // 2 - 3]).max() < 1e-6


def test_classes_are_found_by_name_and_spelling(tmp_path):
    explainer = open_explainer(save_quadrant(tmp_path / "m.onnx", ("angry", "happy")))
    assert explainer.index("Happiness") == explainer.index("happy") == 1
    with pytest.raises(UsageError, match="target: no such choice 'bored'; choose from angry, happy"):
        explainer.index("bored")


@pytest.mark.parametrize(
    ("method", "layer", "said"),
    [
        ("magic", None, "choose from auto, gradcam, occlusion"),
        ("occlusion", "conv", "layer: is for the method gradcam"),
    ],
)
def test_wrong_methods_are_refused(model, method, layer, said):
    with pytest.raises(UsageError, match=said):
        open_explainer(model, method, layer=layer)


def test_without_keras_the_message_names_the_extra(model, monkeypatch):
    monkeypatch.setattr("mien.explaining.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"occlusion does without\) .*pip install 'mien\[train\]'"):
        open_explainer(model, "gradcam")


def test_faces_of_a_photograph_are_explained(model, photo):
    explainer = open_explainer(model)
    analyzer = Analyzer(explainer.model)
    picture = data.astronaut()
    (one,) = explain_picture(explainer, photo, analyzer=analyzer, target="dark")
    (face,) = analyzer.analyze(photo)
    assert one.face == face
    assert (one.target, one.share) == ("dark", face.probabilities["dark"])
    x, y, side = one.square
    assert (x, y) == pytest.approx(((face.box.x1 + face.box.x2) / 2, (face.box.y1 + face.box.y2) / 2), abs=0.01)
    cut = cut_face(picture, face.box.xyxy, analyzer.margin)
    assert side == pytest.approx(len(cut), abs=1)
    drawn = draw_explanations(picture, [one], method="occlusion")
    assert drawn.shape[0] > picture.shape[0]
    changed = np.argwhere((drawn[: picture.shape[0], : picture.shape[1]] != picture).any(axis=2))
    assert changed.min(axis=0)[1] >= min(x - side / 2, face.box.x1) - 6
    record = json.loads(json.dumps(one.to_dict()))
    assert np.array(record["map"]).shape == (SIZE, SIZE)
    assert record["target"] == "dark"


@pytest.mark.parametrize(("sign", "legend"), [(1, "orange speaks for the class"), (-1, ", blue against it")])
def test_the_line_above_the_maps_names_only_colours_that_are_there(model, photo, monkeypatch, sign, legend):
    explainer = open_explainer(model)
    (one,) = explain_picture(explainer, photo, analyzer=Analyzer(explainer.model))
    one = dataclasses.replace(one, map=sign * np.abs(one.map))
    said = []
    monkeypatch.setattr("mien.explanations.Block", lambda *words: said.append(words[1]) or Block(*words))
    draw_explanations(data.astronaut(), [one])
    assert said[0].endswith(legend)


def test_an_uncertain_face_is_explained_by_its_most_probable_class(model, photo):
    explainer = open_explainer(model)
    (one,) = explain_picture(explainer, photo, analyzer=Analyzer(explainer.model, min_confidence=1.0))
    assert one.face.expression == "uncertain"
    assert one.target == one.face.prediction.best
    assert draw_explanations(data.astronaut(), [one]).shape[2] == 3


@pytest.mark.parametrize("shape", [(60, 160), (160, 60), (90, 90)])
def test_the_map_of_a_whole_picture_covers_it_as_the_model_took_it(model, shape):
    explainer = open_explainer(model)
    analyzer = Analyzer(explainer.model, detector="none")
    height, width = shape
    picture = np.repeat(cv2.resize(spots(), (width, height), interpolation=cv2.INTER_NEAREST)[..., None], 3, 2)
    (one,) = explain_picture(explainer, picture, analyzer=analyzer, target="bright")
    np.testing.assert_array_equal(one.crop, analyzer.cut(picture, analyzer.detector.detect(picture))[0])
    assert (one.square, one.to_dict()["square_xys"]) == (None, None)
    drawn = shade_map(picture, one.map, one.square, one.angle)
    rows, columns = np.nonzero((np.abs(drawn.astype(int) - picture) > 40).any(axis=2))
    assert rows.max() < height * 0.7
    assert columns.min() > width * 0.3
    assert rows.mean() == pytest.approx(height / 4, abs=height / 8)
    assert columns.mean() == pytest.approx(width * 3 / 4, abs=width / 8)


def test_a_picture_without_a_face_has_no_explanation(model):
    explainer = open_explainer(model)
    empty = np.full((90, 120, 3), 127, np.uint8)
    assert explain_picture(explainer, empty) == ()
    np.testing.assert_array_equal(draw_explanations(empty, []), empty)


def test_an_analyzer_with_another_model_is_refused(model, tmp_path):
    other = Analyzer(save_brightness(tmp_path / "other.onnx", ("a", "b"), (0.0, 1.0)))
    with pytest.raises(UsageError, match="must have the explainer's model"):
        explain_picture(open_explainer(model), spots(), analyzer=other)


def test_an_explanation_that_does_not_fit_cannot_be_made():
    face = Face(Box(0, 0, 9, 9), 1.0, Prediction({"a": 1.0}))
    crop, one = np.zeros((8, 8, 1), np.uint8), np.zeros((8, 8), np.float32)
    with pytest.raises(UsageError, match="target"):
        Explanation(face, "b", 0.0, crop, one, (4.5, 4.5, 9))
    with pytest.raises(UsageError, match="map"):
        Explanation(face, "a", 1.0, crop, one[:4], (4.5, 4.5, 9))


def test_places_for_the_class_become_orange_and_those_against_it_blue():
    image = np.full((40, 60), 128, np.uint8)
    one = np.zeros((4, 4), np.float32)
    one[0, 0], one[3, 3] = 0.5, -0.25
    whole = shade_map(image, one).astype(int)
    assert np.abs(whole[0, 0] - (128 * 0.3 + np.array(FOR) * 0.7)).max() <= 1
    assert np.abs(whole[-1, -1] - (128 * 0.65 + np.array(AGAINST) * 0.35)).max() <= 1
    assert (whole[20, 30] == 128).all()


def test_weak_maps_are_drawn_weakly():
    image = np.full((8, 8), 128, np.uint8)
    strong, weak = (shade_map(image, np.full((4, 4), value, np.float32)).astype(int) for value in (0.02, 0.002))
    ratio = np.abs(weak - 128).sum() / np.abs(strong - 128).sum()
    assert ratio == pytest.approx(0.1, abs=0.02)
    assert (shade_map(image, np.zeros((4, 4), np.float32)) == 128).all()


@pytest.mark.parametrize("angle", [0.0, 25.0])
def test_a_map_lies_where_its_face_was_cut_out(angle):
    """What is bright in a cut-out is bright at the same place of the picture when its own pixels are the map."""
    picture = np.zeros((120, 150), np.uint8)
    cv2.circle(picture, (78, 50), 4, 255, -1)
    box = (40.0, 30.0, 100.0, 90.0)
    crop = cut_face(picture, box, 0.0, angle).astype(np.float32)
    shaded = shade_map(np.zeros_like(picture), crop, (70.0, 60.0, 60.0), angle)[:, :, 0].astype(float)
    rows, columns = np.mgrid[:120, :150]
    centre = (columns * shaded).sum() / shaded.sum(), (rows * shaded).sum() / shaded.sum()
    assert centre == pytest.approx((78, 50), abs=0.7)


def test_a_map_may_reach_past_the_picture():
    one = np.ones((8, 8), np.float32)
    shaded = shade_map(np.zeros((20, 20), np.uint8), one, (0.0, 0.0, 16.0))
    assert shaded[:7, :7].any(axis=2).all()
    assert not shaded[9:, 9:].any()
    assert not shade_map(np.zeros((20, 20), np.uint8), one, (-50.0, 5.0, 16.0)).any()


@pytest.mark.parametrize("bad", [np.zeros((4, 5), np.float32), np.full((4, 4), np.nan, np.float32)])
def test_what_is_no_map_is_not_drawn(bad):
    with pytest.raises(UsageError, match="map: must be"):
        shade_map(np.zeros((8, 8), np.uint8), bad)


def labelled(count: int = 12) -> tuple[np.ndarray, np.ndarray]:
    images = np.random.default_rng(0).integers(0, 60, (count, SIZE, SIZE, 1), np.uint8)
    labels = np.arange(count) % 2
    images[labels == 1] += np.repeat(spots()[None, :, :, None] // 2, (labels == 1).sum(), 0)
    return images, labels


def test_a_sheet_has_a_row_for_each_class(model):
    images, labels = labelled()
    opened = open_model(model)
    sheet = class_sheet(opened, images, labels, faces=2, averaged=4, tile=64)
    assert sheet.dtype == np.uint8
    assert sheet.shape == (2 * 16 + 2 * (34 + 68 + 8), 32 + 6 * 68 - 4, 3)
    orange = (sheet[:, :, 0].astype(int) - sheet[:, :, 2] > 60).sum()
    assert orange > 50
    again = class_sheet(opened, images, labels, faces=2, averaged=4, tile=64)
    np.testing.assert_array_equal(sheet, again)
    assert (class_sheet(opened, images, labels, faces=2, averaged=4, tile=64, seed=1) != sheet).any()
    assert class_sheet(opened, images, labels, faces=2, averaged=0, tile=64).shape[1] == 32 + 4 * 68 - 4


def test_a_class_without_faces_keeps_its_row(model):
    images, labels = labelled()
    dark = labels == 0
    sheet = class_sheet(open_model(model), images[dark], labels[dark], faces=2, tile=64)
    assert sheet.shape[0] == 2 * 16 + 2 * (34 + 8) + 68


@pytest.mark.parametrize(
    ("labels", "options", "said"),
    [
        (np.full(12, -1), {}, "labels: must be"),
        (np.full(12, 2), {}, "labels: must be"),
        (np.zeros(3, np.int64), {}, "labels: must be"),
        (np.zeros(12, np.int64), {"faces": 0}, "faces: must be at least 1"),
        (np.zeros(12, np.int64), {"tile": 8}, "tile at least 32"),
    ],
)
def test_sheets_refuse_what_cannot_be_drawn(model, labels, options, said):
    with pytest.raises(UsageError, match=said):
        class_sheet(open_model(model), labelled()[0], labels, **options)


def test_a_dataset_is_explained_by_its_split(tmp_path):
    root = tmp_path / "data"
    images, labels = labelled(8)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = root / "test" / ("angry", "happy")[label]
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"PublicTest_{number}.png"), image)
    explainer = open_explainer(save_quadrant(tmp_path / "m.onnx", ("happy", "angry")))  # another order
    done: list[tuple[int, int]] = []
    sheet = explain_dataset(
        explainer, open_dataset(root), split="public", faces=2, progress=lambda *now: done.append(now)
    )
    assert sheet.shape[0] == 2 * 16 + 2 * (34 + 116 + 8)
    assert done == [(1, 2), (2, 2)]
    with pytest.raises(UsageError, match="private"):
        explain_dataset(explainer, open_dataset(root), split="private")


def explain(*arguments: object) -> Result:
    app = typer.Typer()
    app.command("explain")(explain_command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_draws_faces_and_prints_one_document(model, photo, tmp_path):
    out = tmp_path / "drawn"
    result = explain(photo, "--model", model, "--target", "dark", "--out", out, "--json")
    assert result.exit_code == 0, repr(result.exception)
    document = json.loads(result.stdout)
    (record,) = document["faces"]
    assert (document["method"], record["target"]) == ("occlusion", "dark")
    assert [path.name for path in out.iterdir()] == ["photo.jpg"]
    assert record["drawn"] == str(out / "photo.jpg")
    assert cv2.imread(str(out / "photo.jpg")).shape[0] > 512
    lines = explain(photo, "--model", model, "--out", out).stdout.splitlines()
    assert lines == [f"{photo}: {record['expression']} {record['confidence']:.0%}; wrote {out / 'photo.jpg'}"]


def test_the_command_says_what_of_an_uncertain_face_is_explained(model, photo, tmp_path):
    result = explain(photo, "--model", model, "--min-confidence", 1, "--out", tmp_path / "drawn")
    assert result.exit_code == 0, result.exception
    assert re.search(r"uncertain \d+% \(explained: (dark|bright) \d+%\)", result.stdout), result.stdout
    result = explain(photo, "--model", model, "--min-confidence", 2, "--out", tmp_path / "drawn")
    assert "--min-confidence" in str(result.exception)


def test_the_command_draws_a_sheet_of_a_dataset(patterns, tmp_path):
    out = tmp_path / "drawn"
    names = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
    model = save_brightness(tmp_path / "seven.onnx", names, [0.1 * step for step in range(7)])
    result = explain(patterns, "--per-class", "--split", "public", "--model", model, "--faces", 2, "--out", out)
    assert result.exit_code == 0, repr(result.exception)
    assert result.stdout.splitlines() == [f"wrote {out / 'classes.png'}"]
    assert cv2.imread(str(out / "classes.png")).shape[0] > 7 * 112


def test_a_sheet_of_a_dataset_says_which_classes_the_model_does_not_know(patterns, tmp_path):
    model = save_brightness(tmp_path / "two.onnx", ("angry", "sad"), [0.2, 0.7])
    result = explain(patterns, "--per-class", "--split", "public", "--model", model, "--out", tmp_path / "drawn")
    assert result.exit_code == 0, repr(result.exception)
    assert "no row for what the model does not know: disgust, fear, happy, neutral, surprise" in result.stderr
    assert 2 * 112 < cv2.imread(str(tmp_path / "drawn" / "classes.png")).shape[0] < 7 * 112
    model = save_brightness(tmp_path / "strange.onnx", ("dark", "bright"), [0.2, 0.7])
    result = explain(patterns, "--per-class", "--model", model, "--out", tmp_path / "drawn")
    assert "no picture of 'test' is of a class that the model knows" in str(result.exception)


def test_what_is_no_picture_is_named_and_the_rest_goes_on(model, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), spots())
    (tmp_path / "b.png").write_bytes(b"no picture")
    out = tmp_path / "drawn"
    result = explain(tmp_path / "a.png", tmp_path / "b.png", *CROPS, "--model", model, "--out", out)
    assert isinstance(result.exception, DataError)
    assert "b.png: " in result.stderr
    assert [path.name for path in out.iterdir()] == ["a.png"]


def test_a_video_among_pictures_is_named_and_the_rest_goes_on(model, tmp_path):
    pytest.importorskip("av")
    folder, out = tmp_path / "mixed", tmp_path / "drawn"
    folder.mkdir()
    for name in ("a.png", "z.png"):
        cv2.imwrite(str(folder / name), spots())
    write_clip(folder / "m.mp4", 3)
    result = explain(folder, 7, "rtsp://localhost/x", *CROPS, "--model", model, "--out", out, "--json")
    assert isinstance(result.exception, DataError)
    told = f"{folder / 'm.mp4'}: is a video; only pictures are taken"
    assert result.stderr.splitlines()[0] == told
    document = json.loads(result.stdout)
    assert document["failures"] == [str(folder / "m.mp4"), "webcam 7", "rtsp://localhost/x"]
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "z.png"]


def test_no_face_at_all_is_an_error_that_says_what_to_do(model, tmp_path):
    cv2.imwrite(str(tmp_path / "empty.png"), np.full((90, 90), 127, np.uint8))
    result = explain(tmp_path / "empty.png", "--model", model, "--out", tmp_path / "drawn")
    assert isinstance(result.exception, DataError)
    assert "--detector none" in str(result.exception)
    assert not (tmp_path / "drawn").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--target", "bored"), "target: no such choice 'bored'"),
        (("--method", "magic"), "method: no such choice"),
        (("--method", "occlusion", "--layer", "x"), "layer: is for the method gradcam"),
        (("--detector", "dlib"), "--detector: no such choice"),
        (("--per-class", "--target", "dark"), "--per-class: takes one dataset"),
        (("--seed", "0"), "--seed: is for --per-class"),
        (("--split", "public"), "--split: is for --per-class"),
        (("--out", "photo.png"), "--out: must be a folder"),
    ],
)
def test_wrong_requests_are_refused(model, tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("photo.png", spots())
    result = explain("photo.png", "--model", model, *options)
    assert isinstance(result.exception, UsageError)
    assert said in str(result.exception)


def test_occlusion_imports_the_light_half_only(model, photo, tmp_path):
    code = f"""
import sys
from mien.cli import app
app(["explain", {str(photo)!r}, "--model", {str(model)!r}, "--out", {str(tmp_path / "o")!r}], standalone_mode=False)
heavy = {{"keras", "tensorflow", "jax", "torch", "sklearn", "matplotlib"}} & set(sys.modules)
sys.exit(f"imported: {{heavy}}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr

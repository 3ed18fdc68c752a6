"""Running .onnx files with OpenVINO: the real library; answers are those of ONNX Runtime."""

import json
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import PathFinder

import numpy as np
import onnx
import onnxruntime
import pytest

from mien import openvino
from mien.classifier import Classifier, open_model
from mien.cli import main
from mien.datasets.conversion import write_png
from mien.datasets.samples import draw_face, sample_faces
from mien.errors import MissingExtraError, ModelError
from mien.faces.mtcnn import MTCNN
from mien.sessions import available_devices, built_devices
from mien.weights import find_model

ROUNDING = 1e-4


@pytest.fixture(scope="module")
def faces():
    """uint8 (200, 48, 48, 1): drawn faces."""
    return sample_faces(200, seed=3)[0]


@pytest.fixture
def installed():
    """Skips the test where OpenVINO is not installed."""
    pytest.importorskip("openvino")


@pytest.fixture
def absent(monkeypatch):
    """As if OpenVINO were not installed."""
    monkeypatch.setitem(sys.modules, "openvino", None)


class FakeSession:
    """What `mien.sessions.OnnxSession` tells."""

    spec = None
    device = "openvino"


def with_graph(change, path) -> None:
    """Write mien-small to a path, its graph changed."""
    model = onnx.load(find_model("mien-small"))
    change(model)
    onnx.save(model, path)


@pytest.mark.usefixtures("installed")
def test_answers_are_those_of_onnx_runtime(faces):
    expected = open_model("mien-small", device="cpu").predict(faces)
    assert np.ptp(expected, axis=0).max() > 0.5
    model = open_model("mien-small", device="openvino")
    assert model.device == "openvino"
    np.testing.assert_allclose(model.predict(faces), expected, atol=ROUNDING)


@pytest.mark.usefixtures("installed")
def test_answers_in_int8_differ_from_onnx_runtime_by_rounding(faces):
    expected = open_model("mien-small-int8", device="cpu").predict(faces)
    answers = open_model("mien-small-int8", device="openvino").predict(faces)
    assert np.abs(answers - expected).mean() < 0.01
    assert (answers.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.97


@pytest.mark.usefixtures("installed")
def test_any_number_of_pictures_one_after_the_other(faces):
    model = open_model("mien-small-int8", device="openvino")
    whole = model.predict(faces[:70], batch_size=70)
    for size in (1, 7, 64, 3):
        np.testing.assert_allclose(model.predict(faces[:70], batch_size=size), whole, atol=ROUNDING)
    assert model.predict(faces[:0]).shape == (0, 7)


@pytest.mark.usefixtures("installed")
def test_answers_of_one_call_are_not_overwritten_by_the_next(faces):
    session = openvino.Session(find_model("mien-small"))
    first = session.run(faces[:4].astype(np.float32) / 255)
    kept = first.copy()
    session.run(faces[4:8].astype(np.float32) / 255)
    np.testing.assert_array_equal(first, kept)


@pytest.mark.usefixtures("installed")
def test_threads_share_a_model(faces):
    model = open_model("mien-small", device="openvino", threads=1)
    parts = np.array_split(faces, 16)
    expected = [model.predict(part) for part in parts]
    with ThreadPoolExecutor(4) as pool:
        for answers, alone in zip(pool.map(model.predict, parts * 3), expected * 3, strict=True):
            np.testing.assert_allclose(answers, alone, atol=1e-6)


@pytest.mark.usefixtures("installed")
def test_pickled_by_path(faces):
    model = open_model("mien-small", device="openvino")
    copy = pickle.loads(pickle.dumps(model))
    assert copy.device == "openvino"
    np.testing.assert_allclose(copy.predict(faces[:3]), model.predict(faces[:3]), atol=1e-6)


@pytest.mark.usefixtures("installed")
def test_a_file_cut_short(tmp_path):
    content = find_model("mien-small").read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match=r"cut\.onnx: is not an ONNX file"):
        Classifier(path, device="openvino")


@pytest.mark.usefixtures("installed")
def test_a_graph_that_openvino_does_not_know(tmp_path):
    def spoil(model):
        model.graph.node[0].op_type = "Nonsense"

    path = tmp_path / "odd.onnx"
    with_graph(spoil, path)
    with pytest.raises(ModelError, match=r"odd\.onnx: cannot be opened by OpenVINO"):
        Classifier(path, device="openvino")


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(("axis", "length", "told"), [(0, 4, r"\[4,48,48,1\]"), (1, 64, r"\[\?,64,48,1\]")])
def test_a_graph_that_is_not_what_the_file_says(tmp_path, axis, length, told):
    def fix(model):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = length
        del model.graph.value_info[:]

    path = tmp_path / "other.onnx"
    with_graph(fix, path)
    with pytest.raises(
        ModelError, match=rf"says input float32 \('n', 48, 48, 1\) with n free, the graph has f32 {told}"
    ):
        Classifier(path, device="openvino")


@pytest.mark.usefixtures("absent")
def test_without_the_package():
    assert not openvino.is_installed()
    assert "openvino" not in available_devices()
    with pytest.raises(MissingExtraError, match=r"device: 'openvino' needs packages.*pip install 'mien\[openvino\]'"):
        open_model("mien-small", device="openvino")


def test_a_folder_of_that_name_with_models_in_it_is_not_the_package(tmp_path, monkeypatch):
    (tmp_path / "openvino").mkdir()
    monkeypatch.setattr("mien.openvino.find_spec", lambda name: PathFinder.find_spec(name, [str(tmp_path)]))
    assert not openvino.is_installed()


@pytest.mark.usefixtures("absent")
def test_an_onnx_runtime_that_has_it_built_in_will_do_without_the_package(monkeypatch):
    built = ["OpenVINOExecutionProvider", "CPUExecutionProvider"]
    opened = []
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: built)
    monkeypatch.setattr("mien.classifier.OnnxSession", lambda path, **options: opened.append(options) or FakeSession())
    assert built_devices() == available_devices() == ["cpu", "openvino"]
    open_model("mien-small", device="openvino")
    assert opened == [{"device": "openvino", "threads": 0}]


@pytest.mark.usefixtures("installed")
def test_it_is_listed_among_the_devices(capsys):
    assert "openvino" in available_devices()
    with pytest.raises(SystemExit, match="0"):
        main(["info", "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert "openvino" in facts["devices"]
    assert facts["packages"]["openvino"]


@pytest.mark.usefixtures("installed")
def test_the_command_line(tmp_path, capsys):
    write_png(tmp_path / "face.png", draw_face("happy", seed=1, size=96))
    asked = ["predict", str(tmp_path / "face.png"), "--detector", "none", "--format", "json"]
    found = []
    for device in ("cpu", "openvino"):
        with pytest.raises(SystemExit, match="0"):
            main([*asked, "--device", device])
        (face,) = json.loads(capsys.readouterr().out)
        found.append(face["probabilities"])
    assert found[0] == pytest.approx(found[1], abs=ROUNDING)


@pytest.mark.usefixtures("installed")
def test_faces_are_found_by_onnx_runtime_then():
    assert MTCNN(device="openvino").detect_faces(np.zeros((40, 40, 3), np.uint8)) == []


@pytest.mark.usefixtures("installed")
def test_it_is_not_imported_before_it_is_asked_for():
    code = "import sys, mien; mien.open_model('mien-small', device='cpu'); print('openvino' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False"]

"""Reading .tflite files: the real interpreters; answers are those of the .onnx of the same network."""

import hashlib
import json
import os
import pickle
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec

import keras
import numpy as np
import pytest

from mien import litert
from mien.analyzer import Analyzer
from mien.batch.settings import ModelFile
from mien.calibrating import calibrate_model
from mien.classifier import Classifier, open_model
from mien.cli import main
from mien.config import TrainingConfig
from mien.datasets.conversion import write_png
from mien.datasets.samples import draw_face, sample_faces
from mien.ensembles import save_ensemble
from mien.errors import MissingExtraError, ModelError, UsageError
from mien.explaining import open_explainer
from mien.export import describe, export_model, save_litert, save_onnx
from mien.labels import EXPRESSIONS
from mien.networks import network
from mien.preprocessing import InputSpec
from mien.trainee import check_models
from tiny import TINY

RUNTIMES = ("ai_edge_litert", "tensorflow")
ROUNDING = 1e-5


def varied_network() -> keras.Model:
    """A network whose answers differ from face to face, though it learned nothing."""
    model = network(TINY, size=48, seed=1)
    rng = np.random.default_rng(0)
    weights = [weight + rng.normal(0, 0.05, weight.shape).astype(np.float32) for weight in model.get_weights()]
    model.set_weights(
        [np.abs(w) + 0.5 if "variance" in v.path else w for w, v in zip(weights, model.weights, strict=True)]
    )
    return model


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The network as ``model.onnx`` and ``model.tflite``."""
    folder = tmp_path_factory.mktemp("models")
    model = varied_network()
    spec = describe(model, EXPRESSIONS, temperature=1.5, crop_margin=0.25, scores={"public": {"accuracy": 0.5}})
    save_onnx(model, spec, folder / "model.onnx")
    save_litert(model, spec, folder / "model.tflite")
    return folder


@pytest.fixture(scope="module")
def faces():
    """uint8 (64, 48, 48, 1): drawn faces."""
    return sample_faces(64, seed=3)[0]


@pytest.fixture(scope="module")
def expected(files, faces):
    """float32 (64, 7): what the ``.onnx`` says."""
    answers = Classifier(files / "model.onnx", device="cpu").predict(faces)
    assert answers.std(axis=0).max() > 1e-3
    return answers


@pytest.fixture(params=RUNTIMES)
def runtime(request, monkeypatch):
    """Each of the two packages alone; tests of one that is not installed are skipped."""
    pytest.importorskip(request.param)
    hide(monkeypatch, *(set(RUNTIMES) - {request.param}))
    return request.param


def hide(monkeypatch, *packages) -> None:
    """Make them as if they were not installed."""
    for name in packages:
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.setitem(sys.modules, f"{name}.interpreter", None)  # found by itself where it was imported before


def without_archive(path) -> bytes:
    """The bytes of the model alone."""
    with zipfile.ZipFile(path) as archive:
        end = min(item.header_offset for item in archive.infolist())
    return path.read_bytes()[:end]


def rewritten(path, model: bytes, **members: str):
    """A model with an archive of these members behind it, names with ``_`` for ``.``."""
    path.write_bytes(model)
    with zipfile.ZipFile(path, "a") as archive:
        for name, text in members.items():
            archive.writestr(name.replace("_", "."), text)
    return path


@pytest.mark.parametrize("threads", [0, 1])
def test_it_answers_as_the_onnx_does(files, faces, expected, runtime, threads):
    model = Classifier(files / "model.tflite", threads=threads)
    assert model.spec == Classifier(files / "model.onnx").spec
    assert (model.classes, model.device) == (EXPRESSIONS, "cpu")
    for batch_size in (64, 1, 3, None, 64):  # back and forth
        answers = model.predict(faces, batch_size)
        assert (answers.dtype, answers.shape) == (np.float32, (64, 7))
        np.testing.assert_allclose(answers, expected, atol=ROUNDING)
    np.testing.assert_allclose(model.predict(faces[:1]), expected[:1], atol=ROUNDING)
    assert model.predict(faces[:0]).shape == (0, 7)


def test_threads_share_it(files, faces, expected, runtime):
    model = Classifier(files / "model.tflite", threads=1)
    parts = [slice(start, start + 1 + start % 5) for start in range(59)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda part: model.predict(faces[part]), parts))
    for part, answer in zip(parts, answers, strict=True):
        np.testing.assert_allclose(answer, expected[part], atol=ROUNDING)


def test_it_can_be_sent_to_other_processes(files, faces, expected):
    model = pickle.loads(pickle.dumps(Classifier(files / "model.tflite", threads=1)))
    np.testing.assert_allclose(model.predict(faces[:5]), expected[:5], atol=ROUNDING)


def test_an_analyzer_and_open_model_take_it(files):
    face = draw_face("happy", seed=1, size=120, channels=3)
    a, b = (Analyzer(files / f"model.{kind}", detector="none").analyze(face)[0] for kind in ("tflite", "onnx"))
    assert a.probabilities == pytest.approx(b.probabilities, abs=ROUNDING)
    model = open_model(files / "model.tflite", device="cpu", threads=1)
    (answer,) = model.classify([face])
    assert answer.probabilities == pytest.approx(b.probabilities, abs=ROUNDING)


def test_the_commands_take_it(files, patterns, tmp_path, capfd):
    face = tmp_path / "face.png"
    write_png(face, draw_face("sad", seed=2, size=64, channels=1))
    answers = []
    for kind in ("tflite", "onnx"):
        arguments = ["--model", str(files / f"model.{kind}"), "--detector", "none", "--format", "json"]
        command = [sys.executable, "-m", "mien", "predict", str(face), *arguments]
        environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=True)
        assert "INFO" not in done.stderr  # what the interpreter says of its delegate
        assert "oneDNN" not in done.stderr
        answers.append(json.loads(done.stdout)[0]["probabilities"])
    assert answers[0] == pytest.approx(answers[1], abs=1e-4)
    with pytest.raises(SystemExit) as end:
        main(["evaluate", str(files / "model.tflite"), str(patterns), "--split", "public", "--json"])
    assert end.value.code == 0
    assert json.loads(capfd.readouterr().out)["n"] == 42


@pytest.mark.skipif(not find_spec("ai_edge_litert"), reason="needs ai-edge-litert")
def test_no_tensorflow_where_the_light_runtime_is(files):
    code = f"import sys, mien; mien.Classifier({str(files / 'model.tflite')!r}); print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "False"


def test_without_a_runtime_it_says_what_to_install(files, monkeypatch):
    hide(monkeypatch, *RUNTIMES)
    with pytest.raises(MissingExtraError, match=r"reading \.tflite files .*pip install 'mien\[litert\]'"):
        Classifier(files / "model.tflite")


def test_a_service_tells_it_how_many_threads_it_may_use(files):
    from mien.server.registry import Analyzers

    served = Analyzers([str(files / "model.tflite")], threads=2)
    assert served.models["model"].model._options["threads"] == 2
    assert served._single["model"]._options["threads"] == 1


def test_the_number_of_threads_is_passed_on(files, monkeypatch):
    asked = []

    def make(**options):
        asked.append(options["num_threads"])
        raise ValueError("enough")

    monkeypatch.setattr(litert, "_find_interpreter", lambda: make)
    for threads in (0, 3):
        with pytest.raises(ModelError, match=r"cannot be opened as a TensorFlow Lite model \(enough\)"):
            Classifier(files / "model.tflite", threads=threads)
    assert asked[0] >= 1
    assert asked[1] == 3


def test_options_that_cannot_be(files, tmp_path):
    with pytest.raises(UsageError, match="auto or cpu, received 'cuda'"):
        Classifier(files / "model.tflite", device="cuda")
    with pytest.raises(UsageError, match="threads: must be 0"):
        Classifier(files / "model.tflite", threads=-1)
    with pytest.raises(UsageError, match="no such file"):
        Classifier(tmp_path / "none.tflite")


@pytest.mark.parametrize("share", [0.0, 0.00001, 0.001, 0.5, 0.9, 0.9999])
def test_a_file_that_is_cut_short_says_so(files, tmp_path, runtime, share):
    whole = (files / "model.tflite").read_bytes()
    (tmp_path / "cut.tflite").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ModelError, match=r"it may be (damaged|cut short)"):
        Classifier(tmp_path / "cut.tflite")


def test_a_changed_byte_never_reaches_the_interpreter(files, tmp_path, monkeypatch):
    monkeypatch.setattr(litert, "_find_interpreter", lambda: pytest.fail("it was opened"))
    end = len(without_archive(files / "model.tflite"))
    for place in (10, 100, end // 2, end - 1):
        damaged = bytearray((files / "model.tflite").read_bytes())
        damaged[place] ^= 1
        (tmp_path / "damaged.tflite").write_bytes(damaged)
        with pytest.raises(ModelError, match="is damaged: the model differs from what was written"):
            Classifier(tmp_path / "damaged.tflite")


def test_a_changed_description_says_so(files, tmp_path):
    whole = (files / "model.tflite").read_bytes()
    damaged = bytearray(whole)
    damaged[whole.index(b'"classes"') + 3] ^= 1
    (tmp_path / "damaged.tflite").write_bytes(damaged)
    with pytest.raises(ModelError, match="is damaged: the archive behind the model cannot be read"):
        Classifier(tmp_path / "damaged.tflite")
    model = without_archive(files / "model.tflite")
    with pytest.raises(ModelError, match="is not JSON"):
        Classifier(rewritten(tmp_path / "text.tflite", model, mien_json="{"))


@pytest.mark.parametrize("size", [0, 7, 1000, 50_000])
def test_random_bytes_are_refused(files, tmp_path, runtime, size):
    noise = np.random.default_rng(size).bytes(size)
    (tmp_path / "noise.tflite").write_bytes(noise)
    with pytest.raises(ModelError, match="its bytes 4 to 7 must be TFL3"):
        Classifier(tmp_path / "noise.tflite")
    spec = json.dumps(Classifier(files / "model.onnx").spec.to_dict())
    disguised = rewritten(tmp_path / "disguised.tflite", b"\x1c\0\0\0TFL3" + noise, mien_json=spec)
    with pytest.raises(ModelError, match="cannot be opened as a TensorFlow Lite model"):  # and the process goes on
        Classifier(disguised)


def test_a_model_of_others_says_what_is_missing(files, tmp_path):
    model = without_archive(files / "model.tflite")
    (tmp_path / "bare.tflite").write_bytes(model)
    labelled = rewritten(tmp_path / "labelled.tflite", model, labels_txt="happy")
    for path in (tmp_path / "bare.tflite", labelled):
        with pytest.raises(ModelError, match=r"has no 'mien\.json' inside.*mien export MODEL --format litert"):
            Classifier(path)


def test_a_file_without_a_digest_is_read(files, faces, expected, tmp_path):
    """As mien wrote them before it read them."""
    spec = json.dumps(Classifier(files / "model.onnx").spec.to_dict())
    path = rewritten(tmp_path / "old.tflite", without_archive(files / "model.tflite"), mien_json=spec)
    np.testing.assert_allclose(Classifier(path).predict(faces[:3]), expected[:3], atol=ROUNDING)


def test_the_digest_is_of_the_model(files):
    with zipfile.ZipFile(files / "model.tflite") as archive:
        written = archive.read("model.sha256").decode()
    assert written == hashlib.sha256(without_archive(files / "model.tflite")).hexdigest()


def test_a_description_that_does_not_fit_is_refused(files, tmp_path):
    spec = Classifier(files / "model.onnx").spec
    model = without_archive(files / "model.tflite")
    for wrong, role in ((replace(spec, classes=("a", "b")), "output"), (replace(spec, input=InputSpec(32)), "input")):
        path = rewritten(tmp_path / "wrong.tflite", model, mien_json=json.dumps(wrong.to_dict()))
        with pytest.raises(ModelError, match=f"its description says {role} float32 .*the graph has float32"):
            Classifier(path)


def test_what_needs_more_than_answers_refuses_it(files, patterns, tmp_path, capsys):
    path = files / "model.tflite"
    refused = r"model\.tflite: a \.tflite can be run and judged, not {}.*; give the \.onnx"
    with pytest.raises(UsageError, match=refused.format("turned into")):
        export_model(path, "onnx", tmp_path / "back.onnx")
    with pytest.raises(UsageError, match=refused.format("explained")):
        open_explainer(path)
    with pytest.raises(UsageError, match=refused.format("turned into")):
        open_explainer(Classifier(path), "gradcam")
    with pytest.raises(UsageError, match=refused.format("made part of an ensemble")):
        save_ensemble([path, files / "model.onnx"], tmp_path / "both.onnx")
    with pytest.raises(UsageError, match=refused.format("given to workers")):
        ModelFile.read(path)
    with pytest.raises(UsageError, match=refused.format("calibrated")):
        calibrate_model(path, patterns, split="public", out=tmp_path / "new.onnx")
    for fields in ({"teachers": (str(path),), "teacher_view": "plain"}, {"init": str(path)}):
        with pytest.raises(UsageError, match=refused.format("learned from or begun with")):
            check_models(TrainingConfig(epochs=1, **fields))
    for command in (("explain", "face.png", "--model", path), ("calibrate", path, patterns)):
        with pytest.raises(SystemExit) as end:
            main([str(part) for part in command])
        assert end.value.code == 2
        assert "a .tflite can be run and judged, not " in capsys.readouterr().err

"""Opening .onnx models and asking them. The models here are six nodes that name a picture's brightness."""

import builtins
import dataclasses
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.classifier import (
    Classifier,
    apply_temperature,
    check_probabilities,
    classify,
    open_model,
)
from mien.errors import MissingExtraError, ModelError, UsageError
from mien.modelspec import ModelSpec, write_to_onnx
from mien.preprocessing import InputSpec
from mien.sessions import PROVIDERS, available_devices
from models import save_brightness

SPEC = ModelSpec(classes=("dark", "middle", "bright"), network="brightness", parameters=4, input=InputSpec(size=8))


def save_model(path: Path, spec: ModelSpec | None = SPEC, **changes: str) -> Path:
    """`save_brightness` with the classes of `SPEC`, described by `spec`."""
    save_brightness(path, SPEC.classes, (0.0, 0.5, 1.0), described=False, **changes)
    if spec is not None:
        write_to_onnx(path, spec)
    return path


@pytest.fixture
def model_path(tmp_path: Path) -> Path:
    return save_model(tmp_path / "model.onnx")


def grey(*levels: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """uint8 (n, 8, 8, 1), each picture of one level."""
    return np.broadcast_to(np.array(levels, np.uint8)[:, None, None, None], (len(levels), 8, 8, 1)).copy()


def test_it_knows_what_the_file_says(model_path: Path) -> None:
    model = Classifier(model_path)
    assert model.spec == SPEC
    assert model.classes == ("dark", "middle", "bright")
    assert model.device in PROVIDERS


def test_predict_gives_probabilities_of_pixels_scaled_to_one(model_path: Path) -> None:
    probabilities = Classifier(model_path).predict(grey(0, 128, 255))
    assert probabilities.dtype == np.float32
    assert probabilities.shape == (3, 3)
    logits = -20 * (np.array([[0], [128 / 255], [1]]) - [0, 0.5, 1]) ** 2
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 64])
def test_the_batch_size_changes_nothing(model_path: Path, batch_size: int) -> None:
    model, images = Classifier(model_path), grey(*range(0, 250, 25))
    np.testing.assert_allclose(model.predict(images, batch_size), model.predict(images), atol=1e-6)


def test_no_images_give_no_rows(model_path: Path) -> None:
    model = Classifier(model_path)
    empty = model.predict(np.empty((0, 8, 8, 1), np.uint8))
    assert empty.shape == (0, 3)
    assert empty.dtype == np.float32
    assert model.classify([]) == []


def test_mirrored_views_are_read_in_their_order(model_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (4, 8, 8, 1), np.uint8)
    model = Classifier(model_path)
    np.testing.assert_array_equal(model.predict(images[::-1]), model.predict(np.ascontiguousarray(images[::-1])))


def test_classify_takes_any_size_and_colour(model_path: Path) -> None:
    images = [
        np.zeros((5, 9), np.uint8),
        np.full((40, 30, 1), 128, np.uint8),
        np.full((8, 8, 3), 255, np.uint8),
    ]
    model = Classifier(model_path)
    assert [answer.expression for answer in model.classify(images)] == ["dark", "middle", "bright"]
    assert model.classify(images) == classify(model, images, batch_size=2)


def test_the_temperature_is_applied(tmp_path: Path) -> None:
    warm = save_model(tmp_path / "warm.onnx", dataclasses.replace(SPEC, temperature=2.0))
    plain = Classifier(save_model(tmp_path / "plain.onnx")).predict(grey(40, 200))
    expected = np.sqrt(plain) / np.sqrt(plain).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(Classifier(warm).predict(grey(40, 200)), expected, atol=1e-6)


@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=8).filter(any), st.floats(0.01, 100))
def test_temperature_keeps_order_and_sum(weights: list[float], temperature: float) -> None:
    probabilities = np.asarray([weights], np.float32) / np.float32(sum(weights))
    changed = apply_temperature(probabilities, temperature)
    assert abs(changed.sum() - 1) < 1e-5
    ranked = changed[0, np.argsort(probabilities[0], kind="stable")]
    assert np.all(np.diff(ranked) >= -1e-6)


def test_temperature_survives_zero_probabilities() -> None:
    changed = apply_temperature(np.array([[1, 0, 0]], np.float32), 2.0)
    assert np.all(np.isfinite(changed))
    np.testing.assert_allclose(changed, [[1, 0, 0]], atol=1e-6)


def test_threads_share_a_model(model_path: Path) -> None:
    model = Classifier(model_path, threads=1)
    batches = [grey(level, 255 - level) for level in range(0, 250, 5)]
    expected = [model.predict(batch) for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        for got, want in zip(pool.map(model.predict, batches), expected, strict=True):
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((8, 8, 1), np.uint8),
        np.zeros((1, 9, 8, 1), np.uint8),
        np.zeros((1, 8, 8, 3), np.uint8),
        np.zeros((1, 8, 8, 1), np.float32),
        [np.zeros((8, 8, 1), np.uint8)],
        None,
    ],
)
def test_predict_refuses_other_arrays(model_path: Path, images: Any) -> None:
    with pytest.raises(UsageError, match=r"must be uint8 \(n, 8, 8, 1\).*fit_images"):
        Classifier(model_path).predict(images)


@pytest.mark.parametrize("batch_size", [0, "4", 1.5])
def test_predict_refuses_other_batch_sizes(model_path: Path, batch_size: Any) -> None:
    with pytest.raises(UsageError, match="batch_size: must be 1 or more"):
        Classifier(model_path).predict(grey(0), batch_size=batch_size)


def test_classify_takes_a_generator_of_arrays_alone(model_path: Path) -> None:
    classifier = Classifier(model_path)
    assert len(classifier.classify(np.zeros((8, 8), np.uint8) for _ in range(2))) == 2
    with pytest.raises(UsageError, match="image: must be a NumPy array, received str"):
        classifier.classify(["a.png"])


def test_no_such_file(tmp_path: Path) -> None:
    for path, message in (
        (tmp_path / "missing.onnx", "no such file.*or a name: mien-small"),
        (tmp_path, "is a folder, a model is a file"),
    ):
        with pytest.raises(UsageError, match=message):
            Classifier(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08"])
def test_not_an_onnx_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.onnx: cannot be opened as an ONNX model"):
        Classifier(path)


def test_a_file_cut_short(model_path: Path) -> None:
    model_path.write_bytes(model_path.read_bytes()[:200])
    with pytest.raises(ModelError, match=r"model\.onnx"):
        Classifier(model_path)


def test_an_undescribed_model_is_not_guessed_at(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no 'mien' metadata"):
        Classifier(save_model(tmp_path / "model.onnx", None))


@pytest.mark.parametrize("changes", [{"n": "1"}, {"side": "9"}, {"n": "1", "side": "9"}])
def test_a_graph_that_takes_something_else(tmp_path: Path, changes: dict[str, str]) -> None:
    with pytest.raises(ModelError, match=r"its description says input float32 \('n', 8, 8, 1\)"):
        Classifier(save_model(tmp_path / "model.onnx", **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ("a", "b", "c", "d")}, r"output float32 \('n', 4\)"),
        ({"input": InputSpec(size=16)}, r"input float32 \('n', 16, 16, 1\)"),
        ({"input": InputSpec(size=8, channels=3)}, r"input float32 \('n', 8, 8, 3\)"),
    ],
)
def test_a_description_that_does_not_fit_the_graph(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Classifier(save_model(tmp_path / "model.onnx", dataclasses.replace(SPEC, **changes)))


@pytest.mark.parametrize("last", ["Identity(s)", "Log(s)"])
def test_outputs_that_are_not_probabilities(tmp_path: Path, last: str) -> None:
    model = Classifier(save_model(tmp_path / "model.onnx", last=last))
    with pytest.raises(ModelError, match="must be a softmax"):
        model.predict(grey(0, 255))


def test_probabilities_of_another_shape() -> None:
    with pytest.raises(ModelError, match=r"shape \(2, 3\), received \(2, 2\)"):
        check_probabilities(np.full((2, 2), 0.5), 2, 3, "model")


def test_an_unknown_device_lists_the_choices(model_path: Path) -> None:
    with pytest.raises(UsageError, match="no such choice 'gpu'; choose from auto, coreml, cpu, cuda"):
        Classifier(model_path, device="gpu")


def test_a_device_that_is_not_there_lists_those_that_are(model_path: Path) -> None:
    absent = next(name for name in PROVIDERS if name not in available_devices())
    with pytest.raises(UsageError, match=f"device: {absent!r} is not available.*cpu"):
        Classifier(model_path, device=absent)


def test_a_device_that_does_not_start_is_not_passed_over(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: built)
    session = onnxruntime.InferenceSession(model_path)
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: session)
    with pytest.raises(UsageError, match="'cuda' is built in, but did not start"):
        Classifier(model_path, device="cuda")
    assert Classifier(model_path, device="auto").device == "cpu"


def test_the_cpu_is_always_there(model_path: Path) -> None:
    assert Classifier(model_path, device="cpu").device == "cpu"


@pytest.mark.parametrize("threads", [-1, "2", 1.5])
def test_threads_that_cannot_be(model_path: Path, threads: Any) -> None:
    with pytest.raises(UsageError, match="threads: must be 0"):
        Classifier(model_path, threads=threads)


def test_open_model_goes_by_the_ending(model_path: Path, tmp_path: Path) -> None:
    assert isinstance(open_model(model_path), Classifier)
    for name in ("model.pt", "model"):
        with pytest.raises(UsageError, match=r"must end in \.onnx, \.tflite, \.keras or \.h5"):
            open_model(tmp_path / name)


@pytest.mark.parametrize("name", ["model.keras", "face_detection.h5"])
def test_open_model_checks_keras_files_before_it_imports_keras(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="no such file"):
        open_model(tmp_path / name)
    with pytest.raises(UsageError, match=r"for \.onnx and \.tflite only"):
        open_model(tmp_path / name, device="cpu")


def test_its_answers_can_be_sent_to_other_processes(model_path: Path) -> None:
    answers = Classifier(model_path).classify([np.zeros((8, 8), np.uint8)])
    assert pickle.loads(pickle.dumps(answers)) == answers


@pytest.mark.parametrize(("missing", "told"), [("keras", "pip install 'mien\\[train\\]'"), ("mien.gone", "mien.gone")])
def test_only_a_missing_package_reads_as_a_missing_extra(missing: str, told: str, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "model.keras").write_bytes(b"x")
    theirs = builtins.__import__

    def importing(name: str, *arguments: Any) -> Any:
        if name == "mien.export":
            raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)
        return theirs(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", importing)
    with pytest.raises(ModuleNotFoundError if missing != "keras" else MissingExtraError, match=told):
        open_model(tmp_path / "model.keras")

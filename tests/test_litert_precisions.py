"""Smaller .tflite files: real conversions of a small network, read by the real interpreter."""

import keras
import numpy as np
import pytest

from mien import litert, precisions
from mien.classifier import Classifier
from mien.errors import DataError, ModelError, UsageError
from mien.export import describe, export_model, save_keras, save_litert
from mien.labels import EXPRESSIONS
from mien.litert import SUFFIX
from mien.modelspec import ModelSpec
from mien.networks import network
from mien.precisions import PRECISIONS_OF, read_precision
from mien.quantising import calibration_images

pytestmark = pytest.mark.slow


def decided() -> keras.Model:
    """A network that answers pictures of patterns with all kinds of probabilities, not with 1/7 each."""
    model = network("small", size=32, seed=1)
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel * 3, bias])
    return model


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return describe(decided(), EXPRESSIONS, temperature=1.5)


@pytest.fixture(scope="module")
def images(patterns, spec) -> np.ndarray:
    return calibration_images(patterns, spec)


@pytest.fixture(scope="module")
def files(images, spec, tmp_path_factory):
    """The network as ``PRECISION.tflite``, and ``model.keras``."""
    folder, model = tmp_path_factory.mktemp("models"), decided()
    save_keras(model, spec, folder / "model.keras")
    for precision in ("float32", "float16", "int8-dynamic"):
        save_litert(model, spec, folder / f"{precision}{SUFFIX}", precision)
    np.save(folder / "faces.npy", images)
    written = export_model(folder / "model.keras", "litert", precision="int8", calibrate=folder / "faces.npy")
    assert written.name == "model-int8.tflite"
    written.rename(folder / f"int8{SUFFIX}")
    return folder


@pytest.mark.parametrize(
    ("precision", "size", "furthest"), [("float16", 0.55, 5e-3), ("int8-dynamic", 0.35, 0.1), ("int8", 0.35, 0.1)]
)
def test_smaller_files_answer_nearly_as_float32(files, images, spec, precision, size, furthest):
    whole, smaller = files / f"float32{SUFFIX}", files / f"{precision}{SUFFIX}"
    assert smaller.stat().st_size < size * whole.stat().st_size
    expected, model = Classifier(whole).predict(images), Classifier(smaller)
    assert expected.std() > 0.1
    answers = model.predict(images)
    assert 0 < np.abs(answers - expected).max() < furthest
    assert model.spec == spec
    for n in (1, 3, 70):
        np.testing.assert_allclose(
            model.predict(images[:n], n), answers[:n], atol=0.02 if "int8" in precision else 1e-5
        )


def test_a_file_says_in_what_precision_it_is(files, images):
    found = {name: read_precision(files / f"{name}{SUFFIX}") for name in PRECISIONS_OF["litert"]}
    assert {name: facts["precision"] for name, facts in found.items()} == {name: name for name in found}
    assert set(found["float32"]) == set(found["float16"]) == {"precision"}
    assert found["int8"]["images"] == len(images)
    assert found["int8"]["agreement"] > 0.95
    assert 0 < found["int8"]["mean_difference"] < 0.01


def test_int8_gives_probabilities_in_float32(files, images):
    """In 8 bits they would be multiples of 1/256."""
    output = Classifier(files / f"int8{SUFFIX}")._runtime.run(images[:50] / np.float32(255))
    assert np.abs(output.sum(axis=1) - 1).max() < 1e-5
    assert np.abs(output * 256 - np.round(output * 256)).max() > 0.1


def test_what_strays_too_far_is_not_kept(spec, tmp_path, monkeypatch):
    monkeypatch.setattr(precisions, "INT8_DIFFERENCE", 0.0)
    with pytest.raises(ModelError, match=r"model\.tflite: in int8-dynamic .*it was not kept"):
        save_litert(decided(), spec, tmp_path / "model.tflite", "int8-dynamic")
    assert list(tmp_path.iterdir()) == []


def test_another_backend_has_tensorflow_convert_them(files, images, spec, tmp_path, monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    save_litert(decided(), spec, tmp_path / "model.tflite", "int8", images)
    expected = Classifier(files / f"int8{SUFFIX}").predict(images)
    np.testing.assert_allclose(Classifier(tmp_path / "model.tflite").predict(images), expected, atol=0.02)


def test_bad_requests(files, tmp_path):
    source = files / "model.keras"
    with pytest.raises(UsageError, match="int8-dynamic is for litert only, received the format onnx"):
        export_model(source, "onnx", precision="int8-dynamic")
    with pytest.raises(UsageError, match="choose from float16, float32, int8, int8-dynamic"):
        export_model(source, "litert", precision="int4")
    with pytest.raises(UsageError, match="calibrate: is required for int8"):
        export_model(source, "litert", precision="int8")
    with pytest.raises(UsageError, match="is for int8 only, received precision int8-dynamic"):
        export_model(source, "litert", precision="int8-dynamic", calibrate=tmp_path)
    target = tmp_path / "out.tflite"
    with pytest.raises(UsageError, match=r"none\.npy: no such file"):
        export_model(source, "litert", target, precision="int8", calibrate=tmp_path / "none.npy")
    np.save(tmp_path / "wrong.npy", np.zeros((3, 8, 8, 1), np.uint8))
    with pytest.raises(UsageError, match=r"must be uint8 \(n, 32, 32, 1\), received uint8 \(3, 8, 8, 1\)"):
        export_model(source, "litert", target, precision="int8", calibrate=tmp_path / "wrong.npy")
    (tmp_path / "damaged.npy").write_bytes(b"no array")
    with pytest.raises(DataError, match=r"damaged\.npy: cannot be read as an array"):
        export_model(source, "litert", target, precision="int8", calibrate=tmp_path / "damaged.npy")


def test_a_description_replaces_the_one_before(files, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes((files / f"float16{SUFFIX}").read_bytes())
    for note in (None, '{"precision": "int8"}'):
        litert.describe(path, "{}", note)
        assert litert.read_precision(path) == note

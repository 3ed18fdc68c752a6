import json
import shutil
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import TensorProto, helper, numpy_helper

from mien import precisions, quantising
from mien.classifier import Classifier
from mien.errors import ModelError, UsageError
from mien.export import describe, save_onnx
from mien.labels import EXPRESSIONS
from mien.modelspec import ModelSpec
from mien.networks import network
from mien.precisions import check_precision, lower_precision, read_precision
from mien.quantising import calibration_images, finest_scales


def decided(name: str = "small") -> keras.Model:
    """A network that answers pictures of patterns with all kinds of probabilities, not with 1/7 each."""
    model = network(name, size=32, seed=1)
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel * 3, bias])
    return model


@pytest.fixture(scope="module")
def float32(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("models") / "small.onnx"
    model = decided()
    save_onnx(model, describe(model, EXPRESSIONS, temperature=1.5, scores={"public": 0.7}), path)
    return path


@pytest.fixture(scope="module")
def images(patterns, float32) -> np.ndarray:
    return calibration_images(patterns, ModelSpec.from_onnx(float32))


@pytest.fixture
def model_file(float32, tmp_path) -> Path:
    return Path(shutil.copy(float32, tmp_path / "model.onnx"))


@pytest.fixture(scope="module")
def int8(float32, images, tmp_path_factory) -> Path:
    path = Path(shutil.copy(float32, tmp_path_factory.mktemp("int8") / "model.onnx"))
    lower_precision(path, "int8", images)
    return path


def kinds(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


def as_opened(path: Path, tmp_path: Path) -> onnx.ModelProto:
    """The graph that ONNX Runtime makes of a file before it computes, without what depends on the processor."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / "opened.onnx")
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return onnx.load(tmp_path / "opened.onnx")


def test_float16_halves_the_file_and_hardly_moves_the_answers(float32, model_file, images):
    expected = Classifier(float32).predict(images)
    assert expected.std() > 0.1
    lower_precision(model_file, "float16")
    assert model_file.stat().st_size < 0.55 * float32.stat().st_size
    answers = Classifier(model_file).predict(images)
    assert 0 < np.abs(answers - expected).max() < 5e-3
    assert Classifier(model_file).spec == Classifier(float32).spec
    assert read_precision(model_file) == {"precision": "float16"}


def test_float16_weights_are_cast_once_when_the_file_is_opened(model_file, tmp_path):
    lower_precision(model_file, "float16")
    assert kinds(model_file).count("Cast") > 5
    opened = as_opened(model_file, tmp_path)
    assert "Cast" not in {node.op_type for node in opened.graph.node}
    assert TensorProto.FLOAT16 not in {item.data_type for item in opened.graph.initializer}


def test_int8_is_a_third_of_the_size_and_nearly_agrees(float32, int8, images):
    expected, answers = Classifier(float32).predict(images), Classifier(int8).predict(images)
    assert int8.stat().st_size < 0.33 * float32.stat().st_size
    assert Classifier(int8).spec == Classifier(float32).spec
    facts = read_precision(int8)
    assert facts["precision"] == "int8"
    assert facts["images"] == len(images) == 210
    assert facts["agreement"] == pytest.approx(np.mean(expected.argmax(1) == answers.argmax(1)), abs=1e-4)
    assert facts["mean_difference"] == pytest.approx(np.abs(expected - answers).mean(), abs=1e-5)
    assert 0 < facts["mean_difference"] < 0.01


@pytest.mark.parametrize("n", [1, 3, 70])
def test_int8_takes_batches_of_any_size(int8, images, n):
    np.testing.assert_allclose(Classifier(int8).predict(images[:n], n), Classifier(int8).predict(images)[:n], atol=1e-6)


def test_no_two_int8_weights_overflow_a_processor_without_vnni(int8):
    """255 a + 255 b, of weights a and b that are multiplied one after the other, must stay within 16 bits."""
    weights = [numpy_helper.to_array(item) for item in onnx.load(int8).graph.initializer]
    kernels = [values.astype(int) for values in weights if values.dtype == np.int8 and values.ndim == 4]
    assert len(kernels) == 8
    for kernel in kernels:
        rows = np.moveaxis(kernel, 1, -1).reshape(len(kernel), -1)
        assert 255 * np.abs(rows[:, 1:] + rows[:, :-1]).max() < 2**15
        assert np.abs(rows).max() > 64  # finer than halving the range of all


@given(
    arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 9)), elements=st.floats(-1e3, 1e3, width=32)),
)
@example(np.full((1, 2), 5e-25, np.float32))  # whose product is 0
def test_the_finest_scales_are_safe_and_fine(rows):
    scales = finest_scales(rows)
    whole = np.round(rows / scales[:, None]).astype(int)
    assert (scales > 0).all()
    assert np.abs(whole).max() <= 127
    pairs = whole[:, 1:] + whole[:, :-1]
    assert 255 * np.abs(pairs).max(initial=0) < 2**15
    used = np.maximum(np.abs(whole).max(1), np.abs(pairs).max(1, initial=0))
    assert (used[np.abs(rows).max(1) > 1e-30] >= 126).all()


def test_int8_leaves_the_first_and_the_last_layer_in_float(int8):
    graph = onnx.load(int8).graph
    made_by = {name: node for node in graph.node for name in node.output}
    first = next(node for node in graph.node if node.op_type == "Conv")
    last = next(node for node in graph.node if node.op_type == "MatMul")
    for node in (first, last):
        assert made_by.get(node.input[1], first).op_type != "DequantizeLinear"
    assert made_by[graph.output[0].name].op_type == "Softmax"


def test_an_int8_file_says_nothing_of_keras(float32, int8):
    def keys(path):
        return {item.key for item in onnx.load(path).metadata_props}

    assert keys(float32) == {"mien", "mien.keras"}
    assert keys(int8) == {"mien", "mien.precision"}


@pytest.mark.parametrize(
    ("bound", "precision"), [("FLOAT16_TOLERANCE", "float16"), ("INT8_DIFFERENCE", "int8"), ("INT8_AGREEMENT", "int8")]
)
def test_what_strays_too_far_is_not_kept(model_file, images, monkeypatch, bound, precision):
    before = model_file.read_bytes()
    monkeypatch.setattr(precisions, bound, 1.1 if bound == "INT8_AGREEMENT" else 0.0)
    with pytest.raises(ModelError, match=rf"model\.onnx: in {precision}.*it was not kept"):
        lower_precision(model_file, precision, images if precision == "int8" else None)
    assert model_file.read_bytes() == before
    assert list(model_file.parent.iterdir()) == [model_file]


def test_weights_too_large_for_float16_are_refused(model_file):
    graph = onnx.load(model_file)
    item = next(item for item in graph.graph.initializer if np.prod(item.dims) > 4096)
    item.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(item) * np.float32(1e7), item.name))
    onnx.save(graph, model_file)
    with pytest.raises(ModelError, match=r"numbers up to 65,504, but .* goes beyond"):
        lower_precision(model_file, "float16")


def test_float32_leaves_a_file_alone(model_file):
    before = model_file.read_bytes()
    lower_precision(model_file, "float32")
    assert model_file.read_bytes() == before
    assert read_precision(model_file) == {"precision": "float32"}


def test_a_file_is_made_smaller_once(model_file, int8, images):
    lower_precision(model_file, "float16")
    for path, held in ((model_file, "float16"), (int8, "int8")):
        with pytest.raises(UsageError, match=f"holds {held} already; give the float32 file"):
            lower_precision(path, "int8", images)
    with pytest.raises(UsageError, match="holds int8 already"):
        lower_precision(int8, "float16")


def test_bad_requests(model_file, images):
    with pytest.raises(UsageError, match="choose from float16, float32, int8"):
        check_precision("int4", "onnx", calibrates=False)
    with pytest.raises(UsageError, match=r"is required for int8.*--calibrate DATA"):
        lower_precision(model_file, "int8")
    with pytest.raises(UsageError, match="is for int8 only, received precision float16"):
        lower_precision(model_file, "float16", images)
    with pytest.raises(UsageError, match="at least one image"):
        lower_precision(model_file, "int8", images[:0])
    with pytest.raises(UsageError, match=r"must be uint8 \(n, 32, 32, 1\)"):
        lower_precision(model_file, "int8", images[:, 1:])


def test_calibration_images_are_drawn_from_training_by_seed(patterns, float32, tmp_path, monkeypatch):
    spec = ModelSpec.from_onnx(float32)
    everything = {image.tobytes() for image in calibration_images(patterns, spec)}
    monkeypatch.setattr(quantising, "CALIBRATION_IMAGES", 50)
    some = calibration_images(patterns, spec)
    assert some.shape == (50, 32, 32, 1)
    assert {image.tobytes() for image in some} <= everything
    np.testing.assert_array_equal(some, calibration_images(patterns, spec))
    assert not np.array_equal(some, calibration_images(patterns, spec, seed=1))
    shutil.copytree(patterns / "test", tmp_path / "data" / "test")
    with pytest.raises(UsageError, match="the data has no 'train'"):
        calibration_images(tmp_path / "data", spec)
    with pytest.raises(UsageError, match="no such file or folder"):
        calibration_images(tmp_path / "nothing", spec)


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 1200)), min_size=1, max_size=4),
    st.integers(0, 2**32 - 1),
    st.floats(1e-8, 1e4),
)
def test_large_arrays_are_rounded_to_float16_and_small_ones_kept(tmp_path_factory, shapes, seed, scale):
    from mien.restoring import _stored

    rng = np.random.default_rng(seed)
    values_of = {f"w{i}": (rng.normal(size=shape) * scale).astype(np.float32) for i, shape in enumerate(shapes)}
    kept = [numpy_helper.from_array(values, name) for name, values in values_of.items()]
    kept.append(numpy_helper.from_array(np.arange(5000, dtype=np.int64), "shape"))
    nodes = [helper.make_node("Identity", [name], [f"{name}.out"]) for name in values_of]
    outputs = [
        helper.make_tensor_value_info(f"{name}.out", TensorProto.FLOAT, a.shape) for name, a in values_of.items()
    ]
    path = tmp_path_factory.mktemp("graph") / "graph.onnx"
    opset = [helper.make_opsetid("", 15)]
    onnx.save(
        helper.make_model(helper.make_graph(nodes, "g", [], outputs, kept), opset_imports=opset, ir_version=8), path
    )
    precisions._store_float16(path, path, np.empty(0, np.uint8))
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    stored = _stored(onnx.load(path).graph)
    for (name, values), answer in zip(values_of.items(), session.run(None, {}), strict=True):
        rounded = values.astype(np.float16).astype(np.float32) if values.size > 4096 else values
        np.testing.assert_array_equal(answer, rounded)
        np.testing.assert_array_equal(stored[name], rounded)
    assert stored["shape"].dtype == np.int64


def test_precision_is_json_in_the_metadata(int8):
    (text,) = [item.value for item in onnx.load(int8).metadata_props if item.key == "mien.precision"]
    assert json.loads(text)["precision"] == "int8"

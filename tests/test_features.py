"""Features: what the last layer is given, which gives the model's probabilities; other models are refused."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import mien
from mien.errors import ModelError, UsageError
from mien.features import FeatureExtractor
from models import save_brightness


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 48, 48, 1), np.uint8)


@pytest.mark.parametrize("name", ["mien-small", "mien-small-int8"])
def test_the_last_layer_makes_probabilities_of_them(name: str, faces: np.ndarray) -> None:
    model = mien.Classifier(name)
    features = FeatureExtractor(name).extract(faces, batch_size=2)
    graph = onnx.load(model.path).graph
    product = next(node for node in reversed(graph.node) if node.op_type == "MatMul")
    bias = next(node for node in reversed(graph.node) if node.op_type == "Add")
    stored = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    logits = features @ stored[product.input[1]] + next(stored[part] for part in bias.input if part in stored)
    powers = np.exp(logits / model.spec.temperature)
    assert features.dtype == np.float32
    assert powers / powers.sum(axis=1, keepdims=True) == pytest.approx(model.predict(faces), abs=1e-5)


def test_faces_of_any_size(faces: np.ndarray) -> None:
    extractor = FeatureExtractor()
    large = [np.repeat(np.repeat(face[:, :, 0], 2, axis=0), 2, axis=1) for face in faces]
    assert extractor.extract(large) == pytest.approx(extractor.extract(faces), abs=1e-3)
    assert extractor.extract([]).shape == (0, extractor.length) == (0, 256)
    with pytest.raises(UsageError, match="images: must be a list of pictures"):
        extractor.extract(faces[0])


def test_models_without_a_last_layer_are_refused(tmp_path: Path) -> None:
    path = save_brightness(tmp_path / "a.onnx", ("a", "b"), (0.2, 0.8))
    with pytest.raises(ModelError, match=r"a\.onnx: does not end in one dense layer"):
        FeatureExtractor(path)
    (tmp_path / "a.h5").touch()
    with pytest.raises(UsageError, match=r"features are read from \.onnx files; 'mien export' makes one"):
        FeatureExtractor(tmp_path / "a.h5")

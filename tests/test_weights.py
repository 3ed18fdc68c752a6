"""The bundled model: it is what its card says, it reads real faces, and it needs nothing but the light install."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

import mien
from mien import weights
from mien.classifier import Classifier, open_model
from mien.cli import app
from mien.datasets.samples import sample_faces
from mien.datasets.scenes import draw_scene
from mien.errors import ModelError, UsageError
from mien.labels import EXPRESSIONS
from mien.precisions import read_precision

FOLDER = Path(weights.__file__).parent


def test_the_default_is_the_small_network():
    model = open_model("mien-small")
    assert model.classes == EXPRESSIONS
    assert model.spec.parameters <= 2_000_000
    assert weights.find_model() == weights.find_model("mien-small")
    assert weights.find_model("mien-small").stat().st_size <= 5e6


def test_the_large_network_is_another_one_of_the_same_faces():
    large, small = open_model("mien-large"), open_model("mien-small")
    assert (large.classes, large.spec.input, large.spec.crop_margin) == (
        small.classes,
        small.spec.input,
        small.spec.crop_margin,
    )
    assert 4_000_000 < large.spec.parameters <= 7_000_000
    assert weights.find_model("mien-large").stat().st_size <= 14e6
    assert read_precision(weights.find_model("mien-large"))["precision"] == "float16"
    faces = sample_faces(32, seed=4)[0]
    assert np.abs(large.predict(faces) - small.predict(faces)).mean() > 0.01


def test_the_small_network_in_8_bits_answers_as_in_16():
    faces = sample_faces(64, seed=3)[0]
    whole, small = (Classifier(weights.find_model(name)) for name in ("mien-small", "mien-small-int8"))
    assert read_precision(weights.find_model("mien-small-int8"))["precision"] == "int8"
    assert small.classes == whole.classes
    assert small.spec.temperature == whole.spec.temperature
    assert small.spec.crop_margin == whole.spec.crop_margin
    expected, found = (model.predict(faces) for model in (whole, small))
    assert np.abs(expected - found).mean() < 0.02
    assert (expected.argmax(1) == found.argmax(1)).mean() > 0.9
    assert weights.find_model("mien-small-int8").stat().st_size < 1.3e6


def test_who_would_make_a_keras_model_of_the_one_in_8_bits_is_told_of_the_other(tmp_path):
    command = ["export", "mien-small-int8", "--format", "keras", "--out", str(tmp_path / "m.keras")]
    answer = CliRunner().invoke(app, command)
    assert answer.exit_code != 0
    assert "give mien-small, of which it was made" in str(answer.exception) + answer.output


def test_every_bundled_file_is_listed_and_has_a_card():
    assert sorted(path.stem for path in FOLDER.glob("*.onnx")) == sorted(weights.BUNDLED)
    assert sum(path.stat().st_size for path in FOLDER.glob("*.onnx")) <= 17e6
    for name in weights.BUNDLED:
        card = (FOLDER / f"{name}.md").read_text()
        assert f"# {name}" in card
        assert "AI Act" in card
        assert weights.BUNDLED[name] in card


def test_a_changed_file_is_refused(tmp_path, monkeypatch):
    name = next(iter(weights.BUNDLED))
    content = bytearray(weights.find_model(name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / f"{name}.onnx").write_bytes(content)
    monkeypatch.setattr(weights, "__file__", str(tmp_path / "__init__.py"))
    weights._checked.cache_clear()
    try:
        with pytest.raises(ModelError, match="the bundled file is damaged"):
            weights.find_model(name)
    finally:
        weights._checked.cache_clear()


@pytest.mark.parametrize(
    ("files", "advice"),
    [((), "the one in it"), (("model.keras",), "model.keras"), (("model.keras", "model.onnx"), "model.onnx")],
)
def test_a_folder_is_no_model(tmp_path, files, advice):
    for file in files:
        (tmp_path / file).touch()
    with pytest.raises(UsageError, match=rf"is a folder, a model is a file; name .*{advice}$"):
        open_model(tmp_path)


def test_the_folder_of_a_run_without_a_model_is_said_to_be_one(tmp_path):
    (tmp_path / "config.json").touch()
    with pytest.raises(UsageError, match=r"is the folder of a run whose model is not saved yet; .*train --resume"):
        open_model(tmp_path)


@pytest.mark.parametrize("wrong", [3, b"mien-small", ["mien-small"]])
def test_what_is_no_path_is_no_model(wrong):
    with pytest.raises(UsageError, match="model: must be a file or a bundled model's name, received"):
        open_model(wrong)


def test_batch_norm_is_folded():
    kinds = {node.op_type for node in onnx.load(weights.find_model()).graph.node}
    assert "Conv" in kinds
    assert "BatchNormalization" not in kinds


def test_its_description_names_no_folder_of_the_machine_that_trained_it():
    spec = Classifier(weights.find_model()).spec
    text = json.dumps(spec.to_dict())
    assert "/root" not in text
    assert "/home" not in text
    assert spec.trained_on["counts"]["train"]
    assert "public" in spec.scores


def test_it_tells_drawn_expressions_apart_better_than_chance():
    images, labels = sample_faces(70, seed=3)
    answers = mien.Classifier(weights.find_model()).predict(images).argmax(axis=1)
    assert np.mean(answers == labels) > 0.25


def test_predict_uses_it_unasked(tmp_path):
    picture = tmp_path / "scene.png"
    cv2.imwrite(str(picture), draw_scene(1, faces=1).image[..., ::-1])
    result = CliRunner().invoke(app, ["predict", str(picture), "--format", "json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert rows


def test_it_opens_without_keras():
    program = (
        "import sys, mien; import numpy as np; "
        "a = mien.Analyzer(detector='none'); a.analyze(np.zeros((48, 48), np.uint8)); "
        "sys.exit(any(name in sys.modules for name in ('keras', 'tensorflow', 'torch', 'jax')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_it_becomes_a_keras_model_with_the_same_answers(tmp_path):
    target = tmp_path / "small.keras"
    result = CliRunner().invoke(app, ["export", "mien-small", "--format", "keras", "--out", str(target)])
    assert result.exit_code == 0, result.output
    images = np.random.default_rng(0).integers(0, 256, (9, 48, 48, 1), np.uint8)
    expected = Classifier(weights.find_model()).predict(images)
    np.testing.assert_allclose(open_model(target).predict(images), expected, atol=1e-4)


def test_a_classifier_opens_bundled_models_by_name():
    assert Classifier("mien-small").spec == Classifier(weights.find_model("mien-small")).spec

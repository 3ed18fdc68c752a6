"""``mien info MODEL``: what a model file of any kind says of itself, read without running it."""

import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mien import litert
from mien.cli import app
from mien.errors import ModelError, UsageError
from mien.modelfacts import read_facts
from mien.modelspec import METADATA_KEY, ModelSpec, write_beside, write_to_onnx
from mien.preprocessing import InputSpec
from models import save_brightness

SPEC = ModelSpec(
    ("dark", "light"),
    "tiny",
    10,
    InputSpec(size=8),
    temperature=0.5,
    trained_on={"format": "class folders", "n_train": 1234, "n_validation": 20, "validation": "val"},
    scores={"public": {"accuracy": 0.75, "n": 4, "tta": "none"}},
)
NETWORK = {
    "class_name": "Functional",
    "config": {"name": "theirs", "layers": [{"config": {"batch_shape": [None, 8, 8, 1]}}]},
}


def save_archive(path: Path, **members: object) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in members.items():
            archive.writestr(f"{name}.json", json.dumps(value))
    return path


def save_hdf5(path: Path, **attributes: object) -> Path:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        for name, value in attributes.items():
            file.attrs[name] = json.dumps(value)
    return path


def told(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, ["info", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split())


def test_a_described_onnx_says_what_it_is(tmp_path: Path) -> None:
    path = save_brightness(tmp_path / "model.onnx", ("dark", "light"), (0.2, 0.8))
    write_to_onnx(path, SPEC)
    document = json.loads(told(path, "--json"))
    assert document["description"] == SPEC.to_dict()
    assert document["bytes"] == path.stat().st_size
    assert document["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (document["format"], document["described"], document["problem"]) == ("onnx", True, None)
    assert (document["bundled"], document["to_keras"], document["precision"]) == (None, False, {"precision": "float32"})
    assert document["graph"]["inputs"] == [{"name": "x", "type": "float", "shape": ["n", 8, 8, 1]}]
    words = told(path)
    for part in ("dark, light", "8x8 pixels, grey", "temperature 0.5", "class folders: 1,234 images", "75.00% of 4"):
        assert part in words


@pytest.mark.parametrize("name", ["mien-small", "mien-small-int8", "mien-large"])
def test_a_bundled_model_is_told_by_its_bytes(name: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(read_facts(name).path.read_bytes())
    facts = read_facts(copy)
    assert (facts.bundled, read_facts(name).bundled) == (name, name)
    assert facts.to_keras is not name.endswith("int8")
    assert f"as {name}" in told(copy)
    assert ("before its precision was lowered" in told(copy)) is name.endswith("int8")


def test_an_onnx_from_elsewhere_says_what_it_takes_and_how_to_adopt_it(tmp_path: Path) -> None:
    path = save_brightness(tmp_path / "theirs.onnx", ("dark", "light"), (0.2, 0.8), described=False)
    words = told(path)
    assert "takes x: float (n, 8, 8, 1)" in words
    assert "ai.onnx 17; IR version 8" in words
    assert "mien adopt" in words
    facts = read_facts(path)
    assert facts.spec is None
    assert facts.to_dict()["description"] is None


def test_a_description_that_cannot_be_used_is_a_problem_and_no_error(tmp_path: Path) -> None:
    path = save_brightness(tmp_path / "model.onnx", ("dark", "light"), (0.2, 0.8))
    import onnx

    model = onnx.load(path)
    model.metadata_props[0].value = json.dumps({"format_version": 99})
    onnx.save(model, path)
    assert "pip install --upgrade mien" in read_facts(path).problem


def test_keras_files_are_read_without_keras(tmp_path: Path) -> None:
    described = save_archive(
        tmp_path / "a.keras", config=NETWORK, metadata={"keras_version": "3.1"}, mien=SPEC.to_dict()
    )
    assert read_facts(described).spec == SPEC
    alone = save_archive(tmp_path / "b.keras", config=NETWORK, metadata={"keras_version": "3.1"})
    assert "theirs: Functional, takes (any, 8, 8, 1)" in told(alone)
    assert "written by Keras 3.1" in told(alone)
    write_beside(alone, SPEC)
    assert read_facts(alone).spec == SPEC
    code = f"import sys; from mien.modelfacts import read_facts; read_facts({str(described)!r})\n"
    code += "sys.exit(str({'keras', 'tensorflow', 'jax', 'torch', 'matplotlib'} & set(sys.modules)) if {'keras', "
    code += "'tensorflow', 'jax', 'torch', 'matplotlib'} & set(sys.modules) else 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["model.h5", "emotion_model.hdf5"])
def test_hdf5_files_described_or_not(name: str, tmp_path: Path) -> None:
    oldest = {"class_name": "Sequential", "config": [{"config": {"batch_input_shape": [None, 64, 64, 1]}}]}
    path = save_hdf5(tmp_path / name, model_config=oldest)
    assert read_facts(path).network["input_shape"] == [None, 64, 64, 1]
    assert "Sequential, takes (any, 64, 64, 1)" in told(path)
    described = save_hdf5(tmp_path / "own.h5", model_config=NETWORK, **{METADATA_KEY: SPEC.to_dict()})
    assert read_facts(described).spec == SPEC


def test_weights_alone_are_no_model(tmp_path: Path) -> None:
    path = save_hdf5(tmp_path / "theirs.weights.h5", nothing=1)
    with pytest.raises(ModelError, match="weights alone"):
        read_facts(path)


def test_a_tflite_described_or_not(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(np.arange(64, dtype=np.uint8)))
    assert "mien.json" in read_facts(path).problem
    assert "LiteRT" not in read_facts(path).problem
    litert.describe(path, json.dumps(SPEC.to_dict()), json.dumps({"precision": "int8-dynamic"}))
    facts = read_facts(path)
    assert (facts.spec, facts.precision["precision"], facts.to_keras) == (SPEC, "int8-dynamic", False)
    assert "LiteRT (TensorFlow Lite), int8-dynamic" in told(path)


@pytest.mark.parametrize("config", [{"layers": [{"config": None}]}, {"layers": [{"config": {"batch_shape": 5}}]}, [1]])
def test_a_network_of_another_form_has_no_shape(config: object, tmp_path: Path) -> None:
    path = save_archive(tmp_path / "a.keras", config={"class_name": "Theirs", "config": config})
    assert read_facts(path).network["input_shape"] is None


def test_what_is_json_and_no_network(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no network"):
        read_facts(save_hdf5(tmp_path / "a.h5", model_config=[1]))


def test_an_input_whose_shape_is_not_told(tmp_path: Path) -> None:
    import onnx

    path = save_brightness(tmp_path / "theirs.onnx", ("dark", "light"), (0.2, 0.8), described=False)
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.ClearField("shape")
    onnx.save(model, path)
    assert read_facts(path).network["inputs"][0]["shape"] is None
    assert "(any shape)" in told(path)


@pytest.mark.parametrize("suffix", [".onnx", ".tflite", ".keras", ".h5"])
def test_what_is_no_model_is_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"noise{suffix}"
    path.write_bytes(b"this is no model" * 9)
    with pytest.raises(ModelError, match=r"noise\.\w+: "):
        read_facts(path)


def test_other_endings_folders_and_missing_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.pt").touch()
    with pytest.raises(UsageError, match=r"must end in \.onnx.*received '\.pt'"):
        read_facts(tmp_path / "model.pt")
    with pytest.raises(UsageError, match=r"no such file.*or a name: mien-small"):
        read_facts(tmp_path / "model.onnx")
    with pytest.raises(UsageError, match="is a folder"):
        read_facts(tmp_path)


def test_names_in_brackets_are_no_markup(tmp_path: Path) -> None:
    path = save_brightness(tmp_path / "model.onnx", ("[red]", "[/]"), (0.2, 0.8))
    assert "[red], [/]" in told(path)

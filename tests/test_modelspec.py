"""The description of a model: what it may hold, and that it comes back from the file as it was."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import onnx
import onnx.parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import ModelError, UsageError
from mien.modelspec import FORMAT_VERSION, ModelSpec, write_beside, write_to_onnx
from mien.preprocessing import InputSpec

SPEC = ModelSpec(
    classes=("happy", "sad"),
    network="seed",
    parameters=224_391,
    input=InputSpec(size=64, channels=3),
    crop_margin=0.2,
    temperature=1.5,
    trained_on={"format": "FER2013 folder", "n": 28_709, "splits": ["train"]},
    scores={"public": {"accuracy": 0.5}},
)


@pytest.fixture
def onnx_file(tmp_path: Path) -> Path:
    text = '<ir_version: 8, opset_import: ["" : 17]> tiny (float[n] x) => (float[n] y) { y = Identity(x) }'
    path = tmp_path / "model.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    return path


def changed(**values: Any) -> dict[str, Any]:
    return {**SPEC.to_dict(), **values}


def test_it_comes_back_from_json() -> None:
    assert ModelSpec.from_dict(json.loads(json.dumps(SPEC.to_dict()))) == SPEC


@given(
    classes=st.lists(st.text(min_size=1).filter(str.strip), min_size=2, max_size=9, unique=True),
    size=st.integers(8, 1024),
    temperature=st.floats(0.01, 100),
    margin=st.floats(0, 1),
)
def test_any_valid_description_comes_back(classes: list[str], size: int, temperature: float, margin: float) -> None:
    spec = ModelSpec(
        classes=tuple(classes),
        network="any",
        parameters=0,
        input=InputSpec(size=size),
        crop_margin=margin,
        temperature=temperature,
    )
    assert ModelSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("classes", ("happy",)),
        ("classes", ["happy", "sad"]),
        ("classes", ("happy", "happy")),
        ("classes", ("happy", " ")),
        ("classes", ("happy", 3)),
        ("network", ""),
        ("parameters", -1),
        ("parameters", True),
        ("parameters", 1.5),
        ("crop_margin", -0.5),
        ("crop_margin", float("nan")),
        ("crop_margin", "0.1"),
        ("temperature", 0.0),
        ("temperature", float("inf")),
        ("temperature", True),
        ("trained_on", {"n": float("nan")}),
        ("trained_on", {"path": Path("x")}),
        ("scores", [1]),
    ],
)
def test_invalid_values_cannot_be_built(name: str, value: object) -> None:
    with pytest.raises(UsageError, match=name):
        dataclasses.replace(SPEC, **{name: value})


def test_it_does_not_change_with_what_it_was_made_from() -> None:
    trained_on = {"splits": ["train"]}
    spec = dataclasses.replace(SPEC, trained_on=trained_on)
    trained_on["splits"].append("public")
    spec.to_dict()["trained_on"]["splits"].append("private")
    assert spec.trained_on == {"splits": ["train"]}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "JSON object"),
        (changed(colour="RGB"), "unknown keys colour"),
        ({key: value for key, value in SPEC.to_dict().items() if key != "classes"}, "missing keys classes"),
        (changed(format_version="1"), "format_version"),
        (changed(format_version=0), "format_version"),
        (changed(classes="happy"), "classes: must be a list"),
        (changed(input={"size": 48}), "input"),
        (changed(input=changed()["input"] | {"range": [-1, 1]}), "input"),
        (changed(input=changed()["input"] | {"layout": "NCHW"}), "input"),
        (changed(input=changed()["input"] | {"size": 4}), "size"),
        (changed(temperature="warm"), "temperature"),
    ],
)
def test_from_dict_refuses(document: object, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        ModelSpec.from_dict(document)


def test_a_newer_format_says_to_upgrade() -> None:
    newer = {"format_version": FORMAT_VERSION + 1, "mien_version": "9.0", "something": "new"}
    with pytest.raises(ModelError, match=r"mien 9\.0.*pip install --upgrade mien"):
        ModelSpec.from_dict(newer, name="model.onnx")


def test_onnx_round_trip(onnx_file: Path) -> None:
    write_to_onnx(onnx_file, dataclasses.replace(SPEC, network="older"))
    write_to_onnx(onnx_file, SPEC)
    assert ModelSpec.from_onnx(onnx_file) == SPEC
    onnx.checker.check_model(onnx_file)
    assert [path.name for path in onnx_file.parent.iterdir()] == ["model.onnx"]


def test_names_that_are_not_utf8_are_kept(onnx_file: Path) -> None:
    spec = ModelSpec(("a", "b"), "x", 1, InputSpec(size=8), trained_on={"init": "caf\udce9.keras"})
    write_to_onnx(onnx_file, spec)
    assert ModelSpec.from_onnx(onnx_file).trained_on == {"init": "caf\udce9.keras"}


def test_writing_keeps_what_others_wrote(onnx_file: Path) -> None:
    model = onnx.load(onnx_file)
    model.metadata_props.add(key="licence", value="MIT")
    onnx.save(model, onnx_file)
    write_to_onnx(onnx_file, SPEC)
    metadata = {item.key: item.value for item in onnx.load(onnx_file).metadata_props}
    assert metadata["licence"] == "MIT"
    assert json.loads(metadata["mien"])["classes"] == ["happy", "sad"]


def test_an_onnx_file_without_description_says_what_to_do(onnx_file: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.onnx: has no 'mien' metadata.*mien adopt"):
        ModelSpec.from_onnx(onnx_file)


def test_metadata_that_is_not_json(onnx_file: Path) -> None:
    with pytest.raises(ModelError, match="is not JSON"):
        ModelSpec.from_metadata({"mien": "{"}, name=str(onnx_file))


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\x08"])
def test_files_that_are_not_onnx(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.onnx: is not an ONNX"):
        ModelSpec.from_onnx(path)
    with pytest.raises(ModelError, match="is not an ONNX"):
        write_to_onnx(path, SPEC)
    assert path.read_bytes() == content


def test_no_such_onnx_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        ModelSpec.from_onnx(tmp_path / "missing.onnx")


def test_beside_round_trip_leaves_other_keys(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"training": {"epochs": 3}}')
    written = write_beside(tmp_path / "model.keras", SPEC)
    assert written == tmp_path / "config.json"
    assert ModelSpec.beside(tmp_path / "face_detection.h5") == SPEC
    assert json.loads(written.read_text())["training"] == {"epochs": 3}


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, r"no config\.json beside it"), ("{}", "no key 'model'"), ("[]", "JSON object"), ("{", "is not JSON")],
)
def test_beside_says_what_is_wrong(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(ModelError, match=message):
        ModelSpec.beside(tmp_path / "model.keras")


def test_beside_a_config_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ModelError, match="cannot be read"):
        ModelSpec.beside(tmp_path / "model.keras")

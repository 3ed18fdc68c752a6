"""What a model file says of itself, of any kind and wherever it is from, read without running it."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from mien import kerasfiles, litert
from mien.errors import MissingExtraError, ModelError, UsageError
from mien.files import ZIP_DAMAGE
from mien.modelspec import ModelSpec, load_onnx
from mien.precisions import RECIPE_KEY, read_precision
from mien.provenance import file_sha256
from mien.weights import BUNDLED, find_model

FORMATS = {".onnx": "onnx", ".tflite": "litert", ".keras": "keras", ".h5": "h5", ".hdf5": "h5"}
"""File ending to the name of the format, as ``mien export --format`` has it."""

FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)


@dataclass(frozen=True)
class ModelFacts:
    """What is known of a model file.

    Attributes:
        path: where it is.
        format: a value of `FORMATS`.
        size: of the file, in bytes.
        sha256: of the file, 64 hexadecimal digits.
        bundled: the bundled model that has these bytes; None for others.
        spec: its description; None where there is none that can be used.
        problem: why there is none; empty where there is one.
        precision: what `mien.precisions.read_precision` gives; of ``.keras`` and ``.h5`` always ``float32``.
        to_keras: whether 'mien export' makes a Keras model of it.
        network: what its format itself tells, JSON-ready: of ``.onnx`` ``inputs``, ``outputs`` (``name``, ``type``,
            ``shape``), ``parameters``, ``operators``, ``ir_version`` and ``producer``; of ``.keras`` and ``.h5``
            ``kind``, ``name``, ``input_shape`` and ``keras_version``; what a file does not say is None.
    """

    path: Path
    format: str
    size: int
    sha256: str
    bundled: str | None
    spec: ModelSpec | None
    problem: str
    precision: Mapping[str, Any]
    to_keras: bool
    network: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: the description's fields beside those of the file; null where there is no description."""
        spec = None if self.spec is None else self.spec.to_dict()
        return {
            "file": str(self.path),
            "format": self.format,
            "bytes": self.size,
            "sha256": self.sha256,
            "bundled": self.bundled,
            "described": self.spec is not None,
            "problem": self.problem or None,
            "precision": dict(self.precision),
            "to_keras": self.to_keras,
            "description": spec,
            "graph": dict(self.network),
        }


def read_facts(model: str | Path) -> ModelFacts:
    """Read what a model file says of itself. Neither Keras nor TensorFlow is imported, and nothing is run.

    Args:
        model: an ``.onnx``, ``.tflite``, ``.keras``, ``.h5`` or ``.hdf5`` file, described or not, or the name of a
            bundled model.

    Raises:
        UsageError: there is no such file, or its ending is another.
        ModelError: it is not a file of that format, is damaged, or holds no network.
        MissingExtraError: an ``.h5`` needs h5py, which comes with Keras.
    """
    path = find_model(model)
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise UsageError(
            f"{path}: a model file must end in {', '.join(FORMATS)}, received {path.suffix or 'no ending'!r}; bundled "
            f"is {', '.join(BUNDLED)}"
        )
    if not path.is_file():
        raise UsageError(f"{path}: no such file; give the path of a model, or a name: {', '.join(BUNDLED)}")
    network, to_keras = _read_network(path, kind)
    spec, problem = _read_spec(path, kind)
    digest = file_sha256(path)
    return ModelFacts(
        path,
        kind,
        path.stat().st_size,
        digest,
        next((name for name, known in BUNDLED.items() if known == digest), None),
        spec,
        problem,
        read_precision(path) if kind in ("onnx", "litert") else {"precision": "float32"},
        to_keras and spec is not None,
        network,
    )


def _read_spec(path: Path, kind: str) -> tuple[ModelSpec | None, str]:
    """The description, or why there is none that can be used."""
    read = {"onnx": ModelSpec.from_onnx, "litert": litert.read_spec}.get(kind, kerasfiles.read_spec)
    try:
        return read(path), ""
    except ModelError as error:
        return None, str(error).removeprefix(f"{path}: ")


def _read_network(path: Path, kind: str) -> tuple[dict[str, Any], bool]:
    """What the format itself tells, and whether the file holds a Keras model or what makes one of it.

    Raises:
        ModelError: it is not a file of that format.
    """
    if kind == "onnx":
        model = load_onnx(path)
        return _onnx_facts(model), any(item.key == RECIPE_KEY for item in model.metadata_props)
    if kind == "litert":
        litert.read_precision(path)
        return {}, False
    return _keras_facts(path), True


def _onnx_facts(model: Any) -> dict[str, Any]:
    stored = {item.name for item in model.graph.initializer}
    operators = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    sizes = (math.prod(item.dims) for item in model.graph.initializer if item.data_type in FLOATS)
    return {
        "inputs": [_tensor(value) for value in model.graph.input if value.name not in stored],
        "outputs": [_tensor(value) for value in model.graph.output],
        "parameters": sum(sizes),
        "operators": operators,
        "ir_version": model.ir_version,
        "producer": f"{model.producer_name} {model.producer_version}".strip() or None,
    }


def _tensor(value: Any) -> dict[str, Any]:
    """An input or output: its name, its type and its shape, of which a name or None stands for what is free."""
    kind = value.type.tensor_type
    dims = [dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or None) for dim in kind.shape.dim]
    shape = dims if kind.HasField("shape") else None
    return {"name": value.name, "type": onnx.TensorProto.DataType.Name(kind.elem_type).lower(), "shape": shape}


def _keras_facts(path: Path) -> dict[str, Any]:
    """What a ``.keras`` or ``.h5`` file says of the network in it, without Keras.

    Raises:
        ModelError: it is neither, is damaged, or holds weights alone.
    """
    config, version = _from_archive(path) if zipfile.is_zipfile(path) else _from_hdf5(path)
    if not isinstance(config, dict):
        raise ModelError(f"{path}: holds no network, perhaps its weights alone; save the whole model: model.save(...)")
    inner = config.get("config")
    inner = inner if isinstance(inner, Mapping) else {"layers": inner}  # a Sequential of the first Keras
    layers = inner.get("layers")
    first = layers[0].get("config") if isinstance(layers, list) and layers and isinstance(layers[0], dict) else None
    shape = (first.get("batch_shape") or first.get("batch_input_shape")) if isinstance(first, dict) else None
    return {
        "kind": config.get("class_name"),
        "name": inner.get("name"),
        "input_shape": shape if isinstance(shape, list) else None,
        "keras_version": version,
    }


def _from_archive(path: Path) -> tuple[Any, str | None]:
    try:
        with zipfile.ZipFile(path) as archive:
            there = archive.namelist()
            texts = [archive.read(name) if name in there else b"null" for name in ("config.json", "metadata.json")]
        config, metadata = map(json.loads, texts)
    except ZIP_DAMAGE as error:
        raise ModelError(f"{path}: is damaged ({kerasfiles.first_line(error)})") from error
    version = metadata.get("keras_version") if isinstance(metadata, dict) else None
    return config, version


def _from_hdf5(path: Path) -> tuple[Any, str | None]:
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError(f"reading {path.suffix} files", "train") from error
    try:
        with h5py.File(path) as file:
            texts = [file.attrs.get(name) for name in ("model_config", "keras_version")]
    except OSError as error:
        raise ModelError(f"{path}: is neither a .keras archive nor an HDF5 file; it may be cut short") from error
    try:
        config, version = (text.decode() if isinstance(text, bytes) else text for text in texts)
        return (None if config is None else json.loads(config)), version
    except ValueError as error:
        raise ModelError(f"{path}: is damaged: what it says of its network is not JSON ({error})") from error

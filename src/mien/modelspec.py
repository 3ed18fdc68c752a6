"""What a model file says about itself: everything a reader needs, so that nothing is guessed.

An ``.onnx`` carries it in its metadata, as JSON under the key ``mien``. A ``.keras`` or ``.h5`` carries it inside too
(`mien.export` writes and reads it there); one that does not may have it in the ``config.json`` of its folder, under the
key ``model``. docs/model-format.md describes every field.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self, TypeGuard

from mien import __version__
from mien.errors import ModelError, UsageError
from mien.files import replacing, write_json
from mien.preprocessing import InputSpec

FORMAT_VERSION = 1
"""Raised whenever an older reader would misread what a newer writer wrote."""

METADATA_KEY = "mien"
"""The key among an ONNX file's metadata_props."""

MEMBER = "mien.json"
"""The description's name inside a ``.keras`` or ``.tflite`` file."""

CONFIG_NAME = "config.json"
CONFIG_KEY = "model"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model's description.

    Attributes:
        classes: names of the outputs, in output order; two or more, no two alike.
        network: name of the architecture.
        parameters: how many weights it has, trained or not.
        input: size and colour of the pictures it takes, float32 (n, size, size, channels) in [0, 1].
        crop_margin: a face is cut out as a square around its box, as large as the larger side, widened on each side by
            this fraction of it; -0.4 to 1.
        temperature: probabilities are softmax(log p / temperature), 0.01 to 100; 1 leaves them as they are.
        trained_on: what it learned from: format, n, digest, splits, recipe... JSON-ready; a copy is kept.
        scores: what it scored, by split: JSON-ready; a copy is kept.
        mien_version: the version that wrote it.

    Raises:
        UsageError: a field is not what it must be.
    """

    classes: tuple[str, ...]
    network: str
    parameters: int
    input: InputSpec = field(default_factory=InputSpec)
    crop_margin: float = 0.0
    temperature: float = 1.0
    trained_on: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    mien_version: str = __version__

    def __post_init__(self) -> None:
        check_classes(self.classes)
        _check_text("network", self.network)
        _check_text("mien_version", self.mien_version)
        if not _is_whole(self.parameters) or self.parameters < 0:
            raise UsageError(f"parameters: must be a whole number, 0 or more, received {self.parameters!r}")
        _check_number("crop_margin", self.crop_margin, -0.4, 1.0)
        _check_number("temperature", self.temperature, 0.01, 100.0)
        for name in ("trained_on", "scores"):
            object.__setattr__(self, name, _json_copy(name, getattr(self, name)))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; `from_dict` takes it back."""
        return {
            "format_version": FORMAT_VERSION,
            "classes": list(self.classes),
            "input": _input_to_dict(self.input),
            "crop_margin": float(self.crop_margin),
            "temperature": float(self.temperature),
            "network": self.network,
            "parameters": self.parameters,
            "trained_on": _json_copy("trained_on", self.trained_on),
            "scores": _json_copy("scores", self.scores),
            "mien_version": self.mien_version,
        }

    @classmethod
    def from_dict(cls, data: object, *, name: str = "model description") -> Self:
        """Take back what `to_dict` gave.

        Args:
            data: the dict.
            name: what errors call it, such as the file's path.

        Raises:
            ModelError: it was written in a newer format, keys are unknown or missing, or a value is not allowed.
        """
        if not isinstance(data, Mapping):
            raise ModelError(f"{name}: the description must be a JSON object, received {type(data).__name__}")
        _check_version(data, name)
        values = {key: value for key, value in data.items() if key != "format_version"}
        _check_keys(values, {item.name for item in fields(cls)}, name)
        try:
            values |= {"classes": _read_classes(values["classes"]), "input": _read_input(values["input"])}
            return cls(**values)
        except UsageError as error:
            raise ModelError(f"{name}: {error}") from error

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], *, name: str) -> Self:
        """Read the description out of an ONNX file's metadata properties.

        Raises:
            ModelError: there is none, or it cannot be used.
        """
        text = metadata.get(METADATA_KEY)
        if text is None:
            raise ModelError(
                f"{name}: has no {METADATA_KEY!r} metadata, so its class names, input size and scaling are unknown; "
                "where it is not from mien, 'mien adopt FILE --classes A,B,... --out NEW.onnx' makes one that says them"
            )
        return cls.from_dict(_parse(text, f"{name}: metadata {METADATA_KEY!r}"), name=name)

    @classmethod
    def from_onnx(cls, path: str | Path) -> Self:
        """Read the description of an ``.onnx`` file without running it.

        Raises:
            UsageError: there is no such file.
            ModelError: it is not an ONNX file, or has no usable description.
        """
        properties = load_onnx(Path(path)).metadata_props
        return cls.from_metadata({item.key: item.value for item in properties}, name=str(path))

    @classmethod
    def beside(cls, path: str | Path) -> Self:
        """Read the description of a ``.keras`` or ``.h5`` file from the ``config.json`` in its folder.

        Raises:
            ModelError: there is no such file, it has no key ``model``, or its value cannot be used.
        """
        config = Path(path).parent / CONFIG_NAME
        if not config.is_file():
            raise ModelError(
                f"{path}: no {CONFIG_NAME} beside it, so its class names and input size are unknown; keep the model in "
                "its run folder; where it is not from mien, 'mien adopt FILE --classes A,B,... --out NEW.keras' makes "
                "one that says them"
            )
        data = _read_config(config)
        if CONFIG_KEY not in data:
            raise ModelError(f"{config}: has no key {CONFIG_KEY!r}; 'mien train' and 'mien export' write it")
        return cls.from_dict(data[CONFIG_KEY], name=str(config))


def write_to_onnx(path: str | Path, spec: ModelSpec) -> None:
    """Put a description into an ``.onnx`` file, in place of any that is there.

    Raises:
        UsageError: there is no such file.
        ModelError: it is not an ONNX file.
    """
    path = Path(path)
    model = load_onnx(path)
    others = [(item.key, item.value) for item in model.metadata_props if item.key != METADATA_KEY]
    del model.metadata_props[:]
    for key, value in [*others, (METADATA_KEY, json.dumps(spec.to_dict()))]:
        model.metadata_props.add(key=key, value=value)
    with replacing(path) as temporary:
        temporary.write_bytes(model.SerializeToString())


def copy_onnx(source: Path, target: Path) -> None:
    """Copy an ``.onnx`` file; weights in files beside it, as PyTorch's exporter puts them, are taken into the copy.

    Raises:
        UsageError: there is no such file.
        ModelError: it is not an ONNX file, or its weights are not beside it.
    """
    import onnx

    graph = load_onnx(source).graph
    if not any(onnx.external_data_helper.uses_external_data(tensor) for tensor in graph.initializer):
        shutil.copyfile(source, target)
        return
    try:
        whole = onnx.load(source)
    except (OSError, onnx.checker.ValidationError) as error:
        raise ModelError(f"{source}: its weights lie in files beside it, which cannot be read ({error})") from error
    target.write_bytes(whole.SerializeToString())


def write_beside(path: str | Path, spec: ModelSpec) -> Path:
    """Put a description into the ``config.json`` of a model's folder, leaving its other keys; returns that file.

    Raises:
        ModelError: the ``config.json`` that is there cannot be read.
    """
    config = Path(path).parent / CONFIG_NAME
    data = _read_config(config) if config.is_file() else {}
    write_json(config, {**data, CONFIG_KEY: spec.to_dict()})
    return config


def load_onnx(path: Path) -> Any:
    """An ``.onnx`` file as ONNX's own object, without weights that lie in files beside it.

    Raises:
        UsageError: there is no such file.
        ModelError: it is not an ONNX file.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped,unused-ignore]

    if not path.is_file():
        raise UsageError(f"{path}: no such file; give the path of an .onnx model")
    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise ModelError(f"{path}: is not an ONNX file; it may be cut short, or of another kind") from error
    if not model.graph.node:
        raise ModelError(f"{path}: is not an ONNX model: it holds no graph")
    return model


def _read_config(path: Path) -> dict[str, Any]:
    try:
        data = _parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: cannot be read ({error})") from error
    if not isinstance(data, dict):
        raise ModelError(f"{path}: must hold a JSON object, received {type(data).__name__}")
    return data


def _parse(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ModelError(f"{name}: is not JSON ({error})") from error


def _check_version(data: Mapping[str, Any], name: str) -> None:
    version = data.get("format_version")
    if not _is_whole(version) or version < 1:
        raise ModelError(f"{name}: format_version must be a whole number, 1 or more, received {version!r}")
    if version > FORMAT_VERSION:
        raise ModelError(
            f"{name}: written in format {version} by mien {data.get('mien_version', '(unknown)')}, but this is mien "
            f"{__version__}, which reads up to {FORMAT_VERSION}: pip install --upgrade mien"
        )


def _check_keys(data: Mapping[str, Any], known: set[str], name: str) -> None:
    unknown, missing = sorted(set(data) - known), sorted(known - set(data))
    if unknown:
        raise ModelError(f"{name}: unknown keys {', '.join(unknown)}; allowed are {', '.join(sorted(known))}")
    if missing:
        raise ModelError(f"{name}: missing keys {', '.join(missing)}")


def _input_to_dict(spec: InputSpec) -> dict[str, Any]:
    return {
        "size": spec.size,
        "channels": spec.channels,
        "colour": "grey" if spec.channels == 1 else "RGB",
        "layout": "NHWC",
        "dtype": "float32",
        "range": [0.0, 1.0],
    }


def _read_input(data: object) -> InputSpec:
    """Take back what `_input_to_dict` gave. Anything else is refused, not taken for the nearest thing."""
    if not isinstance(data, Mapping) or not _is_whole(data.get("size")) or not _is_whole(data.get("channels")):
        raise UsageError(f"input: must be an object with whole numbers 'size' and 'channels', received {data!r}")
    spec = InputSpec(size=data["size"], channels=data["channels"])
    if dict(data) != _input_to_dict(spec):
        raise UsageError(f"input: this version reads {_input_to_dict(spec)}, received {dict(data)}")
    return spec


def _read_classes(data: object) -> tuple[str, ...]:
    if not isinstance(data, list):
        raise UsageError(f"classes: must be a list of names, received {data!r}")
    return tuple(data)


def check_classes(classes: object) -> None:
    """Refuse what are not two or more different names.

    Raises:
        UsageError: says what was received.
    """
    if not isinstance(classes, tuple) or len(classes) < 2:
        raise UsageError(f"classes: must be a tuple of two or more names, received {classes!r}")
    for name in classes:
        _check_text("classes", name)
    if len(set(classes)) != len(classes):
        raise UsageError(f"classes: no two names may be alike, received {classes!r}")


def _check_text(argument: str, value: object) -> None:
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{argument}: must be a name that is not empty, received {value!r}")


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_number(argument: str, value: object, least: float, most: float) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
        raise UsageError(f"{argument}: must be a number from {least:g} to {most:g}, received {value!r}")


def _json_copy(argument: str, value: object) -> Any:
    if not isinstance(value, dict):
        raise UsageError(f"{argument}: must be a dict, received {type(value).__name__}")
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise UsageError(f"{argument}: must hold only what JSON can ({error})") from error

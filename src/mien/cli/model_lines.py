"""What ``mien info MODEL`` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mien.datasets.origins import of_others
from mien.errors import many

if TYPE_CHECKING:
    from mien.modelfacts import ModelFacts
    from mien.modelspec import ModelSpec

FORMAT_NAMES = {"onnx": "ONNX", "litert": "LiteRT (TensorFlow Lite)", "keras": "Keras", "h5": "HDF5 of Keras"}


def model_lines(facts: ModelFacts) -> list[tuple[str, str]]:
    """Name and value of each fact, for people."""
    from mien.frames import printable

    lines = [
        *_file_lines(facts),
        *(_network_lines(facts) if facts.spec is None else _spec_lines(facts.spec, facts.precision)),
    ]
    if facts.spec is None:
        lines.append(("description", f"none that can be used: {facts.problem}"))
    elif facts.to_keras:
        lines.append(("Keras", "mien export makes a Keras model of it"))
    else:
        lines.append(("Keras", "no Keras model can be made of it: take the file that it was made from"))
    return [(name, printable(value)) for name, value in lines]


def _file_lines(facts: ModelFacts) -> Iterator[tuple[str, str]]:
    yield "file", str(facts.path)
    if facts.bundled:
        yield "bundled", f"as {facts.bundled}"
    yield "format", FORMAT_NAMES[facts.format] + (f", {_precision(facts.precision)}" if facts.spec else "")
    yield "size", f"{many(facts.size, 'byte')}"
    yield "SHA-256", facts.sha256


def _precision(precision: Mapping[str, Any]) -> str:
    """``int8 (on 512 images, 97.3% get the same class as in float32)``."""
    name = str(precision["precision"])
    if not {"images", "agreement"} <= precision.keys():
        return name
    return (
        f"{name} (of {_counted(precision['images'], 'image')}, {precision['agreement']:.1%} get the same class as "
        "in float32)"
    )


def _spec_lines(spec: ModelSpec, precision: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    data, grey = spec.trained_on, spec.input.channels == 1
    yield "network", f"{spec.network}, {many(spec.parameters, 'parameter')}"
    yield "classes", ", ".join(spec.classes)
    yield "input", f"{spec.input.size}x{spec.input.size} pixels, {'grey (1 channel)' if grey else 'RGB (3 channels)'}"
    yield "crop margin", f"{spec.crop_margin:g}"
    yield "temperature", f"{spec.temperature:g}{_fitted(data.get('calibration'))}"
    yield "trained on", _learnt(data)
    if isinstance(recipe := data.get("recipe"), Mapping):
        yield "recipe", _recipe(recipe)
    if members := data.get("members"):
        yield "members", f"{len(members)}, of whose probabilities it gives the mean"
    rounded = str(precision["precision"]).startswith("int8") and spec.scores
    yield "scores", f"{_scores(spec.scores)}{', before its precision was lowered' if rounded else ''}"
    yield "written by", f"mien {spec.mien_version}"


def _fitted(noted: object) -> str:
    if not isinstance(noted, Mapping) or not {"split", "n"} <= noted.keys():
        return ""
    return f", fitted on {_counted(noted['n'], 'picture')} of {noted['split']}"


def _learnt(data: Mapping[str, Any]) -> str:
    """What it learned from, as far as its file says."""
    if not {"format", "n_train"} <= data.keys():
        return "not stated"
    said = f"{data['format']}: {_counted(data['n_train'], 'image')} of its training split"
    if data.get("n_validation"):
        said += f"; watched on {_count(data['n_validation'])} ({data.get('validation')}{of_others(data)})"
    return said + ("; each cut to the face that was found in it" if data.get("detect_faces") else "")


def _recipe(recipe: Mapping[str, Any]) -> str:
    """The settings that people ask for first; ``--json`` has them all."""
    names = (
        *("epochs", "batch_size", "optimizer", "learning_rate", "schedule", "weight_decay", "label_smoothing", "mixup"),
        *("sam", "ema", "class_weights", "seed", "init", "teachers"),
    )
    told = ((name, recipe.get(name)) for name in names)
    return ", ".join(
        f"{name.replace('_', ' ')} {', '.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in told
        if value or (name == "seed" and value == 0)
    )


def _scores(scores: Mapping[str, Any]) -> str:
    words = [
        f"{split} {score['accuracy']:.2%} of {_count(score.get('n'))}, tta {score.get('tta')}"
        for split, score in scores.items()
        if isinstance(score, Mapping) and isinstance(score.get("accuracy"), float | int)
    ]
    return "; ".join(words) or "not stated"


def _count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _counted(value: object, what: str) -> str:
    """What a file says that there were so many of, which need not be a number."""
    return many(value, what) if isinstance(value, int) else f"{value} {what}s"


def _network_lines(facts: ModelFacts) -> Iterator[tuple[str, str]]:
    """What a file from elsewhere says, for whoever wants to adopt it."""
    found = facts.network
    for name, key in (("takes", "inputs"), ("gives", "outputs")):
        for tensor in found.get(key, ()):
            shape = "any shape" if tensor["shape"] is None else _shape(tensor["shape"])
            yield name, f"{tensor['name']}: {tensor['type']} ({shape})"
    if "operators" in found:
        operators = ", ".join(f"{domain} {version}" for domain, version in found["operators"].items())
        yield "operators", f"{operators}; IR version {found['ir_version']}"
        yield "parameters", f"{found['parameters']:,}"
        yield "written by", found["producer"] or "not stated"
    if "kind" in found:
        shape = found["input_shape"]
        takes = "" if shape is None else f", takes ({_shape(shape)})"
        yield "network", f"{found['name'] or 'without a name'}: {found['kind']}{takes}"
        yield "written by", f"Keras {found['keras_version'] or '(version not stated)'}"


def _shape(lengths: Sequence[object]) -> str:
    return ", ".join("any" if length is None else str(length) for length in lengths)

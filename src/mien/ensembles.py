"""Several models as one ``.onnx`` file that gives the mean of their probabilities.

The mean of networks that differ in their random start is more accurate than any of them (Hansen & Salamon 1990). One
file works wherever an ``.onnx`` is run: `mien predict`, `mien evaluate`, `Classifier`. It cannot be turned back into a
Keras model: to teach by an ensemble, name its members as teachers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import compose, helper, version_converter
from onnx.inliner import inline_local_functions

from mien import litert
from mien.classifier import KERAS_SUFFIXES, Classifier
from mien.errors import ModelError, UsageError, many
from mien.files import refuse_existing, replacing
from mien.kerasfiles import first_line
from mien.modelspec import ModelSpec, write_to_onnx
from mien.precisions import PRECISION_KEY, PRECISIONS, read_precision
from mien.weights import find_model

TOLERANCE = 1e-5
"""Largest difference between the file's probabilities and the mean of its members'."""


def save_ensemble(members: Sequence[str | Path], destination: str | Path, *, force: bool = False) -> Path:
    """Write the mean of several ``.onnx`` models as one; kept only if it agrees with them.

    Args:
        members: two or more files, or names of bundled models, with the same input and the same classes, whose order
            is the first one's.
        destination: an ``.onnx`` file.
        force: replace a file that is there.

    Returns:
        The file that was written.

    Raises:
        UsageError: fewer than two members, members that do not fit each other, or a destination that exists.
        ModelError: a member cannot be read, or the result differs from the members' mean.
    """
    target = Path(destination)
    if isinstance(members, str | Path):
        raise UsageError(f"members: must be a list of two models or more, received {members}")
    if len(members) < 2:
        raise UsageError(f"members: an ensemble needs two models or more, received {len(members)}")
    if target.suffix != ".onnx":
        raise UsageError(f"{target}: an ensemble is written to a file that ends in .onnx")
    files = [find_model(member) for member in members]
    if any(path.resolve() == target.resolve() for path in files):
        raise UsageError(f"{target}: is one of the members, which would be lost; name another file")
    refuse_existing(target, force=force)
    opened = [_open(path) for path in files]
    spec = _common_spec(opened)
    merged = _merge([onnx.load(path) for path in files], [member.spec for member in opened])
    precision = max((read_precision(path)["precision"] for path in files), key=PRECISIONS.index)
    if precision != "float32":
        onnx.helper.set_model_props(merged, {PRECISION_KEY: json.dumps({"precision": precision})})
    with replacing(target) as temporary:
        onnx.save(merged, temporary)
        write_to_onnx(temporary, spec)
        _check(Classifier(temporary, device="cpu"), opened, str(target))
    return target


def _open(path: Path) -> Classifier:
    """Open a member on the CPU, whose arithmetic is the same for all of them.

    Raises:
        UsageError: there is no such file, or it is not an ``.onnx``.
        ModelError: it cannot be read.
    """
    if path.suffix.lower() in KERAS_SUFFIXES:
        raise UsageError(f"members: {path} is not an .onnx file; 'mien export {path} --format onnx' makes one of it")
    litert.refuse(path, "made part of an ensemble")
    return Classifier(path, device="cpu")


def _common_spec(members: Sequence[Classifier]) -> ModelSpec:
    """The description of the ensemble.

    Raises:
        UsageError: the members do not fit each other.
    """
    first = members[0].spec
    for member in members:
        if differ := [words for words, own, other in _sees(member.spec, first) if own != other]:
            raise UsageError(
                f"members: {member.path} has {', '.join(differ)} than {members[0].path}; an ensemble's members must "
                "have the same"
            )
    return ModelSpec(
        first.classes,
        f"ensemble of {len(members)}: {', '.join(member.spec.network for member in members)}",
        sum(member.spec.parameters for member in members),
        first.input,
        crop_margin=first.crop_margin,
        trained_on={**_agreed(members), "members": [dict(member.spec.trained_on) for member in members]},
    )


def _sees(spec: ModelSpec, first: ModelSpec) -> list[tuple[str, object, object]]:
    """What decides which pictures a model is given, and what its outputs mean: in words, its own and the first's."""
    one, other = spec.input, first.input
    pictures = f"another input ({one.size}x{one.size} with {many(one.channels, 'channel')}"
    cut, cuts = (bool(member.trained_on.get("detect_faces", False)) for member in (spec, first))
    return [
        (f"{pictures}, not {other.size}x{other.size} with {other.channels})", one, other),
        (f"other classes ({', '.join(spec.classes)})", sorted(spec.classes), sorted(first.classes)),
        (f"another crop margin ({spec.crop_margin:g}, not {first.crop_margin:g})", spec.crop_margin, first.crop_margin),
        ("another cut to the face in training", cut, cuts),
    ]


def _agreed(members: Sequence[Classifier]) -> dict[str, Any]:
    """What all members say alike of what they learned from."""
    first, *others = (member.spec.trained_on for member in members)
    agreed = {key: value for key, value in first.items() if all(key in one and one[key] == value for one in others)}
    agreed.pop("calibration", None)  # of their temperatures, which are in the graph; the ensemble has none of its own
    return agreed


def _merge(members: Sequence[Any], specs: Sequence[ModelSpec]) -> Any:
    """One graph: the members side by side on one input, and the mean of their outputs.

    Each is brought to its own temperature, and to the first one's order of classes.
    """
    members = _of_one_version([inline_local_functions(member) if member.functions else member for member in members])
    opsets = {(entry.domain, entry.version) for member in members for entry in member.opset_import}
    if len(opsets) != len({domain for domain, _ in opsets}):
        raise UsageError("members: were exported with different versions of ONNX's operators; export them anew")
    parts = [compose.add_prefix(member, f"m{index}/") for index, member in enumerate(members)]
    faces = onnx.ValueInfoProto()
    faces.CopyFrom(members[0].graph.input[0])
    nodes = [helper.make_node("Identity", [faces.name], [part.graph.input[0].name]) for part in parts]
    nodes += [node for part in parts for node in part.graph.node]
    probabilities = onnx.ValueInfoProto()
    probabilities.CopyFrom(members[0].graph.output[0])
    initializers = [item for part in parts for item in part.graph.initializer]
    outputs = [part.graph.output[0].name for part in parts]
    for index, spec in enumerate(specs):
        if spec.temperature != 1.0:
            scaling, constant, outputs[index] = _scaled(outputs[index], f"m{index}/temperature", spec.temperature)
            nodes += scaling
            initializers.append(constant)
        if spec.classes != specs[0].classes:
            order, name = np.array(_order(spec, specs[0]), np.int64), f"m{index}/order"
            initializers.append(onnx.numpy_helper.from_array(order, name))
            nodes.append(helper.make_node("Gather", [outputs[index], name], [f"{name}/ed"], axis=1))
            outputs[index] = f"{name}/ed"
    nodes.append(helper.make_node("Mean", outputs, [probabilities.name]))
    graph = helper.make_graph(nodes, "ensemble", [faces], [probabilities], initializers)
    merged = helper.make_model(graph, opset_imports=[helper.make_opsetid(*entry) for entry in sorted(opsets)])
    merged.ir_version = max(4, *(member.ir_version for member in members))  # below 4, weights are inputs too
    return merged


def _order(spec: ModelSpec, first: ModelSpec) -> list[int]:
    """Where each class of the first model stands in another one's output."""
    return [spec.classes.index(name) for name in first.classes]


def _of_one_version(members: Sequence[Any]) -> Sequence[Any]:
    """The members with ONNX's operators of the newest version among them, where its converter can bring them there."""
    versions = [next((e.version for e in member.opset_import if not e.domain), 0) for member in members]
    try:
        return [
            member if version == max(versions) else version_converter.convert_version(member, max(versions))
            for member, version in zip(members, versions, strict=True)
        ]
    except Exception as error:  # the converter's are RuntimeError and others
        raise UsageError(
            "members: were exported with different versions of ONNX's operators, and cannot be brought to one "
            f"({first_line(error)}); export them anew"
        ) from error


def _scaled(output: str, name: str, temperature: float) -> tuple[list[Any], Any, str]:
    """Nodes for softmax(log p / temperature), which is p^(1 / temperature) over its sum; their constant and output."""
    constant = onnx.numpy_helper.from_array(np.array([1 / temperature], np.float32), f"{name}/power")
    nodes = [
        helper.make_node("Pow", [output, constant.name], [f"{name}/powers"]),
        helper.make_node("LpNormalization", [f"{name}/powers"], [f"{name}/shares"], axis=-1, p=1),
    ]
    return nodes, constant, f"{name}/shares"


def _check(ensemble: Classifier, members: Sequence[Classifier], name: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, *ensemble.spec.input.shape), np.uint8)
    first = members[0].spec
    mean = np.mean([member.predict(images)[:, _order(member.spec, first)] for member in members], axis=0)
    difference = float(np.abs(ensemble.predict(images) - mean).max())
    if not difference <= TOLERANCE:
        raise ModelError(f"{name}: differs from the mean of its members by {difference:.2g}; it was not kept")

"""Several models as one ``.onnx`` file that gives the mean of their probabilities.

The mean of networks that differ in their random start is more accurate than any of them (Hansen & Salamon 1990), and
makes a good teacher. One file works wherever a model does: `mien predict`, `mien evaluate`, `Classifier`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import compose, helper

from mien.classifier import Classifier
from mien.errors import ModelError, UsageError
from mien.files import replacing
from mien.modelspec import ModelSpec, write_to_onnx

TOLERANCE = 1e-5
"""Largest difference between the file's probabilities and the mean of its members'."""


def save_ensemble(members: Sequence[str | Path], destination: str | Path, *, force: bool = False) -> Path:
    """Write the mean of several ``.onnx`` models as one; kept only if it agrees with them.

    Args:
        members: two or more files with the same input and the same classes.
        destination: an ``.onnx`` file.
        force: replace a file that is there.

    Returns:
        The file that was written.

    Raises:
        UsageError: fewer than two members, members that do not fit each other, or a destination that exists.
        ModelError: a member cannot be read, or the result differs from the members' mean.
    """
    target = Path(destination)
    if len(members) < 2:
        raise UsageError(f"members: an ensemble needs two models or more, received {len(members)}")
    if target.suffix != ".onnx":
        raise UsageError(f"{target}: an ensemble is written to a file that ends in .onnx")
    if target.exists() and not force:
        raise UsageError(f"{target}: already exists; name another file, or replace it with --force")
    opened = [Classifier(path) for path in members]
    spec = _common_spec(opened)
    with replacing(target) as temporary:
        onnx.save(_merge([onnx.load(path) for path in members]), temporary)
        write_to_onnx(temporary, spec)
        _check(Classifier(temporary), opened, str(target))
    return target


def _common_spec(members: Sequence[Classifier]) -> ModelSpec:
    """The description of the ensemble.

    Raises:
        UsageError: the members do not fit each other.
    """
    first = members[0].spec
    for member in members:
        spec = member.spec
        if (spec.input, spec.classes, spec.crop_margin) != (first.input, first.classes, first.crop_margin):
            raise UsageError(
                f"members: {member.path} has another input, other classes or another margin than {members[0].path}; an "
                "ensemble's members must have the same"
            )
        if spec.temperature != 1.0:
            raise UsageError(f"members: {member.path} is calibrated; merge models first, calibrate the ensemble then")
    return ModelSpec(
        first.classes,
        f"ensemble of {len(members)}: {', '.join(member.spec.network for member in members)}",
        sum(member.spec.parameters for member in members),
        first.input,
        crop_margin=first.crop_margin,
        trained_on={**first.trained_on, "members": [dict(member.spec.trained_on) for member in members]},
    )


def _merge(members: Sequence[Any]) -> Any:
    """One graph: the members side by side on one input, and the mean of their outputs."""
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
    nodes.append(helper.make_node("Mean", [part.graph.output[0].name for part in parts], [probabilities.name]))
    initializers = [item for part in parts for item in part.graph.initializer]
    graph = helper.make_graph(nodes, "ensemble", [faces], [probabilities], initializers)
    merged = helper.make_model(graph, opset_imports=[helper.make_opsetid(*entry) for entry in sorted(opsets)])
    merged.ir_version = max(member.ir_version for member in members)
    return merged


def _check(ensemble: Classifier, members: Sequence[Classifier], name: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, *ensemble.spec.input.shape), np.uint8)
    mean = np.mean([member.predict(images) for member in members], axis=0)
    difference = float(np.abs(ensemble.predict(images) - mean).max())
    if not difference <= TOLERANCE:
        raise ModelError(f"{name}: differs from the mean of its members by {difference:.2g}; it was not kept")

"""From ``.onnx`` back to Keras.

An exported graph no longer has Keras's weights: kernels are transposed, batch norm is folded into them. What brings
them back is a recipe, written into the file's metadata at export under ``mien.keras``: the network's architecture; for
each kernel the initializer that holds it, how its axes lie, and what each output channel was multiplied by; all small
vectors (biases, batch norm) as they are. It adds a few kilobytes. From a file whose weights are stored as float16 come
back the float16 ones.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from mien.backend import set_weights
from mien.errors import ModelError
from mien.files import replacing
from mien.kerasfiles import first_line
from mien.precisions import RECIPE_KEY, SMALL
from mien.weights import find_model

ORDERS: dict[int, tuple[tuple[int, ...], ...]] = {2: ((0, 1), (1, 0)), 4: ((3, 2, 0, 1), (0, 1, 2, 3), (2, 3, 0, 1))}
"""How a Keras kernel's axes may lie in an ONNX initializer, by its rank; the first is the usual one."""

TOLERANCE = 1e-5
"""By how much a kernel times its channels' factors may differ from the initializer, of that and of the largest."""


def write_recipe(path: Path, model: keras.Model) -> bool:
    """Add the recipe to an exported file; tells whether all weights were found in it.

    Args:
        path: the ``.onnx`` file, which is changed.
        model: the Keras model it was exported from.
    """
    graph = onnx.load(path)
    stored = _stored(graph.graph)
    weights = [_entry(np.asarray(weight), stored) for weight in model.get_weights()]
    if any(entry is None for entry in weights):
        return False
    recipe = {"architecture": json.loads(model.to_json()), "weights": weights}
    graph.metadata_props.add(key=RECIPE_KEY, value=json.dumps(recipe))
    with replacing(path) as temporary:
        temporary.write_bytes(graph.SerializeToString())
    return True


def restore(path: Path) -> keras.Model:
    """Build the Keras model that an ``.onnx`` file was exported from.

    Raises:
        ModelError: the file has no recipe, or one that does not fit it.
    """
    graph = onnx.load(path)
    try:
        recipe = json.loads(_recipe(graph, path))
        stored = _stored(graph.graph)
        model = keras.models.model_from_json(json.dumps(recipe["architecture"]))
        set_weights(model, [_weight(entry, stored) for entry in recipe["weights"]])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{path}: what should make a Keras model of it is damaged or does not fit its weights "
            f"({first_line(error)}); export from the .keras or .h5 file of the run instead"
        ) from error
    return model


def refuse_unrestorable(path: Path) -> None:
    """Refuse an ``.onnx`` that no Keras model can be made of, without making one.

    Raises:
        ModelError: the file has no recipe.
    """
    _recipe(onnx.load(path, load_external_data=False), path)


def is_restorable(path: Path) -> bool:
    """Whether an ``.onnx`` says what Keras model to make of it; none is made.

    Args:
        path: an ``.onnx`` file that is there.
    """
    return _find_recipe(onnx.load(path, load_external_data=False)) is not None


def _find_recipe(graph: onnx.ModelProto) -> str | None:
    return next((str(item.value) for item in graph.metadata_props if item.key == RECIPE_KEY), None)


def _recipe(graph: onnx.ModelProto, path: Path) -> str:
    text = _find_recipe(graph)
    if text is None:
        raise ModelError(
            f"{path}: does not hold what is needed to make a Keras model of it (it was quantised, is an ensemble, has "
            f"layers that mien cannot find again, or was not written by mien); {_instead(path)}"
        )
    return text


def _instead(path: Path) -> str:
    if path == find_model().with_name("mien-small-int8.onnx"):
        return "give mien-small, of which it was made"
    return "export from the .keras or .h5 file of the run instead"


def _stored(graph: onnx.GraphProto) -> dict[str, NDArray[Any]]:
    """Every initializer by its name; one that is stored as float16, by the name of its cast to float32."""
    stored = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    for node in graph.node:
        if node.op_type == "Cast" and node.input[0] in stored:
            stored[node.output[0]] = stored[node.input[0]].astype(np.float32)
    return stored


def _entry(weight: NDArray[np.float32], stored: dict[str, NDArray[Any]]) -> dict[str, Any] | None:
    """How to find one weight again, or None where it cannot be found."""
    if weight.size <= SMALL:
        return {"shape": list(weight.shape), "values": _pack(weight)}
    for name, order, candidate in _candidates(weight, stored):
        scale = _channel_scale(weight, candidate)
        if scale is not None:
            return {"initializer": name, "order": list(order), "scale": _pack(scale)}
    return None


def _weight(entry: dict[str, Any], stored: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
    """The weight that `_entry` described."""
    if "values" in entry:
        return _unpack(entry["values"]).reshape(entry["shape"])
    found = np.transpose(stored[entry["initializer"]], np.argsort(entry["order"]))
    weight: NDArray[np.float32] = (found / _unpack(entry["scale"])).astype(np.float32)
    return weight


def _candidates(
    weight: NDArray[np.float32], stored: dict[str, NDArray[Any]]
) -> Iterator[tuple[str, tuple[int, ...], NDArray[Any]]]:
    """Initializers that have the weight's shape once their axes are put back."""
    for order in ORDERS.get(weight.ndim, ()):
        shape = tuple(weight.shape[axis] for axis in order)
        for name, values in stored.items():
            if values.shape == shape and values.dtype == np.float32:
                yield name, order, np.transpose(values, np.argsort(order))


def _channel_scale(weight: NDArray[np.float32], candidate: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """The factor of each output channel (last axis) that makes the weight the candidate, or None."""
    rows, found = weight.reshape(-1, weight.shape[-1]), candidate.reshape(-1, weight.shape[-1])
    if np.array_equal(rows, found):
        return np.ones(weight.shape[-1], np.float32)
    power = np.einsum("ij,ij->j", rows, rows, dtype=np.float64)
    overlap = np.einsum("ij,ij->j", rows, found, dtype=np.float64)
    scale = np.divide(overlap, power, out=np.ones_like(power), where=power > 0)
    close = np.allclose(rows * scale, found, rtol=TOLERANCE, atol=TOLERANCE * float(np.abs(found).max() or 1.0))
    return scale.astype(np.float32) if close and np.all(scale != 0) else None


def _pack(values: NDArray[np.float32]) -> str:
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode("ascii")


def _unpack(text: str) -> NDArray[np.float32]:
    return np.frombuffer(base64.b64decode(text), "<f4").astype(np.float32)

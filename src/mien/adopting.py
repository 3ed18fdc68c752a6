"""``.onnx`` files that other programs wrote, made into ones that say what they are and take what mien's networks take.

What a graph itself says is read off it: size, channels, layout, type, a fixed batch. What it cannot say is asked for:
names of its outputs, colour order, range and normalisation of pixels, whether it gives logits. Nothing is guessed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from mien import litert
from mien.classifier import Classifier
from mien.errors import ModelError, UsageError, many, unknown_choice
from mien.files import refuse_existing, replacing
from mien.labels import refuse_text
from mien.modelspec import METADATA_KEY, ModelSpec, write_to_onnx
from mien.preprocessing import InputSpec

Step = tuple[str, list[str], dict[str, Any]]
"""An operator of one input, its further inputs and its attributes."""

LAYOUTS = ("NCHW", "NHWC")
TYPES = {onnx.TensorProto.FLOAT: np.float32, onnx.TensorProto.FLOAT16: np.float16, onnx.TensorProto.UINT8: np.uint8}
"""What a graph may take; pixels are cast to it."""

OLDEST = 7
"""The first version of ONNX's operators that broadcast as NumPy does."""

PYTORCH = (".pt", ".pth", ".ckpt", ".safetensors")
"""Endings of files whose networks only the program that made them can build."""

_TF2ONNX = "python -m tf2onnx.convert {} {} --output theirs.onnx (of mien[train]) writes the .onnx that is taken here"
"""How files of TensorFlow's become ``.onnx``: the option, the file."""

TOLERANCE = 1e-4
"""Largest difference of a probability between a batch and its pictures alone."""


@dataclass(frozen=True)
class Intake:
    """How a network wants its pixels: x = (pixels / 255 * `most` - `mean`) / `std`.

    Attributes:
        layout: ``NCHW`` or ``NHWC``; None: as the graph's shape says.
        bgr: whether channels are blue, green, red, as OpenCV reads them.
        most: what white is: 1 or 255.
        mean: taken off, one number or one for each channel, in RGB order.
        std: divided by, likewise, above 0.
        size: side in pixels, where the graph leaves it open; None: as the graph says.

    Raises:
        UsageError: a field is not what it must be.
    """

    layout: str | None = None
    bgr: bool = False
    most: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    size: int | None = None

    def __post_init__(self) -> None:
        if self.layout is not None and self.layout not in LAYOUTS:
            raise unknown_choice("layout", self.layout, LAYOUTS)
        if self.most not in (1, 255):
            raise UsageError(f"range: white must be 1 or 255, received {self.most:g}")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, 3) or not np.isfinite(values).all() or (name == "std" and min(values) <= 0):
                above = ", above 0" if name == "std" else ""
                raise UsageError(f"{name}: must be one number or three, in RGB order{above}, received {values}")

    def scaling(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Scale and shift, (1,) or (3,), with which x = pixels / 255 * scale + shift."""
        std = np.array(self.std, np.float64)
        return self.most / std, -np.array(self.mean, np.float64) / std


def adopt_onnx(
    source: str | Path,
    destination: str | Path,
    classes: Sequence[str],
    *,
    intake: Intake | None = None,
    logits: bool = False,
    output: str | None = None,
    crop_margin: float = 0.0,
    force: bool = False,
) -> Path:
    """Write an ``.onnx`` from elsewhere as mien reads it; kept only if it gives probabilities, batched or not.

    Args:
        source: a file with one input of pictures, float32, float16 or uint8.
        destination: the ``.onnx`` file to write.
        classes: names of the outputs, in output order.
        intake: how it wants its pixels; None: in [0, 1].
        logits: whether it ends without a softmax, which is added then.
        output: the output with the classes; None: the only one.
        crop_margin: see `mien.modelspec.ModelSpec`.
        force: replace a file that is there.

    Returns:
        The file that was written.

    Raises:
        UsageError: a file, a name or a number is not what it must be, or the graph does not have what was asked for.
        ModelError: the file cannot be read, or gives something other than probabilities.
    """
    refuse_text(classes)
    target, intake = Path(destination), intake or Intake()
    if target.suffix != ".onnx":
        raise UsageError(f"{target}: an adopted .onnx is written to a file that ends in .onnx")
    refuse_existing(target, force=force)
    model = _load(Path(source))
    pictures, layout, shape = _read_input(model, intake, source)
    spec = ModelSpec(tuple(classes), Path(source).stem, _parameters(model), shape, crop_margin=crop_margin)
    given = _read_output(model, output, len(spec.classes), source)
    _free_batch(model, pictures)
    _wrap(model, pictures, given, layout, intake, spec, logits=logits)
    with replacing(target) as temporary:
        onnx.save(model, temporary)
        write_to_onnx(temporary, spec)
        _check(temporary, spec, str(source), logits=logits)
    return target


def _load(path: Path) -> Any:
    if path.is_dir() and (path / "saved_model.pb").is_file():
        raise UsageError(f"{path}: is a SavedModel of TensorFlow's; {_TF2ONNX.format('--saved-model', path)}")
    if not path.is_file():
        raise UsageError(f"{path}: no such file; give the path of an .onnx, .keras or .h5 model")
    if path.suffix.lower() in PYTORCH:
        raise UsageError(f"{path}: is a file of PyTorch's; torch.onnx.export writes the .onnx that is taken here")
    if path.suffix.lower() == litert.SUFFIX:
        raise UsageError(f"{path}: is a model of LiteRT (TensorFlow Lite); {_TF2ONNX.format('--tflite', path)}")
    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf's, or of weights in a file beside it
        raise ModelError(f"{path}: cannot be read as an ONNX file ({error})") from error
    version = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)
    if not model.graph.node or version < OLDEST:
        raise ModelError(
            f"{path}: must hold a graph of ONNX's operators {OLDEST} or newer, has {version}; export it anew"
        )
    if any(item.key == METADATA_KEY for item in model.metadata_props):
        raise UsageError(f"{path}: says what it is already; every command takes it as it is")
    return model


def _parameters(model: Any) -> int:
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
    return int(sum(np.prod(item.dims, dtype=np.int64) for item in model.graph.initializer if item.data_type in floats))


def _dims(value: Any) -> list[int | None]:
    return [
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None
        for dim in value.type.tensor_type.shape.dim
    ]


def _read_input(model: Any, intake: Intake, source: str | Path) -> tuple[Any, str, InputSpec]:
    """The input of pictures, its layout and what it takes."""
    stored = {item.name for item in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs)
        raise UsageError(f"{source}: must have one input, pictures; has {len(inputs)}: {names}")
    dims, kind = _dims(inputs[0]), inputs[0].type.tensor_type.elem_type
    if len(dims) != 4 or kind not in TYPES:
        raise UsageError(
            f"{source}: must take pictures of 4 dimensions in float32, float16 or uint8, takes "
            f"{onnx.TensorProto.DataType.Name(kind)} {dims}"
        )
    layout = intake.layout or next((name for name in LAYOUTS if dims[name.index("C")] in (1, 3)), None)
    if layout is None or dims[layout.index("C")] not in (1, 3):
        raise UsageError(
            f"{source}: takes {dims}, of which none says 1 or 3 channels as {layout or 'NCHW or NHWC'} would"
        )
    sides = {dims[layout.index("H")], dims[layout.index("W")]} - {None}
    if len(sides) > 1 or (sides and intake.size not in (None, *sides)):
        raise UsageError(f"{source}: takes {dims}, but pictures must be square, and of the size that is asked for")
    size = next(iter(sides), intake.size)
    if size is None:
        raise UsageError(f"size: is required, as the graph takes pictures of any: {dims}; give that of training")
    return inputs[0], layout, InputSpec(size, dims[layout.index("C")] or 1)


def _read_output(model: Any, output: str | None, classes: int, source: str | Path) -> str:
    """The name of the output with the classes, once it is seen to have as many as there are names."""
    outputs = {str(value.name): value for value in model.graph.output}
    if output is not None and output not in outputs:
        raise unknown_choice("output", output, outputs)
    if output is None and len(outputs) != 1:
        raise UsageError(f"output: is required, as {source} has {len(outputs)}: {', '.join(outputs)}")
    name = output or next(iter(outputs))
    columns = [length or 0 for length in _dims(outputs[name])[1:]]
    if columns and 0 not in columns and math.prod(columns) != classes:
        raise UsageError(
            f"classes: must name the {many(math.prod(columns), 'output')} of {source}, received {many(classes, 'name')}"
        )
    return name


def _free_batch(model: Any, pictures: Any) -> None:
    """Let a graph of a fixed batch take any number: what reshapes to so many rows does to as many as there are."""
    batch = _dims(pictures)[0]
    if batch is None:
        return
    graph = model.graph
    stored = {item.name: item for item in graph.initializer}
    stored |= {
        node.output[0]: node.attribute[0].t
        for node in graph.node
        if node.op_type == "Constant" and node.attribute[0].name == "value"
    }
    for node in graph.node:
        if node.op_type == "Reshape" and node.input[1] in stored and node.input[0] not in stored:
            shape = numpy_helper.to_array(stored[node.input[1]]).copy()
            if len(shape) > 1 and shape[0] == batch:
                shape[0] = 0 if -1 in shape else -1
                node.input[1] = f"mien/{node.output[0]}/shape"
                graph.initializer.append(numpy_helper.from_array(shape, node.input[1]))


def _wrap(model: Any, pictures: Any, given: str, layout: str, intake: Intake, spec: ModelSpec, *, logits: bool) -> None:
    """Put what brings pixels to the network in front of it, and what makes rows of probabilities behind it."""
    graph, channels = model.graph, spec.input.channels
    scale, shift = intake.scaling()
    if pictures.type.tensor_type.elem_type == onnx.TensorProto.UINT8:  # whose cast cuts off what is behind the point
        shift = shift + 0.5
    constants: dict[str, NDArray[Any]] = {
        "mien/scale": scale.astype(np.float32),
        "mien/shift": shift.astype(np.float32),
    }
    if channels == 1 and max(len(scale), len(shift)) > 1:
        raise UsageError("mean and std: must be one number each, as the network takes grey pictures")
    steps: list[Step] = [("Mul", ["mien/scale"], {}), ("Add", ["mien/shift"], {})]
    if intake.bgr and channels == 3:
        constants["mien/bgr"] = np.array([2, 1, 0], np.int64)
        steps.append(("Gather", ["mien/bgr"], {"axis": 3}))
    if layout == "NCHW":
        steps.append(("Transpose", [], {"perm": [0, 3, 1, 2]}))
    steps.append(("Cast", [], {"to": pictures.type.tensor_type.elem_type}))
    before = _chain("mien/pixels", pictures.name, steps, "mien/in")
    ending: list[Step] = [("Flatten", [], {"axis": 1}), ("Cast", [], {"to": onnx.TensorProto.FLOAT})]
    ending += [("Softmax", [], {"axis": 1})] if logits else []
    after = _chain(given, "mien/probabilities", ending, "mien/out")
    nodes = [*before, *graph.node, *after]
    del graph.node[:], graph.output[:], graph.value_info[:]
    kept = [value for value in graph.input if value.name != pictures.name]
    del graph.input[:]
    graph.node.extend(nodes)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    kind = onnx.TensorProto.FLOAT
    graph.input.extend([helper.make_tensor_value_info("mien/pixels", kind, ["n", *spec.input.shape]), *kept])
    graph.output.append(helper.make_tensor_value_info("mien/probabilities", kind, ["n", len(spec.classes)]))
    if kept and model.ir_version < 4:  # whose initializers must all be inputs too
        graph.input.extend(
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
            for n, v in constants.items()
        )


def _chain(first: str, last: str, steps: Sequence[Step], prefix: str) -> list[Any]:
    """Nodes one behind the other, from the value `first` to the value `last`."""
    names = [first, *(f"{prefix}/{index}" for index in range(1, len(steps))), last]
    return [
        helper.make_node(kind, [names[index], *others], [names[index + 1]], f"{prefix}/{kind}", **attributes)
        for index, (kind, others, attributes) in enumerate(steps)
    ]


def _check(path: Path, spec: ModelSpec, name: str, *, logits: bool) -> None:
    """See that it gives probabilities, and for a batch what it gives for each picture alone.

    Raises:
        ModelError: it does not; errors call it by `name`.
    """
    images = np.random.default_rng(0).integers(0, 256, (3, *spec.input.shape), np.uint8)
    try:
        model = Classifier(path, device="cpu")
        alone = np.concatenate([model.predict(images[row : row + 1]) for row in range(len(images))])
        together = model.predict(images)
    except ModelError as error:
        raise ModelError(with_hint(str(error).replace(str(path), name), logits=logits)) from error
    if not np.abs(alone - together).max() <= TOLERANCE:
        raise ModelError(
            f"{name}: answers a batch otherwise than each picture alone: it was made for one picture at a time; export "
            "it anew with a batch size that is free (torch.onnx.export: dynamic_axes or dynamic_shapes)"
        )


def with_hint(said: str, *, logits: bool) -> str:
    """What is wrong with a model, and what may mend it where its outputs are no probabilities."""
    softmax = not logits and "not probabilities" in said
    return f"{said}; where it gives logits, say so: --logits" if softmax else said

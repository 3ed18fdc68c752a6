"""Keras models that other programs wrote, made into files that say what they are: `mien.adopting`, for Keras."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mien.adopting import Intake, with_hint
from mien.errors import ModelError, UsageError, many, unknown_choice
from mien.export import WRITERS, describe
from mien.files import refuse_existing
from mien.kerasfiles import load_network, quietly
from mien.usermodels import check_model


def adopt_keras(
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
    """Write a Keras model from elsewhere with a description, which says what its outputs mean.

    Args:
        source: a ``.keras`` or ``.h5`` file: pixels (n, size, size, channels) to probabilities (n, classes).
        destination: the file to write, of a format in `WRITERS`.
        classes: names of the outputs, in output order.
        intake: how it wants its pixels, all but `layout` of it, for which layers are put in front; None: in [0, 1].
        logits: whether it ends without a softmax, which is added then.
        output: the output with the classes, by the name that Keras gives it; None: the only one.
        crop_margin: see `mien.modelspec.ModelSpec`.
        force: replace a file that is there.

    Returns:
        The file that was written.

    Raises:
        UsageError: a file or a name is not what it must be, or the model takes or gives something else.
        ModelError: Keras cannot read it, or it cannot be written in that format.
    """
    target, writers = Path(destination), dict(WRITERS.values())
    if target.suffix not in writers:
        raise UsageError(f"{target}: must end in {', '.join(writers)}, received {target.suffix or 'no ending'!r}")
    refuse_existing(target, force=force)
    if not Path(source).is_file():
        raise UsageError(f"{source}: no such file; give the path of a .keras or .h5 model")
    theirs = _with_output(load_network(Path(source)), output, source)
    model = _with_ends(theirs, intake or Intake(), logits=logits)
    try:
        check_model(model, classes)
    except ModelError as error:
        raise ModelError(f"{source}: {with_hint(str(error), logits=logits)}") from error
    writers[target.suffix](model, describe(model, tuple(classes), crop_margin=crop_margin), target)
    return target


def _with_output(model: keras.Model, output: str | None, source: str | Path) -> keras.Model:
    """The network with one output.

    Raises:
        UsageError: there is no such output, or there are several, and none is named.
    """
    names = list(getattr(model, "output_names", ()))
    if output is not None and output not in names:
        raise unknown_choice("output", output, names)
    if len(names) < 2:
        return model
    if output is None:
        raise UsageError(f"output: is required, as {source} has {len(names)}: {', '.join(names)}")
    return keras.Model(model.input, model.outputs[names.index(output)], name=model.name)


def _with_ends(model: keras.Model, intake: Intake, *, logits: bool) -> keras.Model:
    """The network from pixels in [0, 1], RGB, to probabilities, where it takes pictures at all."""
    scale, offset = (values.tolist() for values in intake.scaling())
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4:
        return model
    if intake.size is not None and {*shape[1:3]} - {None, intake.size}:
        raise UsageError(f"size: must be that of the model, which takes {shape[1:]}, received {intake.size}")
    shape = (None, *(side or intake.size for side in shape[1:3]), shape[3])
    bgr = intake.bgr and shape[-1] == 3
    plain = {*scale} == {1.0} and {*offset} == {0.0}
    if plain and not bgr and not logits and shape == model.input_shape:
        return model
    if max(len(scale), len(offset)) not in (1, shape[-1]):
        raise UsageError(f"mean and std: must be one number each, as the network takes {many(shape[-1], 'channel')}")
    faces, taken = keras.Input(shape[1:]), {one.name for one in model.layers}
    factors = (values[0] if len(values) == 1 else values for values in (scale, offset))
    pixels = keras.layers.Rescaling(*factors, name=_free_name("mien_pixels", taken))(faces)
    if bgr:
        pixels = _channels_turned(_free_name("mien_bgr", taken))(pixels)
    with quietly():
        answers = _answers(model, faces, pixels)
    softmax = keras.layers.Softmax(name=_free_name("mien_softmax", taken))
    return keras.Model(faces, softmax(answers) if logits else answers, name=model.name)


def _channels_turned(name: str) -> keras.Layer:
    """RGB to BGR, in a layer that every format of a network holds; exact, as it adds zeros."""
    kernel = np.eye(3, dtype=np.float32)[None, None, :, ::-1]
    turned = keras.initializers.Constant(kernel.tolist())
    return keras.layers.Conv2D(3, 1, use_bias=False, kernel_initializer=turned, trainable=False, name=name)


def _free_name(name: str, taken: set[str]) -> str:
    """A name for a layer that the network has not, as one with its own `Rescaling` would have it by default."""
    while name in taken:
        name += "_"
    return name


def _answers(model: keras.Model, faces: Any, pixels: Any) -> Any:
    """What a network gives for `pixels`, made of `faces`, its layers one by one, so that maps can be read from them."""
    if isinstance(model, keras.Sequential):
        for layer in model.layers:
            pixels = layer(pixels)
        return pixels
    if len(getattr(model, "inputs", None) or ()) != 1:
        return model(pixels)

    def call(layer: Any, *arguments: Any, **options: Any) -> Any:
        taken = keras.tree.map_structure(lambda one: pixels if one is faces else one, (arguments, options))
        return layer(*taken[0], **taken[1])

    inputs = keras.tree.map_structure(lambda _: faces, model.input)  # files of older Keras have lists of one
    twin = keras.models.clone_model(model, input_tensors=inputs, clone_function=lambda one: one, call_function=call)
    return twin.outputs[0] if len(twin.outputs) == 1 else twin.output

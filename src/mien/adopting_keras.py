"""Keras models that other programs wrote, made into files that say what they are: `mien.adopting`, for Keras."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from mien.adopting import Intake, with_hint
from mien.errors import ModelError, UsageError
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
    crop_margin: float = 0.0,
    force: bool = False,
) -> Path:
    """Write a Keras model from elsewhere with a description, which says what its outputs mean.

    Args:
        source: a ``.keras`` or ``.h5`` file: pixels (n, size, size, channels) to probabilities (n, classes).
        destination: the file to write, of a format in `WRITERS`.
        classes: names of the outputs, in output order.
        intake: how it wants its pixels, `most`, `mean` and `std` of it, for which a layer is put in front; None: in
            [0, 1].
        logits: whether it ends without a softmax, which is added then.
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
    model = _with_ends(load_network(Path(source)), intake or Intake(), logits=logits)
    try:
        check_model(model, classes)
    except ModelError as error:
        raise ModelError(f"{source}: {with_hint(str(error), logits=logits)}") from error
    writers[target.suffix](model, describe(model, tuple(classes), crop_margin=crop_margin), target)
    return target


def _with_ends(model: keras.Model, intake: Intake, *, logits: bool) -> keras.Model:
    """The network from pixels in [0, 1] to probabilities, where it takes pictures at all."""
    scale, offset = (values.tolist() for values in intake.scaling())
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4 or (not logits and {*scale} == {1.0} and {*offset} == {0.0}):
        return model
    if max(len(scale), len(offset)) not in (1, shape[-1]):
        raise UsageError(f"mean and std: must be one number each, as the network takes {shape[-1]} channels")
    faces, taken = keras.Input(shape[1:]), {one.name for one in model.layers}
    factors = (values[0] if len(values) == 1 else values for values in (scale, offset))
    pixels = keras.layers.Rescaling(*factors, name=_free_name("mien_pixels", taken))(faces)
    with quietly():
        answers = _answers(model, faces, pixels)
    softmax = keras.layers.Softmax(name=_free_name("mien_softmax", taken))
    return keras.Model(faces, softmax(answers) if logits else answers, name=model.name)


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

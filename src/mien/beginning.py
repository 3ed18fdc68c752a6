"""The weights of another model that training begins with, and the share of them that stays in what is saved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import keras
import numpy as np
from numpy.typing import NDArray

from mien.backend import set_weights
from mien.checkpoints import Checkpoints
from mien.config import TrainingConfig
from mien.errors import ModelError, UsageError, many
from mien.files import replacing
from mien.hosts import current
from mien.modelspec import ModelSpec
from mien.networks import NETWORKS
from mien.trainee import network_in

Start = Sequence[NDArray[np.float32] | None]
"""The weights that a network was given to begin with, in its order; None for those that it drew."""

START = "start.npz"
"""Beside the checkpoints of a run that keeps a share of the weights that it began with."""


def begin(
    model: keras.Model,
    config: TrainingConfig,
    classes: Sequence[str],
    kept: Path,
    say: Callable[[str], None],
    *,
    own: bool = False,
) -> Start | None:
    """Give a network the weights that training begins with, unless the run goes on from a checkpoint.

    Args:
        model: the network, which is changed.
        config: names the model (`init`), and the share of it that stays.
        classes: names of the network's outputs, in order.
        kept: the run's folder of checkpoints, where they are kept for `--resume` if a share of them stays.
        say: takes a line for people.
        own: see `start_from`.

    Returns:
        What the run began with; None where it goes on and no share of that stays.

    Raises:
        UsageError: there is no such file, or it holds another network.
        ModelError: the file, or what the run kept of it, cannot be read.
    """
    if Checkpoints(kept).history():
        return read_start(model, kept / START) if config.init_share else None
    say(f"Starting from the weights of {config.init}")
    start = start_from(model, config.init, classes, own=own)
    if config.init_share and current().leads:
        keep_start(start, kept / START)
    return start


def check_network_of(config: TrainingConfig) -> None:
    """Refuse an `init` that holds another of mien's networks than the config names, before any work.

    Raises:
        UsageError: says which; or there is no such file.
        ModelError: it cannot be read.
    """
    held = network_in(config.init) if config.init else None
    if held and held != config.network:
        raise UsageError(
            f"init: {config.init} holds the network {held!r}, not {config.network!r}; choose that network, or name "
            "none on the command line"
        )


def start_from(model: keras.Model, path: str, classes: Sequence[str], *, own: bool = False) -> Start:
    """Give a network the weights of a trained one, all but the last layer's where the classes differ.

    Args:
        model: the network, which is changed.
        path: a model file, or the name of a bundled model.
        classes: names of the network's outputs, in order.
        own: whether the network was given to `mien.fit`, rather than chosen by its name.

    Returns:
        What the network was given.

    Raises:
        UsageError: there is no such file, or it holds another network.
        ModelError: the file cannot be read.
    """
    from mien.export import load_model

    trained, spec = load_model(path)
    old, new = trained.get_weights(), model.get_weights()
    anew = len(model.layers[-1].get_weights()) if spec.classes != tuple(classes) else 0
    if anew:
        old = [*old[:-anew], *new[-anew:]]
    fits = [weight.shape for weight in old] == [weight.shape for weight in new]
    if not fits or (not own and _shrinks_otherwise(trained, model)):
        way = _model_to_give(path, spec, model) if own else _way_to_fit(spec, model)
        raise UsageError(
            f"init: {path} holds the network {trained.name!r} ({many(trained.count_params(), 'parameter')}), whose "
            f"weights do not fit {model.name!r} ({model.count_params():,}); {way}"
        )
    set_weights(model, old)
    return [*old[: len(old) - anew], *[None] * anew]


def _shrinks_otherwise(trained: keras.Model, model: keras.Model) -> bool:
    """Whether networks of equal weights pool otherwise, as `vgg` did, by maxima, until 2026-11-26."""
    first, second = (
        [type(layer).__name__ for layer in network.layers if "Pooling" in type(layer).__name__]
        for network in (trained, model)
    )
    return first != second


def keep_start(start: Start, path: Path) -> None:
    """Write down the weights that a network was given, so that a run that goes on blends with the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        given: dict[str, Any] = {str(place): weights for place, weights in enumerate(start) if weights is not None}
        np.savez(file, **given)


def read_start(model: keras.Model, path: Path) -> Start:
    """What `keep_start` wrote for a network.

    Raises:
        ModelError: it is not there, or of another network.
    """
    try:
        with current().told_file(path) as file, np.load(file, allow_pickle=False) as arrays:
            start = [arrays[name] if (name := str(place)) in arrays else None for place in range(len(model.weights))]
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise ModelError(
            f"{path}: holds the weights that the run began with, of which init_share keeps a part, and cannot be read "
            f"({error}); begin the run anew"
        ) from error
    for weights, own in zip(start, model.get_weights(), strict=True):
        if weights is not None and weights.shape != own.shape:
            raise ModelError(f"{path}: holds weights of another network; begin the run anew")
    return start


def blend(model: keras.Model, start: Start, share: float) -> None:
    """Set each weight to `share` of the one that training began with, and what is left of its own."""
    weights = zip(model.get_weights(), start, strict=True)
    set_weights(model, [own if old is None else share * old + (1 - share) * own for own, old in weights])


def _way_to_fit(spec: ModelSpec, model: keras.Model) -> str:
    """What to ask for instead of `model`, so that the weights of the file that `spec` describes fit."""
    if spec.network not in NETWORKS:
        return f"{spec.network!r} is none of mien's networks: build it yourself and give it to mien.fit"
    options, arguments = [], []
    if spec.network != model.name:
        options.append(f"--set network={spec.network}")
        arguments.append(f"network={spec.network!r}")
    if spec.input.shape != model.input_shape[1:]:
        options.append(f"--size {spec.input.size} --channels {spec.input.channels}")
        arguments.append(f"input=InputSpec({spec.input.size}, {spec.input.channels})")
    if not options:
        return "another version of mien had another network of that name; begin with a model of this version"
    return f"choose what the file holds: {' '.join(options)}, or in Python {', '.join(arguments)}"


def _model_to_give(path: str, spec: ModelSpec, model: keras.Model) -> str:
    """What to give to `mien.fit` instead of `model`, so that the weights of the file that `spec` describes fit."""
    if spec.network not in NETWORKS or (spec.network == model.name and spec.input.shape == model.input_shape[1:]):
        return f"give mien.fit a network of the same layers: mien.export.load_model({path!r}) gives that of the file"
    size, channels, classes = spec.input.size, spec.input.channels, model.output_shape[-1]
    return (
        "give mien.fit the network that the file holds: "
        f"mien.network({spec.network!r}, size={size}, channels={channels}, classes={classes})"
    )

"""Named ways to train, each with its command and its measured result. docs/training-log.md keeps what was tried."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from mien.config import AUGMENTATIONS, TrainingConfig
from mien.errors import unknown_choice


@dataclass(frozen=True, slots=True)
class Recipe:
    """A training config with its story.

    Attributes:
        config: what `mien train --recipe NAME` starts from; other options change single fields of it.
        summary: a line for `mien train --help` and the docs.
        measured: command, machine, versions and score, or that it has not been measured.
    """

    config: TrainingConfig
    summary: str
    measured: str


_GROWING = TrainingConfig(
    network="small",
    epochs=100,
    batch_size=128,
    optimizer="sgd",
    learning_rate=0.15,
    schedule="cosine",
    weight_decay=4e-3,
    label_smoothing=0.1,
    augmentation=AUGMENTATIONS["standard"],
    ema=0.998,
    progressive=(32, 40, 48),
    validation="public",
    keep="last",
)

RECIPES: dict[str, Recipe] = {
    "seed": Recipe(
        TrainingConfig(),
        "the classroom network: Adam 0.01 with inverse-time decay, 30 epochs of batches of 32",
        "see the README: PublicTest accuracy of `mien train FER2013 --recipe seed`",
    ),
    "vgg": Recipe(
        TrainingConfig(
            network="vgg",
            epochs=60,
            batch_size=128,
            optimizer="sgd",
            learning_rate=0.1,
            schedule="cosine",
            weight_decay=5e-3,
            label_smoothing=0.1,
            augmentation=AUGMENTATIONS["standard"],
            ema=0.998,
        ),
        "eight convolutions with batch norm, SGD with a cosine, label smoothing, averaged weights; for an accelerator",
        "not measured yet: about 4 hours on 2 CPU cores; rehearsed on a subset only",
    ),
    "cpu": Recipe(
        _GROWING,
        "1.2 M parameters in four residual stages; growing pictures, SGD with a cosine, averaged weights; 2 CPU cores",
        "mien train FER2013 --recipe cpu --seed 0, one run: PublicTest (n = 3,589) 67.6 % with one view, 69.0 % with "
        "flip, 70.3 % with ten; 92 minutes on 2 cores of an AMD EPYC with AVX2 only, other work beside; Keras 3.15, "
        "TensorFlow 2.21",
    ),
    "small": Recipe(
        dataclasses.replace(_GROWING, epochs=400, weight_decay=3e-3),
        "the network of `cpu`, trained four times as long, best with teachers (`--teacher`); for an accelerator",
        "not measured yet: it needs an accelerator",
    ),
    "large": Recipe(
        dataclasses.replace(
            _GROWING, network="large", epochs=200, learning_rate=0.1, weight_decay=5e-3, mixup=0.2, ema=0.999
        ),
        "SE-ResNet-18 of 6.4 M parameters: the teacher, and the best single network; for an accelerator",
        "not measured yet: it needs an accelerator",
    ),
    "speedrun": Recipe(
        dataclasses.replace(
            _GROWING, epochs=16, batch_size=512, learning_rate=0.4, label_smoothing=0.1, ema=0.99, progressive=()
        ),
        "the network of `cpu` in 16 epochs of large batches: 70 % in half a minute is the aim, on one accelerator",
        "not measured yet: it needs an accelerator",
    ),
    "demo": Recipe(
        TrainingConfig(epochs=10, batch_size=16, schedule="cosine", learning_rate=0.002),
        "the classroom network in a few epochs, for the drawn faces of `mien demo`",
        "scores on drawn faces say nothing about photographs",
    ),
}
"""What `--recipe` takes."""


def recipe(name: str, **changes: Any) -> TrainingConfig:
    """The config of a recipe, with single fields changed.

    Args:
        name: one of `RECIPES`.
        **changes: fields of `TrainingConfig`.

    Raises:
        UsageError: an unknown name, an unknown field or a value out of range.
    """
    if name not in RECIPES:
        raise unknown_choice("recipe", name, RECIPES)
    config = RECIPES[name].config
    return TrainingConfig.from_dict({**_shallow(config), **changes})


def _shallow(config: TrainingConfig) -> dict[str, Any]:
    """Field to value, nested configs left whole."""
    return {entry.name: getattr(config, entry.name) for entry in dataclasses.fields(config)}

"""Named ways to train, each with its command and its measured result. docs/training-log.md keeps what was tried.

What was measured before `--plan shapes` (2026-11-26) had contrast only raised, by up to 30 %, where it is lowered as
often now, and maxima between the stages of `vgg`, where there are averages now.
"""

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

_WHOLE = dataclasses.replace(
    _GROWING, progressive=(), learning_rate=0.1, weight_decay=5e-3, mixup=0.2, ema=0.999, validate_every=20
)
"""Full size all along: what an accelerator saves by small pictures, it loses by compiling for each size."""

_FAST = dataclasses.replace(
    _WHOLE, network="vgg", epochs=60, batch_size=256, learning_rate=0.2, ema=0.997, mixup=0.0, validate_every=60
)
"""Large batches, and no mixing, which bought nothing in so few epochs."""

_TAUGHT = dataclasses.replace(
    _WHOLE,
    batch_size=256,
    learning_rate=0.25,
    ema=0.997,
    mixup=0.0,
    label_smoothing=0.0,
    teacher_view="stored",
    teacher_views=30,
    teacher_weight=0.9,
)
"""For `--teacher`: answers of teachers are smooth already, and mixing images on top of them cost accuracy."""

_MACHINE = "benchmarks/accelerator.py on one NVIDIA H200; Keras 3.15, JAX 0.11.2, mixed_bfloat16; one view"

RECIPES: dict[str, Recipe] = {
    "seed": Recipe(
        TrainingConfig(),
        "the classroom network: Adam 0.01 with inverse-time decay, 30 epochs of batches of 32",
        "see the README: PublicTest accuracy of `mien train FER2013 --recipe seed`",
    ),
    "cpu": Recipe(
        dataclasses.replace(_GROWING, network="slim", epochs=52, weight_decay=5e-3, validate_every=5),
        "2.6 M parameters, eight convolutions; growing pictures, SGD with a cosine, averaged weights; 2 CPU cores",
        "mien train FER2013 --recipe cpu --seed 1, one run: PublicTest (n = 3,589) 71.1 % with one view, 71.6 % with "
        "flip, 71.6 % with ten; 85 minutes on 2 cores of a Xeon with AMX, other work beside; Keras 3.15, TensorFlow "
        "2.21, mixed_bfloat16",
    ),
    "light": Recipe(
        _GROWING,
        "1.2 M parameters in four residual stages, likewise: for CPUs without bfloat16, or an hour",
        "mien train FER2013 --recipe light --seed 0, one run: PublicTest (n = 3,589) 67.6 % with one view, 69.0 % with "
        "flip, 70.3 % with ten; 92 minutes on 2 cores of an AMD EPYC with AVX2 only, other work beside, and with "
        "waits that mien no longer has (docs/training.md); Keras 3.15, TensorFlow 2.21",
    ),
    "large": Recipe(
        dataclasses.replace(_WHOLE, network="large", epochs=70),
        "SE-ResNet-18 of 6.4 M parameters: a teacher; for an accelerator",
        "mien train FER2013 --recipe large, two runs: PublicTest (n = 3,589) 70.2 % (--seed 0 --epochs 66, 101 s) and "
        f"70.8 % (--seed 2 --epochs 73, 103 s); {_MACHINE}",
    ),
    "vgg": Recipe(
        dataclasses.replace(_FAST, epochs=120, augmentation=AUGMENTATIONS["wide"], validate_every=20),
        "eight convolutions, 4.7 M parameters, moved widely: the best network without teachers; for an accelerator",
        "mien train FER2013 --recipe vgg --seed 80, one run: PublicTest (n = 3,589) 72.4 %, with flip 72.8 %; 88 s, "
        f"another run beside it; {_MACHINE}",
    ),
    "small": Recipe(
        dataclasses.replace(_TAUGHT, network="compact", epochs=200, weight_decay=3e-3),
        "1.2 M parameters, taught by larger networks (`--teacher`): the bundled mien-small; for an accelerator",
        "mien train FER2013 --recipe small --seed 13 --teacher (ten of `speedrun`, one of `large` that was taught), "
        "and --seed 16: PublicTest (n = 3,589) 71.4 and 70.4 %, with flip 71.8 and 71.7 %; 54 and 46 s beside 46 s of "
        f"asking the teachers; {_MACHINE}",
    ),
    "distilled": Recipe(
        dataclasses.replace(_TAUGHT, network="vgg", epochs=150),
        "the network of `vgg`, taught by others (`--teacher`); for an accelerator",
        "mien train FER2013 --recipe distilled --seed 12 --teacher (the same), one run, with maxima: PublicTest "
        f"(n = 3,589) 72.4 %, with flip 72.1 %; 72 s beside asking; {_MACHINE}",
    ),
    "speedrun": Recipe(
        _FAST,
        "the network of `vgg` in 26 seconds of one accelerator, compiling apart; also a good teacher",
        "mien train FER2013 --recipe speedrun --seed 60 to 63: PublicTest (n = 3,589) mean 71.4 % (71.1 to 71.7, "
        "standard deviation 0.25), with flip 72.0 % (71.8 to 72.3, 0.26); 28 s, of which 21 in epochs, where nothing "
        "ran beside it; with maxima and contrast only raised, seeds 0 to 9: mean 70.5 % (69.7 to 71.1, 0.4), with flip "
        f"71.4 % (71.2 to 71.7, 0.15); 26 s; {_MACHINE}",
    ),
    "demo": Recipe(
        TrainingConfig(epochs=10, batch_size=16, schedule="cosine", learning_rate=0.002),
        "the classroom network in a few epochs, for the drawn faces of `mien demo`",
        "scores on drawn faces say nothing about photographs",
    ),
}
"""What `--recipe` takes."""


def recipe(name: str, **changes: Any) -> TrainingConfig:
    """The config of a recipe, with single fields changed: ``mien.recipe("cpu", epochs=20, augmentation="robust")``.

    Args:
        name: ``seed``, ``cpu``, ``light``, ``large``, ``vgg``, ``small``, ``distilled``, ``speedrun`` or ``demo``;
            `mien.recipes.RECIPES` says what each is for and what it was measured to give.
        **changes: fields of `TrainingConfig`; ``augmentation`` also by name, ``input`` as an `InputSpec`.

    Returns:
        The config, for `mien.train` or `mien.fit`.

    Raises:
        UsageError: an unknown name, an unknown field or a value out of range.
    """
    if not isinstance(name, str) or name not in RECIPES:
        raise unknown_choice("recipe", name, RECIPES)
    config = RECIPES[name].config
    return TrainingConfig.from_dict({**_shallow(config), **changes})


def _shallow(config: TrainingConfig) -> dict[str, Any]:
    """Field to value, nested configs left whole."""
    return {entry.name: getattr(config, entry.name) for entry in dataclasses.fields(config)}

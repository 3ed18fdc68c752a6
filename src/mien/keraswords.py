"""Words and objects of Keras's that people give as settings, and how mien says the same."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

KERAS_WORDS = {
    "validation_split": "validation_fraction",
    "class_weight": "class_weights=True, weights by frequency",
    "lr": "learning_rate",
    "patience": "early_stopping",
    "recipe": "config=mien.recipe(...)",
    "size": "input=mien.InputSpec(size, channels)",
    "channels": "input=mien.InputSpec(size, channels)",
    "augment": "augmentation",
    "rotation_range": "rotation",
    "width_shift_range": "shift",
    "height_shift_range": "shift",
    "shear_range": "shear",
    "zoom_range": "zoom",
    "horizontal_flip": "flip",
    "brightness_range": "brightness",
}
"""What Keras, tutorials and other parts of mien call a setting, and its name here."""

KERAS_OBJECTS = {
    "optimizer": "; name it, with learning_rate and weight_decay beside it",
    "learning_rate": (
        "; schedule='cosine' or 'inverse-time' lowers it, or keras.callbacks.LearningRateScheduler with "
        "schedule='constant' does"
    ),
    "augmentation": (
        "; ImageDataGenerator(rotation_range=20, zoom_range=0.1) is {'rotation': 20, 'zoom': 0.1}, and Keras layers go "
        "to the front of the network, where they act in training alone, with augmentation='none'"
    ),
}
"""How what Keras takes as an object is said here."""


def meant(name: str, known: Iterable[str]) -> str:
    """What an unknown key stands for, where that can be told."""
    if name in KERAS_WORDS:
        return f" (here {KERAS_WORDS[name]})"
    close = get_close_matches(name, known, n=1, cutoff=0.75)
    return f" (did you mean {close[0]}?)" if close else ""


def of_object(name: str, value: object) -> str:
    """How a setting is said here, of an object of Keras's in place of a word or a number; empty of these."""
    return "" if isinstance(value, str | int | float) else KERAS_OBJECTS.get(name, "")

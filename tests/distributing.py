"""Training on several virtual devices, in a process of its own: JAX must be told how many there are before it starts.

``python distributing.py FOLDER NAME...`` runs those of `CASES` and leaves their histories and weights in FOLDER.
"""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from interrupting import Interrupt
from mien.config import AUGMENTATIONS, TrainingConfig
from mien.feeding import ArraySource
from mien.preprocessing import InputSpec
from pictures import pattern
from processes import QUICK_XLA

KNOWN = ("-W", "ignore:__array__ implementation", "-W", "ignore:Explicitly requested dtype int64")
"""What Keras says on NumPy 2, and in its MixUp on JAX; users can do nothing about either."""

COMPILED = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1"}
"""What is kept of the programs that JAX compiles, for runs that go on: all."""

SIZE = 16
DEVICES = 8
PATIENCE = 570

CONFIG = TrainingConfig(
    network="small", input=InputSpec(SIZE, 1), epochs=3, batch_size=12, optimizer="sgd", learning_rate=0.05,
    schedule="constant", precision="float32", augmentation=AUGMENTATIONS["none"], keep="last",
)  # fmt: skip
"""39 images in batches of 12: three that 8 devices do not divide, and a last one of 3."""

CHANGES = {
    "plain": {},
    "adam": {"optimizer": "adam", "learning_rate": 0.003, "batch_size": 16, "class_weights": True},
    "ema": {"ema": 0.5, "label_smoothing": 0.1},
    "sam": {"sam": 0.05, "weight_decay": 1e-3},
    "varied": {"augmentation": AUGMENTATIONS["standard"], "mixup": 0.2},
    "progressive": {"input": InputSpec(24, 1), "progressive": (16, 24)},
    "few": {"batch_size": 5},
}
"""What is changed in the config of each case."""

CASES = {
    **{name: [(1, None), (8, None)] for name in CHANGES},
    "resumed-on-fewer": [(8, 1), (1, 2), (2, None)],
    "resumed-on-more": [(1, 2), (8, None)],
}
"""For each case its runs in one folder, one after another: devices, and the epoch in which it is interrupted.

Cases that are named in `CHANGES` are two runs, each in a folder of its own.
"""


def arrays(count: int, first: int = 0, size: int = SIZE) -> ArraySource:
    images = np.stack([pattern(index % 7, first + index)[:: 48 // size, :: 48 // size] for index in range(count)])[
        ..., None
    ]
    return ArraySource(images, np.arange(count) % 7)


def held_out(size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """261 images: a batch of validation that 8 devices do not divide, and more than one."""
    held = arrays(261, 1000, size)
    return held.images, held.labels


def tiny_network(size: int = SIZE, dropout: float = 0.0):
    """Two convolutions with batch norm: what compiles in seconds."""
    import keras
    from keras import layers

    from mien.networks import _draw_weights

    faces = x = keras.Input((size, size, 1))
    for width in (8, 16):
        x = layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
        x = layers.MaxPooling2D()(layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x)))
    x = layers.Dropout(dropout)(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(faces, layers.Dense(7, activation="softmax")(x), name="small")
    _draw_weights(model, 0)
    return model


def train(folder: Path, config: TrainingConfig, devices: int, interrupted: int | None = None, dropout: float = 0.0):
    """Train on so many of the devices; writes ``weights.npz`` and ``history.json`` where it comes to the end."""
    from mien import backend
    from mien.learning import learn

    everything = backend.training_devices
    backend.training_devices = lambda: everything()[:devices] if devices > 1 else []
    try:
        model = tiny_network(config.input.size, dropout)
        callbacks = [] if interrupted is None else [Interrupt(interrupted)]
        learned = learn(
            model, config, arrays(39, size=config.input.size), held_out(config.input.size), folder, callbacks
        )
    finally:
        backend.training_devices = everything
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "weights.npz", *model.get_weights())
    (folder / "history.json").write_text(json.dumps(learned.history))


def run_case(root: Path, name: str) -> None:
    config = dataclasses.replace(CONFIG, **CHANGES.get(name, {}))
    for devices, interrupted in CASES[name]:
        folder = root / name / str(devices) if name in CHANGES else root / name
        train(folder, config, devices, interrupted, dropout=0.3 if name == "varied" else 0.0)


def in_a_process(folder: Path, *names: str, devices: int = DEVICES) -> None:
    """Run cases in a process that has so many virtual devices."""
    flags = f"--xla_force_host_platform_device_count={devices} {QUICK_XLA}"
    environment = {**os.environ, "KERAS_BACKEND": "jax", "XLA_FLAGS": flags, "PYTHONPATH": str(Path(__file__).parent)}
    environment |= {"JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"), **COMPILED}
    command = [sys.executable, "-W", "error", *KNOWN, __file__, str(folder), *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr[-4000:]


def outcome(folder: Path) -> tuple[list[dict[str, float]], list[np.ndarray]]:
    """The history without its seconds, and the weights."""
    history = json.loads((folder / "history.json").read_text())
    with np.load(folder / "weights.npz") as stored:
        weights = [stored[name] for name in stored.files]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history], weights


if __name__ == "__main__":
    import keras

    for case in sys.argv[2:]:
        run_case(Path(sys.argv[1]), case)
        assert keras.distribution.distribution() is None

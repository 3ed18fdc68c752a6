"""Targets from teachers that were asked before training (Hinton et al. 2015), about each image or about views of it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from mien import backend, openvino
from mien.answers import ask
from mien.augmentation import augmentation_layers
from mien.classifier import Model, open_model
from mien.config import TrainingConfig
from mien.errors import DataError, ModelError, UsageError, many
from mien.feeding import ALL, ArraySource, Rows, Source, permutation
from mien.files import replacing
from mien.materials import streamed_teaching
from mien.piping import predict
from mien.preprocessing import SCALE
from mien.restoring import is_restorable
from mien.runs import VIEWS, forget_views
from mien.sessions import built_devices
from mien.trainee import open_teacher
from mien.weights import find_model

TTA = "flip"
"""Views that the teachers' answers to plain images are the mean of."""

ANSWERS = "teachers.npy"
"""Beside the views, in the run's folder of checkpoints."""

SECONDS_OF_SILENCE = 30
"""After which a person is told how far asking has come."""

ASKED_AT_ONCE = 256 * 48 * 48
"""Pixels of a batch that teachers are asked about."""


@dataclass(frozen=True)
class ViewSource:
    """Stored views of images: each epoch goes through one view of all of them, and after the last begins again.

    Attributes:
        views: uint8 (views, n, size, size, channels), in a file.
        targets: float32 (views, n, classes).
        plain: the images themselves, with their labels.
    """

    views: NDArray[np.uint8]
    targets: NDArray[np.float32]
    plain: ArraySource
    workers: int = 1

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class of each image, int64 (n,)."""
        return self.plain.labels

    def batch(self, index: int, *, batch_size: int, seed: int, epoch: int, rows: slice = ALL) -> Rows:
        """A slice of the epoch's permutation of the epoch's view."""
        chosen = permutation(len(self.labels), seed, epoch)[index * batch_size : (index + 1) * batch_size][rows]
        view = epoch % len(self.views)
        return self.views[view][chosen], self.targets[view][chosen]


def taught(
    source: Source, config: TrainingConfig, student: keras.Model, folder: Path, say: Callable[[str], None]
) -> Source:
    """The same images, or views of them, with the teachers' answers mixed into their targets.

    Args:
        source: the training images, in memory.
        config: names the teachers, their share of the targets, and what they are asked about: not the ``same`` view.
        student: the network that will learn.
        folder: where what was asked is kept, and read where it is there already, so that a resumed run asks nothing
            twice.
        say: takes a line for people before the work.

    Raises:
        UsageError: the images are not in memory, or a teacher does not fit the student.
        DataError: the stored answers are not of these images.
        ModelError: a teacher cannot be read.
    """
    if not isinstance(source, ArraySource):
        raise streamed_teaching(config)
    count, classes = len(source.labels), student.output_shape[-1]
    own = np.eye(classes, dtype=np.float32)[source.labels] if source.targets is None else source.targets
    teachers = f"{len(config.teachers)} teacher{'s' if len(config.teachers) > 1 else ''}"
    folder.mkdir(parents=True, exist_ok=True)
    if config.teacher_view == "plain":
        if not (folder / ANSWERS).exists():
            say(f"Asking {teachers} about {many(count, 'training image')}")
            _write(folder / ANSWERS, _mean_answer(config.teachers, source.images))
        answers = _read(folder / ANSWERS, (count, classes))
        return ArraySource(source.images, source.labels, source.workers, _mixed(answers, own, config))
    if not (folder / ANSWERS).exists() or not (folder / VIEWS).exists():
        say(f"Asking {teachers} about {many(config.teacher_views, 'view')} of {many(count, 'training image')}")
        _ask_views(source.images, config, student, folder, say)
    answers = _read(folder / ANSWERS, (config.teacher_views, count, classes))
    views = _read(folder / VIEWS, (config.teacher_views, *source.images.shape), mapped=True)
    return ViewSource(views, _mixed(answers, own, config), source)


def _mixed(answers: NDArray[np.float32], own: NDArray[np.float32], config: TrainingConfig) -> NDArray[np.float32]:
    mixed = config.teacher_weight * answers + (1 - config.teacher_weight) * own
    return mixed.astype(np.float32)


def _mean_answer(teachers: tuple[str, ...], images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """At temperature 1, whatever the teachers' files say: float32 (n, classes)."""
    answers = [ask(open_model(find_model(path)), images, tta=TTA)[1] for path in teachers]
    return np.asarray(np.mean(answers, axis=0, dtype=np.float64), np.float32)


def _ask_views(
    images: NDArray[np.uint8],
    config: TrainingConfig,
    student: keras.Model,
    folder: Path,
    say: Callable[[str], None],
) -> None:
    """Write the views, and then what the teachers say of them, which tells that both are there.

    Raises:
        UsageError: they do not fit the disk.
    """
    forget_views(folder)
    (folder / ANSWERS).unlink(missing_ok=True)
    _refuse_full_disk(folder, images.nbytes, config)
    apart = [path for path in config.teachers if _stands_apart(path)]
    precision = backend.choose_precision(config.precision)
    within = [open_teacher(path, student) for path in config.teachers if path not in apart]
    asking = _asking([backend.training_twin(teacher, precision) for teacher in within], config, student)
    others = [_open_apart(path) for path in apart]
    count, batch_size = len(images), max(1, ASKED_AT_ONCE // config.input.size**2)
    whole = images[np.arange(-(-count // batch_size) * batch_size) % count]  # all batches of one size: compiled once
    header = {"descr": "|u1", "fortran_order": False, "shape": (config.teacher_views, *images.shape)}
    answers = np.empty((config.teacher_views, count, student.output_shape[-1]), np.float32)
    told = time.monotonic()
    # Not through a memory map: a full disk would kill the process there.
    with replacing(folder / VIEWS) as temporary, open(temporary, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for view in range(config.teacher_views):
            backend.reseed(asking, config.seed, view)
            seen, said = (rows[:count] for rows in predict(asking, whole, batch_size))
            seen = np.ascontiguousarray(seen)
            file.write(seen.data)
            answers[view] = sum((ask(model, seen)[1] for model in others), said) / len(config.teachers)
            if time.monotonic() - told > SECONDS_OF_SILENCE:
                told = time.monotonic()
                say(f"Asked about view {view + 1} of {config.teacher_views}")
    _write(folder / ANSWERS, answers)


def _refuse_full_disk(folder: Path, size: int, config: TrainingConfig) -> None:
    room, needed = shutil.disk_usage(folder).free, config.teacher_views * size
    if needed > room:
        raise UsageError(
            f"teacher_views: {many(config.teacher_views, 'view')} of the training images need {needed / 1e9:.1f} GB, "
            f"but {folder} has {room / 1e9:.1f} GB left; store fewer"
        )


def _stands_apart(path: str) -> bool:
    """Whether a file gives no Keras network, as int8 files and ensembles do not: it is asked as it is, then."""
    found = find_model(path)
    return found.suffix.lower() == ".onnx" and not is_restorable(found)


def _open_apart(path: str) -> Model:
    """With OpenVINO where there is nothing but the CPU: teachers are asked in batches, where it is the fastest.

    Nobody asked for it, so that a file which it does not know, as of operators of ONNX Runtime's own, is no error.
    """
    if openvino.is_installed() and built_devices() == ["cpu"]:
        with suppress(ModelError):
            return open_model(find_model(path), device=openvino.DEVICE)
    return open_model(find_model(path))


def _asking(teachers: Sequence[keras.Model], config: TrainingConfig, student: keras.Model) -> keras.Model:
    """From uint8 images to views of them, uint8, and the sum of teachers' answers to those, float32 (n, classes)."""
    faces = keras.Input(student.input_shape[1:], dtype="uint8")
    images = keras.layers.Rescaling(1.0, dtype="float32")(faces)
    views = _Varying(augmentation_layers(config.augmentation, config.seed), dtype="float32")(images)
    scaled = keras.layers.Rescaling(SCALE, dtype="float32")(views)
    answers = _Asked(teachers, student.output_shape[-1], dtype="float32")(scaled)
    asking = keras.Model(faces, [ops.cast(views, "uint8"), answers])
    asking.compile(jit_compile=backend.compiles())
    return asking


class _Varying(keras.layers.Layer):
    """Augmentation that is at work outside training too; whole grey values come out."""

    def __init__(self, stack: Sequence[keras.Layer], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stack = list(stack)

    def call(self, images: Any) -> Any:
        """Vary the images."""
        for layer in self.stack:
            images = layer(images, training=True)
        return ops.clip(ops.round(images), 0, 255)


class _Asked(keras.layers.Layer):
    """The sum of the answers of models, none or more; their names need not differ, as they would in a graph."""

    def __init__(self, teachers: Sequence[keras.Model], classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.teachers, self.classes = list(teachers), classes

    def call(self, images: Any) -> Any:
        """Images in [0, 1] to float32 (n, classes)."""
        answers = (ops.cast(teacher(images, training=False), "float32") for teacher in self.teachers)
        return sum(answers, ops.zeros((ops.shape(images)[0], self.classes)))


def _write(path: Path, values: NDArray[np.float32]) -> None:
    with replacing(path) as temporary:
        np.save(temporary, values)


def _read(path: Path, shape: tuple[int, ...], *, mapped: bool = False) -> NDArray[Any]:
    try:
        values: NDArray[Any] = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except (EOFError, OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); delete it to ask the teachers again") from error
    if values.shape != shape:
        raise DataError(
            f"{path}: holds answers of shape {values.shape}, but the training images need {shape}; delete it to "
            "ask the teachers again"
        )
    return values
